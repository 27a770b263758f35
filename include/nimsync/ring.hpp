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
// position in memory, and that store between two stores to the ring ends the overlap of their misses: a third of the
// throughput of small messages (nimsync_bench, "class member").
#pragma once

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

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
  /// What this side looks at after it has published: the peer's sleep epoch if null, or kAlwaysOdd (sleep.hpp).
  const std::uint64_t* bell = nullptr;

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
std::optional<std::uint64_t> find_tail(const std::byte* ring, const Geometry& geometry, std::uint64_t from) noexcept {
  return layout::find_tail(geometry, from, [&](std::uint64_t offset) {
    return Policy::load_acquire(reinterpret_cast<const std::uint64_t*>(ring + offset));  // SYNC: payload visible
  });
}
template <class Policy>
std::optional<std::uint64_t> find_tail(const RingMemory& memory, std::uint64_t from) noexcept {
  return find_tail<Policy>(memory.ring, memory.geometry, from);
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

/// A sender's state, whatever its layout. Words, and no more than a loop can keep in registers: an endpoint that may be
/// of several layouts has one of these, since one for each would be spilled to memory for every message (a fifth of the
/// instructions a message; with clang all of it stayed in memory).
struct SendState {
  SendState() = default;
  [[gnu::always_inline]] SendState(const RingMemory& memory, const Resume& resume) noexcept
      : forward(memory.forward_header()),
        back(memory.return_header()),
        ring(memory.ring),
        mask(memory.geometry.capacity - 1),
        size(memory.geometry.size),
        position(resume.position),
        limit(resume.position),
        room(resume.position),
        stream(resume.stream),
        tag(layout::stream_tag(resume.stream)),
        open(true),
        bell(memory.bell != nullptr ? memory.bell : &memory.return_header()->sleep_epoch),
        hint(resume.position) {}

  layout::ForwardHeader* forward = nullptr;
  const layout::Header* back = nullptr;
  std::byte* ring = nullptr;
  std::uint64_t mask = 0;  // capacity - 1: what a loop needs for each message, and so the one of the two that is kept
  std::uint64_t size = 0;  // of a record; of the largest frame
  std::uint64_t position = 0;
  std::uint64_t limit = 0;  // position at which to look again: up to it the ring is known to be free
  std::uint64_t room = 0;   // stamped: position up to which the ring is known to be free
  std::uint64_t stream = 0;
  std::uint64_t tag = 0;  // added to a position, its mark
  bool open = false;
  const std::uint64_t* bell = &kNowhere.common.sleep_epoch;  // the receiver's sleep epoch
  std::uint64_t rung = 0;                                    // the one it was rung for last
  std::uint64_t hint = 0;                                    // framed: what the header's position says
  std::uint64_t frames = 0;                                  // framed: committed since
};

/// A receiver's, likewise.
struct ReceiveState {
  ReceiveState() = default;
  [[gnu::always_inline]] ReceiveState(const RingMemory& memory, const Resume& resume) noexcept
      : forward(memory.forward_header()),
        back(memory.return_header()),
        ring(memory.ring),
        mask(memory.geometry.capacity - 1),
        size(memory.geometry.size),
        position(resume.position),
        known(resume.position),
        stream(resume.stream),
        tag(layout::stream_tag(resume.stream)),
        bell(memory.bell != nullptr ? memory.bell : &memory.forward_header()->common.sleep_epoch) {}

  const layout::ForwardHeader* forward = &kNowhere;
  layout::Header* back = nullptr;
  const std::byte* ring = nullptr;
  std::uint64_t mask = 0;  // capacity - 1
  std::uint64_t size = 0;  // of a record; of the largest frame
  std::uint64_t position = 0;
  std::uint64_t known = 0;  // position up to which messages of this stream are known to wait; each ring says more
  std::uint64_t stream = 0;
  std::uint64_t tag = 0;                                     // added to a position, its mark
  std::uint64_t length = 0;                                  // framed: of the peeked frame
  const std::uint64_t* bell = &kNowhere.common.sleep_epoch;  // the sender's sleep epoch
  std::uint64_t rung = 0;                                    // the one it was rung for last
};

/// Whether the peer sleeps and wasn't rung for it: asked after each publication, by a half's state. Then it must be
/// rung, and its epoch remembered in `rung`. No fence and no system call: the sleeper pays (sleep.hpp).
template <class Policy, class State>
[[nodiscard, gnu::always_inline]] inline bool peer_sleeps(const State& state) noexcept {
  Policy::compiler_fence();
  const std::uint64_t epoch = Policy::load_relaxed(state.bell);  // SYNC: asleep
  if ((epoch & 1) == 0) [[likely]]
    return false;
  return epoch != state.rung;
}

/// The next position. The empty asm makes it a number of its own: a compiler that knows how positions, marks and a
/// loop's own counter run beside one another keeps each in a register, runs out of them, and spills one for every
/// message. Such a store, to a line of the process's own between two to the ring, cost a third of the rate of small
/// messages (stamped 8 B, nimsync_bench: 100 M/s without this, 158 with it).
[[gnu::always_inline]] inline std::uint64_t advanced(std::uint64_t position, std::uint64_t count) noexcept {
  std::uint64_t next = position + count;
  asm("" : "+r"(next));
  return next;
}

/// What every sender's half is made of. Single-threaded; the functions are the concept's. `State` is SendState where
/// the half has its own, SendState& where it works on one that is lent to it.
template <class Policy, class State>
class SendingHalf {
 public:
  SendingHalf() = default;
  [[gnu::always_inline]] SendingHalf(const RingMemory& memory, const Resume& resume) noexcept
      : state_(memory, resume) {}
  /// Works on a state that lives longer.
  [[gnu::always_inline]] explicit SendingHalf(State lent) noexcept requires std::is_reference_v<State> : state_(lent) {}
  [[nodiscard, gnu::always_inline]] const std::remove_reference_t<State>& state() const noexcept { return state_; }

  /// Ends the stream after what was sent; everything later says closed. One store, of `streams`, does it: killed
  /// before, the stream goes on with a successor.
  [[gnu::always_inline]] void close() noexcept {
    if (!state_.open) return;
    store_position();
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
    state_.open = false;
    state_.limit = state_.position;
    state_.room = state_.position;
  }

  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return state_.open ? state_.mask + 1 : 0;
  }
  /// Messages that the receiver hasn't released; bytes of ring (frames).
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    if (!state_.open) return 0;
    return std::min(state_.position - Policy::load_acquire(&state_.back->position), state_.mask + 1);
  }

 protected:
  /// Reads the head and moves the limit. `ok` when there is any room at all.
  [[gnu::always_inline]] Status look_for_room() noexcept {
    const Room found = room();
    if (found.status == Status::ok || found.status == Status::would_block) state_.limit = found.limit;
    return found.status;
  }

  struct Room {
    std::uint64_t limit;
    Status status;
  };
  [[nodiscard, gnu::always_inline]] Room room() const noexcept {
    if (!state_.open) return {state_.position, Status::closed};
    const std::uint64_t head = Policy::load_acquire(&state_.back->position);  // SYNC: slot free
    const std::uint64_t used = state_.position - head;
    const std::uint64_t capacity = state_.mask + 1;
    if (used > capacity) return {state_.position, Status::corrupted};
    return {head + capacity, used == capacity ? Status::would_block : Status::ok};
  }

  /// Stores the position's mark in the header: the commit itself (dense), or the hint.
  [[gnu::always_inline]] void store_position() noexcept {
    Policy::store_release(&state_.forward->common.position, state_.position + state_.tag);  // SYNC: payload visible
  }

  State state_;
};

