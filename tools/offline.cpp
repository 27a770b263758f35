#include "tools/offline.hpp"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "client/info.hpp"
#include "os/segment.hpp"
#include "state/folder.hpp"
#include "words/quantity.hpp"

namespace nimsync::tools {

namespace {

using os::Descriptor;
using registry::Definition;
using registry::SegmentId;

bool is_folder(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error) || error == std::errc::permission_denied;
}

/// Where registries that listen at a socket keep their channels: beside it, or, started by systemd, beside its folder.
std::vector<std::string> folders_for(const std::string& socket) {
  std::vector<std::string> folders{socket + ".state"};
  constexpr std::string_view kUnits = "/nimsync/registry.sock";
  if (socket.ends_with(kUnits)) {
    folders.insert(folders.begin(), socket.substr(0, socket.size() - kUnits.size()) + "/nimsyncd");
  }
  return folders;
}

std::vector<std::string> folders_of(const Place& place, const std::string& given) {
  if (!given.empty()) return {given};
  if (!place.socket.empty()) return folders_for(place.socket);
  std::vector<std::string> folders;
  for (const std::string& socket : Registry::places(place.scope)) {
    for (std::string& each : folders_for(socket)) folders.push_back(std::move(each));
  }
  return folders;
}

/// In what a segment isn't the one that was made; "" in nothing.
std::string fault_of(const Descriptor& segment, const SegmentId& made, std::uint64_t bytes, std::uint32_t owner) {
  const std::string where = "/dev/shm" + made.name;
  if (!segment) return where + " is gone";
  const os::SegmentFacts is = os::facts(segment);
  if (is.inode != made.inode) return where + " is another file than was made";
  if (is.bytes != bytes) return where + " has " + std::to_string(is.bytes) + " bytes and not " + std::to_string(bytes);
  if (is.owner != owner) return where + " belongs to uid " + std::to_string(is.owner);
  if (is.mode != 0600) return where + " has the mode " + words::format_mode(is.mode) + " and not 0600";
  return "";
}

KeptChannel look_at(const Definition& definition, const Descriptor& folder, std::uint32_t owner) {
  KeptChannel kept;
  protocol::Channel channel = registry::describe_new(definition);
  channel.state = "damaged";
  try {
    registry::add_holders(channel, folder);
    if (definition.sealed) {
      channel.state = "sealed";
    } else {
      const std::uint64_t page = os::page_bytes();
      const registry::Segments both{.forward = os::open_segment(definition.forward.name, os::Access::read_only),
                                    .back = os::open_segment(definition.back.name, os::Access::read_only)};
      kept.segments = {definition.forward.name, definition.back.name};
      for (std::string fault :
           {fault_of(both.forward, definition.forward, layout::forward_bytes(definition.shape.geometry, page), owner),
            fault_of(both.back, definition.back, layout::return_bytes(page), owner)}) {
        if (!fault.empty()) kept.faults.push_back(std::move(fault));
      }
      registry::add_counts(channel, definition, both, owner);
    }
  } catch (const Error& error) {
    if (error.errc() == Errc::no_space) throw;  // of this process; it says nothing of the channel
    kept.faults.emplace_back(error.what());
  }
  kept.info = info_of(channel);
  return kept;
}

}  // namespace

std::string state_folder(const Place& place, const std::string& given) {
  for (std::string& folder : folders_of(place, given)) {
    if (is_folder(folder)) return std::move(folder);
  }
  return "";
}

Kept read_kept(const std::string& folder) {
  Kept kept;
  std::error_code error;
  kept.folder = std::filesystem::canonical(folder, error).string();
  if (error) os::fail(error.value(), "cannot look for the state folder " + folder);
  const Descriptor state = registry::open_folder(AT_FDCWD, kept.folder);
  struct stat st {};
  if (!state || ::fstat(state.get(), &st) != 0) os::fail(errno, "cannot open the state folder " + folder);
  kept.owner = st.st_uid;
  kept.mode = st.st_mode & 07777U;
  kept.prefix = registry::segment_prefix(kept.folder, kept.owner);
  const Descriptor channels = registry::open_folder(state.get(), registry::kChannels);
  if (!channels && errno == ENOENT) return kept;
  if (!channels) os::fail(errno, "cannot open " + kept.folder + "/" + registry::kChannels);
  for (const std::string& name : registry::entries(channels)) {
    const Descriptor at = registry::find_folder(channels, name);
    const auto text = at ? registry::read_file(at, registry::kDefinition) : std::nullopt;
    Kept::Other other{.name = name, .why = "it has no definition", .half_done = name.starts_with('.')};
    if (text && !other.half_done) {
      other.is_definition = true;
      try {
        const Definition definition = registry::from_text(*text, {}, os::page_bytes());
        if (definition.name != name) {
          other.why = "it names another channel, " + definition.name;
        } else if (!definition.sealed && (!definition.forward.name.starts_with("/" + kept.prefix) ||
                                          !definition.back.name.starts_with("/" + kept.prefix))) {
          other.why = "its segments are another registry's";
        } else {
          kept.channels.push_back(look_at(definition, at, kept.owner));
          continue;
        }
      } catch (const Error& wrong) {
        if (wrong.errc() == Errc::no_space) throw;
        other.why = wrong.what();
      }
    }
    if (other.half_done) other.why = "it was being made or removed";
    kept.others.push_back(std::move(other));
  }
  return kept;
}

std::vector<ChannelInfo> list_offline(const Place& place, const std::string& given, const std::string& pattern) {
  const std::string folder = state_folder(place, given);
  if (folder.empty()) {
    std::string tried;
    for (const std::string& each : folders_of(place, given)) tried += (tried.empty() ? "" : ", ") + each;
    throw Error(Errc::no_registry,
                "there is no state folder of a registry; tried " + tried +
                    "; say where it is by --state-dir (nimsyncctl info shows it while there is one)");
  }
  std::vector<ChannelInfo> channels;
  for (KeptChannel& each : read_kept(folder).channels) {
    if (pattern.empty() || ::fnmatch(pattern.c_str(), each.info.name.c_str(), 0) == 0) {
      channels.push_back(std::move(each.info));
    }
  }
  return channels;
}

}  // namespace nimsync::tools
