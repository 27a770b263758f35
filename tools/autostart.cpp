#include "tools/autostart.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace nimsync::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{15};
constexpr std::chrono::seconds kPatienceWithAnother{3};  // ours has ended: it found another, or failed
constexpr std::chrono::milliseconds kLookEvery{5};
constexpr const char* kIdleExit = "60";

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

/// Whether anybody at all accepts connections there.
bool is_answering(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const bool answered =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN;
  ::close(fd);
  return answered;
}

bool may_start(const Place& place) {
  if (!place.may_start || !place.socket.empty() || place.scope == Registry::Scope::system) return false;
  if (::geteuid() == 0) return false;
  if (place.scope == Registry::Scope::any) {
    const char* named = std::getenv("NIMSYNC_SOCKET");
    if (named != nullptr && *named != '\0') return false;
    const auto systems = Registry::places(Registry::Scope::system);
    if (std::any_of(systems.begin(), systems.end(), exists)) return false;
  }
  return true;
}

bool is_users_answering() {
  const auto users = Registry::places(Registry::Scope::user);
  return std::any_of(users.begin(), users.end(), is_answering);
}

/// The daemon beside this program; else its bare name, to be looked for in PATH.
std::string daemon_path() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = self.parent_path() / "nimsyncd";
    if (::access(beside.c_str(), X_OK) == 0) return beside;
  }
  return "nimsyncd";
}

/// This environment without what a service manager told this process alone.
std::vector<char*> environment_for_daemon() {
  constexpr std::array<std::string_view, 7> kNotForOthers{
      "LISTEN_FDS=",        "LISTEN_PID=",    "LISTEN_FDNAMES=", "NOTIFY_SOCKET=",
      "RUNTIME_DIRECTORY=", "WATCHDOG_USEC=", "WATCHDOG_PID="};
  std::vector<char*> kept;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view text = *each;
    if (std::none_of(kNotForOthers.begin(), kNotForOthers.end(),
                     [&](std::string_view name) { return text.substr(0, name.size()) == name; })) {
      kept.push_back(*each);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

/// Starts the daemon in a session of its own, with nothing of ours open, so that it outlives this program, its terminal
/// and its pipes.
pid_t start_daemon(const std::string& path) {
  std::string idle_flag = "--idle-exit";
  std::string idle_value = kIdleExit;
  std::string name = "nimsyncd";
  std::array<char*, 4> arguments{name.data(), idle_flag.data(), idle_value.data(), nullptr};
  std::vector<char*> environment = environment_for_daemon();

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  ::posix_spawn_file_actions_addchdir_np(&actions, "/");
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, path.c_str(), &actions, &attributes, arguments.data(), environment.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    throw Error(Errc::no_registry, "cannot start a registry for this user: " + path + ": " + std::strerror(error) +
                                       "; install nimsyncd beside nimsyncctl or in PATH, or start it yourself");
  }
  return pid;
}

std::optional<Registry> try_user() {
  try {
    return Registry::connect(Registry::Scope::user);
  } catch (const Error& error) {
    if (error.errc() != Errc::no_registry) throw;
    return std::nullopt;
  }
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return "ended with status " + std::to_string(WEXITSTATUS(status));
  return "was killed by signal " + std::to_string(WTERMSIG(status));
}

Registry start(std::ostream& err) {
  const std::string path = daemon_path();
  const pid_t pid = start_daemon(path);
  std::optional<int> ended;
  Clock::time_point until = Clock::now() + kPatience;
  for (;;) {
    if (std::optional<Registry> registry = try_user()) {
      // Another process may have been quicker; then ours goes away, and there is nothing to say.
      if (registry->info().pid == pid) {
        err << "nimsyncctl: started a registry for this user (nimsyncd[" << pid << "] at " << registry->socket()
            << "); it ends after " << kIdleExit << " s without channels and clients\n"
            << std::flush;
      }
      return std::move(*registry);
    }
    int status = 0;
    if (!ended && ::waitpid(pid, &status, WNOHANG) == pid) {
      ended = status;
      until = std::min(until, Clock::now() + kPatienceWithAnother);
    }
    if (Clock::now() >= until) break;
    std::this_thread::sleep_for(kLookEvery);
  }
  std::string why = "did not answer within " + std::to_string(kPatience.count()) + " s";
  if (ended) {
    why = how_it_ended(*ended);
  } else {
    static_cast<void>(::kill(pid, SIGTERM));
  }
  throw Error(Errc::no_registry,
              "cannot start a registry for this user: " + path + " " + why + "; run it by hand to see what it says");
}

}  // namespace

Registry reach(const Place& place) {
  return place.socket.empty() ? Registry::connect(place.scope) : Registry::connect(place.socket);
}

Registry reach_or_start(const Place& place, std::ostream& err) {
  try {
    return reach(place);
  } catch (const Error& error) {
    if (error.errc() != Errc::no_registry || !may_start(place)) throw;
  }
  // What answers by now another process has started since, or it is no registry and says so again.
  return is_users_answering() ? reach(place) : start(err);
}

}  // namespace nimsync::tools