/// What every receiver's half is made of. Single-threaded; the functions are the concept's. `State` is ReceiveState or
/// ReceiveState&.
template <class Policy, class State>
class ReceivingHalf {
 public:
  ReceivingHalf() = default;
  [[gnu::always_inline]] ReceivingHalf(const RingMemory& memory, const Resume& resume) noexcept
      : state_(memory, resume) {}
  /// Works on a state that lives longer.
  [[gnu::always_inline]] explicit ReceivingHalf(State lent) noexcept requires std::is_reference_v<State>
      : state_(lent) {}
  [[nodiscard, gnu::always_inline]] const std::remove_reference_t<State>& state() const noexcept { return state_; }

  /// After `closed`: goes on with the stream behind it.
  [[gnu::always_inline]] void next_stream() noexcept {
    ++state_.stream;
    state_.tag = layout::stream_tag(state_.stream);
    Policy::store_release(&state_.back->streams, state_.stream);
  }

  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return state_.mask + (state_.forward != &kNowhere ? 1 : 0);
  }

 protected:
  /// Gives everything before `position` back to the sender, exactly and at once: publishing it lazily gained nothing,
  /// and a sender of few slots would wait for ever.
  [[gnu::always_inline]] void free_to(std::uint64_t position) noexcept {
    state_.position = position;
    Policy::store_release(&state_.back->position, position);  // SYNC: slot free
  }

  /// The header's position when it is ahead of the receiver, else the receiver's own.
  [[nodiscard, gnu::always_inline]] std::uint64_t hint() const noexcept {
    const std::uint64_t ahead = layout::distance(
        state_.position, Policy::load_acquire(&state_.forward->common.position));  // SYNC: payload visible
    return state_.position + (ahead <= state_.mask + 1 ? ahead : 0);
  }

  State state_;
};

}  // namespace v1
}  // namespace nimsync
