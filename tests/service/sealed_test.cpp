// Sealed channels: they carry messages like any other, nobody who holds one can change its memory's size, and it is
// said and done what happens to them when the registry that made them ends.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "os/descriptor.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"
#include "tests/service/service.hpp"

namespace nimsync::testing {
namespace {

namespace fs = std::filesystem;

class Sealed : public Service {};

TEST_F(Sealed, ChannelsCarryMessagesLikeAnyOther) {
  auto registry = connect();
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    auto tx = registry.sender<Tick>("records", {.capacity = 4, .layout = layout, .sealed = true});
    auto rx = registry.receiver<Tick>("records");
    Tick tick{};
    for (std::uint64_t i = 0; i < 100; ++i) {
      ASSERT_TRUE(tx.try_send({i, 0}) && rx.try_receive(tick));
      ASSERT_EQ(tick.seq, i);
    }
    registry.remove("records", true);
  }
  auto tx = registry.sender<Bytes>("frames", {.capacity = 4096, .sealed = true});
  auto rx = registry.receiver<Bytes>("frames");
  std::ifstream file(daemon.state() + "/channels/frames/definition");
  const auto definition = nlohmann::json::parse(file);
  EXPECT_EQ(definition.at("forward").at("name"), "") << "a name in shared memory, to be opened by";
  EXPECT_EQ(definition.at("return").at("name"), "");
  const std::string text(300, 'x');
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(tx.try_send(std::as_bytes(std::span(text))));
    std::span<const std::byte> message;
    ASSERT_TRUE(rx.try_receive(message));
    ASSERT_EQ(std::memcmp(message.data(), text.data(), text.size()), 0);
    rx.release();
  }
  const auto info = registry.stat("frames");
  EXPECT_TRUE(info.is_sealed);
  EXPECT_EQ(info.state, "open");
  EXPECT_EQ(info.sent, 100U * 312);
  EXPECT_FALSE(registry.create("plain", {.size = 8}, {.capacity = 1}).is_sealed);
}

TEST_F(Sealed, ChannelsHaveASuccessorAtTheExactPosition) {
  auto registry = connect();
  static_cast<void>(registry.sender<Tick>("x", {.capacity = 8, .sealed = true}));
  Child sender([&] {
    auto mine = connect();
    auto tx = mine.sender<Tick>("x");
    for (std::uint64_t i = 0; i < 5; ++i) {
      if (!tx.try_send({i, 0})) return 1;
    }
    ::raise(SIGKILL);
    return 2;
  });
  EXPECT_EQ(sender.wait(), 128 + SIGKILL);
  auto rx = registry.receiver<Tick>("x");
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({5, 0}));
  Tick tick{};
  for (std::uint64_t i = 0; i < 6; ++i) {
    ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
    EXPECT_EQ(tick.seq, i);
  }
}

/// What somebody with the right to send tries against both segments of a sealed channel, whose descriptors those of
/// Open are; 0, or a number that says what was possible.
int attack(const std::vector<os::Descriptor>& descriptors) {
  const auto may_not = [](int result) { return result != 0 && errno == EPERM; };
  const int forward = descriptors[0].get();
  const int back = descriptors[1].get();
  struct stat before {};
  if (::fstat(forward, &before) != 0) return 10;
  if (!may_not(::ftruncate(forward, 0))) return 11;
  if (!may_not(::ftruncate(forward, before.st_size - 1))) return 12;
  if (!may_not(::ftruncate(forward, before.st_size * 100))) return 13;
  if (!may_not(::fallocate(forward, 0, before.st_size, 1 << 20))) return 14;
  if (!may_not(::fcntl(forward, F_ADD_SEALS, F_SEAL_WRITE))) return 15;
  if (!may_not(::fchmod(forward, 0666))) return 16;
  // The other's segment, which came read-only, is not to be had otherwise.
  const std::string self = "/proc/self/fd/" + std::to_string(back);
  if (::open(self.c_str(), O_RDWR | O_CLOEXEC) >= 0 || errno != EACCES) return 17;
  if (::truncate(self.c_str(), 0) == 0) return 18;
  if (::ftruncate(back, 0) == 0) return 19;
  if (::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, back, 0) != MAP_FAILED) return 20;
  const char byte = 0;
  if (::pwrite(back, &byte, 1, 0) >= 0) return 21;
  // Its own it may write, not beyond the end, and may punch: that zeroes.
  if (::pwrite(forward, &byte, 1, before.st_size) > 0) return 22;
  if (::fallocate(forward, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, before.st_size) != 0) return 23;
  struct stat after {};
  if (::fstat(forward, &after) != 0 || after.st_size != before.st_size) return 24;
  return 0;
}

