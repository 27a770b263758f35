// The dense ring: records back to back and one published tail. A batch costs two stores to shared lines however long it
// is, and zero-copy access spans many records. The throughput choice.
//
// Threads and processes: one DenseSender and one DenseReceiver at a time over the same memory, each used by one thread
// at a time. Wait-free.
//
// The store of the tail's mark commits all records before it. Either side keeps its copy of the other's position and
// reads the shared one only when the copy says full or empty.
#pragma once

#include "nimsync/ring.hpp"

namespace nimsync {
inline namespace v1 {

/// Where the records are. `Size` is the record's, or kSizeAtRunTime.
template <std::size_t Size, class Policy>
class DenseSlots {
 public:
  DenseSlots() = default;
  [[gnu::always_inline]] explicit DenseSlots(const RingMemory& memory) noexcept
      : ring_(memory.ring), size_(memory.geometry.size) {}

  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept {
    return Size == kSizeAtRunTime ? size_ : Size;
  }
  [[nodiscard, gnu::always_inline]] std::byte* at(std::uint64_t index) const noexcept {
    return ring_ + index * record_size();
  }
  /// How many of `count` records from `index` on lie in a row.
  [[nodiscard, gnu::always_inline]] static std::uint64_t in_a_row(std::uint64_t index, std::uint64_t count,
                                                                  std::uint64_t mask) noexcept {
    return std::min(count, mask + 1 - index);
  }
  [[gnu::always_inline]] void copy_in(std::uint64_t index, const std::byte* records, std::uint64_t count,
                                      std::uint64_t mask) const noexcept {
    const std::uint64_t first = in_a_row(index, count, mask) * record_size();
    Policy::template copy<0>(at(index), records, first);
    Policy::template copy<0>(ring_, records + first, count * record_size() - first);
  }
  [[gnu::always_inline]] void copy_out(std::uint64_t index, std::byte* records, std::uint64_t count,
                                       std::uint64_t mask) const noexcept {
    const std::uint64_t first = in_a_row(index, count, mask) * record_size();
    Policy::template copy<0>(records, at(index), first);
    Policy::template copy<0>(records + first, ring_, count * record_size() - first);
  }

 private:
  std::byte* ring_ = nullptr;
  std::uint64_t size_ = 0;
};

template <std::size_t Size = kSizeAtRunTime, class Policy = Native>
class DenseSender : public SendingHalf<Policy> {
 public:
  /// Of no channel: says closed.
  DenseSender() = default;
  [[gnu::always_inline]] DenseSender(const RingMemory& memory, const Resume& resume) noexcept
      : SendingHalf<Policy>(memory, resume), slots_(memory) {}

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
    Policy::template copy<Size>(slots_.at(position_ & mask_), record, slots_.record_size());
    publish(1);
    return Status::ok;
  }

  /// Copies in as many of `count` records as fit, and publishes them by one store; returns how many.
  [[gnu::always_inline]] std::size_t try_send_some(const std::byte* records, std::size_t count) noexcept {
    const std::uint64_t fit = make_room(count);
    if (fit == 0) return 0;
    slots_.copy_in(position_ & mask_, records, fit, mask_);
    publish(fit);
    return fit;
  }

  /// Up to `count` records to write in place: as many as are free and lie in a row; data() is null when there is no
  /// room. Nothing of it is visible to the peer before commit().
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t count = 1) noexcept {
    const std::uint64_t fit = make_room(count);
    if (fit == 0) return {};
    return {slots_.at(position_ & mask_), slots_.in_a_row(position_ & mask_, fit, mask_) * slots_.record_size()};
  }

  /// Publishes the first `count` reserved records. More than there is room for is a bug, and cut to the room.
  [[gnu::always_inline]] void commit(std::size_t count = 1) noexcept {
    assert(count <= limit_ - position_);
    if (count != 0 && position_ != limit_) publish(std::min<std::uint64_t>(count, limit_ - position_));
  }

  /// `ok` with room, else what try_send would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept { return this->room().status; }

 private:
  /// How many of `count` records fit. Looks at the shared head only when the known room is too small.
  [[gnu::always_inline]] std::uint64_t make_room(std::size_t count) noexcept {
    if (limit_ - position_ < count) static_cast<void>(look_for_room());
    return std::min<std::uint64_t>(count, limit_ - position_);
  }

  [[gnu::always_inline]] void publish(std::uint64_t count) noexcept {
    position_ += count;
    this->store_position();
  }

  using SendingHalf<Policy>::mask_;
  using SendingHalf<Policy>::position_;
  using SendingHalf<Policy>::limit_;
  using SendingHalf<Policy>::look_for_room;
  DenseSlots<Size, Policy> slots_;
};

