// Sender<T> and Receiver<T>: the two ends of a channel, and make_channel() for a channel without a registry.
//
// T is a record: trivially copyable, of alignment at most 64. Sender<Bytes> and Receiver<Bytes> carry messages of any
// length up to the channel's maximum; they open record channels too, where a message is exactly one record.
//
// Threads: each endpoint is used by one thread at a time (interrupt() aside). Endpoints move and don't copy.
// Data functions are noexcept and allocate nothing. Those named try_... make no system call while the peer is awake;
// when it sleeps, the first to have something for it writes a byte into a FIFO.
//
// Crashes: a message is sent once the call that sends it has returned ok, and survives the death of either side, of
// both, and of the registry. try_receive and receive copy a record out and free its place: at most once, a receiver
// that dies before it has used its copy has lost it. peek and release: at least once, what was not released is seen
// again by the successor.
//
// Speed: keep an endpoint that a loop uses in a local variable of the function with the loop. As a class member or on
// the heap its position must be stored in memory for each message, which costs a third of the rate at 8 bytes, and a
// quarter at 64 (nimsync_bench, "class member"). Such a program moves it into a local for a burst and back again:
//
//     Sender<Tick> tx = std::move(member_);
//     for (const Tick& tick : burst) ... tx.try_send(tick) ...
//     member_ = std::move(tx);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "nimsync/dense_ring.hpp"
#include "nimsync/endpoint.hpp"
#include "nimsync/framed_ring.hpp"
#include "nimsync/stamped_ring.hpp"

namespace nimsync {
inline namespace v1 {

/// Stands for messages of any length.
struct Bytes {};

template <class T>
concept Record = std::is_trivially_copyable_v<T> && !std::is_same_v<T, Bytes> && alignof(T) <= layout::kCacheLine;

namespace internal {

template <class T>
constexpr Wanted wanted() noexcept {
  if constexpr (std::is_same_v<T, Bytes>) {
    return {.frames = true, .type = type_name<T>};
  } else {
    return {.size = sizeof(T), .alignment = alignof(T), .type = type_name<T>};
  }
}

/// A half of a record channel's ring: one state, and the algorithm that the channel's layout asks for. Dense is what an
/// endpoint of no channel has.
template <class State, template <std::size_t, class, class> class Stamped,
          template <std::size_t, class, class> class Dense, std::size_t Size>
class RecordHalf {
 public:
  RecordHalf() = default;
  [[gnu::always_inline]] RecordHalf(const RingMemory& memory, const Resume& resume) noexcept
      : layout_(memory.geometry.layout) {
    if (layout_ == Layout::stamped) state_ = Stamped<Size, Native, State>(memory, resume).state();
    if (layout_ == Layout::dense) state_ = Dense<Size, Native, State>(memory, resume).state();
  }

  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return layout_; }

  /// After each publication: wakes the peer if it sleeps.
  [[gnu::always_inline]] void ring_peer(Attachment* attachment) noexcept {
    if (peer_sleeps<Native>(state_)) [[unlikely]]
      state_.rung = wake(attachment, state_.rung);
  }

  /// Calls use(half).
  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) noexcept {
    if (layout_ == Layout::stamped) {
      Stamped<Size, Native, State&> half(state_);
      return use(half);
    }
    Dense<Size, Native, State&> half(state_);
    return use(half);
  }
  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) const noexcept {
    if (layout_ == Layout::stamped) return use(Stamped<Size, Native, const State&>(state_));
    return use(Dense<Size, Native, const State&>(state_));
  }

 protected:
  State state_;
  Layout layout_ = Layout::dense;
};

/// The same with frames.
template <class State, template <std::size_t, class, class> class Stamped,
          template <std::size_t, class, class> class Dense, template <class, class> class Framed>
class BytesHalf : public RecordHalf<State, Stamped, Dense, kSizeAtRunTime> {
  using Records = RecordHalf<State, Stamped, Dense, kSizeAtRunTime>;

 public:
  BytesHalf() = default;
  [[gnu::always_inline]] BytesHalf(const RingMemory& memory, const Resume& resume) noexcept : Records(memory, resume) {
    if (framed()) this->state_ = Framed<Native, State>(memory, resume).state();
  }

