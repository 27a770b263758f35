// nimsyncctl as its users have it: the program itself, against a registry of the test's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nimsync/nimsync.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "tests/client/idle.hpp"
#include "tests/tools/nimsyncctl.hpp"

namespace nimsync::tests {
namespace {

TEST_F(Nimsyncctl, CreatesListsMeasuresAndRemovesRecordChannels) {
  EXPECT_EQ(done({"list"}),
            "NAME  KIND  MSG  CAPACITY  USED  STATE  SENDER  RECEIVER  OWNER  GROUP  MODE  MEMORY  AGE\n");
  EXPECT_THAT(done({"create", "md.ticks", "--size", "16", "--capacity", "1K", "--mode", "0620", "--type", "Tick"}),
              StartsWith("created md.ticks: 1024 records of 16 bytes, stamped, mode 0620, protected, "));
  done({"create", "other", "--size", "8", "--capacity", "3", "--layout", "dense", "--align", "8", "--no-protect"});

  const auto lines = lines_of(done({"list"}));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[0], StartsWith("NAME"));
  EXPECT_THAT(lines[1], testing::ContainsRegex("^md.ticks +stamped +16 +1024 +0 +idle +- +- .* 0620p "));
  EXPECT_THAT(lines[2], testing::ContainsRegex("^other +dense +8 +4 +0 +idle +- +- .* 0600 "));
  EXPECT_THAT(done({"list", "md.*"}), AllOf(HasSubstr("md.ticks"), Not(HasSubstr("other"))));
  EXPECT_EQ(lines_of(done({"list", "--no-header"})).size(), 2U);
  EXPECT_EQ(lines_of(done({"--no-header", "list", "nothing*"})).size(), 0U);

  EXPECT_THAT(done({"stat", "md.ticks"}),
              AllOf(StartsWith("md.ticks\n"), HasSubstr("1024 records of 16 bytes, stamped"), HasSubstr("full stalls"),
                    HasSubstr("type"), HasSubstr("Tick"), HasSubstr("0 of 1024")));
  EXPECT_THAT(done({"stat"}), AllOf(HasSubstr("md.ticks\n"), HasSubstr("\nother\n")));

  EXPECT_EQ(done({"remove", "md.ticks", "other"}), "");
  EXPECT_EQ(lines_of(done({"list"})).size(), 1U);
}

TEST_F(Nimsyncctl, CreatesFrameChannels) {
  EXPECT_THAT(done({"create", "log", "--frames", "--bytes", "1M", "--max-size", "16Ki", "--protect"}),
              StartsWith("created log: messages of up to 16K, 1M in all, mode 0600, protected, "));
  EXPECT_THAT(lines_of(done({"list"})).back(), testing::ContainsRegex("^log +framed +16K +1M +0 +idle .* 0600p "));
}

TEST_F(Nimsyncctl, SaysWhatASealedChannelsMemoryEndsWith) {
  const Result created = run({"create", "s", "--size", "8", "--capacity", "4", "--mode", "0620", "--sealed"});
  EXPECT_EQ(created.code, 0);
  EXPECT_THAT(created.out, StartsWith("created s: 4 records of 8 bytes, stamped, mode 0620, protected, sealed, "));
  EXPECT_THAT(created.err, AllOf(StartsWith("nimsyncctl: sealed memory ends with the registry's process"),
                                 HasSubstr("nobody can join them")));
  EXPECT_THAT(lines_of(done({"list"})).back(), testing::ContainsRegex("^s +stamped +8 +4 +0 +idle .* 0620ps "));
  EXPECT_EQ(json({"stat", "s"}).at("channels").at(0).at("sealed"), true);
}

TEST_F(Nimsyncctl, PrintsJsonOfVersionOne) {
  const Json created = json({"create", "c", "--size", "16", "--capacity", "8", "--align", "8", "--mode", "0604"});
  EXPECT_EQ(created.at("created"), true);
  const Json& channel = created.at("channel");
  EXPECT_EQ(channel.at("name"), "c");
  EXPECT_EQ(channel.at("kind"), "stamped");
  EXPECT_EQ(channel.at("size"), 16);
  EXPECT_EQ(channel.at("capacity"), 8);
  EXPECT_EQ(channel.at("alignment"), 8);
  EXPECT_EQ(channel.at("owner"), ::getuid());
  EXPECT_EQ(channel.at("mode"), "0604");
  EXPECT_EQ(channel.at("protected"), true);
  EXPECT_EQ(channel.at("sealed"), false);
  EXPECT_EQ(channel.at("state"), "idle");
  EXPECT_TRUE(channel.at("sender").is_null());
  EXPECT_EQ(json({"create", "c", "--size", "16", "--capacity", "8", "--if-not-exists"}).at("created"), false);

  done({"send", "c"}, {.input = file(std::string(48, 'x'))});
  const Json listed = json({"list"});
  ASSERT_EQ(listed.at("channels").size(), 1U);
  EXPECT_EQ(listed.at("channels").at(0).at("counts").at("sent"), 3);
  EXPECT_EQ(json({"stat", "c"}).at("channels").at(0).at("counts").at("used"), 3);
  EXPECT_EQ(json({"info"}).at("registry").at("pid"), registry->pid());
  EXPECT_EQ(json({"info"}).at("registry").at("channels"), 1);
  EXPECT_EQ(json({"remove", "c"}).at("removed"), Json::array({"c"}));
  EXPECT_EQ(json({"list"}).at("channels"), Json::array());
}

TEST_F(Nimsyncctl, TakesGlobalOptionsBeforeAndBehindTheVerb) {
  for (const Arguments& arguments : {Arguments{NIMSYNCCTL, "--socket", socket, "--json", "list"},
                                     Arguments{NIMSYNCCTL, "list", "--socket", socket, "--json"}}) {
    Process process{folder, arguments};
    const Result result = result_of(process);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(Json::parse(result.out).at("version"), 1);
  }
  Process process{folder, {NIMSYNCCTL, "list"}, {.environment = {"NIMSYNC_SOCKET=" + socket}}};
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(Nimsyncctl, ExplainsItself) {
  const auto explains = [&](const Arguments& arguments, const std::string& what) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.out, HasSubstr(what));
  };
  explains({"--help"}, "Exit codes: 0 done");
  explains({"list", "--help"}, "protected");
  explains({"send", "--help"}, "little-endian");
  explains({"receive", "--help"}, "--follow");
  explains({"--version"}, "nimsyncctl ");
  EXPECT_THAT(done({"info"}), AllOf(StartsWith("nimsyncd "), HasSubstr(socket)));
}

