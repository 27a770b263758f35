// Waiting for many: wait_any() and WaitSet over channels of this process. Without a bound on sleeps, so that a lost
// wake-up hangs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/client/asleep.hpp"

namespace nimsync {
namespace {

using std::chrono::milliseconds;
using testing::kLong;
using testing::NoBound;
using testing::Signals;
using testing::Sleeper;

struct Tick {
  std::uint64_t seq;
};

struct Channel {
  explicit Channel(std::uint64_t capacity = 4) : Channel(make_channel<Tick>({.capacity = capacity})) {}
  Sender<Tick> tx;
  Receiver<Tick> rx;

 private:
  explicit Channel(std::pair<Sender<Tick>, Receiver<Tick>> both)
      : tx(std::move(both.first)), rx(std::move(both.second)) {}
};

/// Keys of what is ready.
std::multiset<WaitSet::Key> keys(std::span<const WaitSet::Ready> ready) {
  std::multiset<WaitSet::Key> keys;
  for (const auto& each : ready) keys.insert(each.key);
  return keys;
}
using Keys = std::multiset<WaitSet::Key>;

class WaitAny : public ::testing::Test {
  NoBound no_bound_;
};

TEST_F(WaitAny, NamesTheOneThatIsReady) {
  Channel a;
  Channel b;
  const std::array<Endpoint*, 2> both{&a.rx, &b.rx};
  EXPECT_EQ(wait_any(both, milliseconds(5)), std::nullopt);
  ASSERT_TRUE(b.tx.try_send({1}));
  EXPECT_EQ(wait_any(both, kLong), 1U);
  EXPECT_EQ(wait_any(both, kLong), 1U) << "until it is taken";
  Tick tick{};
  ASSERT_TRUE(b.rx.try_receive(tick));
  EXPECT_EQ(wait_any(both, Timeout{0}), std::nullopt);
}

TEST_F(WaitAny, SleepsUntilOneIsRung) {
  Channel a;
  Channel b;
  for (int round = 0; round < 30; ++round) {
    Channel& used = round % 2 == 0 ? a : b;
    Sleeper waiter([&] {
      const std::array<Endpoint*, 2> both{&a.rx, &b.rx};
      EXPECT_EQ(wait_any(both, kLong), round % 2 == 0 ? 0U : 1U);
    });
    waiter.until_asleep();
    ASSERT_TRUE(used.tx.try_send({1}));
    waiter.join();
    Tick tick{};
    ASSERT_TRUE(used.rx.try_receive(tick));
  }
}

TEST_F(WaitAny, GivesEachThatIsReadyItsTurn) {
  Channel a;
  Channel b;
  Channel c;
  for (Channel* each : {&a, &b, &c}) ASSERT_TRUE(each->tx.try_send({1}));
  const std::array<Endpoint*, 3> all{&a.rx, &b.rx, &c.rx};
  const std::array<Endpoint*, 2> others{&a.rx, &b.rx};
  std::map<std::size_t, int> told;
  for (int i = 0; i < 300; ++i) {
    ++told[wait_any(all, kLong).value()];
    static_cast<void>(wait_any(others, kLong));  // by turns with another group
  }
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_GT(told[i], 30) << i;
}

TEST_F(WaitAny, WaitsForSendersToo) {
  Channel a(1);
  ASSERT_TRUE(a.tx.try_send({1}));
  const std::array<Endpoint*, 1> one{&a.tx};
  Sleeper waiter([&] { EXPECT_EQ(wait_any(one, kLong), 0U); });
  waiter.until_asleep();
  Tick tick{};
  ASSERT_TRUE(a.rx.try_receive(tick));
}

TEST_F(WaitAny, TellsOfAllThatIsNews) {
  const auto told = [](Channel& channel, Endpoint& endpoint, const std::function<void(Channel&)>& news) {
    const std::array<Endpoint*, 1> one{&endpoint};
    Sleeper waiter([&] { EXPECT_EQ(wait_any(one, kLong), 0U); });
    waiter.until_asleep();
    news(channel);
  };
  Channel a;
  told(a, a.rx, [](Channel& each) { each.tx.close(); });
  Tick tick{};
  EXPECT_EQ(a.rx.try_receive(tick), Status::closed);
  Channel b;
  told(b, b.rx, [](Channel& each) { const auto gone = std::move(each.tx); });
  EXPECT_EQ(b.rx.check(), Status::peer_lost);
  Channel c;
  told(c, c.rx, [](Channel& each) { each.rx.interrupt(); });
  EXPECT_EQ(c.rx.check(), Status::interrupted);
}

TEST_F(WaitAny, LearnsOfALostPeerWhileOneOfThemSpins) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4, .wait = Wait::busy()});
  Channel quiet;
  std::atomic<bool> waits{false};
  Sleeper waiter([&, &rx = rx] {
    const std::array<Endpoint*, 2> both{&quiet.rx, &rx};
    waits = true;
    EXPECT_EQ(wait_any(both, kLong), 1U);
  });
  while (!waits) std::this_thread::yield();
  { const auto gone = std::move(tx); }
}

