// The hot operations, one function each, for hot_test.py to count and disassemble.
//
// usage: hot_operations COUNT      COUNT: messages an operation carries; a multiple of 16, at most 768
//
// Runs every operation once over channels of this process, in one thread, and compares every message with what was sent
// outside of the counted functions. Exit codes: 0 all carried, 1 not, 2 usage.
//
// A function template of namespace `hot` is an operation, its argument the channel: send<Dense8>. hot_test.py finds
// them in the table of symbols. Those of `planted` are what the test must find fault with. No call meets a ring that is
// full or empty: what runs more often with more messages is the success path, and nothing else. in_turn goes round a
// small ring, so that what happens once a lap (the sender looks for room) is in its share; the others' rings take all.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "nimsync/channel.hpp"

namespace {

constexpr std::size_t kCapacity = 1024;
constexpr std::size_t kSmallCapacity = 64;
constexpr std::size_t kLargestCount = 768;
constexpr std::size_t kBatch = 16;

}  // namespace

namespace hot {

template <std::size_t Size>
struct Message {
  std::array<std::uint64_t, Size / sizeof(std::uint64_t)> words;
  bool operator==(const Message&) const = default;
};

/// A channel: what it carries, by which type, and where.
template <class T, class Of, nimsync::Layout Kind, std::size_t Slot>
struct Channel {
  using Payload = T;
  using Sender = nimsync::Sender<Of>;
  using Receiver = nimsync::Receiver<Of>;
  static auto make(std::size_t capacity) {
    return nimsync::make_channel<Of>({.capacity = capacity * Slot, .layout = Kind});
  }
};
struct Stamped8 : Channel<Message<8>, Message<8>, nimsync::Layout::stamped, 1> {};
struct Stamped64 : Channel<Message<64>, Message<64>, nimsync::Layout::stamped, 1> {};
struct Dense8 : Channel<Message<8>, Message<8>, nimsync::Layout::dense, 1> {};
struct Dense64 : Channel<Message<64>, Message<64>, nimsync::Layout::dense, 1> {};
struct Framed64 : Channel<Message<64>, nimsync::Bytes, nimsync::Layout::framed, 128> {};

/// Where a channel's ends are kept: endpoints in memory.
template <class C>
struct Ends {
  typename C::Sender tx;
  typename C::Receiver rx;
};
template <class C>
using Sent = std::span<const typename C::Payload>;
template <class C>
using Received = std::span<typename C::Payload>;

// One message, the same words for records and frames. A frame's length is known at run time only, as it is to a program
// that needs frames.

template <class T>
[[gnu::always_inline]] inline std::size_t length_of(const T& message) {
  std::size_t length = sizeof message;
  asm("" : "+r"(length));
  return length;
}

template <class T>
[[gnu::always_inline]] inline bool send_one(nimsync::Sender<T>& tx, const T& message) {
  return static_cast<bool>(tx.try_send(message));
}
template <class T>
[[gnu::always_inline]] inline bool send_one(nimsync::Sender<nimsync::Bytes>& tx, const T& message) {
  return static_cast<bool>(tx.try_send({reinterpret_cast<const std::byte*>(&message), length_of(message)}));
}

template <class T>
[[gnu::always_inline]] inline bool receive_one(nimsync::Receiver<T>& rx, T& message) {
  return static_cast<bool>(rx.try_receive(message));
}
template <class T>
[[gnu::always_inline]] inline bool receive_one(nimsync::Receiver<nimsync::Bytes>& rx, T& message) {
  std::span<const std::byte> view;
  if (!rx.try_receive(view) || view.size() != sizeof message) return false;
  std::memcpy(&message, view.data(), sizeof message);
  rx.release();
  return true;
}

template <class T>
[[gnu::always_inline]] inline bool write_one(nimsync::Sender<T>& tx, const T& message) {
  const std::span<T> room = tx.reserve();
  if (room.empty()) return false;
  room.front() = message;
  tx.commit();
  return true;
}
template <class T>
[[gnu::always_inline]] inline bool write_one(nimsync::Sender<nimsync::Bytes>& tx, const T& message) {
  const std::size_t length = length_of(message);
  const std::span<std::byte> room = tx.reserve(length);
  if (room.data() == nullptr) return false;
  std::memcpy(room.data(), &message, sizeof message);
  tx.commit(length);
  return true;
}

template <class T>
[[gnu::always_inline]] inline bool read_one(nimsync::Receiver<T>& rx, T& message) {
  const std::span<const T> view = rx.peek();
  if (view.empty()) return false;
  message = view.front();
  rx.release();
  return true;
}
template <class T>
[[gnu::always_inline]] inline bool read_one(nimsync::Receiver<nimsync::Bytes>& rx, T& message) {
  const std::span<const std::byte> view = rx.peek();
  if (view.size() != sizeof message) return false;
  std::memcpy(&message, view.data(), sizeof message);
  rx.release();
  return true;
}

// The operations. Each returns how many messages it carried. The endpoint is moved into a local variable as channel.hpp
// says, or stays a member.

template <class C>
[[gnu::noinline]] std::size_t send(Ends<C>& ends, Sent<C> messages) {
  auto tx = std::move(ends.tx);
  std::size_t sent = 0;
  while (sent != messages.size() && send_one(tx, messages[sent])) ++sent;
  ends.tx = std::move(tx);
  return sent;
}

template <class C>
[[gnu::noinline]] std::size_t receive(Ends<C>& ends, Received<C> messages) {
  auto rx = std::move(ends.rx);
  std::size_t received = 0;
  while (received != messages.size() && receive_one(rx, messages[received])) ++received;
  ends.rx = std::move(rx);
  return received;
}

template <class C>
[[gnu::noinline]] std::size_t send_member(Ends<C>& ends, Sent<C> messages) {
  std::size_t sent = 0;
  while (sent != messages.size() && send_one(ends.tx, messages[sent])) ++sent;
  return sent;
}

template <class C>
[[gnu::noinline]] std::size_t receive_member(Ends<C>& ends, Received<C> messages) {
  std::size_t received = 0;
  while (received != messages.size() && receive_one(ends.rx, messages[received])) ++received;
  return received;
}

/// reserve and commit.
template <class C>
[[gnu::noinline]] std::size_t send_in_place(Ends<C>& ends, Sent<C> messages) {
  auto tx = std::move(ends.tx);
  std::size_t sent = 0;
  while (sent != messages.size() && write_one(tx, messages[sent])) ++sent;
  ends.tx = std::move(tx);
  return sent;
}

/// peek and release.
template <class C>
[[gnu::noinline]] std::size_t receive_in_place(Ends<C>& ends, Received<C> messages) {
  auto rx = std::move(ends.rx);
  std::size_t received = 0;
  while (received != messages.size() && read_one(rx, messages[received])) ++received;
  ends.rx = std::move(rx);
  return received;
}

/// Sixteen records a call; counted a call.
template <class C>
[[gnu::noinline]] std::size_t send_some(Ends<C>& ends, Sent<C> messages) {
  auto tx = std::move(ends.tx);
  std::size_t sent = 0;
  while (sent != messages.size() && tx.try_send_some(messages.subspan(sent, kBatch)) == kBatch) sent += kBatch;
  ends.tx = std::move(tx);
  return sent;
}

template <class C>
[[gnu::noinline]] std::size_t receive_some(Ends<C>& ends, Received<C> messages) {
  auto rx = std::move(ends.rx);
  std::size_t received = 0;
  while (received != messages.size() && rx.try_receive_some(messages.subspan(received, kBatch)) == kBatch) {
    received += kBatch;
  }
  ends.rx = std::move(rx);
  return received;
}

/// Both ends in one loop, each message received before the next is sent: both need registers at once.
template <class C>
[[gnu::noinline]] std::size_t in_turn(Ends<C>& ends, Sent<C> messages, Received<C> copies) {
  auto tx = std::move(ends.tx);
  auto rx = std::move(ends.rx);
  std::size_t carried = 0;
  while (carried != messages.size() && send_one(tx, messages[carried]) && receive_one(rx, copies[carried])) ++carried;
  ends.tx = std::move(tx);
  ends.rx = std::move(rx);
  return carried;
}

}  // namespace hot