TEST_F(Nimsyncctl, RefusesBadUsageWithTwo) {
  const Arguments create{"create", "a", "--size", "16", "--capacity", "4"};
  const auto create_with = [&](const Arguments& more) {
    Arguments all = create;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto any = testing::Matcher<std::string>(testing::_);
  fails(2, {}, any);
  fails(2, {"frobnicate"}, any);
  fails(2, {"list", "--frobnicate"}, any);
  fails(2, {"list", "a", "b"}, any);
  fails(2, {"create"}, HasSubstr("NAME"));
  fails(2, {"create", "a"}, HasSubstr("--size and --capacity"));
  fails(2, {"create", "a", "--size", "16"}, HasSubstr("--size and --capacity"));
  fails(2, {"create", "a", "--frames"}, HasSubstr("--bytes"));
  fails(2, create_with({"--frames", "--bytes", "4M"}), HasSubstr("records and of frames"));
  fails(2, {"create", "a", "--size", "4X", "--capacity", "4"}, HasSubstr("\"4X\" is not a size"));
  fails(2, {"create", "a", "--size", "-4", "--capacity", "4"}, any);
  fails(2, {"create", "a", "--size", "99999999999999999999", "--capacity", "4"}, HasSubstr("not a size below 16E"));
  fails(2, {"create", "a", "--size", "0", "--capacity", "4"}, HasSubstr("at least 1"));
  fails(2, {"create", "a", "--size", "16", "--capacity", "0"}, HasSubstr("at least 1"));
  fails(2, create_with({"--mode", "9"}), HasSubstr("not a mode"));
  fails(2, create_with({"--layout", "round"}), HasSubstr("not a layout"));
  fails(2, create_with({"--protect", "--no-protect", "--group"}), any);
  fails(2, {"create", "../x", "--size", "16", "--capacity", "4"}, HasSubstr("../x"));
  fails(2, {"create", "", "--size", "16", "--capacity", "4"}, any);
  fails(2, {"remove"}, any);
  fails(2, {"--user", "list"}, any);  // with --socket
  fails(2, {"--system", "list"}, any);
  fails(2, {"receive", "a", "--json"}, HasSubstr("--json"));
  fails(2, {"metrics", "--json"}, HasSubstr("JSON"));
  fails(2, {"receive", "a", "--follow", "--no-wait"}, any);
  fails(2, {"receive", "a", "--timeout", "5"}, HasSubstr("not a duration"));
  fails(2, {"receive", "a", "--framing", "words"}, HasSubstr("not a framing"));
  EXPECT_EQ(lines_of(done({"list"})).size(), 1U);
}

TEST_F(Nimsyncctl, SaysWhichChannelIsMissingWithThree) {
  fails(3, {"stat", "ghost"}, HasSubstr("ghost"));
  fails(3, {"remove", "ghost"}, HasSubstr("ghost"));
  fails(3, {"send", "ghost"}, HasSubstr("ghost"));
  fails(3, {"receive", "ghost"}, HasSubstr("ghost"));
}

TEST_F(Nimsyncctl, GoesOnWithTheOtherNamesWhenOneIsMissing) {
  done({"create", "a", "--size", "8", "--capacity", "4"});
  done({"create", "b", "--size", "8", "--capacity", "4"});
  const Result measured = run({"stat", "a", "ghost", "b"});
  EXPECT_EQ(measured.code, 3);
  EXPECT_THAT(measured.out, AllOf(StartsWith("a\n"), HasSubstr("\nb\n")));
  expect_one_complaint(measured);
  fails(3, {"remove", "a", "ghost", "b"}, HasSubstr("ghost"));
  EXPECT_EQ(lines_of(done({"list"})).size(), 1U);
}

TEST_F(Nimsyncctl, SaysThatAChannelExistsOrDiffersWithFour) {
  const Arguments same{"create", "c", "--size", "16", "--capacity", "8"};
  const Arguments other{"create", "c", "--size", "24", "--capacity", "8"};
  done(same);
  fails(4, same, HasSubstr("exists"));
  fails(4, other, HasSubstr("24"));
  EXPECT_EQ(done({"create", "c", "--size", "16", "--capacity", "8", "--if-not-exists"}), "");
  fails(4, {"create", "c", "--size", "24", "--capacity", "8", "--if-not-exists"}, HasSubstr("24"));
  fails(4, {"create", "c", "--frames", "--bytes", "4K", "--if-not-exists"}, HasSubstr("c"));
  fails(4, {"send", "c", "--size", "24", "--capacity", "8"}, HasSubstr("24"));
}

TEST_F(Nimsyncctl, SaysDeniedWithFive) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user takes root";
  done({"create", "c", "--size", "16", "--capacity", "8", "--mode", "0600"});
  const auto bin = folder.path() / "bin";
  std::filesystem::create_directory(bin);
  std::filesystem::copy_file(NIMSYNCCTL, bin / "nimsyncctl");
  for (const std::string verb : {"send", "receive", "remove"}) {
    Process process{folder, {bin / "nimsyncctl", "--socket", socket, verb, "c"}, {.uid = kNobody}};
    const Result result = result_of(process);
    EXPECT_EQ(result.code, 5) << result.err;
    expect_one_complaint(result);
  }
}

