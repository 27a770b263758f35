// Attaching to a channel whose two segments hold anything. layout::mismatch refuses every identity but the right one;
// attaching then gives a position that an honest peer may have left, or says `corrupted` (`over_limit`: too many
// streams wait); and an endpoint that attached goes on over that memory with the statuses of its functions.
//
// The bytes: which layout, which side, what is in the ring; then the words of both headers, each a change of the right
// one (0: as it is), and the words of the ring.
#include <unistd.h>

#include <array>

#include "client/attachment.hpp"
#include "os/line.hpp"
#include "tests/fuzz/bytes.hpp"
#include "tests/rings/channel.hpp"

namespace nimsync::fuzz {
namespace {

using rings_test::Kind;
using rings_test::require;

constexpr std::uint64_t kGeneration = 1;  // what rings_test::Segments have

/// A channel's memory, mapped as an endpoint maps it; filled anew for each input.
class Prey {
 public:
  Prey(const Kind& kind, std::uint64_t capacity)
      : kind_(kind), segments_(rings_test::geometry(kind, capacity)), mapping_(map(segments_)) {}

  void attach(Bytes& bytes) {
    const RingMemory& memory = mapping_.memory();
    const Geometry& geometry = memory.geometry;
    const Role role = bytes.below(2) == 0 ? Role::sender : Role::receiver;
    const layout::Header right = layout::identity(geometry, kGeneration, os::page_bytes());
    layout::ForwardHeader forward{.common = right, .ends = {}};
    layout::Header back = right;
    spoil(bytes, &forward, sizeof forward);
    spoil(bytes, &back, sizeof back);
    std::memcpy(memory.forward, &forward, sizeof forward);
    std::memcpy(memory.back, &back, sizeof back);
    std::memset(memory.ring, 0, layout::ring_bytes(geometry));
    spoil(bytes, memory.ring, std::min<std::uint64_t>(layout::ring_bytes(geometry), 1024));

    for (const layout::Header* header : {&forward.common, &back}) {
      const bool same = std::memcmp(header, &right, offsetof(layout::Header, attached)) == 0;
      require(layout::mismatch(*header, right).has_value() != same, "another identity than the right one passes");
    }

    // The right identity from here on: nobody else gets to attach.
    std::memcpy(memory.forward, &right, offsetof(layout::Header, attached));
    std::memcpy(memory.back, &right, offsetof(layout::Header, attached));
    os::PrivateLine own = os::make_private_line();
    os::PrivateLine peer = os::make_private_line();
    internal::Attached attached;
    try {
      attached = internal::attach({.name = "fuzzed",
                                   .role = role,
                                   .wait = kDefaultWait,
                                   .mapping = mapping_,
                                   .own_line = std::move(own.holder),
                                   .peer_line = std::move(peer.watcher),
                                   .line_reader = std::move(own.reader)});
    } catch (const Error& e) {
      require(e.errc() == Errc::corrupted || e.errc() == Errc::over_limit, std::string("attaching says ") + e.what());
      return;
    }
    require_possible(role, attached.resume, forward.common.streams, back);
    if (role == Role::sender) {
      send(bytes, attached);
    } else {
      receive(bytes, attached);
    }
    internal::detach(attached.attachment);
  }

 private:
  static os::Mapping map(const rings_test::Segments& segments) {
    const os::Descriptor forward(::dup(segments.forward()));
    const os::Descriptor back(::dup(segments.back()));
    return {forward, os::Access::read_write, back, os::Access::read_write, segments.geometry()};
  }

  /// Changes words of what is there: how far to the next (255: no more), how, and the word.
  static void spoil(Bytes& bytes, void* what, std::size_t size) {
    auto* const begin = static_cast<std::byte*>(what);
    std::size_t at = 0;
    for (std::size_t changes = 0; changes < 64 && bytes.left() > 0; ++changes) {
      const std::uint64_t step = bytes.below(256);
      if (step == 255) return;
      at = (at + step) % (size / sizeof(std::uint64_t));
      std::uint64_t word = 0;
      std::memcpy(&word, begin + at * sizeof word, sizeof word);
      switch (bytes.below(4)) {
        case 0:
          word = bytes.below(256);
          break;
        case 1:
          word += bytes.below(256);
          break;
        case 2:
          word ^= std::uint64_t{1} << bytes.below(64);
          break;
        default:
          word = bytes.next();
          break;
      }
      std::memcpy(begin + at * sizeof word, &word, sizeof word);
    }
  }

  void require_possible(Role role, const Resume& resume, std::uint64_t streams, const layout::Header& back) const {
    const Geometry& geometry = segments_.geometry();
    require(geometry.layout != Layout::framed || resume.position % layout::kFrameWord == 0,
            "attached between two words");
    if (role == Role::sender) {
      require(resume.position - back.position <= geometry.capacity, "attached beyond the ring");
      require(resume.stream == streams && streams - back.streams < layout::kStreamEnds, "attached to no stream");
    } else {
      require(resume.position == back.position && resume.position <= layout::kPositionMask, "attached at no position");
      require(resume.stream == back.streams, "attached to no stream");
    }
  }

  static void allow(Status status, const char* call) {
    const bool known = status == Status::ok || status == Status::would_block || status == Status::corrupted ||
                       status == Status::closed;
    require(known, std::string(call) + " says " + rings_test::text(status));
  }

  void send(Bytes& bytes, const internal::Attached& attached) const {
    const auto sender = kind_.sending(attached.memory, attached.resume);
    for (std::uint64_t calls = bytes.below(24); calls > 0; --calls) {
      allow(sender->try_send(rings_test::message(segments_.geometry(), calls)), "try_send");
      allow(sender->look(), "look");
      require(sender->size() <= sender->capacity(), "a size above the capacity");
      const Status status = internal::look(attached.attachment);
      require(status == Status::ok || status == Status::peer_lost, "check says " + rings_test::text(status));
    }
    static_cast<void>(internal::arm(attached.attachment));
  }

  void receive(Bytes& bytes, const internal::Attached& attached) const {
    const auto receiver = kind_.receiving(attached.memory, attached.resume);
    rings_test::Message message;
    for (std::uint64_t calls = bytes.below(24); calls > 0; --calls) {
      const Status status = receiver->try_receive(message);
      allow(status, "try_receive");
      if (status == Status::closed) receiver->next_stream();
      allow(receiver->look(), "look");
      require(receiver->size() <= receiver->capacity(), "a size above the capacity");
      const Status checked = internal::look(attached.attachment);
      require(checked == Status::ok || checked == Status::peer_lost, "check says " + rings_test::text(checked));
    }
    static_cast<void>(internal::arm(attached.attachment));
  }

  Kind kind_;
  rings_test::Segments segments_;
  os::Mapping mapping_;
};

}  // namespace
}  // namespace nimsync::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nimsync;
  using namespace nimsync::rings_test;
  static std::array<fuzz::Prey, 3> prey{fuzz::Prey{stamped<Native, 8>(), 4}, fuzz::Prey{dense<Native, 8>(), 4},
                                        fuzz::Prey{framed<Native>(), page()}};
  fuzz::Bytes bytes(data, size);
  fuzz::Prey& each = prey[bytes.below(prey.size())];
  each.attach(bytes);
  return 0;
}
