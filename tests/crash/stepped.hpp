// A child process that is stopped after each of its instructions, where its work says so.
//
// The child's body brackets what is to be stepped with Marks; all else it does at full speed. What it found it writes
// on a board that it shares with its parent, since it may be killed at any moment.
//
// Each wait has a watchdog: what doesn't come back is Broken (Fault::hung). Threads: one, which alone may step what it
// has forked. x86-64.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/rings/crash_checks.hpp"

namespace nimsync::crash_test {

using rings_test::Broken;
using rings_test::Fault;
using rings_test::Log;
using rings_test::require;

/// How long a process may take for what it does; NIMSYNC_CRASH_WATCHDOG in seconds, 120 by default.
std::chrono::seconds watchdog();

/// What child and parent share.
struct Board {
  volatile bool inside;    // between two marks
  volatile bool stepping;  // marks stop the child
  volatile bool broken;    // `text` says how
  volatile std::uint64_t before;
  volatile std::uint64_t count;
  std::uint64_t log[4096];
  char text[2048];
};

/// The child's side: where its stepped instructions begin and end, and what it reports.
class Marks {
 public:
  /// Nothing is marked.
  Marks() = default;
  explicit Marks(Board* board) noexcept : board_(board) {}

  /// From now on begin() counts, until off().
  void on() noexcept { on_ = board_ != nullptr; }
  void off() noexcept { on_ = false; }

  [[gnu::always_inline]] void begin() noexcept {
    if (!on_ || !board_->stepping) return;
    board_->inside = true;
    asm volatile("int3" ::: "memory");
  }
  [[gnu::always_inline]] void end() noexcept {
    asm volatile("" ::: "memory");
    if (on_) board_->inside = false;
  }

  /// What was sent or received before the stepped operation, and then with it.
  void report(const Log& log, bool is_before = false) noexcept;

 private:
  Board* board_ = nullptr;
  bool on_ = false;
};

/// Where a child stood: the address of the next instruction, and whether it is between marks. After the last one it is
/// not.
struct Point {
  std::uint64_t address = 0;
  bool is_marked = false;

  bool operator==(const Point&) const = default;
};
/// A child's points, in order.
using Trace = std::vector<Point>;

class Stepped {
 public:
  /// Forks, and runs `body` in the child, which ends when that returns. Unstepped, the marks do nothing.
  explicit Stepped(const std::function<void(Marks&)>& body, bool is_stepped = true);
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;
  ~Stepped();  // kills

  enum class Stop : std::uint8_t {
    stopped,  // at a point
    asleep,   // in a system call that waits, until something wakes it
    ended,
  };
  /// To the first point, and then one instruction further. Asleep, it is waited for until it wakes.
  Stop step();
  /// To a point of an earlier child that ran alike, by a breakpoint; what it asks for twice, by steps. False: this
  /// child went another way, and has ended or sleeps; it is of no more use.
  bool run_to(const Trace& trace, std::size_t point);
  /// Where it stands.
  [[nodiscard]] Point point() const { return {address(), board_->inside}; }

  /// Lets it go on to its end, and passes on what it reported as broken.
  void finish();
  /// Until it sleeps in a system call that waits, or has ended. Unstepped ones.
  void until_asleep();
  void kill();
  [[nodiscard]] bool has_ended() const { return pid_ < 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// What it reported: before the operation, and with it.
  [[nodiscard]] Log before() const { return {board_->log, board_->log + board_->before}; }
  [[nodiscard]] Log done() const { return {board_->log + board_->before, board_->log + board_->count}; }

 private:
  [[nodiscard]] std::uint64_t address() const;
  [[nodiscard]] bool sleeps() const;
  Stop wait_for_stop(bool or_sleep);
  Stop stopped(int status);
  Stop run_to_mark(bool or_sleep);
  bool run_to_address(std::uint64_t address);

  pid_t pid_ = -1;
  Board* board_;
  bool is_stepped_;
  bool is_asleep_ = false;
  bool has_begun_ = false;
};

}  // namespace nimsync::crash_test