TEST_F(WaitAny, FindsAtOnceWhatCanTellNothingElse) {
  Channel a;
  Channel b;
  const Receiver<Tick> moved = std::move(a.rx);
  const std::array<Endpoint*, 2> both{&b.rx, &a.rx};
  EXPECT_EQ(wait_any(both, kLong), 1U) << "it was moved from";
  b.tx.close();
  const std::array<Endpoint*, 1> one{&b.tx};
  EXPECT_EQ(wait_any(one, kLong), 0U) << "it was closed";
  EXPECT_EQ(wait_any({}, kLong), std::nullopt);
}

// ---------------------------------------------------------------------------------------------------------------------

class InASet : public ::testing::Test {
 protected:
  WaitSet set_;

 private:
  NoBound no_bound_;
};

TEST_F(InASet, ReceiversAreReturnedWithTheirKeys) {
  std::vector<Channel> channels(3);
  for (std::size_t i = 0; i < channels.size(); ++i) set_.add(channels[i].rx, i + 10);
  EXPECT_EQ(set_.size(), 3U);
  EXPECT_TRUE(set_.wait(milliseconds(5)).empty());
  ASSERT_TRUE(channels[0].tx.try_send({1}));
  ASSERT_TRUE(channels[2].tx.try_send({1}));
  const auto ready = set_.wait(kLong);
  EXPECT_EQ(keys(ready), (Keys{10, 12}));
  for (const auto& each : ready) EXPECT_EQ(each.events, POLLIN);
  EXPECT_EQ(keys(set_.wait(kLong)), (Keys{10, 12})) << "until they are taken";
  Tick tick{};
  ASSERT_TRUE(channels[0].rx.try_receive(tick));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{12});
}

TEST_F(InASet, SendersAreReadyWhileThereIsRoom) {
  Channel channel(1);
  set_.add(channel.tx, 1);
  const auto ready = set_.wait(kLong);
  ASSERT_EQ(ready.size(), 1U);
  EXPECT_EQ(ready[0].events, POLLOUT);
  ASSERT_TRUE(channel.tx.try_send({}));
  EXPECT_TRUE(set_.wait(milliseconds(5)).empty());
  Sleeper waiter([&] { EXPECT_EQ(keys(set_.wait(kLong)), Keys{1}); });
  waiter.until_asleep();
  Tick tick{};
  ASSERT_TRUE(channel.rx.try_receive(tick));
}

TEST_F(InASet, DescriptorsOfTheProgramsOwnAreReturnedToo) {
  Channel channel;
  const os::Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  set_.add(channel.rx, 1);
  set_.add(event.get(), POLLIN, 2);
  EXPECT_TRUE(set_.wait(milliseconds(5)).empty());
  ASSERT_EQ(::eventfd_write(event.get(), 1), 0);
  const auto ready = set_.wait(kLong);
  ASSERT_EQ(keys(ready), Keys{2});
  EXPECT_EQ(ready[0].events, POLLIN);
  ASSERT_TRUE(channel.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), (Keys{1, 2})) << "level-triggered";
  EXPECT_TRUE(set_.remove(event.get()));
  EXPECT_FALSE(set_.remove(event.get()));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
}

