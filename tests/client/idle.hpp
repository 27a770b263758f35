// What a process that waits costs.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace nimsync::tests {

/// Of all threads of a process, so far.
inline std::chrono::nanoseconds processor_time(pid_t pid) {
  clockid_t clock{};
  EXPECT_EQ(::clock_getcpuclockid(pid, &clock), 0);
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// The goal: a thousandth of a processor. Instrumented code may take more.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr double kIdleShare = 0.01;
#else
inline constexpr double kIdleShare = 0.001;
#endif

/// What share of a processor an idle process takes over such a while: the least of up to three, since what else goes on
/// here and on the host makes it more and never less. The first that is below kIdleShare will do.
inline double least_share_of_a_processor(pid_t pid, std::chrono::seconds over) {
  constexpr int kTries = 3;
  double least = 1;
  for (int i = 0; i < kTries && least >= kIdleShare; ++i) {
    const auto before = processor_time(pid);
    std::this_thread::sleep_for(over);  // the measurement itself
    least = std::min(least, std::chrono::duration<double>(processor_time(pid) - before) / over);
  }
  return least;
}

}  // namespace nimsync::tests
