// Sender<T> and Receiver<T>: the two ends of a channel, and make_channel() for a channel without a registry.
//
// T is a record: trivially copyable, of alignment at most 64. Sender<Bytes> and Receiver<Bytes> carry messages of any
// length up to the channel's maximum; they open record channels too, where a message is exactly one record.
//
// Threads: each endpoint is used by one thread at a time (interrupt() aside). Endpoints move and don't copy.
// Data functions are noexcept, allocate nothing, and those named try_... make no system call.
//
// Crashes: a message is sent once the call that sends it has returned ok, and survives the death of either side, of
// both, and of the registry. try_receive and receive copy a record out and free its place: at most once, a receiver
// that dies before it has used its copy has lost it. peek and release: at least once, what was not released is seen
// again by the successor.
//
// Speed: keep an endpoint that a loop uses in a local variable of the function with the loop. As a class member or on
// the heap its position must be stored in memory for each message, which costs small messages up to 70 % of their
// throughput; such a program moves it into a local for a burst and back again:
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

/// The halves that a record channel may have; one is attached, and dense is what an endpoint of no channel has.
template <template <std::size_t, class> class Stamped, template <std::size_t, class> class Dense, std::size_t Size>
class RecordHalves {
 public:
  RecordHalves() = default;
  [[gnu::always_inline]] RecordHalves(const RingMemory& memory, const Resume& resume) noexcept
      : layout_(memory.geometry.layout) {
    if (layout_ == Layout::stamped) stamped_ = {memory, resume};
    if (layout_ == Layout::dense) dense_ = {memory, resume};
  }

  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return layout_; }

  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) noexcept {
    return layout_ == Layout::stamped ? use(stamped_) : use(dense_);
  }
  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) const noexcept {
    return layout_ == Layout::stamped ? use(stamped_) : use(dense_);
  }

 private:
  Layout layout_ = Layout::dense;
  Stamped<Size, Native> stamped_;
  Dense<Size, Native> dense_;
};

/// The same with frames.
template <template <std::size_t, class> class Stamped, template <std::size_t, class> class Dense,
          template <class> class Framed>
class AnyHalves {
 public:
  AnyHalves() = default;
  [[gnu::always_inline]] AnyHalves(const RingMemory& memory, const Resume& resume) noexcept
      : records_(memory, resume), size_(memory.geometry.size) {
    if (memory.geometry.layout == Layout::framed) framed_ = {memory, resume};
  }

  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return records_.layout(); }
  [[nodiscard, gnu::always_inline]] bool framed() const noexcept { return layout() == Layout::framed; }
  /// Of a record; of the largest frame.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept { return size_; }

  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) noexcept {
    return framed() ? use(framed_) : records_.use(use);
  }
  template <class Use>
  [[gnu::always_inline]] decltype(auto) use(Use use) const noexcept {
    return framed() ? use(framed_) : records_.use(use);
  }

 private:
  RecordHalves<Stamped, Dense, kSizeAtRunTime> records_;
  Framed<Native> framed_;
  std::uint64_t size_ = 0;
};

}  // namespace internal

// ---------------------------------------------------------------------------------------------------------------------

/// What every sender has, whatever it sends. Not a type to name: hold a Sender<T>.
template <class Halves>
class SenderBase : public Endpoint {
 public:
  /// Ends the stream: the receiver takes what was sent, gets `closed` once, and then waits for the next stream. Gives
  /// the lease back, so that a new sender may attach at once. Data functions say `closed` from now on. A second call
  /// does nothing.
  [[gnu::always_inline]] void close() noexcept {
    halves_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    internal::give_lease_back(attachment());
  }