  [[nodiscard, gnu::always_inline]] bool framed() const noexcept { return this->layout_ == Layout::framed; }
  /// Of a record; of the largest frame.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept { return this->state_.size; }

  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) noexcept {
    if (!framed()) return Records::use(use);
    Framed<Native, State&> half(this->state_);
    return use(half);
  }
  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) const noexcept {
    if (!framed()) return Records::use(use);
    return use(Framed<Native, const State&>(this->state_));
  }
};

}  // namespace internal

// ---------------------------------------------------------------------------------------------------------------------

/// What every sender has, whatever it sends. Not a type to name: hold a Sender<T>.
template <class Half>
class SenderBase : public Endpoint {
 public:
  /// Ends the stream: the receiver takes what was sent, gets `closed` once, and then waits for the next stream. Gives
  /// the lease back, so that a new sender may attach at once. Data functions say `closed` from now on. A second call
  /// does nothing.
  [[gnu::always_inline]] void close() noexcept {
    half_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    ring_peer();
    internal::give_lease_back(attachment());
  }

  /// Records; bytes of ring (frames). 0 when closed or moved from.
  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.capacity(); });
  }
  /// What the receiver hasn't released yet, in the same units. Exact for this side; the receiver goes on meanwhile.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.size(); });
  }
  [[nodiscard, gnu::always_inline]] bool is_empty() const noexcept { return size() == 0; }
  /// Whether a record (a message of the maximum size) would not fit.
  [[nodiscard, gnu::always_inline]] bool is_full() const noexcept { return look() != Status::ok; }
  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return half_.layout(); }

  /// How the channel is, by one system call: `ok`, `closed` (this endpoint is), `peer_lost` (once per lost receiver),
  /// `removed`, `corrupted`, `interrupted` (once per interrupt() that no blocking call took).
  [[gnu::always_inline]] Status check() noexcept {
    const Status ring = look();
    if (ring == Status::closed || ring == Status::corrupted) return ring;
    const Status found = internal::look(attachment());
    if (found == Status::peer_lost) internal::count_loss(attachment());
    return found;
  }

 protected:
  [[gnu::always_inline]] explicit SenderBase(const internal::Attached& attached) noexcept
      : Endpoint(attached.attachment), half_(attached.memory, attached.resume) {}
  [[gnu::always_inline]] SenderBase(SenderBase&& from) noexcept
      : Endpoint(static_cast<Endpoint&&>(from)), half_(std::exchange(from.half_, Half{})) {}
  [[gnu::always_inline]] SenderBase& operator=(SenderBase&& from) noexcept {
    Endpoint::operator=(static_cast<Endpoint&&>(from));
    half_ = std::exchange(from.half_, Half{});
    return *this;
  }
  [[gnu::always_inline]] ~SenderBase() = default;

  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.look(); });
  }
  [[gnu::always_inline]] void ring_peer() noexcept { half_.ring_peer(attachment()); }

  Half half_;
};

template <class T>
class Sender final : public SenderBase<internal::RecordHalf<SendState, StampedSender, DenseSender, sizeof(T)>> {
  static_assert(Record<T>, "a record is trivially copyable, of alignment at most 64");

 public:
  /// For the library: what Registry::sender and make_channel give.
  [[gnu::always_inline]] explicit Sender(const internal::Attached& attached) noexcept : Sender::SenderBase(attached) {}
  [[gnu::always_inline]] Sender(Sender&&) noexcept = default;
  [[gnu::always_inline]] Sender& operator=(Sender&&) noexcept = default;
  [[gnu::always_inline]] ~Sender() = default;

