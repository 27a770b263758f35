// Endpoints in a program of Boost.Asio.
//
// Without a bound on sleeps, so that a lost wake-up hangs, and the watchdog tells. "Suspended" is seen, not waited for:
// Asio has no handler to call any more, and the operation hasn't completed.
#include "nimsync/asio.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/client/asleep.hpp"
#include "tests/service/private_daemon.hpp"

namespace nimsync {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using boost::system::error_code;
using boost::system::system_error;
using testing::kLong;
using testing::NoBound;
using testing::Sleeper;

struct Tick {
  std::uint64_t seq;
  double price;

  bool operator==(const Tick&) const = default;
};

Tick nth(std::uint64_t n) {
  return {.seq = n, .price = 100 + static_cast<double>(n % 1000) / 8};
}

std::string text(std::span<const std::byte> message) {
  return {reinterpret_cast<const char*>(message.data()), message.size()};
}
std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// What a future holds, under the watchdog.
template <class T>
T get(std::future<T> future) {
  if (future.wait_for(kLong) != std::future_status::ready) throw std::runtime_error("nobody woke it");
  return future.get();
}

const auto as_tuple = asio::as_tuple(use_awaitable);

/// The executor that all is told of; what a coroutine throws, run() throws.
class Asio : public ::testing::Test {
 protected:
  /// Until nothing is under way any more.
  void run() {
    io_.restart();
    io_.run_for(kLong);
    ASSERT_TRUE(io_.stopped()) << "nobody woke it";
  }
  /// Until nothing can go on by itself.
  void settle() {
    io_.restart();
    while (io_.poll() != 0) {
    }
  }
  void spawn(asio::awaitable<void> coroutine) {
    asio::co_spawn(io_, std::move(coroutine), [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
    });
  }
  /// Whether the next message is this one, and is there.
  static void expect_next(Receiver<Tick>& rx, std::uint64_t n) {
    Tick tick{};
    ASSERT_EQ(rx.try_receive(tick), Status::ok);
    EXPECT_EQ(tick, nth(n));
  }

  asio::io_context io_;

