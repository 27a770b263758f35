// Waiting: one suite for every strategy, then what only the doorbell has: fd() and arm().
//
// The doorbell's tests run without a bound on its sleeps, so that a lost wake-up hangs, and the watchdog tells.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/client/asleep.hpp"

namespace nimsync {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::kLong;
using testing::NoBound;
using testing::Signals;
using testing::Sleeper;

struct Tick {
  std::uint64_t seq;
  double price;
};

struct Strategy {
  const char* name;
  Wait wait;
};
void PrintTo(const Strategy& strategy, std::ostream* to) {
  *to << strategy.name;
}

class Waiting : public ::testing::TestWithParam<std::tuple<Strategy, Layout>> {
 protected:
  [[nodiscard]] static Wait how() { return std::get<0>(GetParam()).wait; }
  [[nodiscard]] static Options options(std::uint64_t capacity) {
    return {.capacity = capacity, .layout = std::get<1>(GetParam()), .wait = how()};
  }
  /// Until the other thread waits: sleeps, where the strategy does.
  static void until_waiting(const Sleeper& sleeper) {
    if (how().kind() == Wait::Kind::doorbell) return sleeper.until_asleep();
    std::this_thread::sleep_for(milliseconds(1));
  }

 private:
  NoBound no_bound_;
};
INSTANTIATE_TEST_SUITE_P(
    Every, Waiting,
    ::testing::Combine(::testing::Values(Strategy{"busy", Wait::busy()},
                                         Strategy{"backoff", Wait::backoff(milliseconds(1), milliseconds(2))},
                                         Strategy{"doorbell", Wait::doorbell()},
                                         Strategy{"doorbell_without_spinning", Wait::doorbell(Timeout{0})}),
                       ::testing::Values(Layout::stamped, Layout::dense)),
    [](const auto& each) {
      return std::string(std::get<0>(each.param).name) + "_" + std::string(name(std::get<1>(each.param)));
    });

TEST_P(Waiting, CarriesRecordsBetweenThreads) {
  auto [tx, rx] = make_channel<Tick>(options(64));
  const std::uint64_t count = how().kind() == Wait::Kind::backoff ? 20'000 : 200'000;
  Sleeper sender([&, &tx = tx] {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!tx.send({i, static_cast<double>(i)}, kLong)) return;
    }
    tx.close();
  });
  Tick tick{};
  std::uint64_t received = 0;
  Status status = Status::ok;
  while ((status = rx.receive(tick, kLong))) {
    ASSERT_EQ(tick.seq, received);
    ASSERT_EQ(tick.price, static_cast<double>(received));
    ++received;
  }
  EXPECT_EQ(status, Status::closed);
  EXPECT_EQ(received, count);
}

TEST_P(Waiting, EndsForEachWayOfSending) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  constexpr std::uint64_t kRounds = 30;
  std::atomic<std::uint64_t> received{0};
  Sleeper receiver([&, &rx = rx] {
    Tick tick{};
    while (received < kRounds && rx.receive(tick, kLong)) {
      EXPECT_EQ(tick.seq, received.load());
      ++received;
    }
  });
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    until_waiting(receiver);
    const std::array<Tick, 1> one{Tick{round, 0}};
    switch (round % 4) {
      case 0:
        ASSERT_TRUE(tx.try_send(one[0]));
        break;
      case 1:
        ASSERT_TRUE(tx.send(one[0], kLong));
        break;
      case 2:
        ASSERT_EQ(tx.try_send_some(one), 1U);
        break;
      default: {
        const std::span<Tick> room = tx.reserve();
        ASSERT_FALSE(room.empty());
        room[0] = one[0];
        tx.commit();
      }
    }
    while (received == round && !receiver.is_done()) std::this_thread::yield();
  }
  receiver.join();
  EXPECT_EQ(received, kRounds);
}

TEST_P(Waiting, EndsForEachWayOfReceivingFromAFullChannel) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  constexpr std::uint64_t kRounds = 30;
  std::atomic<std::uint64_t> sent{0};
  Sleeper sender([&, &tx = tx] {
    while (sent < kRounds && tx.send({sent, 0}, kLong)) ++sent;
  });
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    if (round + 1 < kRounds) until_waiting(sender);
    std::array<Tick, 1> one{};
    switch (round % 4) {
      case 0:
        while (!rx.try_receive(one[0])) std::this_thread::yield();
        break;
      case 1:
        ASSERT_TRUE(rx.receive(one[0], kLong));
        break;
      case 2:
        while (rx.try_receive_some(one) == 0) std::this_thread::yield();
        break;
      default:
        while (rx.peek().empty()) std::this_thread::yield();
        one[0] = rx.peek()[0];
        rx.release();
    }
    ASSERT_EQ(one[0].seq, round);
  }
  sender.join();
  EXPECT_EQ(sent, kRounds);
}

