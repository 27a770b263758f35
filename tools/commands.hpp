// The verbs of nimsyncctl: one function for each.
//
// Each takes what its command line says as a plain struct, does it, and returns the exit code: 0, or what it has
// already said on `err` (a line for each failure: "nimsyncctl: what failed: why; what to do"). What fails as a whole
// throws Error, of which row(code).exit_code is the exit code. Nothing here reads the command line, the environment
// (but what the library does) or the terminal.
//
// JSON, version 1. With `json`, every verb that prints prints one document (events, stat --watch: one a line), which is
// an object with "version": 1. Members may be added within a version, and are never renamed or removed.
//
// clang-format off
//
//   create        {"created": bool, "channel": CHANNEL}     created: false when --if-not-exists found it
//   list          {"channels": [CHANNEL...]}
//   stat          {"channels": [CHANNEL...]}                 those that were found
//   stat --watch  {"time": seconds since 1970, "channels": [RATED...]}
//   top           {"channels": [RATED...]}
//   remove        {"removed": [NAME...]}
//   info          {"registry": {"version", "pid", "uid", "uptime_s", "socket", "state_dir", "channels", "bytes",
//                 "connections", "max_channels", "max_bytes", "max_channel_bytes", "max_capacity", "max_message",
//                 "keeps_sealed"}}
//   events        {"event": "watching" | "created" | "opened" | "removed" | "lost", "name",
//                 "role": "sender" | "receiver" | null}
//   check         {"status": "OK" | "WARNING" | "CRITICAL", "findings": [TEXT...], "performance": TEXT}
//   doctor        {"findings": [{"severity": "error" | "warning" | "note", "id", "what", "advice"}...],
//                 "looked_at": [TEXT...]}                   tools/doctor.hpp has the ids
//   send          {"sent": {"messages", "bytes"}}           also when it ends early
//
//   CHANNEL  {"name", "kind": "stamped" | "dense" | "framed", "size", "capacity", "alignment", "type", "owner", "group",
//            "mode": "0620", "protected", "sealed", "generation", "created", "memory", "state", "sender": PEER | null,
//            "receiver": PEER | null, "counts": {"sent", "received", "used", "full_stalls", "empty_stalls",
//            "sender_sleeps", "receiver_sleeps", "sender_rings", "receiver_rings", "sender_spurious",
//            "receiver_spurious", "senders", "receivers", "streams_closed", "streams_received"},
//            "sender_barrier": BARRIER, "receiver_barrier": BARRIER}
//   RATED    CHANNEL with "rates": {"sent", "received", "full_stalls", "empty_stalls", "sleeps", "rings"}, each a
//            second, or null of a channel that is new
//   PEER     {"pid", "uid", "command"}
//   BARRIER  "membarrier": sleeps until rung; "fence": its process was refused membarrier(2), so it backs off and
//            fences with each message; "refused": it was refused it later, and backs off; "": nobody attached yet
//
// clang-format on
//
// size: bytes of a record or of the largest frame. capacity, sent, received, used: records, or bytes of ring (framed).
// owner, group: numbers. created: seconds since 1970. Errors are never JSON.
//
// One thread.
#pragma once

#include <cstdint>
#include <ctime>
#include <iosfwd>
#include <nimsync/nimsync.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/autostart.hpp"
#include "tools/framing.hpp"
#include "tools/output.hpp"
#include "words/creation.hpp"

namespace nimsync::tools {

struct CreateOptions {
  std::string name;
  words::Creation creation;
  bool if_not_exists = false;
};
int create(const Place& place, const CreateOptions& options, const Output& output);

struct ListOptions {
  std::string pattern;    // empty: all
  bool offline = false;   // from the state folder, and not by a registry: tools/offline.hpp
  std::string state_dir;  // that folder; empty: where it usually is
};
int list(const Place& place, const ListOptions& options, const Output& output);

struct StatOptions {
  std::vector<std::string> names;  // none: all
  bool offline = false;            // as for list
  std::string state_dir;
};
int stat(const Place& place, const StatOptions& options, const Output& output);

struct RemoveOptions {
  std::vector<std::string> names;
  bool force = false;
};
int remove(const Place& place, const RemoveOptions& options, const Output& output);

int info(const Place& place, const Output& output);

/// Until the output can't be written or, unless it follows, the registry ends. One that follows then says "lost", waits
/// for the next registry, and says "watching" again: what happened between it can't know.
int events(const Place& place, bool follow, const Output& output);

struct SendOptions {
  std::string name;
  words::Creation creation;  // with anything in it: the channel is created when absent
  std::optional<Framing> framing = std::nullopt;
  bool keep_open = false;
  Timeout timeout = forever;
};
int send(const Place& place, const SendOptions& options, int in, const Output& output);

struct ReceiveOptions {
  std::string name;
  words::Creation creation;  // as for send
  std::optional<Framing> framing = std::nullopt;
  bool follow = false;
  bool wait = true;
  std::optional<std::uint64_t> count = std::nullopt;
  Timeout timeout = forever;
};
/// 128 and the signal's number when SIGINT or SIGTERM ended it, 141 when nobody reads `out` any more.
int receive(const Place& place, const ReceiveOptions& options, int out, const Output& output);

/// What list prints of channels at the time `now`; names of owners and groups as the system has them.
Table table_of(const std::vector<ChannelInfo>& channels, std::time_t now);

}  // namespace nimsync::tools
