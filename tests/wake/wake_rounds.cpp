// Sleep and wake, again and again, between two processes: a race for whoever loses a wake-up.
//
//     wake_rounds [ROUNDS]       default: 100,000; 10,000,000 take about ten minutes
//
// A number goes there and back between two processes over two channels of one registry, stamped or dense by turns of
// 1,000 rounds. Neither spins, and nothing bounds a sleep but a ring, so a lost wake-up stops everything; then a
// watchdog says in which round, and the program ends with 1. Before each message its sender waits a pseudo-random while
// from nothing to about as long as falling asleep takes, so that each publication meets another moment of the peer's
// falling asleep. Prints what was counted.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <string>
#include <thread>

#include "client/attachment.hpp"
#include "nimsync/nimsync.hpp"
#include "tests/service/private_daemon.hpp"

namespace {

using nimsync::Layout;
using nimsync::Options;
using nimsync::Registry;
using nimsync::Status;

constexpr std::uint64_t kTurn = 1000;  // rounds through one layout
constexpr std::chrono::seconds kPatience{20};
constexpr std::array<Layout, 2> kLayouts{Layout::stamped, Layout::dense};

Options options(Layout layout) {
  return {.capacity = 2, .layout = layout, .wait = nimsync::Wait::doorbell(nimsync::Timeout{0})};
}
std::string channel(const char* direction, Layout layout) {
  return std::string(direction) + "-" + std::string(name(layout));
}

/// Steps of a little less than 100 ns each; xorshift.
class Delays {
 public:
  explicit Delays(std::uint64_t seed) : state_(seed) {}
  void next() {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    constexpr std::uint64_t kMost = 512;
    for (std::uint64_t step = state_ % kMost; step != 0; --step) nimsync::Native::pause();
  }

 private:
  std::uint64_t state_;
};

/// One process's side: in each round the asker sends first, the answerer receives first.
class Side {
 public:
  Side(const std::string& socket, bool asks)
      : registry_(Registry::connect(socket)), asks_(asks), delays_(asks ? 1 : 2) {
    for (const Layout layout : kLayouts) {
      out_.push_back(registry_.sender<std::uint64_t>(channel(asks ? "there" : "back", layout), options(layout)));
      in_.push_back(registry_.receiver<std::uint64_t>(channel(asks ? "back" : "there", layout), options(layout)));
    }
  }

  /// False, having said why, when something else came than the number expected.
  bool run(std::uint64_t rounds, std::atomic<std::uint64_t>& done) {
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const std::size_t layout = round / kTurn % kLayouts.size();
      if (asks_ ? !(send(layout, round) && receive(layout, round)) : !(receive(layout, round) && send(layout, round))) {
        return false;
      }
      done.store(round + 1, std::memory_order_relaxed);
    }
    return true;
  }

 private:
  bool send(std::size_t layout, std::uint64_t round) {
    delays_.next();
    return is_ok(out_[layout].send(round), round);
  }
  bool receive(std::size_t layout, std::uint64_t round) {
    std::uint64_t got = 0;
    if (!is_ok(in_[layout].receive(got), round)) return false;
    if (got != round) std::cerr << "round " << round << " brought " << got << '\n';
    return got == round;
  }
  bool is_ok(Status status, std::uint64_t round) const {
    if (status != Status::ok) {
      std::cerr << (asks_ ? "asker" : "answerer") << ", round " << round << ": " << name(status) << '\n';
    }
    return status == Status::ok;
  }

  Registry registry_;
  bool asks_;
  Delays delays_;
  std::vector<nimsync::Sender<std::uint64_t>> out_;
  std::vector<nimsync::Receiver<std::uint64_t>> in_;
};

int run(std::uint64_t rounds) {
  const nimsync::testing::PrivateDaemon daemon;
  nimsync::internal::set_longest_sleep(std::chrono::nanoseconds::max());
  nimsync::testing::Child answerer([&] {
    std::atomic<std::uint64_t> done{0};
    return Side(daemon.socket(), false).run(rounds, done) ? 0 : 1;
  });
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> ended{false};
  // No round may take this long; it ends the program, since a sleeper that lost its wake-up can't be woken.
  std::thread watchdog([&] {
    std::uint64_t seen = 0;
    auto since = std::chrono::steady_clock::now();
    while (!ended) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const auto now = std::chrono::steady_clock::now();
      if (done != seen) {
        seen = done;
        since = now;
      } else if (now - since > kPatience) {
        std::cerr << "a wake-up was lost: nothing moves after round " << seen << std::endl;
        answerer.kill(SIGKILL);
        ::_exit(1);
      }
    }
  });
  bool good = false;
  std::uint64_t sleeps = 0;
  std::uint64_t rings = 0;
  std::uint64_t spurious = 0;
  {
    Side asker(daemon.socket(), true);
    good = asker.run(rounds, done);
    auto registry = Registry::connect(daemon.socket());
    for (const auto& info : registry.list()) {
      sleeps += info.sender_sleeps + info.receiver_sleeps;
      rings += info.sender_rings + info.receiver_rings;
      spurious += info.sender_spurious + info.receiver_spurious;
    }
  }
  ended = true;
  watchdog.join();
  good = answerer.wait() == 0 && good;
  std::cout << done << " rounds, " << 2 * done << " messages: " << sleeps << " sleeps, " << rings << " rings, "
            << spurious << " spurious wake-ups, none lost\n";
  return good && done == rounds ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  std::uint64_t rounds = 100'000;
  if (count == 2) {
    const char* const end = arguments[1] + std::strlen(arguments[1]);
    if (std::from_chars(arguments[1], end, rounds).ptr != end) count = 0;
  }
  if (count < 1 || count > 2) {
    std::cerr << "usage: wake_rounds [ROUNDS]\n";
    return 2;
  }
  try {
    return run(rounds);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
