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

constexpr const char* kNew = ".new-";
constexpr const char* kGone = ".gone-";
constexpr int kNameTries = 16;
/// Of a sealed segment, in the descriptor store.
std::string kept_name(std::uint64_t generation, char side) {
  return "sealed." + hex(generation) + "." + side;
}

Role other(Role role) {
  return role == Role::sender ? Role::receiver : Role::sender;
}

std::string who(const Peer& peer) {
  return "pid " + std::to_string(peer.pid) + " (" + peer.command + "), uid " + std::to_string(peer.uid);
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
  prefix_ = segment_prefix(path_, ::geteuid());
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
Segments Store::take_kept(std::uint64_t generation) {
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

Segments Store::segments(const Definition& definition, os::Access forward, os::Access back) const {
  if (!definition.sealed) {
    return {.forward = os::open_segment(definition.forward.name, forward),
            .back = os::open_segment(definition.back.name, back)};
  }
  const auto kept = sealed_.find(definition.generation);
  if (kept == sealed_.end()) return {};
  return {.forward = os::reopen_segment(kept->second.forward, forward),
          .back = os::reopen_segment(kept->second.back, back)};
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
  if (!are_intact(both, definition, ::geteuid())) {
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

protocol::Channel Store::describe(const Definition& definition) const {
  protocol::Channel channel = describe_new(definition);
  channel.state = "damaged";
  try {
    const Descriptor at = folder(definition.name);
    add_holders(channel, at);
    if (is_orphan(definition)) {
      channel.state = "orphaned";
    } else {
      add_counts(channel, definition, segments(definition, os::Access::read_only, os::Access::read_only), ::geteuid());
    }
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
      if (Segments kept = take_kept(definition->generation); are_intact(kept, *definition, ::geteuid())) {
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
    if (!are_intact(both, *definition, ::geteuid())) {
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