TEST_F(InASet, MembersSleepUntilOneIsRung) {
  std::vector<Channel> channels(20);
  for (std::size_t i = 0; i < channels.size(); ++i) set_.add(channels[i].rx, i);
  constexpr std::uint64_t kRounds = 200;
  std::atomic<std::uint64_t> seen{0};
  Sleeper waiter([&] {
    while (seen < kRounds) {
      const auto ready = set_.wait(kLong);
      ASSERT_FALSE(ready.empty());
      for (const auto& [key, events] : ready) {
        Tick tick{};
        while (channels[key].rx.try_receive(tick)) {
          EXPECT_EQ(tick.seq, seen.load());
          ++seen;
        }
      }
    }
  });
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    if (round % 3 == 0) waiter.until_asleep();
    ASSERT_TRUE(channels[round * 7 % channels.size()].tx.try_send({round}));
    while (seen == round && !waiter.is_done()) std::this_thread::yield();
  }
}

TEST_F(InASet, NobodyIsKeptWaitingByThoseThatAreAlwaysReady) {
  std::vector<Channel> busy(5);
  Channel quiet;
  for (std::size_t i = 0; i < busy.size(); ++i) {
    ASSERT_TRUE(busy[i].tx.try_send({}));  // and nobody takes it
    set_.add(busy[i].rx, i);
  }
  set_.add(quiet.rx, 99);
  EXPECT_EQ(set_.wait(kLong).size(), busy.size());
  ASSERT_TRUE(quiet.tx.try_send({}));
  EXPECT_TRUE(keys(set_.wait(kLong)).contains(99));
}

TEST_F(InASet, IdleMembersAreAnnouncedOnceHoweverBusyAnotherIs) {
  Channel busy;
  std::vector<Channel> idle(50);
  ASSERT_TRUE(busy.tx.try_send({}));  // and nobody takes it
  set_.add(busy.rx, 99);
  for (std::size_t i = 0; i < idle.size(); ++i) set_.add(idle[i].rx, i);
  for (int wait = 0; wait < 10; ++wait) EXPECT_EQ(keys(set_.wait(kLong)), Keys{99});
  for (const Channel& channel : idle) {
    const RingMemory memory = internal::Access::attachment(channel.rx)->memory();
    EXPECT_EQ(memory.return_header()->sleeps, 1U) << "looked at again by each wait";
  }
}

TEST_F(InASet, MembersMayComeAndGoBetweenWaits) {
  auto first = std::make_unique<Channel>();
  Channel second;
  set_.add(first->rx, 1);
  set_.add(second.rx, 2);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  ASSERT_TRUE(first->tx.try_send({}));
  EXPECT_TRUE(set_.remove(first->rx));
  EXPECT_FALSE(set_.remove(first->rx));
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  set_.add(first->rx, 3);
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{3});
  first.reset();  // leaves the set by its end
  EXPECT_EQ(set_.size(), 1U);
  Channel third;
  set_.add(third.rx, 4);
  ASSERT_TRUE(third.tx.try_send({}));
  ASSERT_TRUE(second.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), (Keys{2, 4}));
}

TEST_F(InASet, AnotherThreadMayAddAndRemoveWhileItIsWaitedOn) {
  Channel first;
  Channel second;
  set_.add(first.rx, 1);
  {
    Sleeper waiter([&] { EXPECT_EQ(keys(set_.wait(kLong)), Keys{2}); });
    waiter.until_asleep();
    set_.add(second.rx, 2);
    ASSERT_TRUE(set_.remove(first.rx));
    ASSERT_TRUE(first.tx.try_send({}));
    waiter.until_asleep();
    ASSERT_TRUE(second.tx.try_send({}));
  }
  ASSERT_TRUE(set_.remove(second.rx));  // its message is still there
  Sleeper waiter([&] { EXPECT_TRUE(set_.wait(kLong).empty()); });
  waiter.until_asleep();
  set_.interrupt();
}

TEST_F(InASet, AMemberMayBeMoved) {
  Channel channel;
  set_.add(channel.rx, 1);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  Receiver<Tick> moved = std::move(channel.rx);
  ASSERT_TRUE(channel.tx.try_send({7}));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
  Tick tick{};
  ASSERT_TRUE(moved.try_receive(tick));
  EXPECT_EQ(tick.seq, 7U);
  EXPECT_TRUE(set_.remove(moved));
}

