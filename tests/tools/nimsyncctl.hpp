// nimsyncctl under test: the program itself, against a registry of the test's own, on a terminal where it needs one.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>
#include <nimsync/nimsync.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/tools/process.hpp"

namespace nimsync::tests {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Arguments = std::vector<std::string>;

inline constexpr unsigned kNobody = 65534;

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

inline Result result_of(Process& process) {
  const int code = process.wait();
  return {code, process.out(), process.err()};
}

/// One line, from nimsyncctl.
inline void expect_one_complaint(const Result& result) {
  EXPECT_THAT(result.err, StartsWith("nimsyncctl: "));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

/// A terminal: what a program writes to `program` is read from `terminal`, keys go the other way.
struct Terminal {
  Terminal(unsigned short lines, unsigned short columns)
      : terminal{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)} {
    EXPECT_EQ(::grantpt(terminal.get()), 0);
    EXPECT_EQ(::unlockpt(terminal.get()), 0);
    program = Descriptor{::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC)};
    EXPECT_GE(program.get(), 0);
    termios modes{};
    EXPECT_EQ(::tcgetattr(program.get(), &modes), 0);
    modes.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    EXPECT_EQ(::tcsetattr(program.get(), TCSANOW, &modes), 0);
    resize(lines, columns);
  }
  void resize(unsigned short lines, unsigned short columns) const {
    const winsize size{.ws_row = lines, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(::ioctl(terminal.get(), TIOCSWINSZ, &size), 0);
  }
  /// What has been written since it was last read.
  [[nodiscard]] std::string read() const {
    std::string all;
    std::string some(65536, '\0');
    for (ssize_t got = 0; (got = ::read(terminal.get(), some.data(), some.size())) > 0;) {
      all.append(some, 0, static_cast<std::size_t>(got));
    }
    return all;
  }
  void press(std::string_view keys) const {
    EXPECT_EQ(::write(terminal.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  Descriptor terminal;
  Descriptor program;
};

class Nimsyncctl : public ::testing::Test {
 protected:
  explicit Nimsyncctl(const Arguments& settings = {}) {
    ::chmod(folder.path().c_str(), 0755);
    daemon.insert(daemon.end(), settings.begin(), settings.end());
    registry.emplace(folder, daemon);
  }

  void SetUp() override {
    ASSERT_TRUE(eventually([&] { return registry->has_ended() || is_answering(); }));
    ASSERT_FALSE(registry->has_ended()) << registry->err();
  }
  void TearDown() override {
    for (const auto& channel : Registry::connect(socket).list()) Registry::connect(socket).remove(channel.name, true);
    registry->kill(SIGTERM);
    EXPECT_EQ(registry->wait(), 0) << registry->err();
  }

  [[nodiscard]] bool is_answering() const {
    try {
      static_cast<void>(Registry::connect(socket).info());
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  Process start(Arguments arguments, const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), {NIMSYNCCTL, "--socket", socket});
    return {folder, arguments, surroundings};
  }
  Result run(Arguments arguments, const Surroundings& surroundings = {}) {
    Process process = start(std::move(arguments), surroundings);
    return result_of(process);
  }
  /// Runs what must succeed silently on standard error; gives what it printed.
  std::string done(Arguments arguments, const Surroundings& surroundings = {}) {
    const Result result = run(std::move(arguments), surroundings);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
  Json json(Arguments arguments) {
    arguments.emplace_back("--json");
    Json json = Json::parse(done(std::move(arguments)));
    EXPECT_EQ(json.at("version"), 1);
    return json;
  }
  void fails(int code, const Arguments& arguments, const ::testing::Matcher<std::string>& why,
             const Surroundings& surroundings = {}) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const Result result = run(arguments, surroundings);
    EXPECT_EQ(result.code, code);
    expect_one_complaint(result);
    EXPECT_THAT(result.err, why);
  }
  std::string file(const std::string& text) {
    const auto path = folder.fresh("file");
    std::ofstream{path, std::ios::binary} << text;
    return path.string();
  }
  /// Ends the registry as a crash does.
  void kill_registry() {
    registry->kill(SIGKILL);
    EXPECT_EQ(registry->wait(), 128 + SIGKILL);
  }
  void start_registry() {
    registry.emplace(folder, daemon);
    ASSERT_TRUE(eventually([&] { return registry->has_ended() || is_answering(); }));
    ASSERT_FALSE(registry->has_ended()) << registry->err();
  }
  /// Waits until the channel has a holder of this side.
  void await(const std::string& channel, std::optional<Peer> ChannelInfo::*side) {
    Registry here = Registry::connect(socket);
    ASSERT_TRUE(eventually([&] { return (here.stat(channel).*side).has_value(); }));
  }

  Folder folder;
  std::string socket = folder.path() / "registry.sock";
  Arguments daemon{NIMSYNCD, "--socket", socket};
  std::optional<Process> registry;
};

}  // namespace nimsync::tests
