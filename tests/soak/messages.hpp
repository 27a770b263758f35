// The messages of the soak: numbered from 0, and each a function of its number, so that whoever holds one can judge all
// of it, and a position of the channel says how many were sent before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "nimsync/layout.hpp"

namespace nimsync::soak {

/// splitmix64: well mixed bits of a number.
constexpr std::uint64_t mixed(std::uint64_t number) noexcept {
  number += 0x9e3779b97f4a7c15U;
  number = (number ^ (number >> 30U)) * 0xbf58476d1ce4e5b9U;
  number = (number ^ (number >> 27U)) * 0x94d049bb133111ebU;
  return number ^ (number >> 31U);
}

class Messages {
 public:
  static constexpr std::size_t kRecord = 40;
  static constexpr std::size_t kLargest = 600;

  explicit Messages(Layout layout) : framed_(layout == Layout::framed) {
    for (std::size_t i = 0; i < kPeriod; ++i) {
      before_[i] = period_;
      period_ += framed_ ? layout::frame_bytes(size(i)) : 1;
    }
  }

  /// Bytes of message `number`. Those of frames repeat with a period, so that positions have a formula.
  [[nodiscard]] std::size_t size(std::uint64_t number) const noexcept {
    return framed_ ? sizeof number + mixed(number % kPeriod) % (kLargest - sizeof number) : kRecord;
  }

  /// The channel's position once `count` messages were sent: records, or bytes of ring.
  [[nodiscard]] std::uint64_t position(std::uint64_t count) const noexcept {
    return count / kPeriod * period_ + before_[count % kPeriod];
  }

  void write(std::uint64_t number, std::span<std::byte> to) const noexcept {
    for (std::size_t at = 0; at < to.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t word = at == 0 ? number : mixed(number ^ (std::uint64_t{at} << 40U));
      std::memcpy(to.data() + at, &word, std::min(sizeof word, to.size() - at));
    }
  }
  [[nodiscard]] std::vector<std::byte> make(std::uint64_t number) const {
    std::vector<std::byte> message(size(number));
    write(number, message);
    return message;
  }

  /// The number of a message that is whole; nothing for a torn one.
  [[nodiscard]] std::optional<std::uint64_t> read(std::span<const std::byte> message) const {
    std::uint64_t number = 0;
    if (message.size() < sizeof number) return std::nullopt;
    std::memcpy(&number, message.data(), sizeof number);
    if (message.size() != size(number)) return std::nullopt;
    const std::vector<std::byte> whole = make(number);
    if (std::memcmp(whole.data(), message.data(), whole.size()) != 0) return std::nullopt;
    return number;
  }

 private:
  static constexpr std::size_t kPeriod = 1024;

  bool framed_;
  std::uint64_t period_ = 0;
  std::array<std::uint64_t, kPeriod> before_{};
};

}  // namespace nimsync::soak