TEST_F(Nimsyncctl, SaysThatALimitIsReachedWithSix) {
  fails(6, {"create", "c", "--frames", "--bytes", "64G"}, HasSubstr("c"));
  EXPECT_EQ(lines_of(done({"list"})).size(), 1U);
}

TEST_F(Nimsyncctl, NamesTheSocketWhereNoRegistryIsWithSeven) {
  const std::string nowhere = folder.path() / "nowhere.sock";
  for (const Arguments& verb : {Arguments{"list"}, Arguments{"create", "c", "--size", "8", "--capacity", "4"},
                                Arguments{"send", "c", "--frames", "--bytes", "4K"}}) {
    Arguments arguments{NIMSYNCCTL, "--socket", nowhere};
    arguments.insert(arguments.end(), verb.begin(), verb.end());
    Process process{folder, arguments};
    const Result result = result_of(process);
    EXPECT_EQ(result.code, 7);
    expect_one_complaint(result);
    EXPECT_THAT(result.err, HasSubstr(nowhere));
  }
}

TEST_F(Nimsyncctl, SaysTimeoutWithEight) {
  done({"create", "c", "--frames", "--bytes", "4K", "--max-size", "1K"});
  fails(8, {"receive", "c", "--timeout", "10ms"}, HasSubstr("receiving from c"));
  fails(8, {"send", "c", "--timeout", "10ms"}, HasSubstr("sending to c"),
        {.input = file(std::string(100, '\n') + std::string(10'000, '\n'))});
}

TEST_F(Nimsyncctl, FollowsAChannelAsleepAndStatTellsOfIt) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  EXPECT_THAT(done({"stat", "c"}), HasSubstr("receiver waits by"));
  Process following = start({"receive", "c", "--follow"});
  Registry here = Registry::connect(socket);
  ASSERT_TRUE(eventually([&] { return here.stat("c").receiver_sleeps > 0; }));
  EXPECT_LT(least_share_of_a_processor(following.pid(), std::chrono::seconds(3)), kIdleShare);
  for (const char* text : {"one\n", "two\n"}) done({"send", "c"}, {.input = file(text)});
  ASSERT_TRUE(eventually([&] { return following.out() == "one\ntwo\n"; }));
  const std::string stat = done({"stat", "c"});
  EXPECT_THAT(stat, HasSubstr("receiver sleeps"));
  EXPECT_THAT(stat, HasSubstr("sender rings"));
  EXPECT_THAT(stat, HasSubstr("receiver spurious wake-ups"));
  EXPECT_THAT(stat, testing::ContainsRegex("receiver waits by +doorbell"));
  const Json counts = json({"stat", "c"}).at("channels").at(0);
  EXPECT_EQ(counts.at("receiver_barrier"), "membarrier");
  EXPECT_GT(counts.at("counts").at("receiver_sleeps"), 0);
  EXPECT_TRUE(counts.at("counts").contains("receiver_spurious"));
  following.kill(SIGTERM);
  following.wait();
}

TEST_F(Nimsyncctl, SaysPeerLostWithNineWhenTheSenderIsKilled) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  const Pipe input;
  Process sending = start({"send", "c"}, {.in = input.out.get()});
  await("c", &ChannelInfo::sender);
  Process receiving = start({"receive", "c"});
  input.write("one\ntwo\n");
  ASSERT_TRUE(eventually([&] { return receiving.out() == "one\ntwo\n"; }));
  sending.kill(SIGKILL);
  EXPECT_EQ(sending.wait(), 128 + SIGKILL);
  const Result result = result_of(receiving);
  EXPECT_EQ(result.code, 9);
  EXPECT_EQ(result.out, "one\ntwo\n");
  expect_one_complaint(result);
}

TEST_F(Nimsyncctl, SaysPeerLostWithNineWhenTheReceiverIsKilledAndTheChannelFull) {
  done({"create", "c", "--size", "16", "--capacity", "4"});
  const Pipe unread;  // so that the receiver takes what fits in there and no more
  Process receiving = start({"receive", "c"}, {.out = unread.in.get()});
  await("c", &ChannelInfo::receiver);
  Process sending = start({"send", "c"}, {.input = "/dev/zero"});
  Registry here = Registry::connect(socket);
  ASSERT_TRUE(eventually([&] { return here.stat("c").full_stalls > 0 && here.stat("c").used == 4; }));
  receiving.kill(SIGKILL);
  receiving.wait();
  const Result result = result_of(sending);
  EXPECT_EQ(result.code, 9) << result.err;
  expect_one_complaint(result);
}

TEST_F(Nimsyncctl, SaysInUseNamingTheHolderWithTen) {
  done({"create", "c", "--size", "16", "--capacity", "8"});
  const Pipe input;
  Process sending = start({"send", "c"}, {.in = input.out.get()});
  await("c", &ChannelInfo::sender);
  const std::string holder = std::to_string(sending.pid());
  fails(10, {"send", "c"}, HasSubstr(holder));
  fails(10, {"remove", "c"}, HasSubstr(holder));
  EXPECT_THAT(lines_of(done({"list"})).back(), AllOf(HasSubstr("waiting"), HasSubstr("nimsyncctl[" + holder + "]")));
  EXPECT_EQ(json({"stat", "c"}).at("channels").at(0).at("sender").at("pid"), sending.pid());
}

TEST_F(Nimsyncctl, SaysCorruptedWithEleven) {
  done({"create", "c", "--size", "16", "--capacity", "8"});
  Process receiving = start({"receive", "c"});
  await("c", &ChannelInfo::receiver);
  std::set<std::string> segments;
  ASSERT_TRUE(eventually([&] {
    for (const auto& line : lines_of(contents("/proc/" + std::to_string(receiving.pid()) + "/maps"))) {
      if (const auto at = line.find("/dev/shm/"); at != std::string::npos) segments.insert(line.substr(at));
    }
    return segments.size() == 2;
  }));
  receiving.kill(SIGKILL);
  receiving.wait();
  for (const auto& segment : segments) {
    std::fstream out{segment, std::ios::binary | std::ios::in | std::ios::out};
    ASSERT_TRUE(out.write("garbage!", 8).flush()) << segment;
  }
  fails(11, {"send", "c"}, HasSubstr("c"));
  fails(11, {"receive", "c"}, HasSubstr("c"));
}

TEST_F(Nimsyncctl, SaysRemovedWithTwelve) {
  done({"create", "c", "--size", "16", "--capacity", "8"});
  Process receiving = start({"receive", "c", "--follow"});
  await("c", &ChannelInfo::receiver);
  const Pipe input;
  Process sending = start({"send", "c"}, {.in = input.out.get()});
  await("c", &ChannelInfo::sender);
  done({"remove", "c", "--force"});
  const Result received = result_of(receiving);
  EXPECT_EQ(received.code, 12);
  expect_one_complaint(received);
  input.write(std::string(16, 'x'));
  const Result sent = result_of(sending);
  EXPECT_EQ(sent.code, 12);
  expect_one_complaint(sent);
}

TEST_F(Nimsyncctl, SaysOtherFailuresWithOne) {
  done({"create", "records", "--size", "16", "--capacity", "8"});
  fails(1, {"send", "records"}, AllOf(HasSubstr("sending to records"), HasSubstr("byte 20"), HasSubstr("1 message")),
        {.input = file(std::string(20, 'x'))});
  done({"create", "frames", "--frames", "--bytes", "4K", "--max-size", "10"});
  fails(1, {"send", "frames"}, HasSubstr("line 2 has 11 bytes, and a message of this channel at most 10"),
        {.input = file("short\n12345678901\n")});
  fails(1, {"send", "frames"}, HasSubstr("cannot read the input"), {.input = "/"});
  const Descriptor full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  ASSERT_GE(full.get(), 0) << std::strerror(errno);
  fails(1, {"list"}, HasSubstr("cannot write"), {.out = full.get()});
  fails(1, {"receive", "frames"}, HasSubstr("cannot write the output"), {.out = full.get()});
  // What was before the bad line, and wasn't written, is still there; the stream was left open.
  const Result rest = run({"receive", "frames"});
  EXPECT_EQ(rest.code, 9) << rest.err;
  EXPECT_EQ(rest.out, "short\n");
}

// What goes through.

class Piped : public Nimsyncctl {
 protected:
  /// Runs both ends at once; what came out.
  std::string through(const std::string& input, const Arguments& more = {}) {
    Arguments receive{"receive", "c"};
    Arguments send{"send", "c"};
    receive.insert(receive.end(), more.begin(), more.end());
    send.insert(send.end(), more.begin(), more.end());
    Process receiving = start(receive);
    Process sending = start(send, {.input = file(input)});
    EXPECT_EQ(sending.wait(), 0) << sending.err();
    EXPECT_EQ(receiving.wait(), 0) << receiving.err();
    return receiving.out();
  }

  static std::string noise(std::size_t bytes) {
    std::mt19937_64 random{42};  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
    std::string out(bytes, '\0');
    for (char& each : out) each = static_cast<char>(random());
    return out;
  }
};

TEST_F(Piped, TheLinesOfATextAreTheSameAtTheOtherEnd) {
  std::string text;
  std::mt19937 random{7};  // NOLINT(cert-msc32-c,cert-msc51-cpp)
  for (int line = 0; line < 20'000; ++line) {
    text += std::string(random() % 100, static_cast<char>('a' + line % 26)) + "\n";
  }
  done({"create", "c", "--frames", "--bytes", "16K", "--max-size", "4K"});
  EXPECT_TRUE(through(text) == text);
}

TEST_F(Piped, RecordsAreTheSameAtTheOtherEndInEitherLayout) {
  const std::string input = noise(240'000);
  for (const std::string layout : {"stamped", "dense"}) {
    done({"create", "c", "--size", "24", "--capacity", "64", "--layout", layout});
    EXPECT_TRUE(through(input) == input) << layout;
    done({"remove", "c"});
  }
}

TEST_F(Piped, MessagesWithLengthsMayHoldAnything) {
  std::string input;
  std::mt19937 random{11};  // NOLINT(cert-msc32-c,cert-msc51-cpp)
  for (int at = 0; at < 2'000; ++at) {
    const std::string message = noise(random() % 1000);
    for (unsigned byte = 0; byte < 4; ++byte) input += static_cast<char>(message.size() >> (8 * byte) & 0xffU);
    input += message;
  }
  done({"create", "c", "--frames", "--bytes", "8K", "--max-size", "1000"});
  EXPECT_TRUE(through(input, {"--framing", "length"}) == input);
}

TEST_F(Piped, RawFramesCarryAnyBytes) {
  const std::string input = noise(1'000'003);
  done({"create", "c", "--frames", "--bytes", "64K", "--max-size", "5000"});
  EXPECT_TRUE(through(input, {"--framing", "raw"}) == input);
}

TEST_F(Piped, CreatesTheChannelWhenAsked) {
  EXPECT_EQ(through("a\nb\n", {"--frames", "--bytes", "64K"}), "a\nb\n");
  EXPECT_EQ(json({"stat", "c"}).at("channels").at(0).at("capacity"), 65536);
}

TEST_F(Nimsyncctl, SendsWhatTricklesAtOnce) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  Pipe input;
  Process sending = start({"send", "c"}, {.in = input.out.get()});
  Process receiving = start({"receive", "c"});
  input.write("first\nsec");
  EXPECT_TRUE(eventually([&] { return receiving.out() == "first\n"; }));
  input.write("ond\nthird");
  EXPECT_TRUE(eventually([&] { return receiving.out() == "first\nsecond\n"; }));
  input.in.close();
  EXPECT_EQ(sending.wait(), 0);
  EXPECT_EQ(receiving.wait(), 0);
  EXPECT_EQ(receiving.out(), "first\nsecond\nthird\n");
}

TEST_F(Nimsyncctl, LeavesTheStreamOpenWhenAsked) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  EXPECT_EQ(done({"send", "c", "--keep-open"}, {.input = file("a\n")}), "");
  done({"send", "c"}, {.input = file("b\n")});
  EXPECT_EQ(done({"receive", "c"}), "a\nb\n");
}

TEST_F(Nimsyncctl, SaysHowMuchItSentAsJson) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  const Json sent = Json::parse(done({"send", "c", "--json"}, {.input = file("one\nthree\n")}));
  EXPECT_EQ(sent, (Json{{"version", 1}, {"sent", {{"messages", 2}, {"bytes", 8}}}}));
}

