// The measured loops: the same source for every contestant, one function of its own for each.
//
// A sender has `bool-like try_send(const Record&)`, a receiver `bool-like try_receive(Record&)`. A loop moves its
// endpoints out of where they are kept into local variables and back at the end: that is how a program that is in a
// hurry uses them (nimsync/channel.hpp says why). The functions aren't inlined, so that no contestant is compiled into
// its surroundings.
//
// Every word of every message is checked. The loops spin without a pause and without an end of their own: whoever
// starts them watches over them from another process.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bench {

/// A message of `Size` bytes, all of them made from its number.
template <std::size_t Size>
struct Record {
  static_assert(Size % sizeof(std::uint64_t) == 0);
  static constexpr std::size_t kWords = Size / sizeof(std::uint64_t);

  [[gnu::always_inline]] static Record of(std::uint64_t number) noexcept {
    Record record;
    for (std::size_t i = 0; i < kWords; ++i) record.words[i] = number + i * kStep;
    return record;
  }
  /// Zero when this is the message of that number.
  [[nodiscard, gnu::always_inline]] std::uint64_t differs(std::uint64_t number) const noexcept {
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < kWords; ++i) difference |= words[i] ^ (number + i * kStep);
    return difference;
  }

  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  std::uint64_t words[kWords];
};

/// What one process found in one sample.
struct Lap {
  double ns = 0;            // of the whole
  std::uint64_t wrong = 0;  // messages with other content than was sent
};

using Clock = std::chrono::steady_clock;

inline double ns_between(Clock::time_point from, Clock::time_point to) noexcept {
  return std::chrono::duration<double, std::nano>(to - from).count();
}

/// Keeps the number a variable of its own. Compilers see that it runs beside the ring's position, make the one from the
/// other, and run out of registers: one private store a message, between two stores to the ring, costs up to two
/// thirds of the throughput, and hit one contestant or another by chance.
[[gnu::always_inline]] inline void separate(std::uint64_t& number) noexcept {
  asm("" : "+r"(number));
}

/// Adds one where that is rare, by a branch: an addition without one costs a store to the stack for each message.
[[gnu::always_inline]] inline void count_one(std::uint64_t& counter) noexcept {
  asm volatile("" : "+r"(counter));
  ++counter;
}

/// The answer to a message has its number, with this added.
inline constexpr std::uint64_t kAnswer = std::uint64_t{1} << 40;

/// Sends `count` messages from number `first` on and awaits the answer to each.
template <std::size_t Size, class Tx, class Rx>
[[gnu::noinline]] Lap ask(Tx& tx_home, Rx& rx_home, std::uint64_t first, std::uint64_t count) {
  Tx tx = std::move(tx_home);
  Rx rx = std::move(rx_home);
  std::uint64_t wrong = 0;
  const auto begin = Clock::now();
  const std::uint64_t last = first + count;
  for (std::uint64_t number = first; number != last; ++number) {
    separate(number);
    while (!tx.try_send(Record<Size>::of(number))) {
    }
    Record<Size> answer;
    while (!rx.try_receive(answer)) {
    }
    if (answer.differs(number + kAnswer) != 0) [[unlikely]]
      count_one(wrong);
  }
  const auto end = Clock::now();
  tx_home = std::move(tx);
  rx_home = std::move(rx);
  return {ns_between(begin, end), wrong};
}

/// The other side of ask().
template <std::size_t Size, class Tx, class Rx>
[[gnu::noinline]] Lap answer(Tx& tx_home, Rx& rx_home, std::uint64_t first, std::uint64_t count) {
  Tx tx = std::move(tx_home);
  Rx rx = std::move(rx_home);
  std::uint64_t wrong = 0;
  const std::uint64_t last = first + count;
  for (std::uint64_t number = first; number != last; ++number) {
    separate(number);
    Record<Size> question;
    while (!rx.try_receive(question)) {
    }
    if (question.differs(number) != 0) [[unlikely]]
      count_one(wrong);
    while (!tx.try_send(Record<Size>::of(number + kAnswer))) {
    }
  }
  tx_home = std::move(tx);
  rx_home = std::move(rx);
  return {0, wrong};
}

/// Sends `count` messages, one call each.
template <std::size_t Size, class Tx>
[[gnu::noinline]] Lap pour(Tx& tx_home, std::uint64_t first, std::uint64_t count) {
  Tx tx = std::move(tx_home);
  const std::uint64_t last = first + count;
  for (std::uint64_t number = first; number != last; ++number) {
    separate(number);
    while (!tx.try_send(Record<Size>::of(number))) {
    }
  }
  tx_home = std::move(tx);
  return {};
}

/// The other side of pour(). The time is that from the first message to the last, so `count` - 1 messages.
template <std::size_t Size, class Rx>
[[gnu::noinline]] Lap drain(Rx& rx_home, std::uint64_t first, std::uint64_t count) {
  Rx rx = std::move(rx_home);
  std::uint64_t wrong = 0;
  Record<Size> record;
  while (!rx.try_receive(record)) {
  }
  if (record.differs(first) != 0) count_one(wrong);
  const auto begin = Clock::now();
  const std::uint64_t last = first + count;
  for (std::uint64_t number = first + 1; number != last; ++number) {
    separate(number);
    while (!rx.try_receive(record)) {
    }
    if (record.differs(number) != 0) [[unlikely]]
      count_one(wrong);
  }
  const auto end = Clock::now();
  rx_home = std::move(rx);
  return {ns_between(begin, end), wrong};
}

}  // namespace bench
