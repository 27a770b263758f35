// The dense ring: records back to back and one published tail. A batch costs two stores to shared lines however long it
// is, and zero-copy access spans many records: 16 a call carry 8 bytes at 2 to 4 times the rate of one a call
// (nimsync_bench, "batch"). The throughput choice.
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

template <std::size_t Size = kSizeAtRunTime, class Policy = Native, class State = SendState>
class DenseSender : public SendingHalf<Policy, State> {
  using Half = SendingHalf<Policy, State>;
  using Half::state_;

 public:
  /// Of no channel: says closed.
  DenseSender() = default;
  using Half::Half;

  /// Copies one record in. `ok`, `would_block`, `closed`, `corrupted`, or `too_big`: not a record's size.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> record) noexcept {
    if (record.size() == record_size()) return try_send(record.data());
    return state_.open ? Status::too_big : Status::closed;
  }
  [[gnu::always_inline]] Status try_send(const std::byte* record) noexcept {
    std::byte* place = nullptr;
    const Status status = try_claim(place);
    if (status != Status::ok) return status;
    Policy::template copy<Size>(place, record, record_size());
    publish(place);
    return Status::ok;
  }

  /// try_send() in two steps: a place to write one record into, and then its commit. Nothing else comes between them.
  [[gnu::always_inline]] Status try_claim(std::byte*& place) noexcept {
    if (state_.position == state_.limit) [[unlikely]] {
      const Status status = this->look_for_room();
      if (status != Status::ok) return status;
    }
    place = next();
    return Status::ok;
  }
  [[gnu::always_inline]] void publish(std::byte* /*place*/) noexcept { publish_some(1); }

  /// Copies in as many of `count` records as fit, and publishes them by one store; returns how many.
  [[gnu::always_inline]] std::size_t try_send_some(const std::byte* records, std::size_t count) noexcept {
    const std::uint64_t fit = make_room(count);
    if (fit == 0) return 0;
    const std::uint64_t first = in_a_row(fit) * record_size();
    Policy::template copy<0>(next(), records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
    publish_some(fit);
    return fit;
  }

  /// Up to `count` records to write in place: as many as are free and lie in a row; data() is null when there is no
  /// room. Nothing of it is visible to the peer before commit().
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t count = 1) noexcept {
    if (count == 1) {  // always in a row; half the instructions where the compiler sees the 1
      std::byte* place = nullptr;
      if (try_claim(place) != Status::ok) return {};
      return {place, record_size()};
    }
    const std::uint64_t fit = make_room(count);
    if (fit == 0) return {};
    return {next(), in_a_row(fit) * record_size()};
  }

  /// Publishes the first `count` reserved records. More than there is room for is a bug, and cut to the room.
  [[gnu::always_inline]] void commit(std::size_t count = 1) noexcept {
    const std::uint64_t room = state_.limit - state_.position;
    assert(count <= room);
    if (count != 0 && room != 0) publish_some(std::min<std::uint64_t>(count, room));
  }

  /// `ok` with room, else what try_send would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept { return this->room().status; }

 private:
  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept {
    return Size == kSizeAtRunTime ? state_.size : Size;
  }
  [[nodiscard, gnu::always_inline]] std::byte* next() const noexcept {
    return state_.ring + (state_.position & state_.mask) * record_size();
  }
  /// How many of `count` records from the next on lie in a row.
  [[nodiscard, gnu::always_inline]] std::uint64_t in_a_row(std::uint64_t count) const noexcept {
    return std::min(count, state_.mask + 1 - (state_.position & state_.mask));
  }

  /// How many of `count` records fit. Looks at the shared head only when the known room is too small.
  [[gnu::always_inline]] std::uint64_t make_room(std::size_t count) noexcept {
    if (state_.limit - state_.position < count) static_cast<void>(this->look_for_room());
    return std::min<std::uint64_t>(count, state_.limit - state_.position);
  }

  [[gnu::always_inline]] void publish_some(std::uint64_t count) noexcept {
    state_.position = advanced(state_.position, count);
    this->store_position();
  }
};

/// Its state's `known` is the tail as last seen, or the end of the stream where that comes first.
template <std::size_t Size = kSizeAtRunTime, class Policy = Native, class State = ReceiveState>
class DenseReceiver : public ReceivingHalf<Policy, State> {
  using Half = ReceivingHalf<Policy, State>;
  using Half::state_;

 public:
  /// Of no channel: for ever empty.
  DenseReceiver() = default;
  using Half::Half;

  /// Copies one record out and frees its slot. `ok`, `would_block`, `closed` (until next_stream()), `corrupted`.
  [[gnu::always_inline]] Status try_receive(std::byte* record) noexcept {
    const std::byte* place = nullptr;
    const Status status = try_find(place);
    if (status != Status::ok) return status;
    Policy::template copy<Size>(record, place, record_size());
    free_one();
    return Status::ok;
  }

