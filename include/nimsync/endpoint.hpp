// The half of an endpoint that isn't its ring: what attaches it to a channel, waits, and learns of the peer.
//
// Users hold Sender<T> and Receiver<T> (channel.hpp), which derive from Endpoint. All that a data operation touches
// lies in those; all else lies behind one pointer, in an Attachment on the heap that the library's compiled half owns.
// No function of that half is ever given the address of an endpoint: see ring.hpp for what that would cost.
//
// Threads: one at a time for each endpoint, interrupt() aside. Processes: in a fork's child an endpoint is inert; it
// may be destroyed there, and must not be used otherwise (its memory isn't mapped there).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "nimsync/layout.hpp"
#include "nimsync/options.hpp"
#include "nimsync/ring.hpp"
#include "nimsync/status.hpp"
#include "nimsync/wait.hpp"

namespace nimsync {
inline namespace v1 {

namespace internal {

class Attachment;

/// What a ring's half is built from, after attaching.
struct Attached {
  Attachment* attachment = nullptr;  // owned by the endpoint, given to detach()
  RingMemory memory;
  Resume resume;
};

/// What a user's type asks of a channel: what an endpoint template knows at compile time.
struct Wanted {
  bool frames = false;          // creates frames; opens anything
  std::uint64_t size = 0;       // of a record
  std::uint64_t alignment = 0;  // of a record
  std::string_view type = {};
};

/// Gives the library's other parts the attachment of an endpoint.
struct Access;

/// Why a wait ended, or that the ring is to be looked at again.
enum class Woken : std::uint8_t { look, timeout, interrupted, peer_lost, removed };

/// Gives the lease back and frees everything. Null is nothing.
void detach(Attachment* attachment) noexcept;
/// Gives the lease back alone, so that a successor may attach; the memory stays mapped.
void give_lease_back(Attachment* attachment) noexcept;
/// Before the first wait() of a blocking call.
void begin_wait(Attachment* attachment, Timeout timeout) noexcept;
/// How often to look at the ring before the next wait().
unsigned spins(const Attachment* attachment) noexcept;
/// Waits a little by the endpoint's Wait. After `peer_lost` the ring is to be looked at once more; only when it has
/// nothing is the loss told, and count_loss() called.
Woken wait(Attachment* attachment) noexcept;
/// After the last wait() of a blocking call.
void end_wait(Attachment* attachment) noexcept;
/// Rings the peer if it sleeps and `rung` isn't the epoch of that; returns the epoch to be remembered.
std::uint64_t wake(Attachment* attachment, std::uint64_t rung) noexcept;
void count_loss(Attachment* attachment) noexcept;
/// One system call: `ok`, `interrupted`, `removed`, or `peer_lost` (to be counted when told).
Status look(Attachment* attachment) noexcept;
void interrupt(Attachment* attachment) noexcept;
int fd(Attachment* attachment);
bool arm(Attachment* attachment) noexcept;
const std::string& channel_name(const Attachment* attachment) noexcept;

/// A channel of this process alone; throws Error.
std::pair<Attached, Attached> make_local(const Wanted& wanted, const Options& options);

}  // namespace internal

class Endpoint {
 public:
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// Makes the blocking call that is under way, or else the next one, return `interrupted`; check() takes it too. Makes
  /// fd() readable, and ends a wait_any(), but not a WaitSet's wait, which has an interrupt() of its own. From any
  /// thread, or from a signal handler; the endpoint must not be moved or destroyed meanwhile.
  [[gnu::always_inline]] void interrupt() const noexcept {
    if (attachment_ != nullptr) internal::interrupt(attachment_);
  }

  /// A descriptor that is readable once the endpoint should be looked at again: for poll, epoll (level- or
  /// edge-triggered) and event loops. The same each time, owned by the endpoint. Only to be waited on, and only after
  /// arm() has returned true:
  ///
  ///     Status status;
  ///     do {
  ///       while ((status = rx.try_receive(tick))) use(tick);
  ///       if (status != Status::would_block) break;     // closed, or corrupted: each is said once
  ///       if (rx.arm()) poll(rx.fd()) ...               // nothing there, and the peer will ring: sleep
  ///       else status = rx.check();                     // there is something by now; or peer_lost, removed, ...
  ///     } while (status == Status::ok || status == Status::would_block);
  ///
  /// Ask for it once before the first arm(), which can't say that there are no descriptors. Errors: invalid (moved
  /// from), no_space (no descriptors: it takes two, and so does a blocking call's first sleep).
  [[nodiscard, gnu::always_inline]] int fd() const { return internal::fd(attachment_); }

  /// Before sleeping on fd(): asks the peer to ring, and says whether there is anything to wait for. False: look again
  /// now, by try_... and then check(); a receiver has a message or the end of a stream, a sender has room for a message
  /// of the maximum size, the peer was lost, the channel removed, interrupt() called, or this endpoint closed or moved
  /// from. It takes about 12 us (a membarrier), and holds until the endpoint is armed again or waited for otherwise.
  [[nodiscard, gnu::always_inline]] bool arm() noexcept { return internal::arm(attachment_); }

  /// The channel's name; empty for a channel without a registry and for an endpoint that was moved from.
  [[nodiscard, gnu::always_inline]] const std::string& name() const noexcept {
    return internal::channel_name(attachment_);
  }

  /// Whether it is attached: false after a move from it.
  [[nodiscard, gnu::always_inline]] bool is_attached() const noexcept { return attachment_ != nullptr; }

 protected:
  [[gnu::always_inline]] explicit Endpoint(internal::Attachment* attachment) noexcept : attachment_(attachment) {}
  [[gnu::always_inline]] Endpoint(Endpoint&& from) noexcept : attachment_(std::exchange(from.attachment_, nullptr)) {}
  // Right for *this too, without asking: clang keeps in memory what has had its address compared.
  [[gnu::always_inline]] Endpoint& operator=(Endpoint&& from) noexcept {
    internal::detach(std::exchange(attachment_, std::exchange(from.attachment_, nullptr)));
    return *this;
  }
  [[gnu::always_inline]] ~Endpoint() { internal::detach(attachment_); }

  /// Repeats `attempt`, a call that returns would_block while nothing can be done, until it can be or the wait ends.
  template <class Attempt>
  [[gnu::always_inline]] static Status block(internal::Attachment* attachment, Timeout timeout,
                                             Attempt attempt) noexcept {
    Status status = attempt();
    if (status != Status::would_block) [[likely]]
      return status;
    if (attachment == nullptr) return Status::closed;
    internal::begin_wait(attachment, timeout);
    status = wait(attachment, attempt);
    internal::end_wait(attachment);
    return status;
  }

  [[nodiscard, gnu::always_inline]] internal::Attachment* attachment() const noexcept { return attachment_; }

 private:
  friend struct internal::Access;

  template <class Attempt>
  [[gnu::always_inline]] static Status wait(internal::Attachment* attachment, Attempt attempt) noexcept {
    for (;;) {
      for (unsigned spin = internal::spins(attachment); spin != 0; --spin) {
        const Status status = attempt();
        if (status != Status::would_block) return status;
        Native::pause();
      }
      const internal::Woken woken = internal::wait(attachment);
      if (woken == internal::Woken::look) continue;
      // Taken once, so it must be told, also when a message came meanwhile: that one waits for the next call.
      if (woken == internal::Woken::interrupted) return Status::interrupted;
      const Status status = attempt();  // what came before the news is taken before the news
      if (status != Status::would_block) return status;
      switch (woken) {
        case internal::Woken::timeout:
          return Status::timeout;
        case internal::Woken::interrupted:
          return Status::interrupted;
        case internal::Woken::removed:
          return Status::removed;
        case internal::Woken::peer_lost:
          internal::count_loss(attachment);
          return Status::peer_lost;
        case internal::Woken::look:
          break;
      }
    }
  }

  internal::Attachment* attachment_;
};

}  // namespace v1
}  // namespace nimsync
