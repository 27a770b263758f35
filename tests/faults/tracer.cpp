#include "tests/faults/tracer.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/service/private_daemon.hpp"

namespace nimsync::testing {

namespace {

constexpr int kCallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD
constexpr int kReleaseSignal = SIGURG;     // what makes a waiting process stop once more; nobody uses it otherwise

[[noreturn]] void give_up(const char* what) {
  static_cast<void>(std::fprintf(stderr, "tracer: %s: %s\n", what, std::strerror(errno)));
  std::abort();
}

user_regs_struct registers(pid_t pid) {
  user_regs_struct values{};
  if (::ptrace(PTRACE_GETREGS, pid, nullptr, &values) != 0) give_up("cannot read registers");
  return values;
}

void set_registers(pid_t pid, user_regs_struct values) {
  if (::ptrace(PTRACE_SETREGS, pid, nullptr, &values) != 0) give_up("cannot write registers");
}

}  // namespace

Tracer::Tracer(pid_t pid, Decide decide) : pid_(pid), decide_(std::move(decide)), thread_([this] { run(); }) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return state_ != State::starting; });
}

void Tracer::release() {
  if (!thread_.joinable()) return;
  releasing_ = true;
  if (!ended_) ::kill(pid_, kReleaseSignal);
  thread_.join();
}

bool Tracer::wait_for_end() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kWatchdog, [this] { return state_ == State::over; }) && ended_;
}

void Tracer::become(State state) {
  const std::lock_guard lock(mutex_);
  state_ = state;
  changed_.notify_all();
}

/// False when the process has ended; then it is still to be waited for.
bool Tracer::resume_until_stop(int& status, int signal) const {
  if (::ptrace(PTRACE_SYSCALL, pid_, nullptr, signal) != 0 && errno != ESRCH) give_up("cannot resume");
  siginfo_t news{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &news, WSTOPPED | WEXITED | WNOWAIT | __WALL) != 0) {
    if (errno != EINTR) give_up("cannot wait for the process");
  }
  if (news.si_code == CLD_EXITED || news.si_code == CLD_KILLED || news.si_code == CLD_DUMPED) return false;
  return ::waitpid(pid_, &status, __WALL | WNOHANG) == pid_ && WIFSTOPPED(status);
}

void Tracer::run() {
  if (::ptrace(PTRACE_SEIZE, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0 ||
      ::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) {
    give_up("cannot trace the process");
  }
  int status = 0;
  while (::waitpid(pid_, &status, __WALL) < 0) {
    if (errno != EINTR) give_up("cannot wait for the process");
  }
  become(State::traced);
  for (int signal = 0; resume_until_stop(status, signal);) {
    signal = 0;
    const int why = WSTOPSIG(status);
    if (why == kCallStop) {
      at_call();
    } else if (why == kReleaseSignal && releasing_) {
      if (::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) != 0) give_up("cannot let go of the process");
      return become(State::over);
    } else if (status >> 16 == 0) {  // none of ptrace's own events: a signal, which is passed on
      signal = why;
    }
  }
  ended_ = true;
  become(State::over);
}

void Tracer::at_call() {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info) <= 0) {
    if (errno == ESRCH) return;  // somebody killed it
    give_up("cannot tell which call it is");
  }
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
    stop_ = {.pid = pid_, .is_entry = true, .call = static_cast<long>(info.entry.nr), .arguments = {}};
    for (std::size_t i = 0; i < stop_.arguments.size(); ++i) stop_.arguments.at(i) = info.entry.args[i];
  } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
    stop_.is_entry = false;
    if (const int error = std::exchange(failing_, 0)) {
      user_regs_struct values = registers(pid_);
      values.rax = static_cast<unsigned long long>(-static_cast<long long>(error));
      set_registers(pid_, values);
    }
  } else {
    return;
  }
  const Verdict verdict = decide_(stop_);
  if (verdict.kill) {
    ::kill(pid_, SIGKILL);
  } else if (stop_.is_entry && verdict.error != 0) {
    failing_ = verdict.error;
    user_regs_struct values = registers(pid_);
    values.orig_rax = ~0ULL;  // a call that the kernel doesn't know, and so doesn't do
    set_registers(pid_, values);
  }
}

}  // namespace nimsync::testing