  /// Sends a copy of `record`. `ok`, `would_block` (full), `closed`, `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_send(const T& record) noexcept {
    std::byte* place = nullptr;
    const Status status =
        this->half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_claim(place); });
    if (status != Status::ok) return status;
    // Once for both layouts: in each it is made ready before the layout is known, and pushes the ring out of registers
    // (64 B through a dense ring: 62 instead of 46 M/s between two cores; 8 B through a stamped one on two threads of
    // one core: 455 instead of 350; prototypes in nimsync_bench).
    Native::copy<sizeof(T)>(place, reinterpret_cast<const std::byte*>(&record), sizeof(T));
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.publish(place); });
    this->ring_peer();
    return Status::ok;
  }

  /// The same, waiting for room as the endpoint's Wait says: also `timeout`, `interrupted`, `peer_lost` (the receiver
  /// went away while the ring is full; call again to wait for its successor), `removed`.
  [[gnu::always_inline]] Status send(const T& record, Timeout timeout = forever) noexcept {
    return this->block(
        this->attachment(), timeout, [&]() __attribute__((always_inline)) { return try_send(record); });
  }

  /// Sends the first of `records`, as many as there is room for; returns how many. Dense: published by one store.
  [[gnu::always_inline]] std::size_t try_send_some(std::span<const T> records) noexcept {
    const std::size_t sent = this->half_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_send_some(reinterpret_cast<const std::byte*>(records.data()), records.size());
    });
    if (sent != 0) this->ring_peer();
    return sent;
  }

  /// Up to `n` records in shared memory to be written in place: as many as are free and lie in a row (dense), or one
  /// (stamped); empty when the ring is full. Valid, and unseen by the peer, until commit().
  [[gnu::always_inline]] std::span<T> reserve(std::size_t n = 1) noexcept {
    const std::span<std::byte> room =
        this->half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.reserve(n); });
    return {reinterpret_cast<T*>(room.data()), room.size() / sizeof(T)};
  }
  /// Sends the first `n` reserved records. More than were reserved is a bug.
  [[gnu::always_inline]] void commit(std::size_t n = 1) noexcept {
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.commit(n); });
    this->ring_peer();
  }
};

/// Messages of any length.
template <>
class Sender<Bytes> final
    : public SenderBase<internal::BytesHalf<SendState, StampedSender, DenseSender, FramedSender>> {
 public:
  /// For the library: what Registry::sender and make_channel give.
  [[gnu::always_inline]] explicit Sender(const internal::Attached& attached) noexcept : SenderBase(attached) {}
  [[gnu::always_inline]] Sender(Sender&&) noexcept = default;
  [[gnu::always_inline]] Sender& operator=(Sender&&) noexcept = default;
  [[gnu::always_inline]] ~Sender() = default;

  /// The largest message in bytes; of a record channel, the size of all.
  [[nodiscard, gnu::always_inline]] std::uint64_t max_size() const noexcept { return half_.size(); }

  /// Sends a copy of `message`. `ok`, `would_block` (no room), `too_big` (above max_size(); of a record channel: not a
  /// record's size), `closed`, `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> message) noexcept {
    const Status status = half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_send(message); });
    if (status == Status::ok) ring_peer();
    return status;
  }

  /// The same, waiting for room: also `timeout`, `interrupted`, `peer_lost`, `removed`, as for records.
  [[gnu::always_inline]] Status send(std::span<const std::byte> message, Timeout timeout = forever) noexcept {
    return block(
        attachment(), timeout, [&]() __attribute__((always_inline)) { return try_send(message); });
  }

  /// Sends the first of `messages`, as many as there is room for; returns how many.
  [[gnu::always_inline]] std::size_t try_send_some(std::span<const std::span<const std::byte>> messages) noexcept {
    std::size_t sent = 0;
    while (sent < messages.size() && try_send(messages[sent]) == Status::ok) ++sent;
    return sent;
  }

  /// Room for a message of up to `bytes` in shared memory; data() is null when there is none, or `bytes` is not a size
  /// that this channel takes. Valid, and unseen by the peer, until commit().
  [[gnu::always_inline]] std::span<std::byte> reserve(std::size_t bytes) noexcept {
    if (half_.framed())
      return half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.reserve(bytes); });
    if (bytes != max_size()) return {};
    return half_.use([](auto& ring) __attribute__((always_inline)) { return ring.reserve(1); });
  }
  /// Sends the first `bytes` of the reservation as one message (of a record channel: the record). More than was
  /// reserved is a bug.
  [[gnu::always_inline]] void commit(std::size_t bytes) noexcept {
    const std::size_t n = half_.framed() ? bytes : 1;
    half_.use([&](auto& ring) __attribute__((always_inline)) { ring.commit(n); });
    ring_peer();
  }
};

// ---------------------------------------------------------------------------------------------------------------------

