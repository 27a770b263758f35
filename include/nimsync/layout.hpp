// Every byte that two processes share: what lies where, and who writes it.
//
// A channel has two segments, each with one writer. They begin alike:
//
//              forward segment (the sender writes)      return segment (the receiver writes)
//      0  +--------------------------------------+  +--------------------------------------+
//         | identity, epochs, counts: cold       |  | identity, epochs, counts: cold       |
//    128  +--------------------------------------+  +--------------------------------------+
//         | position: tail (dense), hint (others)|  | position: head                       |
//    192  | stalls                               |  | stalls                               |
//    256  +--------------------------------------+  +--------------------------------------+
//         | where the last 32 streams ended      |
//    512  +--------------------------------------+  (or one page, framed: the ring is mapped twice)
//         | the ring                             |
//         +--------------------------------------+
//
// Positions count messages (records) or bytes (frames) since the channel was made. They are 64 bits wide, count
// up for ever and are masked on use. A position that is published to the peer as a *mark* carries the number of
// its stream, modulo 256, in its top byte: a receiver whose own stream has another number has reached the end of a
// stream, and learns so from the word that it reads anyway. "For ever" is therefore 2^56: five years at 400 million a
// second.
//
// The ring, by layout:
//   stamped  slot: payload, padding to 8, stamp; each slot a multiple of 64 bytes, so that a payload of up to
//            56 bytes shares its stamp's line. The stamp is the mark of position+1; its store commits the message.
//   dense    elements back to back; the mark of the tail, stored to the header's position, commits.
//   framed   word, payload, padding to 8. The word is the stream in the top byte, and length+1; zero where no
//            frame begins. Its store commits; the sender has zeroed the word behind the frame before.
//
// The daemon writes the identity before it publishes a segment; after that a segment has its one writer.
// Everything is little-endian (x86-64, aarch64) and position-independent. Line sizes are constants of this layout and
// not of the compiler: std::hardware_destructive_interference_size would change under an installed peer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nimsync {
inline namespace v1 {

/// How a ring arranges its messages. The values are part of the format.
enum class Layout : std::uint32_t { stamped = 1, dense = 2, framed = 3 };

/// Its word in requests, tables and options. Static storage.
constexpr std::string_view name(Layout layout) noexcept {
  switch (layout) {
    case Layout::stamped:
      return "stamped";
    case Layout::dense:
      return "dense";
    case Layout::framed:
      return "framed";
  }
  return "unknown";
}

/// The two sides of a channel.
enum class Role : std::uint8_t { sender, receiver };

/// What a channel is made of; private memory, from the registry's answer, compared with the headers once at attach.
struct Geometry {
  Layout layout = Layout::stamped;
  std::uint64_t size = 0;      // bytes of a record; of the largest frame's payload
  std::uint64_t capacity = 0;  // a power of two: records; bytes of ring (frames)

  bool operator==(const Geometry&) const = default;
};

namespace layout {

inline constexpr std::uint64_t kMagic = 0x00636e79736d696eU;  // "nimsync\0" as the bytes lie
inline constexpr std::uint32_t kVersion = 2;
/// Owners' fields are two cache lines apart, because neighbours are prefetched in pairs: 1.1 to 2.2 times the rate of
/// 64 bytes in a prototype.
inline constexpr std::size_t kOwnerLine = 128;
inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kStreamEnds = 32;  // ended streams that may wait for a receiver
inline constexpr std::size_t kHintEvery = 64;   // messages between two stores of the hint
inline constexpr std::size_t kFrameWord = 8;

/// How the owner of a header orders what it publishes against its peer's sleep, and its own sleep against what the peer
/// publishes (sleep.hpp).
enum class Barrier : std::uint64_t {
  none = 0,        // nobody attached yet
  membarrier = 1,  // its process takes part in membarrier(2), and it asks for one before it sleeps
  fence = 2,       // could not register: a fence with each publication, and no sleep on the line
  refused = 3,     // registered, and then was refused a membarrier: no sleep on the line
};

/// Its word in tables and replies; empty for none and for what nobody writes. Static storage.
constexpr std::string_view name(Barrier barrier) noexcept {
  switch (barrier) {
    case Barrier::membarrier:
      return "membarrier";
    case Barrier::fence:
      return "fence";
    case Barrier::refused:
      return "refused";
    case Barrier::none:
      break;
  }
  return {};
}

/// The first 256 bytes of either segment. "Owner" is the sender in the forward segment, the receiver in the return one.
struct alignas(kOwnerLine) Header {
  // Written by the daemon, once.
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t layout;
  std::uint64_t generation;  // of the channel; a name used again gets another
  std::uint64_t size;        // of a record; of the largest frame's payload
  std::uint64_t capacity;    // records; bytes of ring (frames)
  std::uint64_t ring;        // offset of the ring in the forward segment
  // Written by the owner, seldom.
  std::uint64_t attached;     // owners that ever attached
  std::uint64_t streams;      // forward: streams closed; return: closed streams whose end was returned
  std::uint64_t losses;       // lost peers that the owner's side was told of
  std::uint64_t sleeps;       // times that a blocking call gave the processor away, or that it was armed
  std::uint64_t sleep_epoch;  // odd while the owner sleeps until it is rung; another number each time
  std::uint64_t barrier;      // a Barrier: how the owner orders sleeping and publishing
  std::uint64_t rings;        // doorbell writes by the owner
  std::uint64_t spurious;     // times that the owner was rung and found nothing
  std::uint64_t reserved[2];  // zero
  // Written by the owner, often, and read by the peer; alone on its line.
  alignas(kOwnerLine) std::uint64_t position;
  std::uint64_t unused[7];  // zero
  // Written by the owner, often, and read by nobody but for statistics. Beside the sleep epoch, at which the peer looks
  // after each publication, a round trip of two blocking calls took a tenth more.
  alignas(kCacheLine) std::uint64_t stalls;  // blocking calls that found the ring full (sender) or empty (receiver)
  std::uint64_t unused_too[7];               // zero
};

static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(Header) == 256 && alignof(Header) == kOwnerLine);
static_assert(offsetof(Header, magic) == 0 && offsetof(Header, version) == 8 && offsetof(Header, layout) == 12);
static_assert(offsetof(Header, generation) == 16 && offsetof(Header, size) == 24);
static_assert(offsetof(Header, capacity) == 32 && offsetof(Header, ring) == 40);
static_assert(offsetof(Header, attached) == 48 && offsetof(Header, streams) == 56);
static_assert(offsetof(Header, losses) == 64 && offsetof(Header, sleeps) == 72);
static_assert(offsetof(Header, sleep_epoch) == 80 && offsetof(Header, barrier) == 88);
static_assert(offsetof(Header, rings) == 96 && offsetof(Header, spurious) == 104);
static_assert(offsetof(Header, reserved) == 112);
static_assert(offsetof(Header, position) == 128 && offsetof(Header, unused) == 136);
static_assert(offsetof(Header, stalls) == 192 && offsetof(Header, unused_too) == 200);

/// The forward segment's header: the common one, then where streams ended. Entry n % 32 is the final position of stream
/// n, valid while `streams` is above n and the receiver's `streams` is not.
struct ForwardHeader {
  Header common;
  std::uint64_t ends[kStreamEnds];
};

static_assert(sizeof(ForwardHeader) == 512 && offsetof(ForwardHeader, ends) == 256);

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) noexcept {
  return (value + step - 1) / step * step;
}