TEST_F(Nimsyncctl, ReceivesACountAndWhatIsThere) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  done({"send", "c"}, {.input = file("a\nb\nc\nd\n")});
  EXPECT_EQ(done({"receive", "c", "--count", "1"}), "a\n");
  EXPECT_EQ(done({"receive", "c", "--count", "0"}), "");
  EXPECT_EQ(done({"receive", "c", "--no-wait", "--count", "2", "--framing", "raw"}), "bc");
  EXPECT_EQ(done({"receive", "c", "--no-wait"}), "d\n");
  EXPECT_EQ(done({"receive", "c", "--no-wait"}), "");
}

TEST_F(Nimsyncctl, FollowsFromOneSenderToTheNext) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  Process receiving = start({"receive", "c", "--follow"});
  for (const std::string text : {"a\n", "b\n"}) done({"send", "c"}, {.input = file(text)});
  done({"send", "c", "--keep-open"}, {.input = file("c\n")});
  done({"send", "c"}, {.input = file("d\n")});
  EXPECT_TRUE(eventually([&] { return receiving.out() == "a\nb\nc\nd\n"; }));
  receiving.kill(SIGINT);
  EXPECT_EQ(receiving.wait(), 128 + SIGINT);
  EXPECT_EQ(receiving.err(), "");
}

