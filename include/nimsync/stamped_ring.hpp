// The stamped ring: each slot carries the mark of its message in the line of its payload, so that one cache line brings
// message and news. The latency choice.
//
// Threads and processes: one StampedSender and one StampedReceiver at a time over the same memory, each used by one
// thread at a time. Wait-free: no call loops, but for the batches over their arguments and size() over a few slots.
//
// A slot's stamp says which message it holds: that of this lap, ready; that of the last lap (zero in the first), not
// yet written; anything else is corrupted. The store of the stamp commits the message and is the only one to do so. The
// position in the forward header is a hint that trails the tail by at most hint_every(); find_tail() finds the exact
// one.
#pragma once

#include "nimsync/ring.hpp"

namespace nimsync {
inline namespace v1 {

/// Where the slots are. `Size` is the record's, or kSizeAtRunTime; `size` is it at run time.
template <std::size_t Size>
struct StampedSlots {
  static constexpr std::uint64_t record_size(std::uint64_t size) noexcept {
    return Size == kSizeAtRunTime ? size : Size;
  }
  /// The offset of a slot in the ring.
  static constexpr std::uint64_t at(std::uint64_t index, std::uint64_t size) noexcept {
    return index * layout::stride(Layout::stamped, record_size(size));
  }
  static std::uint64_t* stamp(std::byte* slot, std::uint64_t size) noexcept {
    return reinterpret_cast<std::uint64_t*>(slot + layout::stamp_offset(record_size(size)));
  }
  static const std::uint64_t* stamp(const std::byte* slot, std::uint64_t size) noexcept {
    return reinterpret_cast<const std::uint64_t*>(slot + layout::stamp_offset(record_size(size)));
  }
};

template <std::size_t Size = kSizeAtRunTime, class Policy = Native, class State = SendState>
class StampedSender : public SendingHalf<Policy, State> {
  using Half = SendingHalf<Policy, State>;
  using Slots = StampedSlots<Size>;
  using Half::state_;

 public:
  /// Of no channel: says closed.
  StampedSender() = default;
  [[gnu::always_inline]] StampedSender(const RingMemory& memory, const Resume& resume) noexcept : Half(memory, resume) {
    this->store_position();  // a predecessor may have died between its stamp and the hint: the next search starts here
  }
  using Half::Half;

  /// Copies one record in. `ok`, `would_block`, `closed`, `corrupted`, or `too_big`: not a record's size.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> record) noexcept {
    if (record.size() == record_size()) return try_send(record.data());
    return state_.open ? Status::too_big : Status::closed;
  }
  [[gnu::always_inline]] Status try_send(const std::byte* record) noexcept {
    std::byte* slot = nullptr;
    const Status status = try_claim(slot);
    if (status != Status::ok) return status;
    Policy::template copy<Size>(slot, record, record_size());
    publish(slot);
    return Status::ok;
  }

  /// try_send() in two steps: a slot to write one record into, and then its commit. Nothing else comes between them.
  [[gnu::always_inline]] Status try_claim(std::byte*& slot) noexcept {
    if (state_.position == state_.limit) [[unlikely]] {
      const Status status = pass_limit();
      if (status != Status::ok) return status;
    }
    slot = next_slot();
    return Status::ok;
  }
  [[gnu::always_inline]] void publish(std::byte* slot) noexcept {
    const std::uint64_t next = advanced(state_.position, 1);
    Policy::store_release(Slots::stamp(slot, state_.size), next + state_.tag);  // SYNC: payload visible
    state_.position = next;
  }

  /// Copies in as many of `count` records as fit; returns how many.
  [[gnu::always_inline]] std::size_t try_send_some(const std::byte* records, std::size_t count) noexcept {
    std::size_t sent = 0;
    while (sent < count && try_send(records + sent * record_size()) == Status::ok) ++sent;
    return sent;
  }

  /// A slot to write one record into, visible to the peer at commit(); data() is null when there is no room.
  /// Slots aren't contiguous: one at a time, whatever `count` is.
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t count = 1) noexcept {
    if (count == 0 || (state_.position == state_.limit && pass_limit() != Status::ok)) return {};
    return {next_slot(), record_size()};
  }

  /// Publishes the reserved slot. Without a reservation it is a bug, and publishes what the slot held, or nothing.
  [[gnu::always_inline]] void commit(std::size_t count = 1) noexcept {
    assert(count <= 1 && count <= state_.limit - state_.position);
    if (count != 0 && state_.position != state_.limit) publish(next_slot());
  }

  /// `ok` with room, else what try_send would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept { return this->room().status; }

 private:
  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept { return Slots::record_size(state_.size); }
  [[nodiscard, gnu::always_inline]] std::byte* next_slot() const noexcept {
    return state_.ring + Slots::at(state_.position & state_.mask, state_.size);
  }

