// Definitions: a channel as its folder keeps it, and the rules for what one may be.
//
// Pure functions over values; what a rule refuses it refuses by throwing Error with a sentence for the one who asked.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nimsync/error.hpp"
#include "nimsync/layout.hpp"
#include "protocol/messages.hpp"

namespace nimsync::registry {

/// Bounds on everything. Bytes, and counts.
struct Limits {
  std::uint64_t channels = 65'536;
  std::uint64_t bytes = std::uint64_t{16} << 30;         // of shared memory, all channels
  std::uint64_t channel_bytes = std::uint64_t{1} << 30;  // of shared memory, one channel
  std::uint64_t capacity = std::uint64_t{1} << 26;       // records
  std::uint64_t message = std::uint64_t{16} << 20;       // bytes of a record or frame
  std::uint64_t connections = 4096;                      // of one uid
  // Of one uid that doesn't administer: half of the above, so that others find room.
  std::uint64_t uid_channels = 32'768;
  std::uint64_t uid_bytes = std::uint64_t{8} << 30;
  std::uint64_t sealed = 4096;  // sealed channels; each takes two of the registry's descriptors
};

/// Where a channel's memory is, as made; adopted again only if it is still that. The name of a sealed one is empty.
struct SegmentId {
  std::string name = {};
  std::uint64_t inode = 0;

  bool operator==(const SegmentId&) const = default;
};

/// A channel as it is kept, in memory and in its folder.
struct Definition {
  std::string name = {};
  protocol::Shape shape = {};
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  unsigned mode = 0600;
  bool protect = false;
  bool sealed = false;
  std::uint64_t generation = 0;
  std::int64_t created = 0;  // seconds since 1970
  SegmentId forward = {};
  SegmentId back = {};

  bool operator==(const Definition&) const = default;
};

/// Bytes of shared memory, both segments.
std::uint64_t memory_of(const Geometry& geometry, std::uint64_t page);

/// As JSON for the channel's folder, and back; back throws Error `corrupted` for anything that `define` would not have
/// made.
std::string to_text(const Definition& definition);
Definition from_text(std::string_view text, const Limits& limits, std::uint64_t page);

// The rules. Each throws `invalid` or `over_limit`.

/// 1 to 100 letters, digits, dots, underscores and dashes, of which the first is a letter or digit.
void require_name(std::string_view name);
/// The geometry with its capacity rounded up, held against the limits.
Geometry require_geometry(std::string_view name, Geometry geometry, const Limits& limits, std::uint64_t page);
void require_shape(std::string_view name, const protocol::Shape& shape);
/// Bits of 0666 alone.
void require_mode(std::string_view name, unsigned mode);

/// A name as it may stand in a message: short, printable and in quotes.
std::string quote(std::string_view name);
/// "0620".
std::string octal(unsigned mode);

}  // namespace nimsync::registry
