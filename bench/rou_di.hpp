// iceoryx's daemon for this run: RouDi has names of its own in /dev/shm and /tmp, so that there can be one on a
// machine.
#pragma once

#include <string>
#include <vector>

#include "bench/child.hpp"

namespace bench {

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
  Child process_;
  std::string why_not_;
  std::vector<std::string> traces_;
};

}  // namespace bench
