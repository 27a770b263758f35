// Death and succession between processes, as the design promises them: whoever dies, and whether the registry lives,
// the other side is told once, the next one goes on at the exact position, and leases are true.
//
// Which instruction a process dies at is tests/crash's matter, and how long a death takes to be told tests/soak's.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/client/asleep.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/service.hpp"

namespace nimsync::testing {
namespace {

/// A process that holds endpoints until it is killed.
class Holder {
 public:
  /// `hold` opens what is to be held, does with it what it wants, and calls what it is given: from then on it is held.
  explicit Holder(const std::function<void(const std::function<void()>& done)>& hold) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
    child_ = std::make_unique<Child>([&] {
      hold([&] {
        if (::write(ends[1], "h", 1) != 1) ::_exit(97);
        for (;;) ::pause();
      });
      return 1;
    });
    ::close(ends[1]);
    char byte = 0;
    const bool holds = ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
    if (!holds) throw std::runtime_error("the holder failed");
  }

  [[nodiscard]] pid_t pid() const { return child_->pid(); }
  void kill() {
    child_->kill(SIGKILL);
    EXPECT_EQ(child_->wait(), 128 + SIGKILL);
  }

 private:
  std::unique_ptr<Child> child_;
};

class Succession : public Service {
 protected:
  /// A process that sends `numbers` on channel x, without closing, and stays.
  Holder sender_of(const std::vector<std::uint64_t>& numbers, bool as_a_stranger = false) {
    return Holder([&](const auto& done) {
      if (as_a_stranger && !become_stranger()) return;
      auto mine = connect();
      auto tx = mine.sender<Tick>("x");
      for (const std::uint64_t number : numbers) {
        if (!tx.send({number, 0}, kWatchdog)) return;
      }
      done();
    });
  }
  /// A process that receives `count` of channel x and stays.
  Holder receiver_of(std::size_t count, bool as_a_stranger = false) {
    return Holder([&](const auto& done) {
      if (as_a_stranger && !become_stranger()) return;
      auto mine = connect();
      auto rx = mine.receiver<Tick>("x");
      Tick tick{};
      for (std::size_t i = 0; i < count; ++i) {
        if (!rx.receive(tick, kWatchdog)) return;
      }
      done();
    });
  }
  static void expect(Receiver<Tick>& rx, const std::vector<std::uint64_t>& numbers) {
    Tick tick{};
    for (const std::uint64_t number : numbers) {
      ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
      ASSERT_EQ(tick.seq, number);
    }
  }
  static Status next(Receiver<Tick>& rx) {
    Tick tick{};
    return rx.receive(tick, kWatchdog);
  }
  static bool is_told_nothing(Receiver<Tick>& rx) {
    Tick tick{};
    return rx.receive(tick, std::chrono::milliseconds{1}) == Status::timeout && rx.check() == Status::ok;
  }

  NoBound no_bound;
};

TEST_F(Succession, TellsOfEachLostSenderOnceAlsoWhenSeveralCameAndDied) {
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x", {.capacity = 16});
  for (std::uint64_t i = 0; i < 3; ++i) sender_of({2 * i, 2 * i + 1}).kill();
  expect(rx, {0, 1, 2, 3, 4, 5});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(next(rx), Status::peer_lost) << i;
  EXPECT_TRUE(is_told_nothing(rx));
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({6, 0}));
  expect(rx, {6});
  EXPECT_TRUE(is_told_nothing(rx));
}

TEST_F(Succession, LosesNothingWhenBothSidesAndTheRegistryDie) {
  connect().create("x", {.size = sizeof(Tick)}, {.capacity = 16});
  auto sender = sender_of({0, 1, 2, 3, 4});
  auto receiver = receiver_of(2);
  daemon.kill();
  sender.kill();
  receiver.kill();
  daemon.start();
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x");
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({5, 0}));
  expect(rx, {2, 3, 4, 5});
}

TEST_F(Succession, KeepsStreamsApartOverDeathsAndRestarts) {
  connect().create("x", {.size = sizeof(Tick)}, {.capacity = 16});
  {
    auto registry = connect();
    auto tx = registry.sender<Tick>("x");
    ASSERT_TRUE(tx.try_send({0, 0}));
    tx.close();
    EXPECT_EQ(tx.try_send({9, 0}), Status::closed);
    auto again = registry.sender<Tick>("x");  // closing gave the lease back
    ASSERT_TRUE(again.try_send({1, 0}));
  }
  daemon.kill();
  daemon.start();
  sender_of({2}).kill();
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x");
  expect(rx, {0});
  EXPECT_EQ(next(rx), Status::closed);
  expect(rx, {1, 2});
  EXPECT_EQ(next(rx), Status::peer_lost);
  {
    auto tx = registry.sender<Tick>("x");
    ASSERT_TRUE(tx.try_send({3, 0}));
    tx.close();
  }
  expect(rx, {3});
  EXPECT_EQ(next(rx), Status::closed);
  const auto info = registry.stat("x");
  EXPECT_EQ(info.streams_closed, 2U);
  EXPECT_EQ(info.streams_received, 2U);
}

