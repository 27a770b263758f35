#include "daemon/catalog.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace nimsync::registry {

namespace {

using protocol::Json;
using protocol::Role;
using protocol::Shape;

constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxType = 100;
constexpr unsigned kModeBits = 0666;
constexpr unsigned kOthersBits = 0066;

// Not std::isalnum: the rule doesn't depend on a locale.
constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// A name as it may stand in a message: short, and printable.
std::string quote(std::string_view name) {
  std::string text = "'";
  for (const char c : name.substr(0, kMaxName)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (name.size() > kMaxName ? "...'" : "'");
}

std::string octal(unsigned mode) {
  std::array<char, 16> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%04o", mode));
  return text.data();
}

[[noreturn]] void refuse(Errc code, std::string sentence) {
  throw Error(code, std::move(sentence));
}

void require_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && is_alphanumeric(name.front()) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
  if (good) return;
  refuse(Errc::invalid, "the channel name " + quote(name) +
                            " is not allowed: a name has 1 to 100 letters, digits, '.', '_' or '-' and begins with a "
                            "letter or digit");
}

/// Rounds the geometry and holds it against the limits.
Geometry require_geometry(std::string_view name, Geometry geometry, const Limits& limits, std::uint64_t page) {
  const std::string channel = "channel " + quote(name) + ": ";
  const bool frames = geometry.layout == Layout::framed;
  const char* unit = frames ? " bytes" : " records";
  if (geometry.capacity == 0) refuse(Errc::invalid, channel + "the capacity is 0; at least 1 is needed");
  const std::uint64_t most = frames ? limits.channel_bytes : limits.capacity;
  if (geometry.capacity > most) {
    refuse(Errc::over_limit, channel + "a capacity of " + std::to_string(geometry.capacity) + unit +
                                 " is above the limit of " + std::to_string(most));
  }
  geometry = layout::rounded(geometry, page);
  if (!frames && geometry.capacity > most) {
    refuse(Errc::over_limit, channel + "the capacity is rounded up to " + std::to_string(geometry.capacity) + unit +
                                 ", above the limit of " + std::to_string(most));
  }
  if (frames) {
    const std::uint64_t largest = layout::largest_frame(geometry.capacity);
    if (geometry.size > largest) {
      refuse(Errc::invalid, channel + "a ring of " + std::to_string(geometry.capacity) +
                                " bytes takes messages of at most " + std::to_string(largest) +
                                " bytes, and the maximum asked for is " + std::to_string(geometry.size));
    }
  }
  if (geometry.size == 0) refuse(Errc::invalid, channel + "the record size is 0; at least 1 byte is needed");
  if (geometry.size > limits.message) {
    refuse(Errc::over_limit, channel + "a message size of " + std::to_string(geometry.size) +
                                 " bytes is above the limit of " + std::to_string(limits.message));
  }
  // By division first: the product of a capacity and a size that are each within limits may not fit into 64 bits.
  if ((!frames && geometry.capacity > limits.channel_bytes / layout::stride(geometry.layout, geometry.size)) ||
      memory_of(geometry, page) > limits.channel_bytes) {
    refuse(Errc::over_limit, channel + std::to_string(geometry.capacity) + unit + " of ring" +
                                 (frames ? "" : ", " + std::to_string(geometry.size) + " bytes each,") +
                                 " need more shared memory than the limit for one channel, " +
                                 std::to_string(limits.channel_bytes) + " bytes");
  }
  return geometry;
}

void require_shape(std::string_view name, const Shape& shape) {
  const std::string channel = "channel " + quote(name) + ": ";
  if (shape.alignment > layout::kCacheLine || (shape.alignment != 0 && !std::has_single_bit(shape.alignment))) {
    refuse(Errc::invalid,
           channel + "an alignment is a power of two of at most 64, and " + std::to_string(shape.alignment) + " isn't");
  }
  if (shape.alignment != 0 && shape.geometry.layout != Layout::framed && shape.geometry.size % shape.alignment != 0) {
    refuse(Errc::invalid, channel + "the record size " + std::to_string(shape.geometry.size) +
                              " is no multiple of the alignment " + std::to_string(shape.alignment));
  }
  const bool printable = std::all_of(shape.type.begin(), shape.type.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (shape.type.size() > kMaxType || !printable) {
    refuse(Errc::invalid, channel + "a type name has at most 100 printable ASCII characters");
  }
}

void require_mode(std::string_view name, unsigned mode) {
  if ((mode & ~kModeBits) != 0) {
    refuse(Errc::invalid, "channel " + quote(name) + ": the mode " + octal(mode) +
                              " has bits other than r and w; only those of 0666 mean something");
  }
}

/// A member that is a whole number, as large as its place takes; the library would convert whatever is like a number.
template <class Number>
void read_number(const Json& json, const char* member, Number& number) {
  const Json& value = json.at(member);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Number>::max())) {
    throw protocol::InvalidParameter(member);
  }
  number = static_cast<Number>(value.get<std::uint64_t>());
}

