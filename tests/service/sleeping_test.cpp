// Sleeping until rung, between processes: what ends a sleep, what a sleep costs, where the kernel refuses, and peers
// that don't keep to the protocol. Without a bound on the sleeps unless a test says so: a lost wake-up is a hang.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "os/segment.hpp"
#include "tests/client/asleep.hpp"
#include "tests/client/idle.hpp"
#include "tests/client/refuse.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"

namespace nimsync::testing {
namespace {

using std::chrono::milliseconds;
constexpr const char* kOpen = "io.nimsync.registry.Open";
constexpr Wait kAtOnce = Wait::doorbell(Timeout{0});

struct Tick {
  std::uint64_t seq;
};

class Sleeping : public ::testing::Test {
 protected:
  Registry connect() { return Registry::connect(daemon.socket()); }
  /// Until a process sleeps in three looks on end.
  static void until_asleep(const Child& child) {
    int looks = 0;
    EXPECT_TRUE(eventually([&] {
      looks = is_asleep(child.pid()) ? looks + 1 : 0;
      return looks == 3;
    }));
  }
  /// The exit code of a child that ended as it should.
  static constexpr int kGood = 0;
  /// A child that waits for a message of channel x and ends well when it is told `expected`.
  [[nodiscard]] auto receiver_told(Status expected) {
    return [this, expected] {
      auto registry = connect();
      auto rx = registry.receiver<Tick>("x", {.capacity = 1, .wait = kAtOnce});
      Tick tick{};
      return rx.receive(tick, kLong) == expected ? kGood : 1;
    };
  }
  [[nodiscard]] auto sender_told(Status expected) {
    return [this, expected] {
      auto registry = connect();
      auto tx = registry.sender<Tick>("x", {.capacity = 1, .wait = kAtOnce});
      if (!tx.try_send({1})) return 2;
      return tx.send({2}, kLong) == expected ? kGood : 1;
    };
  }
  /// Until the registry knows a holder of x.
  void until_held(std::optional<Peer> ChannelInfo::*side) {
    auto registry = connect();
    EXPECT_TRUE(eventually([&] {
      const auto channels = registry.list("x");
      return !channels.empty() && (channels[0].*side).has_value();
    }));
  }

  PrivateDaemon daemon;

 private:
  NoBound no_bound_;
};

// -- what ends it

TEST_F(Sleeping, IsEndedByAMessageAndByRoom) {
  {
    const Child receiver(receiver_told(Status::ok));
    until_held(&ChannelInfo::receiver);
    until_asleep(receiver);
    auto registry = connect();
    auto tx = registry.sender<Tick>("x");
    until_asleep(receiver);  // it was rung by the attachment, and went to sleep again
    ASSERT_TRUE(tx.try_send({1}));
    EXPECT_EQ(const_cast<Child&>(receiver).wait(), kGood);
    tx.close();
  }
  auto registry = connect();
  registry.remove("x", true);
  Child sender(sender_told(Status::ok));
  until_held(&ChannelInfo::sender);
  until_asleep(sender);
  auto rx = registry.receiver<Tick>("x");
  until_asleep(sender);
  Tick tick{};
  ASSERT_TRUE(rx.try_receive(tick));
  EXPECT_EQ(sender.wait(), kGood);
}

TEST_F(Sleeping, IsEndedByRemovalOnBothSides) {
  Child receiver(receiver_told(Status::removed));
  until_held(&ChannelInfo::receiver);
  until_asleep(receiver);
  connect().remove("x", true);
  EXPECT_EQ(receiver.wait(), kGood);
  Child sender(sender_told(Status::removed));
  until_held(&ChannelInfo::sender);
  until_asleep(sender);
  connect().remove("x", true);
  EXPECT_EQ(sender.wait(), kGood);
}

TEST_F(Sleeping, IsEndedByTheDeathOfThePeerWithoutARegistry) {
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x", {.capacity = 1, .wait = kAtOnce});
  Child sender([this] {
    auto mine = connect();
    auto tx = mine.sender<Tick>("x");
    if (!tx.send({1}, kLong)) return 1;
    for (;;) ::pause();
  });
  Tick tick{};
  ASSERT_TRUE(rx.receive(tick, kLong));
  daemon.kill();
  Sleeper waiter([&] { EXPECT_EQ(rx.receive(tick, kLong), Status::peer_lost); });
  waiter.until_asleep();
  sender.kill(SIGKILL);
}

TEST_F(Sleeping, OfASenderIsEndedByTheDeathOfTheReceiver) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 1, .wait = kAtOnce});
  ASSERT_TRUE(tx.try_send({1}));
  Child receiver([this] {
    auto mine = connect();
    auto rx = mine.receiver<Tick>("x");
    for (;;) ::pause();
    return 0;
  });
  until_held(&ChannelInfo::receiver);
  Sleeper waiter([&] { EXPECT_EQ(tx.send({2}, kLong), Status::peer_lost); });
  until_asleep(receiver);
  waiter.until_asleep();
  receiver.kill(SIGKILL);
}

