// Waiting for many things at once: wait_any() for a few endpoints, WaitSet for thousands, and for other descriptors
// beside them.
//
// An endpoint is *ready* when its next try_... call or check() has something to tell: a message or the end of the
// stream (receiver), room for a message of the maximum size (sender), a lost peer, a removed channel, interrupt(), a
// corrupted ring; also when it was closed or moved from. It stays ready until that was taken; a removed channel, a
// corrupted one and a closed endpoint stay so for good, so take them out. interrupt() makes it ready for wait_any(); a
// WaitSet has an interrupt() of its own, and is not ended by that of a member.
//
// A sender of frames that are smaller than the maximum may be kept waiting while its message would fit, until one of
// the maximum does; send() waits for its own message's room.
//
// Forks: in a child a WaitSet may only be destroyed.
//
// Threads: an endpoint is used by one thread at a time, and waiting for it is using it. A WaitSet's wait() is called by
// one thread at a time; add(), remove() and interrupt() by any, also while another waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "nimsync/endpoint.hpp"

namespace nimsync {
inline namespace v1 {

/// Waits until one of `endpoints` is ready; returns its index. Nothing: the timeout is over, or there was nothing to
/// wait for. Of several that are ready each gets its turn. It spins as the longest-spinning Wait of theirs says (one
/// that backs off doesn't spin), and then sleeps until rung. For a few endpoints: it looks at all of them each time it
/// wakes. An endpoint that a WaitSet holds may be among them; the same one twice, or null, may not. Error no_space: no
/// descriptors to wait on.
std::optional<std::size_t> wait_any(std::span<Endpoint* const> endpoints, Timeout timeout = forever);

/// Endpoints and descriptors that are waited for together. However many are idle, a wait costs as much as those that
/// are ready, and at most one membarrier each time that it finds nothing to return.
class WaitSet {
 public:
  /// What its user tells members apart by: an index, or a pointer as a number. Not looked at, and need not be unique.
  using Key = std::uint64_t;

  struct Ready {
    Key key;
    short events;  // as of poll(2): POLLIN for a receiver, POLLOUT for a sender; revents of a descriptor
  };

  /// Error no_space: no descriptors.
  WaitSet();
  WaitSet(WaitSet&&) noexcept;
  WaitSet& operator=(WaitSet&&) noexcept;
  WaitSet(const WaitSet&) = delete;
  WaitSet& operator=(const WaitSet&) = delete;
  /// Its members may have been destroyed before. Not while another thread waits, or uses a member.
  ~WaitSet();

  /// Takes in an endpoint. It may be moved while it is in the set, and leaves it when it is destroyed, which must not
  /// be while another thread waits for it. A sender is ready whenever there is room, so put it in while it has
  /// something to send. Errors: invalid (in a set already, closed, or moved from), no_space.
  void add(Endpoint& endpoint, Key key);
  /// Takes in a descriptor of the program's own, for poll(2)'s `events` (POLLIN, POLLOUT, POLLPRI); level-triggered. It
  /// must be removed before it is closed. Errors: invalid (in this set already, or one that can't be waited for, such
  /// as a file), no_space.
  void add(int descriptor, short events, Key key);
  /// Takes it out; false when it wasn't in. What the last wait() returned of it still stands there.
  bool remove(const Endpoint& endpoint) noexcept;
  bool remove(int descriptor) noexcept;

  [[nodiscard]] std::size_t size() const noexcept;

  /// Waits until something is ready and returns all that is, each once, in no particular order, so that nobody is kept
  /// waiting by others. Empty: the timeout is over, or interrupt(). An empty set waits too: another thread may add to
  /// it. Valid until the next wait().
  std::span<const Ready> wait(Timeout timeout = forever) noexcept;

  /// Ends the wait() that is under way, or else the next one. From any thread, or from a signal handler.
  void interrupt() const noexcept;

 private:
  class Members;
  std::unique_ptr<Members> members_;
};

}  // namespace v1
}  // namespace nimsync
