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
#include "os/descriptor.hpp"
#include "os/segment.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

/// What an attachment is made from.
struct Parts {
  std::string name;
  Role role = Role::sender;
  Wait wait = kDefaultWait;
  os::Mapping mapping;
  os::Descriptor own_line;   // held; carries the lease
  os::Descriptor peer_line;  // watched
};

class Attachment {
 public:
  explicit Attachment(Parts parts);
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  ~Attachment();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const RingMemory& memory() const noexcept { return mapping_.memory(); }

  /// Finds where the ring goes on, counts this endpoint as attached, and settles which losses it will be told of. Error
  /// `corrupted`, when the segment says what no honest peer wrote; `over_limit`, when more ended streams wait than
  /// are kept.
  Resume attach();

  void give_lease_back() noexcept;

  void begin_wait(Timeout timeout) noexcept;
  [[nodiscard]] unsigned spins() const noexcept { return spins_; }
  Woken wait() noexcept;
  void count_loss() noexcept;
  Status look() noexcept;
  void interrupt() noexcept;

  /// For fork: in the child.
  void become_inert() noexcept;

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] layout::Header* own_header() const noexcept;
  [[nodiscard]] const layout::Header* peer_header() const noexcept;
  /// How many peers were lost, of which `told` times their loss was told.
  [[nodiscard]] bool has_untold_loss(std::uint64_t attached, bool dead) const noexcept;
  [[nodiscard]] bool is_unlinked() const noexcept;
  bool take_interrupt() noexcept;
  void sleep(std::chrono::nanoseconds at_most) noexcept;

  std::string name_;
  Role role_;
  Wait wait_;
  os::Mapping mapping_;
  os::Descriptor own_line_;
  os::Descriptor peer_line_;
  std::uint64_t gone_at_attach_ = 0;  // peers that had attached and were dead when this endpoint attached

  bool removed_ = false;  // for good
  Clock::time_point deadline_;
  bool has_deadline_ = false;
  unsigned spins_ = 0;  // before the next wait()
  unsigned yields_ = 0;
  Clock::time_point next_look_;
  std::chrono::nanoseconds next_sleep_{0};
  std::atomic<std::uint32_t> interrupted_{0};  // a futex

  Attachment* previous_ = nullptr;  // of all in this process, for fork
  Attachment* next_ = nullptr;
  friend struct Everybody;
};

/// An attachment with its ring's beginnings, ready for an endpoint. Errors as attach().
Attached attach(Parts parts);

}  // namespace internal
}  // namespace v1
}  // namespace nimsync