TEST_F(Sleeping, IsEndedByASuccessorWhichThenServes) {
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x", {.capacity = 1, .wait = kAtOnce});
  std::uint64_t expected = 0;
  for (int round = 0; round < 5; ++round) {
    Child sender([&] {
      auto mine = connect();
      auto tx = mine.sender<Tick>("x");
      if (!tx.send({expected}, kLong)) return 1;
      for (;;) ::pause();
    });
    Tick tick{};
    ASSERT_EQ(rx.receive(tick, kLong), Status::ok);
    EXPECT_EQ(tick.seq, expected++);
    sender.kill(SIGKILL);
    sender.wait();
    ASSERT_EQ(rx.receive(tick, kLong), Status::peer_lost);
  }
}

TEST_F(Sleeping, OfAKilledSleeperLeavesNothingThatItsSuccessorMisses) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 4, .wait = kAtOnce});
  for (int round = 0; round < 5; ++round) {
    Child receiver([this] {
      auto mine = connect();
      auto rx = mine.receiver<Tick>("x", {.wait = kAtOnce});
      Tick tick{};
      return rx.receive(tick, kLong) ? 0 : 1;
    });
    until_held(&ChannelInfo::receiver);
    until_asleep(receiver);
    if (round % 2 == 0) {
      receiver.kill(SIGKILL);  // leaves its epoch odd
      EXPECT_EQ(receiver.wait(), 128 + SIGKILL);
    } else {
      ASSERT_TRUE(tx.try_send({1}));
      EXPECT_EQ(receiver.wait(), kGood);
    }
  }
}

// -- what it costs

TEST_F(Sleeping, CostsNoProcessorTimeAtAll) {
  Child receiver(receiver_told(Status::ok));
  until_held(&ChannelInfo::receiver);
  until_asleep(receiver);
  const auto before = tests::processor_time(receiver.pid());
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the measurement itself
  EXPECT_EQ(tests::processor_time(receiver.pid()), before);
  auto registry = connect();
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({1}));
  EXPECT_EQ(receiver.wait(), kGood);
}

TEST_F(Sleeping, CostsLessThanAThousandthOfAProcessorWithTheUsualBound) {
  internal::set_longest_sleep(internal::kLongestSleep);
  Child receiver(receiver_told(Status::closed));
  until_held(&ChannelInfo::receiver);
  until_asleep(receiver);
  const double share = tests::least_share_of_a_processor(receiver.pid(), std::chrono::seconds(10));
  std::cout << "an idle receiver took " << share * 100 << " % of a processor over 10 s\n";
  EXPECT_LT(share, tests::kIdleShare);
  auto registry = connect();
  registry.sender<Tick>("x").close();
  EXPECT_EQ(receiver.wait(), kGood);
}

TEST_F(Sleeping, IsCountedInStat) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 4});
  auto rx = registry.receiver<Tick>("x", {.wait = kAtOnce});
  constexpr std::uint64_t kRounds = 10;
  std::atomic<std::uint64_t> received{0};
  Sleeper receiver([&] {
    Tick tick{};
    while (received < kRounds && rx.receive(tick, kLong)) ++received;
  });
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    receiver.until_asleep();
    ASSERT_TRUE(tx.try_send({round}));
    ASSERT_TRUE(eventually([&] { return received > round; }));
  }
  receiver.join();
  const ChannelInfo info = registry.stat("x");
  EXPECT_GE(info.receiver_sleeps, kRounds);
  EXPECT_EQ(info.sender_rings, kRounds);
  EXPECT_EQ(info.sender_sleeps, 0U);
  EXPECT_EQ(info.receiver_rings, 0U);
  EXPECT_LE(info.receiver_spurious, info.receiver_sleeps - kRounds);
  EXPECT_EQ(info.sender_barrier, "membarrier");
  EXPECT_EQ(info.receiver_barrier, "membarrier");
}

// -- where the kernel refuses

