// Watch: what an endpoint sleeps on, and what its user gives to poll, epoll or an event loop.
//
// A private epoll descriptor with the peer's line in it, edge-triggered: a line without a holder is hung up for as long
// as nobody holds it, and level-triggered it would wake for ever. A byte written into an empty line is an edge; one
// whose cause has gone by the time it is waited for is not reported.
//
// Beside the line there is an eventfd, by which other threads and signal handlers end a wait, and a timer, for
// endpoints that can't sleep on their line alone. Both are edge-triggered, and never read: a write is an edge.
//
// Threads: one at a time; poke() any, and it may be called in a signal handler. After fork both processes share the
// epoll descriptor's set, so the child closes its copies and does nothing else (close()).
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <span>

#include "os/descriptor.hpp"

namespace nimsync::os {

/// Negative is zero.
timespec timespec_of(std::chrono::nanoseconds time) noexcept;

/// epoll_wait by the nanosecond; -1 and EINTR when a signal was handled.
int wait_for_events(const Descriptor& epoll, std::span<epoll_event> events, std::chrono::nanoseconds at_most) noexcept;

class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { close(); }

  /// Makes the descriptors when they aren't there yet. False: there are none to be had, and errno says why.
  bool open(const Descriptor& line) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(epoll_); }
  /// Readable when the line was rung or hung up, or poke() called, since the last wait() or clear(). -1: not open.
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }

  enum class Woken { line, poked, timeout };
  /// Sleeps for at most that long. `timeout` also when a signal was handled. With both, `line`. Not open, it just
  /// sleeps.
  Woken wait(std::chrono::nanoseconds at_most) noexcept;
  /// Forgets what came until now: fd() isn't readable until there is more.
  void clear() noexcept;

  /// Ends a wait() that is under way, or else the next one. Nothing when not open. errno stays.
  void poke() noexcept;
  /// Makes fd() readable after `time`. False: there is no timer to be had.
  bool wake_after(std::chrono::nanoseconds time) noexcept;

  void close() noexcept;

 private:
  Descriptor epoll_;
  std::atomic<int> event_{-1};
  Descriptor timer_;
};

}  // namespace nimsync::os
