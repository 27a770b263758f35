// A nimsyncd of a test's own: in a temporary folder, answering at its own socket, ended with the test.
//
// Every wait here has a watchdog; a test that hangs fails with a sentence and not by ctest's timeout.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace nimsync::testing {

inline constexpr std::chrono::seconds kWatchdog{60};

/// Repeats `done` until it says true; false when the watchdog bites first.
bool eventually(const std::function<bool()>& done);

/// A folder that goes with the object, whatever is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Runs `body` in a child process; its exit code is what `body` returned, 99 when it threw (the text goes to stderr).
class Child {
 public:
  explicit Child(const std::function<int()>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // kills
  /// Waits under the watchdog: the exit code, or 128 + the signal that ended it; -1 when it had to be killed.
  int wait();
  void kill(int signal) const;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

class PrivateDaemon {
 public:
  explicit PrivateDaemon(std::vector<std::string> more_arguments = {});
  PrivateDaemon(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(const PrivateDaemon&) = delete;
  ~PrivateDaemon();

  /// What start() runs: the built nimsyncd, or the one that $NIMSYNCD names.
  [[nodiscard]] std::vector<std::string> command() const;
  /// Starts it (again), and waits until it answers.
  void start();
  /// SIGTERM; its exit code.
  int stop();
  /// SIGKILL.
  void kill();

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string socket() const { return folder_.path() + "/registry.sock"; }
  [[nodiscard]] std::string state() const { return folder_.path() + "/state"; }
  [[nodiscard]] const std::string& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
};

/// How many descriptors a process has.
std::size_t descriptors_of(pid_t pid);

/// Starts a program; its pid.
pid_t spawn(const std::vector<std::string>& command);
/// Waits under the watchdog, as Child::wait.
int wait_for(pid_t pid);

}  // namespace nimsync::testing
