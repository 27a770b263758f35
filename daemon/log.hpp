// The one log: to stderr, and with journald's priorities in front when it reads there.
//
// An event is a line: what happened in a word or two, then key=value. Who created, opened and removed what is told at
// level info, who was refused a right or a place at warn; that is the audit.
//
// Threads: any, but a LineLimit, which is of one.
#pragma once

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace nimsync::registry {

/// Call once, before the first line. `level` is one of trace, debug, info, warn, error.
void start_log(const std::string& level);
void set_log_level(const std::string& level);

/// Bounds lines of one kind, which clients could cause without end: so many at once, and so many a second from then on.
class LineLimit {
 public:
  using Clock = std::chrono::steady_clock;

  /// Whether a line may be written.
  [[nodiscard]] bool admits(Clock::time_point now = Clock::now());
  /// " left_out=N", N being the lines that weren't written since the last one that was; "" for none. Once for each.
  [[nodiscard]] std::string left_out();

  static constexpr std::uint64_t kAtOnce = 20;
  static constexpr std::chrono::milliseconds kEach{100};

 private:
  std::uint64_t lines_ = kAtOnce;  // that may be written
  Clock::time_point counted_{};    // until when kEach was counted
  std::uint64_t left_out_ = 0;
};

}  // namespace nimsync::registry