TEST_F(Nimsyncctl, EndsAtASignalAndLosesNothing) {
  done({"create", "c", "--frames", "--bytes", "2M", "--max-size", "1000"});
  std::string text;
  for (int line = 0; line < 1000; ++line) text += std::to_string(line) + std::string(900, '.') + "\n";
  done({"send", "c"}, {.input = file(text)});
  Pipe slow;
  ASSERT_GE(::fcntl(slow.in.get(), F_SETPIPE_SZ, 4096), 4096);
  std::string taken;
  {
    Process receiving = start({"receive", "c"}, {.out = slow.in.get()});
    slow.in.close();
    std::string block(2000, '\0');
    const ssize_t got = ::read(slow.out.get(), block.data(), block.size());
    ASSERT_GT(got, 0);
    taken = block.substr(0, static_cast<std::size_t>(got));
    receiving.kill(SIGTERM);
    for (ssize_t more = 0; (more = ::read(slow.out.get(), block.data(), block.size())) > 0;) {
      taken += block.substr(0, static_cast<std::size_t>(more));
    }
    EXPECT_EQ(receiving.wait(), 128 + SIGTERM);
  }
  // Whole messages, and perhaps a part of the one that the next receiver begins with.
  const std::string whole = taken.substr(0, taken.rfind('\n') + 1);
  Process rest = start({"receive", "c"});
  EXPECT_EQ(rest.wait(), 0) << rest.err();
  EXPECT_TRUE(whole + rest.out() == text);
}

