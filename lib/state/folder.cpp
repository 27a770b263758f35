#include "state/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "os/line.hpp"
#include "os/segment.hpp"

namespace nimsync::registry {

using os::Descriptor;
using protocol::Json;
using protocol::Peer;
using protocol::Role;

namespace {

constexpr std::size_t kMaxFile = std::size_t{64} << 10;

/// FNV-1a: two state folders of one user get different names in /dev/shm.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

bool is_intact(const Descriptor& segment, const SegmentId& id, std::uint64_t bytes, std::uint32_t owner) {
  return segment &&
         os::facts(segment) == os::SegmentFacts{.inode = id.inode, .bytes = bytes, .owner = owner, .mode = 0600};
}

/// Numbers from shared memory are anything; Varlink's end at 2^63.
std::uint64_t clamp(std::uint64_t number) {
  return std::min(number, static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
}

/// False where the segment ends before. Error: it can't be told.
template <class T>
bool read_at(const Descriptor& segment, std::uint64_t offset, T& value) {
  const ssize_t got = ::pread(segment.get(), &value, sizeof value, static_cast<off_t>(offset));
  if (got < 0) os::fail(errno, "cannot read shared memory");
  return got == static_cast<ssize_t>(sizeof value);
}

/// The tail as a successor would find it.
std::uint64_t tail_of(const Descriptor& forward, const Geometry& geometry, std::uint64_t ring, std::uint64_t mark) {
  const std::uint64_t from = mark & layout::kPositionMask;
  const auto word_at = [&](std::uint64_t offset) {
    std::uint64_t word = 0;
    return read_at(forward, ring + offset, word) ? word : 0;
  };
  return layout::find_tail(geometry, from, word_at).value_or(from);
}

}  // namespace

const char* line_name(Role role) {
  return role == Role::sender ? "data" : "room";
}
const char* grant_name(Role role) {
  return protocol::name(role);
}

std::string hex(std::uint64_t number) {
  std::array<char, 17> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(number)));
  return text.data();
}

std::string segment_prefix(std::string_view path, std::uint32_t uid) {
  return "nimsync." + hex(hash(path)) + "." + std::to_string(uid) + ".";
}

Descriptor open_folder(int at, const std::string& name) {
  return Descriptor(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

bool is_absence(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES;
}

Descriptor find_folder(const Descriptor& at, const std::string& name) {
  Descriptor fd = open_folder(at.get(), name);
  if (!fd && !is_absence(errno)) os::fail(errno, "cannot open the folder " + name);
  return fd;
}

std::optional<std::string> read_file(const Descriptor& folder, const std::string& name) {
  const Descriptor file(::openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && !is_absence(errno)) os::fail(errno, "cannot open the file " + name);
  if (!file) return std::nullopt;
  std::string text(kMaxFile, '\0');
  const ssize_t size = ::read(file.get(), text.data(), text.size());
  if (size < 0 && errno == EISDIR) return std::nullopt;
  if (size < 0) os::fail(errno, "cannot read the file " + name);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::vector<std::string> entries(const Descriptor& folder) {
  Descriptor again = open_folder(folder.get(), ".");
  if (!again) os::fail(errno, "cannot read the state folder");
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(again.get()), ::closedir);
  if (!list) os::fail(errno, "cannot read the state folder");
  static_cast<void>(again.release());
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(list.get())) {
    const std::string name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) os::fail(errno, "cannot read the state folder");  // a part of it would be taken for all
  std::sort(names.begin(), names.end());
  return names;
}

bool has_line(const Descriptor& folder, Role role) {
  struct stat st {};
  if (::fstatat(folder.get(), line_name(role), &st, AT_SYMLINK_NOFOLLOW) == 0) return S_ISFIFO(st.st_mode);
  if (!is_absence(errno)) os::fail(errno, std::string("cannot look at the line ") + line_name(role));
  return false;
}

std::optional<Peer> holder_in(const Descriptor& folder, Role role) {
  if (os::lease(os::open_as_watcher(folder, line_name(role))) != os::Lease::held) return std::nullopt;
  Peer peer;
  const auto text = read_file(folder, grant_name(role));
  if (!text) return peer;
  const Json json = Json::parse(*text, nullptr, false);
  try {
    if (json.is_object()) peer = json.get<Peer>();
  } catch (const protocol::InvalidParameter&) {
    peer = {};  // held, by somebody unknown
  }
  return peer;
}

bool is_held(const Descriptor& folder) {
  return (has_line(folder, Role::sender) && holder_in(folder, Role::sender)) ||
         (has_line(folder, Role::receiver) && holder_in(folder, Role::receiver));
}

bool are_intact(const Segments& segments, const Definition& definition, std::uint32_t owner) {
  const std::uint64_t page = os::page_bytes();
  return is_intact(segments.forward, definition.forward, layout::forward_bytes(definition.shape.geometry, page),
                   owner) &&
         is_intact(segments.back, definition.back, layout::return_bytes(page), owner);
}

protocol::Channel describe_new(const Definition& definition) {
  const std::string none(layout::name(layout::Barrier{}));
  return {.name = definition.name,
          .shape = definition.shape,
          .owner = definition.owner,
          .group = definition.group,
          .mode = definition.mode,
          .protect = definition.protect,
          .sealed = definition.sealed,
          .generation = definition.generation,
          .created = definition.created,
          .memory = memory_of(definition.shape.geometry, os::page_bytes()),
          .state = "idle",
          .sender_barrier = none,
          .receiver_barrier = none,
          .sender = std::nullopt,
          .receiver = std::nullopt,
          .counts = {}};
}

void add_holders(protocol::Channel& channel, const Descriptor& folder) {
  channel.sender = holder_in(folder, Role::sender);
  channel.receiver = holder_in(folder, Role::receiver);
}

void add_counts(protocol::Channel& channel, const Definition& definition, const Segments& segments,
                std::uint32_t owner) {
  const std::uint64_t page = os::page_bytes();
  const Geometry& geometry = definition.shape.geometry;
  layout::Header sends{};
  layout::Header receives{};
  if (!are_intact(segments, definition, owner) || !read_at(segments.back, 0, receives) ||
      !read_at(segments.forward, 0, sends)) {
    return;
  }
  const std::uint64_t tail =
      tail_of(segments.forward, geometry, layout::ring_offset(geometry.layout, page), sends.position);
  const std::uint64_t used = tail - receives.position;
  channel.counts = {.sent = clamp(tail),
                    .received = clamp(receives.position),
                    .used = used <= geometry.capacity ? used : 0,
                    .full_stalls = clamp(sends.stalls),
                    .empty_stalls = clamp(receives.stalls),
                    .sender_sleeps = clamp(sends.sleeps),
                    .receiver_sleeps = clamp(receives.sleeps),
                    .sender_rings = clamp(sends.rings),
                    .receiver_rings = clamp(receives.rings),
                    .sender_spurious = clamp(sends.spurious),
                    .receiver_spurious = clamp(receives.spurious),
                    .senders = clamp(sends.attached),
                    .receivers = clamp(receives.attached),
                    .streams_closed = clamp(sends.streams),
                    .streams_received = clamp(receives.streams)};
  channel.sender_barrier = layout::name(layout::Barrier{sends.barrier});
  channel.receiver_barrier = layout::name(layout::Barrier{receives.barrier});
  const bool ended = sends.streams != receives.streams;
  channel.state = channel.sender && channel.receiver   ? "open"
                  : ended                              ? "closed"
                  : channel.sender || channel.receiver ? "waiting"
                                                       : "idle";
}

}  // namespace nimsync::registry