 private:
  NoBound no_bound_;
};

class AsioOnEachLayout : public Asio, public ::testing::WithParamInterface<Layout> {
 protected:
  static auto channel(std::uint64_t capacity) {
    return make_channel<Tick>({.capacity = capacity, .layout = GetParam()});
  }
};
INSTANTIATE_TEST_SUITE_P(Every, AsioOnEachLayout, ::testing::Values(Layout::stamped, Layout::dense),
                         [](const auto& each) { return std::string(name(each.param)); });

// -- streams

asio::awaitable<void> send_all(Sender<Tick>& tx, std::uint64_t count) {
  for (std::uint64_t n = 0; n < count; ++n) co_await async_send(tx, nth(n), use_awaitable);
  tx.close();
}

/// Until the stream ends; returns how many there were.
asio::awaitable<std::uint64_t> receive_all(Receiver<Tick>& rx) {
  for (std::uint64_t n = 0;; ++n) {
    const auto [ec, tick] = co_await async_receive(rx, as_tuple);
    if (ec == Status::closed) co_return n;
    if (ec) throw system_error(ec);
    if (tick != nth(n)) throw std::logic_error("message " + std::to_string(n) + " is not the right one");
  }
}

constexpr std::uint64_t kMany = 20'000;

TEST_P(AsioOnEachLayout, CarriesAStreamBetweenTwoCoroutinesOfOneThread) {
  for (const std::uint64_t capacity : {1U, 4U, 1024U}) {
    auto [tx, rx] = channel(capacity);
    std::uint64_t received = 0;
    const auto receive = [&, &from = rx]() -> asio::awaitable<void> { received = co_await receive_all(from); };
    spawn(receive());
    spawn(send_all(tx, kMany / 10));
    run();
    EXPECT_EQ(received, kMany / 10);
  }
}

TEST_P(AsioOnEachLayout, CarriesAStreamBetweenTwoThreads) {
  for (const std::uint64_t capacity : {1U, 8U, 1024U}) {
    auto [tx, rx] = channel(capacity);
    Sleeper sender([&to = tx] {
      asio::io_context io;
      asio::co_spawn(io, send_all(to, kMany), asio::detached);
      io.run_for(kLong);
    });
    std::uint64_t received = 0;
    const auto receive = [&, &from = rx]() -> asio::awaitable<void> { received = co_await receive_all(from); };
    spawn(receive());
    run();
    EXPECT_EQ(received, kMany);
  }
}

TEST_P(AsioOnEachLayout, SharesAChannelWithBlockingCallsOnTheOtherSide) {
  auto [tx, rx] = channel(4);
  auto [back, answers] = channel(4);
  constexpr std::uint64_t kRounds = 2000;
  Sleeper echo([&from = rx, &to = back] {
    for (Tick tick{}; from.receive(tick, kLong);) {
      if (!to.send(tick, kLong)) return;
    }
    to.close();
  });
  std::uint64_t received = 0;
  const auto ask = [&, &to = tx, &from = answers]() -> asio::awaitable<void> {
    for (; received < kRounds; ++received) {
      co_await async_send(to, nth(received), use_awaitable);
      if (received % 500 == 0) echo.until_asleep();
      if (co_await async_receive(from, use_awaitable) != nth(received)) co_return;
    }
    to.close();
    received += co_await receive_all(from);
  };
  spawn(ask());
  run();
  EXPECT_EQ(received, kRounds);
}

TEST_F(Asio, CarriesAStreamBetweenTwoProcesses) {
  const testing::PrivateDaemon daemon;
  const testing::TemporaryFolder folder;
  testing::Child sender([&] {
    const NoBound no_bound;
    auto tx = Registry::connect(daemon.socket()).sender<Tick>("ticks", {.capacity = 16});
    asio::io_context io;
    asio::co_spawn(io, send_all(tx, kMany), asio::detached);
    io.run_for(kLong);
    return io.stopped() ? 0 : 1;
  });
  auto rx = Registry::connect(daemon.socket()).receiver<Tick>("ticks", {.capacity = 16});
  std::uint64_t received = 0;
  const auto receive = [&]() -> asio::awaitable<void> { received = co_await receive_all(rx); };
  spawn(receive());
  run();
  EXPECT_EQ(received, kMany);
  EXPECT_EQ(sender.wait(), 0);
}

TEST_F(Asio, CarriesMessagesOfAnyLengthInPlace) {
  constexpr std::size_t kMessages = 3000;
  const auto nth_message = [](std::size_t i) { return std::string(i * 7 % 2001, static_cast<char>('a' + i % 26)); };
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000});
  Sleeper sender([&, &to = tx] {
    asio::io_context io;
    const auto send = [&]() -> asio::awaitable<void> {
      for (std::size_t i = 0; i < kMessages; ++i) {
        const std::string message = nth_message(i);
        co_await async_send(to, bytes(message), use_awaitable);
      }
      to.close();
    };
    asio::co_spawn(io, send(), asio::detached);
    io.run_for(kLong);
  });
  std::size_t received = 0;
  const auto receive = [&, &from = rx]() -> asio::awaitable<void> {
    for (;; ++received) {
      const auto [ec, message] = co_await async_receive(from, as_tuple);
      if (ec == Status::closed) co_return;
      if (ec) throw system_error(ec);
      if (text(message) != nth_message(received)) throw std::logic_error("a message differs");
      from.release();
    }
  };
  spawn(receive());
  run();
  EXPECT_EQ(received, kMessages);
}

// -- tokens

TEST_F(Asio, CallsBackForEachMessage) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  std::vector<std::uint64_t> received;
  error_code end;
  std::function<void()> next = [&, &from = rx] {
    async_receive(io_, from, [&](error_code ec, const Tick& tick) {
      if ((end = ec)) return;
      received.push_back(tick.seq);
      next();
    });
  };
  next();
  for (std::uint64_t n = 0; n < 3; ++n) {
    async_send(io_, tx, nth(n), [](error_code ec) { EXPECT_FALSE(ec); });
    settle();
  }
  tx.close();
  run();
  EXPECT_EQ(received, (std::vector<std::uint64_t>{0, 1, 2}));
  EXPECT_EQ(end, Status::closed);
}