TEST_F(Nimsyncctl, EndsQuietlyWhenNobodyReadsItsOutputAndKeepsTheMessage) {
  done({"create", "c", "--frames", "--bytes", "4K"});
  done({"send", "c"}, {.input = file("a\nb\n")});
  Pipe output;
  output.out.close();
  const Result result = run({"receive", "c"}, {.out = output.in.get()});
  EXPECT_EQ(result.code, 128 + SIGPIPE);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(done({"receive", "c"}), "a\nb\n");
}

TEST_F(Nimsyncctl, WatchesChannelsComeAndGo) {
  Process watching = start({"watch"});
  Process watching_json = start({"events", "--json"});
  ASSERT_TRUE(eventually([&] { return watching.out() == "watching\n" && !watching_json.out().empty(); }));
  done({"create", "c", "--frames", "--bytes", "4K"});
  done({"send", "c"}, {.input = file("")});
  done({"remove", "c"});
  EXPECT_TRUE(eventually([&] { return lines_of(watching.out()).size() >= 4; }));
  EXPECT_THAT(lines_of(watching.out()), ElementsAre("watching", "created c", "opened c as sender", "removed c"));
  EXPECT_TRUE(eventually([&] { return lines_of(watching_json.out()).size() >= 4; }));
  EXPECT_EQ(Json::parse(lines_of(watching_json.out()).at(2)),
            (Json{{"version", 1}, {"event", "opened"}, {"name", "c"}, {"role", "sender"}}));
}

