// Attachment: all of an endpoint that isn't its ring. Its mapping, its lines, its waiting.
//
// Threads: those of its endpoint, one at a time; interrupt() any. In a fork's child every attachment is inert: its
// descriptors are closed there, without ending the parent's lease, and its memory isn't mapped.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "nimsync/endpoint.hpp"
#include "nimsync/sleep.hpp"
#include "os/descriptor.hpp"
#include "os/segment.hpp"
#include "os/watch.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

/// What an attachment is made from.
struct Parts {
  std::string name;
  Role role = Role::sender;
  Wait wait = kDefaultWait;
  os::Mapping mapping;
  os::Descriptor own_line;     // held; carries the lease
  os::Descriptor peer_line;    // watched
  os::Descriptor line_reader;  // of a private line (os/line.hpp)
};

/// How long a sleeper at most waits to be rung before it looks again. The protocol needs no such bound; this one is for
/// peers that break it. Tests set Timeout::max(), since it would hide a lost wake-up as a late one.
inline constexpr std::chrono::nanoseconds kLongestSleep = std::chrono::milliseconds{100};
void set_longest_sleep(std::chrono::nanoseconds longest) noexcept;
std::chrono::nanoseconds longest_sleep() noexcept;

/// The sooner of `from_now` and `deadline`, as a time from `now`; what is over is zero.
using Clock = std::chrono::steady_clock;
struct Deadline {
  /// `timeout` from now on, unless that is beyond the clock's end.
  explicit Deadline(Timeout timeout = forever) noexcept;
  [[nodiscard]] bool is_over(Clock::time_point now) const noexcept { return is_set && now >= at; }
  [[nodiscard]] std::chrono::nanoseconds cut(std::chrono::nanoseconds time, Clock::time_point now) const noexcept;

  Clock::time_point at;
  bool is_set = false;
};

/// Who holds an attachment beside its endpoint: a WaitSet, told of what happens to it.
class Holder {
 public:
  /// The endpoint was used in a way that undid its announcement.
  virtual void disturbed(std::uint64_t member) noexcept = 0;
  /// The endpoint is being destroyed.
  virtual void gone(std::uint64_t member) noexcept = 0;

 protected:
  Holder() = default;
  Holder(const Holder&) = default;
  Holder& operator=(const Holder&) = default;
  ~Holder() = default;
};

class Attachment {
 public:
  explicit Attachment(Parts parts);
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  ~Attachment();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Role role() const noexcept { return role_; }
  [[nodiscard]] const Wait& how() const noexcept { return wait_; }
  /// As the ring's half is to have it.
  [[nodiscard]] RingMemory memory() const noexcept;

  /// Finds where the ring goes on, counts this endpoint as attached, and settles which losses it will be told of. Error
  /// `corrupted`, when the segment says what no honest peer wrote; `over_limit`, when more ended streams wait than
  /// are kept.
  Resume attach();

  void give_lease_back() noexcept;
  /// Before it is destroyed.
  void leave_holder() noexcept;

  void begin_wait(Timeout timeout) noexcept;
  [[nodiscard]] unsigned spins() const noexcept { return spins_; }
  Woken wait() noexcept;
  void count_loss() noexcept { bell_.count_loss(); }
  std::uint64_t wake(std::uint64_t rung) noexcept { return is_closed() ? rung : bell_.wake(rung); }
  Status look() noexcept;
  void interrupt() noexcept;

  /// Error no_space: no descriptors.
  int fd();
  bool arm() noexcept;

  // For those who wait for many endpoints at once. They announce each, ask for one membarrier, and find out of each.

  /// Announces that it will sleep, without the membarrier; false: it can't sleep on its line.
  bool prepare() noexcept;
  /// The membarrier was refused.
  void refuse() noexcept { bell_.refuse(); }
  void rise() noexcept { bell_.rise(); }
  [[nodiscard]] bool is_announced() const noexcept { return bell_.is_announced(); }
  enum class Readiness { idle, ready, again };  // again: it was rung meanwhile, and has to be announced anew
  [[nodiscard]] Readiness readiness() noexcept;
  /// The part of that which needs no system call.
  [[nodiscard]] bool has_news() const noexcept;
  void count_sleep() noexcept;
  void count_spurious() noexcept;
  /// Asks whether the channel was removed without having been rung for it.
  void look_for_removal() noexcept { bell_.look_for_removal(); }
  [[nodiscard]] int line() const noexcept { return peer_line_.get(); }
  [[nodiscard]] bool is_closed() const noexcept { return !own_line_; }
  void hold(Holder* holder, std::uint64_t member) noexcept;
  [[nodiscard]] Holder* holder() const noexcept { return holder_; }
  [[nodiscard]] std::uint64_t member() const noexcept { return member_; }
  /// Around a wait for it; two at a time are a bug.
  void enter() noexcept;
  void leave() noexcept;

  /// For fork: in the child.
  void become_inert() noexcept;

 private:
  /// The operating system's side of the doorbell.
  struct Lines {
    Attachment* attachment;

    [[nodiscard]] LineNews drain() const noexcept;
    void ring() const noexcept;
    [[nodiscard]] static bool membarrier() noexcept;
    /// Either line: the registry also unlinks a line alone, when it has to replace one.
    [[nodiscard]] bool is_removed() const noexcept;
  };

  [[nodiscard]] layout::Header* own_header() const noexcept;
  /// What the ring would say to the next try; a sender's by the room for the largest message.
  [[nodiscard]] Status ring_status() const noexcept;
  [[nodiscard]] bool is_interrupted() const noexcept { return interrupted_.load(); }
  bool take_interrupt() noexcept;
  void release() noexcept;
  Woken look_at_peer(Clock::time_point now) noexcept;
  Woken back_off(Clock::time_point now) noexcept;
  Woken sleep_until_rung(Clock::time_point now) noexcept;
  static Woken told(Status status) noexcept;

  std::string name_;
  Role role_;
  Wait wait_;
  os::Mapping mapping_;
  os::Descriptor own_line_;
  os::Descriptor peer_line_;
  os::Descriptor line_reader_;
  os::Watch watch_;
  Doorbell<Native, Lines> bell_;

  // Of the blocking call that is under way.
  Wait current_ = kDefaultWait;  // what is waited by: the endpoint's, or what it fell back to
  Deadline deadline_;
  unsigned spins_ = 0;      // before the next wait()
  bool has_begun_ = false;  // there was a wait()
  Deadline spinning_;
  unsigned yields_ = 0;
  Clock::time_point next_look_;
  std::chrono::nanoseconds next_sleep_{0};
  bool rung_ = false;  // the last sleep ended so

  std::atomic<bool> interrupted_{false};
  std::atomic<bool> in_use_{false};

  Holder* holder_ = nullptr;
  std::uint64_t member_ = 0;

  Attachment* previous_ = nullptr;  // of all in this process, for fork
  Attachment* next_ = nullptr;
  friend struct Everybody;
};

struct Access {
  /// Null when it was moved from.
  static Attachment* attachment(const Endpoint& endpoint) noexcept { return endpoint.attachment(); }
};

/// An attachment with its ring's beginnings, ready for an endpoint. Errors as attach().
Attached attach(Parts parts);

}  // namespace internal
}  // namespace v1
}  // namespace nimsync
