#include "tools/commands.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string_view>
#include <thread>
#include <utility>

#include "tools/offline.hpp"
#include "tools/transfer.hpp"
#include "words/quantity.hpp"

namespace nimsync::tools {

using words::Creation;
using words::CreationRequest;
using words::format_age;
using words::format_mode;
using words::format_size;
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// "0620ps": p for protected, s for sealed.
std::string mode_of(const ChannelInfo& channel) {
  return format_mode(channel.mode) + (channel.is_protected ? "p" : "") + (channel.is_sealed ? "s" : "");
}

/// "mode 0620, protected, sealed".
std::string spelled_mode_of(const ChannelInfo& channel) {
  return "mode " + format_mode(channel.mode) + (channel.is_protected ? ", protected" : "") +
         (channel.is_sealed ? ", sealed" : "");
}

/// "1024 records of 16 bytes, stamped", "messages of up to 64K, 4M in all".
std::string shape_of(const ChannelInfo& channel) {
  if (is_framed(channel)) {
    return "messages of up to " + format_size(channel.geometry.size) + ", " + format_size(channel.geometry.capacity) +
           " in all";
  }
  return std::to_string(channel.geometry.capacity) + (channel.geometry.capacity == 1 ? " record of " : " records of ") +
         std::to_string(channel.geometry.size) + " bytes, " + std::string{name(channel.geometry.layout)};
}

/// How an endpoint that has been told to sleep until rung does.
std::string way_of_waiting(const std::string& barrier) {
  if (barrier.empty()) return "-";
  return barrier == "membarrier" ? "doorbell" : "backoff (membarrier refused)";
}

Pairs details_of(const ChannelInfo& channel, Names& names, std::time_t now) {
  const std::string unit = is_framed(channel) ? " bytes of ring" : "";
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  Pairs pairs{
      {"channel", shape_of(channel)},
      {"state", channel.state},
      {"sent", number(channel.sent) + unit},
      {"received", number(channel.received) + unit},
      {"used", number(channel.used) + " of " + number(channel.geometry.capacity) + unit},
      {"full stalls", number(channel.full_stalls)},
      {"empty stalls", number(channel.empty_stalls)},
      {"sender sleeps", number(channel.sender_sleeps)},
      {"receiver sleeps", number(channel.receiver_sleeps)},
      {"sender rings", number(channel.sender_rings)},
      {"receiver rings", number(channel.receiver_rings)},
      {"sender spurious wake-ups", number(channel.sender_spurious)},
      {"receiver spurious wake-ups", number(channel.receiver_spurious)},
      {"sender waits by", way_of_waiting(channel.sender_barrier)},
      {"receiver waits by", way_of_waiting(channel.receiver_barrier)},
      {"sender", text_of(channel.sender)},
      {"receiver", text_of(channel.receiver)},
      {"senders so far", number(channel.senders)},
      {"receivers so far", number(channel.receivers)},
      {"streams closed", number(channel.streams_closed)},
      {"streams received", number(channel.streams_received)},
      {"generation", number(channel.generation)},
      {"owner", names.user(channel.owner) + ":" + names.group(channel.group) + ", " + spelled_mode_of(channel)},
      {"memory", format_size(channel.memory)},
      {"age", format_age(now - channel.created)},
  };
  if (channel.alignment != 0) pairs.insert(pairs.begin() + 1, {"alignment", number(channel.alignment)});
  if (!channel.type.empty()) pairs.insert(pairs.begin() + 1, {"type", channel.type});
  return pairs;
}

/// The channel's registry, with the channel made if its making was asked for.
Registry registry_with(const Place& place, const std::string& channel, const Creation& creation, std::ostream& err) {
  if (creation == Creation{}) return reach(place);
  const CreationRequest request = request_for(creation);
  Registry registry = reach_or_start(place, err);
  try {
    static_cast<void>(registry.create(channel, request.shape, request.options));
  } catch (const Error& error) {
    if (error.errc() != Errc::exists) throw;
  }
  return registry;
}

template <class AnyEndpoint>
bool is_record(const AnyEndpoint& endpoint) {
  return endpoint.layout() != Layout::framed;
}

std::string counted(std::uint64_t messages) {
  return std::to_string(messages) + (messages == 1 ? " message" : " messages");
}

/// Does `act` for each name; what fails is said and doesn't keep the others from being done. The exit code of the first
/// failure.
template <class Act>
int for_each_name(const std::vector<std::string>& names, const Output& output, Act act) {
  int exit_code = 0;
  for (const auto& each : names) {
    try {
      act(each);
    } catch (const Error& error) {
      if (error.errc() == Errc::no_registry) throw;
      complain(output, error.what());
      if (exit_code == 0) exit_code = row(error.errc()).exit_code;
    }
  }
  return exit_code;
}

const ChannelInfo& find_in(const std::vector<ChannelInfo>& channels, const std::string& name) {
  const auto found =
      std::find_if(channels.begin(), channels.end(), [&](const auto& each) { return each.name == name; });
  if (found == channels.end()) throw Error(Errc::no_such_channel, "there is no channel '" + name + "'");
  return *found;
}

}  // namespace