/// What no hot operation may do, each once a message. `C` as above.
namespace planted {

using hot::Ends;
using hot::Sent;

std::atomic<std::uint64_t> shared{0};

/// Sends, and does something `more` after each message.
template <class C, class More>
[[gnu::always_inline]] inline std::size_t send_and(Ends<C>& ends, Sent<C> messages, More more) {
  auto tx = std::move(ends.tx);
  std::size_t sent = 0;
  while (sent != messages.size() && hot::send_one(tx, messages[sent])) {
    ++sent;
    more();
  }
  ends.tx = std::move(tx);
  return sent;
}

/// What the compiler makes of a fence: `lock or` or `mfence`.
template <class C>
[[gnu::noinline]] std::size_t fence(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { std::atomic_thread_fence(std::memory_order_seq_cst); });
}

template <class C>
[[gnu::noinline]] std::size_t locked_counter(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { shared.fetch_add(1, std::memory_order_relaxed); });
}

template <class C>
[[gnu::noinline]] std::size_t exchange(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [&] { shared.exchange(messages.size(), std::memory_order_acq_rel); });
}

template <class C>
[[gnu::noinline]] std::size_t allocation(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] {
    auto* number = new std::uint64_t{1};
    asm volatile("" : "+r"(number) : : "memory");  // not to be optimised away
    delete number;
  });
}