TEST_F(Asio, ServesFuturesInTheThreadOfTheContext) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  auto work = asio::make_work_guard(io_);
  std::promise<std::thread::id> id;
  Sleeper loop([&, this] {
    id.set_value(std::this_thread::get_id());
    io_.run_for(kLong);
  });
  auto first = async_receive(io_, rx, asio::use_future);
  loop.until_asleep();
  get(async_send(io_, tx, nth(7), asio::use_future));
  EXPECT_EQ(get(std::move(first)), nth(7));
  auto thread = async_wait(io_, tx, asio::use_future([](error_code) { return std::this_thread::get_id(); }));
  EXPECT_EQ(get(std::move(thread)), get(id.get_future()));
  get(async_send(tx, nth(8), asio::bind_executor(io_, asio::use_future)));
  EXPECT_EQ(get(async_receive(rx, asio::bind_executor(io_, asio::use_future))), nth(8));
  tx.close();
  try {
    get(async_receive(io_, rx, asio::use_future));
    ADD_FAILURE() << "received from a stream that has ended";
  } catch (const system_error& error) {
    EXPECT_EQ(error.code(), Status::closed);
  }
  work.reset();
}

TEST_F(Asio, ThrowsFromCoroutinesUnlessTheTokenSaysOtherwise) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  error_code thrown;
  error_code redirected;
  error_code in_tuple;
  const auto send = [&, &to = tx]() -> asio::awaitable<void> {
    to.close();
    try {
      co_await async_send(to, nth(0), use_awaitable);
    } catch (const system_error& error) {
      thrown = error.code();
    }
    co_await async_send(to, nth(0), asio::redirect_error(use_awaitable, redirected));
    std::tie(in_tuple) = co_await async_send(to, nth(0), as_tuple);
  };
  spawn(send());
  run();
  EXPECT_EQ(thrown, Status::closed);
  EXPECT_EQ(redirected, Status::closed);
  EXPECT_EQ(in_tuple, Status::closed);
}

TEST_F(Asio, StartsADeferredOperationWhenItIsAskedTo) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  auto receive = async_receive(rx, asio::deferred);
  auto send = async_send(io_, tx, nth(1), asio::deferred);
  settle();
  EXPECT_TRUE(rx.is_empty());
  std::move(send)([](error_code ec) { EXPECT_FALSE(ec); });
  std::optional<Tick> received;
  std::move(receive)(asio::bind_executor(io_, [&](error_code, const Tick& tick) { received = tick; }));
  run();
  EXPECT_EQ(received, nth(1));
}

TEST_F(Asio, TakesMoveOnlyHandlers) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  int called = 0;
  const auto handler = [&called](auto... more) {
    return [&called, only = std::make_unique<int>(1), more...](error_code ec, const auto&...) {
      EXPECT_FALSE(ec);
      called += *only;
    };
  };
  async_receive(io_, rx, handler());
  settle();
  async_send(io_, tx, nth(0), handler());
  run();
  async_wait(tx, asio::bind_executor(io_, handler()));
  async_send(tx, nth(1), asio::bind_executor(io_, handler()));
  run();
  async_receive(rx, asio::bind_executor(io_, handler()));
  run();
  EXPECT_EQ(called, 5);
}

TEST_F(Asio, NeverCompletesWithinTheCallThatStartsIt) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  auto [closed, unused] = make_channel<Tick>({.capacity = 4});
  closed.close();
  ASSERT_TRUE(tx.try_send(nth(0)));
  bool starting = true;
  int called = 0;
  const auto handler = [&](auto&&...) {
    EXPECT_FALSE(starting);
    ++called;
  };
  // From within a handler of the same executor, where dispatch() would call at once.
  asio::post(io_, [&, &from = rx, &to = tx, &ended = closed, &other = unused] {
    async_receive(io_, from, handler);
    async_send(io_, to, nth(1), handler);
    async_send(io_, ended, nth(1), handler);
    async_wait(io_, other, handler);
    starting = false;
  });
  run();
  EXPECT_EQ(called, 4);
}

