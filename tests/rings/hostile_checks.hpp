// A peer that writes anything: every shared word that a side reads is a lie from a seed, or the peer's segment is
// scribbled over between the calls. What is chosen comes from a seed (Random), or from the bytes of a fuzzer
// (tests/fuzz/bytes.hpp): `Choices` is either.
//
// Whatever it reads, a side answers with a status that its function documents; makes no more shared reads in a call
// than the call's bound; reads only inside the segments, aligned; writes only inside its own, and there never over the
// identity; shows and offers only places inside the ring; and never says that more than the capacity is in use.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/rings/channel.hpp"
#include "tests/rings/watched.hpp"

namespace nimsync::rings_test {

enum class Side : std::uint8_t { sender, receiver };
enum class Malice : std::uint8_t { lies, scribbles };

/// Checks each access against the segments, counts the reads, and lies if it is to.
template <class Choices>
class Guard final : public Observer {
 public:
  Guard(const Mapping& mapping, Side side, Malice malice, Choices& random)
      : mapping_(mapping), side_(side), malice_(malice), random_(random) {}

  bool before_load(const std::uint64_t* from) noexcept override {
    ++reads_;
    if (reinterpret_cast<std::uintptr_t>(from) % sizeof *from != 0) return fail("a misaligned load");
    return mapping_.forward().holds(from, sizeof *from) || mapping_.back().holds(from, sizeof *from) ||
           fail("a load outside the segments");
  }
  std::uint64_t loaded(const std::uint64_t*, std::uint64_t value) noexcept override {
    return malice_ == Malice::lies ? lie(value) : value;
  }
  bool before_store(const std::uint64_t* to) noexcept override {
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof *to != 0) return fail("a misaligned store");
    return own().holds(to, sizeof *to) || fail("a store outside its own segment");
  }
  bool before_copy(const std::byte* to, const std::byte* from, std::size_t bytes) noexcept override {
    const std::byte* const shared = side_ == Side::sender ? to : from;
    const std::byte* const priv = side_ == Side::sender ? from : to;
    if (!mapping_.ring().holds(shared, bytes)) return fail("a copy outside the ring");
    return !mapping_.reserved().touches(priv, bytes) || fail("a copy within the segments");
  }

  /// Something near to the truth, or one of the values at which code breaks, or anything.
  std::uint64_t lie(std::uint64_t value) noexcept {
    const std::uint64_t capacity = mapping_.memory().geometry.capacity;
    switch (random_.below(16)) {
      case 0:
        return 0;
      case 1:
        return ~std::uint64_t{0};
      case 2:
        return random_.next();
      case 3:
        return value + random_.below(5) - 2;
      case 4:
        return value + capacity + random_.below(3) - 1;
      case 5:
        return value - capacity + random_.below(3) - 1;
      case 6:
        return value ^ layout::stream_tag(random_.below(256));
      case 7:
        return value + 8 * (random_.below(2 * capacity) - capacity);
      case 8:
        return layout::mark(random_.below(2 * capacity + 2), random_.below(3));
      case 9:
        return value ^ (std::uint64_t{1} << random_.below(64));
      default:
        return value;
    }
  }

  [[nodiscard]] std::uint64_t take_reads() noexcept { return std::exchange(reads_, 0); }
  [[nodiscard]] const char* failure() const { return failure_; }

 private:
  [[nodiscard]] Range own() const {
    const Range whole = side_ == Side::sender ? mapping_.forward() : mapping_.back();
    return {whole.begin + offsetof(layout::Header, attached), whole.end};
  }
  bool fail(const char* what) noexcept {
    failure_ = what;
    return false;
  }

  const Mapping& mapping_;
  Side side_;
  Malice malice_;
  Choices& random_;
  std::uint64_t reads_ = 0;
  const char* failure_ = nullptr;
};

/// One channel, attacked once a seed.
class Attack {
 public:
  Attack(const Kind& kind, std::uint64_t capacity) : channel_(kind, capacity), fresh_(channel_.mapping().image()) {}