/// Messages there and back between this process and one that is refused a system call, before or after it attached;
/// both sleep between them.
void ping_pong_with_refused(const PrivateDaemon& daemon, unsigned call, bool before, const std::string& barrier) {
  auto registry = Registry::connect(daemon.socket());
  auto tx = registry.sender<Tick>("there", {.capacity = 1, .wait = kAtOnce});
  auto rx = registry.receiver<Tick>("back", {.capacity = 1, .wait = kAtOnce});
  constexpr std::uint64_t kRounds = 200;
  Child refused([&] {
    if (before && !refuse(call)) return 3;
    auto mine = Registry::connect(daemon.socket());
    auto in = mine.receiver<Tick>("there", {.wait = kAtOnce});
    auto out = mine.sender<Tick>("back", {.wait = kAtOnce});
    if (!before && !refuse(call)) return 3;
    for (std::uint64_t i = 0; i < kRounds; ++i) {
      Tick tick{};
      if (!in.receive(tick, kLong) || tick.seq != i) return 1;
      if (!out.send(tick, kLong)) return 2;
    }
    Tick last{};
    return in.receive(last, kLong) == Status::closed ? 0 : 4;
  });
  Tick tick{};
  for (std::uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(tx.send({i}, kLong));
    ASSERT_TRUE(rx.receive(tick, kLong));
    ASSERT_EQ(tick.seq, i);
  }
  EXPECT_EQ(registry.stat("there").receiver_barrier, barrier);
  EXPECT_EQ(registry.stat("there").sender_barrier, "membarrier");
  tx.close();
  EXPECT_EQ(refused.wait(), 0);
}

TEST_F(Sleeping, FallsBackToFencesAndBackoffWhereMembarrierIsRefused) {
  ping_pong_with_refused(daemon, SYS_membarrier, true, "fence");
}

TEST_F(Sleeping, FallsBackToBackoffWhereMembarrierIsRefusedLater) {
  ping_pong_with_refused(daemon, SYS_membarrier, false, "refused");
}

TEST_F(Sleeping, GoesOnWithoutTheNewerSystemCall) {
  ping_pong_with_refused(daemon, SYS_epoll_pwait2, false, "membarrier");
}

TEST_F(Sleeping, OfAPollerFallsBackToATimerWhereMembarrierIsRefused) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 4});
  Child refused([&] {
    if (!refuse(SYS_membarrier)) return 3;
    auto mine = connect();
    auto rx = mine.receiver<Tick>("x");
    WaitSet set;
    std::uint64_t received = 0;
    // By fd() and arm() first, then by a set.
    while (received < 100) {
      Tick tick{};
      if (rx.try_receive(tick)) {
        if (tick.seq != received++) return 1;
      } else if (rx.arm()) {
        pollfd polled{.fd = rx.fd(), .events = POLLIN, .revents = 0};
        if (::poll(&polled, 1, 60'000) != 1) return 2;
      }
    }
    set.add(rx, 1);
    while (received < 200) {
      if (set.wait(kLong).empty()) return 4;
      for (Tick tick{}; rx.try_receive(tick);) {
        if (tick.seq != received++) return 5;
      }
    }
    return 0;
  });
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(tx.send({i}, kLong));
    if (i % 20 == 0) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(refused.wait(), 0);
}

// -- peers that don't keep to the protocol

/// A peer with the descriptors of an endpoint and rules of its own.
class Hostile {
 public:
  Hostile(const PrivateDaemon& daemon, const std::string& channel, const char* role, const Geometry& geometry)
      : raw_(daemon.socket()) {
    static_cast<void>(raw_.call(kOpen, {{"name", channel}, {"role", role}}));
    EXPECT_EQ(raw_.descriptors.size(), 4U);
    constexpr auto access = os::Access::read_write;
    mapping_ = os::Mapping(raw_.descriptors[0], access, raw_.descriptors[1], access, geometry);
  }
  [[nodiscard]] const RingMemory& memory() const { return mapping_.memory(); }
  os::Descriptor& own_line() { return raw_.descriptors[2]; }

 private:
  RawClient raw_;
  os::Mapping mapping_;
};

TEST_F(Sleeping, PeerThatNeverDrainsItsLineHoldsNobodyUp) {
  auto registry = connect();
  constexpr std::uint64_t kCapacity = 16384;
  auto tx = registry.sender<Tick>("x", {.capacity = kCapacity});
  Hostile receiver(daemon, "x", "receiver", {Layout::stamped, sizeof(Tick), kCapacity});
  layout::Header* const header = receiver.memory().return_header();
  for (std::uint64_t i = 0; i < kCapacity; ++i) {
    header->sleep_epoch = 2 * i + 1;  // asleep anew each time
    ASSERT_TRUE(tx.try_send({i}));
  }
  EXPECT_EQ(registry.stat("x").sender_rings, kCapacity);
}

TEST_F(Sleeping, PeerThatFloodsItsLineLosesNothingAndDelaysNoTimeout) {
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick), .alignment = alignof(Tick)}, {.capacity = 4});
  auto rx = registry.receiver<Tick>("x", {.wait = kAtOnce});
  Hostile sender(daemon, "x", "sender", {Layout::stamped, sizeof(Tick), 4});
  std::atomic<bool> done{false};
  std::thread flood([&] {
    const std::array<char, 512> bytes{};
    while (!done) static_cast<void>(!::write(sender.own_line().get(), bytes.data(), bytes.size()));
  });
  Tick tick{};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(rx.receive(tick, milliseconds(50)), Status::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(50));
  StampedSender<sizeof(Tick)> ring(sender.memory(), {});
  for (std::uint64_t i = 0; i < 100; ++i) {
    const Tick sent{i};
    ASSERT_TRUE(ring.try_send(reinterpret_cast<const std::byte*>(&sent)));
    ASSERT_TRUE(rx.receive(tick, kLong));
    EXPECT_EQ(tick.seq, i);
  }
  done = true;
  flood.join();
}