TEST_P(Waiting, EndsWhenTheStreamIsClosed) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  Sleeper receiver([&rx = rx] {
    Tick tick{};
    EXPECT_EQ(rx.receive(tick, kLong), Status::closed);
  });
  until_waiting(receiver);
  tx.close();
}

TEST_P(Waiting, EndsWhenThePeerIsLost) {
  {
    auto [tx, rx] = make_channel<Tick>(options(4));
    Sleeper receiver([&rx = rx] {
      Tick tick{};
      EXPECT_EQ(rx.receive(tick, kLong), Status::peer_lost);
    });
    until_waiting(receiver);
    { const auto gone = std::move(tx); }
  }
  auto [tx, rx] = make_channel<Tick>(options(1));
  ASSERT_TRUE(tx.try_send({}));
  Sleeper sender([&tx = tx] { EXPECT_EQ(tx.send({}, kLong), Status::peer_lost); });
  until_waiting(sender);
  { const auto gone = std::move(rx); }
}

TEST_P(Waiting, LastsAtLeastAsLongAsItIsTold) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  Tick tick{};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(rx.receive(tick, milliseconds(30)), Status::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(30));
  EXPECT_EQ(rx.receive(tick, Timeout{0}), Status::timeout);
  EXPECT_EQ(rx.receive(tick, Timeout{-5}), Status::timeout);
  EXPECT_EQ(rx.receive(tick, Timeout::min()), Status::timeout);
  ASSERT_TRUE(tx.try_send({1, 1}));
  EXPECT_EQ(tx.send({2, 2}, milliseconds(5)), Status::timeout);
  EXPECT_EQ(rx.receive(tick, Timeout{0}), Status::ok) << "what is there needs no wait";
}

TEST_P(Waiting, IsInterruptedFromAnotherThread) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  for (int round = 0; round < 20; ++round) {
    Sleeper receiver([&rx = rx] {
      Tick tick{};
      EXPECT_EQ(rx.receive(tick, kLong), Status::interrupted);
    });
    if (round % 2 == 0) until_waiting(receiver);
    rx.interrupt();
  }
}

TEST_P(Waiting, KeepsAnInterruptForTheNextCall) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  rx.interrupt();
  rx.interrupt();
  Tick tick{};
  EXPECT_EQ(rx.try_receive(tick), Status::would_block);
  EXPECT_EQ(rx.receive(tick, kLong), Status::interrupted);
  EXPECT_EQ(rx.receive(tick, milliseconds(1)), Status::timeout);
  tx.interrupt();
  rx.interrupt();
  EXPECT_EQ(tx.check(), Status::interrupted);
  EXPECT_EQ(rx.check(), Status::interrupted);
  EXPECT_EQ(rx.check(), Status::ok);
}

const Receiver<Tick>* interrupted_by_signal = nullptr;

TEST_P(Waiting, IsInterruptedFromASignalHandler) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  interrupted_by_signal = &rx;
  const Signals signals([](int) { interrupted_by_signal->interrupt(); });
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kLong), Status::interrupted);
}

TEST_P(Waiting, GoesOnAfterASignalThatIsNoInterrupt) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  const Signals signals([](int) {});
  Tick tick{};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(rx.receive(tick, milliseconds(100)), Status::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(100));
}

TEST(Frames, WakeAReceiverAndASenderThatSleep) {
  const NoBound no_bound;
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000, .wait = Wait::doorbell(Timeout{0})});
  constexpr std::size_t kMessages = 300;
  const auto message = [](std::size_t i) { return std::string(i * 7 % 2001, static_cast<char>('a' + i % 26)); };
  Sleeper sender([&, &tx = tx] {
    for (std::size_t i = 0; i < kMessages; ++i) {
      const std::string text = message(i);
      if (!tx.send(std::as_bytes(std::span(text)), kLong)) return;
    }
    tx.close();
  });
  std::size_t received = 0;
  Status status = Status::ok;
  for (std::span<const std::byte> got; (status = rx.receive(got, kLong)); rx.release()) {
    ASSERT_EQ(std::string(reinterpret_cast<const char*>(got.data()), got.size()), message(received));
    ++received;
    if (received % 10 == 0 && received + 10 < kMessages) sender.until_asleep();
  }
  EXPECT_EQ(status, Status::closed);
  EXPECT_EQ(received, kMessages);
}

