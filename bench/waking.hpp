// Waking a receiver that sleeps: how long after it was sent a message reaches it, by the clock that both processes
// share.
#pragma once

#include <time.h>

#include <algorithm>

#include "bench/workload.hpp"

namespace bench {

inline constexpr std::size_t kWakeSize = 16;  // the number, and when it was sent
inline constexpr std::size_t kWakes = 4;      // a sample

inline std::uint64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  constexpr std::uint64_t kSecond_ns = 1'000'000'000;
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond_ns + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Long enough for the receiver to be asleep: 8 to 24 ms, of no fixed period.
inline void let_it_fall_asleep(std::uint64_t number) noexcept {
  constexpr std::uint64_t kFactor = 6364136223846793005;
  constexpr long kLeast_ns = 8'000'000;
  const timespec pause{0, kLeast_ns + static_cast<long>((number * kFactor) >> 40)};
  ::nanosleep(&pause, nullptr);
}

template <class Link>
class Wake final : public Contestant {
 public:
  static constexpr std::size_t kLinks = 1;
  Wake(std::string name, Kind kind, Nature nature, std::vector<std::unique_ptr<Link>> links)
      : Contestant(std::move(name), kind, nature) {
    ends_.link = std::move(links.front());
  }

  void open_near() override { ends_.tx.emplace(ends_.link->open_sender()); }
  void open_far() override { ends_.rx.emplace(ends_.link->open_receiver()); }
  void remove_names() noexcept override { ends_.link->remove_names(); }
  void close_near() noexcept override { ends_.close(); }
  void close_far() noexcept override { ends_.close(); }

  Lap near(std::size_t, std::uint64_t count, std::span<double>) override {
    const std::uint64_t first = ends_.advance(count);
    for (std::uint64_t number = first; number != first + count; ++number) {
      let_it_fall_asleep(number);
      Record<kWakeSize> message;
      message.words[0] = number;
      message.words[1] = now_ns();
      while (!ends_.tx->try_send(message)) {
      }
    }
    return {};
  }

  /// The median of the sample's wake-ups stands for it.
  Lap far(std::size_t, std::uint64_t count, std::span<double> parts) override {
    const std::uint64_t first = ends_.advance(count);
    std::vector<double> all;
    Lap lap;
    for (std::uint64_t number = first; number != first + count; ++number) {
      Record<kWakeSize> message{};
      if (!ends_.rx->receive(message)) ++lap.wrong;
      const std::uint64_t arrived = now_ns();
      if (message.words[0] != number) ++lap.wrong;
      all.push_back(static_cast<double>(arrived - message.words[1]));
    }
    std::copy_n(all.begin(), std::min(parts.size(), all.size()), parts.begin());
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
    lap.ns = all[all.size() / 2];
    lap.units = 1;
    return lap;
  }

 private:
  Ends<Link> ends_;
};

/// A group of such contestants, without them.
inline Group wake_group(std::string workload) {
  Group group;
  group.workload = std::move(workload);
  group.size = kWakeSize;
  group.note = "a sleeping receiver, 8 to 24 ms between messages";
  group.unit = kMicroseconds;
  group.sample_ns = 0;
  group.fewest = kWakes;
  group.parts = kWakes;
  return group;
}
inline Nature wake_nature() {
  Nature nature = kWaiting;
  nature.warm_up = 1;
  return nature;
}

}  // namespace bench
