// How many of the points of a matrix are judged: all, or each N-th, beginning somewhere else each time.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <ostream>
#include <stdexcept>
#include <string>

namespace nimsync::testing {

class Stride {
 public:
  /// $NIMSYNC_FAULTS_STRIDE, else `usual`; ten times that in a sanitizer's build, whose daemon takes longer to start.
  explicit Stride(int usual = 1) : step_(usual * kSlower) {
    if (const char* given = std::getenv("NIMSYNC_FAULTS_STRIDE")) step_ = std::stoi(given);
    if (step_ < 1) throw std::runtime_error("NIMSYNC_FAULTS_STRIDE must be 1 or more");
    first_ = 1 + ::getpid() % step_;
  }
  [[nodiscard]] int step() const { return step_; }
  [[nodiscard]] int first() const { return first_; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int kSlower = 10;
#else
  static constexpr int kSlower = 1;
#endif
  int step_;
  int first_;
};

inline std::ostream& operator<<(std::ostream& out, const Stride& stride) {
  if (stride.step() == 1) return out << " (all)";
  return out << " (one of " << stride.step() << ", from " << stride.first()
             << " on; NIMSYNC_FAULTS_STRIDE=1 judges all)";
}

}  // namespace nimsync::testing