// -- what is associated with a handler

TEST_F(Asio, CompletesOnTheExecutorOfItsHandler) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  auto strand = asio::make_strand(io_);
  int on_strand = 0;
  const auto handler = [&](auto&&...) { on_strand += strand.running_in_this_thread() ? 1 : 0; };
  async_receive(io_, rx, asio::bind_executor(strand, handler));  // waits by io_, completes on the strand
  settle();
  async_send(tx, nth(0), asio::bind_executor(strand, handler));
  run();
  async_wait(strand, tx, handler);
  run();
  EXPECT_EQ(on_strand, 3);
}

TEST_F(Asio, RunsInAPoolOfThreads) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  asio::thread_pool pool(2);
  auto received = asio::co_spawn(pool, receive_all(rx), asio::use_future);
  asio::co_spawn(pool, send_all(tx, kMany / 10), asio::detached);
  EXPECT_EQ(get(std::move(received)), kMany / 10);
  pool.join();
}

static_assert(internal::OfTheSystem<asio::system_executor>);
static_assert(!internal::OfTheSystem<asio::io_context::executor_type>);
static_assert(!internal::OfTheSystem<asio::strand<asio::thread_pool::executor_type>>);
static_assert(!internal::OfTheSystem<asio::any_io_executor>);

struct Account {
  int blocks = 0;
  int allocations = 0;
};

template <class T>
struct CountingAllocator {
  using value_type = T;

  explicit CountingAllocator(Account* to) : account(to) {}
  template <class U>
  CountingAllocator(const CountingAllocator<U>& other) : account(other.account) {}  // NOLINT: a rebind is implicit

  T* allocate(std::size_t n) {
    ++account->blocks;
    ++account->allocations;
    return std::allocator<T>{}.allocate(n);
  }
  void deallocate(T* pointer, std::size_t n) {
    --account->blocks;
    std::allocator<T>{}.deallocate(pointer, n);
  }
  template <class U>
  bool operator==(const CountingAllocator<U>& other) const {
    return account == other.account;
  }

  Account* account;
};

TEST_F(Asio, AllocatesByTheAllocatorOfItsHandlerAndHoldsNothingWhenItCallsIt) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  Account account;
  int called = 0;
  auto handler = asio::bind_allocator(CountingAllocator<void>(&account), [&](auto&&...) {
    ++called;
    EXPECT_EQ(account.blocks, 0);
    EXPECT_GT(std::exchange(account.allocations, 0), 0);
  });
  async_receive(io_, rx, handler);
  settle();
  EXPECT_GT(account.allocations, 2) << "the copy of the descriptor among them";
  ASSERT_TRUE(tx.try_send(nth(0)));
  run();
  async_send(io_, tx, nth(1), handler);
  run();
  EXPECT_EQ(called, 2);
}

struct alignas(64) Line {
  std::uint64_t number = 0;
};

TEST_F(Asio, CarriesRecordsOfTheLargestAlignmentByHandlers) {
  auto [tx, rx] = make_channel<Line>({.capacity = 1});
  std::uint64_t received = 0;
  async_receive(io_, rx, [&](error_code, const Line& line) { received += line.number; });
  settle();
  async_send(io_, tx, Line{.number = 5}, [](error_code ec) { EXPECT_FALSE(ec); });
  run();
  async_send(io_, tx, Line{.number = 6}, [](error_code ec) { EXPECT_FALSE(ec); });
  run();
  async_receive(io_, rx, [&](error_code, const Line& line) { received += line.number; });
  run();
  EXPECT_EQ(received, 11U);
}

// -- backpressure

TEST_P(AsioOnEachLayout, SuspendsASenderWhileTheChannelIsFull) {
  auto [tx, rx] = channel(2);
  std::uint64_t sent = 0;
  const auto send = [&, &to = tx]() -> asio::awaitable<void> {
    for (; sent < 5; ++sent) co_await async_send(to, nth(sent), use_awaitable);
  };
  spawn(send());
  settle();
  EXPECT_EQ(sent, 2U);
  for (std::uint64_t n = 0; n < 3; ++n) {
    expect_next(rx, n);
    settle();
    EXPECT_EQ(sent, n + 3);
  }
  run();
}