int create(const Place& place, const CreateOptions& options, const Output& output) {
  const CreationRequest request = request_for(options.creation);
  Registry registry = reach_or_start(place, output.err);
  bool is_new = true;
  ChannelInfo channel;
  try {
    channel = registry.create(options.name, request.shape, request.options);
  } catch (const Error& error) {
    if (!options.if_not_exists || error.errc() != Errc::exists) throw;
    if (!output.json) return 0;
    is_new = false;
    channel = registry.stat(options.name);
  }
  if (output.json) {
    Json json = document();
    json["created"] = is_new;
    json["channel"] = json_of(channel);
    print(output, json);
  } else {
    output.out << "created " << channel.name << ": " << shape_of(channel) << ", " << spelled_mode_of(channel) << ", "
               << format_size(channel.memory) << " of memory\n";
  }
  if (is_new && channel.is_sealed) {
    output.err << "nimsyncctl: sealed memory ends with the registry's "
               << (registry.info().keeps_sealed ? "service, though not with its restart: when nimsyncd is stopped, "
                                                : "process: when nimsyncd ends or is restarted, ")
               << channel.name << " goes on between those who hold it, and nobody can join them\n";
  }
  return 0;
}

Table table_of(const std::vector<ChannelInfo>& channels, std::time_t now) {
  using enum Column::Align;
  Table table;
  table.columns = {{"NAME", left, true},
                   {"KIND"},
                   {"MSG", right},
                   {"CAPACITY", right},
                   {"USED", right},
                   {"STATE"},
                   {"SENDER", left, true},
                   {"RECEIVER", left, true},
                   {"OWNER", left, true},
                   {"GROUP", left, true},
                   {"MODE"},
                   {"MEMORY", right},
                   {"AGE", right}};
  Names names;
  for (const auto& channel : channels) {
    table.rows.push_back({
        channel.name,
        std::string{name(channel.geometry.layout)},
        amount(channel, channel.geometry.size),
        amount(channel, channel.geometry.capacity),
        amount(channel, channel.used),
        {channel.state, colour_of(channel.state)},
        text_of(channel.sender),
        text_of(channel.receiver),
        names.user(channel.owner),
        names.group(channel.group),
        mode_of(channel),
        format_size(channel.memory),
        format_age(now - channel.created),
    });
  }
  return table;
}

int list(const Place& place, const ListOptions& options, const Output& output) {
  const std::vector<ChannelInfo> channels =
      options.offline ? list_offline(place, options.state_dir, options.pattern) : reach(place).list(options.pattern);
  if (output.json) {
    Json json = document();
    json["channels"] = json_of(channels);
    print(output, json);
  } else {
    output.out << render(table_of(channels, std::time(nullptr)), output.style);
  }
  return 0;
}