TEST_F(Sealed, MemoryIsOfOneSizeToWhoeverHoldsIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick)}, {.capacity = 64, .mode = 0602, .sealed = true});
  auto rx = registry.receiver<Tick>("x");
  EXPECT_EQ(as_stranger(daemon, {},
                        [&](Registry&) {
                          RawClient raw(daemon.socket());
                          static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", "sender"}}));
                          return raw.descriptors.size() == 4 ? attack(raw.descriptors) : 1;
                        }),
            0);
  // The attacker punched all of its segment away, header and ring: the peer reads zeros, and lives.
  Tick tick{};
  EXPECT_FALSE(rx.try_receive(tick));
  EXPECT_NE(rx.receive(tick, std::chrono::milliseconds{1}), Status::ok);
  EXPECT_NO_THROW(static_cast<void>(registry.stat("x")));
  EXPECT_REFUSED(Errc::corrupted, registry.sender<Tick>("x"));
  registry.remove("x", true);
  EXPECT_EQ(rx.check(), Status::removed);
}

TEST_F(Sealed, MemoryEndsWithItsChannelAndHolders) {
  auto registry = connect();
  const std::size_t before = descriptors_of(daemon.pid());
  for (int i = 0; i < 10; ++i) registry.create("x" + std::to_string(i), {.size = 8}, {.capacity = 1, .sealed = true});
  EXPECT_EQ(descriptors_of(daemon.pid()), before + 20) << "a descriptor for each segment, and nothing else";
  EXPECT_GT(registry.info().bytes, 0U);
  for (int i = 0; i < 10; ++i) registry.remove("x" + std::to_string(i));
  EXPECT_EQ(descriptors_of(daemon.pid()), before);
  EXPECT_EQ(registry.info().bytes, 0U);
}

TEST_F(Sealed, ChannelsCountAgainstTheLimitsLikeAnyOther) {
  PrivateDaemon small({"--max-bytes", "64K"});
  auto registry = Registry::connect(small.socket());
  registry.create("a", {.size = 8}, {.capacity = 1024, .layout = Layout::dense, .sealed = true});
  EXPECT_REFUSED(Errc::over_limit, registry.create("b", {.size = 8}, {.capacity = 8192, .sealed = true}));
}

/// Runs `body` where a process has few descriptors; its exit code.
int with_few_descriptors(const std::function<int()>& body) {
  Child child([&] {
    constexpr rlimit kFew{.rlim_cur = 64, .rlim_max = 64};
    return ::setrlimit(RLIMIT_NOFILE, &kFew) == 0 ? body() : 98;
  });
  return child.wait();
}

/// Creates sealed channels x0, x1, ... until that is refused; how many were made, and with what it was refused.
std::pair<int, std::optional<Errc>> fill(Registry& registry) {
  for (int made = 0; made < 64; ++made) {
    const auto [code, why] =
        refusal([&] { registry.create("x" + std::to_string(made), {.size = 8}, {.capacity = 1, .sealed = true}); });
    if (code) return {made, code};
  }
  return {64, std::nullopt};
}

TEST(SealedService, LeavesDescriptorsForOthers) {
  EXPECT_EQ(with_few_descriptors([] {
              PrivateDaemon daemon;
              auto registry = Registry::connect(daemon.socket());
              const auto [made, refused] = fill(registry);
              if (refused != Errc::over_limit || made != 64 / 8) return 1;
              static_cast<void>(registry.sender<Tick>("other", {.capacity = 1}));
              registry.remove("x0");
              registry.create("x0", {.size = 8}, {.capacity = 1, .sealed = true});
              return 0;
            }),
            0);
}

TEST(SealedService, SaysWhenItHasNoDescriptorsLeftAndLeavesNothing) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "UBSan looks at the type of an exception through a pipe, for which there is no descriptor either";
#endif
  EXPECT_EQ(with_few_descriptors([] {
              PrivateDaemon daemon({"--max-sealed", "1000"});
              auto registry = Registry::connect(daemon.socket());
              const auto [made, refused] = fill(registry);
              if (refused != Errc::no_space || made == 0 || made == 64) return 1;
              const std::size_t full = descriptors_of(daemon.pid());
              const auto more = [&] {
                return refusal([&] { registry.create("more", {.size = 8}, {.capacity = 1, .sealed = true}); }).first;
              };
              if (more() != Errc::no_space || descriptors_of(daemon.pid()) != full) return 2;
              const auto left = [&] { return static_cast<int>(registry.info().channels); };
              if (left() != made) return 3;
              // A look and a removal take descriptors for a moment; where there are none, nothing is said or changed.
              int removed = 0;
              for (int i = 0; i < made; ++i) {
                const std::string name = "x" + std::to_string(i);
                std::string state = "idle";
                const Errc asked = refusal([&] { state = registry.stat(name).state; }).first.value_or(Errc::no_space);
                const auto kept = refusal([&] { registry.remove(name); }).first;
                if (state != "idle" || asked != Errc::no_space || kept.value_or(asked) != Errc::no_space) return 4;
                if (!kept) ++removed;
              }
              if (left() != made - removed) return 5;
              const bool right = removed == 0 || !more();
              daemon.kill();  // it has none left for being asked to clean up
              return right ? 0 : 6;
            }),
            0);
}