TEST_F(Asio, SendsAMessageAsSoonAsThatOneFits) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000});
  const std::string small(100, 's');
  while (tx.try_send(bytes(small))) {
  }
  error_code outcome = Status::timeout;
  async_send(io_, tx, bytes(small), [&](error_code ec) { outcome = ec; });
  settle();
  EXPECT_EQ(outcome, Status::timeout) << "it is suspended";
  std::span<const std::byte> message;
  ASSERT_TRUE(rx.try_receive(message));
  rx.release();
  EXPECT_TRUE(tx.is_full()) << "for the largest";
  run();
  EXPECT_FALSE(outcome);
}

TEST_F(Asio, MissesNoRoomThatComesWhileItIsBeingArmed) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000});
  const std::string small(100, 's');
  while (tx.try_send(bytes(small))) {
  }
  std::atomic<std::uint64_t> sent{0};
  std::atomic<bool> done{false};
  // Gives room for one message at a time, which arm() doesn't call room, after a time that sweeps over that moment.
  Sleeper receiver([&, &from = rx] {
    for (std::uint64_t n = 0; n < kMany; ++n) {
      for (std::uint64_t spin = n % 1024; spin != 0; --spin) Native::pause();
      std::span<const std::byte> message;
      EXPECT_TRUE(from.try_receive(message));
      from.release();
      for (; sent <= n; std::this_thread::yield()) {
        if (done) return;
      }
    }
  });
  const auto send = [&, &to = tx]() -> asio::awaitable<void> {
    for (; sent < kMany; ++sent) co_await async_send(to, bytes(small), use_awaitable);
  };
  spawn(send());
  run();
  done = true;
  EXPECT_EQ(sent, kMany);
}

TEST_F(Asio, RefusesAMessageThatWillNeverFit) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 2000});
  error_code outcome;
  const std::string message(2001, 'x');
  async_send(io_, tx, bytes(message), [&](error_code ec) { outcome = ec; });
  run();
  EXPECT_EQ(outcome, Status::too_big);
}

// -- how a stream ends

TEST_P(AsioOnEachLayout, TellsOfALostSenderOnceAndAfterItsLastMessage) {
  auto [tx, rx] = channel(4);
  std::vector<error_code> outcomes;
  asio::cancellation_signal stop;
  const auto receive = [&, &from = rx]() -> asio::awaitable<void> {
    for (std::uint64_t n = 0; n < 4; ++n) {
      const auto [ec, tick] = co_await async_receive(from, as_tuple);
      outcomes.push_back(ec);
      EXPECT_TRUE(ec || tick == nth(n));
    }
  };
  asio::co_spawn(io_, receive(), asio::bind_cancellation_slot(stop.slot(), asio::detached));
  settle();
  {
    auto gone = std::move(tx);
    ASSERT_TRUE(gone.try_send(nth(0)));
    ASSERT_TRUE(gone.try_send(nth(1)));
  }
  settle();
  EXPECT_EQ(outcomes, (std::vector<error_code>{{}, {}, Status::peer_lost}));
  stop.emit(asio::cancellation_type::terminal);
  run();
  EXPECT_EQ(outcomes.back(), asio::error::operation_aborted) << "nobody is there any more, and that is no news";
}

TEST_P(AsioOnEachLayout, TellsASenderOfALostReceiverOnlyWhenItIsFull) {
  auto [tx, rx] = channel(1);
  { const auto gone = std::move(rx); }
  std::vector<error_code> outcomes;
  const auto send = [&, &to = tx]() -> asio::awaitable<void> {
    for (std::uint64_t n = 0; n < 2; ++n) outcomes.push_back(std::get<0>(co_await async_send(to, nth(n), as_tuple)));
  };
  spawn(send());
  run();
  EXPECT_EQ(outcomes, (std::vector<error_code>{{}, Status::peer_lost}));
}