TEST_F(InASet, AMemberMayBeUsedInEveryOtherWay) {
  Channel channel;
  set_.add(channel.rx, 1);
  Tick tick{};
  const std::array<Endpoint*, 1> one{&channel.rx};
  const std::array<std::function<void()>, 5> uses{
      [&] { EXPECT_EQ(channel.rx.receive(tick, milliseconds(1)), Status::timeout); },
      [&] { EXPECT_EQ(wait_any(one, milliseconds(1)), std::nullopt); }, [&] { static_cast<void>(channel.rx.arm()); },
      [&] { EXPECT_EQ(channel.rx.check(), Status::ok); },
      [&] {
        EXPECT_TRUE(channel.tx.try_send({}));
        EXPECT_EQ(channel.rx.check(), Status::ok);  // takes the ring
        EXPECT_TRUE(channel.rx.try_receive(tick));
      }};
  for (const auto& use : uses) {
    EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
    use();
    Sleeper waiter([&] { EXPECT_EQ(keys(set_.wait(kLong)), Keys{1}); });
    waiter.until_asleep();
    ASSERT_TRUE(channel.tx.try_send({}));
    waiter.join();
    ASSERT_TRUE(channel.rx.try_receive(tick));
  }
}

TEST_F(InASet, ADeadPeersChannelIsToldOfOnceAndThenQuiet) {
  Channel dead;
  Channel living;
  set_.add(dead.rx, 1);
  set_.add(living.rx, 2);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  ASSERT_TRUE(dead.tx.try_send({5}));
  { const auto gone = std::move(dead.tx); }
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
  Tick tick{};
  ASSERT_TRUE(dead.rx.try_receive(tick));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1}) << "now of the loss";
  EXPECT_EQ(dead.rx.check(), Status::peer_lost);
  EXPECT_TRUE(set_.wait(milliseconds(5)).empty());
  ASSERT_TRUE(living.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{2});
}

TEST_F(InASet, ASenderThatIsClosedWhileItIsIdleIsReturned) {
  Channel channel(1);
  ASSERT_TRUE(channel.tx.try_send({}));
  set_.add(channel.tx, 1);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  channel.tx.close();
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
  EXPECT_TRUE(set_.remove(channel.tx));
}

TEST_F(InASet, FramesAreWaitedForInBothDirections) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000});
  const std::string text(1500, 'x');
  const auto message = std::as_bytes(std::span(text));
  set_.add(rx, 1);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  while (tx.try_send(message)) {
  }
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
  EXPECT_TRUE(set_.remove(rx));
  set_.add(tx, 2);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  Sleeper waiter([&] { EXPECT_EQ(keys(set_.wait(kLong)), Keys{2}); });
  waiter.until_asleep();
  for (std::span<const std::byte> got; rx.try_receive(got);) {
    EXPECT_EQ(got.size(), text.size());
    rx.release();
  }
}

TEST_F(InASet, AForksChildMayEndAMemberAndThenTheSet) {
  Channel channel;
  set_.add(channel.rx, 1);
  EXPECT_TRUE(set_.wait(milliseconds(1)).empty());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    { const auto gone = std::move(channel.rx); }
    { const WaitSet gone = std::move(set_); }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(channel.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1}) << "the parent's is as it was";
}

TEST_F(InASet, AWaitGoesOnAfterASignalAndKeepsItsTime) {
  Channel channel;
  set_.add(channel.rx, 1);
  const Signals signals([](int) {});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(set_.wait(milliseconds(50)).empty());
  const std::array<Endpoint*, 1> one{&channel.rx};
  EXPECT_EQ(wait_any(one, milliseconds(50)), std::nullopt);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(100));
}

TEST_F(InASet, AClosedStreamIsTold) {
  Channel channel;
  set_.add(channel.rx, 1);
  Sleeper waiter([&] { EXPECT_EQ(keys(set_.wait(kLong)), Keys{1}); });
  waiter.until_asleep();
  channel.tx.close();
  waiter.join();
  Tick tick{};
  EXPECT_EQ(channel.rx.try_receive(tick), Status::closed);
}

