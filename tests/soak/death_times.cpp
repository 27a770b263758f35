// How long after a kill(SIGKILL) a peer that sleeps in a blocking call returns from it with peer_lost.
//
//     death_times [KILLS]      default: 1,000 of each kind, about a minute
//
// Four kinds: a receiver whose sender is killed and a sender (of a full ring) whose receiver is, either while the
// registry lives and when it is dead. The survivor is one process for all kills of a kind; the victims are processes
// that attach and do nothing. Nothing but the peer's line ends a sleep here. The clock is CLOCK_MONOTONIC in both
// processes, read before kill() and after the call has returned. Prints percentiles, and ends with 1 when anything else
// than one peer_lost a kill was told; no time is judged.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "client/attachment.hpp"
#include "nimsync/nimsync.hpp"
#include "tests/client/asleep.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/soak/shared.hpp"
#include "tests/soak/times.hpp"

namespace nimsync::soak {
namespace {

using testing::Child;
using testing::eventually;

constexpr const char* kChannel = "death";
constexpr std::uint64_t kCapacity = 4;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// What the survivor says.
struct Notes {
  std::atomic<std::uint64_t> told{0};      // deaths
  std::atomic<std::int64_t> told_at{0};    // the last one, ns
  std::atomic<bool> is_ready{false};       // the survivor needs no registry any more
  std::atomic<std::uint64_t> attached{0};  // victims that may be killed
};

/// Calls until something else than peer_lost is returned; that is its exit code.
template <class Call>
int survive(Notes& notes, Call call) {
  for (;;) {
    const Status status = call();
    const std::int64_t at = now_ns();
    if (status != Status::peer_lost) return 1 + static_cast<int>(static_cast<Status::Code>(status));
    notes.told_at = at;
    ++notes.told;
  }
}

int survivor(const std::string& socket, Role role, Notes& notes) {
  internal::set_longest_sleep(std::chrono::nanoseconds::max());
  auto registry = Registry::connect(socket);
  std::uint64_t message = 0;
  if (role == Role::receiver) {
    auto rx = registry.receiver<std::uint64_t>(kChannel);
    notes.is_ready = true;
    return survive(notes, [&] { return rx.receive(message); });
  }
  auto tx = registry.sender<std::uint64_t>(kChannel);
  notes.is_ready = true;
  while (tx.try_send(message)) continue;
  return survive(notes, [&] { return tx.send(message); });
}

int victim(const std::string& socket, Role survivor, Notes& notes) {
  auto registry = Registry::connect(socket);
  const auto stay = [&]([[maybe_unused]] const auto& endpoint) {
    ++notes.attached;
    for (;;) ::pause();
  };
  if (survivor == Role::receiver) stay(registry.sender<std::uint64_t>(kChannel));
  stay(registry.receiver<std::uint64_t>(kChannel));
  return 0;
}

/// Of three looks on end, so that one who just woke isn't taken for a sleeper.
bool sleeps(pid_t pid) {
  int looks = 0;
  while (looks < 3 && testing::is_asleep(pid)) ++looks;
  return looks == 3;
}

std::vector<double> measure(Role role, bool with_registry, std::uint64_t kills) {
  testing::PrivateDaemon daemon;
  const Shared<Notes> notes;
  Registry::connect(daemon.socket()).create(kChannel, {.size = sizeof(std::uint64_t)}, {.capacity = kCapacity});
  const Child living([&] { return survivor(daemon.socket(), role, *notes); });
  const auto until = [](const char* what, const std::function<bool()>& done) {
    if (!eventually(done)) throw std::runtime_error(std::string("it never came to it that ") + what);
  };
  until("the survivor is attached", [&] { return notes->is_ready.load(); });
  std::vector<double> times_us;
  for (std::uint64_t kill = 1; kill <= kills; ++kill) {
    std::optional<Child> dying([&] { return victim(daemon.socket(), role, *notes); });
    until("the victim is attached", [&] { return notes->attached == kill; });
    if (!with_registry) daemon.kill();
    until("the survivor sleeps", [&] { return sleeps(living.pid()); });
    if (notes->told != kill - 1) throw std::runtime_error("a death was told before the kill");
    const std::int64_t begin = now_ns();
    dying->kill(SIGKILL);
    until("the survivor is told", [&] { return notes->told >= kill; });
    times_us.push_back(static_cast<double>(notes->told_at - begin) / 1000);
    if (dying->wait() != 128 + SIGKILL) throw std::runtime_error("the victim had ended before it was killed");
    if (!with_registry) daemon.start();
  }
  until("the survivor sleeps", [&] { return sleeps(living.pid()); });
  if (notes->told != kills) throw std::runtime_error("a death was told twice");
  return times_us;
}

int run(std::uint64_t kills) {
  for (const Role role : {Role::receiver, Role::sender}) {
    for (const bool with_registry : {true, false}) {
      std::cout << (role == Role::receiver ? "sleeping receiver, sender killed, registry "
                                           : "sleeping sender, receiver killed, registry ")
                << (with_registry ? "up:   " : "dead: ") << std::flush;
      std::cout << kills << " kills, " << percentiles(measure(role, with_registry, kills), "us") << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace nimsync::soak

int main(int count, char** values) {
  std::uint64_t kills = 1000;
  if (count == 2) {
    const char* const end = values[1] + std::strlen(values[1]);
    if (std::from_chars(values[1], end, kills).ptr != end || kills == 0) count = 0;
  }
  if (count < 1 || count > 2) {
    std::cerr << "usage: death_times [KILLS]\n";
    return 2;
  }
  try {
    return nimsync::soak::run(kills);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
