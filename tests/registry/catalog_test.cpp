// The catalog's decisions, without a daemon, a file or a clock.
#include "daemon/catalog.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace nimsync::registry {
namespace {

constexpr std::uint64_t kPage = 4096;
const Caller kRoot{.pid = 1, .uid = 0, .gid = 0, .groups = {}, .administers = true};
const Caller kAnn{.pid = 2, .uid = 1000, .gid = 100, .groups = {200}, .administers = false};
const Caller kBob{.pid = 3, .uid = 1001, .gid = 101, .groups = {}, .administers = false};

protocol::CreateCall call(const std::string& name, const Geometry& geometry, unsigned mode = 0600) {
  return {.name = name, .shape = {.geometry = geometry, .alignment = 0}, .rights = {.mode = mode}};
}

Errc refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& e) {
    return e.errc();
  }
  return Errc{};
}

TEST(Catalog, FillsInWhatACreatorLeavesOut) {
  const Catalog catalog({}, kPage);
  const Definition records = catalog.define(call("a", {Layout::dense, 8, 5}), std::nullopt, kAnn);
  EXPECT_EQ(records.shape.geometry, (Geometry{Layout::dense, 8, 8}));
  EXPECT_EQ(records.owner, kAnn.uid);
  EXPECT_EQ(records.group, kAnn.gid);
  EXPECT_FALSE(records.protect) << "its mode admits nobody else";
  EXPECT_TRUE(catalog.define(call("a", {Layout::dense, 8, 5}, 0620), std::nullopt, kAnn).protect);
  EXPECT_TRUE(catalog.define(call("a", {Layout::dense, 8, 5}, 0602), std::nullopt, kAnn).protect);
  const Definition frames = catalog.define(call("a", {Layout::framed, 0, 1}), std::nullopt, kAnn);
  EXPECT_EQ(frames.shape.geometry, (Geometry{Layout::framed, kPage / 2, kPage}));
  EXPECT_EQ(catalog.define(call("a", {Layout::framed, 0, 1 << 22}), std::nullopt, kAnn).shape.geometry.size, 65536U);
}

TEST(Catalog, NeverOverflowsOverWhatItRefuses) {
  const Catalog catalog({.capacity = ~std::uint64_t{0}}, kPage);
  const std::uint64_t huge = std::uint64_t{1} << 62;
  EXPECT_EQ(refusal([&] {
              static_cast<void>(catalog.define(call("a", {Layout::dense, 1 << 20, huge}), {}, kAnn));
            }),
            Errc::over_limit);
  EXPECT_EQ(refusal([&] {
              static_cast<void>(catalog.define(call("a", {Layout::stamped, 8, huge}), {}, kAnn));
            }),
            Errc::over_limit);
  EXPECT_EQ(refusal([&] {
              static_cast<void>(catalog.define(call("a", {Layout::framed, 8, huge}), {}, kAnn));
            }),
            Errc::over_limit);
  EXPECT_EQ(refusal([&] {
              static_cast<void>(catalog.define(call("a", {Layout::dense, huge, 1}), {}, kAnn));
            }),
            Errc::over_limit);
}

TEST(Catalog, CountsTheMemoryOfChannelsAndOfThoseBeingMade) {
  Catalog catalog({.channels = 3, .bytes = 5 * 2 * kPage}, kPage);
  const auto define = [&](const std::string& name) {
    return catalog.define(call(name, {Layout::dense, 8, 16}), std::nullopt, kAnn);
  };
  const Definition a = define("a");
  catalog.reserve(a);
  EXPECT_TRUE(catalog.is_reserved("a"));
  EXPECT_EQ(catalog.bytes(), 2 * kPage);
  catalog.insert(a);
  EXPECT_FALSE(catalog.is_reserved("a"));
  EXPECT_EQ(catalog.bytes(), 2 * kPage);
  const Definition b = define("b");
  catalog.reserve(b);
  catalog.abandon(b);
  catalog.abandon(b);
  EXPECT_EQ(catalog.bytes(), 2 * kPage);
  catalog.insert(define("b"));
  catalog.reserve(define("c"));
  EXPECT_EQ(refusal([&] { static_cast<void>(define("d")); }), Errc::over_limit);
  catalog.erase("a");
  catalog.erase("a");
  EXPECT_EQ(catalog.bytes(), 4 * kPage);
  EXPECT_NO_THROW(static_cast<void>(define("d")));
}

TEST(Catalog, LetsTheFirstClassThatACallerBelongsToDecide) {
  Definition definition{.name = "a"};
  definition.owner = kAnn.uid;
  definition.group = 200;
  definition.mode = 0066;  // everybody but the owner
  const auto may = [&](const Caller& caller, protocol::Role role) {
    return refusal([&] { Catalog::require_use(definition, role, caller); }) == Errc{};
  };
  EXPECT_FALSE(may(kAnn, protocol::Role::sender));
  EXPECT_TRUE(may(kBob, protocol::Role::sender));
  EXPECT_TRUE(may(kRoot, protocol::Role::sender));
  definition.owner = kBob.uid;
  definition.mode = 0620;  // the group may send, and not receive
  EXPECT_TRUE(may(kAnn, protocol::Role::sender));
  EXPECT_FALSE(may(kAnn, protocol::Role::receiver));
  EXPECT_TRUE(may(kBob, protocol::Role::receiver));
  EXPECT_TRUE(Catalog::may_see(definition, kAnn));
  definition.mode = 0600;
  EXPECT_FALSE(Catalog::may_see(definition, kAnn));
}