// On a terminal.

class OnATerminal : public Nimsyncctl {
 protected:
  std::string list(unsigned short columns, const std::vector<std::string>& environment) {
    const Terminal terminal(24, columns);
    EXPECT_EQ(run({"list"}, {.out = terminal.program.get(), .environment = environment}).code, 0);
    return terminal.read();
  }
};

TEST_F(OnATerminal, TablesFitAndAreColouredUnlessNoColorIsSet) {
  const std::string long_name(60, 'n');
  done({"create", long_name, "--size", "8", "--capacity", "4"});
  const std::string plain = list(100, {"TERM=xterm", "NO_COLOR=1"});
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  EXPECT_THAT(plain, HasSubstr("…"));
  for (std::string line : lines_of(plain)) {
    if (const auto at = line.find("…"); at != std::string::npos) line.replace(at, std::string{"…"}.size(), "-");
    EXPECT_LE(line.size(), 100U) << line;
  }
  EXPECT_THAT(list(300, {"TERM=xterm"}), AllOf(HasSubstr("\x1b["), HasSubstr(long_name)));
  EXPECT_EQ(list(300, {"TERM=dumb"}).find('\x1b'), std::string::npos);
  EXPECT_THAT(done({"list"}), AllOf(HasSubstr(long_name), Not(HasSubstr("\x1b"))));
}

// The embedded default.

class Autostart : public testing::Test {
 protected:
  Autostart() {
    ::chmod(folder.path().c_str(), 0755);
    const auto bin = folder.path() / "bin";
    std::filesystem::create_directory(bin);
    std::filesystem::copy_file(NIMSYNCCTL, bin / "nimsyncctl");
    std::filesystem::copy_file(NIMSYNCD, bin / "nimsyncd");
    std::filesystem::create_directory(runtime);
    ::chmod(runtime.c_str(), 0700);
    if (::geteuid() == 0) {
      uid = kNobody;
      if (::chown(runtime.c_str(), kNobody, kNobody) != 0) std::abort();
    }
    // Registries that the tool starts become children of this process when it ends, and can be waited for.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  ~Autostart() override {
    for (const pid_t pid : children()) ::kill(pid, SIGTERM);
    EXPECT_TRUE(eventually([&] {
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      return children().empty();
    }));
  }

  static std::vector<pid_t> children() {
    std::vector<pid_t> pids;
    const std::string self = std::to_string(::getpid());
    std::istringstream in{contents("/proc/" + self + "/task/" + self + "/children")};
    for (pid_t pid = 0; in >> pid;) pids.push_back(pid);
    return pids;
  }

  Process start(Arguments arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), folder.path() / "bin" / "nimsyncctl");
    environment.push_back("XDG_RUNTIME_DIR=" + runtime.string());
    return {folder, arguments, {.environment = environment, .uid = uid}};
  }
  Result run(Arguments arguments, std::vector<std::string> environment = {}) {
    Process process = start(std::move(arguments), std::move(environment));
    return result_of(process);
  }

  Folder folder;
  std::filesystem::path runtime = folder.path() / "run";
  std::optional<unsigned> uid;
  const Arguments create{"create", "c", "--size", "16", "--capacity", "8", "--user"};
};