  /// Records; bytes of ring (frames). 0 when closed or moved from.
  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.capacity(); });
  }
  /// What the receiver hasn't released yet, in the same units. Exact for this side; the receiver goes on meanwhile.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.size(); });
  }
  [[nodiscard, gnu::always_inline]] bool is_empty() const noexcept { return size() == 0; }
  /// Whether a record (a message of the maximum size) would not fit.
  [[nodiscard, gnu::always_inline]] bool is_full() const noexcept { return look() != Status::ok; }
  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return halves_.layout(); }

  /// How the channel is, by one system call: `ok`, `closed` (this endpoint is), `peer_lost` (once per lost receiver),
  /// `removed`, `corrupted`.
  [[gnu::always_inline]] Status check() noexcept {
    const Status ring = look();
    if (ring == Status::closed || ring == Status::corrupted) return ring;
    const Status found = internal::look(attachment());
    if (found == Status::peer_lost) internal::count_loss(attachment());
    return found;
  }

 protected:
  [[gnu::always_inline]] explicit SenderBase(const internal::Attached& attached) noexcept
      : Endpoint(attached.attachment), halves_(attached.memory, attached.resume) {}
  [[gnu::always_inline]] SenderBase(SenderBase&& from) noexcept
      : Endpoint(static_cast<Endpoint&&>(from)), halves_(std::exchange(from.halves_, Halves{})) {}
  [[gnu::always_inline]] SenderBase& operator=(SenderBase&& from) noexcept {
    if (this != &from) {
      Endpoint::operator=(static_cast<Endpoint&&>(from));
      halves_ = std::exchange(from.halves_, Halves{});
    }
    return *this;
  }
  [[gnu::always_inline]] ~SenderBase() = default;

  [[nodiscard, gnu::always_inline]] Status look() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.look(); });
  }

  Halves halves_;
};

template <class T>
class Sender final : public SenderBase<internal::RecordHalves<StampedSender, DenseSender, sizeof(T)>> {
  static_assert(Record<T>, "a record is trivially copyable, of alignment at most 64");

 public:
  /// For the library: what Registry::sender and make_channel give.
  [[gnu::always_inline]] explicit Sender(const internal::Attached& attached) noexcept : Sender::SenderBase(attached) {}
  [[gnu::always_inline]] Sender(Sender&&) noexcept = default;
  [[gnu::always_inline]] Sender& operator=(Sender&&) noexcept = default;
  [[gnu::always_inline]] ~Sender() = default;

  /// Sends a copy of `record`. `ok`, `would_block` (full), `closed`, `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_send(const T& record) noexcept {
    return this->halves_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_send(reinterpret_cast<const std::byte*>(&record));
    });
  }

  /// The same, waiting for room as the endpoint's Wait says: also `timeout`, `interrupted`, `peer_lost` (the receiver
  /// went away while the ring is full; call again to wait for its successor), `removed`.
  [[gnu::always_inline]] Status send(const T& record, Timeout timeout = forever) noexcept {
    return this->block(
        this->attachment(), timeout, [&]() __attribute__((always_inline)) { return try_send(record); });
  }

  /// Sends the first of `records`, as many as there is room for; returns how many. Dense: published by one store.
  [[gnu::always_inline]] std::size_t try_send_some(std::span<const T> records) noexcept {
    return this->halves_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_send_some(reinterpret_cast<const std::byte*>(records.data()), records.size());
    });
  }

  /// Up to `n` records in shared memory to be written in place: as many as are free and lie in a row (dense), or one
  /// (stamped); empty when the ring is full. Valid, and unseen by the peer, until commit().
  [[gnu::always_inline]] std::span<T> reserve(std::size_t n = 1) noexcept {
    const std::span<std::byte> room =
        this->halves_.use([&](auto& ring) __attribute__((always_inline)) { return ring.reserve(n); });
    return {reinterpret_cast<T*>(room.data()), room.size() / sizeof(T)};
  }
  /// Sends the first `n` reserved records. More than were reserved is a bug.
  [[gnu::always_inline]] void commit(std::size_t n = 1) noexcept {
    this->halves_.use([&](auto& ring) __attribute__((always_inline)) { ring.commit(n); });
  }
};

