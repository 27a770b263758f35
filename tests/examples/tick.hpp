// What the two tick programs exchange.
#pragma once

#include <cstdint>

struct Tick {
  std::uint64_t seq;
  double price;

  bool operator==(const Tick&) const = default;
};

/// The tick that is sent n-th, so that the receiver can tell whether it got the right one.
inline Tick nth_tick(std::uint64_t n) {
  return {.seq = n, .price = 100.0 + static_cast<double>(n % 1000) / 8};
}
