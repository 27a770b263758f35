// The measured loops: the same source for every contestant, one function of its own for each.
//
// A sender has `bool-like try_send(const Record&)`, a receiver `bool-like try_receive(Record&)`; some more. A loop
// moves its endpoints out of where they are kept into local variables and back at the end: that is how a program that
// is in a hurry uses them (nimsync/channel.hpp says why). The functions aren't inlined, so that no contestant is
// compiled into its surroundings.
//
// Every word of every message is checked. The loops spin without a pause and without an end of their own: whoever
// starts them watches over them from another process.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "bench/contestant.hpp"

namespace bench {

/// A message of `Size` bytes, all of them made from its number.
template <std::size_t Size>
struct Record {
  static_assert(Size % sizeof(std::uint64_t) == 0);
  static constexpr std::size_t kWords = Size / sizeof(std::uint64_t);

  [[gnu::always_inline]] static Record of(std::uint64_t number) noexcept {
    Record record;
    each_word([&](std::size_t i) __attribute__((always_inline)) { record.words[i] = number + i * kStep; });
    return record;
  }
  /// Zero when this is the message of that number.
  [[nodiscard, gnu::always_inline]] std::uint64_t differs(std::uint64_t number) const noexcept {
    std::uint64_t difference = 0;
    each_word([&](std::size_t i) __attribute__((always_inline)) { difference |= words[i] ^ (number + i * kStep); });
    return difference;
  }

  // Small enough for the multiples to be part of an instruction: as constants in registers they push the ring's own
  // out.
  static constexpr std::uint64_t kStep = 0x01010101;
  std::uint64_t words[kWords];

 private:
  /// Small messages without a loop, which g++ 12 leaves in at -O2: its instructions would outweigh a queue's own.
  template <class Use>
  [[gnu::always_inline]] static void each_word(Use use) noexcept {
    constexpr std::size_t kUnrolled = 16;
    if constexpr (kWords <= kUnrolled) {
      [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        (use(I), ...);
      }
      (std::make_index_sequence<kWords>{});
    } else {
      for (std::size_t i = 0; i < kWords; ++i) use(i);
    }
  }
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
  return {ns_between(begin, end), static_cast<double>(count), wrong};
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
  return {0, 0, wrong};
}

// A stream's loops come in pairs: send() in the near process, receive() in the far one, which times from the first
// message to the last, so `count` - 1 messages.

/// Sends each of `count` messages by one call, which copies.
template <std::size_t Size, class Tx>
[[gnu::always_inline]] inline Lap send_each(Tx& tx, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t last = first + count;
  for (std::uint64_t number = first; number != last; ++number) {
    separate(number);
    while (!tx.try_send(Record<Size>::of(number))) {
    }
  }
  return {};
}

/// Receives them likewise.
template <std::size_t Size, class Rx>
[[gnu::always_inline]] inline Lap receive_each(Rx& rx, std::uint64_t first, std::uint64_t count) {
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
  return {ns_between(begin, Clock::now()), static_cast<double>(count - 1), wrong};
}

/// One call a message, over endpoints in local variables.
template <std::size_t Size>
struct OneCall {
  template <class Tx>
  [[gnu::noinline]] static Lap send(Tx& tx_home, std::uint64_t first, std::uint64_t count) {
    Tx tx = std::move(tx_home);
    const Lap lap = send_each<Size>(tx, first, count);
    tx_home = std::move(tx);
    return lap;
  }

  template <class Rx>
  [[gnu::noinline]] static Lap receive(Rx& rx_home, std::uint64_t first, std::uint64_t count) {
    Rx rx = std::move(rx_home);
    const Lap lap = receive_each<Size>(rx, first, count);
    rx_home = std::move(rx);
    return lap;
  }
};

/// The same over endpoints that stay where they are kept: in objects that other functions know of, as class members
/// are.
template <std::size_t Size>
struct OneCallMember {
  template <class Tx>
  [[gnu::noinline]] static Lap send(Tx& tx, std::uint64_t first, std::uint64_t count) {
    return send_each<Size>(tx, first, count);
  }