TEST_F(Sleeping, PeerThatDrainsItsOwnRingsIsFoundOutByTheBound) {
  internal::set_longest_sleep(internal::kLongestSleep);  // what the bound is for
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick), .alignment = alignof(Tick)}, {.capacity = 4});
  auto rx = registry.receiver<Tick>("x", {.wait = kAtOnce});
  Hostile sender(daemon, "x", "sender", {Layout::stamped, sizeof(Tick), 4});
  StampedSender<sizeof(Tick)> ring(sender.memory(), {});
  {
    Tick tick{};
    Sleeper receiver([&] { EXPECT_EQ(rx.receive(tick, kLong), Status::ok); });
    receiver.until_asleep();
    const Tick sent{7};
    ASSERT_TRUE(ring.try_send(reinterpret_cast<const std::byte*>(&sent)));  // and never rings
  }
  Tick tick{};
  Sleeper receiver([&] { EXPECT_EQ(rx.receive(tick, kLong), Status::removed); });
  std::atomic<bool> done{false};
  std::thread drain([&] {
    std::array<char, 64> bytes{};
    while (!done) static_cast<void>(!::read(sender.own_line().get(), bytes.data(), bytes.size()));
  });
  receiver.until_asleep();
  registry.remove("x", true);  // its ring is taken away
  receiver.join();
  done = true;
  drain.join();
}

TEST_F(Sleeping, PeerThatClosesItsLineIsAsGoodAsGone) {
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick), .alignment = alignof(Tick)}, {.capacity = 1});
  auto tx = registry.sender<Tick>("x", {.wait = kAtOnce});
  Hostile receiver(daemon, "x", "receiver", {Layout::stamped, sizeof(Tick), 1});
  receiver.memory().return_header()->attached = 1;
  receiver.memory().return_header()->sleep_epoch = 1;
  receiver.own_line().reset();
  ASSERT_TRUE(tx.try_send({1})) << "rings a line that nobody reads";
  EXPECT_EQ(tx.send({2}, kLong), Status::peer_lost);
  auto rx = registry.receiver<Tick>("x");
  Tick tick{};
  EXPECT_TRUE(rx.try_receive(tick));
}

TEST_F(Sleeping, PeerWithABarrierThatNobodyKnowsIsWaitedForByBackoff) {
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick), .alignment = alignof(Tick)}, {.capacity = 4});
  auto rx = registry.receiver<Tick>("x", {.wait = kAtOnce});
  Hostile sender(daemon, "x", "sender", {Layout::stamped, sizeof(Tick), 4});
  sender.memory().forward_header()->common.attached = 1;  // and no word of how it publishes
  StampedSender<sizeof(Tick)> ring(sender.memory(), {});
  Tick tick{};
  Sleeper receiver([&] { EXPECT_EQ(rx.receive(tick, kLong), Status::ok); });
  receiver.until_asleep();
  const Tick sent{7};
  ASSERT_TRUE(ring.try_send(reinterpret_cast<const std::byte*>(&sent)));  // and never rings
}

}  // namespace
}  // namespace nimsync::testing
