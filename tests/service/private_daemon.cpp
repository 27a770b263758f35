#include "tests/service/private_daemon.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <utility>

#include "nimsync/registry.hpp"
#include "os/segment.hpp"
#include "state/folder.hpp"

namespace nimsync::testing {

bool eventually(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + kWatchdog;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

TemporaryFolder::TemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "nimsync-test-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Child::Child(const std::function<int()>& body) : pid_(::fork()) {
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 99;
  try {
    code = body();
  } catch (const std::exception& e) {
    static_cast<void>(std::fprintf(stderr, "child: %s\n", e.what()));
  }
  ::_exit(code);
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

int Child::wait() {
  return wait_for(std::exchange(pid_, -1));
}
void Child::kill(int signal) const {
  ::kill(pid_, signal);
}

PrivateDaemon::PrivateDaemon(std::vector<std::string> more_arguments) : arguments_(std::move(more_arguments)) {
  // Others must reach the socket; what lies beside it stays closed to them.
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  start();
}

PrivateDaemon::~PrivateDaemon() {
  if (pid_ >= 0) {
    // Ended in order, so that its channels' memory can be found and given back.
    try {
      auto registry = Registry::connect(socket());
      for (const auto& channel : registry.list()) registry.remove(channel.name, true);
    } catch (const std::exception& e) {
      static_cast<void>(std::fprintf(stderr, "cleaning up: %s\n", e.what()));
    }
    stop();
  }
  // What one with a planted mistake leaves, or one that wasn't started again.
  for (const std::string& name : os::segments_named(registry::segment_prefix(state(), ::geteuid()))) {
    os::unlink_segment(name);
  }
}

std::vector<std::string> PrivateDaemon::command() const {
  const char* other = std::getenv("NIMSYNCD");
  std::vector<std::string> command{other != nullptr ? other : NIMSYNCD, "--socket", socket(), "--state-dir", state()};
  if (std::find(arguments_.begin(), arguments_.end(), "--log-level") == arguments_.end()) {
    command.insert(command.end(), {"--log-level", "warn"});
  }
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  return command;
}

void PrivateDaemon::start() {
  pid_ = spawn(command());
  const bool answers = eventually([&] {
    try {
      return Registry::connect(socket()).info().pid == pid_;
    } catch (const Error&) {
      return ::waitpid(pid_, nullptr, WNOHANG) != 0;
    }
  });
  if (!answers || ::kill(pid_, 0) != 0) throw std::runtime_error("nimsyncd does not answer");
}

int PrivateDaemon::stop() {
  ::kill(pid_, SIGTERM);
  return wait_for(std::exchange(pid_, -1));
}

void PrivateDaemon::kill() {
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& each :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++count;
  }
  return count;
}

pid_t spawn(const std::vector<std::string>& command) {
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<char*> arguments;
    for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  if (!eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; })) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace nimsync::testing