/// What every receiver has, whatever it receives. Not a type to name: hold a Receiver<T>.
template <class Half>
class ReceiverBase : public Endpoint {
 public:
  /// Records; bytes of ring (frames). 0 when moved from.
  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.capacity(); });
  }
  /// What waits to be received, of this stream and later ones, in the same units. The sender goes on meanwhile.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.size(); });
  }
  /// Whether nothing of this stream waits.
  [[nodiscard, gnu::always_inline]] bool is_empty() const noexcept {
    return half_.use([](const auto& ring) __attribute__((always_inline)) { return ring.look(); }) != Status::ok;
  }
  [[nodiscard, gnu::always_inline]] bool is_full() const noexcept { return size() == capacity(); }
  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return half_.layout(); }

  /// How the channel is, by one system call: `ok`, `closed` (the stream ended and all of it was received; once per
  /// stream), `peer_lost` (the sender went away and all it sent was received; once per lost sender), `removed`,
  /// `corrupted`, `interrupted` (once per interrupt() that no blocking call took).
  [[gnu::always_inline]] Status check() noexcept {
    const Status found = internal::look(attachment());  // before the ring: what a dead sender sent is all there by now
    if (found == Status::removed || found == Status::interrupted) return found;
    const Status ring = ended(half_.use([](const auto& half) __attribute__((always_inline)) { return half.look(); }));
    if (ring != Status::would_block) return ring;
    if (found == Status::peer_lost) internal::count_loss(attachment());
    return found;
  }

 protected:
  [[gnu::always_inline]] explicit ReceiverBase(const internal::Attached& attached) noexcept
      : Endpoint(attached.attachment), half_(attached.memory, attached.resume) {}
  [[gnu::always_inline]] ReceiverBase(ReceiverBase&& from) noexcept
      : Endpoint(static_cast<Endpoint&&>(from)), half_(std::exchange(from.half_, Half{})) {}
  [[gnu::always_inline]] ReceiverBase& operator=(ReceiverBase&& from) noexcept {
    Endpoint::operator=(static_cast<Endpoint&&>(from));
    half_ = std::exchange(from.half_, Half{});
    return *this;
  }
  [[gnu::always_inline]] ~ReceiverBase() = default;

  /// Passes a status on; one that says closed is thereby told, and the next stream begins.
  [[gnu::always_inline]] Status ended(Status status) noexcept {
    if (status == Status::closed) [[unlikely]] {
      half_.use([](auto& ring) __attribute__((always_inline)) { ring.next_stream(); });
    }
    return status;
  }
  [[gnu::always_inline]] void ring_peer() noexcept { half_.ring_peer(attachment()); }

  Half half_;
};