TEST_F(InASet, WhatCanNotBeWaitedForIsRefused) {
  Channel channel;
  set_.add(channel.rx, 1);
  WaitSet other;
  const auto code = [](const auto& add) {
    try {
      add();
    } catch (const Error& e) {
      return e.errc();
    }
    return Errc{};
  };
  EXPECT_EQ(code([&] { set_.add(channel.rx, 2); }), Errc::invalid) << "twice";
  EXPECT_EQ(code([&] { other.add(channel.rx, 2); }), Errc::invalid) << "in two sets";
  Receiver<Tick> moved = std::move(channel.rx);
  EXPECT_EQ(code([&] { set_.add(channel.rx, 2); }), Errc::invalid) << "moved from";
  channel.tx.close();
  EXPECT_EQ(code([&] { set_.add(channel.tx, 2); }), Errc::invalid) << "closed";
  EXPECT_EQ(code([&] { set_.add(-1, POLLIN, 2); }), Errc::invalid) << "no descriptor";
  const os::Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(code([&] { set_.add(file.get(), POLLIN, 2); }), Errc::invalid) << "a file is always ready";
  const os::Descriptor event(::eventfd(0, EFD_CLOEXEC));
  set_.add(event.get(), POLLIN, 3);
  EXPECT_EQ(code([&] { set_.add(event.get(), POLLIN, 3); }), Errc::invalid) << "twice";
  EXPECT_EQ(set_.size(), 2U) << "the refused ones left nothing";
  EXPECT_FALSE(other.remove(moved));
}

TEST_F(InASet, AnInterruptIsKeptForTheNextWait) {
  Channel channel;
  set_.add(channel.rx, 1);
  set_.interrupt();
  EXPECT_TRUE(set_.wait(kLong).empty());
  ASSERT_TRUE(channel.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{1});
}

TEST_F(InASet, ASetMayEndBeforeItsMembers) {
  Channel channel;
  {
    WaitSet brief;
    brief.add(channel.rx, 1);
    EXPECT_TRUE(brief.wait(milliseconds(1)).empty());
  }
  set_.add(channel.rx, 2);
  ASSERT_TRUE(channel.tx.try_send({}));
  EXPECT_EQ(keys(set_.wait(kLong)), Keys{2});
}

#ifndef NDEBUG
TEST(InASetDeathTest, TwoThreadsWaitingAreABug) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        WaitSet set;
        std::thread first([&] { static_cast<void>(set.wait(kLong)); });
        std::thread second([&] { static_cast<void>(set.wait(kLong)); });
        first.join();
        second.join();
      },
      "two threads wait on one wait set");
}
#endif

/// As many descriptors as this process may have: `wanted` for root, else what its hard limit allows.
rlim_t raise_descriptor_limit(rlim_t wanted) {
  rlimit limit{.rlim_cur = wanted, .rlim_max = wanted};
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return wanted;
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  return limit.rlim_cur;
}

TEST_F(InASet, TenThousandReceiversAreServed) {
  constexpr std::size_t kReceivers = 10'000;
  constexpr std::size_t kDescriptors = 6;  // a channel, both of whose ends are of this process
  constexpr std::size_t kSpare = 100;
  const rlim_t limit = raise_descriptor_limit(kReceivers * kDescriptors + kSpare);
  const std::size_t count = (limit - kSpare) / kDescriptors;
  if (count < kReceivers) std::cout << "only " << count << " receivers: " << limit << " descriptors are allowed here\n";
  std::vector<Channel> channels(count);
  for (std::size_t i = 0; i < count; ++i) set_.add(channels[i].rx, i);
  std::size_t received = 0;
  Sleeper waiter([&] {
    while (received < 2 * count) {
      const auto ready = set_.wait(kLong);
      ASSERT_FALSE(ready.empty());
      for (const auto& [key, events] : ready) {
        Tick tick{};
        while (channels[key].rx.try_receive(tick)) {
          EXPECT_EQ(tick.seq, key);
          ++received;
        }
      }
    }
  });
  waiter.until_asleep();
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(channels[i].tx.send({i}, kLong));
  }
}

}  // namespace
}  // namespace nimsync