  void run(std::uint64_t seed, Side side, Malice malice) try {
    Random random(seed);
    run(random, kCalls, side, malice);
  } catch (const Broken& broken) {
    throw Broken(std::string(side == Side::sender ? "sender, " : "receiver, ") +
                 (malice == Malice::lies ? "lies" : "scribbles") + ", seed " + std::to_string(seed) + ": " +
                 broken.what());
  }

  /// So many calls, and what else there is to choose from `random`.
  template <class Choices>
  void run(Choices& random, int calls, Side side, Malice malice) try {
    channel_.mapping().restore(fresh_);
    const std::uint64_t capacity = channel_.geometry().capacity;
    const std::uint64_t positions[] = {0, capacity - 8 * (capacity >= 8 ? 1U : 0U), 3 * capacity,
                                       std::uint64_t{1} << 32U, layout::kPositionMask + 1 - 16 * capacity};
    const std::uint64_t at = positions[random.below(std::size(positions))];
    channel_.mapping().start_at(channel_.kind().framed() ? at & ~std::uint64_t{7} : at, random.below(300));
    Guard guard(channel_.mapping(), side, malice, random);
    const Watching watching(guard);
    if (side == Side::sender) {
      attack_sender(guard, random, calls, malice);
    } else {
      attack_receiver(guard, random, calls, malice);
    }
  } catch (const Broken& broken) {
    throw Broken(channel_.kind().name + ", capacity " + std::to_string(channel_.geometry().capacity) + ": " +
                 broken.what());
  }

 private:
  static constexpr int kCalls = 12;
  static constexpr std::uint64_t kSearch = layout::kHintEvery + 1;

  template <class Choices>
  void settle(Guard<Choices>& guard, const char* call, std::uint64_t bound) const {
    require(guard.failure() == nullptr, std::string(call) + ": " + (guard.failure() ? guard.failure() : ""));
    const std::uint64_t reads = guard.take_reads();
    require(reads <= bound, std::string(call) + " made " + std::to_string(reads) + " shared reads");
  }
  static void allow(Status status, std::initializer_list<Status::Code> codes, const char* call) {
    require(std::find(codes.begin(), codes.end(), static_cast<Status::Code>(status)) != codes.end(),
            std::string(call) + " says " + text(status));
  }