  /// try_receive() in two steps: the next record where it lies, and then its release. Nothing else comes between.
  [[gnu::always_inline]] Status try_find(const std::byte*& place) noexcept {
    if (state_.position == state_.known) [[unlikely]] {
      const Status status = look_for_news();
      if (status != Status::ok) {
        Policy::template expect<Size>(next());
        return status;
      }
    }
    place = next();
    return Status::ok;
  }
  [[gnu::always_inline]] void free_one() noexcept { this->free_to(advanced(state_.position, 1)); }

  /// Copies out up to `count` records and frees them by one store; returns how many.
  [[gnu::always_inline]] std::size_t try_receive_some(std::byte* records, std::size_t count) noexcept {
    const std::uint64_t ready = gather(count);
    if (ready == 0) return 0;
    const std::uint64_t first = in_a_row(ready) * record_size();
    Policy::template copy<0>(records, next(), first);
    Policy::template copy<0>(records + first, state_.ring, ready * record_size() - first);
    this->free_to(state_.position + ready);
    return ready;
  }

  /// Shows up to `count` records in place: as many as wait and lie in a row, valid until they are released.
  [[gnu::always_inline]] Status try_peek(std::size_t count, std::span<const std::byte>& records) noexcept {
    records = {};
    if (count == 0) return Status::ok;
    if (count == 1) {
      const std::byte* place = nullptr;
      const Status status = try_find(place);
      if (status == Status::ok) records = {place, record_size()};
      return status;
    }
    if (state_.known - state_.position < count) {
      const Status status = look_for_news();
      if (state_.position == state_.known) return status;
    }
    const std::uint64_t ready = std::min<std::uint64_t>(count, state_.known - state_.position);
    records = {next(), in_a_row(ready) * record_size()};
    return Status::ok;
  }

  /// Frees the first `count` peeked records. More than wait is a bug, and cut to what waits.
  [[gnu::always_inline]] void release(std::size_t count = 1) noexcept {
    const std::uint64_t waiting = state_.known - state_.position;
    assert(count <= waiting);
    if (count == 1 && waiting != 0) return free_one();
    if (count != 0 && waiting != 0) this->free_to(state_.position + std::min<std::uint64_t>(count, waiting));
  }

  /// Messages that wait, of this stream and later ones.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept { return this->hint() - state_.position; }
  /// `ok` when a message waits, else what try_receive would say.
  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    return state_.position != state_.known ? Status{Status::ok} : news().status;
  }

 private:
  [[nodiscard, gnu::always_inline]] std::size_t record_size() const noexcept {
    return Size == kSizeAtRunTime ? state_.size : Size;
  }
  [[nodiscard, gnu::always_inline]] const std::byte* next() const noexcept {
    return state_.ring + (state_.position & state_.mask) * record_size();
  }
  /// How many of `count` records from the next on lie in a row.
  [[nodiscard, gnu::always_inline]] std::uint64_t in_a_row(std::uint64_t count) const noexcept {
    return std::min(count, state_.mask + 1 - (state_.position & state_.mask));
  }

  struct News {
    std::uint64_t tail;
    Status status;
  };

  /// How far the receiver may read: to the tail or, when that is a later stream's, to the end of its own.
  [[nodiscard, gnu::always_inline]] News news() const noexcept {
    const std::uint64_t mark = Policy::load_acquire(&state_.forward->common.position);  // SYNC: payload visible
    const std::uint64_t ahead = mark - (state_.position + state_.tag);  // while the tail is of this stream
    if (ahead - 1 <= state_.mask) [[likely]]
      return {state_.position + ahead, Status::ok};
    return end_of_news(state_.forward, state_.position, state_.stream, mark, state_.mask + 1);
  }

  /// The same where the tail isn't ahead in this stream: nothing new, a later stream's tail, or an impossible one.
  static News end_of_news(const layout::ForwardHeader* forward, std::uint64_t position, std::uint64_t stream,
                          std::uint64_t mark, std::uint64_t capacity) noexcept {
    const std::uint64_t ahead = layout::distance(position, mark);
    if (ahead == 0) return {position, at_end<Policy>(forward, position, stream)};
    if (ahead > capacity || layout::is_of_stream(mark, stream)) return {position, Status::corrupted};
    const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);  // SYNC: end of stream visible
    if (streams == stream || streams - stream > layout::kStreamEnds) return {position, Status::corrupted};
    const std::uint64_t left = Policy::load_relaxed(&forward->ends[stream % layout::kStreamEnds]) - position;
    if (left == 0) return {position, Status::closed};
    return {position + left, left <= ahead ? Status::ok : Status::corrupted};
  }

  [[gnu::always_inline]] Status look_for_news() noexcept {
    const News found = news();
    if (found.status == Status::ok) state_.known = found.tail;
    return found.status;
  }

  /// How many of `count` records wait. Looks at the shared tail only when fewer are known of.
  [[gnu::always_inline]] std::uint64_t gather(std::size_t count) noexcept {
    if (state_.known - state_.position < count) static_cast<void>(look_for_news());
    return std::min<std::uint64_t>(count, state_.known - state_.position);
  }
};

static_assert(SendingRing<DenseSender<>> && ReceivingRing<DenseReceiver<>>);

}  // namespace v1
}  // namespace nimsync
