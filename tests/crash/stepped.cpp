#include "tests/crash/stepped.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <unordered_map>

namespace nimsync::crash_test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kInstructionPointer = offsetof(user_regs_struct, rip);
constexpr std::uint64_t kBreakpoint = 0xcc;
constexpr std::uint16_t kSystemCall = 0x050f;

long trace_word(__ptrace_request request, pid_t pid, std::uint64_t address, std::uint64_t data = 0) {
  errno = 0;
  return ::ptrace(request, pid, reinterpret_cast<void*>(address), reinterpret_cast<void*>(data));
}

std::uint64_t word_at(pid_t pid, std::uint64_t address) {
  return static_cast<std::uint64_t>(trace_word(PTRACE_PEEKTEXT, pid, address));
}

}  // namespace

std::chrono::seconds watchdog() {
  constexpr int kUsual = 120;
  const char* const asked = std::getenv("NIMSYNC_CRASH_WATCHDOG");
  return std::chrono::seconds(asked != nullptr ? std::atoi(asked) : kUsual);
}

void Marks::report(const Log& log, bool is_before) noexcept {
  if (board_ == nullptr) return;
  const std::uint64_t from = is_before ? 0 : board_->before;
  const std::size_t fits = std::min(log.size(), std::size(board_->log) - from);
  std::copy_n(log.begin(), fits, board_->log + from);
  board_->count = from + fits;
  if (is_before) board_->before = fits;
}

Stepped::Stepped(const std::function<void(Marks&)>& body, bool is_stepped) : is_stepped_(is_stepped) {
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) rings_test::throw_errno("mmap");
  board_ = static_cast<Board*>(shared);
  board_->stepping = is_stepped;
  pid_ = ::fork();
  if (pid_ < 0) rings_test::throw_errno("fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (is_stepped) trace_word(PTRACE_TRACEME, 0, 0);
  try {
    Marks marks(board_);
    body(marks);
  } catch (const std::exception& e) {
    std::snprintf(board_->text, sizeof board_->text, "%s", e.what());
    board_->broken = true;
  }
  ::_exit(0);
}

Stepped::~Stepped() {
  kill();
  ::munmap(board_, sizeof(Board));
}

void Stepped::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

/// Whether it sits in a system call that waits for something to come.
bool Stepped::sleeps() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/syscall");
  long number = -1;
  return file >> number && (number == SYS_epoll_pwait2 || number == SYS_epoll_wait || number == SYS_epoll_pwait ||
                            number == SYS_ppoll || number == SYS_poll);
}

Stepped::Stop Stepped::stopped(int status) {
  is_asleep_ = false;
  if (WIFSTOPPED(status)) {
    if (WSTOPSIG(status) == SIGTRAP) return Stop::stopped;
    kill();
    throw Broken(std::string("the process got the signal ") + ::strsignal(WSTOPSIG(status)));
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) throw Broken(std::string("the process died of ") + ::strsignal(WTERMSIG(status)));
  if (board_->broken) throw Broken(board_->text);
  return Stop::ended;
}

/// The next stop, or its sleep if that is asked for.
Stepped::Stop Stepped::wait_for_stop(bool or_sleep) {
  const auto end = Clock::now() + watchdog();
  for (unsigned looks = 0;; ++looks) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) return stopped(status);
    if (or_sleep && looks > 8 && sleeps()) {
      is_asleep_ = true;
      return Stop::asleep;
    }
    if (looks > 8) ::usleep(20);
    if (Clock::now() > end) {
      const std::string what = sleeps() ? "the process sleeps and is not woken" : "the process does not come back";
      kill();
      throw Broken(what, Fault::hung);
    }
  }
}

/// To the next marked instruction, or its end, or its sleep if that is asked for.
Stepped::Stop Stepped::run_to_mark(bool or_sleep) {
  trace_word(PTRACE_CONT, pid_, 0);
  return wait_for_stop(or_sleep);
}

Stepped::Stop Stepped::step() {
  if (pid_ < 0) return Stop::ended;
  if (is_asleep_) return wait_for_stop(false);
  if (!has_begun_) {
    has_begun_ = true;
    const Stop stop = wait_for_stop(false);
    if (stop == Stop::stopped) trace_word(PTRACE_SETOPTIONS, pid_, 0, PTRACE_O_EXITKILL);
    return stop;
  }
  if (!board_->inside) return run_to_mark(false);
  const bool may_sleep = static_cast<std::uint16_t>(word_at(pid_, address())) == kSystemCall;
  trace_word(PTRACE_SINGLESTEP, pid_, 0);
  if (may_sleep) return wait_for_stop(true);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  return stopped(status);
}

std::uint64_t Stepped::address() const {
  return static_cast<std::uint64_t>(trace_word(PTRACE_PEEKUSER, pid_, kInstructionPointer));
}

/// To where it comes to `address` between marks. False: it has ended before, or sleeps (and then still has the
/// breakpoint: only who is stopped can be written to).
bool Stepped::run_to_address(std::uint64_t address) {
  const std::uint64_t there = word_at(pid_, address);
  const auto put = [&](std::uint64_t word) {
    if (trace_word(PTRACE_POKETEXT, pid_, address, word) != 0) rings_test::throw_errno("a breakpoint");
  };
  for (;;) {
    put((there & ~std::uint64_t{0xff}) | kBreakpoint);
    do {  // over the marks between
      if (run_to_mark(true) != Stop::stopped) return false;
    } while (this->address() != address + 1);
    put(there);
    trace_word(PTRACE_POKEUSER, pid_, kInstructionPointer, address);
    if (board_->inside) return true;
    // The child's own work uses the same function.
    trace_word(PTRACE_SINGLESTEP, pid_, 0);
    if (wait_for_stop(false) == Stop::ended) return false;
  }
}

bool Stepped::run_to(const Trace& trace, std::size_t point) {
  // The last place on the way that wasn't passed before, and the steps behind it.
  std::unordered_map<std::uint64_t, std::size_t> first;
  std::size_t place = 0;
  for (std::size_t i = 0; i <= point; ++i) {
    if (trace[i].is_marked && first.emplace(trace[i].address, i).second) place = i;
  }
  if (step() != Stop::stopped) return false;
  if (place != 0 && !run_to_address(trace[place].address)) return false;
  for (std::size_t i = place; i < point; ++i) {
    if (step() != Stop::stopped) return false;
  }
  return true;
}

void Stepped::finish() {
  if (pid_ < 0) return;
  board_->stepping = false;
  Stop stop = Stop::stopped;
  if (is_stepped_ && is_asleep_) stop = wait_for_stop(false);
  while (stop != Stop::ended) {
    if (is_stepped_) trace_word(PTRACE_CONT, pid_, 0);
    stop = wait_for_stop(false);
  }
}

void Stepped::until_asleep() {
  const auto end = Clock::now() + watchdog();
  while (pid_ >= 0 && !sleeps()) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) static_cast<void>(stopped(status));
    require(Clock::now() < end, "the process doesn't fall asleep", Fault::hung);
    ::usleep(20);
  }
}

}  // namespace nimsync::crash_test