  template <class Rx>
  [[gnu::noinline]] static Lap receive(Rx& rx, std::uint64_t first, std::uint64_t count) {
    return receive_each<Size>(rx, first, count);
  }
};

/// Written and read where they lie, up to `Batch` messages a call.
template <std::size_t Size, std::size_t Batch>
struct InPlace {
  template <class Tx>
  [[gnu::noinline]] static Lap send(Tx& tx_home, std::uint64_t first, std::uint64_t count) {
    Tx tx = std::move(tx_home);
    const std::uint64_t last = first + count;
    for (std::uint64_t number = first; number != last;) {
      const std::span<Record<Size>> room = tx.reserve(Batch == 1 ? 1 : std::min<std::uint64_t>(Batch, last - number));
      for (Record<Size>& record : room) {
        separate(number);
        record = Record<Size>::of(number++);
      }
      if (!room.empty()) tx.commit(room.size());
    }
    tx_home = std::move(tx);
    return {};
  }

  template <class Rx>
  [[gnu::noinline]] static Lap receive(Rx& rx_home, std::uint64_t first, std::uint64_t count) {
    Rx rx = std::move(rx_home);
    std::uint64_t wrong = 0;
    while (rx.peek().empty()) {
    }
    const auto begin = Clock::now();
    const std::uint64_t last = first + count;
    for (std::uint64_t number = first; number != last;) {
      const std::span<const Record<Size>> waiting = rx.peek(Batch);
      for (const Record<Size>& record : waiting) {
        separate(number);
        if (record.differs(number++) != 0) [[unlikely]]
          count_one(wrong);
      }
      if (!waiting.empty()) rx.release(waiting.size());
    }
    const auto end = Clock::now();
    rx_home = std::move(rx);
    return {ns_between(begin, end), static_cast<double>(count - 1), wrong};
  }
};

/// `Batch` messages a call, copied from and to an array.
template <std::size_t Size, std::size_t Batch>
struct Copied {
  template <class Tx>
  [[gnu::noinline]] static Lap send(Tx& tx_home, std::uint64_t first, std::uint64_t count) {
    Tx tx = std::move(tx_home);
    std::array<Record<Size>, Batch> records;
    const std::uint64_t last = first + count;
    for (std::uint64_t number = first; number != last;) {
      const std::size_t filled = std::min<std::uint64_t>(Batch, last - number);
      for (std::size_t i = 0; i < filled; ++i) {
        separate(number);
        records[i] = Record<Size>::of(number++);
      }
      std::span<const Record<Size>> left(records.data(), filled);
      while (!left.empty()) left = left.subspan(tx.try_send_some(left));
    }
    tx_home = std::move(tx);
    return {};
  }

  template <class Rx>
  [[gnu::noinline]] static Lap receive(Rx& rx_home, std::uint64_t first, std::uint64_t count) {
    Rx rx = std::move(rx_home);
    std::array<Record<Size>, Batch> records;
    std::uint64_t wrong = 0;
    std::size_t got = 0;
    while ((got = rx.try_receive_some(records)) == 0) {
    }
    const auto begin = Clock::now();
    const auto untimed = static_cast<double>(got);
    const std::uint64_t last = first + count;
    for (std::uint64_t number = first;;) {
      for (std::size_t i = 0; i < got; ++i) {
        separate(number);
        if (records[i].differs(number++) != 0) [[unlikely]]
          count_one(wrong);
      }
      if (number == last) break;
      got = rx.try_receive_some(records);
    }
    const auto end = Clock::now();
    rx_home = std::move(rx);
    return {ns_between(begin, end), static_cast<double>(count) - untimed, wrong};
  }
};

}  // namespace bench
