#include "daemon/catalog.hpp"

#include <algorithm>
#include <utility>

namespace nimsync::registry {

namespace {

using protocol::Role;
using protocol::Shape;

constexpr unsigned kOthersBits = 0066;

[[noreturn]] void refuse(Errc code, std::string sentence) {
  throw Error(code, std::move(sentence));
}

const char* kind(Layout layout) {
  return layout == Layout::framed ? "frames" : "records";
}

}  // namespace

bool Caller::is_in(std::uint32_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

/// Error `over_limit`: `whose` channels, or their bytes and `needed` more, would be more than there may be.
void require_room(const std::string& name, const std::string& whose, std::uint64_t channels,
                  std::uint64_t most_channels, std::uint64_t bytes, std::uint64_t most_bytes, std::uint64_t needed) {
  if (channels >= most_channels) {
    refuse(Errc::over_limit, "channel " + quote(name) + ": " + whose + " has " + std::to_string(most_channels) +
                                 " channels, its limit; remove some");
  }
  const std::uint64_t left = most_bytes - std::min(bytes, most_bytes);
  if (needed > left) {
    refuse(Errc::over_limit, "channel " + quote(name) + ": " + std::to_string(needed) +
                                 " bytes of shared memory are needed, and " + whose + " has " + std::to_string(left) +
                                 " of its limit of " + std::to_string(most_bytes) + " left; remove channels");
  }
}

std::string drift(const Definition& is, const Definition& declared) {
  std::string all;
  const auto compare = [&](const char* what, const auto& has, const auto& wanted, const auto& in_words) {
    if (has != wanted)
      all += (all.empty() ? "" : ", ") + std::string(what) + " " + in_words(has) + " and not " + in_words(wanted);
  };
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  const auto yes_or_no = [](bool value) { return std::string(value ? "yes" : "no"); };
  const Geometry& has = is.shape.geometry;
  const Geometry& wanted = declared.shape.geometry;
  compare("layout", has.layout, wanted.layout, [](Layout layout) { return std::string(name(layout)); });
  compare("size", has.size, wanted.size, number);
  compare("capacity", has.capacity, wanted.capacity, number);
  compare("alignment", is.shape.alignment, declared.shape.alignment, number);
  compare("type", is.shape.type, declared.shape.type, quote);
  compare("owner", is.owner, declared.owner, number);
  compare("group", is.group, declared.group, number);
  compare("mode", is.mode, declared.mode, octal);
  compare("protect", is.protect, declared.protect, yes_or_no);
  compare("sealed", is.sealed, declared.sealed, yes_or_no);
  return all;
}

Definition Catalog::define(const protocol::CreateCall& call, std::optional<std::uint32_t> group,
                           const Caller& caller) const {
  require_name(call.name);
  require_shape(call.name, call.shape);
  require_mode(call.name, call.rights.mode);
  Definition definition;
  definition.name = call.name;
  definition.shape = call.shape;
  definition.shape.geometry = require_geometry(call.name, call.shape.geometry, limits_, page_);
  if (const Definition* there = find(call.name)) {
    require_match(*there, call.shape);
    if (there->shape.geometry.layout != definition.shape.geometry.layout) {
      refuse(Errc::differs, "channel " + quote(call.name) + " exists and is " +
                                std::string(name(there->shape.geometry.layout)) +
                                "; remove it first, or open it as it is");
    }
    refuse(Errc::exists, "channel " + quote(call.name) + " exists; remove it first, or open it as it is");
  }
  definition.owner = caller.uid;
  definition.group = group.value_or(caller.gid);
  if (group && !caller.administers && !caller.is_in(*group)) {
    refuse(Errc::denied, "channel " + quote(call.name) + ": uid " + std::to_string(caller.uid) + " is not in group " +
                             call.rights.group);
  }
  definition.mode = call.rights.mode;
  definition.protect = call.rights.protect.value_or((definition.mode & kOthersBits) != 0);
  definition.sealed = call.rights.sealed.value_or(false);
  if (definition.sealed && sealed() >= limits_.sealed) {
    refuse(Errc::over_limit, "channel " + quote(call.name) + ": the registry has " + std::to_string(limits_.sealed) +
                                 " sealed channels, its limit; remove some, or do without --sealed");
  }
  const std::uint64_t bytes = memory_of(definition.shape.geometry, page_);
  require_room(call.name, "the registry", all_.channels, limits_.channels, all_.bytes, limits_.bytes, bytes);
  if (!caller.administers) {
    const auto used = uids_.find(caller.uid);
    const Usage usage = used == uids_.end() ? Usage{} : used->second;
    require_room(call.name, "uid " + std::to_string(caller.uid), usage.channels, limits_.uid_channels, usage.bytes,
                 limits_.uid_bytes, bytes);
  }
  return definition;
}

void Catalog::take(const Definition& definition) {
  for (Usage* usage : {&all_, &uids_[definition.owner]}) {
    ++usage->channels;
    usage->bytes += memory_of(definition.shape.geometry, page_);
  }
}

void Catalog::give_back(const Definition& definition) {
  const auto owner = uids_.find(definition.owner);
  for (Usage* usage : {&all_, &owner->second}) {
    --usage->channels;
    usage->bytes -= memory_of(definition.shape.geometry, page_);
  }
  if (owner->second.channels == 0) uids_.erase(owner);
}

void Catalog::reserve(const Definition& definition) {
  if (reserved_.emplace(definition.name, definition).second) take(definition);
}

void Catalog::abandon(const Definition& definition) {
  const auto found = reserved_.find(definition.name);
  if (found == reserved_.end()) return;
  give_back(found->second);
  reserved_.erase(found);
}

void Catalog::insert(Definition definition) {
  abandon(definition);
  erase(definition.name);
  take(definition);
  std::string name = definition.name;
  channels_.insert_or_assign(std::move(name), std::move(definition));
}

void Catalog::erase(std::string_view name) {
  const auto found = channels_.find(name);
  if (found == channels_.end()) return;
  give_back(found->second);
  channels_.erase(found);
}

std::size_t Catalog::sealed() const {
  return static_cast<std::size_t>(
      std::count_if(channels_.begin(), channels_.end(), [](const auto& each) { return each.second.sealed; }));
}

const Definition* Catalog::find(std::string_view name) const {
  const auto found = channels_.find(name);
  return found == channels_.end() ? nullptr : &found->second;
}

const Definition* Catalog::at_or_after(std::string_view from) const {
  const auto found = channels_.lower_bound(from);
  return found == channels_.end() ? nullptr : &found->second;
}

const Definition& Catalog::get(std::string_view name) const {
  require_name(name);
  const Definition* found = find(name);
  if (found == nullptr) {
    refuse(Errc::no_such_channel, "there is no channel " + quote(name) +
                                      "; create it, or give a capacity when opening it (nimsyncctl list shows all)");
  }
  return *found;
}

void Catalog::require_use(const Definition& definition, Role role, const Caller& caller) {
  // As of a file: the first class that the caller belongs to decides, even where a later one would permit more.
  const unsigned shift = caller.uid == definition.owner ? 6 : caller.is_in(definition.group) ? 3 : 0;
  const unsigned bit = role == Role::sender ? 2 : 4;
  if (caller.administers || ((definition.mode >> shift) & bit) != 0) return;
  refuse(Errc::denied, "channel " + quote(definition.name) + " of uid " + std::to_string(definition.owner) +
                           ", group " + std::to_string(definition.group) + ", mode " + octal(definition.mode) +
                           " does not let uid " + std::to_string(caller.uid) +
                           (role == Role::sender ? " send (w)" : " receive (r)"));
}

void Catalog::require_ownership(const Definition& definition, const Caller& caller) {
  if (caller.administers || caller.uid == definition.owner) return;
  refuse(Errc::denied, "channel " + quote(definition.name) + " belongs to uid " + std::to_string(definition.owner) +
                           "; uid " + std::to_string(caller.uid) + " may not remove it");
}

bool Catalog::may_see(const Definition& definition, const Caller& caller) {
  const unsigned shift = caller.uid == definition.owner ? 6 : caller.is_in(definition.group) ? 3 : 0;
  return caller.administers || caller.uid == definition.owner || ((definition.mode >> shift) & 6) != 0;
}

void Catalog::require_match(const Definition& definition, const Shape& expected) {
  const Shape& has = definition.shape;
  const auto differ = [&](const char* what, const auto& is, const auto& asked) {
    refuse(Errc::differs,
           std::string("channel ") + quote(definition.name) + " has " + what + " " + is + " and not " + asked);
  };
  const auto differ_number = [&](const char* what, std::uint64_t is, std::uint64_t asked) {
    differ(what, std::to_string(is), std::to_string(asked));
  };
  const bool frames = has.geometry.layout == Layout::framed;
  if (frames != (expected.geometry.layout == Layout::framed)) {
    differ("messages that are", kind(has.geometry.layout), kind(expected.geometry.layout));
  }
  if (!frames && has.geometry.size != expected.geometry.size) {
    differ_number("a record size of", has.geometry.size, expected.geometry.size);
  }
  if (frames && has.geometry.size < expected.geometry.size) {
    differ_number("a maximum message size of", has.geometry.size, expected.geometry.size);
  }
  if (has.alignment != 0 && expected.alignment != 0 && has.alignment != expected.alignment) {
    differ_number("an alignment of", has.alignment, expected.alignment);
  }
  if (has.geometry.capacity < expected.geometry.capacity) {
    differ_number("a capacity of", has.geometry.capacity, expected.geometry.capacity);
  }
  if (!has.type.empty() && !expected.type.empty() && has.type != expected.type) {
    differ("the type", quote(has.type), quote(expected.type));
  }
}

}  // namespace nimsync::registry