#ifndef NDEBUG
void wait_in_two_threads() {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const auto wait = [&rx = rx] {
    Tick tick{};
    static_cast<void>(rx.receive(tick, kLong));
  };
  std::thread first(wait);
  std::thread second(wait);
  first.join();
  second.join();
}

TEST(WaitingDeathTest, OfTwoThreadsOnOneEndpointIsABug) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(wait_in_two_threads(), "two threads wait on one endpoint");
}
#endif

// -- fd() and arm()

class Poller {
 public:
  virtual ~Poller() = default;
  /// Whether the descriptor became readable in time.
  virtual bool wait(int timeout_ms) = 0;
};

class ByPoll final : public Poller {
 public:
  explicit ByPoll(int fd) : fd_(fd) {}
  bool wait(int timeout_ms) override {
    pollfd polled{.fd = fd_, .events = POLLIN, .revents = 0};
    return ::poll(&polled, 1, timeout_ms) == 1;
  }

 private:
  int fd_;
};

class ByEpoll final : public Poller {
 public:
  ByEpoll(int fd, std::uint32_t trigger) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{.events = EPOLLIN | trigger, .data = {}};
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }
  bool wait(int timeout_ms) override {
    epoll_event event{};
    return ::epoll_wait(epoll_.get(), &event, 1, timeout_ms) == 1;
  }

 private:
  os::Descriptor epoll_;
};

class Polling : public ::testing::TestWithParam<const char*> {
 protected:
  static std::unique_ptr<Poller> poller(int fd) {
    const std::string_view kind = GetParam();
    if (kind == "poll") return std::make_unique<ByPoll>(fd);
    return std::make_unique<ByEpoll>(fd, kind == "epoll_edge" ? EPOLLET : 0U);
  }
  static constexpr int kLong_ms = 60'000;
  static constexpr int kShort_ms = 20;

 private:
  NoBound no_bound_;
};
INSTANTIATE_TEST_SUITE_P(Every, Polling, ::testing::Values("poll", "epoll_level", "epoll_edge"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(Polling, TakesEveryMessageOfAStreamInTheOneCorrectOrder) {
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    auto [tx, rx] = make_channel<Tick>({.capacity = 4, .layout = layout});
    constexpr std::uint64_t kCount = 3000;
    Sleeper sender([&, &tx = tx] {
      const auto waiter = poller(tx.fd());
      for (std::uint64_t i = 0; i < kCount;) {
        if (tx.try_send({i, 0})) {
          ++i;
        } else if (tx.arm() && !waiter->wait(kLong_ms)) {
          ADD_FAILURE() << "nobody rang the sender";
          return;
        }
        if (i % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
      tx.close();
    });
    const auto waiter = poller(rx.fd());
    std::uint64_t received = 0;
    for (;;) {
      Tick tick{};
      const Status status = rx.try_receive(tick);
      if (status == Status::ok) {
        ASSERT_EQ(tick.seq, received++);
        continue;
      }
      if (status == Status::closed) break;
      if (rx.arm()) {
        ASSERT_TRUE(waiter->wait(kLong_ms)) << "nobody rang the receiver";
      }
    }
    EXPECT_EQ(received, kCount);
  }
}

TEST_P(Polling, SleepsWhileThereIsNothing) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const auto waiter = poller(rx.fd());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(rx.arm() || rx.arm());  // the first finds that the sender has attached
    EXPECT_FALSE(waiter->wait(kShort_ms));
    ASSERT_TRUE(tx.try_send({}));
    EXPECT_TRUE(waiter->wait(kLong_ms));
    Tick tick{};
    ASSERT_TRUE(rx.try_receive(tick));
  }
}

TEST_P(Polling, TellsOfALostPeerAndDoesNotWakeForItForEver) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const auto waiter = poller(rx.fd());
  ASSERT_TRUE(rx.arm() || rx.arm());
  { const auto gone = std::move(tx); }
  EXPECT_TRUE(waiter->wait(kLong_ms));
  EXPECT_FALSE(rx.arm()) << "the loss is to be told first";
  EXPECT_EQ(rx.check(), Status::peer_lost);
  ASSERT_TRUE(rx.arm());
  EXPECT_FALSE(waiter->wait(kShort_ms)) << "nobody is there any more, and that is no news";
}

