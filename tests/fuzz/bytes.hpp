// What a fuzzer's bytes choose: the same interface as a seed's Random (tests/rings/channel.hpp), so that the same
// checks run from either. Behind the end everything is zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace nimsync::fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  std::uint64_t next() noexcept { return take(sizeof(std::uint64_t)); }
  /// Below `bound`, which isn't 0; of as few bytes as it needs.
  std::uint64_t below(std::uint64_t bound) noexcept {
    std::size_t bytes = 1;
    while (bytes < sizeof bound && bound > std::uint64_t{1} << (8 * bytes)) ++bytes;
    return take(bytes) % bound;
  }
  /// Up to `bytes` of them as they are.
  std::span<const std::uint8_t> some(std::size_t bytes) noexcept {
    const auto taken = rest_.first(std::min(bytes, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string_view text() noexcept {
    const auto all = some(rest_.size());
    return {reinterpret_cast<const char*>(all.data()), all.size()};
  }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

 private:
  std::uint64_t take(std::size_t bytes) noexcept {
    const auto taken = some(bytes);
    std::uint64_t value = 0;
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }

  std::span<const std::uint8_t> rest_;
};

}  // namespace nimsync::fuzz