// Marks: a position with its stream's number in the top byte.
inline constexpr unsigned kStreamShift = 56;
inline constexpr std::uint64_t kPositionMask = (std::uint64_t{1} << kStreamShift) - 1;

/// What is added to a position to make its mark.
constexpr std::uint64_t stream_tag(std::uint64_t stream) noexcept {
  return stream << kStreamShift;
}
constexpr std::uint64_t mark(std::uint64_t position, std::uint64_t stream) noexcept {
  return position + stream_tag(stream);
}
/// Whether `mark` was made by the stream of that number, modulo 256.
constexpr bool is_of_stream(std::uint64_t mark, std::uint64_t stream) noexcept {
  return ((mark ^ stream_tag(stream)) & ~kPositionMask) == 0;
}
/// How far `mark` is ahead of `position`, modulo 2^56.
constexpr std::uint64_t distance(std::uint64_t position, std::uint64_t mark) noexcept {
  return (mark - position) & kPositionMask;
}

// Slots.
constexpr std::uint64_t stamp_offset(std::uint64_t size) noexcept {
  return round_up(size, sizeof(std::uint64_t));
}
constexpr std::uint64_t stride(Layout layout, std::uint64_t size) noexcept {
  return layout == Layout::stamped ? round_up(stamp_offset(size) + sizeof(std::uint64_t), kCacheLine) : size;
}

/// Whether a slot's stamp is that of `position`'s message, of any stream.
constexpr bool is_stamp_of(std::uint64_t stamp, std::uint64_t position) noexcept {
  return stamp != 0 && distance(position + 1, stamp) == 0;
}
/// Whether a stamp is what the slot of `position` holds before that message: the last lap's, or zero in the first lap.
constexpr bool is_stamp_before(std::uint64_t stamp, std::uint64_t position, std::uint64_t capacity) noexcept {
  return position < capacity ? stamp == 0 : distance(position + 1 - capacity, stamp) == 0;
}

/// Bytes of ring that a frame of `length` payload bytes takes, its own word included.
constexpr std::uint64_t frame_bytes(std::uint64_t length) noexcept {
  return kFrameWord + round_up(length, kFrameWord);
}
/// The word that commits a frame, and the length that a nonzero word gives (huge for a word no sender writes).
constexpr std::uint64_t frame_word(std::uint64_t length, std::uint64_t stream) noexcept {
  return mark(length + 1, stream);
}
constexpr std::uint64_t frame_length(std::uint64_t word) noexcept {
  return (word & kPositionMask) - 1;
}
/// The largest payload that a ring of `capacity` bytes can ever take: the frame and the zeroed word behind it must fit.
constexpr std::uint64_t largest_frame(std::uint64_t capacity) noexcept {
  return capacity - 2 * kFrameWord;
}