template <class T>
class Receiver final
    : public ReceiverBase<internal::RecordHalf<ReceiveState, StampedReceiver, DenseReceiver, sizeof(T)>> {
  static_assert(Record<T>, "a record is trivially copyable, of alignment at most 64");

 public:
  /// For the library: what Registry::receiver and make_channel give.
  [[gnu::always_inline]] explicit Receiver(const internal::Attached& attached) noexcept
      : Receiver::ReceiverBase(attached) {}
  [[gnu::always_inline]] Receiver(Receiver&&) noexcept = default;
  [[gnu::always_inline]] Receiver& operator=(Receiver&&) noexcept = default;
  [[gnu::always_inline]] ~Receiver() = default;

  /// Copies the next record out and frees its place: at most once across a crash of the receiver. `ok`,
  /// `would_block` (empty), `closed` (the stream ended here; once), `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_receive(T& record) noexcept {
    const std::byte* place = nullptr;
    const Status status =
        this->half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_find(place); });
    if (status != Status::ok) return this->ended(status);
    if constexpr (std::is_class_v<T> && std::is_copy_assignable_v<T>) {
      record = *reinterpret_cast<const T*>(place);  // as wide as it can be: nobody here has just written it in words
    } else {  // a bool or an enumeration isn't loaded as one: its bytes are the peer's
      Native::copy<sizeof(T)>(reinterpret_cast<std::byte*>(&record), place, sizeof(T));
    }
    this->half_.use([](auto& ring) __attribute__((always_inline)) { ring.free_one(); });
    this->ring_peer();
    return Status::ok;
  }

  /// The same, waiting for a record as the endpoint's Wait says: also `timeout`, `interrupted`, `peer_lost` (the sender
  /// went away and all it sent was received; call again to wait for its successor), `removed`.
  [[gnu::always_inline]] Status receive(T& record, Timeout timeout = forever) noexcept {
    return this->block(
        this->attachment(), timeout, [&]() __attribute__((always_inline)) { return try_receive(record); });
  }

  /// Copies out up to as many records as `records` has places; returns how many. 0 also at the end of a stream:
  /// try_receive or check tells. Dense: freed by one store.
  [[gnu::always_inline]] std::size_t try_receive_some(std::span<T> records) noexcept {
    const std::size_t received = this->half_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_receive_some(reinterpret_cast<std::byte*>(records.data()), records.size());
    });
    if (received != 0) this->ring_peer();
    return received;
  }

  /// Up to `n` waiting records in place: as many as wait and lie in a row (dense), or one (stamped). Empty when none
  /// waits, and at the end of a stream: try_receive or check tells. Valid until release(). At least once across a
  /// crash.
  [[gnu::always_inline]] std::span<const T> peek(std::size_t n = 1) noexcept {
    std::span<const std::byte> waiting;
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { static_cast<void>(ring.try_peek(n, waiting)); });
    return {reinterpret_cast<const T*>(waiting.data()), waiting.size() / sizeof(T)};
  }
  /// Frees the first `n` peeked records. More than were peeked is a bug.
  [[gnu::always_inline]] void release(std::size_t n = 1) noexcept {
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.release(n); });
    this->ring_peer();
  }
};

/// Messages of any length.
template <>
class Receiver<Bytes> final
    : public ReceiverBase<internal::BytesHalf<ReceiveState, StampedReceiver, DenseReceiver, FramedReceiver>> {
 public:
  /// For the library: what Registry::receiver and make_channel give.
  [[gnu::always_inline]] explicit Receiver(const internal::Attached& attached) noexcept : ReceiverBase(attached) {}
  [[gnu::always_inline]] Receiver(Receiver&&) noexcept = default;
  [[gnu::always_inline]] Receiver& operator=(Receiver&&) noexcept = default;
  [[gnu::always_inline]] ~Receiver() = default;

  /// The largest message in bytes; of a record channel, the size of all.
  [[nodiscard, gnu::always_inline]] std::uint64_t max_size() const noexcept { return half_.size(); }

  /// Shows the next message in place; it stays valid, and the next one, until release(). At least once across a crash.
  /// `ok`, `would_block` (empty), `closed` (the stream ended here; once), `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_receive(std::span<const std::byte>& message) noexcept {
    return ended(half_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_peek(1, message); }));
  }

  /// The same, waiting for a message: also `timeout`, `interrupted`, `peer_lost`, `removed`, as for records.
  [[gnu::always_inline]] Status receive(std::span<const std::byte>& message, Timeout timeout = forever) noexcept {
    return block(
        attachment(), timeout, [&]() __attribute__((always_inline)) { return try_receive(message); });
  }

  /// The next message in place; data() is null when none waits, and at the end of a stream: try_receive or check tells.
  [[gnu::always_inline]] std::span<const std::byte> peek() noexcept {
    std::span<const std::byte> message;
    half_.use([&](auto& ring) __attribute__((always_inline)) { static_cast<void>(ring.try_peek(1, message)); });
    return message;
  }
  /// Frees the message shown last. Without one it is a bug.
  [[gnu::always_inline]] void release() noexcept {
    half_.use([](auto& ring) __attribute__((always_inline)) { ring.release(1); });
    ring_peer();
  }
};

// ---------------------------------------------------------------------------------------------------------------------

/// A channel of this process alone, without a registry: for unit tests, and between threads. The options' capacity must
/// not be 0; mode, group and protect mean nothing here. Throws Error (invalid, no_space).
template <class T>
[[nodiscard]] std::pair<Sender<T>, Receiver<T>> make_channel(const Options& options) {
  const auto [sender, receiver] = internal::make_local(internal::wanted<T>(), options);
  return {Sender<T>(sender), Receiver<T>(receiver)};
}

}  // namespace v1
}  // namespace nimsync
