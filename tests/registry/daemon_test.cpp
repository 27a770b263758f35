// nimsyncd where an operator has it: whatever is wrong with settings, sockets, folders, disks and clocks is said, with
// its place, and costs nothing that was there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdio>
#include <fstream>
#include <nimsync/nimsync.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/tools/process.hpp"

namespace nimsync::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Arguments = std::vector<std::string>;

constexpr unsigned kNobody = 65534;
constexpr int kUsage = 2;

class Daemon : public ::testing::Test {
 protected:
  Daemon() { ::chmod(folder.path().c_str(), 0755); }

  struct Result {
    int code;
    std::string out;
    std::string err;
  };
  Result run(Arguments arguments, const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), NIMSYNCD);
    Process process(folder, arguments, surroundings);
    const int code = process.wait();
    return {code, process.out(), process.err()};
  }
  /// What --check-config says, with such settings and such files in channels.d.
  Result check(const std::string& settings, const std::vector<std::pair<std::string, std::string>>& channels = {},
               const Surroundings& surroundings = {}) {
    write(file, settings);
    fs::remove_all(folder.path() / "channels.d");
    fs::create_directory(folder.path() / "channels.d");
    for (const auto& [name, text] : channels) write(folder.path() / "channels.d" / name, text);
    return run({"--config", file, "--check-config"}, surroundings);
  }
  static void write(const fs::path& path, const std::string& text) { std::ofstream{path, std::ios::binary} << text; }
  [[nodiscard]] bool is_answering() const {
    try {
      static_cast<void>(Registry::connect(socket).info());
      return true;
    } catch (const Error&) {
      return false;
    }
  }
  void expect_answer(Process& process) const {
    ASSERT_TRUE(eventually([&] { return process.has_ended() || is_answering(); }));
    ASSERT_FALSE(process.has_ended()) << process.err();
  }
  void remove_all() const {
    Registry here = Registry::connect(socket);
    for (const auto& channel : here.list()) here.remove(channel.name, true);
  }
  static void end(Process& process) {
    process.kill(SIGTERM);
    EXPECT_EQ(process.wait(), 0) << process.err();
  }
  static ChannelInfo create(Registry& registry, const std::string& name) {
    return registry.create(name, {.frames = false, .size = 8}, {.capacity = 4});
  }

  Folder folder;
  std::string socket = folder.path() / "registry.sock";
  std::string file = folder.path() / "nimsyncd.conf";
};

class CheckConfig : public Daemon {};

TEST_F(CheckConfig, SaysThatSettingsAreRight) {
  for (const std::string& settings : {std::string(), std::string("# nothing\n\n"), std::string(1 << 20, '\n'),
                                      std::string("max-bytes = 4G\nlog-level = warn\n")}) {
    const Result result = check(settings, {{"a.conf", "a --size 8 --capacity 4\n"}, {"README", "no declaration"}});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, "nimsyncd: the settings are right (" + file + ")\n");
  }
}

TEST_F(CheckConfig, SaysInWhichLineWhichKeyIsWrong) {
  const std::pair<const char*, const char*> kMistakes[]{
      {"max-bytes = 4G\nmax-bites = 4G\n", ":2: there is no key 'max-bites'"},
      {"max-bytes = many\n", ":1: --max-bytes"},
      {"max-bytes = -1\n", ":1: --max-bytes"},
      {"max-bytes = 99999999999999999999\n", ":1: --max-bytes"},
      {"max-bytes =\n", ":1: "},
      {"log-level = loud\n", ":1: --log-level"},
      {"\n\nmax-by", ":3: this is not of the form key = value"},
      {"[daemon]\n", ":1: there are no sections here"},
      {"config = /etc/other\n", ":1: there is no key 'config'"},
      {"admin-group = nobody-has-it\n", ":1: --admin-group"},
  };
  for (const auto& [settings, words] : kMistakes) {
    const Result result = check(settings);
    EXPECT_EQ(result.code, kUsage) << settings;
    EXPECT_THAT(result.err, AllOf(StartsWith("nimsyncd: " + file), HasSubstr(file + words))) << settings;
  }
  EXPECT_THAT(check(std::string("max-bytes = 4G\0\n", 16)).err, HasSubstr(file + ":1: this is no text"));
}

