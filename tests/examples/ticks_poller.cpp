// The receiver of ticks in an event loop of its own, here poll(2), beside a descriptor of another kind:
// `example_ticks_poller [COUNT]`.
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <iostream>
#include <nimsync/nimsync.hpp>
#include <string>

#include "tick.hpp"

int main(int argc, char** argv) try {
  const std::uint64_t expected = argc > 1 ? std::stoull(argv[1]) : 10'000'000;

  auto registry = nimsync::Registry::connect();
  auto rx = registry.receiver<Tick>("md.ticks", {.capacity = 1024});

  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  constexpr itimerspec kBeat{.it_interval = {0, 10'000'000}, .it_value = {0, 10'000'000}};
  ::timerfd_settime(timer, 0, &kBeat, nullptr);
  std::array<pollfd, 2> polled{pollfd{rx.fd(), POLLIN, 0}, pollfd{timer, POLLIN, 0}};

  Tick tick{};
  std::uint64_t count = 0;
  std::uint64_t wrong = 0;
  std::uint64_t sleeps = 0;
  std::uint64_t beats = 0;
  nimsync::Status status = nimsync::Status::ok;
  do {
    while ((status = rx.try_receive(tick))) wrong += tick == nth_tick(count++) ? 0U : 1U;
    if (status != nimsync::Status::would_block) break;  // closed, corrupted
    if (rx.arm()) {                                     // nothing there, and the sender will ring
      ++sleeps;
      ::poll(polled.data(), polled.size(), -1);
      std::uint64_t more = 0;
      if ((polled[1].revents & POLLIN) != 0 && ::read(timer, &more, sizeof more) == sizeof more) beats += more;
    } else {
      status = rx.check();  // there is something by now; or peer_lost, removed, interrupted
    }
  } while (status == nimsync::Status::ok || status == nimsync::Status::would_block);
  ::close(timer);

  if (status != nimsync::Status::closed || count != expected || wrong != 0) {
    std::cerr << "ended after " << count << " of " << expected << " ticks, " << wrong
              << " of them wrong: " << name(status) << '\n';
    return 1;
  }
  std::cout << count << " ticks, each of them correct; slept " << sleeps << " times, and the timer beat " << beats
            << " times meanwhile\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