  /// Writes over words of the segment that `side` doesn't own; at times the whole of it.
  template <class Choices>
  void scribble(Guard<Choices>& guard, Choices& random, Side side) const {
    std::byte* const begin = side == Side::sender ? channel_.memory().back : channel_.memory().forward;
    const std::size_t words = (side == Side::sender ? sizeof(layout::Header)
                                                    : static_cast<std::size_t>(channel_.memory().ring - begin) +
                                                          layout::ring_bytes(channel_.geometry())) /
                              sizeof(std::uint64_t);
    std::uint64_t count = 1 + random.below(4);
    if (random.below(64) == 0) count = words;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint64_t at = count == words ? i : random.below(words);
      if (count != words && random.below(2) == 0) at = offsetof(layout::Header, position) / sizeof(std::uint64_t);
      if (count != words && random.below(4) == 0) at = offsetof(layout::Header, streams) / sizeof(std::uint64_t);
      std::uint64_t word = 0;
      std::memcpy(&word, begin + at * sizeof word, sizeof word);
      word = guard.lie(word);
      std::memcpy(begin + at * sizeof word, &word, sizeof word);
    }
  }

  template <class Choices>
  void attack_sender(Guard<Choices>& guard, Choices& random, int calls, Malice malice) {
    const Geometry& geometry = channel_.geometry();
    const bool framed = channel_.kind().framed();
    const auto resume = channel_.kind().resume_sending(channel_.memory());
    settle(guard, "find_tail", kSearch);
    if (!resume) return;
    const auto sender = channel_.kind().sending(channel_.memory(), *resume);
    bool closed = false;
    for (int call = 0; call < calls; ++call) {
      if (malice == Malice::scribbles) scribble(guard, random, Side::sender);
      switch (random.below(8)) {
        case 0:
        case 1: {
          const Status status = sender->try_send(channel_.message(random.below(1000)));
          if (closed) require(status == Status::closed, "a closed sender says " + text(status));
          allow(status, {Status::ok, Status::would_block, Status::corrupted, Status::closed}, "try_send");
          settle(guard, "try_send", 1);
          break;
        }
        case 2: {
          if (framed) break;
          const std::uint64_t count = random.below(2 * geometry.capacity + 1);
          require(sender->try_send_some(Message(count * geometry.size)) <= count, "try_send_some sent too many");
          settle(guard, "try_send_some", geometry.layout == Layout::dense ? 1 : count + 1);
          break;
        }
        case 3:
        case 4: {
          const std::uint64_t n = random.below(framed ? geometry.size + 3 : geometry.capacity + 3);
          const std::span<std::byte> room = sender->reserve(n);
          settle(guard, "reserve", 1);
          if (room.data() == nullptr) break;
          require(channel_.mapping().ring().holds(room.data(), room.size()), "reserve offers what isn't in the ring");
          require(room.size() <= (framed ? n : n * geometry.size), "reserve offers too much");
          std::fill(room.begin(), room.end(), std::byte{0xff});
          const std::uint64_t reserved = framed ? room.size() : room.size() / geometry.size;
          sender->commit(random.below(reserved + 1));
          settle(guard, "commit", 0);
          break;
        }
        case 5:
          require(sender->size() <= geometry.capacity, "the sender's size is above its capacity");
          settle(guard, "size", 1);
          break;
        case 6:
          allow(sender->look(), {Status::ok, Status::would_block, Status::corrupted, Status::closed}, "look");
          settle(guard, "look", 1);
          break;
        default:
          if (random.below(8) != 0) break;
          sender->close();
          closed = true;
          settle(guard, "close", 0);
          break;
      }
    }
  }

  template <class Choices>
  void attack_receiver(Guard<Choices>& guard, Choices& random, int calls, Malice malice) {
    const Geometry& geometry = channel_.geometry();
    const bool framed = channel_.kind().framed();
    const auto receiver = channel_.receiver();
    {
      // Something true to lie about. Its sender isn't watched.
      Watched::observer = nullptr;
      const auto sender = channel_.sender();
      for (std::uint64_t i = random.below(4); i > 0; --i) static_cast<void>(sender->try_send(channel_.message(i)));
      if (random.below(3) == 0) {
        sender->close();
        static_cast<void>(channel_.sender()->try_send(channel_.message(9)));
      }
      Watched::observer = &guard;
    }
    const std::initializer_list<Status::Code> documented = {Status::ok, Status::would_block, Status::corrupted,
                                                            Status::closed};
    Message message;
    for (int call = 0; call < calls; ++call) {
      if (malice == Malice::scribbles) scribble(guard, random, Side::receiver);
      switch (random.below(7)) {
        case 0:
        case 1: {
          const Status status = receiver->try_receive(message);
          allow(status, documented, "try_receive");
          settle(guard, "try_receive", 3);
          require(status != Status::ok || message.size() <= geometry.size, "a message above the maximum");
          if (status == Status::closed) receiver->next_stream();
          break;
        }
        case 2: {
          if (framed) break;
          const std::uint64_t count = random.below(2 * geometry.capacity + 1);
          Message batch(count * geometry.size);
          require(receiver->try_receive_some(batch) <= count, "try_receive_some received too many");
          settle(guard, "try_receive_some", geometry.layout == Layout::dense ? 3 : count + 3);
          break;
        }
        case 3:
        case 4: {
          const std::uint64_t n = random.below(geometry.layout == Layout::framed ? 2 : geometry.capacity + 2);
          View shown;
          const Status status = receiver->try_peek(n, shown);
          allow(status, documented, "try_peek");
          settle(guard, "try_peek", 3);
          if (status == Status::closed) receiver->next_stream();
          if (status != Status::ok || shown.data() == nullptr) break;
          require(channel_.mapping().ring().holds(shown.data(), shown.size()), "peek shows what isn't in the ring");
          require(shown.size() <= (framed ? geometry.size : n * geometry.size), "peek shows too much");
          receiver->release(random.below((framed ? 1 : shown.size() / geometry.size) + 1));
          settle(guard, "release", 0);
          break;
        }
        case 5:
          require(receiver->size() <= geometry.capacity, "the receiver's size is above its capacity");
          settle(guard, "size", 1 + kSearch);
          break;
        default:
          allow(receiver->look(), documented, "look");
          settle(guard, "look", 3);
          break;
      }
    }
  }

  Channel channel_;
  Image fresh_;
};

