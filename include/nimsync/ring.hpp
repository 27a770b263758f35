// What the three rings have in common: the memory they lie over, their concept, and the ends of streams.
//
// A ring is two objects, one in each process: a sender's half and a receiver's half. Each is used by one thread at a
// time; the two run concurrently. A half keeps all that it needs in itself (its position, its copy of the peer's) and
// reads the peer's segment only when that copy says full or empty. It never writes the peer's segment.
//
// Everything read from shared memory is input: it is read once a call through the policy, checked before use, and
// yields Status::corrupted when no honest peer could have written it. The number of shared reads a call makes is
// bounded.
//
// Slow paths take and return values. An endpoint whose address escapes into a function that isn't inlined must keep its
// position in memory, and that store between two stores to the ring costs up to 70 % of the throughput of small
// messages.
#pragma once

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "nimsync/layout.hpp"
#include "nimsync/policy.hpp"
#include "nimsync/status.hpp"

namespace nimsync {
inline namespace v1 {

/// Where a channel's two segments lie in this process, and their geometry from a trusted source (the registry).
/// The sender writes `forward` only, the receiver `back` only; the other may be mapped read-only.
struct RingMemory {
  std::byte* forward = nullptr;  // header and ring
  std::byte* back = nullptr;     // header
  std::byte* ring = nullptr;     // the slots; for frames, mapped twice in a row
  Geometry geometry;

  [[nodiscard, gnu::always_inline]] layout::ForwardHeader* forward_header() const noexcept {
    return reinterpret_cast<layout::ForwardHeader*>(forward);
  }
  [[nodiscard, gnu::always_inline]] layout::Header* return_header() const noexcept {
    return reinterpret_cast<layout::Header*>(back);
  }
};

/// Where an endpoint goes on: what attaching found in the owner's own segment.
struct Resume {
  std::uint64_t position = 0;
  std::uint64_t stream = 0;  // the sender's: the stream it writes; the receiver's: the stream it reads
};

inline constexpr std::size_t kSizeAtRunTime = 0;

/// The exact tail of any ring; see layout::find_tail(). For a dense ring `from` is it.
template <class Policy>
std::optional<std::uint64_t> find_tail(const RingMemory& memory, std::uint64_t from) noexcept {
  return layout::find_tail(memory.geometry, from, [&](std::uint64_t offset) {
    return Policy::load_acquire(reinterpret_cast<const std::uint64_t*>(memory.ring + offset));  // SYNC: payload visible
  });
}

/// A sender's half. `n` counts messages (records) or bytes of payload (frames).
template <class R>
concept SendingRing = requires(R ring, const R& view, std::span<const std::byte> message, std::size_t n) {
  { ring.try_send(message) }
  noexcept->std::same_as<Status>;
  { ring.reserve(n) }
  noexcept->std::same_as<std::span<std::byte>>;
  { ring.commit(n) }
  noexcept->std::same_as<void>;
  { ring.close() }
  noexcept->std::same_as<void>;
  { view.size() }
  noexcept->std::same_as<std::uint64_t>;
  { view.capacity() }
  noexcept->std::same_as<std::uint64_t>;
  { view.look() }
  noexcept->std::same_as<Status>;
};

/// A receiver's half. `n` counts messages.
template <class R>
concept ReceivingRing = requires(R ring, const R& view, std::span<const std::byte>& message, std::size_t n) {
  { ring.try_peek(n, message) }
  noexcept->std::same_as<Status>;
  { ring.release(n) }
  noexcept->std::same_as<void>;
  { ring.next_stream() }
  noexcept->std::same_as<void>;
  { view.size() }
  noexcept->std::same_as<std::uint64_t>;
  { view.capacity() }
  noexcept->std::same_as<std::uint64_t>;
  { view.look() }
  noexcept->std::same_as<Status>;
};

/// What halves of no channel (moved from, default-constructed) read: empty for ever. Never written.
inline constexpr layout::ForwardHeader kNowhere{};

/// What a receiver at `position` in `stream` finds when no message of its stream is there: `would_block` while the
/// stream goes on, `closed` at its end, `corrupted` when that end was passed already.
///
/// The end is stored before `streams` counts it (SYNC: end of stream visible), and it is exact, so nothing needs to be
/// read again: with position == end, every message of the stream has been received.
template <class Policy>
Status at_end(const layout::ForwardHeader* forward, std::uint64_t position, std::uint64_t stream) noexcept {
  const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);  // SYNC: end of stream visible
  if (streams == stream) return Status::would_block;
  if (streams - stream > layout::kStreamEnds) return Status::corrupted;
  const std::uint64_t end = Policy::load_relaxed(&forward->ends[stream % layout::kStreamEnds]);
  if (end == position) return Status::closed;
  return end - position < (std::uint64_t{1} << layout::kStreamShift) ? Status::would_block : Status::corrupted;
}

/// What every sender's half is made of. Single-threaded state of the one sender; the functions are the concept's.
template <class Policy>
class SendingHalf {
 public:
  /// Ends the stream after what was sent; everything later says closed. One store, of `streams`, does it: killed
  /// before, the stream goes on with a successor.
  [[gnu::always_inline]] void close() noexcept {
    if (!open_) return;
    store_position();
    Policy::store_relaxed(&forward_->ends[stream_ % layout::kStreamEnds], position_);
    Policy::store_release(&forward_->common.streams, stream_ + 1);  // SYNC: end of stream visible
    open_ = false;
    limit_ = position_;
  }

  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept { return open_ ? mask_ + 1 : 0; }
  /// Messages that the receiver hasn't released; bytes of ring (frames).
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    return open_ ? std::min(position_ - Policy::load_acquire(&back_->position), mask_ + 1) : 0;
  }

