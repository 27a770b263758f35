#include "daemon/store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "os/line.hpp"

namespace nimsync::registry {

namespace {

using os::Descriptor;
using protocol::Json;
using protocol::Peer;
using protocol::Role;

constexpr const char* kDefinition = "definition";
constexpr const char* kNew = ".new-";
constexpr const char* kGone = ".gone-";
constexpr int kNameTries = 16;
constexpr std::size_t kMaxFile = std::size_t{64} << 10;

constexpr char kForward = 'f';
constexpr char kBack = 'r';

const char* line_name(Role role) {
  return role == Role::sender ? "data" : "room";
}
const char* grant_name(Role role) {
  return protocol::name(role);
}
Role other(Role role) {
  return role == Role::sender ? Role::receiver : Role::sender;
}

std::string hex(std::uint64_t number) {
  std::array<char, 17> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(number)));
  return text.data();
}

/// Of a sealed segment, in the descriptor store.
std::string kept_name(std::uint64_t generation, char side) {
  return "sealed." + hex(generation) + "." + side;
}

/// FNV-1a: two state folders of one user get different names in /dev/shm.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

Descriptor open_folder(int at, const std::string& name) {
  return Descriptor(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

/// Whether an error says that there is nothing of ours; any other one says that it can't be told now.
bool is_absence(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES;
}

/// Empty when there is no such folder. Error: it can't be told.
Descriptor find_folder(const Descriptor& at, const std::string& name) {
  Descriptor fd = open_folder(at.get(), name);
  if (!fd && !is_absence(errno)) os::fail(errno, "cannot open the folder " + name);
  return fd;
}

/// Nothing when there is no such file. Error: it can't be read.
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

std::string who(const Peer& peer) {
  return "pid " + std::to_string(peer.pid) + " (" + peer.command + "), uid " + std::to_string(peer.uid);
}

bool is_intact(const Descriptor& segment, const SegmentId& id, std::uint64_t bytes) {
  return segment &&
         os::facts(segment) == os::SegmentFacts{.inode = id.inode, .bytes = bytes, .owner = ::geteuid(), .mode = 0600};
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

/// Whether a line is there. Error: it can't be told.
bool has_line(const Descriptor& folder, Role role) {
  struct stat st {};
  if (::fstatat(folder.get(), line_name(role), &st, AT_SYMLINK_NOFOLLOW) == 0) return S_ISFIFO(st.st_mode);
  if (!is_absence(errno)) os::fail(errno, std::string("cannot look at the line ") + line_name(role));
  return false;
}

/// The living holder of a side, from its line and its grant.
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

/// Whether a side is held. Error: it can't be told.
bool is_held(const Descriptor& folder) {
  return (has_line(folder, Role::sender) && holder_in(folder, Role::sender)) ||
         (has_line(folder, Role::receiver) && holder_in(folder, Role::receiver));
}

/// A watcher that took a read lock on a line to keep holders out loses it: the line is made anew. Whoever watched the
/// old one sees it removed and opens the channel again by name.
void replace_line(const Descriptor& folder, const std::string& name) {
  const Descriptor old = os::open_as_holder(folder, name);
  const std::string temporary = "." + name;
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  os::make_line(folder, temporary);
  if (::renameat(folder.get(), temporary.c_str(), folder.get(), name.c_str()) != 0) {
    const int error = errno;
    ::unlinkat(folder.get(), temporary.c_str(), 0);
    os::fail(error, "cannot replace the line " + name);
  }
  os::ring(old);
}

}  // namespace

Store::Store(const std::string& state_dir, Random random, DescriptorStore descriptors)
    : random_(std::move(random)), descriptors_(std::move(descriptors)) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path wanted = fs::absolute(state_dir, error);
  if (wanted.has_parent_path()) fs::create_directories(wanted.parent_path(), error);
  if (::mkdir(wanted.c_str(), 0700) != 0 && errno != EEXIST) {
    os::fail(errno, "cannot make the state folder " + wanted.string());
  }
  path_ = fs::canonical(wanted, error).string();
  // The segments' names are made of it: with another one, none of the channels would be ours.
  if (error) os::fail(error.value(), "cannot tell where the state folder " + wanted.string() + " is");
  state_ = open_folder(AT_FDCWD, path_);
  if (!state_) os::fail(errno, "cannot open the state folder " + wanted.string());
  struct stat st {};
  if (::fstat(state_.get(), &st) != 0) os::fail(errno, "cannot look at the state folder " + path_);
  if (st.st_uid != ::geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw Error(Errc::denied, "the state folder " + path_ + " must belong to uid " + std::to_string(::geteuid()) +
                                  " and be writable by nobody else");
  }

  lock_.reset(::openat(state_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock_) os::fail(errno, "cannot open " + path_ + "/lock");
  if (os::take_lease(lock_) != os::Lease::free) {
    throw Error(Errc::in_use, "another nimsyncd has the state folder " + path_ + "; stop it, or give --state-dir");
  }

  if (::mkdirat(state_.get(), "channels", 0700) != 0 && errno != EEXIST) {
    os::fail(errno, "cannot make " + path_ + "/channels");
  }
  channels_ = open_folder(state_.get(), "channels");
  if (!channels_) os::fail(errno, "cannot open " + path_ + "/channels");
  prefix_ = "nimsync." + hex(hash(path_)) + "." + std::to_string(::geteuid()) + ".";
}

std::string Store::segment_name(std::uint64_t id, char side) const {
  return "/" + prefix_ + hex(id) + "." + side;
}

bool Store::is_own_name(const std::string& segment) const {
  return segment.starts_with("/" + prefix_) && segment.size() == segment_name(0, kForward).size() &&
         segment.find('/', 1) == std::string::npos;
}

Descriptor Store::folder(const std::string& name) const {
  Descriptor fd = open_folder(channels_.get(), name);
  if (!fd) os::fail(errno, "cannot open the folder of channel '" + name + "'");
  return fd;
}

void Store::write_file(const Descriptor& folder, const std::string& name, const std::string& text) const {
  const std::string temporary = "." + name;
  const Descriptor file(
      ::openat(folder.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) os::fail(errno, "cannot write into the state folder " + path_);
  const ssize_t written = ::write(file.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    ::unlinkat(folder.get(), temporary.c_str(), 0);
    os::fail(error, "cannot write into the state folder " + path_);
  }
  if (::renameat(folder.get(), temporary.c_str(), folder.get(), name.c_str()) != 0) {
    const int error = errno;
    ::unlinkat(folder.get(), temporary.c_str(), 0);
    os::fail(error, "cannot write into the state folder " + path_);
  }
}

Store::Creation::Creation(Store& store, Definition definition) : store_(&store), definition_(std::move(definition)) {
  const std::uint64_t page = os::page_bytes();
  const std::uint64_t forward_bytes = layout::forward_bytes(definition_.shape.geometry, page);
  if (definition_.sealed) {
    const std::string label = "nimsync." + definition_.name;
    forward_.emplace(os::NewSegment::nameless(label + ".f", forward_bytes));
    back_.emplace(os::NewSegment::nameless(label + ".r", layout::return_bytes(page)));
  }
  for (int tries = 1; !definition_.sealed; ++tries) {
    const std::uint64_t id = store.random_();
    try {
      forward_.emplace(store.segment_name(id, kForward), forward_bytes);
      back_.emplace(store.segment_name(id, kBack), layout::return_bytes(page));
      break;
    } catch (const Error& e) {
      // Anybody may take any name in /dev/shm. With 64 random bits in ours, nobody can have taken them all.
      forward_.reset();
      if (e.errc() != Errc::exists || tries == kNameTries) throw;
    }
  }
  definition_.generation = store.random_() & static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  definition_.forward = {.name = forward_->name(), .inode = forward_->inode()};
  definition_.back = {.name = back_->name(), .inode = back_->inode()};
}

Definition Store::Creation::finish() {
  const layout::Header identity =
      layout::identity(definition_.shape.geometry, definition_.generation, os::page_bytes());
  forward_->write(identity);
  back_->write(identity);
  Segments sealed;
  if (definition_.sealed) {
    sealed = {.forward = forward_->seal(), .back = back_->seal()};
    store_->keep(definition_.generation, sealed);
  }

  const std::string temporary = kNew + hex(definition_.generation);
  if (::mkdirat(store_->channels_.get(), temporary.c_str(), 0700) != 0) {
    os::fail(errno, "cannot make a folder for channel '" + definition_.name + "'");
  }
  try {
    const Descriptor folder = store_->folder(temporary);
    os::make_line(folder, line_name(Role::sender));
    os::make_line(folder, line_name(Role::receiver));
    store_->write_file(folder, kDefinition, to_text(definition_));
    if (::renameat2(store_->channels_.get(), temporary.c_str(), store_->channels_.get(), definition_.name.c_str(),
                    RENAME_NOREPLACE) != 0) {
      os::fail(errno, "cannot publish the folder of channel '" + definition_.name + "'");
    }
  } catch (...) {
    // By name: there may be no descriptors left, and that be why.
    for (const char* file : {line_name(Role::sender), line_name(Role::receiver), kDefinition}) {
      ::unlinkat(store_->channels_.get(), (temporary + "/" + file).c_str(), 0);
    }
    ::unlinkat(store_->channels_.get(), temporary.c_str(), AT_REMOVEDIR);
    if (definition_.sealed) store_->forget(definition_.generation);
    throw;
  }
  if (definition_.sealed) {
    store_->sealed_.insert_or_assign(definition_.generation, std::move(sealed));
  } else {
    forward_->keep();
    back_->keep();
  }
  return definition_;
}

/// What there is of a channel, with all that it takes to take it away: what can't be had is missed before anything is
/// touched.
struct Store::Remains {
  Descriptor folder;
  std::vector<std::pair<Role, Descriptor>> lines;
  std::vector<std::string> files;
  std::vector<std::string> segments;  // that are still the ones that were made
};

Store::Remains Store::remains(const std::string& name, const Definition* definition) const {
  Remains found;
  found.folder = find_folder(channels_, name);
  if (found.folder) {
    for (const Role role : {Role::sender, Role::receiver}) {
      if (has_line(found.folder, role)) {
        found.lines.emplace_back(role, os::open_as_holder(found.folder, line_name(role)));
      }
    }
    found.files = entries(found.folder);
  }
  if (definition == nullptr || definition->sealed) return found;
  for (const SegmentId* id : {&definition->forward, &definition->back}) {
    const Descriptor segment = os::open_segment(id->name, os::Access::read_only);
    if (segment && os::facts(segment).inode == id->inode) found.segments.push_back(id->name);
  }
  return found;
}

/// Removes a folder that is no channel's any more and what else there is, and rings who holds one of its lines: also
/// where another registry began this, and died.
void Store::sweep(const std::string& name, const Remains& found) const {
  for (const auto& [role, line] : found.lines) {
    // Killed behind any of these, the next registry finds the line and does them again. Rung once more behind the last,
    // where the mark could not be set: who wakes finds its line without a name.
    os::mark_removed(line);
    os::ring(line);
    ::unlinkat(found.folder.get(), line_name(role), 0);
    os::ring(line);
  }
  for (const std::string& file : found.files) ::unlinkat(found.folder.get(), file.c_str(), 0);
  ::unlinkat(channels_.get(), name.c_str(), AT_REMOVEDIR);
  for (const std::string& segment : found.segments) os::unlink_segment(segment);
}

/// Takes a channel's name from its folder, and sweeps that: killed in between, the next start finds no half of a
/// channel under its name.
void Store::drop(const std::string& name, const Remains& found) {
  const std::string gone = kGone + hex(random_());
  if (::renameat(channels_.get(), name.c_str(), channels_.get(), gone.c_str()) != 0 && errno != ENOENT) {
    os::fail(errno, "cannot remove the folder of channel '" + name + "'");
  }
  sweep(gone, found);
}

void Store::remove(const Definition& definition) {
  drop(definition.name, remains(definition.name, &definition));
  sealed_.erase(definition.generation);
  if (definition.sealed) forget(definition.generation);
}

void Store::keep(std::uint64_t generation, const Segments& sealed) const {
  if (!descriptors_.keep) return;
  try {
    descriptors_.keep(kept_name(generation, kForward), sealed.forward);
    descriptors_.keep(kept_name(generation, kBack), sealed.back);
  } catch (...) {
    forget(generation);
    throw;
  }
}

void Store::forget(std::uint64_t generation) const {
  if (!descriptors_.forget) return;
  descriptors_.forget(kept_name(generation, kForward));
  descriptors_.forget(kept_name(generation, kBack));
}

/// What an earlier registry had kept of a sealed channel: both segments, or none.
Store::Segments Store::take_kept(std::uint64_t generation) {
  auto forward = descriptors_.kept.extract(kept_name(generation, kForward));
  auto back = descriptors_.kept.extract(kept_name(generation, kBack));
  if (!forward || !back) return {};
  return {std::move(forward.mapped()), std::move(back.mapped())};
}

bool Store::is_orphan(const Definition& definition) const {
  return definition.sealed && !sealed_.contains(definition.generation);
}

bool Store::is_over(const Definition& definition) const {
  if (!is_orphan(definition)) return false;
  const Descriptor at = find_folder(channels_, definition.name);
  return !at || !is_held(at);
}

Store::Segments Store::segments(const Definition& definition, os::Access forward, os::Access back) const {
  if (!definition.sealed) {
    return {.forward = os::open_segment(definition.forward.name, forward),
            .back = os::open_segment(definition.back.name, back)};
  }
  const auto kept = sealed_.find(definition.generation);
  if (kept == sealed_.end()) return {};
  return {.forward = os::reopen_segment(kept->second.forward, forward),
          .back = os::reopen_segment(kept->second.back, back)};
}

bool Store::are_intact(const Segments& segments, const Definition& definition) {
  const std::uint64_t page = os::page_bytes();
  return is_intact(segments.forward, definition.forward, layout::forward_bytes(definition.shape.geometry, page)) &&
         is_intact(segments.back, definition.back, layout::return_bytes(page));
}

std::optional<Peer> Store::holder(const Definition& definition, Role role) const {
  const Descriptor at = find_folder(channels_, definition.name);
  if (!at || !has_line(at, role)) return std::nullopt;  // then nobody can hold it
  return holder_in(at, role);
}

std::array<Descriptor, 4> Store::grant(const Definition& definition, Role role, const Peer& peer) {
  const auto access = [&](Role writer) {
    return writer == role || !definition.protect ? os::Access::read_write : os::Access::read_only;
  };
  if (is_orphan(definition)) {
    throw Error(Errc::corrupted, "channel '" + definition.name +
                                     "' is sealed, and its memory went with the registry that made it: those who hold "
                                     "it go on, and nobody can join them; remove the channel and create it again");
  }
  Segments both = segments(definition, access(Role::sender), access(Role::receiver));
  if (!are_intact(both, definition)) {
    throw Error(Errc::corrupted, "channel '" + definition.name +
                                     "' has shared memory of another owner, mode, size or inode than it was made with; "
                                     "remove the channel and create it again");
  }

  const Descriptor at = folder(definition.name);
  Descriptor own = os::open_as_holder(at, line_name(role));
  os::Lease lease = os::take_lease(own);
  if (lease == os::Lease::intruded) {
    replace_line(at, line_name(role));
    own = os::open_as_holder(at, line_name(role));
    lease = os::take_lease(own);
  }
  if (lease != os::Lease::free) {
    const auto held_by = holder_in(at, role);
    throw Error(Errc::in_use, "channel '" + definition.name + "' has a " + protocol::name(role) + " already: " +
                                  (held_by ? who(*held_by) : std::string("unknown")) + "; a channel has one at a time");
  }
  Descriptor watched = os::open_as_watcher(at, line_name(other(role)));
  write_file(at, grant_name(role), Json(peer).dump());
  return {std::move(both.forward), std::move(both.back), std::move(own), std::move(watched)};
}

protocol::Channel Store::describe_new(const Definition& definition) {
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

protocol::Channel Store::describe(const Definition& definition) const {
  const std::uint64_t page = os::page_bytes();
  const Geometry& geometry = definition.shape.geometry;
  protocol::Channel channel = describe_new(definition);
  channel.state = "damaged";
  try {
    const Descriptor at = folder(definition.name);
    channel.sender = holder_in(at, Role::sender);
    channel.receiver = holder_in(at, Role::receiver);
    if (is_orphan(definition)) {
      channel.state = "orphaned";
      return channel;
    }
    const Segments both = segments(definition, os::Access::read_only, os::Access::read_only);
    layout::Header sends{};
    layout::Header receives{};
    if (!are_intact(both, definition) || !read_at(both.back, 0, receives) || !read_at(both.forward, 0, sends)) {
      return channel;
    }
    const std::uint64_t tail =
        tail_of(both.forward, geometry, layout::ring_offset(geometry.layout, page), sends.position);
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
  } catch (const Error& e) {
    if (e.errc() == Errc::no_space) throw;  // that says nothing of the channel
    channel.state = "damaged";
  }
  return channel;
}

Store::Adopted Store::adopt(const Limits& limits) {
  Adopted adopted;
  std::set<std::string> in_use;
  bool unreadable = false;
  for (const std::string& name : entries(channels_)) {
    const Descriptor at = find_folder(channels_, name);
    const auto text = at ? read_file(at, kDefinition) : std::nullopt;
    std::optional<Definition> definition;
    std::string reason = "it has no definition";
    if (text) {
      try {
        definition = from_text(*text, limits, os::page_bytes());
        for (const SegmentId* id : {&definition->forward, &definition->back}) {
          if (!definition->sealed && !is_own_name(id->name)) {
            throw Error(Errc::corrupted, "its segments are another registry's");
          }
        }
      } catch (const Error& e) {
        definition.reset();
        reason = e.what();
      }
    }
    if (name.starts_with('.')) {
      sweep(name, remains(name, definition ? &*definition : nullptr));
      adopted.remarks.push_back("swept the remains of a channel in " + name);
      continue;
    }
    if (!definition || definition->name != name) {
      adopted.remarks.push_back("left the folder '" + name +
                                "' alone: " + (definition ? "it names another channel" : reason));
      // What it names stays: nobody knows whose it is. Where that can't be read, no segment is swept.
      if (definition) in_use.insert({definition->forward.name, definition->back.name});
      unreadable = unreadable || (!definition && text);
      continue;
    }
    // What was being written or replaced when the last registry died.
    for (const std::string& entry : entries(at)) {
      if (entry.starts_with('.')) ::unlinkat(at.get(), entry.c_str(), 0);
    }
    if (definition->sealed) {
      if (Segments kept = take_kept(definition->generation); are_intact(kept, *definition)) {
        sealed_.insert_or_assign(definition->generation, std::move(kept));
        adopted.channels.push_back(std::move(*definition));
        continue;
      }
      forget(definition->generation);
      if (is_held(at)) {
        adopted.remarks.push_back(
            "channel '" + name +
            "' is orphaned: its sealed memory went with the registry that made it, and only those "
            "who hold it go on");
        adopted.channels.push_back(std::move(*definition));
      } else {
        drop(name, remains(name, nullptr));
        adopted.remarks.push_back("dropped channel '" + name +
                                  "': its sealed memory went with the registry that made it");
      }
      continue;
    }
    const Segments both = segments(*definition, os::Access::read_only, os::Access::read_only);
    if (!both.forward && !both.back) {
      drop(name, remains(name, nullptr));
      adopted.remarks.push_back("dropped channel '" + name + "': its shared memory is gone");
      continue;
    }
    if (!are_intact(both, *definition)) {
      adopted.remarks.push_back(
          "channel '" + name +
          "' is damaged: its shared memory has another owner, mode, size or inode than it was made "
          "with; remove it");
    }
    in_use.insert(definition->forward.name);
    in_use.insert(definition->back.name);
    adopted.channels.push_back(std::move(*definition));
  }
  for (const std::string& name : os::segments_named(prefix_)) {
    if (in_use.contains(name)) continue;
    if (unreadable) {
      adopted.remarks.push_back("left the segment " + name + " alone: a folder that may name it can't be read");
      continue;
    }
    const Descriptor segment = os::open_segment(name, os::Access::read_only);
    if (segment && os::facts(segment).owner == ::geteuid()) {
      os::unlink_segment(name);
      adopted.remarks.push_back("swept the segment " + name + ", which no channel has");
    } else {
      adopted.remarks.push_back("left the foreign segment " + name + " alone");
    }
  }
  for (const auto& [name, fd] : std::exchange(descriptors_.kept, {})) {
    if (descriptors_.forget) descriptors_.forget(name);
    adopted.remarks.push_back("gave back the kept descriptor " + name + ", which no channel has");
  }
  return adopted;
}

}  // namespace nimsync::registry
