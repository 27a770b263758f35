// Both sides at once, in two threads.
//
// Over one mapping ThreadSanitizer sees both, and finds a missing acquire or release. Over two mappings of one memory
// it is blind, as it is between processes; there these tests see to function alone, with the rights that the sides of a
// protected channel have. On x86 neither finds a wrong memory order by its effects.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/rings/channel.hpp"

namespace nimsync::rings_test {
namespace {

constexpr std::uint64_t kStreamEvery = 4'099;     // messages
constexpr std::uint64_t kSuccessorEvery = 1'511;  // messages

/// Ends both threads when one has failed or waits for too long.
class Watchdog {
 public:
  bool stop(const std::string& why) {
    if (!stop_.exchange(true)) why_ = why;
    return true;
  }
  [[nodiscard]] bool stopped() const { return stop_.load(std::memory_order_relaxed); }
  [[nodiscard]] const std::string& why() const { return why_; }  // after both threads

 private:
  std::atomic<bool> stop_ = false;
  std::string why_;
};

/// One thread's waiting.
class Patience {
 public:
  explicit Patience(Watchdog& watchdog) : watchdog_(watchdog) {}

  void moved() { waits_ = 0; }
  /// Gives the processor away. False when it is time to give up.
  bool wait() {
    if (waits_++ == 0) deadline_ = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::this_thread::yield();
    if (watchdog_.stopped()) return false;
    if (waits_ % 1024 != 0 || std::chrono::steady_clock::now() < deadline_) return true;
    watchdog_.stop("nothing moved for 30 s");
    return false;
  }

