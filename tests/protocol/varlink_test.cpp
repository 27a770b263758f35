// The protocol library: bytes to messages and back, and what it refuses.
#include "protocol/varlink.hpp"

#include <gtest/gtest.h>

#include <string>

#include "protocol/messages.hpp"

namespace nimsync::protocol {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Splitter, GivesMessagesHoweverTheBytesAreCut) {
  const std::string stream("one\0two\0\0three\0", 15);
  for (std::size_t cut = 1; cut <= stream.size(); ++cut) {
    Splitter splitter;
    std::vector<std::string> messages;
    for (std::size_t at = 0; at < stream.size(); at += cut) {
      splitter.add(bytes(std::string_view(stream).substr(at, cut)));
      while (auto message = splitter.next()) messages.push_back(*message);
    }
    EXPECT_EQ(messages, (std::vector<std::string>{"one", "two", "", "three"})) << "cut every " << cut;
    EXPECT_EQ(splitter.pending(), 0U);
  }
}

TEST(Splitter, RefusesAMessageAsSoonAsItIsTooLong) {
  Splitter splitter;
  splitter.add(bytes(std::string(kMaxMessage, 'x')));
  EXPECT_EQ(splitter.next(), std::nullopt);
  splitter.add(bytes("x"));
  EXPECT_THROW(splitter.next(), Malformed);
}

TEST(Splitter, TakesTheLongestMessageAndHoldsNoMoreThanThat) {
  Splitter splitter;
  for (int i = 0; i < 100; ++i) {
    splitter.add(bytes(std::string(kMaxMessage, 'x')));
    splitter.add(bytes(std::string_view("\0", 1)));
    ASSERT_TRUE(splitter.next().has_value());
    EXPECT_EQ(splitter.pending(), 0U);
  }
}

TEST(Call, IsReadWithItsInterfaceMethodAndFlags) {
  const Call call = parse_call(R"({"method":"io.nimsync.registry.Open","parameters":{"name":"x"},"more":true})");
  EXPECT_EQ(call.interface, "io.nimsync.registry");
  EXPECT_EQ(call.method, "Open");
  EXPECT_EQ(call.parameters.at("name"), "x");
  EXPECT_TRUE(call.more);
  EXPECT_FALSE(call.oneway);
}

TEST(Call, MayLeaveItsParametersOut) {
  EXPECT_TRUE(parse_call(R"({"method":"a.b"})").parameters.is_object());
  EXPECT_TRUE(parse_call(R"({"method":"a.b","parameters":null})").parameters.is_object());
}

TEST(Call, IsRefusedWhenItIsNoVarlink) {
  for (const char* text : {"", "x", "[]", "1", "\"a\"", "{", "{}", R"({"method":1})", R"({"method":"nodot"})",
                           R"({"method":"a.b","parameters":[]})", R"({"method":"a.b","more":1})",
                           R"({"method":"a.b"} trailing)", "{\"method\":\"a.\xff\"}"}) {
    EXPECT_THROW(parse_call(text), Malformed) << text;
  }
}

TEST(Call, IsRefusedWhenItNestsTooDeep) {
  const auto nested = [](std::size_t levels) {
    return R"({"method":"a.b","parameters":{"x":)" + std::string(levels, '[') + std::string(levels, ']') + "}}";
  };
  EXPECT_NO_THROW(parse_call(nested(kMaxNesting - 2)));
  EXPECT_THROW(parse_call(nested(kMaxNesting - 1)), Malformed);
  EXPECT_THROW(parse_call(nested(30'000)), Malformed);
  EXPECT_NO_THROW(parse_call(R"({"method":"a.b","parameters":{"x":"[[[[[[[[[[[[[[[[[[[[[[\"[["}})"));
}

TEST(Messages, SurviveTheJourney) {
  const Channel channel{.name = "md.ticks",
                        .shape = {.geometry = {Layout::dense, 16, 1024}, .alignment = 8, .type = "Tick/1"},
                        .owner = 1000,
                        .group = 100,
                        .mode = 0620,
                        .protect = true,
                        .sealed = true,
                        .generation = 0x7fffffffffffffff,
                        .created = 1'700'000'000,
                        .memory = 20'480,
                        .state = "open",
                        .sender = Peer{.pid = 42, .uid = 1000, .command = "feed"},
                        .receiver = std::nullopt,
                        .counts = {.sent = 5, .received = 3, .used = 2}};
  std::string text = reply(ChannelReply{channel}, true);
  ASSERT_EQ(text.back(), '\0');
  text.pop_back();
  const Reply read = parse_reply(text);
  EXPECT_TRUE(read.continues);
  EXPECT_EQ(read.parameters.get<ChannelReply>().channel, channel);

  const OpenCall open{
      .name = "x", .role = Role::receiver, .expect = channel.shape, .create = Rights{.mode = 0600, .sealed = true}};
  const auto again = Json(open).get<OpenCall>();
  EXPECT_EQ(again.role, open.role);
  EXPECT_EQ(again.expect, open.expect);
  EXPECT_EQ(again.create, open.create);
}

TEST(Messages, NameTheMemberThatIsWrong) {
  const auto wrong = [](const char* text) -> std::string {
    try {
      static_cast<void>(Json::parse(text).get<OpenCall>());
    } catch (const InvalidParameter& e) {
      return e.what();
    }
    return "nothing";
  };
  EXPECT_EQ(wrong(R"({"role":"sender"})"), "name");
  EXPECT_EQ(wrong(R"({"name":7,"role":"sender"})"), "name");
  EXPECT_EQ(wrong(R"({"name":"x","role":"both"})"), "role");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","create":{"mode":-1,"group":""}})"), "mode");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","create":{"mode":99999999999,"group":""}})"), "mode");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","create":{"mode":1.5,"group":""}})"), "mode");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","expect":[]})"), "expect");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","expect":
                      {"layout":"round","size":1,"capacity":1,"alignment":0,"type":""}})"),
            "layout");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","expect":
                      {"layout":"dense","size":18446744073709551615,"capacity":1,"alignment":0,"type":""}})"),
            "size");
  EXPECT_EQ(wrong(R"({"name":"x","role":"sender","unknown":1,"expect":null})"), "nothing");
}

TEST(Errors, HaveEachItsNameAndAreReadBack) {
  for (const ErrorRow& each : kErrors) {
    std::string text = error_reply(each.code, "why");
    text.pop_back();
    const Reply read = parse_reply(text);
    EXPECT_EQ(own_error(read.error), each.code);
    EXPECT_EQ(read.parameters.at("message"), "why");
  }
  EXPECT_EQ(own_error("org.varlink.service.MethodNotFound"), std::nullopt);
  EXPECT_EQ(own_error("io.nimsync.registry"), std::nullopt);
  EXPECT_EQ(own_error("io.nimsync.registryX"), std::nullopt);
}

TEST(Errors, ReplaceBytesThatAreNoUtf8) {
  const std::string text = error_reply(Errc::in_use, "held by \xff\xfe");
  EXPECT_NO_THROW(static_cast<void>(parse_reply(std::string_view(text).substr(0, text.size() - 1))));
}

}  // namespace
}  // namespace nimsync::protocol