TEST(Definition, SurvivesItsFile) {
  Definition definition{.name = "md.ticks",
                        .shape = {.geometry = {Layout::dense, 16, 1024}, .alignment = 8, .type = "Tick/1"},
                        .owner = 1000,
                        .group = 100,
                        .mode = 0620,
                        .protect = true,
                        .generation = 77,
                        .created = 1'700'000'000,
                        .forward = {.name = "/nimsync.x.f", .inode = 5},
                        .back = {.name = "/nimsync.x.r", .inode = 6}};
  EXPECT_EQ(from_text(to_text(definition), {}, kPage), definition);
  EXPECT_EQ(from_text(to_text(definition), {.capacity = 4, .message = 4}, kPage), definition)
      << "limits that were lowered since don't end what was made";
  definition.sealed = true;
  definition.forward.name = definition.back.name = "";
  EXPECT_EQ(from_text(to_text(definition), {}, kPage), definition);
}

TEST(Definition, IsRefusedWhenItIsDamaged) {
  const std::string good = to_text({.name = "a",
                                    .shape = {.geometry = {Layout::dense, 8, 4}, .alignment = 0},
                                    .forward = {.name = "/f", .inode = 1},
                                    .back = {.name = "/r", .inode = 2}});
  ASSERT_NO_THROW(static_cast<void>(from_text(good, {}, kPage)));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  ASSERT_NO_THROW(static_cast<void>(from_text(with("\"sealed\": false,", ""), {}, kPage)))
      << "as it was before there were sealed channels";
  for (std::size_t length = 0; length + 2 < good.size(); ++length) {
    ASSERT_EQ(refusal([&] { static_cast<void>(from_text(good.substr(0, length), {}, kPage)); }), Errc::corrupted)
        << length;
  }
  for (const std::string& text :
       {with("\"version\": 1", "\"version\": 2"), with("\"capacity\": 4", "\"capacity\": 5"),
        with("\"capacity\": 4", "\"capacity\": 9223372036854775807"), with("\"capacity\": 4", "\"capacity\": 0"),
        with("\"size\": 8", "\"size\": 9223372036854775807"), with("\"a\"", "\"../a\""), with("dense", "round"),
        with("\"inode\": 1", "\"inode\": \"1\""), with("\"owner\": 0", "\"owner\": 1e30"),
        with("\"owner\": 0", "\"owner\": 4294967296"), with("\"inode\": 1", "\"inode\": -1"),
        with("\"created\": 0", "\"created\": 9223372036854775808"), with("\"mode\": 384", "\"mode\": 384.5"),
        with("\"sealed\": false", "\"sealed\": true"), with("\"/f\"", "\"\""),
        with("\"sealed\": false", "\"sealed\": 0")}) {
    EXPECT_NE(refusal([&] { static_cast<void>(from_text(text, {}, kPage)); }), Errc{}) << text;
  }
}

TEST(Catalog, LeavesRoomForOthersThanOneUid) {
  const Geometry small{Layout::dense, 8, 4};
  const std::uint64_t bytes = memory_of(small, kPage);
  Catalog catalog({.channels = 5, .uid_channels = 2, .uid_bytes = 10 * bytes}, kPage);
  const auto define = [&](const std::string& name, const Caller& caller, const Geometry& geometry) {
    return catalog.define(call(name, geometry), std::nullopt, caller);
  };
  const auto is_refused = [&](const std::string& name, const Caller& caller, const Geometry& geometry) {
    return refusal([&] { static_cast<void>(define(name, caller, geometry)); }) == Errc::over_limit;
  };
  catalog.insert(define("a", kAnn, small));
  catalog.reserve(define("b", kAnn, small));
  EXPECT_TRUE(is_refused("c", kAnn, small));
  EXPECT_FALSE(is_refused("c", kBob, small));
  EXPECT_TRUE(is_refused("c", kBob, {Layout::dense, 8, 16 * kPage})) << "too many bytes for one";
  catalog.abandon(define("c", kBob, small));  // was never reserved
  catalog.insert(Definition(catalog.get("a")));
  EXPECT_TRUE(is_refused("c", kAnn, small));
  catalog.erase("a");
  EXPECT_FALSE(is_refused("c", kAnn, small));
  for (const char* name : {"d", "e", "f", "g"}) catalog.insert(define(name, kRoot, small));
  EXPECT_TRUE(is_refused("h", kRoot, small)) << "the registry's own limit is everybody's";
}

}  // namespace
}  // namespace nimsync::registry