TEST_F(Succession, GoesBetweenUidsWithAndWithoutTheRegistry) {
  if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  auto registry = connect();
  registry.create("x", {.size = sizeof(Tick)}, {.capacity = 2, .mode = 0606});
  auto rx = registry.receiver<Tick>("x", {.wait = Wait::doorbell(Timeout{0})});
  sender_of({0, 1}, true).kill();
  expect(rx, {0, 1});
  EXPECT_EQ(next(rx), Status::peer_lost);
  auto stranger = sender_of({2}, true);
  expect(rx, {2});
  daemon.kill();
  Sleeper sleeper([&] { EXPECT_EQ(next(rx), Status::peer_lost); });
  sleeper.until_asleep();
  stranger.kill();
  sleeper.join();
  daemon.start();
  // And the other way round: a stranger receives, and dies.
  rx = make_channel<Tick>({.capacity = 1}).second;
  auto tx = connect().sender<Tick>("x", {.wait = Wait::doorbell(Timeout{0})});
  auto receiver = receiver_of(0, true);
  ASSERT_TRUE(tx.try_send({3, 0}) && tx.try_send({4, 0}));
  daemon.kill();
  Sleeper sending([&] { EXPECT_EQ(tx.send({5, 0}, kWatchdog), Status::peer_lost); });
  sending.until_asleep();
  receiver.kill();
  sending.join();
  daemon.start();
  auto last = connect().receiver<Tick>("x");
  expect(last, {3, 4});
}

TEST_F(Succession, WorksBetweenEndpointsOfOneProcess) {
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x", {.capacity = 4, .wait = Wait::doorbell(Timeout{0})});
  for (std::uint64_t round = 0; round < 3; ++round) {
    std::optional<Sender<Tick>> tx = registry.sender<Tick>("x");
    EXPECT_REFUSED(Errc::in_use, registry.sender<Tick>("x"));
    EXPECT_REFUSED(Errc::in_use, registry.receiver<Tick>("x"));
    ASSERT_TRUE(tx->try_send({round, 0}));
    expect(rx, {round});
    Sleeper sleeper([&] { EXPECT_EQ(next(rx), Status::peer_lost); });
    sleeper.until_asleep();
    tx.reset();
  }
  EXPECT_TRUE(is_told_nothing(rx));
  EXPECT_EQ(registry.stat("x").senders, 3U);
}

TEST_F(Succession, FindsTheLeaseFreeAlthoughTheDeadHolderHadForked) {
  connect().create("x", {.size = sizeof(Tick)}, {.capacity = 4});
  std::array<int, 2> life{};
  std::array<int, 2> forked{};  // fork() has returned in the child: until then it has its parent's leases
  ASSERT_EQ(::pipe(life.data()), 0);
  ASSERT_EQ(::pipe(forked.data()), 0);
  Holder holder([&](const auto& done) {
    auto mine = connect();
    auto tx = mine.sender<Tick>("x");
    auto other = mine.receiver<Tick>("x");
    if (!tx.try_send({0, 0})) return;
    if (::fork() == 0) {  // lives on, with what it inherited, until the test ends
      ::close(life[1]);
      char byte = 0;
      if (::write(forked[1], &byte, 1) != 1) ::_exit(1);
      ::_exit(::read(life[0], &byte, 1) == 0 ? 0 : 1);
    }
    char byte = 0;
    if (::read(forked[0], &byte, 1) == 1) done();
  });
  ::close(forked[0]);
  ::close(forked[1]);
  EXPECT_REFUSED(Errc::in_use, connect().sender<Tick>("x"));
  holder.kill();
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x");
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({1, 0}));
  expect(rx, {0, 1});
  ::close(life[0]);
  ::close(life[1]);
}

TEST_F(Succession, FindsTheLeaseHeldAlthoughAChildOfTheHolderEnded) {
  auto registry = connect();
  auto tx = std::make_unique<Sender<Tick>>(registry.sender<Tick>("x", {.capacity = 4}));
  auto rx = registry.receiver<Tick>("x");
  // A child that ends as programs do, destructors and all.
  Child child([&] {
    tx.reset();
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_REFUSED(Errc::in_use, registry.sender<Tick>("x"));
  EXPECT_EQ(rx.check(), Status::ok);
  ASSERT_TRUE(tx->try_send({1, 0}));
  expect(rx, {1});
}

TEST_F(Succession, KeepsLeasesTrueOverRestartsOfTheRegistry) {
  constexpr int kChannels = 4;
  const auto name = [](int i) { return "x" + std::to_string(i); };
  for (int i = 0; i < kChannels; ++i) connect().create(name(i), {.size = sizeof(Tick)}, {.capacity = 4});
  const auto hold = [&](int i) {
    return std::make_unique<Holder>([&, i](const auto& done) {
      auto mine = connect();
      auto tx = mine.sender<Tick>(name(i));
      done();
    });
  };
  // Of each channel, whether its sender lives: through the restart, died before it, died while there was no registry,
  // came between two restarts.
  std::vector<std::unique_ptr<Holder>> holders;
  for (int i = 0; i < 3; ++i) holders.push_back(hold(i));
  holders.push_back(nullptr);
  std::vector<bool> alive{true, true, true, false};
  const auto judge = [&](const char* when) {
    auto registry = connect();
    for (int i = 0; i < kChannels; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto sender = registry.stat(name(i)).sender;
      ASSERT_EQ(sender.has_value(), alive[at]) << when << ' ' << i;
      if (!alive[at]) continue;
      EXPECT_EQ(sender->pid, holders[at]->pid()) << when << ' ' << i;
      EXPECT_REFUSED(Errc::in_use, registry.sender<Tick>(name(i)));
    }
  };
  judge("before");
  holders[1]->kill();
  alive[1] = false;
  daemon.kill();
  holders[2]->kill();
  alive[2] = false;
  daemon.start();
  judge("after a restart");
  holders[3] = hold(3);
  alive[3] = true;
  holders[1] = hold(1);
  alive[1] = true;
  daemon.kill();
  daemon.start();
  judge("after another");
  for (int i = 0; i < kChannels; ++i) {
    if (!alive[static_cast<std::size_t>(i)]) continue;
    holders[static_cast<std::size_t>(i)]->kill();
    EXPECT_NO_THROW(static_cast<void>(connect().sender<Tick>(name(i)))) << i;
  }
}

}  // namespace
}  // namespace nimsync::testing
