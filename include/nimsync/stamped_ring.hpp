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

namespace layout {

inline std::uint64_t* stamp(std::byte* slot, std::uint64_t size) noexcept {
  return reinterpret_cast<std::uint64_t*>(slot + stamp_offset(size));
}
inline const std::uint64_t* stamp(const std::byte* slot, std::uint64_t size) noexcept {
  return reinterpret_cast<const std::uint64_t*>(slot + stamp_offset(size));
}

}  // namespace layout

/// Where the slots are. `Size` is the record's, or kSizeAtRunTime.
template <std::size_t Size>
class StampedSlots {
 public:
  StampedSlots() = default;
  [[gnu::always_inline]] explicit StampedSlots(const RingMemory& memory) noexcept
      : ring_(memory.ring), size_(memory.geometry.size) {}

  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept {
    return Size == kSizeAtRunTime ? size_ : Size;
  }
  [[nodiscard, gnu::always_inline]] std::byte* at(std::uint64_t index) const noexcept {
    return ring_ + index * layout::stride(Layout::stamped, record_size());
  }
  [[nodiscard, gnu::always_inline]] std::uint64_t* stamp(std::byte* slot) const noexcept {
    return layout::stamp(slot, record_size());
  }
  [[nodiscard, gnu::always_inline]] RingMemory memory(std::uint64_t capacity) const noexcept {
    return {.ring = ring_, .geometry = {Layout::stamped, record_size(), capacity}};
  }

 private:
  std::byte* ring_ = nullptr;
  std::uint64_t size_ = 0;
};

template <std::size_t Size = kSizeAtRunTime, class Policy = Native>
class StampedSender : public SendingHalf<Policy> {
 public:
  /// Of no channel: says closed.
  StampedSender() = default;
  [[gnu::always_inline]] StampedSender(const RingMemory& memory, const Resume& resume) noexcept
      : SendingHalf<Policy>(memory, resume), slots_(memory) {
    this->store_position();  // a predecessor may have died between its stamp and the hint: the next search starts here
  }

  /// Copies one record in. `ok`, `would_block`, `closed`, `corrupted`, or `too_big`: not a record's size.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> record) noexcept {
    if (record.size() == slots_.record_size()) return try_send(record.data());
    return this->open_ ? Status::too_big : Status::closed;
  }
  [[gnu::always_inline]] Status try_send(const std::byte* record) noexcept {
    if (position_ == limit_) [[unlikely]] {
      const Status status = look_for_room();
      if (status != Status::ok) return status;
    }
    std::byte* slot = slots_.at(position_ & mask_);
    Policy::template copy<Size>(slot, record, slots_.record_size());
    publish(slot);
    return Status::ok;
  }

  /// Copies in as many of `count` records as fit; returns how many.
  [[gnu::always_inline]] std::size_t try_send_some(const std::byte* records, std::size_t count) noexcept {
    std::size_t sent = 0;
    while (sent < count && try_send(records + sent * slots_.record_size()) == Status::ok) ++sent;
    return sent;
  }

  /// A slot to write one record into, visible to the peer at commit(); data() is null when there is no room.
  /// Slots aren't contiguous: one at a time, whatever `count` is.
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t count = 1) noexcept {
    if (count == 0 || (position_ == limit_ && look_for_room() != Status::ok)) return {};
    return {slots_.at(position_ & mask_), slots_.record_size()};
  }

  /// Publishes the reserved slot. Without a reservation it is a bug, and publishes what the free slot held, if one is.
  [[gnu::always_inline]] void commit(std::size_t count = 1) noexcept {
    assert(count <= 1 && count <= limit_ - position_);
    if (count != 0 && position_ != limit_) publish(slots_.at(position_ & mask_));
  }

  /// `ok` with room, else what try_send would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept { return this->room().status; }

 private:
  [[gnu::always_inline]] void publish(std::byte* slot) noexcept {
    Policy::store_release(slots_.stamp(slot), position_ + 1 + tag_);  // SYNC: payload visible
    ++position_;
    // Each message would cost half the throughput; every 64th, nothing that was measured. In a ring of fewer slots,
    // every lap. Both by the mask that is at hand anyway: one register more was a spilled store a message.
    if ((position_ & mask_ & (layout::kHintEvery - 1)) == 0) [[unlikely]]
      this->store_position();
  }

  using SendingHalf<Policy>::mask_;
  using SendingHalf<Policy>::position_;
  using SendingHalf<Policy>::limit_;
  using SendingHalf<Policy>::tag_;
  using SendingHalf<Policy>::look_for_room;
  StampedSlots<Size> slots_;
};

