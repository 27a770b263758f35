// Every outcome of the data path, in one byte.
//
// Data functions are noexcept and say what happened by value. A Status converts to true for `ok` alone, so
// `if (tx.try_send(x))` reads as success, and it works in a `switch` over the enumerators.
//
// Thread-safe: a plain value.
#pragma once

#include <cstdint>

namespace nimsync {
inline namespace v1 {

class [[nodiscard]] Status {
 public:
  /// Scoped: an unscoped enumerator would turn into a bool, and `ok` into false: bool sent = tx.try_send(x).
  enum class Code : std::uint8_t {
    ok,           // done
    would_block,  // the ring is full (sender) or empty (receiver) just now
    timeout,      // a blocking call waited as long as it was allowed to
    interrupted,  // interrupt() was called
    closed,       // receiver: the stream ended here, in order; sender: this endpoint was closed or moved from
    peer_lost,    // the other side went away without closing; said once per lost peer
    removed,      // the channel was removed from its registry; open by name again
    too_big,      // the message exceeds the channel's maximum; it will never fit
    corrupted,    // shared memory holds a value that no honest peer writes
  };
  static constexpr Code ok = Code::ok;
  static constexpr Code would_block = Code::would_block;
  static constexpr Code timeout = Code::timeout;
  static constexpr Code interrupted = Code::interrupted;
  static constexpr Code closed = Code::closed;
  static constexpr Code peer_lost = Code::peer_lost;
  static constexpr Code removed = Code::removed;
  static constexpr Code too_big = Code::too_big;
  static constexpr Code corrupted = Code::corrupted;

  constexpr Status(Code code) noexcept : code_(code) {}  // NOLINT(google-explicit-constructor): a status is its code
  constexpr operator Code() const noexcept { return code_; }  // NOLINT(google-explicit-constructor): for switch and ==
  constexpr explicit operator bool() const noexcept { return code_ == ok; }

 private:
  Code code_;
};

static_assert(sizeof(Status) == 1);

/// The enumerator's name, for messages. Static storage.
constexpr const char* name(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::would_block:
      return "would_block";
    case Status::timeout:
      return "timeout";
    case Status::interrupted:
      return "interrupted";
    case Status::closed:
      return "closed";
    case Status::peer_lost:
      return "peer_lost";
    case Status::removed:
      return "removed";
    case Status::too_big:
      return "too_big";
    case Status::corrupted:
      return "corrupted";
  }
  return "unknown";
}

}  // namespace v1
}  // namespace nimsync