/// Messages of any length.
template <>
class Sender<Bytes> final : public SenderBase<internal::AnyHalves<StampedSender, DenseSender, FramedSender>> {
 public:
  /// For the library: what Registry::sender and make_channel give.
  [[gnu::always_inline]] explicit Sender(const internal::Attached& attached) noexcept : SenderBase(attached) {}
  [[gnu::always_inline]] Sender(Sender&&) noexcept = default;
  [[gnu::always_inline]] Sender& operator=(Sender&&) noexcept = default;
  [[gnu::always_inline]] ~Sender() = default;

  /// The largest message in bytes; of a record channel, the size of all.
  [[nodiscard, gnu::always_inline]] std::uint64_t max_size() const noexcept { return halves_.size(); }

  /// Sends a copy of `message`. `ok`, `would_block` (no room), `too_big` (above max_size(); of a record channel: not a
  /// record's size), `closed`, `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_send(std::span<const std::byte> message) noexcept {
    return halves_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_send(message); });
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
    if (halves_.framed())
      return halves_.use([&](auto& ring) __attribute__((always_inline)) { return ring.reserve(bytes); });
    if (bytes != max_size()) return {};
    return halves_.use([](auto& ring) __attribute__((always_inline)) { return ring.reserve(1); });
  }
  /// Sends the first `bytes` of the reservation as one message (of a record channel: the record). More than was
  /// reserved is a bug.
  [[gnu::always_inline]] void commit(std::size_t bytes) noexcept {
    const std::size_t n = halves_.framed() ? bytes : 1;
    halves_.use([&](auto& ring) __attribute__((always_inline)) { ring.commit(n); });
  }
};

// ---------------------------------------------------------------------------------------------------------------------

/// What every receiver has, whatever it receives. Not a type to name: hold a Receiver<T>.
template <class Halves>
class ReceiverBase : public Endpoint {
 public:
  /// Records; bytes of ring (frames). 0 when moved from.
  [[nodiscard, gnu::always_inline]] std::uint64_t capacity() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.capacity(); });
  }
  /// What waits to be received, of this stream and later ones, in the same units. The sender goes on meanwhile.
  [[nodiscard, gnu::always_inline]] std::uint64_t size() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.size(); });
  }
  /// Whether nothing of this stream waits.
  [[nodiscard, gnu::always_inline]] bool is_empty() const noexcept {
    return halves_.use([](const auto& ring) __attribute__((always_inline)) { return ring.look(); }) != Status::ok;
  }
  [[nodiscard, gnu::always_inline]] bool is_full() const noexcept { return size() == capacity(); }
  [[nodiscard, gnu::always_inline]] Layout layout() const noexcept { return halves_.layout(); }

  /// How the channel is, by one system call: `ok`, `closed` (the stream ended and all of it was received; once per
  /// stream), `peer_lost` (the sender went away and all it sent was received; once per lost sender), `removed`,
  /// `corrupted`.
  [[gnu::always_inline]] Status check() noexcept {
    const Status found = internal::look(attachment());  // before the ring: what a dead sender sent is all there by now
    if (found == Status::removed) return found;
    const Status ring = ended(halves_.use([](const auto& half) __attribute__((always_inline)) { return half.look(); }));
    if (ring != Status::would_block) return ring;
    if (found == Status::peer_lost) internal::count_loss(attachment());
    return found;
  }

 protected:
  [[gnu::always_inline]] explicit ReceiverBase(const internal::Attached& attached) noexcept
      : Endpoint(attached.attachment), halves_(attached.memory, attached.resume) {}
  [[gnu::always_inline]] ReceiverBase(ReceiverBase&& from) noexcept
      : Endpoint(static_cast<Endpoint&&>(from)), halves_(std::exchange(from.halves_, Halves{})) {}
  [[gnu::always_inline]] ReceiverBase& operator=(ReceiverBase&& from) noexcept {
    if (this != &from) {
      Endpoint::operator=(static_cast<Endpoint&&>(from));
      halves_ = std::exchange(from.halves_, Halves{});
    }
    return *this;
  }
  [[gnu::always_inline]] ~ReceiverBase() = default;

  /// Passes a status on; one that says closed is thereby told, and the next stream begins.
  [[gnu::always_inline]] Status ended(Status status) noexcept {
    if (status == Status::closed) [[unlikely]] {
      halves_.use([](auto& ring) __attribute__((always_inline)) { ring.next_stream(); });
    }
    return status;
  }

  Halves halves_;
};