 private:
  Watchdog& watchdog_;
  std::uint64_t waits_ = 0;
  std::chrono::steady_clock::time_point deadline_;
};

struct Run {
  const Kind& kind;
  const Geometry& geometry;
  std::uint64_t messages;
  Watchdog& watchdog;
};

void send(const Run& run, const RingMemory& memory) try {
  const auto attach = [&] { return run.kind.sending(memory, run.kind.resume_sending(memory).value()); };
  const bool records = !run.kind.framed();
  auto sender = attach();
  Patience patience(run.watchdog);
  Random random(1);
  std::uint64_t n = 0;
  while (n < run.messages) {
    if (n % kStreamEvery == 0 && n != 0) {
      const std::uint64_t streams = memory.forward_header()->common.streams;
      while (streams - Native::load_acquire(&memory.return_header()->streams) >= layout::kStreamEnds) {
        if (!patience.wait()) return;
      }
      sender->close();
      sender = attach();
    }
    if (n % kSuccessorEvery == 0) sender = attach();
    const std::uint64_t next = std::min(
        {run.messages, (n / kStreamEvery + 1) * kStreamEvery, (n / kSuccessorEvery + 1) * kSuccessorEvery, n + 7});
    std::uint64_t sent = 0;
    switch (random.below(4)) {
      case 0: {
        const Message message = rings_test::message(run.geometry, n);
        const std::span<std::byte> room = sender->reserve(records ? 1 : message.size());
        if (room.data() == nullptr) break;
        std::copy(message.begin(), message.end(), room.begin());
        sender->commit(records ? 1 : message.size());
        sent = 1;
        break;
      }
      case 1:
        if (records) {
          Message batch;
          for (std::uint64_t each = n; each < next; ++each) {
            const Message message = rings_test::message(run.geometry, each);
            batch.insert(batch.end(), message.begin(), message.end());
          }
          sent = sender->try_send_some(batch);
          break;
        }
        [[fallthrough]];
      default: {
        const Status status = sender->try_send(rings_test::message(run.geometry, n));
        require(status == Status::ok || status == Status::would_block, "try_send says " + text(status));
        sent = status ? 1 : 0;
        break;
      }
    }
    n += sent;
    require(sender->size() <= run.geometry.capacity, "the sender's size is above the capacity");
    if (sent == 0) {
      require(sender->look() != Status::corrupted, "the sender's look says corrupted");
      if (!patience.wait()) return;
    } else {
      patience.moved();
    }
  }
  sender->close();
} catch (const Broken& broken) {
  run.watchdog.stop(broken.what());
}

void receive(const Run& run, const RingMemory& memory) try {
  const auto attach = [&] { return run.kind.receiving(memory, Kind::resume_receiving(memory)); };
  const bool records = !run.kind.framed();
  auto receiver = attach();
  Patience patience(run.watchdog);
  Random random(2);
  std::uint64_t n = 0;
  const auto take = [&](View message) {
    const Message wanted = rings_test::message(run.geometry, n);
    require(message.size() == wanted.size() && std::equal(message.begin(), message.end(), wanted.begin()),
            "message " + std::to_string(n) + " is another");
    ++n;
  };
  bool ended = false;
  while (!ended) {
    Message message;
    const std::uint64_t before = n;
    if (n % kSuccessorEvery == 0) receiver = attach();
    Status status = Status::ok;
    switch (random.below(4)) {
      case 0: {
        View shown;
        status = receiver->try_peek(3, shown);
        if (status != Status::ok) break;
        const std::uint64_t count = records ? shown.size() / run.kind.size : 1;
        const std::size_t each = shown.size() / count;
        for (std::uint64_t i = 0; i < count; ++i) take(shown.subspan(i * each, each));
        receiver->release(count);
        break;
      }
      case 1:
        if (records) {
          message.resize(5 * run.kind.size);
          const std::size_t received = receiver->try_receive_some(message);
          for (std::size_t i = 0; i < received; ++i) take(View(message).subspan(i * run.kind.size, run.kind.size));
          break;
        }
        [[fallthrough]];
      default:
        status = receiver->try_receive(message);
        if (status == Status::ok) take(message);
        break;
    }
    require(status == Status::ok || status == Status::would_block || status == Status::closed,
            "receiving says " + text(status));
    if (status == Status::closed) {
      ended = n == run.messages;
      require(ended || (n % kStreamEvery == 0 && n != 0), "a stream ended at message " + std::to_string(n));
      receiver->next_stream();
    }
    require(receiver->size() <= run.geometry.capacity, "the receiver's size is above the capacity");
    if (n == before && status != Status::closed) {
      require(receiver->look() != Status::corrupted, "the receiver's look says corrupted");
      if (!patience.wait()) return;
    } else {
      patience.moved();
    }
  }
} catch (const Broken& broken) {
  run.watchdog.stop(broken.what());
}

void exchange(const Kind& kind, std::uint64_t capacity, std::uint64_t messages, bool two_mappings) {
  const Geometry geometry{kind.layout, kind.framed() ? 1000 : kind.size, capacity};
  const Segments segments(geometry);
  const Mapping mine(segments, two_mappings ? Mapping::Rights::sender : Mapping::Rights::both);
  const Mapping theirs(segments, Mapping::Rights::receiver);
  Watchdog watchdog;
  const Run run{kind, geometry, messages, watchdog};
  std::thread receiver([&] { receive(run, two_mappings ? theirs.memory() : mine.memory()); });
  send(run, mine.memory());
  receiver.join();
  EXPECT_EQ(watchdog.why(), "") << kind.name << ", capacity " << capacity;
}

struct Case {
  std::string name;
  Kind kind;
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
  return out << each.name;
}

class TwoThreads : public testing::TestWithParam<Case> {
 protected:
  static void exchange_all(bool two_mappings) {
    const Kind& kind = GetParam().kind;
    const std::uint64_t unit = kind.framed() ? page() : 1;
    exchange(kind, 1 * unit, 10'000, two_mappings);
    exchange(kind, 4 * unit, 30'000, two_mappings);
    exchange(kind, 64 * unit, 100'000, two_mappings);
  }
};

TEST_P(TwoThreads, ExchangeEveryMessageInOrderOverOneMapping) {
  exchange_all(false);
}

TEST_P(TwoThreads, ExchangeEveryMessageInOrderOverTwoMappingsOfOneMemory) {
  exchange_all(true);
}

INSTANTIATE_TEST_SUITE_P(Rings, TwoThreads,
                         testing::Values(Case{"stamped8", stamped<Native, 8>()},
                                         Case{"stamped100SizedAtRunTime", stamped<Native, 100, kSizeAtRunTime>()},
                                         Case{"dense8", dense<Native, 8>()},
                                         Case{"dense100SizedAtRunTime", dense<Native, 100, kSizeAtRunTime>()},
                                         Case{"framed", framed<Native>()}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::rings_test