int stat(const Place& place, const StatOptions& options, const Output& output) {
  std::vector<ChannelInfo> channels;
  std::optional<Registry> registry;
  if (!options.offline) registry = reach(place);
  if (options.offline || options.names.empty()) {
    channels = registry ? registry->list() : list_offline(place, options.state_dir, "");
  }
  int exit_code = 0;
  if (!options.names.empty()) {
    const std::vector<ChannelInfo> all = std::exchange(channels, {});
    exit_code = for_each_name(options.names, output, [&](const std::string& each) {
      channels.push_back(registry ? registry->stat(each) : find_in(all, each));
    });
  }
  if (output.json) {
    Json json = document();
    json["channels"] = json_of(channels);
    print(output, json);
    return exit_code;
  }
  Names names;
  for (const auto& channel : channels) {
    if (&channel != &channels.front()) output.out << "\n";
    output.out << render_block(channel.name, details_of(channel, names, std::time(nullptr)), output.style);
  }
  return exit_code;
}

int remove(const Place& place, const RemoveOptions& options, const Output& output) {
  Registry registry = reach(place);
  Json removed = Json::array();
  const int exit_code = for_each_name(options.names, output, [&](const std::string& each) {
    registry.remove(each, options.force);
    removed.push_back(each);
  });
  if (output.json) {
    Json json = document();
    json["removed"] = removed;
    print(output, json);
  }
  return exit_code;
}

int info(const Place& place, const Output& output) {
  const RegistryInfo info = reach(place).info();
  if (output.json) {
    Json json = document();
    json["registry"] = {{"version", info.version},
                        {"pid", info.pid},
                        {"uid", info.uid},
                        {"uptime_s", info.uptime_s},
                        {"socket", info.socket},
                        {"state_dir", info.state_dir},
                        {"channels", info.channels},
                        {"bytes", info.bytes},
                        {"connections", info.connections},
                        {"max_channels", info.max_channels},
                        {"max_bytes", info.max_bytes},
                        {"max_channel_bytes", info.max_channel_bytes},
                        {"max_capacity", info.max_capacity},
                        {"max_message", info.max_message},
                        {"keeps_sealed", info.keeps_sealed}};
    print(output, json);
    return 0;
  }
  const auto of = [](const std::string& is, const std::string& most) { return is + " of at most " + most; };
  output.out << render_block("nimsyncd " + info.version,
                             {{"socket", info.socket},
                              {"state", info.state_dir},
                              {"process", std::to_string(info.pid) + " of " + Names{}.user(info.uid)},
                              {"uptime", format_age(static_cast<std::int64_t>(info.uptime_s))},
                              {"connections", std::to_string(info.connections)},
                              {"channels", of(std::to_string(info.channels), std::to_string(info.max_channels))},
                              {"memory", of(format_size(info.bytes), format_size(info.max_bytes))},
                              {"largest channel", format_size(info.max_channel_bytes)},
                              {"largest capacity", std::to_string(info.max_capacity) + " records"},
                              {"largest message", format_size(info.max_message)},
                              {"sealed memory", info.keeps_sealed ? "outlives a restart" : "ends with the process"}},
                             output.style);
  return 0;
}

int events(const Place& place, bool follow, const Output& output) {
  constexpr std::chrono::milliseconds kAgain{200};
  const auto tell = [&](const Event& event) {
    const char* role = !event.role ? nullptr : *event.role == Role::sender ? "sender" : "receiver";
    if (output.json) {
      Json json = document();
      json["event"] = event.what;
      json["name"] = event.name;
      json["role"] = role == nullptr ? Json(nullptr) : Json(role);
      print_line(output, json);
    } else {
      output.out << event.what << (event.name.empty() ? "" : " ") << event.name;
      if (role != nullptr) output.out << " as " << role;
      output.out << "\n" << std::flush;
    }
    return output.out.good();
  };
  std::optional<Registry> registry = reach(place);
  while (output.out.good()) {
    try {
      if (!registry) registry = reach(place);
      registry->watch(tell);
    } catch (const Error& error) {
      if (!follow || error.errc() != Errc::no_registry) throw;
      if (registry) tell({.what = "lost", .name = "", .role = std::nullopt});
      registry.reset();
      std::this_thread::sleep_for(kAgain);
    }
  }
  return 0;
}

