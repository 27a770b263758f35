// iceoryx's daemon for this run: RouDi has names of its own in /dev/shm and /tmp, so that there can be one on a
// machine.
#pragma once

#include <sys/types.h>

#include <string>

#include "bench/child.hpp"

namespace bench {

/// What the near or the far process of the bench of that process id calls itself towards RouDi; also the name of its
/// socket in /tmp.
inline std::string iceoryx_name(pid_t bench, const std::string& who) {
  return "nimsync_bench." + std::to_string(bench) + "-" + who;
}

class RouDi {
 public:
  /// Starts it and waits until it is ready; `log` is the file for what it says. When it can't be had, why_not() says
  /// so.
  explicit RouDi(const std::string& log);
  RouDi(const RouDi&) = delete;
  RouDi& operator=(const RouDi&) = delete;
  /// Ends it, and takes away what it made.
  ~RouDi();

  /// Empty: it runs.
  [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }

 private:
  void start(const std::string& log);
  void end() noexcept;

  Child process_;
  std::string why_not_;
};

}  // namespace bench
