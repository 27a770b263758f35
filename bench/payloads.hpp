// Messages of any length whose every byte is known from their number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace bench {

/// Makes and checks messages of `bytes` (16 or more): the number in the first word and the last, between them one of
/// three patterns by turns, so that what an earlier message left in a place is never right there.
class Payloads {
 public:
  explicit Payloads(std::size_t bytes) {
    std::uint64_t state = bytes;
    for (auto& pattern : patterns_) {
      pattern.resize(bytes);
      for (std::byte& byte : pattern) {
        constexpr std::uint64_t kFactor = 6364136223846793005;  // Knuth's, for a linear congruential generator
        constexpr int kTop = 56;
        state = state * kFactor + 1;
        byte = static_cast<std::byte>(state >> kTop);
      }
    }
  }

  /// That message; valid until the next call.
  [[nodiscard]] std::span<const std::byte> of(std::uint64_t number) noexcept {
    std::vector<std::byte>& pattern = patterns_[number % kPatterns];
    std::memcpy(pattern.data(), &number, kWord);
    std::memcpy(pattern.data() + pattern.size() - kWord, &number, kWord);
    return pattern;
  }

  /// Whether `message` is that one.
  [[nodiscard]] bool is(std::uint64_t number, std::span<const std::byte> message) const noexcept {
    const std::vector<std::byte>& pattern = patterns_[number % kPatterns];
    const std::size_t last = pattern.size() - kWord;
    return message.size() == pattern.size() && std::memcmp(message.data(), &number, kWord) == 0 &&
           std::memcmp(message.data() + last, &number, kWord) == 0 &&
           std::memcmp(message.data() + kWord, pattern.data() + kWord, last - kWord) == 0;
  }

 private:
  static constexpr std::size_t kPatterns = 3;
  static constexpr std::size_t kWord = sizeof(std::uint64_t);
  std::array<std::vector<std::byte>, kPatterns> patterns_;
};

}  // namespace bench