TEST_F(Sealed, ChannelsThatNobodyHoldsEndWithTheRegistry) {
  for (const bool killed : {false, true}) {
    connect().create("x", {.size = 8}, {.capacity = 1, .sealed = true});
    connect().create("y", {.size = 8}, {.capacity = 1});
    if (killed) {
      daemon.kill();
    } else {
      EXPECT_EQ(daemon.stop(), 0);
    }
    daemon.start();
    const auto left = connect().list();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left[0].name, "y");
    EXPECT_FALSE(fs::exists(daemon.state() + "/channels/x"));
    connect().remove("y");
  }
}

/// A sealed channel between two processes whose registry was killed and started again.
class Orphaned : public Sealed {
 protected:
  void SetUp() override {
    auto registry = connect();
    tx = registry.sender<Tick>("x", {.capacity = 4, .sealed = true});
    rx = registry.receiver<Tick>("x");
    daemon.kill();
    daemon.start();
  }
  void expect_traffic() {
    Tick tick{};
    for (std::uint64_t i = 0; i < 10; ++i) {
      ASSERT_EQ(tx.send({i, 0}, kWatchdog), Status::ok);
      ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
      ASSERT_EQ(tick.seq, i);
    }
  }

  Sender<Tick> tx = make_channel<Tick>({.capacity = 1}).first;
  Receiver<Tick> rx = make_channel<Tick>({.capacity = 1}).second;
};

TEST_F(Orphaned, ChannelsGoOnBetweenTheirHoldersAndAreListed) {
  expect_traffic();
  const auto info = connect().stat("x");
  EXPECT_EQ(info.state, "orphaned");
  EXPECT_TRUE(info.is_sealed && info.sender && info.receiver);
  EXPECT_EQ(tx.check(), Status::ok);
  EXPECT_EQ(rx.check(), Status::ok);
  daemon.kill();
  daemon.start();
  expect_traffic();
  EXPECT_EQ(connect().list().size(), 1U);
}

TEST_F(Orphaned, ChannelsLetNobodyJoin) {
  tx = make_channel<Tick>({.capacity = 1}).first;  // gives its lease back
  EXPECT_EQ(rx.check(), Status::peer_lost);
  auto registry = connect();
  const auto refused = refusal([&] { static_cast<void>(registry.sender<Tick>("x", {.capacity = 4, .sealed = true})); });
  EXPECT_EQ(refused.first, Errc::corrupted);
  EXPECT_NE(refused.second.find("went with the registry that made it"), std::string::npos) << refused.second;
  EXPECT_REFUSED(Errc::exists, registry.create("x", {.size = sizeof(Tick), .alignment = 8}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::in_use, registry.remove("x"));
}

TEST_F(Orphaned, ChannelsAreRemovedLikeAnyOther) {
  auto registry = connect();
  registry.remove("x", true);
  EXPECT_EQ(tx.check(), Status::removed);
  EXPECT_EQ(rx.check(), Status::removed);
  EXPECT_TRUE(registry.list().empty());
}

/// With room for one sealed channel, and one in all.
class LastOrphan : public Service {
 protected:
  LastOrphan() : Service({"--max-sealed", "1", "--max-channels", "1"}) {}
};

TEST_F(LastOrphan, TakesNobodysPlaceOnceItIsOver) {
  {
    auto tx = connect().sender<Tick>("x", {.capacity = 4, .sealed = true});
    daemon.kill();
    daemon.start();
    EXPECT_REFUSED(Errc::over_limit, connect().create("y", {.size = 8}, {.capacity = 1, .sealed = true}));
  }
  connect().create("y", {.size = 8}, {.capacity = 1, .sealed = true});
  EXPECT_EQ(connect().list().size(), 1U);
}

TEST_F(Orphaned, ChannelsEndWithTheirLastHolder) {
  auto registry = connect();
  tx = make_channel<Tick>({.capacity = 1}).first;
  EXPECT_EQ(registry.list().size(), 1U);
  rx = make_channel<Tick>({.capacity = 1}).second;
  EXPECT_TRUE(registry.list().empty());
  EXPECT_FALSE(fs::exists(daemon.state() + "/channels/x"));
  // And its name is free, also to who asks for nothing else before.
  for (const bool sealed : {true, false}) {
    auto again = registry.sender<Tick>("x", {.capacity = 4, .sealed = sealed});
    EXPECT_EQ(registry.stat("x").state, "waiting");
    daemon.kill();
    daemon.start();
    again.close();
  }
}

}  // namespace
}  // namespace nimsync::testing
