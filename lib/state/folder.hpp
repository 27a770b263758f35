// A registry's folder, read: what lies there of each channel, and what can be told of the channel from that.
//
// Read by the registry, and by who wants to know while there is none. Nothing here writes, waits or takes a lock;
// segments are read by pread and never mapped, since clients may truncate them. daemon/store.hpp draws the folder.
//
// Threads: any. Errors: Error, which always says that something can't be told now, never that there is nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.hpp"
#include "protocol/messages.hpp"
#include "state/definition.hpp"

namespace nimsync::registry {

inline constexpr const char* kDefinition = "definition";
inline constexpr const char* kChannels = "channels";
inline constexpr char kForward = 'f';
inline constexpr char kBack = 'r';

/// The line that a side holds, in the channel's folder.
const char* line_name(protocol::Role role);
/// To whom the side was granted last, in the channel's folder.
const char* grant_name(protocol::Role role);

/// Sixteen digits.
std::string hex(std::uint64_t number);
/// What the names of a registry's segments begin with, without a slash: made of its state folder's canonical path and
/// of its uid.
std::string segment_prefix(std::string_view path, std::uint32_t uid);

/// Never through a link. Invalid, with errno, when it can't be.
os::Descriptor open_folder(int at, const std::string& name);
/// Whether an errno says that there is nothing of ours; any other one says that it can't be told now.
bool is_absence(int error);
/// Empty when there is no such folder.
os::Descriptor find_folder(const os::Descriptor& at, const std::string& name);
/// Nothing when there is no such file. Of a large one the beginning.
std::optional<std::string> read_file(const os::Descriptor& folder, const std::string& name);
/// All names in it, in order.
std::vector<std::string> entries(const os::Descriptor& folder);

// Of a channel's folder.

/// Whether a line is there.
bool has_line(const os::Descriptor& folder, protocol::Role role);
/// The living holder of a side, from its line and its grant.
std::optional<protocol::Peer> holder_in(const os::Descriptor& folder, protocol::Role role);
/// Whether a side is held.
bool is_held(const os::Descriptor& folder);

/// Descriptors of both segments; where there is none, an invalid one.
struct Segments {
  os::Descriptor forward;
  os::Descriptor back;
};
/// Whether they are the ones that were made, `owner` being the registry's uid.
bool are_intact(const Segments& segments, const Definition& definition, std::uint32_t owner);

/// What can be said of a channel that was made just now, without a look at it.
protocol::Channel describe_new(const Definition& definition);
/// Who holds it, from its folder.
void add_holders(protocol::Channel& channel, const os::Descriptor& folder);
/// Its counts and its state, from its segments. Of one whose segments aren't intact nothing, and its state stays.
void add_counts(protocol::Channel& channel, const Definition& definition, const Segments& segments,
                std::uint32_t owner);

}  // namespace nimsync::registry
