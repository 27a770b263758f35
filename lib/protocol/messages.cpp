#include "protocol/messages.hpp"

#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace nimsync::protocol {

namespace {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

/// Words of the interface's enumerations.
Layout layout_of(const std::string& word, const char* member) {
  for (const Layout layout : {Layout::stamped, Layout::dense, Layout::framed}) {
    if (word == name(layout)) return layout;
  }
  throw InvalidParameter(member);
}
Role role_of(const std::string& word, const char* member) {
  for (const Role role : {Role::sender, Role::receiver}) {
    if (word == name(role)) return role;
  }
  throw InvalidParameter(member);
}

/// Varlink's int is 64 bits and signed; ours are counts, and narrower where the value is.
template <std::integral T>
void read_number(const Json& json, const char* member, T& value) {
  if (!json.is_number_integer()) throw InvalidParameter(member);
  // Anything above 2^63 was parsed as unsigned, anything negative as signed.
  if (json.is_number_unsigned()) {
    const auto number = json.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) || !std::in_range<T>(number)) {
      throw InvalidParameter(member);
    }
    value = static_cast<T>(number);
  } else {
    const auto number = json.get<std::int64_t>();
    if (!std::in_range<T>(number)) throw InvalidParameter(member);
    value = static_cast<T>(number);
  }
}

template <class T>
void read_value(const Json& json, const char* member, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) throw InvalidParameter(member);
    value = json.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) throw InvalidParameter(member);
    value = json.get<std::string>();
  } else if constexpr (std::is_same_v<T, Role>) {
    std::string word;
    read_value(json, member, word);
    value = role_of(word, member);
  } else if constexpr (std::is_same_v<T, Layout>) {
    std::string word;
    read_value(json, member, word);
    value = layout_of(word, member);
  } else if constexpr (std::integral<T>) {
    read_number(json, member, value);
  } else if constexpr (IsOptional<T>::value) {
    if (json.is_null()) return;
    read_value(json, member, value.emplace());
  } else if constexpr (IsVector<T>::value) {
    if (!json.is_array()) throw InvalidParameter(member);
    for (const Json& each : json) read_value(each, member, value.emplace_back());
  } else {
    if (!json.is_object()) throw InvalidParameter(member);
    from_json(json, value);
  }
}

/// Reads a member of an object; it may be absent only where the value is optional.
template <class T>
void read(const Json& object, const char* member, T& value) {
  const auto found = object.find(member);
  if (found != object.end()) {
    read_value(*found, member, value);
  } else if (!IsOptional<T>::value) {
    throw InvalidParameter(member);
  }
}

template <class T>
void write(Json& object, const char* member, const T& value) {
  if constexpr (IsOptional<T>::value) {
    if (value) write(object, member, *value);
  } else if constexpr (std::is_same_v<T, Role> || std::is_same_v<T, Layout>) {
    object[member] = name(value);
  } else {
    object[member] = value;
  }
}

