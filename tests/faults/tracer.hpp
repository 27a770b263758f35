// Tracer: stops a child process at the entry and at the exit of every system call that it makes, and there lets it go
// on, kills it, or has the call fail without being done.
//
// For processes of one thread. Nobody else may wait for the process while it is traced (a wait would take the
// tracer's stops); a process that has ended is left to its owner to be waited for.
//
// Threads: one, beside the tracer's own, on which `decide` is called.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace nimsync::testing {

/// Where a process stands.
struct Stop {
  pid_t pid = -1;
  bool is_entry = false;
  long call = -1;  // SYS_...
  std::array<std::uint64_t, 6> arguments{};
};

class Tracer {
 public:
  struct Verdict {
    bool kill = false;
    int error = 0;  // at an entry: what the call fails with
  };
  using Decide = std::function<Verdict(const Stop&)>;

  /// Stops a running child of this process, and from then on asks at each stop. Returns when the child is traced.
  Tracer(pid_t pid, Decide decide);
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;
  ~Tracer() { release(); }

  /// Lets the process go on untraced; returns when it is, or has ended.
  void release();
  /// Whether the process has ended, by itself or killed.
  [[nodiscard]] bool has_ended() const { return ended_; }
  /// Waits until it has, under the watchdog; false when it hasn't.
  bool wait_for_end();

 private:
  enum class State : std::uint8_t { starting, traced, over };

  void run();
  [[nodiscard]] bool resume_until_stop(int& status, int signal) const;
  void become(State state);
  void at_call();

  pid_t pid_;
  Decide decide_;
  Stop stop_;  // the last entry
  int failing_ = 0;
  std::atomic<bool> releasing_{false};
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::starting;
  std::thread thread_;
};

}  // namespace nimsync::testing