const char* kind(Layout layout) {
  return layout == Layout::framed ? "frames" : "records";
}

}  // namespace

bool Caller::is_in(std::uint32_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

std::uint64_t memory_of(const Geometry& geometry, std::uint64_t page) {
  return layout::forward_bytes(geometry, page) + layout::return_bytes(page);
}

std::string to_text(const Definition& definition) {
  const Json json{{"version", 1},
                  {"name", definition.name},
                  {"shape", definition.shape},
                  {"owner", definition.owner},
                  {"group", definition.group},
                  {"mode", definition.mode},
                  {"protect", definition.protect},
                  {"sealed", definition.sealed},
                  {"generation", definition.generation},
                  {"created", definition.created},
                  {"forward", {{"name", definition.forward.name}, {"inode", definition.forward.inode}}},
                  {"return", {{"name", definition.back.name}, {"inode", definition.back.inode}}}};
  return json.dump(2) + "\n";
}

Definition from_text(std::string_view text, const Limits& limits, std::uint64_t page) {
  try {
    const Json json = Json::parse(text);
    if (json.at("version") != 1) throw Error(Errc::corrupted, "the definition has a version that isn't 1");
    Definition definition;
    json.at("name").get_to(definition.name);
    json.at("shape").get_to(definition.shape);
    read_number(json, "owner", definition.owner);
    read_number(json, "group", definition.group);
    read_number(json, "mode", definition.mode);
    json.at("protect").get_to(definition.protect);
    if (json.contains("sealed")) json.at("sealed").get_to(definition.sealed);  // absent before there were such channels
    read_number(json, "generation", definition.generation);
    read_number(json, "created", definition.created);
    json.at("forward").at("name").get_to(definition.forward.name);
    read_number(json.at("forward"), "inode", definition.forward.inode);
    json.at("return").at("name").get_to(definition.back.name);
    read_number(json.at("return"), "inode", definition.back.inode);
    require_name(definition.name);
    require_shape(definition.name, definition.shape);
    require_mode(definition.name, definition.mode);
    if (definition.forward.name.empty() != definition.sealed || definition.back.name.empty() != definition.sealed) {
      throw Error(Errc::corrupted, "the definition has names for sealed segments, or none for others");
    }
    // Limits may have been lowered since; what was made within them stays. Only what nobody can have made is refused.
    Limits loosest = limits;
    loosest.capacity = loosest.channel_bytes = std::uint64_t{1} << 40;
    loosest.message = std::uint64_t{1} << 32;
    if (require_geometry(definition.name, definition.shape.geometry, loosest, page) != definition.shape.geometry) {
      throw Error(Errc::corrupted, "the definition's geometry is impossible");
    }
    return definition;
  } catch (const Json::exception& e) {
    throw Error(Errc::corrupted, std::string("the definition can't be read: ") + e.what());
  } catch (const protocol::InvalidParameter& e) {
    throw Error(Errc::corrupted, std::string("the definition has a bad ") + e.what());
  }
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
  const auto octal = [](unsigned mode) {
    return "0" + std::string{static_cast<char>('0' + (mode >> 6U & 7U)), static_cast<char>('0' + (mode >> 3U & 7U)),
                             static_cast<char>('0' + (mode & 7U))};
  };
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
