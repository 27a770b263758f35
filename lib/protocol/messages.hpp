// The messages of the interface io.nimsync.registry as values.
//
// Each value turns into JSON and back; back is strict: a missing or mistyped member, a number out of range or an
// unknown word throws InvalidParameter with the member's name, which the session answers as
// org.varlink.service.InvalidParameter. Unknown members are ignored, as Varlink asks of both sides.
//
// Threads: plain values; the functions are reentrant and do no I/O.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "nimsync/layout.hpp"

namespace nimsync::protocol {

inline constexpr const char* kInterface = "io.nimsync.registry";

struct InvalidParameter : std::invalid_argument {
  using std::invalid_argument::invalid_argument;  // what() is the member's name
};

enum class Role : std::uint8_t { sender, receiver };
constexpr const char* name(Role role) noexcept {
  return role == Role::sender ? "sender" : "receiver";
}

struct Peer {
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::string command;

  bool operator==(const Peer&) const = default;
};

struct Shape {
  Geometry geometry;
  std::uint64_t alignment = 0;
  std::string type = {};

  bool operator==(const Shape&) const = default;
};

struct Rights {
  unsigned mode = 0600;
  std::string group = {};
  std::optional<bool> protect = std::nullopt;
  std::optional<bool> sealed = std::nullopt;

  bool operator==(const Rights&) const = default;
};

struct Counts {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t used = 0;
  std::uint64_t full_stalls = 0;
  std::uint64_t empty_stalls = 0;
  std::uint64_t sender_sleeps = 0;
  std::uint64_t receiver_sleeps = 0;
  std::uint64_t sender_rings = 0;
  std::uint64_t receiver_rings = 0;
  std::uint64_t sender_spurious = 0;
  std::uint64_t receiver_spurious = 0;
  std::uint64_t senders = 0;
  std::uint64_t receivers = 0;
  std::uint64_t streams_closed = 0;
  std::uint64_t streams_received = 0;

  bool operator==(const Counts&) const = default;
};

struct Channel {
  std::string name;
  Shape shape;
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  unsigned mode = 0;
  bool protect = false;
  bool sealed = false;
  std::uint64_t generation = 0;
  std::int64_t created = 0;
  std::uint64_t memory = 0;
  std::string state;
  std::string sender_barrier = {};
  std::string receiver_barrier = {};
  std::optional<Peer> sender;
  std::optional<Peer> receiver;
  Counts counts;

  bool operator==(const Channel&) const = default;
};

struct CreateCall {
  std::string name;
  Shape shape;
  Rights rights;
};
struct OpenCall {
  std::string name;
  Role role = Role::sender;
  std::optional<Shape> expect;
  std::optional<Rights> create;
};
struct ListCall {
  std::string pattern;
};
struct StatCall {
  std::string name;
};
struct RemoveCall {
  std::string name;
  bool force = false;
};

struct ChannelReply {
  Channel channel;
};
struct ListReply {
  std::vector<Channel> channels;
};
struct InfoReply {
  std::string version;
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t uptime_s = 0;
  std::string socket;
  std::string state_dir;
  std::uint64_t channels = 0;
  std::uint64_t bytes = 0;
  std::uint64_t connections = 0;
  std::uint64_t max_channels = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t max_channel_bytes = 0;
  std::uint64_t max_capacity = 0;
  std::uint64_t max_message = 0;
  bool keeps_sealed = false;
};
struct WatchReply {
  std::string what;
  std::string name;
  std::optional<Role> role;
};

using Json = nlohmann::json;

// Found by nlohmann-json: Json(value), json.get<Value>().
void to_json(Json& json, const Peer& value);
void from_json(const Json& json, Peer& value);
void to_json(Json& json, const Shape& value);
void from_json(const Json& json, Shape& value);
void to_json(Json& json, const Rights& value);
void from_json(const Json& json, Rights& value);
void to_json(Json& json, const Counts& value);
void from_json(const Json& json, Counts& value);
void to_json(Json& json, const Channel& value);
void from_json(const Json& json, Channel& value);
void to_json(Json& json, const CreateCall& value);
void from_json(const Json& json, CreateCall& value);
void to_json(Json& json, const OpenCall& value);
void from_json(const Json& json, OpenCall& value);
void to_json(Json& json, const ListCall& value);
void from_json(const Json& json, ListCall& value);
void to_json(Json& json, const StatCall& value);
void from_json(const Json& json, StatCall& value);
void to_json(Json& json, const RemoveCall& value);
void from_json(const Json& json, RemoveCall& value);
void to_json(Json& json, const ChannelReply& value);
void from_json(const Json& json, ChannelReply& value);
void to_json(Json& json, const ListReply& value);
void from_json(const Json& json, ListReply& value);
void to_json(Json& json, const InfoReply& value);
void from_json(const Json& json, InfoReply& value);
void to_json(Json& json, const WatchReply& value);
void from_json(const Json& json, WatchReply& value);

}  // namespace nimsync::protocol
