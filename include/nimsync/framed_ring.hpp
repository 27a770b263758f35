// The framed ring: messages of any length up to a maximum, one behind the other.
//
// Threads and processes: one FramedSender and one FramedReceiver at a time over the same memory, each used by one
// thread at a time. Wait-free.
//
// A frame is a word (its stream, and its length + 1), the payload and padding to 8. The store of the word commits the
// frame. Before it the sender zeroes the word *behind* the frame, within its own free room: what a receiver finds where
// no frame begins is zero, and never the payload of an earlier lap. The receiver writes nothing there.
//
// The ring is mapped twice in a row, so that a frame that wraps around is contiguous and needs no code of its own (in a
// prototype 40 % faster at 64 KiB than two copies).
// The position in the forward header is a hint, at most hint_every frames and half a ring (or one frame) behind the
// tail; find_tail() finds the exact one.
#pragma once

#include "nimsync/ring.hpp"

namespace nimsync {
inline namespace v1 {

template <class Policy = Native, class State = SendState>
class FramedSender : public SendingHalf<Policy, State> {
  using Half = SendingHalf<Policy, State>;
  using Half::state_;

 public:
  /// Of no channel: says closed.
  FramedSender() = default;
  [[gnu::always_inline]] FramedSender(const RingMemory& memory, const Resume& resume) noexcept : Half(memory, resume) {
    this->store_position();  // the walk that found it needn't be repeated
  }
  using Half::Half;

  /// Copies one message in. `ok`, `would_block`, `closed`, `corrupted`, or `too_big`: above the channel's maximum.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> message) noexcept {
    const Status status = make_room(message.size());
    if (status != Status::ok) return status;
    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
    return Status::ok;
  }

  /// Room for a message of up to `bytes`, visible to the peer at commit(). data() is null when there is no room, or
  /// when `bytes` is above the channel's maximum.
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t bytes) noexcept {
    if (make_room(bytes) != Status::ok) return {};
    return {at(state_.position) + layout::kFrameWord, bytes};
  }

  /// Publishes the first `bytes` of the reservation as one message. More than was reserved is a bug, and is dropped
  /// when there is no room for it.
  [[gnu::always_inline]] void commit(std::size_t bytes) noexcept {
    const bool fits = bytes <= state_.size && needed(bytes) <= state_.limit - state_.position;
    assert(fits);
    if (fits) publish(bytes);
  }

  /// `ok` with room for a message of the maximum size, else why not.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    const auto found = this->room();
    if (found.status != Status::ok) return found.status;
    return needed(state_.size) <= found.limit - state_.position ? Status::ok : Status::would_block;
  }

 private:
  static std::uint64_t needed(std::uint64_t bytes) noexcept { return layout::frame_bytes(bytes) + layout::kFrameWord; }
  [[nodiscard, gnu::always_inline]] std::byte* at(std::uint64_t position) const noexcept {
    return state_.ring + (position & state_.mask);
  }
  [[nodiscard, gnu::always_inline]] std::uint64_t* word_at(std::uint64_t position) const noexcept {
    return reinterpret_cast<std::uint64_t*>(at(position));
  }

  [[gnu::always_inline]] Status make_room(std::size_t bytes) noexcept {
    if (bytes > state_.size) return state_.open ? Status::too_big : Status::closed;
    if (needed(bytes) <= state_.limit - state_.position) [[likely]]
      return Status::ok;
    const Status status = this->look_for_room();
    if (status != Status::ok) return status;
    return needed(bytes) <= state_.limit - state_.position ? Status::ok : Status::would_block;
  }

  [[gnu::always_inline]] void publish(std::uint64_t length) noexcept {
    const std::uint64_t next = state_.position + layout::frame_bytes(length);
    if (state_.frames == layout::kHintEvery || next - state_.hint > (state_.mask + 1) / 2) {
      // Before the commit: afterwards, a large frame could have lapped the hint that a successor starts from.
      this->store_position();
      state_.hint = state_.position;
      state_.frames = 0;
    }
    ++state_.frames;
    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
    state_.position = next;
  }
};

/// Its state's `known` is the position behind the peeked frame; its own when none is.
template <class Policy = Native, class State = ReceiveState>
class FramedReceiver : public ReceivingHalf<Policy, State> {
  using Half = ReceivingHalf<Policy, State>;
  using Half::state_;

 public:
  /// Of no channel: assign before use.
  FramedReceiver() = default;
  using Half::Half;

  /// Shows the next message in place, valid until release(); the same one until then. One at a time, whatever
  /// `count` is. `ok`, `would_block`, `closed` (until next_stream()), `corrupted`.
  [[gnu::always_inline]] Status try_peek(std::size_t count, std::span<const std::byte>& message) noexcept {
    message = {};
    if (count == 0) return Status::ok;
    if (state_.known == state_.position) {
      const Found found = find();
      if (found.status != Status::ok) return found.status;
      state_.length = found.length;
      state_.known = state_.position + layout::frame_bytes(state_.length);
    }
    message = {at(state_.position) + layout::kFrameWord, state_.length};
    return Status::ok;
  }

  /// Frees the peeked message. Without a peek it is a bug, and does nothing.
  [[gnu::always_inline]] void release(std::size_t count = 1) noexcept {
    assert(count <= (state_.known != state_.position ? 1 : 0));
    if (count != 0 && state_.known != state_.position) this->free_to(state_.known);
  }

  /// Bytes of ring that wait, of this stream and later ones.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    const std::uint64_t from = this->hint();
    const Geometry geometry{Layout::framed, state_.size, state_.mask + 1};
    // Not found: the sender was faster than the search, and is further on.
    return std::min(find_tail<Policy>(state_.ring, geometry, from).value_or(from) - state_.position, state_.mask + 1);
  }
  /// `ok` when a message waits, else what try_peek would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    return state_.known != state_.position ? Status{Status::ok} : find().status;
  }

 private:
  struct Found {
    std::uint64_t length;
    Status status;
  };

  [[nodiscard, gnu::always_inline]] const std::byte* at(std::uint64_t position) const noexcept {
    return state_.ring + (position & state_.mask);
  }

  /// What the word at the receiver's position says; it is read once.
  [[nodiscard, gnu::always_inline]] Found find() const noexcept {
    const auto* at_head = reinterpret_cast<const std::uint64_t*>(at(state_.position));
    const std::uint64_t word = Policy::load_acquire(at_head);  // SYNC: payload visible
    if (word == 0) return {0, at_end<Policy>(state_.forward, state_.position, state_.stream)};
    const std::uint64_t length = layout::frame_length(word);
    if (length > state_.size) return {0, Status::corrupted};
    if (layout::is_of_stream(word, state_.stream)) [[likely]]
      return {length, Status::ok};
    // A frame of another stream lies exactly at the end of this one.
    const Status status = at_end<Policy>(state_.forward, state_.position, state_.stream);
    return {0, status == Status::closed ? status : Status{Status::corrupted}};
  }
};

static_assert(SendingRing<FramedSender<>> && ReceivingRing<FramedReceiver<>>);

}  // namespace v1
}  // namespace nimsync
