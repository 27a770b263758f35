#include "tools/doctor.hpp"

#include <linux/membarrier.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "os/descriptor.hpp"
#include "os/segment.hpp"
#include "tools/offline.hpp"
#include "words/quantity.hpp"

namespace nimsync::tools {

namespace {

using words::format_mode;
using words::format_size;
using enum Gravity;
namespace fs = std::filesystem;

constexpr double kNear = 0.8;                              // of a limit
constexpr std::uint64_t kFewInodes = 64;                   // a channel takes two
constexpr std::uint64_t kSmall = std::uint64_t{64} << 20;  // what container engines give /dev/shm
constexpr int kAnswerWithin_ms = 3000;
constexpr std::chrono::milliseconds kSecondLook{500};  // after what is just being made may be done

constexpr std::array<std::string_view, 3> kWords{"note", "warning", "error"};

bool is_near(std::uint64_t is, std::uint64_t most) {
  return static_cast<double>(is) >= kNear * static_cast<double>(most);
}

std::string counted(std::uint64_t number, const std::string& one, const std::string& more = "") {
  return std::to_string(number) + " " + (number == 1 ? one : more.empty() ? one + "s" : more);
}

/// "" when it can't be read.
std::string text_in(const std::string& path) {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// ---- sockets

enum class Answer { absent, not_a_socket, denied, refused, silent, stranger, registry };

/// Who is at a socket. Asked without the library, which expects a registry.
Answer ask(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno == EACCES ? Answer::denied : Answer::absent;
  if (!S_ISSOCK(st.st_mode)) return Answer::not_a_socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Answer::absent;
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  const os::Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) os::fail(errno, "cannot make a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EACCES || errno == EPERM) return Answer::denied;
    return errno == EAGAIN ? Answer::silent : errno == EPROTOTYPE ? Answer::stranger : Answer::refused;
  }
  constexpr std::string_view kCall = R"({"method":"org.varlink.service.GetInfo"})";
  std::string call{kCall};
  call += '\0';
  if (::send(fd.get(), call.data(), call.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(call.size())) {
    return Answer::stranger;
  }
  std::string reply;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{kAnswerWithin_ms};
  while (reply.find('\0') == std::string::npos && reply.size() < 65536) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd one{.fd = fd.get(), .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || ::poll(&one, 1, static_cast<int>(left.count())) == 0) return Answer::silent;
    std::array<char, 4096> some{};
    const ssize_t got = ::recv(fd.get(), some.data(), some.size(), 0);
    if (got <= 0) return Answer::stranger;
    reply.append(some.data(), static_cast<std::size_t>(got));
  }
  return reply.find("io.nimsync.registry") != std::string::npos ? Answer::registry : Answer::stranger;
}

/// What was looked at, and found.
struct Examination {
  std::vector<Finding> findings;
  std::vector<std::string> looked_at;

