#include "bench/child.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <iostream>
#include <system_error>
#include <utility>

namespace bench {
namespace {

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, signal);
  return set;
}

timespec of_ms(int ms) {
  return {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1'000'000L};
}

/// Makes the kernel send `signal` when the parent dies; leaves at once when that was before.
void die_with(pid_t parent, int signal) {
  ::prctl(PR_SET_PDEATHSIG, signal);
  if (::getppid() != parent) ::_exit(1);
}

std::string in_words(int status) {
  if (WIFSIGNALED(status)) return std::string("was ended by a signal: ") + ::strsignal(WTERMSIG(status));
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

void block_signals() {
  const sigset_t set = handled_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // whoever no longer reads what is said doesn't keep things from being cleared away
}

std::optional<int> next_signal(int ms) {
  const sigset_t set = handled_signals();
  const timespec timeout = of_ms(ms);
  const int signal = ::sigtimedwait(&set, nullptr, &timeout);
  if (signal < 0) return std::nullopt;
  if (signal != SIGCHLD) throw Interrupted{signal};
  return signal;
}

Child Child::fork(const std::function<int()>& body) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "starting a process");
  if (pid != 0) return Child(pid);
  die_with(parent, SIGKILL);
  ::_exit(body());  // no destructor runs: what was made before the fork is the parent's to clear away
}

Child Child::run(const std::string& program, const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "starting " + program);
  if (pid != 0) return Child(pid);
  die_with(parent, SIGTERM);
  ::setpgid(0, 0);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const sigset_t set = handled_signals();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
  }
  ::execv(program.c_str(), argv.data());
  constexpr int kNotFound = 127;
  ::_exit(kNotFound);
}

Child::Child(Child&& from) noexcept : pid_(std::exchange(from.pid_, -1)), ended_(std::move(from.ended_)) {}

Child& Child::operator=(Child&& from) noexcept {
  if (this != &from) {
    kill();
    pid_ = std::exchange(from.pid_, -1);
    ended_ = std::move(from.ended_);
  }
  return *this;
}

std::optional<std::string> Child::ended() {
  int status = 0;
  if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    pid_ = -1;
    ended_ = in_words(status);
  }
  return ended_;
}

void Child::end(int ms) noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  constexpr int kStep_ms = 5;
  for (int waited = 0; waited < ms; waited += kStep_ms) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return;
    }
    const timespec step = of_ms(kStep_ms);
    ::nanosleep(&step, nullptr);
  }
  kill();
}

void Child::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace bench
