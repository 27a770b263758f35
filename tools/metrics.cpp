#include "tools/metrics.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <optional>
#include <ostream>
#include <string_view>
#include <system_error>

namespace nimsync::tools {

namespace {

/// One family of metrics after another.
class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "nimsync_" + std::string(name);
    suffix_ = type == "counter" ? "_total" : "";
    text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " + std::string(type) + "\n";
  }
  void sample(std::uint64_t value, const std::string& labels = {}) {
    text_ += name_ + suffix_ + (labels.empty() ? "" : "{" + labels + "}") + " " + std::to_string(value) + "\n";
  }
  [[nodiscard]] std::string end() && { return std::move(text_) + "# EOF\n"; }

 private:
  std::string name_;
  std::string suffix_;
  std::string text_;
};

// Names of channels need no escapes: letters, digits and . _ - (README). What one registry says may be anything.
std::string label(std::string_view key, std::string_view value) {
  std::string text = std::string(key) + "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text + "\"";
}

struct ChannelFamily {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  std::uint64_t ChannelInfo::*value;
};

constexpr std::array<ChannelFamily, 3> kOfRing{{
    {"channel_sent", "counter", "Messages, or bytes of ring, that were sent.", &ChannelInfo::sent},
    {"channel_received", "counter", "Messages, or bytes of ring, that were received.", &ChannelInfo::received},
    {"channel_used", "gauge", "Messages, or bytes of ring, that wait for the receiver.", &ChannelInfo::used},
}};

struct SideFamily {
  std::string_view name;
  std::string_view help;
  std::uint64_t ChannelInfo::*sender;
  std::uint64_t ChannelInfo::*receiver;
};

constexpr std::array<SideFamily, 5> kOfSides{{
    {"channel_stalls", "Blocking calls that found the ring full (sender) or empty (receiver).",
     &ChannelInfo::full_stalls, &ChannelInfo::empty_stalls},
    {"channel_sleeps", "Blocking calls that gave the processor away.", &ChannelInfo::sender_sleeps,
     &ChannelInfo::receiver_sleeps},
    {"channel_rings", "Wakings of the peer.", &ChannelInfo::sender_rings, &ChannelInfo::receiver_rings},
    {"channel_spurious", "Wakings that found nothing.", &ChannelInfo::sender_spurious, &ChannelInfo::receiver_spurious},
    {"channel_endpoints", "Endpoints that ever attached.", &ChannelInfo::senders, &ChannelInfo::receivers},
}};

constexpr std::array<std::string_view, 6> kStates{"idle", "waiting", "open", "closed", "damaged", "orphaned"};

void add_channels(Text& text, const std::vector<ChannelInfo>& channels) {
  const auto of = [](const ChannelInfo& channel) { return label("channel", channel.name); };
  const auto counted = [&](const ChannelInfo& channel) {
    return of(channel) + "," + label("unit", is_framed(channel) ? "bytes" : "messages");
  };
  for (const auto& each : kOfRing) {
    text.family(each.name, each.type, each.help);
    for (const auto& channel : channels) text.sample(channel.*each.value, counted(channel));
  }
  text.family("channel_capacity", "gauge", "Messages, or bytes of ring, that the channel takes.");
  for (const auto& channel : channels) text.sample(channel.geometry.capacity, counted(channel));
  text.family("channel_memory_bytes", "gauge", "Shared memory of the channel.");
  for (const auto& channel : channels) text.sample(channel.memory, of(channel));
  const auto of_sides = [&](const ChannelInfo& channel, std::uint64_t sender, std::uint64_t receiver) {
    text.sample(sender, of(channel) + "," + label("side", "sender"));
    text.sample(receiver, of(channel) + "," + label("side", "receiver"));
  };
  for (const auto& each : kOfSides) {
    text.family(each.name, "counter", each.help);
    for (const auto& channel : channels) of_sides(channel, channel.*each.sender, channel.*each.receiver);
  }
  text.family("channel_attached", "gauge", "Whether somebody holds the side.");
  for (const auto& channel : channels) {
    of_sides(channel, channel.sender.has_value() ? 1 : 0, channel.receiver.has_value() ? 1 : 0);
  }
  text.family("channel_state", "gauge", "1 for the state that the channel is in.");
  for (const auto& channel : channels) {
    for (const auto state : kStates) {
      text.sample(channel.state == state ? 1 : 0, of(channel) + "," + label("state", state));
    }
  }
}

/// Under a temporary name beside it first. What is there and is no file (a device, a FIFO, a link) is never replaced.
void publish(const std::string& path, const std::string& text) {
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    throw Error(Errc::exists, "cannot replace " + path + ": it is no regular file; leave out --output and redirect");
  }
  const std::string temporary = path + ".new." + std::to_string(::getpid());
  const auto fail = [&](int error) {
    ::unlink(temporary.c_str());
    throw Error(error == ENOSPC || error == EDQUOT ? Errc::no_space
                : error == EACCES                  ? Errc::denied
                                                   : Errc::failed,
                "cannot write " + path + ": " + std::generic_category().message(error));
  };
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) fail(errno);
  std::string_view rest = text;
  int error = 0;
  while (!rest.empty() && error == 0) {
    const ssize_t written = ::write(fd, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::fsync(fd) != 0 && error == 0 && errno != EINVAL) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) fail(error);
}

}  // namespace

std::string metrics_of(const RegistryInfo* info, const std::vector<ChannelInfo>& channels) {
  Text text;
  text.family("registry_up", "gauge", "Whether the registry answers.");
  text.sample(info != nullptr ? 1 : 0);
  if (info == nullptr) return std::move(text).end();
  const auto gauge = [&](std::string_view name, std::string_view help, std::uint64_t value) {
    text.family(name, "gauge", help);
    text.sample(value);
  };
  gauge("registry_uptime_seconds", "How long the registry has run.", info->uptime_s);
  gauge("registry_channels", "Channels.", info->channels);
  gauge("registry_channels_limit", "Channels that there may be.", info->max_channels);
  gauge("registry_memory_bytes", "Shared memory of all channels.", info->bytes);
  gauge("registry_memory_limit_bytes", "Shared memory that there may be.", info->max_bytes);
  gauge("registry_connections", "Connections.", info->connections);
  add_channels(text, channels);
  return std::move(text).end();
}

int metrics(const Place& place, const MetricsOptions& options, const Output& output) {
  std::optional<RegistryInfo> info;
  std::vector<ChannelInfo> channels;
  int exit_code = 0;
  try {
    Registry registry = reach(place);
    channels = registry.list();
    info = registry.info();
  } catch (const Error& error) {
    if (error.errc() != Errc::no_registry) throw;
    complain(output, error.what());
    exit_code = row(error.errc()).exit_code;
  }
  const std::string text = metrics_of(info ? &*info : nullptr, channels);
  if (options.file.empty()) {
    output.out << text;
  } else {
    publish(options.file, text);
  }
  return exit_code;
}

}  // namespace nimsync::tools