int send(const Place& place, const SendOptions& options, int in, const Output& output) {
  // The endpoint needs the registry no more.
  Sender<Bytes> sender = registry_with(place, options.name, options.creation, output.err).sender<Bytes>(options.name);
  const Framing framing = options.framing.value_or(is_record(sender) ? Framing::raw : Framing::lines);
  Splitter splitter{framing, {sender.max_size(), is_record(sender)}};
  const SendRules rules{options.timeout, [&] { return reach(place).stat(options.name).receiver.has_value(); }};

  const std::string what = "sending to " + options.name + ": ";
  Count count;
  int exit_code = kExitFailed;
  try {
    const Status status = send_all(in, splitter, sender, rules, count);
    const std::string so_far = "; " + counted(count.messages) + " sent";
    switch (status) {
      case Status::ok:
        if (!options.keep_open) sender.close();
        exit_code = 0;
        break;
      case Status::timeout:
        complain(output, what + "there was no room within the timeout" + so_far + "; start a receiver");
        exit_code = kExitTimeout;
        break;
      case Status::peer_lost:
        complain(output, what + "its receiver went away and the channel is full" + so_far +
                             ", which wait for the next receiver; send the rest then");
        exit_code = kExitPeerLost;
        break;
      case Status::removed:
        complain(output, what + "the channel was removed" + so_far + "; create it and send again");
        exit_code = kExitRemoved;
        break;
      case Status::corrupted:
        complain(output, what + "its memory holds what no receiver writes" + so_far + "; remove it and create it anew");
        exit_code = kExitCorrupted;
        break;
      default:
        complain(output, what + name(status) + so_far);
    }
  } catch (const BadInput& error) {
    complain(output, what + error.what() + "; " + counted(count.messages) + " before it sent");
  }
  if (output.json) {
    Json json = document();
    json["sent"] = {{"messages", count.messages}, {"bytes", count.bytes}};
    print(output, json);
  }
  return exit_code;
}

int receive(const Place& place, const ReceiveOptions& options, int out, const Output& output) {
  Receiver<Bytes> receiver =
      registry_with(place, options.name, options.creation, output.err).receiver<Bytes>(options.name);
  ReceiveRules rules;
  rules.framing = options.framing.value_or(is_record(receiver) ? Framing::raw : Framing::lines);
  rules.follow = options.follow;
  rules.wait = options.wait;
  rules.count = options.count;
  rules.timeout = options.timeout;

  Count count;
  const StopOnSignals stop{receiver};
  const Received received = receive_all(receiver, out, rules, count);
  switch (received.ending) {
    case Ending::done:
      return 0;
    case Ending::signal:
      return kExitSignal + StopOnSignals::caught();
    case Ending::reader_gone:
      return kExitSignal + SIGPIPE;
    case Ending::status:
      break;
  }
  const std::string what = "receiving from " + options.name + ": ";
  const std::string so_far = "; " + counted(count.messages) + " received";
  switch (received.status) {
    case Status::closed:
      return 0;
    case Status::timeout:
      complain(output, what + "no message came within the timeout" + so_far + "; start a sender");
      return kExitTimeout;
    case Status::peer_lost:
      complain(output,
               what + "its sender went away without closing the stream" + so_far + "; --follow waits for the next one");
      return kExitPeerLost;
    case Status::removed:
      complain(output, what + "the channel was removed" + so_far + "; create it and receive again");
      return kExitRemoved;
    case Status::corrupted:
      complain(output, what + "its memory holds what no sender writes" + so_far + "; remove it and create it anew");
      return kExitCorrupted;
    default:
      complain(output, what + name(received.status) + so_far);
      return kExitFailed;
  }
}

}  // namespace nimsync::tools