template <class C>
[[gnu::noinline]] std::size_t call_of_a_function(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { static_cast<void>(std::rand()); });
}

// The instructions that no compiler makes of the above; nothing of it is meant for another architecture.
#if defined(__x86_64__)
template <class C>
[[gnu::noinline]] std::size_t full_fence(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { asm volatile("mfence" : : : "memory"); });
}

template <class C>
[[gnu::noinline]] std::size_t store_fence(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { asm volatile("sfence" : : : "memory"); });
}

template <class C>
[[gnu::noinline]] std::size_t load_fence(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { asm volatile("lfence" : : : "memory"); });
}

/// Into another function and back, without a call.
template <class C>
[[gnu::noinline]] std::size_t jump_out(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] {
    asm volatile(
        "jmp 1f\n"
        "2:\n"
        ".pushsection .text.elsewhere, \"ax\", @progbits\n"
        ".type elsewhere, @function\n"
        "elsewhere:\n"
        "1: jmp 2b\n"
        ".size elsewhere, . - elsewhere\n"
        ".popsection");
  });
}

/// As a register that the compiler ran out of.
template <class C>
[[gnu::noinline]] std::size_t spilled_store(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] { asm volatile("mov %%rax, -8(%%rsp)" : : : "memory"); });
}

template <class C>
[[gnu::noinline]] std::size_t system_call(Ends<C>& ends, Sent<C> messages) {
  return send_and(ends, messages, [] {
    std::uint64_t number = 39;  // getpid
    asm volatile("syscall" : "+a"(number) : : "rcx", "r11", "memory");
  });
}
#endif

}  // namespace planted

