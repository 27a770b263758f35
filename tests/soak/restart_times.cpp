// How long a registry that was killed takes from its start until it answers, with all its channels.
//
//     restart_times [CHANNELS] [RESTARTS]      default: 10,000 channels, 7 restarts
//
// From the spawn of nimsyncd to the first answer to Info, asked every 2 ms. Prints the median, the least and the most;
// ends with 1 when a channel is missing. No time is judged.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/soak/times.hpp"

namespace nimsync::soak {
namespace {

int run(std::uint64_t channels, std::uint64_t restarts) {
  testing::PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  for (std::uint64_t i = 0; i < channels; ++i) {
    registry.create("channel." + std::to_string(i), {.size = 8}, {.capacity = 16, .layout = Layout::dense});
  }
  std::vector<double> times_ms;
  for (std::uint64_t i = 0; i < restarts; ++i) {
    daemon.kill();
    const auto begin = std::chrono::steady_clock::now();
    daemon.start();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    times_ms.push_back(took.count());
    if (const auto found = registry.info().channels; found != channels) {
      throw std::runtime_error(std::to_string(found) + " channels are left");
    }
  }
  std::sort(times_ms.begin(), times_ms.end());
  std::cout << restarts << " restarts with " << channels << " channels: median " << quantile(times_ms, 0.5)
            << " ms, least " << times_ms.front() << ", most " << times_ms.back() << std::endl;
  return 0;
}

}  // namespace
}  // namespace nimsync::soak

int main(int count, char** values) {
  std::vector<std::uint64_t> numbers{10'000, 7};
  for (int i = 1; i < count; ++i) {
    const char* const end = values[i] + std::strlen(values[i]);
    if (i > 2 || std::from_chars(values[i], end, numbers[static_cast<std::size_t>(i) - 1]).ptr != end ||
        numbers[static_cast<std::size_t>(i) - 1] == 0) {
      std::cerr << "usage: restart_times [CHANNELS] [RESTARTS]\n";
      return 2;
    }
  }
  try {
    return nimsync::soak::run(numbers[0], numbers[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