/// One list of members serves both directions: `visit(member, value)` for each.
template <class Visit>
void members(Peer& value, Visit visit) {
  visit("pid", value.pid);
  visit("uid", value.uid);
  visit("command", value.command);
}
template <class Visit>
void members(Shape& value, Visit visit) {
  visit("layout", value.geometry.layout);
  visit("size", value.geometry.size);
  visit("capacity", value.geometry.capacity);
  visit("alignment", value.alignment);
  visit("type", value.type);
}
template <class Visit>
void members(Rights& value, Visit visit) {
  visit("mode", value.mode);
  visit("group", value.group);
  visit("protect", value.protect);
  visit("sealed", value.sealed);
}
template <class Visit>
void members(Counts& value, Visit visit) {
  visit("sent", value.sent);
  visit("received", value.received);
  visit("used", value.used);
  visit("full_stalls", value.full_stalls);
  visit("empty_stalls", value.empty_stalls);
  visit("sender_sleeps", value.sender_sleeps);
  visit("receiver_sleeps", value.receiver_sleeps);
  visit("sender_rings", value.sender_rings);
  visit("receiver_rings", value.receiver_rings);
  visit("sender_spurious", value.sender_spurious);
  visit("receiver_spurious", value.receiver_spurious);
  visit("senders", value.senders);
  visit("receivers", value.receivers);
  visit("streams_closed", value.streams_closed);
  visit("streams_received", value.streams_received);
}
template <class Visit>
void members(Channel& value, Visit visit) {
  visit("name", value.name);
  visit("shape", value.shape);
  visit("owner", value.owner);
  visit("group", value.group);
  visit("mode", value.mode);
  visit("protect", value.protect);
  visit("sealed", value.sealed);
  visit("generation", value.generation);
  visit("created", value.created);
  visit("memory", value.memory);
  visit("state", value.state);
  visit("sender_barrier", value.sender_barrier);
  visit("receiver_barrier", value.receiver_barrier);
  visit("sender", value.sender);
  visit("receiver", value.receiver);
  visit("counts", value.counts);
}
template <class Visit>
void members(CreateCall& value, Visit visit) {
  visit("name", value.name);
  visit("shape", value.shape);
  visit("rights", value.rights);
}
template <class Visit>
void members(OpenCall& value, Visit visit) {
  visit("name", value.name);
  visit("role", value.role);
  visit("expect", value.expect);
  visit("create", value.create);
}
template <class Visit>
void members(ListCall& value, Visit visit) {
  visit("pattern", value.pattern);
}
template <class Visit>
void members(StatCall& value, Visit visit) {
  visit("name", value.name);
}
template <class Visit>
void members(ChannelReply& value, Visit visit) {
  visit("channel", value.channel);
}
template <class Visit>
void members(ListReply& value, Visit visit) {
  visit("channels", value.channels);
}
template <class Visit>
void members(InfoReply& value, Visit visit) {
  visit("version", value.version);
  visit("pid", value.pid);
  visit("uid", value.uid);
  visit("uptime_s", value.uptime_s);
  visit("socket", value.socket);
  visit("state_dir", value.state_dir);
  visit("channels", value.channels);
  visit("bytes", value.bytes);
  visit("connections", value.connections);
  visit("max_channels", value.max_channels);
  visit("max_bytes", value.max_bytes);
  visit("max_channel_bytes", value.max_channel_bytes);
  visit("max_capacity", value.max_capacity);
  visit("max_message", value.max_message);
  visit("keeps_sealed", value.keeps_sealed);
}
template <class Visit>
void members(WatchReply& value, Visit visit) {
  visit("what", value.what);
  visit("name", value.name);
  visit("role", value.role);
}

template <class T>
void write_all(Json& json, const T& value) {
  json = Json::object();
  // The list of members takes a mutable value for the reading direction; writing only looks.
  members(const_cast<T&>(value), [&](const char* member, const auto& each) { write(json, member, each); });
}
template <class T>
void read_all(const Json& json, T& value) {
  members(value, [&](const char* member, auto& each) { read(json, member, each); });
}

}  // namespace

void to_json(Json& json, const Peer& value) {
  write_all(json, value);
}
void from_json(const Json& json, Peer& value) {
  read_all(json, value);
}
void to_json(Json& json, const Shape& value) {
  write_all(json, value);
}
void from_json(const Json& json, Shape& value) {
  read_all(json, value);
}
void to_json(Json& json, const Rights& value) {
  write_all(json, value);
}
void from_json(const Json& json, Rights& value) {
  read_all(json, value);
}
void to_json(Json& json, const Counts& value) {
  write_all(json, value);
}
void from_json(const Json& json, Counts& value) {
  read_all(json, value);
}
void to_json(Json& json, const Channel& value) {
  write_all(json, value);
}
void from_json(const Json& json, Channel& value) {
  read_all(json, value);
}
void to_json(Json& json, const CreateCall& value) {
  write_all(json, value);
}
void from_json(const Json& json, CreateCall& value) {
  read_all(json, value);
}
void to_json(Json& json, const OpenCall& value) {
  write_all(json, value);
}
void from_json(const Json& json, OpenCall& value) {
  read_all(json, value);
}
void to_json(Json& json, const ListCall& value) {
  write_all(json, value);
}
void from_json(const Json& json, ListCall& value) {
  read_all(json, value);
}
void to_json(Json& json, const StatCall& value) {
  write_all(json, value);
}
void from_json(const Json& json, StatCall& value) {
  read_all(json, value);
}
void to_json(Json& json, const ChannelReply& value) {
  write_all(json, value);
}
void from_json(const Json& json, ChannelReply& value) {
  read_all(json, value);
}
void to_json(Json& json, const ListReply& value) {
  write_all(json, value);
}
void from_json(const Json& json, ListReply& value) {
  read_all(json, value);
}
void to_json(Json& json, const InfoReply& value) {
  write_all(json, value);
}
void from_json(const Json& json, InfoReply& value) {
  read_all(json, value);
}
void to_json(Json& json, const WatchReply& value) {
  write_all(json, value);
}
void from_json(const Json& json, WatchReply& value) {
  read_all(json, value);
}

// `force` may be left out, which means false.
void to_json(Json& json, const RemoveCall& value) {
  json = {{"name", value.name}, {"force", value.force}};
}
void from_json(const Json& json, RemoveCall& value) {
  std::optional<bool> force;
  read(json, "name", value.name);
  read(json, "force", force);
  value.force = force.value_or(false);
}

}  // namespace nimsync::protocol