 protected:
  SendingHalf() = default;
  [[gnu::always_inline]] SendingHalf(const RingMemory& memory, const Resume& resume) noexcept
      : forward_(memory.forward_header()),
        back_(memory.return_header()),
        mask_(memory.geometry.capacity - 1),
        position_(resume.position),
        limit_(resume.position),
        stream_(resume.stream),
        tag_(layout::stream_tag(resume.stream)),
        open_(true) {}

  /// Reads the head and moves the limit. `ok` when there is any room at all.
  [[gnu::always_inline]] Status look_for_room() noexcept {
    if (!open_) return Status::closed;
    const Room found = room();
    if (found.status != Status::corrupted) limit_ = found.limit;
    return found.status;
  }

  struct Room {
    std::uint64_t limit;
    Status status;
  };
  [[nodiscard, gnu::always_inline]] Room room() const noexcept {
    if (!open_) return {position_, Status::closed};
    const std::uint64_t head = Policy::load_acquire(&back_->position);  // SYNC: slot free
    const std::uint64_t used = position_ - head;
    const std::uint64_t capacity = mask_ + 1;
    if (used > capacity) return {position_, Status::corrupted};
    return {head + capacity, used == capacity ? Status::would_block : Status::ok};
  }

  /// Stores the position's mark in the header: the commit itself (dense), or the hint.
  [[gnu::always_inline]] void store_position() noexcept {
    Policy::store_release(&forward_->common.position, position_ + tag_);  // SYNC: payload visible
  }

  layout::ForwardHeader* forward_ = nullptr;
  const layout::Header* back_ = nullptr;
  std::uint64_t mask_ = 0;  // capacity - 1: what a loop needs for each message, and so the one of the two that is kept
  std::uint64_t position_ = 0;
  std::uint64_t limit_ = 0;  // position up to which the ring is known to be free
  std::uint64_t stream_ = 0;
  std::uint64_t tag_ = 0;  // added to a position, its mark
  bool open_ = false;
};

/// What every receiver's half is made of. Single-threaded state of the one receiver; the functions are the concept's.
template <class Policy>
class ReceivingHalf {
 public:
  /// After `closed`: goes on with the stream behind it.
  [[gnu::always_inline]] void next_stream() noexcept {
    ++stream_;
    tag_ = layout::stream_tag(stream_);
    Policy::store_release(&back_->streams, stream_);
  }

  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return mask_ + (forward_ != &kNowhere ? 1 : 0);
  }

 protected:
  ReceivingHalf() = default;
  [[gnu::always_inline]] ReceivingHalf(const RingMemory& memory, const Resume& resume) noexcept
      : forward_(memory.forward_header()),
        back_(memory.return_header()),
        mask_(memory.geometry.capacity - 1),
        position_(resume.position),
        stream_(resume.stream),
        tag_(layout::stream_tag(resume.stream)) {}

  /// Gives everything before `position` back to the sender, exactly and at once: publishing it lazily gained nothing,
  /// and a sender of few slots would wait for ever.
  [[gnu::always_inline]] void free_to(std::uint64_t position) noexcept {
    position_ = position;
    Policy::store_release(&back_->position, position_);  // SYNC: slot free
  }

  /// The header's position when it is ahead of the receiver, else the receiver's own.
  [[nodiscard, gnu::always_inline]] std::uint64_t hint() const noexcept {
    const std::uint64_t ahead =
        layout::distance(position_, Policy::load_acquire(&forward_->common.position));  // SYNC: payload visible
    return position_ + (ahead <= mask_ + 1 ? ahead : 0);
  }

  const layout::ForwardHeader* forward_ = &kNowhere;
  layout::Header* back_ = nullptr;
  std::uint64_t mask_ = 0;  // capacity - 1
  std::uint64_t position_ = 0;
  std::uint64_t stream_ = 0;
  std::uint64_t tag_ = 0;  // added to a position, its mark
};

}  // namespace v1
}  // namespace nimsync