template <std::size_t Size = kSizeAtRunTime, class Policy = Native>
class DenseReceiver : public ReceivingHalf<Policy> {
 public:
  /// Of no channel: for ever empty.
  DenseReceiver() = default;
  [[gnu::always_inline]] DenseReceiver(const RingMemory& memory, const Resume& resume) noexcept
      : ReceivingHalf<Policy>(memory, resume), slots_(memory), tail_(resume.position) {}

  /// Copies one record out and frees its slot. `ok`, `would_block`, `closed` (until next_stream()), `corrupted`.
  [[gnu::always_inline]] Status try_receive(std::byte* record) noexcept {
    if (position_ == tail_) [[unlikely]] {
      const Status status = look_for_news();
      if (status != Status::ok) return status;
    }
    Policy::template copy<Size>(record, slots_.at(position_ & mask_), slots_.record_size());
    this->free_to(position_ + 1);
    return Status::ok;
  }

  /// Copies out up to `count` records and frees them by one store; returns how many.
  [[gnu::always_inline]] std::size_t try_receive_some(std::byte* records, std::size_t count) noexcept {
    const std::uint64_t ready = gather(count);
    if (ready == 0) return 0;
    slots_.copy_out(position_ & mask_, records, ready, mask_);
    this->free_to(position_ + ready);
    return ready;
  }

  /// Shows up to `count` records in place: as many as wait and lie in a row, valid until they are released.
  [[gnu::always_inline]] Status try_peek(std::size_t count, std::span<const std::byte>& records) noexcept {
    records = {};
    if (count == 0) return Status::ok;
    if (tail_ - position_ < count) {
      const Status status = look_for_news();
      if (position_ == tail_) return status;
    }
    const std::uint64_t ready = std::min<std::uint64_t>(count, tail_ - position_);
    records = {slots_.at(position_ & mask_), slots_.in_a_row(position_ & mask_, ready, mask_) * slots_.record_size()};
    return Status::ok;
  }

  /// Frees the first `count` peeked records. More than wait is a bug, and cut to what waits.
  [[gnu::always_inline]] void release(std::size_t count = 1) noexcept {
    assert(count <= tail_ - position_);
    if (count != 0 && position_ != tail_) {
      this->free_to(position_ + std::min<std::uint64_t>(count, tail_ - position_));
    }
  }

  /// Messages that wait, of this stream and later ones.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept { return this->hint() - position_; }
  /// `ok` when a message waits, else what try_receive would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    return position_ != tail_ ? Status{Status::ok} : news().status;
  }

 private:
  struct News {
    std::uint64_t tail;
    Status status;
  };

  /// How far the receiver may read: to the tail or, when that is a later stream's, to the end of its own.
  [[nodiscard, gnu::always_inline]] News news() const noexcept {
    const std::uint64_t mark = Policy::load_acquire(&forward_->common.position);  // SYNC: payload visible
    const std::uint64_t ahead = layout::distance(position_, mark);
    if (ahead == 0) return {position_, at_end<Policy>(forward_, position_, stream_)};
    if (ahead > mask_ + 1) return {position_, Status::corrupted};
    if (layout::is_of_stream(mark, stream_)) [[likely]]
      return {position_ + ahead, Status::ok};
    return own_stream(forward_, position_, stream_, ahead);
  }

  /// A later stream's tail lies `ahead`: how much of it is still of this one.
  static News own_stream(const layout::ForwardHeader* forward, std::uint64_t position, std::uint64_t stream,
                         std::uint64_t ahead) noexcept {
    const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);  // SYNC: end of stream visible
    if (streams == stream || streams - stream > layout::kStreamEnds) return {position, Status::corrupted};
    const std::uint64_t left = Policy::load_relaxed(&forward->ends[stream % layout::kStreamEnds]) - position;
    if (left == 0) return {position, Status::closed};
    return {position + left, left <= ahead ? Status::ok : Status::corrupted};
  }

  [[gnu::always_inline]] Status look_for_news() noexcept {
    const News found = news();
    if (found.status == Status::ok) tail_ = found.tail;
    return found.status;
  }

  /// How many of `count` records wait. Looks at the shared tail only when fewer are known of.
  [[gnu::always_inline]] std::uint64_t gather(std::size_t count) noexcept {
    if (tail_ - position_ < count) static_cast<void>(look_for_news());
    return std::min<std::uint64_t>(count, tail_ - position_);
  }

  using ReceivingHalf<Policy>::forward_;
  using ReceivingHalf<Policy>::mask_;
  using ReceivingHalf<Policy>::position_;
  using ReceivingHalf<Policy>::stream_;
  DenseSlots<Size, Policy> slots_;
  std::uint64_t tail_ = 0;  // position up to which records of this stream are known to wait
};

static_assert(SendingRing<DenseSender<>> && ReceivingRing<DenseReceiver<>>);

}  // namespace v1
}  // namespace nimsync
