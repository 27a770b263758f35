#include "tools/output.hpp"

#include <grp.h>
#include <pwd.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "words/quantity.hpp"

namespace nimsync::tools {

using words::format_mode;
using words::format_size;

namespace {

constexpr int kJsonVersion = 1;
constexpr int kIndent = 2;
constexpr int kOneLine = -1;

/// Process names needn't be UTF-8.
std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json json_of(const std::optional<Peer>& peer) {
  if (!peer) return nullptr;
  return Json{{"pid", peer->pid}, {"uid", peer->uid}, {"command", peer->command}};
}

}  // namespace

Json document() {
  return Json{{"version", kJsonVersion}};
}

void print(const Output& output, const Json& json) {
  output.out << text_of(json, kIndent) << std::flush;
}

void print_line(const Output& output, const Json& json) {
  output.out << text_of(json, kOneLine) << std::flush;
}

void complain(const Output& output, std::string_view what) {
  output.err << "nimsyncctl: " << printable(what) << "\n" << std::flush;
}

Json json_of(const ChannelInfo& channel) {
  return Json{{"name", channel.name},
              {"kind", name(channel.geometry.layout)},
              {"size", channel.geometry.size},
              {"capacity", channel.geometry.capacity},
              {"alignment", channel.alignment},
              {"type", channel.type},
              {"owner", channel.owner},
              {"group", channel.group},
              {"mode", format_mode(channel.mode)},
              {"protected", channel.is_protected},
              {"sealed", channel.is_sealed},
              {"generation", channel.generation},
              {"created", channel.created},
              {"memory", channel.memory},
              {"state", channel.state},
              {"sender", json_of(channel.sender)},
              {"receiver", json_of(channel.receiver)},
              {"counts",
               {{"sent", channel.sent},
                {"received", channel.received},
                {"used", channel.used},
                {"full_stalls", channel.full_stalls},
                {"empty_stalls", channel.empty_stalls},
                {"sender_sleeps", channel.sender_sleeps},
                {"receiver_sleeps", channel.receiver_sleeps},
                {"sender_rings", channel.sender_rings},
                {"receiver_rings", channel.receiver_rings},
                {"sender_spurious", channel.sender_spurious},
                {"receiver_spurious", channel.receiver_spurious},
                {"senders", channel.senders},
                {"receivers", channel.receivers},
                {"streams_closed", channel.streams_closed},
                {"streams_received", channel.streams_received}}},
              {"sender_barrier", channel.sender_barrier},
              {"receiver_barrier", channel.receiver_barrier}};
}

Json json_of(const std::vector<ChannelInfo>& channels) {
  Json list = Json::array();
  for (const auto& channel : channels) list.push_back(json_of(channel));
  return list;
}

std::string amount(const ChannelInfo& channel, std::uint64_t value) {
  return is_framed(channel) ? format_size(value) : std::to_string(value);
}

std::string text_of(const std::optional<Peer>& peer) {
  return peer ? peer->command + "[" + std::to_string(peer->pid) + "]" : "-";
}

Colour colour_of(std::string_view state) {
  if (state == "open") return Colour::good;
  if (state == "waiting" || state == "closed") return Colour::notice;
  if (state == "damaged") return Colour::bad;
  return Colour::none;
}

template <class Look>
std::string Names::find(Known& known, std::uint32_t id, Look look) {
  const auto [at, is_new] = known.try_emplace(id);
  if (is_new) {
    const char* name = look(id);
    at->second = name == nullptr ? std::to_string(id) : name;
  }
  return at->second;
}

std::string Names::user(std::uint32_t uid) {
  return find(users_, uid, [](std::uint32_t id) -> const char* {
    const passwd* entry = ::getpwuid(id);
    return entry == nullptr ? nullptr : entry->pw_name;
  });
}

std::string Names::group(std::uint32_t gid) {
  return find(groups_, gid, [](std::uint32_t id) -> const char* {
    const ::group* entry = ::getgrgid(id);
    return entry == nullptr ? nullptr : entry->gr_name;
  });
}

}  // namespace nimsync::tools