template <std::size_t Size = kSizeAtRunTime, class Policy = Native>
class StampedReceiver : public ReceivingHalf<Policy> {
 public:
  /// Of no channel: assign before use.
  StampedReceiver() = default;
  [[gnu::always_inline]] StampedReceiver(const RingMemory& memory, const Resume& resume) noexcept
      : ReceivingHalf<Policy>(memory, resume), slots_(memory) {}

  /// Copies one record out and frees its slot. `ok`, `would_block`, `closed` (until next_stream()), `corrupted`.
  [[gnu::always_inline]] Status try_receive(std::byte* record) noexcept {
    const std::byte* slot = nullptr;
    const Status status = find(slot);
    if (status != Status::ok) [[unlikely]]
      return status;
    Policy::template copy<Size>(record, slot, slots_.record_size());
    peeked_ = false;
    this->free_to(position_ + 1);
    return Status::ok;
  }

  /// Copies out up to `count` records; returns how many.
  [[gnu::always_inline]] std::size_t try_receive_some(std::byte* records, std::size_t count) noexcept {
    std::size_t received = 0;
    while (received < count && try_receive(records + received * slots_.record_size()) == Status::ok) ++received;
    return received;
  }

  /// Shows one record in place, valid until release(). Slots aren't contiguous: one at a time, whatever `count` is.
  [[gnu::always_inline]] Status try_peek(std::size_t count, std::span<const std::byte>& record) noexcept {
    record = {};
    if (count == 0) return Status::ok;
    const std::byte* slot = nullptr;
    const Status status = find(slot);
    if (status != Status::ok) [[unlikely]]
      return status;
    record = {slot, slots_.record_size()};
    peeked_ = true;
    return Status::ok;
  }

  /// Frees the peeked slot. Without a peek it is a bug, and does nothing.
  [[gnu::always_inline]] void release(std::size_t count = 1) noexcept {
    assert(count <= (peeked_ ? 1 : 0));
    if (count == 0 || !peeked_) return;
    peeked_ = false;
    this->free_to(position_ + 1);
  }

  /// Messages that wait, of this stream and later ones.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    const std::uint64_t from = this->hint();
    // Not found: the sender was faster than the search, and is further on.
    const std::uint64_t tail =
        find_tail<Policy>(slots_.memory(mask_ + 1), from).value_or(from + layout::hint_every(mask_ + 1));
    return std::min(tail - position_, (mask_ + 1));
  }
  /// `ok` when a message waits, else what try_receive would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    const std::byte* slot = nullptr;
    return find(slot);
  }

 private:
  [[gnu::always_inline]] Status find(const std::byte*& slot) const noexcept {
    std::byte* const here = slots_.at(position_ & mask_);
    slot = here;
    const std::uint64_t stamp = Policy::load_acquire(slots_.stamp(here));  // SYNC: payload visible
    if (stamp != position_ + 1 + tag_) [[unlikely]] {
      return why_not(stamp, forward_, position_, this->stream_, (mask_ + 1));
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

  using ReceivingHalf<Policy>::forward_;
  using ReceivingHalf<Policy>::mask_;
  using ReceivingHalf<Policy>::position_;
  using ReceivingHalf<Policy>::tag_;
  StampedSlots<Size> slots_;
  bool peeked_ = false;
};

static_assert(SendingRing<StampedSender<>> && ReceivingRing<StampedReceiver<>>);

}  // namespace v1
}  // namespace nimsync
