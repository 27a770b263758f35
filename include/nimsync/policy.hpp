// What a ring needs from the world: single words and copies of shared memory, named by their memory order.
//
// The rings are templates over a policy and name neither std::atomic nor memcpy themselves. One header so serves the
// product (Native), and, with other policies, a model checker, a reader that is lied to, and crash hooks. A policy
// has the static members of Native; the functions take addresses inside the two segments.
//
// Loads take const addresses because the peer's segment may be mapped read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace nimsync {
inline namespace v1 {

struct Native {
  using Word = std::uint64_t;

  static Word load_acquire(const Word* from) noexcept { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
  static Word load_relaxed(const Word* from) noexcept { return __atomic_load_n(from, __ATOMIC_RELAXED); }
  static void store_release(Word* to, Word value) noexcept { __atomic_store_n(to, value, __ATOMIC_RELEASE); }
  static void store_relaxed(Word* to, Word value) noexcept { __atomic_store_n(to, value, __ATOMIC_RELAXED); }

  /// Keeps the compiler from moving loads and stores across it; no instruction.
  static void compiler_fence() noexcept { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
  /// Sequentially consistent, for the processor too.
  static void fence() noexcept { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

  /// Copies into or out of a payload. `Size` is the number of bytes where the compiler knows it, and 0 where not.
  ///
  /// Small payloads go word by word: the compiler would join two words that were just stored apart into one vector
  /// load, which the store buffer can't forward (nimsync_bench, records filled elsewhere in words: 49 instead of 23 M/s
  /// at 24 bytes, 40 instead of 19 at 56). The empty asm keeps the words apart. Beyond 128 bytes the words are too many
  /// to be unrolled, and most of them have left the store buffer.
  template <std::size_t Size>
  static void copy(std::byte* to, const std::byte* from, [[maybe_unused]] std::size_t bytes) noexcept {
    if constexpr (Size == 0) {
      // Hidden from g++, which makes `rep movs` of a copy that it knows to be small: batches of 16 records of 8 bytes
      // took twice as long.
      asm("" : "+r"(bytes));
      if (bytes != 0) std::memcpy(to, from, bytes);  // an empty message may have no address
    } else if constexpr (Size > kWordwise) {
      std::memcpy(to, from, Size);
    } else {
      constexpr std::size_t words = Size / sizeof(Word);
      [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        (copy_word(to + I * sizeof(Word), from + I * sizeof(Word)), ...);
      }
      (std::make_index_sequence<words>{});
      if constexpr (Size % sizeof(Word) != 0) {
        std::memcpy(to + words * sizeof(Word), from + words * sizeof(Word), Size % sizeof(Word));
      }
    }
  }

  /// Says that a payload of `Size` bytes (0: of unknown size) is waited for, whose lines are not those that are polled.
  /// Asked for now they come when the peer lets go of them, and not only after the news: a round trip of 64 bytes took
  /// 1.4 instead of 1.7 ping-pongs, one of 8 through a dense protected ring 1.1 instead of 1.5. Of larger payloads than
  /// these, too many would be on their way in vain: 1 KiB lost a tenth.
  template <std::size_t Size>
  [[gnu::always_inline]] static void expect(const std::byte* payload) noexcept {
    constexpr std::size_t kLine = 64;
    constexpr std::size_t kMost = 4 * kLine;
    if constexpr (Size <= kMost) {
      constexpr std::size_t lines = Size == 0 ? 1 : (Size + kLine - 1) / kLine;
      if (payload == nullptr) return;  // in an endpoint of no channel
      [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        (__builtin_prefetch(payload + I * kLine), ...);
      }
      (std::make_index_sequence<lines>{});
    }
  }

  /// A hint to the processor that this is a spin loop.
  static void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

 private:
  static constexpr std::size_t kWordwise = 128;

  [[gnu::always_inline]] static void copy_word(std::byte* to, const std::byte* from) noexcept {
    Word word = 0;
    std::memcpy(&word, from, sizeof word);
    asm("" : "+r"(word));
    std::memcpy(to, &word, sizeof word);
  }
};

}  // namespace v1
}  // namespace nimsync