  void find(Gravity gravity, std::string id, std::string what, std::string advice) {
    findings.push_back({gravity, std::move(id), std::move(what), std::move(advice)});
  }
  void find(std::vector<Finding> more) {
    findings.insert(findings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
};

void look_at_socket(Examination& all, const std::string& path, Answer answer) {
  switch (answer) {
    case Answer::absent:
    case Answer::registry:
      break;
    case Answer::not_a_socket:
      all.find(error, "not-a-socket", path + " is no socket",
               "see what it is and remove it; a registry leaves it alone and ends");
      break;
    case Answer::denied:
      all.find(error, "socket-denied", "uid " + std::to_string(::geteuid()) + " may not connect to " + path,
               "let it: the socket needs mode 0666 or the right owner, and its folders x for others");
      break;
    case Answer::refused:
      all.find(
          error, "stale-socket", "nobody listens at " + path + ": its registry was stopped or killed",
          "start nimsyncd (systemctl restart nimsyncd.socket); it takes the socket's place and adopts the channels");
      break;
    case Answer::silent:
      all.find(error, "silent",
               "what listens at " + path + " gave no answer in " + std::to_string(kAnswerWithin_ms) + " ms",
               "if it is nimsyncd, it hangs or is stopped: restart it, which disturbs no traffic");
      break;
    case Answer::stranger:
      all.find(error, "foreign-service", "what listens at " + path + " is no registry of nimsync",
               "stop that program, or give another socket by --socket or NIMSYNC_SOCKET");
      break;
  }
}

/// The first registry that answers.
std::optional<Registry> look_for_registry(Examination& all, const Place& place) {
  const auto places = place.socket.empty() ? Registry::places(place.scope) : std::vector<std::string>{place.socket};
  const std::size_t before = all.findings.size();
  std::string tried;
  for (const std::string& path : places) {
    const Answer answer = ask(path);
    tried += (tried.empty() ? "" : ", ") + path;
    look_at_socket(all, path, answer);
    if (answer != Answer::registry) continue;
    try {
      Registry registry = Registry::connect(path);
      all.looked_at.push_back("the registry at " + path);
      return registry;
    } catch (const Error& refused) {
      all.find(error, "socket-denied", refused.what(), "see the sentence");
    }
  }
  if (all.findings.size() == before) {
    all.find(error, "no-registry", "there is no registry at " + tried,
             "systemctl enable --now nimsyncd.socket (for a user's own with --user), or start nimsyncd");
  }
  return std::nullopt;
}

// ---- the registry's process

/// The most memory that the control groups of a process let it have, and what the narrowest of them has.
struct GroupMemory {
  std::uint64_t most = UINT64_MAX;
  std::uint64_t has = 0;
};
GroupMemory memory_of_group(std::int64_t pid) {
  GroupMemory memory;
  const std::string text = text_in("/proc/" + std::to_string(pid) + "/cgroup");
  const auto begin = text.find("0::/");
  if (begin == std::string::npos) return memory;
  for (fs::path group = text.substr(begin + 3, text.find('\n', begin) - begin - 3); group != group.parent_path();
       group = group.parent_path()) {
    const std::string folder = "/sys/fs/cgroup" + group.string();
    std::uint64_t most = 0;
    if (!(std::istringstream{text_in(folder + "/memory.max")} >> most) || most >= memory.most) continue;
    memory.most = most;
    std::istringstream{text_in(folder + "/memory.current")} >> memory.has;
  }
  return memory;
}

void look_at_process(Examination& all, const RegistryInfo& info) {
  const std::string proc = "/proc/" + std::to_string(info.pid);
  std::error_code unreadable;
  const auto count = [&] {
    return static_cast<std::uint64_t>(std::distance(fs::directory_iterator(proc + "/fd", unreadable), {}));
  };
  const std::string limits = text_in(proc + "/limits");
  constexpr std::string_view kLine = "Max open files";
  const auto line = limits.find(kLine);
  std::uint64_t most = 0;
  const std::uint64_t open = count();
  if (!unreadable && line != std::string::npos && std::istringstream{limits.substr(line + kLine.size())} >> most &&
      is_near(open, most)) {
    all.find(warning, "descriptors",
             "the registry has " + std::to_string(open) + " descriptors of at most " + std::to_string(most),
             "raise LimitNOFILE= of its unit and restart it; sealed channels take two each, connections one");
  }
  const GroupMemory memory = memory_of_group(info.pid);
  if (memory.most < info.max_bytes) {
    all.find(warning, "memory-max",
             "the registry's control group may have " + format_size(memory.most) +
                 " and its limit max-bytes promises " + format_size(info.max_bytes) +
                 " of channels, which are charged to it",
             "lower max-bytes, so that a channel too many is refused and the registry not killed, or raise MemoryMax=");
  } else if (memory.most != UINT64_MAX && is_near(memory.has, memory.most)) {
    all.find(warning, "memory-max",
             "the registry's control group has " + format_size(memory.has) + " of at most " + format_size(memory.most),
             "raise MemoryMax= of its unit, or remove channels");
  }
}

void look_at_session(Examination& all, const RegistryInfo& info) {
  constexpr std::uint32_t kFirstUser = 1000;
  const std::string user = Names{}.user(info.uid);
  if (info.uid < kFirstUser || info.uid == 65534 || !fs::exists("/run/systemd/system")) return;
  if (fs::exists("/var/lib/systemd/linger/" + user)) return;
  all.find(note, "linger", "when the last session of " + user + " ends, systemd-logind removes this registry's memory",
           "loginctl enable-linger " + user + ", or RemoveIPC=no in logind.conf, if channels are to stay");
}

// ---- /dev/shm

void look_at_shm(Examination& all, const std::optional<RegistryInfo>& info) {
  constexpr const char* kShm = "/dev/shm";
  struct statvfs space {};
  struct stat st {};
  if (::statvfs(kShm, &space) != 0 || ::stat(kShm, &st) != 0 || !S_ISDIR(st.st_mode)) {
    all.find(error, "shm-missing", "there is no /dev/shm", "mount a tmpfs there");
    return;
  }
  all.looked_at.emplace_back(kShm);
  const std::uint64_t free = space.f_bavail * space.f_frsize;
  const std::uint64_t total = space.f_blocks * space.f_frsize;
  if ((space.f_flag & ST_RDONLY) != 0 || (st.st_mode & 01777U) != 01777U) {
    all.find(error, "shm-permissions",
             "/dev/shm has the mode " + format_mode(st.st_mode & 07777U) +
                 ((space.f_flag & ST_RDONLY) != 0 ? " and is mounted read-only" : ""),
             "mount -o remount,rw,mode=1777 /dev/shm");
  }
  if (space.f_files != 0 && space.f_favail < kFewInodes) {
    all.find(warning, "shm-inodes",
             "/dev/shm has " + std::to_string(space.f_favail) + " inodes left, and a channel takes two",
             "mount -o remount,nr_inodes=... /dev/shm, or see what is there");
  }
  const std::uint64_t promised =
      !info ? 0 : std::min(info->max_channel_bytes, info->max_bytes - std::min(info->bytes, info->max_bytes));
  if (info ? free < promised : total <= kSmall) {
    all.find(
        warning, "shm-small",
        "/dev/shm has " + format_size(free) + " left of " + format_size(total) +
            (info ? ", and the limits promise a channel of " + format_size(promised) : ""),
        "mount -o remount,size=... /dev/shm (of a container: --shm-size), or lower max-channel-bytes and max-bytes");
  }
}

void look_at_membarrier(Examination& all) {
  all.looked_at.emplace_back("membarrier(2)");
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  constexpr long kNeeded = MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
  if (commands >= 0 && (commands & kNeeded) == kNeeded) return;
  all.find(
      warning, "membarrier-refused",
      commands < 0 ? "membarrier(2) is refused here: " + os::text_of(errno)
                   : "this kernel has no expedited membarrier(2)",
      "let it through the seccomp filter (Linux 4.16 or later has it); without it endpoints wait by backoff, at most "
      "1 ms late");
}

// ---- the state folder

/// "nimsync.INSTANCE.UID." of a segment's name; "" when no registry made it.
std::string prefix_of(const std::string& segment) {
  const std::string_view name = std::string_view(segment).substr(1);
  std::size_t end = 0;
  for (int dots = 0; dots < 3; ++dots) {
    end = name.find('.', end) + 1;
    if (end == 0) return "";
  }
  return std::string(name.substr(0, end));
}

/// The names of damaged channels.
std::set<std::string> look_at_kept(Examination& all, const Kept& kept, bool is_served) {
  all.looked_at.push_back("the state folder " + kept.folder);
  if ((kept.mode & (S_IWGRP | S_IWOTH)) != 0) {
    all.find(error, "state-permissions",
             "the state folder " + kept.folder + " has the mode " + format_mode(kept.mode) +
                 ": others may write there, and a registry won't start with it",
             "chmod 0700 " + kept.folder);
  }
  for (const Kept::Other& each : kept.others) {
    if (each.half_done && is_served) continue;
    const std::string path = kept.folder + "/channels/" + each.name;
    all.find(each.is_definition ? error : warning, each.is_definition ? "state-definition" : "state-leftover",
             path + " is no channel: " + each.why,
             each.half_done ? "start nimsyncd, which removes it" : "if it isn't needed: rm -r " + path);
  }
  std::set<std::string> damaged;
  for (const KeptChannel& channel : kept.channels) {
    if (channel.faults.empty()) continue;
    damaged.insert(channel.info.name);
    std::string faults;
    for (const std::string& fault : channel.faults) faults += (faults.empty() ? "" : ", ") + fault;
    all.find(error, "damaged", "channel " + channel.info.name + " is damaged: " + faults,
             "nimsyncctl remove --force " + channel.info.name + ", and create it again");
  }
  return damaged;
}

/// Segments under the folder's prefix that none of its channels has.
std::set<std::string> unclaimed(const std::string& folder) {
  // Before the folder: of a channel that is being made there is a segment first.
  const std::vector<std::string> there = os::segments_named("nimsync.");
  const Kept kept = read_kept(folder);
  std::set<std::string> left;
  for (const std::string& name : there) {
    if (prefix_of(name) == kept.prefix) left.insert(name);
  }
  for (const KeptChannel& channel : kept.channels) {
    for (const std::string& name : channel.segments) left.erase(name);
  }
  return left;
}

void look_at_segments(Examination& all, const Kept& kept, bool is_served) {
  std::set<std::string> left = unclaimed(kept.folder);
  if (!left.empty() && is_served) {
    std::this_thread::sleep_for(kSecondLook);
    const std::set<std::string> still = unclaimed(kept.folder);
    std::erase_if(left, [&](const std::string& name) { return !still.contains(name); });
  }
  for (const std::string& name : left) {
    struct stat st {};
    const std::string path = "/dev/shm" + name;
    if (::lstat(path.c_str(), &st) != 0) continue;
    if (st.st_uid == kept.owner) {
      all.find(warning, "stale-segment",
               path + " is no channel's (" + format_size(static_cast<std::uint64_t>(st.st_size)) + ")",
               "restart nimsyncd, which removes it, with what is in it, and disturbs no traffic");
    } else {
      all.find(warning, "foreign-segment",
               path + " has a name of this registry's and belongs to uid " + std::to_string(st.st_uid),
               "ask that user what it is; a registry leaves it alone");
    }
  }
}

/// Memory of registries whose folder isn't the one that was looked at.
void look_at_strangers(Examination& all, const std::string& prefix) {
  constexpr std::size_t kNamed = 3;
  std::uint64_t segments = 0;
  std::uint64_t bytes = 0;
  std::set<std::string> others;
  for (const std::string& name : os::segments_named("nimsync.")) {
    const std::string of = prefix_of(name);
    struct stat st {};
    if (of.empty() || of == prefix || ::lstat(("/dev/shm" + name).c_str(), &st) != 0) continue;
    ++segments;
    bytes += static_cast<std::uint64_t>(st.st_size);
    others.insert(of);
  }
  if (others.empty()) return;
  std::string named;
  std::size_t left = others.size();
  for (const std::string& of : others) {
    if (others.size() - left == kNamed) break;
    named += (named.empty() ? "/dev/shm/" : ", ") + of + "*";
    --left;
  }
  if (left != 0) named += " and " + std::to_string(left) + " more";
  all.find(note, "unknown-segments",
           format_size(bytes) + " of /dev/shm, " + counted(segments, "segment") + ", are of " +
               counted(others.size(), "other registry", "other registries") + " (by instance and uid): " + named,
           "nothing, if they are in use; if their state folders are gone and nobody holds them, remove them");
}

/// The names of damaged channels.
std::set<std::string> look_at_folder(Examination& all, const Place& place, const DoctorOptions& options,
                                     const std::optional<RegistryInfo>& info) {
  const std::string given = options.state_dir.empty() && info ? info->state_dir : options.state_dir;
  const std::string folder = state_folder(place, given);
  std::string prefix;
  std::set<std::string> damaged;
  if (folder.empty() && !given.empty()) {
    all.find(error, "state-unread", "there is no state folder " + given,
             "see that nobody removed it; restart nimsyncd");
  }
  if (!folder.empty()) {
    try {
      const Kept kept = read_kept(folder);
      prefix = kept.prefix;
      damaged = look_at_kept(all, kept, info.has_value());
      look_at_segments(all, kept, info.has_value());
      if (!info) {
        for (const KeptChannel& channel : kept.channels) {
          if (channel.faults.empty()) all.find(judge(channel.info));
        }
      }
    } catch (const Error& unread) {
      all.find(note, "state-unread", std::string(unread.what()) + ": what lies there was not looked at",
               "ask as root, or as the registry's user");
    }
  }
  look_at_strangers(all, prefix);
  return damaged;
}

}  // namespace

std::vector<Finding> judge(const RegistryInfo& info, const std::string& version) {
  std::vector<Finding> findings;
  if (info.version != version) {
    findings.push_back({warning, "version",
                        "the registry is nimsyncd " + info.version + ", and this is nimsyncctl " + version,
                        "install both of one version and restart nimsyncd, which disturbs no traffic"});
  }
  if (is_near(info.channels, info.max_channels)) {
    findings.push_back(
        {warning, "near-limit",
         "there are " + std::to_string(info.channels) + " channels of at most " + std::to_string(info.max_channels),
         "remove some, or raise max-channels and reload nimsyncd"});
  }
  if (is_near(info.bytes, info.max_bytes)) {
    findings.push_back(
        {warning, "near-limit",
         "channels have " + format_size(info.bytes) + " of memory of at most " + format_size(info.max_bytes),
         "remove some, or raise max-bytes and reload nimsyncd"});
  }
  return findings;
}

std::vector<Finding> judge(const ChannelInfo& channel) {
  std::vector<Finding> findings;
  const std::string subject = "channel " + channel.name;
  if (channel.state == "damaged") {
    findings.push_back({error, "damaged", subject + " is damaged: its memory is not what was made",
                        "nimsyncctl remove --force " + channel.name + ", and create it again"});
    return findings;
  }
  if (channel.state == "orphaned") {
    findings.push_back(
        {warning, "orphaned",
         subject + " is sealed, and its memory went with the registry that made it: nobody can join its holders",
         "when they are done: nimsyncctl remove --force " + channel.name + ", and create it again"});
    return findings;
  }
  if (channel.used != 0 && !channel.receiver) {
    findings.push_back({warning, "no-receiver",
                        subject + " has " +
                            counted(channel.used, is_framed(channel) ? "byte of messages" : "message",
                                    is_framed(channel) ? "bytes of messages" : "messages") +
                            " and no receiver",
                        "start its receiver, which finds them all; or remove the channel"});
  }
  if (channel.receiver && !channel.sender && channel.senders != 0 && channel.state != "closed") {
    findings.push_back({warning, "no-sender",
                        subject + " has a receiver, " + text_of(channel.receiver) + ", and its sender is gone",
                        "start its sender, which goes on where the last one ended"});
  }
  for (const auto& [role, barrier] :
       {std::pair("sender", channel.sender_barrier), {"receiver", channel.receiver_barrier}}) {
    if (barrier != "fence" && barrier != "refused") continue;
    findings.push_back(
        {warning, "peer-without-membarrier",
         "the " + std::string(role) + " of " + subject + " is refused membarrier(2) and waits by backoff",
         "let membarrier(2) through that process's seccomp filter"});
  }
  return findings;
}

int doctor(const Place& place, const DoctorOptions& options, const Output& output) {
  Examination all;
  std::optional<Registry> registry = look_for_registry(all, place);
  std::optional<RegistryInfo> info;
  // It may end at any moment.
  const auto ask_it = [&](const auto& questions) {
    try {
      if (registry) questions();
    } catch (const Error& ended) {
      all.find(error, "silent", ended.what(), "see why it ended (journalctl --unit nimsyncd), and start it again");
      registry.reset();
    }
  };
  ask_it([&] {
    info = registry->info();
    all.find(judge(*info, options.version));
    look_at_process(all, *info);
    look_at_session(all, *info);
  });
  const std::set<std::string> damaged = look_at_folder(all, place, options, info);
  ask_it([&] {
    const std::vector<ChannelInfo> channels = registry->list();
    all.looked_at.push_back(counted(channels.size(), "channel"));
    for (const ChannelInfo& channel : channels) {
      if (!damaged.contains(channel.name)) all.find(judge(channel));
    }
  });
  look_at_shm(all, info);
  look_at_membarrier(all);

  std::vector<Finding>& findings = all.findings;
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& one, const Finding& other) { return one.gravity > other.gravity; });
  const bool is_ill = !findings.empty() && findings.front().gravity != note;
  const bool is_whole =
      std::none_of(findings.begin(), findings.end(), [](const auto& f) { return f.id == "state-unread"; });
  if (output.json) {
    Json json = document();
    json["findings"] = Json::array();
    for (const Finding& each : findings) {
      json["findings"].push_back({{"severity", kWords[static_cast<std::size_t>(each.gravity)]},
                                  {"id", each.id},
                                  {"what", each.what},
                                  {"advice", each.advice}});
    }
    json["looked_at"] = all.looked_at;
    print(output, json);
    return is_ill ? kExitFailed : 0;
  }
  for (const Finding& each : findings) {
    output.out << kWords[static_cast<std::size_t>(each.gravity)] << ": " << printable(each.what) << " [" << each.id
               << "]\n  do: " << printable(each.advice) << "\n";
  }
  std::string looked;
  for (const std::string& each : all.looked_at) looked += (looked.empty() ? "" : ", ") + each;
  output.out << (is_ill     ? ""
                 : is_whole ? "all is well; "
                            : "all that could be seen is well; ")
             << "looked at " << printable(looked) << "\n";
  return is_ill ? kExitFailed : 0;
}

}  // namespace nimsync::tools