  /// Where the ring is full as far as is known, or the hint is due: `ok` when there is room after all. To store the
  /// hint for each message would cost half the throughput; every 64th, nothing that was measured. In a ring of fewer
  /// slots it is every lap. Both kinds of limit are one comparison a message: another for the hint was a tenth of the
  /// instructions.
  [[gnu::always_inline]] Status pass_limit() noexcept {
    if (state_.position == state_.room) {
      const auto found = this->room();
      if (found.status != Status::ok) return found.status;
      state_.room = found.limit;
    }
    const std::uint64_t last = layout::hint_every(state_.mask + 1) - 1;
    if ((state_.position & last) == 0) this->store_position();
    state_.limit = std::min(state_.room, (state_.position | last) + 1);
    return Status::ok;
  }
};

/// Its state's `known` is the position behind the peeked slot while one is peeked, and any other otherwise: so
/// receiving a copy ends a peek without a store of its own.
template <std::size_t Size = kSizeAtRunTime, class Policy = Native, class State = ReceiveState>
class StampedReceiver : public ReceivingHalf<Policy, State> {
  using Half = ReceivingHalf<Policy, State>;
  using Slots = StampedSlots<Size>;
  using Half::state_;

 public:
  /// Of no channel: assign before use.
  StampedReceiver() = default;
  using Half::Half;

  /// Copies one record out and frees its slot. `ok`, `would_block`, `closed` (until next_stream()), `corrupted`.
  [[gnu::always_inline]] Status try_receive(std::byte* record) noexcept {
    const std::byte* slot = nullptr;
    const Status status = try_find(slot);
    if (status != Status::ok) [[unlikely]]
      return status;
    Policy::template copy<Size>(record, slot, record_size());
    free_one();
    return Status::ok;
  }

  /// try_receive() in two steps: the next record where it lies, and then its slot's release. Nothing else comes
  /// between.
  [[gnu::always_inline]] Status try_find(const std::byte*& slot) noexcept {
    slot = next_slot();
    return find(slot);
  }
  [[gnu::always_inline]] void free_one() noexcept { this->free_to(advanced(state_.position, 1)); }

  /// Copies out up to `count` records; returns how many.
  [[gnu::always_inline]] std::size_t try_receive_some(std::byte* records, std::size_t count) noexcept {
    std::size_t received = 0;
    while (received < count && try_receive(records + received * record_size()) == Status::ok) ++received;
    return received;
  }

  /// Shows one record in place, valid until release(). Slots aren't contiguous: one at a time, whatever `count` is.
  [[gnu::always_inline]] Status try_peek(std::size_t count, std::span<const std::byte>& record) noexcept {
    record = {};
    if (count == 0) return Status::ok;
    const std::byte* const slot = next_slot();
    const Status status = find(slot);
    if (status != Status::ok) [[unlikely]]
      return status;
    record = {slot, record_size()};
    state_.known = state_.position + 1;
    return Status::ok;
  }

  /// Frees the peeked slot. Without a peek it is a bug, and does nothing.
  [[gnu::always_inline]] void release(std::size_t count = 1) noexcept {
    const bool peeked = state_.known == state_.position + 1;
    assert(count <= (peeked ? 1 : 0));
    if (count != 0 && peeked) this->free_to(state_.known);
  }

  /// Messages that wait, of this stream and later ones.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    const std::uint64_t capacity = state_.mask + 1;
    const std::uint64_t from = this->hint();
    const Geometry geometry{Layout::stamped, record_size(), capacity};
    // Not found: the sender was faster than the search, and is further on.
    const std::uint64_t tail =
        find_tail<Policy>(state_.ring, geometry, from).value_or(from + layout::hint_every(capacity));
    return std::min(tail - state_.position, capacity);
  }
  /// `ok` when a message waits, else what try_receive would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept { return find(next_slot()); }

 private:
  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept { return Slots::record_size(state_.size); }
  [[nodiscard, gnu::always_inline]] const std::byte* next_slot() const noexcept {
    return state_.ring + Slots::at(state_.position & state_.mask, state_.size);
  }

  /// Whether `slot`, the next one, holds its message.
  [[nodiscard, gnu::always_inline]] Status find(const std::byte* slot) const noexcept {
    const std::uint64_t stamp = Policy::load_acquire(Slots::stamp(slot, state_.size));  // SYNC: payload visible
    if (stamp != state_.position + 1 + state_.tag) [[unlikely]] {
      if constexpr (Size == kSizeAtRunTime || layout::stride(Layout::stamped, Size) > layout::kCacheLine) {
        Policy::template expect<Size>(slot);
      }
      return why_not(stamp, state_.forward, state_.position, state_.stream, state_.mask + 1);
    }
    return Status::ok;
  }

  /// What a stamp that isn't the expected one means.
  static Status why_not(std::uint64_t stamp, const layout::ForwardHeader* forward, std::uint64_t position,
                        std::uint64_t stream, std::uint64_t capacity) noexcept {
    const bool later_stream = layout::is_stamp_of(stamp, position);
    if (!later_stream && !layout::is_stamp_before(stamp, position, capacity)) return Status::corrupted;
    const Status status = at_end<Policy>(forward, position, stream);
    // A message of another stream lies exactly at the end of this one.
    return later_stream && status != Status::closed ? Status{Status::corrupted} : status;
  }
};

static_assert(SendingRing<StampedSender<>> && ReceivingRing<StampedReceiver<>>);

}  // namespace v1
}  // namespace nimsync