namespace {

bool all_carried = true;

template <class C>
std::vector<typename C::Payload> numbered(std::size_t count) {
  std::vector<typename C::Payload> messages(count);
  std::uint64_t word = 0;
  for (auto& message : messages) {
    for (auto& each : message.words) each = ++word * 0x9e3779b97f4a7c15;
  }
  return messages;
}

/// So that the compiler neither clones the function nor knows who calls it.
template <class Function>
Function* unknown(Function* function) {
  asm("" : "+r"(function));
  return function;
}

void judge(bool carried, const char* what) {
  if (carried) return;
  all_carried = false;
  std::cerr << "not what was sent: " << what << '\n';
}

template <class C>
using SendFunction = std::size_t(hot::Ends<C>&, hot::Sent<C>);
template <class C>
using ReceiveFunction = std::size_t(hot::Ends<C>&, hot::Received<C>);

/// Sends by the one and receives by the other, over a channel of their own.
template <class C>
void carry(std::size_t count, const char* what, SendFunction<C>* send, ReceiveFunction<C>* receive) {
  auto [tx, rx] = C::make(kCapacity);
  hot::Ends<C> ends{std::move(tx), std::move(rx)};
  const auto messages = numbered<C>(count);
  std::vector<typename C::Payload> copies(count);
  const bool sent = unknown(send)(ends, messages) == count;
  const bool received = unknown(receive)(ends, copies) == count;
  judge(sent && received && copies == messages && ends.rx.is_empty(), what);
}

template <class C>
void carry_in_turn(std::size_t count) {
  auto [tx, rx] = C::make(kSmallCapacity);
  hot::Ends<C> ends{std::move(tx), std::move(rx)};
  const auto messages = numbered<C>(count);
  std::vector<typename C::Payload> copies(count);
  const bool carried = unknown(hot::in_turn<C>)(ends, messages, copies) == count;
  judge(carried && copies == messages && ends.rx.is_empty(), "in turn");
}

template <class C>
void run(std::size_t count) {
  carry<C>(count, "one call a message", hot::send<C>, hot::receive<C>);
  carry<C>(count, "by members", hot::send_member<C>, hot::receive_member<C>);
  carry<C>(count, "in place", hot::send_in_place<C>, hot::receive_in_place<C>);
  if constexpr (!std::is_same_v<C, hot::Framed64>) {
    carry<C>(count, "some at once", hot::send_some<C>, hot::receive_some<C>);
  }
  carry_in_turn<C>(count);
}

template <class C>
void run_planted(std::size_t count) {
  // Not an operation of `hot`: that would be counted once for each of these.
  const auto receive = [](hot::Ends<C>& ends, hot::Received<C> messages) {
    std::size_t received = 0;
    while (received != messages.size() && hot::receive_one(ends.rx, messages[received])) ++received;
    return received;
  };
  carry<C>(count, "planted: fence", planted::fence<C>, receive);
  carry<C>(count, "planted: locked counter", planted::locked_counter<C>, receive);
  carry<C>(count, "planted: exchange", planted::exchange<C>, receive);
  carry<C>(count, "planted: allocation", planted::allocation<C>, receive);
  carry<C>(count, "planted: call", planted::call_of_a_function<C>, receive);
#if defined(__x86_64__)
  carry<C>(count, "planted: mfence", planted::full_fence<C>, receive);
  carry<C>(count, "planted: sfence", planted::store_fence<C>, receive);
  carry<C>(count, "planted: lfence", planted::load_fence<C>, receive);
  carry<C>(count, "planted: jump out", planted::jump_out<C>, receive);
  carry<C>(count, "planted: spilled store", planted::spilled_store<C>, receive);
  carry<C>(count, "planted: system call", planted::system_call<C>, receive);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc == 2 ? std::strtoul(argv[1], nullptr, 10) : 0;
  if (count == 0 || count > kLargestCount || count % kBatch != 0) {
    std::cerr << "usage: hot_operations COUNT      a multiple of 16, at most 768\n";
    return 2;
  }
  run<hot::Stamped8>(count);
  run<hot::Stamped64>(count);
  run<hot::Dense8>(count);
  run<hot::Dense64>(count);
  run<hot::Framed64>(count);
  run_planted<hot::Dense8>(count);
  return all_carried ? 0 : 1;
}
