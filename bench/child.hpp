// Processes that this program starts, and ends whatever happens.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// Thrown on SIGINT, SIGTERM, SIGHUP or SIGQUIT, so that everything is cleared away on the way out.
struct Interrupted {
  int signal;
};

/// Keeps SIGCHLD and the signals above pending from now on, for next_signal(); children start with them unblocked
/// unless they are forked to measure.
void block_signals();

/// Waits for one of them up to `ms`; nothing when none came. Throws Interrupted for all but SIGCHLD.
std::optional<int> next_signal(int ms);

/// A child process; killed and reaped when this ends.
class Child {
 public:
  Child() = default;
  /// Forks. The child runs `body`, leaves with its result, and dies with this process.
  static Child fork(const std::function<int()>& body);
  /// Starts a program in a process group of its own (so that a terminal's Ctrl-C is left to this process), its
  /// output and errors in the file `log`; SIGTERM is sent to it when this process dies. Throws std::system_error.
  static Child run(const std::string& program, const std::vector<std::string>& arguments, const std::string& log);

  Child(Child&& from) noexcept;
  Child& operator=(Child&& from) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { kill(); }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// How it ended, in words, or nothing while it runs. Reaps it.
  [[nodiscard]] std::optional<std::string> ended();
  /// Asks it to end, waits up to `ms`, then kills it.
  void end(int ms) noexcept;
  void kill() noexcept;

 private:
  explicit Child(pid_t pid) noexcept : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<std::string> ended_;
};

}  // namespace bench