TEST_P(AsioOnEachLayout, TellsASenderThatIsSuspendedOfALostReceiver) {
  auto [tx, rx] = channel(1);
  ASSERT_TRUE(tx.try_send(nth(0)));
  error_code outcome;
  async_send(io_, tx, nth(1), [&](error_code ec) { outcome = ec; });
  settle();
  { const auto gone = std::move(rx); }
  run();
  EXPECT_EQ(outcome, Status::peer_lost);
}

TEST_F(Asio, TellsOfARemovedChannel) {
  const testing::PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  auto rx = registry.receiver<Tick>("ticks", {.capacity = 16});
  error_code outcome;
  async_receive(io_, rx, [&](error_code ec, const Tick&) { outcome = ec; });
  settle();
  EXPECT_FALSE(outcome);
  registry.remove("ticks", true);
  run();
  EXPECT_EQ(outcome, Status::removed);
}

TEST_F(Asio, IsInterruptedFromAnotherThread) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  std::vector<error_code> outcomes;
  const auto handler = [&](error_code ec, const Tick&) { outcomes.push_back(ec); };
  async_receive(io_, rx, handler);
  settle();
  std::thread([&from = rx] { from.interrupt(); }).join();
  run();
  rx.interrupt();
  ASSERT_TRUE(tx.try_send(nth(0)));
  async_receive(io_, rx, handler);
  run();
  async_receive(io_, rx, handler);
  run();
  EXPECT_EQ(outcomes, (std::vector<error_code>{Status::interrupted, {}, Status::interrupted}));
}

TEST_F(Asio, FindsAnEndpointClosedThatWasMovedFrom) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const Sender<Tick> other_tx = std::move(tx);
  const Receiver<Tick> other_rx = std::move(rx);
  std::vector<error_code> outcomes;
  const auto handler = [&](error_code ec, const auto&...) { outcomes.push_back(ec); };
  // NOLINTBEGIN(bugprone-use-after-move): what moved-from endpoints do is promised
  async_send(io_, tx, nth(0), handler);
  async_receive(io_, rx, handler);
  async_wait(io_, rx, handler);
  // NOLINTEND(bugprone-use-after-move)
  run();
  EXPECT_EQ(outcomes, (std::vector<error_code>{Status::closed, Status::closed, {}}));
}

#ifndef __SANITIZE_ADDRESS__  // whose companion asks by a pipe whether an object's memory is there
/// While one lives, no descriptor can be had.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

TEST_F(Asio, FailsByAnErrorCodeWhereAnEndpointGetsNoDescriptors) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const asio::steady_timer timer(io_);  // the context has its own by then
  error_code outcome;
  const auto handler = [&](error_code ec, const Tick&) { outcome = ec; };
  {
    const NoDescriptors no_descriptors;
    async_receive(io_, rx, handler);
    EXPECT_NO_THROW(run());
  }
  EXPECT_EQ(outcome, error_code(make_error_code(Errc::no_space))) << outcome.message();
  async_receive(io_, rx, handler);
  settle();
  ASSERT_TRUE(tx.try_send(nth(0)));
  run();
  EXPECT_FALSE(outcome) << "it works again: " << outcome.message();
}

TEST_F(Asio, FailsByAnErrorCodeWhereItsContextGetsNoDescriptors) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  ASSERT_GE(rx.fd(), 0);
  error_code outcome;
  const NoDescriptors no_descriptors;
  async_receive(io_, rx, [&](error_code ec, const Tick&) { outcome = ec; });
  EXPECT_NO_THROW(run());
  EXPECT_EQ(outcome, boost::system::errc::too_many_files_open) << outcome.message();
}
#endif

TEST_F(Asio, EndsWithItsContext) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 1});
  const auto alive = std::make_shared<int>(0);
  {
    asio::io_context io;
    async_receive(io, rx, [alive](error_code, const Tick&) { ADD_FAILURE() << "called by a context that is gone"; });
    io.poll();
    async_send(io, tx, nth(0), [alive](error_code) {});
    EXPECT_GT(alive.use_count(), 1);
  }
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_TRUE(rx.is_empty());
}