TEST_P(Polling, IsWokenByInterruptAndByCheck) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const auto waiter = poller(rx.fd());
  ASSERT_TRUE(rx.arm() || rx.arm());
  rx.interrupt();
  EXPECT_TRUE(waiter->wait(kLong_ms));
  EXPECT_FALSE(rx.arm());
  EXPECT_EQ(rx.check(), Status::interrupted);
  ASSERT_TRUE(rx.arm());
  ASSERT_TRUE(tx.try_send({}));
  EXPECT_EQ(rx.check(), Status::ok);  // takes the ring from the line
  EXPECT_TRUE(waiter->wait(kLong_ms)) << "and passes it on";
}

TEST(Arm, SaysThatThereIsSomethingAlready) {
  const NoBound no_bound;
  auto [tx, rx] = make_channel<Tick>({.capacity = 2});
  EXPECT_FALSE(tx.arm()) << "there is room";
  ASSERT_TRUE(tx.try_send({}));
  EXPECT_FALSE(tx.arm());
  EXPECT_FALSE(rx.arm());
  ASSERT_TRUE(tx.try_send({}));
  EXPECT_EQ(tx.try_send({}), Status::would_block);
  EXPECT_TRUE(tx.arm() || tx.arm());
  Tick tick{};
  ASSERT_TRUE(rx.try_receive(tick));
  EXPECT_FALSE(tx.arm());
  tx.close();
  EXPECT_FALSE(tx.arm());
  ASSERT_TRUE(rx.try_receive(tick));
  EXPECT_FALSE(rx.arm()) << "the stream has ended";
  EXPECT_EQ(rx.try_receive(tick), Status::closed);
  EXPECT_TRUE(rx.arm() || rx.arm());
}

TEST(Arm, GivesWayToABlockingCall) {
  const NoBound no_bound;
  auto [tx, rx] = make_channel<Tick>({.capacity = 1, .wait = Wait::doorbell(Timeout{0})});
  ASSERT_TRUE(rx.arm() || rx.arm());
  ASSERT_TRUE(tx.try_send({1, 0}));  // rings for what was armed
  Tick tick{};
  ASSERT_TRUE(rx.receive(tick, kLong));
  Sleeper receiver([&rx = rx] {
    Tick next{};
    EXPECT_EQ(rx.receive(next, kLong), Status::ok);
  });
  receiver.until_asleep();
  ASSERT_TRUE(tx.try_send({2, 0}));
}

TEST(Arm, OfAClosedSenderLeavesItsSuccessorAlone) {
  const NoBound no_bound;
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  ASSERT_TRUE(tx.try_send({}));
  ASSERT_TRUE(tx.arm() || tx.arm());
  const layout::Header& header = internal::Access::attachment(tx)->memory().forward_header()->common;
  EXPECT_EQ(header.sleep_epoch % 2, 1U);
  tx.close();
  EXPECT_EQ(header.sleep_epoch % 2, 0U) << "a successor's from now on";
  const std::uint64_t epoch = header.sleep_epoch;
  EXPECT_FALSE(tx.arm());
  EXPECT_EQ(header.sleep_epoch, epoch);
}

TEST(ShortWaiting, TellsOfALostPeerInNoTimeAtAll) {
  for (const Wait wait : {Wait::busy(), Wait::doorbell(), Wait::doorbell(forever)}) {
    auto [tx, rx] = make_channel<Tick>({.capacity = 1, .wait = wait});
    { const auto gone = std::move(tx); }
    Tick tick{};
    EXPECT_EQ(rx.receive(tick, Timeout{0}), Status::peer_lost);
    EXPECT_EQ(rx.receive(tick, Timeout{0}), Status::timeout);
  }
}

TEST(Arm, OfAnEndpointThatWasMovedFromIsRefused) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const Receiver<Tick> moved = std::move(rx);
  EXPECT_FALSE(rx.arm());  // NOLINT(bugprone-use-after-move): what a moved-from endpoint does is promised
  EXPECT_THROW(static_cast<void>(rx.fd()), Error);
}

TEST(Doorbell, RingsInVainWhenThePeerHasGoneMeanwhile) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  internal::Access::attachment(rx)->memory().return_header()->sleep_epoch = 1;
  { const auto gone = std::move(rx); }
  internal::Access::attachment(tx)->memory().return_header()->sleep_epoch = 3;  // as if seen just before
  EXPECT_TRUE(tx.try_send({})) << "and no SIGPIPE";
}

TEST(Doorbell, RingsOncePerSleepHoweverManyMessagesCome) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 64});
  ASSERT_TRUE(rx.arm() || rx.arm());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(tx.try_send({}));
  std::array<char, 64> bytes{};
  EXPECT_EQ(::read(internal::Access::attachment(rx)->line(), bytes.data(), bytes.size()), 1);
}

}  // namespace
}  // namespace nimsync