template <class T>
class Receiver final : public ReceiverBase<internal::RecordHalves<StampedReceiver, DenseReceiver, sizeof(T)>> {
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
    return this->ended(this->halves_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_receive(reinterpret_cast<std::byte*>(&record));
    }));
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
    return this->halves_.use([&](auto& ring) __attribute__((always_inline)) {
      return ring.try_receive_some(reinterpret_cast<std::byte*>(records.data()), records.size());
    });
  }

  /// Up to `n` waiting records in place: as many as wait and lie in a row (dense), or one (stamped). Empty when none
  /// waits, and at the end of a stream: try_receive or check tells. Valid until release(). At least once across a
  /// crash.
  [[gnu::always_inline]] std::span<const T> peek(std::size_t n = 1) noexcept {
    std::span<const std::byte> waiting;
    this->halves_.use([&](auto& ring) __attribute__((always_inline)) { static_cast<void>(ring.try_peek(n, waiting)); });
    return {reinterpret_cast<const T*>(waiting.data()), waiting.size() / sizeof(T)};
  }
  /// Frees the first `n` peeked records. More than were peeked is a bug.
  [[gnu::always_inline]] void release(std::size_t n = 1) noexcept {
    this->halves_.use([&](auto& ring) __attribute__((always_inline)) { ring.release(n); });
  }
};

/// Messages of any length.
template <>
class Receiver<Bytes> final : public ReceiverBase<internal::AnyHalves<StampedReceiver, DenseReceiver, FramedReceiver>> {
 public:
  /// For the library: what Registry::receiver and make_channel give.
  [[gnu::always_inline]] explicit Receiver(const internal::Attached& attached) noexcept : ReceiverBase(attached) {}
  [[gnu::always_inline]] Receiver(Receiver&&) noexcept = default;
  [[gnu::always_inline]] Receiver& operator=(Receiver&&) noexcept = default;
  [[gnu::always_inline]] ~Receiver() = default;

  /// The largest message in bytes; of a record channel, the size of all.
  [[nodiscard, gnu::always_inline]] std::uint64_t max_size() const noexcept { return halves_.size(); }

  /// Shows the next message in place; it stays valid, and the next one, until release(). At least once across a crash.
  /// `ok`, `would_block` (empty), `closed` (the stream ended here; once), `corrupted`. Wait-free.
  [[gnu::always_inline]] Status try_receive(std::span<const std::byte>& message) noexcept {
    return ended(halves_.use([&](auto& ring) __attribute__((always_inline)) { return ring.try_peek(1, message); }));
  }

  /// The same, waiting for a message: also `timeout`, `interrupted`, `peer_lost`, `removed`, as for records.
  [[gnu::always_inline]] Status receive(std::span<const std::byte>& message, Timeout timeout = forever) noexcept {
    return block(
        attachment(), timeout, [&]() __attribute__((always_inline)) { return try_receive(message); });
  }

  /// The next message in place; data() is null when none waits, and at the end of a stream: try_receive or check tells.
  [[gnu::always_inline]] std::span<const std::byte> peek() noexcept {
    std::span<const std::byte> message;
    halves_.use([&](auto& ring) __attribute__((always_inline)) { static_cast<void>(ring.try_peek(1, message)); });
    return message;
  }
  /// Frees the message shown last. Without one it is a bug.
  [[gnu::always_inline]] void release() noexcept {
    halves_.use([](auto& ring) __attribute__((always_inline)) { ring.release(1); });
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
