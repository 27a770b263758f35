// What a program says of a channel when it opens or creates it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nimsync/layout.hpp"
#include "nimsync/wait.hpp"

namespace nimsync {
inline namespace v1 {

/// For designated initialisers: registry.sender<Tick>("md.ticks", {.capacity = 1024}).
///
/// Opening what exists: kind, record size, alignment and type name must agree, its capacity (and max_size) must be at
/// least what is asked for here, and all else is as its creator said.
struct Options {
  /// Records, or bytes of ring for frames; rounded up to a power of two. 0: the channel must exist.
  std::uint64_t capacity = 0;
  /// Frames: the largest message in bytes. 0: 64 KiB, or less where the ring is smaller than twice that.
  std::uint64_t max_size = 0;
  /// Records: stamped (lowest latency) or dense (highest throughput in batches). Unset: stamped.
  std::optional<Layout> layout = std::nullopt;
  /// Permissions as of a file: r may receive, w may send; of owner, group and others.
  unsigned mode = 0600;
  /// A group's name or number; empty: the creator's own.
  std::string group = {};
  /// Whether each side maps the other's segment read-only. Unset: where the mode admits others than the owner.
  std::optional<bool> protect = std::nullopt;
  /// Whether nobody, whoever holds the channel, can change its memory's size: no peer can then kill this process by
  /// SIGBUS, or take more memory than the registry granted. Such memory has no name. It ends with the registry's
  /// process and those who hold the channel: over a registry's restart attached endpoints go on, and nobody can join
  /// them.
  bool sealed = false;
  /// How this endpoint's blocking calls wait.
  Wait wait = kDefaultWait;
};

/// The name under which a record type is checked when a channel is opened. Empty (not checked) unless specialised,
/// since compilers spell types differently:
///
///     template <> inline constexpr std::string_view nimsync::type_name<Tick> = "md.Tick/1";
template <class T>
inline constexpr std::string_view type_name = {};

}  // namespace v1
}  // namespace nimsync