/// What a ring is made with when `asked` is asked for: the capacity a power of two (frames: at least a page), and a
/// maximum for frames where none was given. The capacity asked for is from 1 to 2^62.
constexpr Geometry rounded(Geometry asked, std::uint64_t page) noexcept {
  asked.capacity = std::bit_ceil(asked.capacity);
  if (asked.layout == Layout::framed) {
    if (asked.capacity < page) asked.capacity = page;
    constexpr std::uint64_t usual = std::uint64_t{64} << 10;
    if (asked.size == 0) asked.size = asked.capacity / 2 < usual ? asked.capacity / 2 : usual;
  }
  return asked;
}

/// The hint is stored each time the tail passes a multiple of this, so that no slot between hint and tail was reused.
constexpr std::uint64_t hint_every(std::uint64_t capacity) noexcept {
  return capacity < kHintEvery ? capacity : kHintEvery;
}

/// The exact tail of a ring whose commit is in its slots: forward from `from`, a committed position that the tail is at
/// most hint_every() messages ahead of and hasn't lapped. Nothing when it isn't found in so many steps or a word is
/// impossible, which no honest sender causes. `word_at` reads the word at an offset in the ring, with acquire.
template <class WordAt>
constexpr std::optional<std::uint64_t> find_tail(const Geometry& geometry, std::uint64_t from, WordAt word_at) {
  const std::uint64_t mask = geometry.capacity - 1;
  if (geometry.layout == Layout::dense) return from;
  if (geometry.layout == Layout::stamped) {
    const std::uint64_t width = stride(geometry.layout, geometry.size);
    for (std::uint64_t step = 0; step <= hint_every(geometry.capacity); ++step) {
      const std::uint64_t stamp = word_at(((from + step) & mask) * width + stamp_offset(geometry.size));
      if (!is_stamp_of(stamp, from + step)) return from + step;
    }
    return std::nullopt;
  }
  std::uint64_t position = from;
  if (position % kFrameWord != 0) return std::nullopt;
  for (std::uint64_t step = 0; step <= kHintEvery; ++step) {
    const std::uint64_t word = word_at(position & mask);
    if (word == 0) return position;
    const std::uint64_t length = frame_length(word);
    if (length > geometry.size) return std::nullopt;
    position += frame_bytes(length);
    if (position - from > geometry.capacity) return std::nullopt;
  }
  return std::nullopt;
}

constexpr std::uint64_t ring_offset(Layout layout, std::uint64_t page) noexcept {
  return layout == Layout::framed ? page : sizeof(ForwardHeader);
}
constexpr std::uint64_t ring_bytes(const Geometry& geometry) noexcept {
  return geometry.layout == Layout::framed ? geometry.capacity
                                           : geometry.capacity * stride(geometry.layout, geometry.size);
}
constexpr std::uint64_t forward_bytes(const Geometry& geometry, std::uint64_t page) noexcept {
  return round_up(ring_offset(geometry.layout, page) + ring_bytes(geometry), page);
}
constexpr std::uint64_t return_bytes(std::uint64_t page) noexcept {
  return round_up(sizeof(Header), page);
}

static_assert(stride(Layout::stamped, 8) == 64 && stride(Layout::stamped, 56) == 64);
static_assert(stride(Layout::stamped, 57) == 128 && stride(Layout::stamped, 64) == 128);
static_assert(stride(Layout::dense, 24) == 24);
static_assert(frame_bytes(0) == 8 && frame_bytes(1) == 16 && frame_bytes(8) == 16);
static_assert(forward_bytes({Layout::dense, 8, 16}, 4096) + return_bytes(4096) == std::uint64_t{2} * 4096);
static_assert(mark(5, 256 + 3) == ((std::uint64_t{3} << 56) | 5) && distance(4, mark(7, 9)) == 3);
static_assert(is_of_stream(mark(5, 3), 256 + 3) && !is_of_stream(mark(5, 3), 4));

/// What a new segment's header says. The same for both segments; all else in them is zero.
constexpr Header identity(const Geometry& geometry, std::uint64_t generation, std::uint64_t page) noexcept {
  Header header{};
  header.magic = kMagic;
  header.version = kVersion;
  header.layout = static_cast<std::uint32_t>(geometry.layout);
  header.generation = generation;
  header.size = geometry.size;
  header.capacity = geometry.capacity;
  header.ring = ring_offset(geometry.layout, page);
  return header;
}

/// The first thing about `found` that isn't as in `expected`, or nothing. Looks at the identity alone.
constexpr std::optional<std::string_view> mismatch(const Header& found, const Header& expected) noexcept {
  if (found.magic != expected.magic) return "magic";
  if (found.version != expected.version) return "layout version";
  if (found.generation != expected.generation) return "generation";
  if (found.layout != expected.layout) return "layout";
  if (found.size != expected.size) return "message size";
  if (found.capacity != expected.capacity) return "capacity";
  if (found.ring != expected.ring) return "ring offset";
  return std::nullopt;
}

}  // namespace layout
}  // namespace v1
}  // namespace nimsync
