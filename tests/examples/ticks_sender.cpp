// Sends ticks over a channel, and closes it: `example_ticks_sender [COUNT [CHANNEL]]`.
#include <iostream>
#include <nimsync/nimsync.hpp>
#include <string>

#include "tick.hpp"

int main(int argc, char** argv) try {
  const std::uint64_t count = argc > 1 ? std::stoull(argv[1]) : 10'000'000;
  const std::string channel = argc > 2 ? argv[2] : "md.ticks";

  auto registry = nimsync::Registry::connect();
  auto tx = registry.sender<Tick>(channel, {.capacity = 1024});  // creates it when absent

  for (std::uint64_t n = 0; n < count; ++n) {
    if (const nimsync::Status status = tx.send(nth_tick(n)); !status) {  // waits while the channel is full
      std::cerr << "tick " << n << " was not sent: " << name(status) << '\n';
      return 1;
    }
  }
  tx.close();  // the receiver takes what is left, and then learns that this was all
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