TEST_F(CheckConfig, SaysInWhichLineWhichDeclarationIsWrong) {
  const std::pair<const char*, const char*> kMistakes[]{
      {"a --size 8 --capac", ":1: "},
      {"a --size 8\n", ":1: "},
      {"# a channel\na --size 8 --capacity 4 --owner nobody-is-it\n", ":2: "},
      {"a --size 8 --capacity 4 --group nobody-has-it\n", ":1: "},
      {"a --size 8 --capacity 4 --mode 999\n", ":1: "},
      {"a --size 8 --capacity 4\na --size 8 --capacity 4\n", ":2: channel 'a' is declared at "},
      {"bad/name --size 8 --capacity 4\n", ":1: the channel name 'bad/name' is not allowed"},
      {"a --size 8 --capacity 4\nb --frames --bytes 1T\n", ":2: channel 'b': a capacity of "},
  };
  for (const auto& [line, words] : kMistakes) {
    const Result result = check("", {{"bad.conf", line}});
    EXPECT_EQ(result.code, kUsage) << line;
    EXPECT_THAT(result.err, HasSubstr((folder.path() / "channels.d/bad.conf").string() + words)) << line;
  }
  const Result twice =
      check("", {{"a.conf", "same --size 8 --capacity 4\n"}, {"b.conf", "same --size 8 --capacity 4\n"}});
  EXPECT_EQ(twice.code, kUsage);
  EXPECT_THAT(twice.err, AllOf(HasSubstr("b.conf:1: channel 'same' is declared at "), HasSubstr("a.conf:1 already")));
}

TEST_F(CheckConfig, SaysWhatIsNotToBeRead) {
  EXPECT_THAT(run({"--config", folder.path() / "none", "--check-config"}).err,
              HasSubstr("cannot read the settings in "));
  EXPECT_EQ(run({"--config", folder.path() / "none", "--check-config"}).code, kUsage);
  EXPECT_NE(run({"--config", folder.path(), "--check-config"}).code, 0) << "a folder is no file of settings";
  fs::create_directory(folder.path() / "channels.d");
  fs::create_directory(folder.path() / "channels.d/folder.conf");
  write(file, "");
  EXPECT_THAT(run({"--config", file, "--check-config"}).err, HasSubstr("folder.conf: cannot be read"));
  fs::remove_all(folder.path() / "channels.d");
  EXPECT_EQ(run({"--config", file, "--check-config"}).code, 0) << "there needn't be declarations";
  EXPECT_THAT(run({"--channels-dir", folder.path() / "none", "--check-config"}).err, HasSubstr("/none: No such file"));
  write(folder.path() / "channels.d", "no folder");
  EXPECT_EQ(run({"--config", file, "--check-config"}).code, kUsage);
  fs::remove(folder.path() / "channels.d");
  if (::geteuid() != 0) GTEST_SKIP() << "the rest takes root, who can become another user";
  ::chmod(file.c_str(), 0600);
  const Result result = run({"--config", file, "--check-config"}, {.uid = kNobody});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("cannot read the settings in " + file));
}

TEST_F(Daemon, KeepsItsSettingsWhenTheNewOnesAreWrong) {
  write(file, "max-channels = 10\n");
  Process process(folder, {NIMSYNCD, "--socket", socket, "--config", file});
  expect_answer(process);
  Registry here = Registry::connect(socket);
  EXPECT_EQ(here.info().max_channels, 10U);
  const auto reload = [&](const std::string& expected) {
    const std::size_t before = process.err().size();
    process.kill(SIGHUP);
    EXPECT_TRUE(eventually([&] { return process.err().find(expected, before) != std::string::npos; })) << process.err();
  };
  write(file, "max-channels = 20\n");
  reload("reloaded the settings");
  EXPECT_EQ(here.info().max_channels, 20U);
  write(file, "max-channels = 30\nmax-chan");
  reload("kept the settings as they were: " + file + ":2: ");
  EXPECT_EQ(here.info().max_channels, 20U);
  write(file, "max-channels = 30\n");
  fs::create_directory(folder.path() / "channels.d");
  write(folder.path() / "channels.d/a.conf", "good --size 8 --capacity 4\nbad --size\n");
  reload("kept the settings as they were: ");
  EXPECT_THAT(process.err(), HasSubstr("a.conf:2: "));
  EXPECT_EQ(here.info().max_channels, 20U);
  EXPECT_TRUE(here.list().empty()) << "half of a broken reload was done";
  fs::remove(file);
  reload("kept the settings as they were: ");
  write(file, "max-channels = 30\n");
  write(folder.path() / "channels.d/a.conf", "good --size 8 --capacity 4\n");
  reload("reloaded the settings");
  EXPECT_EQ(here.info().max_channels, 30U);
  EXPECT_TRUE(eventually([&] { return here.list().size() == 1; }));
  remove_all();
  end(process);
}