TEST_F(Autostart, CreateStartsTheUsersRegistryAndSaysSo) {
  const Result first = run(create);
  EXPECT_EQ(first.code, 0) << first.err;
  expect_one_complaint(first);
  EXPECT_THAT(first.err, AllOf(HasSubstr("started a registry for this user"),
                               HasSubstr((runtime / "nimsync" / "registry.sock").string())));
  EXPECT_THAT(first.out, StartsWith("created c: "));
  const Result second = run({"list", "--user", "--no-header"});
  EXPECT_EQ(second.code, 0);
  EXPECT_EQ(second.err, "");
  EXPECT_THAT(second.out, StartsWith("c "));
  EXPECT_EQ(run({"create", "d", "--frames", "--bytes", "4K", "--user"}).err, "");
  EXPECT_EQ(run({"remove", "c", "d", "--user"}).code, 0);
}

TEST_F(Autostart, WithoutAScopeItWorksTheSame) {
  for (const auto& place : Registry::places(Registry::Scope::system)) {
    if (std::filesystem::exists(place)) GTEST_SKIP() << "this machine has a system registry at " << place;
  }
  Result result = run({"send", "c", "--frames", "--bytes", "4K"});
  EXPECT_EQ(result.code, 0) << result.err;
  expect_one_complaint(result);
  result = run({"receive", "c"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(run({"remove", "c"}).code, 0);
}

TEST_F(Autostart, TwoAtOnceEndUpWithOneRegistry) {
  std::vector<Process> both;
  for (const std::string name : {"a", "b", "c", "d"}) {
    both.push_back(start({"create", name, "--size", "16", "--capacity", "8", "--user"}));
  }
  std::size_t said = 0;
  for (auto& each : both) {
    EXPECT_EQ(each.wait(), 0) << each.err();
    if (!each.err().empty()) ++said;
  }
  EXPECT_EQ(said, 1U);
  EXPECT_EQ(lines_of(run({"list", "--user", "--no-header"}).out).size(), 4U);
  EXPECT_EQ(run({"remove", "a", "b", "c", "d", "--user"}).code, 0);
}

TEST_F(Autostart, NothingElseStartsARegistry) {
  const auto is_refused = [&](const Arguments& arguments, const std::vector<std::string>& environment = {}) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const Result result = run(arguments, environment);
    EXPECT_EQ(result.code, 7) << result.err;
    expect_one_complaint(result);
    EXPECT_TRUE(children().empty());
  };
  is_refused({"list", "--user"});
  is_refused({"stat", "--user"});
  is_refused({"info", "--user"});
  is_refused({"remove", "c", "--user"});
  is_refused({"send", "c", "--user"});
  is_refused({"receive", "c", "--user"});
  Arguments without = create;
  without.emplace_back("--no-autostart");
  is_refused(without);
  is_refused({"create", "c", "--size", "16", "--capacity", "8"}, {"NIMSYNC_SOCKET=" + (runtime / "none").string()});
  is_refused({"create", "c", "--size", "16", "--capacity", "8", "--socket", runtime / "none"});
  for (const auto& place : Registry::places(Registry::Scope::system)) {
    if (std::filesystem::exists(place)) return;
  }
  is_refused({"create", "c", "--size", "16", "--capacity", "8", "--system"});
}

TEST_F(Autostart, BadUsageStartsNothing) {
  EXPECT_EQ(run({"create", "c", "--size", "16", "--user"}).code, 2);
  EXPECT_TRUE(children().empty());
}

TEST_F(Autostart, SaysWhichProgramItCouldNotStart) {
  std::filesystem::remove(folder.path() / "bin" / "nimsyncd");
  const Result result = run(create, {"PATH=/nowhere"});
  EXPECT_EQ(result.code, 7);
  expect_one_complaint(result);
  EXPECT_THAT(result.err, HasSubstr("nimsyncd"));
}

TEST_F(Autostart, SaysHowTheRegistryEndedThatDidNotStart) {
  std::filesystem::remove(folder.path() / "bin" / "nimsyncd");
  std::ofstream{folder.path() / "bin" / "nimsyncd"} << "#!/bin/sh\nexit 1\n";
  ::chmod((folder.path() / "bin" / "nimsyncd").c_str(), 0755);
  const Result result = run(create);
  EXPECT_EQ(result.code, 7);
  expect_one_complaint(result);
  EXPECT_THAT(result.err, HasSubstr("ended with status 1"));
}

TEST_F(Autostart, RootHasNoRegistryOfItsOwn) {
  if (::geteuid() != 0) GTEST_SKIP() << "this is about root";
  for (const auto& place : Registry::places(Registry::Scope::system)) {
    if (std::filesystem::exists(place)) GTEST_SKIP() << "this machine has a system registry at " << place;
  }
  uid.reset();
  EXPECT_EQ(run({"create", "c", "--size", "16", "--capacity", "8"}).code, 7);
  EXPECT_TRUE(children().empty());
}

}  // namespace
}  // namespace nimsync::tests
