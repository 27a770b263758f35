// How a blocking call waits: a value, chosen at run time, per endpoint.
//
// Thread-safe: plain values.
#pragma once

#include <chrono>

namespace nimsync {
inline namespace v1 {

/// How long a blocking call may take. Nanoseconds; negative counts as zero.
using Timeout = std::chrono::nanoseconds;
inline constexpr Timeout forever = Timeout::max();

class Wait {
 public:
  enum class Kind : unsigned char { busy, backoff, doorbell };

  /// Spins on the ring and never gives the processor away: the lowest latency, a whole core.
  static constexpr Wait busy() noexcept { return {Kind::busy, {}, {}}; }

  /// Spins a little, yields, then sleeps: `from` first, doubling up to `to`. The Nim library's waiting is
  /// backoff(1ms, 100ms). A `from` of zero counts as 1 ns, a `to` below `from` as `from`.
  static constexpr Wait backoff(Timeout from, Timeout to) noexcept {
    if (from < Timeout{1}) from = Timeout{1};
    return {Kind::backoff, from, to < from ? from : to};
  }

  /// Spins for `spin`, then sleeps until the peer rings: no processor time while idle. Zero sleeps at once. Where the
  /// kernel refuses membarrier(2) it is the backoff of kFallbackWait instead.
  static constexpr Wait doorbell(Timeout spin = std::chrono::microseconds{50}) noexcept {
    return {Kind::doorbell, spin < Timeout{0} ? Timeout{0} : spin, {}};
  }

  [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
  /// Backoff: the first sleep. Doorbell: how long to spin.
  [[nodiscard]] constexpr Timeout from() const noexcept { return from_; }
  [[nodiscard]] constexpr Timeout to() const noexcept { return to_; }

  bool operator==(const Wait&) const = default;

 private:
  constexpr Wait(Kind kind, Timeout from, Timeout to) noexcept : kind_(kind), from_(from), to_(to) {}

  Kind kind_;
  Timeout from_;
  Timeout to_;
};

/// What an endpoint waits by unless told otherwise.
inline constexpr Wait kDefaultWait = Wait::doorbell();
/// What a doorbell falls back to where it can't work: at most 1 ms late, at most 1,000 looks a second when idle.
inline constexpr Wait kFallbackWait = Wait::backoff(std::chrono::microseconds{50}, std::chrono::milliseconds{1});

}  // namespace v1
}  // namespace nimsync
