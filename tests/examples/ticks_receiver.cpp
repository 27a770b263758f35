// Receives ticks from md.ticks until its sender closes it, and checks each: `example_ticks_receiver [COUNT]`.
#include <chrono>
#include <iostream>
#include <nimsync/nimsync.hpp>
#include <string>

#include "tick.hpp"

int main(int argc, char** argv) try {
  const std::uint64_t expected = argc > 1 ? std::stoull(argv[1]) : 10'000'000;

  auto registry = nimsync::Registry::connect();
  auto rx = registry.receiver<Tick>("md.ticks", {.capacity = 1024});

  Tick tick{};
  std::uint64_t count = 0;
  std::chrono::steady_clock::time_point begin;
  nimsync::Status status = nimsync::Status::ok;
  while ((status = rx.receive(tick))) {  // waits while the channel is empty
    if (tick != nth_tick(count)) {
      std::cerr << "tick " << count << " is wrong: seq " << tick.seq << ", price " << tick.price << '\n';
      return 1;
    }
    if (count++ == 0) begin = std::chrono::steady_clock::now();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;

  if (status != nimsync::Status::closed || count != expected) {
    std::cerr << "ended after " << count << " of " << expected << " ticks: " << name(status) << '\n';
    return 1;
  }
  std::cout << count << " ticks, each of them correct, in " << took.count()
            << " s: " << static_cast<double>(count) / took.count() / 1e6 << " million a second\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