TEST_F(Daemon, LeavesASocketAloneThatIsNotItsOwn) {
  const auto refused = [&](const std::string& words) {
    const Result result = run({"--socket", socket});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_TRUE(fs::exists(fs::symlink_status(socket)));
  };
  write(socket, "a file");
  refused(socket + " is there and is not a socket");
  fs::remove(socket);
  fs::create_symlink("/nowhere", socket);
  refused(socket + " is there and is not a socket");
  fs::remove(socket);

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  {
    const Descriptor foreign{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(::bind(foreign.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(foreign.get(), 1), 0);
    refused("something answers at " + socket);
  }
  // Nobody listens any more: it is what a dead program left.
  Process process(folder, {NIMSYNCD, "--socket", socket});
  expect_answer(process);
  refused("another nimsyncd has the state folder " + socket + ".state");
  end(process);
}

TEST_F(Daemon, RefusesAStateFolderThatIsNotItsAlone) {
  const std::string state = folder.path() / "state";
  const auto refused = [&](const std::string& words) {
    const Result result = run({"--socket", socket, "--state-dir", state});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr(words));
  };
  write(state, "a file");
  refused(state);
  fs::remove(state);
  fs::create_directory(state);
  ::chmod(state.c_str(), 0777);
  refused("must belong to uid " + std::to_string(::geteuid()) + " and be writable by nobody else");
  if (::geteuid() != 0) GTEST_SKIP() << "the rest takes root, who can give folders away";
  ::chmod(state.c_str(), 0700);
  ASSERT_EQ(::chown(state.c_str(), kNobody, kNobody), 0);
  refused("must belong to uid 0");
}

TEST_F(Daemon, ServesOnWhereItsLogHasNoPlace) {
  Process process(folder, {"/bin/sh", "-c", "exec \"$@\" 2>/dev/full", "sh", NIMSYNCD, "--socket", socket});
  expect_answer(process);
  Registry here = Registry::connect(socket);
  for (int i = 0; i < 30; ++i) create(here, "c" + std::to_string(i));
  remove_all();
  EXPECT_TRUE(is_answering());
  end(process);
}

TEST_F(Daemon, SaysWhenTheDiskOfItsStateIsFullAndGoesOn) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may mount";
  const std::string state = folder.path() / "state";
  fs::create_directory(state);
  ::chmod(state.c_str(), 0700);
  Process process(folder, {"/usr/bin/unshare", "--mount", "/bin/sh", "-c",
                           "mount -t tmpfs -o size=1M,nr_inodes=24,mode=0700 tmpfs \"$1\" && shift && exec \"$@\"",
                           "sh", state, NIMSYNCD, "--socket", socket, "--state-dir", state});
  expect_answer(process);
  Registry here = Registry::connect(socket);
  int made = 0;
  std::string said;
  for (; said.empty() && made < 100; ++made) {
    try {
      create(here, "c" + std::to_string(made));
    } catch (const Error& error) {
      EXPECT_EQ(error.errc(), Errc::no_space) << error.what();
      said = error.what();
    }
  }
  --made;
  EXPECT_THAT(said, HasSubstr("No space left on device"));
  ASSERT_GE(made, 2);
  EXPECT_EQ(here.list().size(), static_cast<std::size_t>(made));
  EXPECT_EQ(here.info().channels, static_cast<std::uint64_t>(made)) << "the failed ones are counted";
  here.remove("c0");
  here.remove("c1");
  EXPECT_NO_THROW(create(here, "again"));
  remove_all();
  end(process);
}

TEST_F(Daemon, GoesByNoClockThatJumps) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer wants to be the first library that is loaded";
#endif
  std::string shim;
  for (const auto& each : fs::directory_iterator{"/usr/lib"}) {
    const fs::path path = each.path() / "faketime/libfaketime.so.1";
    if (fs::exists(path)) shim = path;
  }
  if (shim.empty()) GTEST_SKIP() << "libfaketime isn't installed";
  const std::string clock = folder.path() / "clock";
  write(clock, "+0");
  Process process(folder, {NIMSYNCD, "--socket", socket, "--idle-exit", "3600"},
                  {.environment = {"LD_PRELOAD=" + shim, "FAKETIME_TIMESTAMP_FILE=" + clock, "FAKETIME_NO_CACHE=1",
                                   "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"}});
  expect_answer(process);
  const auto created_now = [&](const std::string& name) {
    Registry here = Registry::connect(socket);
    const std::int64_t at = create(here, name).created;
    EXPECT_LT(here.info().uptime_s, 600U) << "the uptime jumps with the clock";
    return at;
  };
  constexpr std::int64_t kYear = 365 * 86400;
  const std::int64_t before = created_now("before");
  write(clock, "+10y");
  EXPECT_GT(created_now("later"), before + 9 * kYear) << "the clock didn't jump";
  write(clock, "-10y");
  EXPECT_LT(created_now("earlier"), before - 9 * kYear) << "the clock didn't jump";
  write(clock, "+0");
  EXPECT_EQ(Registry::connect(socket).list().size(), 3U);
  EXPECT_FALSE(process.has_ended()) << "it took ten years for idleness";
  remove_all();
  end(process);
}

}  // namespace
}  // namespace nimsync::tests