inline void check_hostile(const Kind& kind, std::uint64_t capacity, Side side, Malice malice, std::uint64_t first_seed,
                          std::uint64_t seeds) {
  Attack attack(kind, capacity);
  for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) attack.run(seed, side, malice);
}

/// Values that no honest peer writes, one by one: the side that meets them says corrupted, and says it again.
inline void check_corruption(const Kind& kind, std::uint64_t capacity) {
  const auto position = [](Channel& channel) -> std::uint64_t& { return channel.memory().return_header()->position; };
  // The head: ahead of the tail, or more than the ring behind it.
  for (const std::uint64_t wrong : {std::uint64_t{5} * 8, ~std::uint64_t{0} - 5 * capacity, std::uint64_t{1} << 63U}) {
    Channel channel(kind, capacity);
    const auto sender = channel.sender();
    position(channel) = wrong;
    require(sender->look() == Status::corrupted && sender->try_send(channel.message(1)) == Status::corrupted &&
                sender->reserve(1).data() == nullptr && sender->try_send(channel.message(1)) == Status::corrupted,
            kind.name + ": a sender believes a head at " + std::to_string(wrong));
    require(sender->size() <= capacity, kind.name + ": a sender's size is above its capacity");
    position(channel) = 0;
    require(sender->try_send(channel.message(1)) == Status::ok,
            kind.name + ": a sender doesn't go on with a right head");
  }
  const auto meets = [&](const char* what, auto spoil) {
    Channel channel(kind, capacity);
    const auto receiver = channel.receiver();
    spoil(channel);
    Message message;
    View shown;
    require(receiver->look() == Status::corrupted && receiver->try_receive(message) == Status::corrupted &&
                receiver->try_peek(1, shown) == Status::corrupted && shown.data() == nullptr,
            kind.name + ": a receiver believes " + what);
    require(receiver->size() <= capacity, kind.name + ": a receiver's size is above the capacity");
  };
  const auto set = [](std::byte* at, std::uint64_t value) { std::memcpy(at, &value, sizeof value); };
  switch (kind.layout) {
    case Layout::stamped:
      for (const std::uint64_t stamp : {std::uint64_t{2}, ~std::uint64_t{0}, 1 + capacity, layout::mark(1, 1)}) {
        meets("a stamp of no lap",
              [&](Channel& channel) { set(channel.memory().ring + layout::stamp_offset(kind.size), stamp); });
      }
      break;
    case Layout::dense:
      for (const std::uint64_t tail : {capacity + 1, layout::kPositionMask, layout::mark(1, 1)}) {
        meets("a tail of no lap", [&](Channel& channel) { channel.memory().forward_header()->common.position = tail; });
      }
      break;
    case Layout::framed:
      for (const std::uint64_t length : {largest(capacity) + 1, layout::kPositionMask - 1, std::uint64_t{1} << 55U}) {
        meets("the length of a frame",
              [&](Channel& channel) { set(channel.memory().ring, layout::frame_word(length, 0)); });
      }
      meets("a word of a stream that wasn't begun",
            [&](Channel& channel) { set(channel.memory().ring, layout::frame_word(8, 1)); });
      meets("a word without a length", [&](Channel& channel) { set(channel.memory().ring, layout::stream_tag(1)); });
      break;
  }
  meets("more ends than may wait",
        [](Channel& channel) { channel.memory().forward_header()->common.streams = layout::kStreamEnds + 1; });
  meets("fewer streams than there were",
        [](Channel& channel) { channel.memory().forward_header()->common.streams = ~std::uint64_t{0}; });
  meets("an end that it has passed", [](Channel& channel) {
    channel.memory().forward_header()->common.streams = 1;
    channel.memory().forward_header()->ends[0] = ~std::uint64_t{0} - 7;
  });
}

}  // namespace nimsync::rings_test