// -- cancellation and time

TEST_P(AsioOnEachLayout, TakesNothingWhenItIsCancelled) {
  auto [tx, rx] = channel(2);
  std::uint64_t n = 0;
  for (const auto type :
       {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
    for (const bool suspended : {false, true}) {
      for (const bool sent_before : {false, true}) {
        asio::cancellation_signal cancel;
        error_code outcome;
        async_receive(io_, rx,
                      asio::bind_cancellation_slot(cancel.slot(), [&](error_code ec, const Tick&) { outcome = ec; }));
        if (suspended) settle();
        const auto send = [&, &to = tx] { EXPECT_TRUE(to.try_send(nth(n))); };
        if (sent_before) send();
        cancel.emit(type);
        if (!sent_before) send();
        run();
        EXPECT_EQ(outcome, asio::error::operation_aborted);
        expect_next(rx, n++);
      }
    }
  }
}

TEST_P(AsioOnEachLayout, SendsNothingWhenItIsCancelled) {
  auto [tx, rx] = channel(1);
  ASSERT_TRUE(tx.try_send(nth(0)));
  asio::cancellation_signal cancel;
  error_code outcome;
  async_send(io_, tx, nth(1), asio::bind_cancellation_slot(cancel.slot(), [&](error_code ec) { outcome = ec; }));
  settle();
  expect_next(rx, 0);
  cancel.emit(asio::cancellation_type::total);
  run();
  EXPECT_EQ(outcome, asio::error::operation_aborted);
  EXPECT_TRUE(rx.is_empty());
}

TEST_F(Asio, WaitsNoLongerThanATimer) {
  using asio::experimental::awaitable_operators::operator||;
  auto [tx, rx] = make_channel<Tick>({.capacity = 2});
  std::vector<std::size_t> winners;
  const auto receive = [&, &to = tx, &from = rx]() -> asio::awaitable<void> {
    asio::steady_timer timer(io_);
    for (std::uint64_t n = 0; n < 20; ++n) {
      timer.expires_after(std::chrono::milliseconds(1));
      auto timed = co_await (async_receive(from, use_awaitable) || timer.async_wait(use_awaitable));
      winners.push_back(timed.index());
      EXPECT_TRUE(to.try_send(nth(n)));
      timer.expires_after(kLong);
      timed = co_await (async_receive(from, use_awaitable) || timer.async_wait(use_awaitable));
      winners.push_back(timed.index());
      EXPECT_EQ(std::get<0>(timed), nth(n)) << "what the one before did not take";
    }
  };
  spawn(receive());
  run();
  ASSERT_EQ(winners.size(), 40U);
  for (std::size_t i = 0; i < winners.size(); ++i) EXPECT_EQ(winners[i], i % 2 == 0 ? 1U : 0U) << i;
}

TEST_F(Asio, ChoosesBetweenTwoChannelsAndLosesNothing) {
  using asio::experimental::awaitable_operators::operator||;
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  auto [other_tx, other_rx] = make_channel<Tick>({.capacity = 4});
  Sleeper sender([&first = tx, &second = other_tx] {
    for (std::uint64_t n = 0; n < kMany / 4; ++n) {
      if (!first.send(nth(n), kLong) || !second.send(nth(n), kLong)) return;
    }
  });
  std::array<std::uint64_t, 2> received{};
  const auto receive = [&, &first = rx, &second = other_rx]() -> asio::awaitable<void> {
    while (received[0] + received[1] < kMany / 2) {
      co_await (async_wait(first, use_awaitable) || async_wait(second, use_awaitable));
      for (Tick tick{}; first.try_receive(tick); ++received[0]) EXPECT_EQ(tick, nth(received[0]));
      for (Tick tick{}; second.try_receive(tick); ++received[1]) EXPECT_EQ(tick, nth(received[1]));
    }
  };
  spawn(receive());
  run();
  EXPECT_EQ(received, (std::array<std::uint64_t, 2>{kMany / 4, kMany / 4}));
}

// -- async_wait

class AsyncWait : public Asio {
 protected:
  void start(Endpoint& endpoint) {
    completed_ = false;
    async_wait(io_, endpoint, [this](error_code ec) {
      EXPECT_FALSE(ec) << ec.message();
      completed_ = true;
    });
  }

  std::pair<Sender<Tick>, Receiver<Tick>> channel_ = make_channel<Tick>({.capacity = 1});
  Sender<Tick>& tx_ = channel_.first;
  Receiver<Tick>& rx_ = channel_.second;
  bool completed_ = false;
};

TEST_F(AsyncWait, CompletesForAMessageAndLeavesItThere) {
  start(rx_);
  settle();
  EXPECT_FALSE(completed_) << "that the sender has attached is no message";
  ASSERT_TRUE(tx_.try_send(nth(0)));
  run();
  EXPECT_TRUE(completed_);
  start(rx_);
  settle();
  EXPECT_TRUE(completed_);
  expect_next(rx_, 0);
  start(rx_);
  settle();
  EXPECT_FALSE(completed_);
  tx_.close();
  run();
  EXPECT_TRUE(completed_);
  EXPECT_EQ(rx_.check(), Status::closed);
}

TEST_F(AsyncWait, CompletesForRoom) {
  start(tx_);
  settle();
  EXPECT_TRUE(completed_);
  ASSERT_TRUE(tx_.try_send(nth(0)));
  EXPECT_EQ(tx_.try_send(nth(1)), Status::would_block);
  start(tx_);
  settle();
  EXPECT_FALSE(completed_);
  expect_next(rx_, 0);
  run();
  EXPECT_TRUE(completed_);
  EXPECT_TRUE(tx_.try_send(nth(1)));
}

TEST_F(AsyncWait, CompletesForNewsThatCheckThenTells) {
  start(rx_);
  settle();
  rx_.interrupt();
  run();
  EXPECT_TRUE(completed_);
  EXPECT_EQ(rx_.check(), Status::interrupted);
  start(rx_);
  settle();
  EXPECT_FALSE(completed_);
  { const auto gone = std::move(tx_); }
  run();
  EXPECT_TRUE(completed_);
  EXPECT_EQ(rx_.check(), Status::peer_lost);
}

TEST_F(AsyncWait, IsNotCompletedByRingsAlone) {
  std::atomic<bool> done{false};
  Sleeper ringing([&, this] {
    while (!done) internal::wake(internal::Access::attachment(tx_), 0);
  });
  start(rx_);
  constexpr int kHandlers = 2000;
  for (int i = 0; i < kHandlers && !completed_; ++i) io_.run_one_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(completed_);
  done = true;
  ringing.join();
  ASSERT_TRUE(tx_.try_send(nth(0)));
  run();
  EXPECT_TRUE(completed_);
}

TEST_F(AsyncWait, NeverCompletesWithNothingToTell) {
  std::uint64_t received = 0;
  Sleeper sender([this] {
    for (std::uint64_t n = 0; n < kMany; ++n) {
      if (!tx_.send(nth(n), kLong)) return;
    }
    tx_.close();
  });
  const auto receive = [&]() -> asio::awaitable<void> {
    Status status = Status::ok;
    for (Tick tick{}; status == Status::ok; ++received) {
      co_await async_wait(rx_, use_awaitable);
      status = rx_.try_receive(tick);
    }
    EXPECT_EQ(status, Status::closed);
  };
  spawn(receive());
  run();
  EXPECT_EQ(received, kMany + 1);
}

// -- outcomes as error codes

TEST(StatusCategory, NamesEachStatus) {
  const error_code closed = Status::closed;
  EXPECT_EQ(closed, Status::closed);
  EXPECT_NE(closed, Status::removed);
  EXPECT_TRUE(closed.failed());
  EXPECT_EQ(closed.message(), "closed");
  EXPECT_EQ(closed.what(), "closed [nimsync.status:4]");
  EXPECT_EQ(closed.category(), status_category());
  EXPECT_FALSE(make_error_code(Status::ok).failed());
  EXPECT_NE(closed, error_code(4, boost::system::system_category()));
}

}  // namespace
}  // namespace nimsync
