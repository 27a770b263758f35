// Each operation of the rings and of the sleep protocol as a function of its own, for barriers_test.py to read in the
// disassembly. Compiled only, never linked or run: what the protocol asks of the system is declared, not defined.
//
// Records are of 8 bytes: their size adds no barrier and takes none away.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "nimsync/dense_ring.hpp"
#include "nimsync/framed_ring.hpp"
#include "nimsync/sleep.hpp"
#include "nimsync/stamped_ring.hpp"

namespace barriers {

using nimsync::Native;
using nimsync::Resume;
using nimsync::RingMemory;
using nimsync::Status;
using View = std::span<const std::byte>;

template <class Ring>
concept OfRecords = !std::same_as<Ring, nimsync::FramedSender<>> && !std::same_as<Ring, nimsync::FramedReceiver<>>;

template <class Ring>
struct Sending {
  static void go_on(Ring& ring, const RingMemory& memory, const Resume& resume) { new (&ring) Ring(memory, resume); }
  static Status try_send(Ring& ring, View message) { return ring.try_send(message); }
  static std::size_t try_send_some(Ring& ring, const std::byte* records, std::size_t count) requires OfRecords<Ring> {
    return ring.try_send_some(records, count);
  }
  static std::span<std::byte> reserve(Ring& ring, std::size_t n) { return ring.reserve(n); }
  static void commit(Ring& ring, std::size_t n) { ring.commit(n); }
  static void close(Ring& ring) { ring.close(); }
  static std::uint64_t size(const Ring& ring) { return ring.size(); }
  static Status look(const Ring& ring) { return ring.look(); }
  static bool receiver_sleeps(const Ring& ring) { return nimsync::peer_sleeps<Native>(ring.state()); }
};

template <class Ring>
struct Receiving {
  static void go_on(Ring& ring, const RingMemory& memory, const Resume& resume) { new (&ring) Ring(memory, resume); }
  static Status try_receive(Ring& ring, std::byte* record) requires OfRecords<Ring> { return ring.try_receive(record); }
  static std::size_t try_receive_some(Ring& ring, std::byte* records, std::size_t count) requires OfRecords<Ring> {
    return ring.try_receive_some(records, count);
  }
  static Status try_peek(Ring& ring, std::size_t count, View& messages) { return ring.try_peek(count, messages); }
  static void release(Ring& ring, std::size_t count) { ring.release(count); }
  static void next_stream(Ring& ring) { ring.next_stream(); }
  static std::uint64_t size(const Ring& ring) { return ring.size(); }
  static Status look(const Ring& ring) { return ring.look(); }
  static bool sender_sleeps(const Ring& ring) { return nimsync::peer_sleeps<Native>(ring.state()); }
};

template struct Sending<nimsync::StampedSender<8>>;
template struct Sending<nimsync::DenseSender<8>>;
template struct Sending<nimsync::FramedSender<>>;
template struct Receiving<nimsync::StampedReceiver<8>>;
template struct Receiving<nimsync::DenseReceiver<8>>;
template struct Receiving<nimsync::FramedReceiver<>>;

/// Somewhere else.
struct Kernel {
  nimsync::LineNews drain() noexcept;
  void ring() noexcept;
  bool membarrier() noexcept;
  bool is_removed() noexcept;
};
bool peer_lives() noexcept;

template <class Bell>
struct Sleeping {
  static void attach(Bell& bell, nimsync::layout::Barrier barrier) { bell.attach(peer_lives, barrier); }
  static std::uint64_t wake(Bell& bell, std::uint64_t rung) { return bell.wake(rung); }
  static auto step(Bell& bell) { return bell.step(); }
  static bool prepare(Bell& bell) { return bell.prepare(); }
  static void refuse(Bell& bell) { bell.refuse(); }
  static void rise(Bell& bell) { bell.rise(); }
  static bool can_sleep(const Bell& bell) { return bell.can_sleep(); }
  static auto look(Bell& bell) { return bell.look(); }
  static void count_loss(Bell& bell) { bell.count_loss(); }
};

template struct Sleeping<nimsync::Doorbell<Native, Kernel>>;

}  // namespace barriers
