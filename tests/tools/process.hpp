// Programs under test as child processes: started with their own input, output, environment and user, always waited
// for under a watchdog, and never left behind.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace nimsync::tests {

inline constexpr std::chrono::seconds kWatchdog{60};

/// Looks until `done` says so; false when the watchdog ended it.
template <class Done>
bool eventually(Done done) {
  const auto until = std::chrono::steady_clock::now() + kWatchdog;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// A folder that goes with all its contents.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "nimsync-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// A path in it that nobody was given before.
  [[nodiscard]] std::filesystem::path fresh(const std::string& kind) {
    return path_ / (kind + std::to_string(++given_));
  }

 private:
  std::filesystem::path path_;
  int given_ = 0;
};

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& from) noexcept : fd_(std::exchange(from.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& from) noexcept {
    std::swap(fd_, from.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    out = Descriptor{ends[0]};
    in = Descriptor{ends[1]};
  }
  void write(std::string_view text) const {
    ASSERT_EQ(::write(in.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  Descriptor out;  // is read from
  Descriptor in;   // is written to
};

struct Surroundings {
  std::string input = {};                      // a file; none: /dev/null
  int in = -1;                                 // or a descriptor
  int out = -1;                                // instead of a file
  std::vector<std::string> environment = {};   // added
  std::optional<unsigned> uid = std::nullopt;  // the user, and the group of that number
  bool (*prepare)() = nullptr;                 // last, before the program is executed; false: it isn't
};

class Process {
 public:
  Process(Folder& folder, const std::vector<std::string>& arguments, const Surroundings& surroundings = {})
      : out_(folder.fresh("out")), err_(folder.fresh("err")) {
    const Descriptor out{::open(out_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    const Descriptor err{::open(err_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    const std::string input = surroundings.input.empty() ? "/dev/null" : surroundings.input;
    const Descriptor in{::open(input.c_str(), O_RDONLY | O_CLOEXEC)};
    std::vector<std::string> environment = surroundings.environment;
    for (char** each = environ; *each != nullptr; ++each) {
      const std::string_view text = *each;
      const auto is = [&](std::string_view name) { return text.substr(0, name.size()) == name; };
      if (!is("NIMSYNC_SOCKET=") && !is("XDG_RUNTIME_DIR=") && !is("NO_COLOR=") && !is("TERM=")) {
        environment.emplace_back(text);
      }
    }
    std::vector<char*> argv = pointers(arguments);
    std::vector<char*> envp = pointers(environment);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(surroundings.in >= 0 ? surroundings.in : in.get(), STDIN_FILENO);
      ::dup2(surroundings.out >= 0 ? surroundings.out : out.get(), STDOUT_FILENO);
      ::dup2(err.get(), STDERR_FILENO);
      if (surroundings.uid &&
          (::setgroups(0, nullptr) != 0 || ::setgid(*surroundings.uid) != 0 || ::setuid(*surroundings.uid) != 0)) {
        ::_exit(126);
      }
      if (surroundings.prepare != nullptr && !surroundings.prepare()) ::_exit(126);
      ::execve(argv.front(), argv.data(), envp.data());
      ::_exit(127);
    }
  }
  Process(Process&& from) noexcept
      : pid_(std::exchange(from.pid_, -1)), code_(from.code_), out_(std::move(from.out_)), err_(std::move(from.err_)) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0 && !code_) {
      kill(SIGKILL);
      static_cast<void>(wait());
    }
  }

  void kill(int signal) const { ::kill(pid_, signal); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool has_ended() {
    int status = 0;
    if (!code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return code_.has_value();
  }
  /// Its exit code; 128 and the signal that killed it. The watchdog kills it.
  int wait() {
    if (!eventually([&] { return has_ended(); })) {
      ADD_FAILURE() << "the watchdog ended process " << pid_ << "; it had said: " << err();
      kill(SIGKILL);
      eventually([&] { return has_ended(); });
    }
    return code_.value_or(-1);
  }

  // What it wrote so far.
  [[nodiscard]] std::string out() const { return contents(out_); }
  [[nodiscard]] std::string err() const { return contents(err_); }

 private:
  static std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
  }

  pid_t pid_ = -1;
  std::optional<int> code_;
  std::filesystem::path out_;
  std::filesystem::path err_;
};

}  // namespace nimsync::tests
