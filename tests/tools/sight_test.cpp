// What an operator sees: rates, the live table, verdicts for monitoring, metrics, and events over a registry's restart.

#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <regex>
#include <set>

#include "tests/tools/nimsyncctl.hpp"

namespace nimsync::tests {
namespace {

class Sight : public Nimsyncctl {
 protected:
  void SetUp() override {
    Nimsyncctl::SetUp();
    done({"create", "log", "--frames", "--bytes", "64K"});
    done({"create", "few", "--size", "8", "--capacity", "4", "--align", "8"});
  }
  /// Ends the registry, or starts one again at its place.
  void end_registry(int signal) {
    registry->kill(signal);
    static_cast<void>(registry->wait());
    registry.reset();
  }
  void start_registry() {
    registry.emplace(folder, Arguments{NIMSYNCD, "--socket", socket});
    ASSERT_TRUE(eventually([&] { return is_answering(); }));
  }
  void fill_few(std::uint64_t messages) {
    auto sender = Registry::connect(socket).sender<std::uint64_t>("few");
    for (std::uint64_t n = 0; n < messages; ++n) EXPECT_TRUE(sender.try_send(n));
  }
};

TEST_F(Sight, TopTellsWhatWasSentInASecond) {
  Process top = start({"top", "--once", "--json", "--interval", "1"});
  // Something is sent in each moment, so also in the interval.
  auto sender = Registry::connect(socket).sender<std::uint64_t>("few");
  auto receiver = Registry::connect(socket).receiver<std::uint64_t>("few");
  ASSERT_TRUE(eventually([&] {
    std::uint64_t value = 0;
    EXPECT_TRUE(sender.try_send(1));
    EXPECT_TRUE(receiver.try_receive(value));
    return top.has_ended();
  }));
  ASSERT_EQ(top.wait(), 0) << top.err();
  const Json channels = Json::parse(top.out()).at("channels");
  ASSERT_EQ(channels.size(), 2U);
  EXPECT_EQ(channels[0].at("name"), "few") << "the one with the most comes first";
  EXPECT_GT(channels[0].at("rates").at("sent"), 0);
  EXPECT_GT(channels[0].at("rates").at("received"), 0);
  EXPECT_EQ(channels[1].at("rates").at("sent"), 0);
}

TEST_F(Sight, TopOrdersAsItIsTold) {
  const auto first = [&](const Arguments& more) {
    Arguments arguments{"top", "--once", "--interval", "0.01", "--no-header"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string out = done(arguments);
    return out.substr(0, out.find(' '));
  };
  EXPECT_EQ(first({"--sort", "name"}), "few");
  EXPECT_EQ(first({"--sort", "name", "--reverse"}), "log");
  fill_few(3);
  EXPECT_EQ(first({"--sort", "used"}), "few");
  EXPECT_EQ(first({"--sort", "memory"}), "log");
  EXPECT_EQ(first({"l*"}), "log");
  fails(2, {"top", "--once", "--sort", "colour"}, HasSubstr("not an order"));
  fails(2, {"top", "--once", "--interval", "0"}, HasSubstr("not an interval"));
  fails(2, {"top", "--once", "--interval", "-1"}, HasSubstr("not an interval"));
  fails(2, {"top", "--once", "--interval", "nan"}, HasSubstr("not an interval"));
  fails(2, {"top"}, HasSubstr("no terminal"));
}

TEST_F(Sight, TopIsSteeredByKeysGoesOnWithoutARegistryAndLeavesTheTerminalAsItWas) {
  const Terminal terminal(24, 100);
  termios before{};
  ASSERT_EQ(::tcgetattr(terminal.program.get(), &before), 0);
  Process top = start({"top", "--interval", "0.05"}, {.in = terminal.program.get(), .out = terminal.program.get()});
  std::string shown;
  const auto shows = [&](const std::string& text) {
    return eventually([&] {
      shown += terminal.read();
      return shown.find(text) != std::string::npos;
    });
  };
  EXPECT_TRUE(shows("by sent")) << shown;
  EXPECT_TRUE(shows("few"));
  terminal.press("n");
  EXPECT_TRUE(shows("by name"));
  terminal.press("uR");
  EXPECT_TRUE(shows("by used (reversed)"));
  terminal.resize(5, 20);
  shown.clear();
  EXPECT_TRUE(shows("\x1b[2J"));
  terminal.press("\x1b[B\x1b[5~x");
  terminal.resize(24, 100);
  end_registry(SIGKILL);
  shown.clear();
  EXPECT_TRUE(shows("no registry answers")) << shown;
  start_registry();
  shown.clear();
  EXPECT_TRUE(shows("keys:"));
  terminal.press("q");
  EXPECT_EQ(top.wait(), 0) << top.err();
  EXPECT_TRUE(shows("\x1b[?1049l"));
  termios after{};
  ASSERT_EQ(::tcgetattr(terminal.program.get(), &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
}

TEST_F(Sight, TopGivesASlowTerminalFewerPictures) {
  const Terminal terminal(24, 100);
  Process top = start({"top", "--interval", "0.01"}, {.in = terminal.program.get(), .out = terminal.program.get()});
  // Nobody reads until the terminal takes nothing more. Keys must be heard all the same.
  ASSERT_TRUE(eventually([&] {
    terminal.press("n");
    terminal.press("s");
    pollfd room{.fd = terminal.program.get(), .events = POLLOUT, .revents = 0};
    return ::poll(&room, 1, 0) == 0;
  }));
  terminal.press("q");
  EXPECT_EQ(top.wait(), 0) << top.err();
}

TEST_F(Sight, StatGoesOnTellingRates) {
  Process watching = start({"stat", "few", "--watch", "0.05", "--json"});
  ASSERT_TRUE(eventually([&] { return lines_of(watching.out()).size() > 1; }));
  fill_few(2);
  ASSERT_TRUE(eventually([&] {
    const auto lines = lines_of(watching.out());
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
      return !Json::accept(line) ? false : Json::parse(line).at("channels").at(0).at("rates").at("sent") > 0;
    });
  }));
  done({"remove", "few"});
  EXPECT_EQ(watching.wait(), 3) << "its channel is no more";
  fails(2, {"stat", "--watch", "few"}, HasSubstr("not a duration"));
}

TEST_F(Sight, EventsFollowOverARestart) {
  Process following = start({"events", "--follow"});
  Process ending = start({"events"});
  const auto told = [](const Process& process, std::size_t lines) {
    return eventually([&] { return lines_of(process.out()).size() >= lines; });
  };
  ASSERT_TRUE(told(following, 1) && told(ending, 1));
  end_registry(SIGKILL);
  EXPECT_EQ(ending.wait(), 7) << ending.err();
  ASSERT_TRUE(told(following, 2));
  start_registry();
  ASSERT_TRUE(told(following, 3));
  done({"remove", "few"});
  ASSERT_TRUE(told(following, 4));
  EXPECT_THAT(lines_of(following.out()), ElementsAre("watching", "lost", "watching", "removed few"));
}

TEST_F(Sight, TheLogTellsWhoDidWhatAndWhoWasRefused) {
  fill_few(1);
  done({"remove", "few"});
  if (::geteuid() != 0) GTEST_SKIP() << "only root can ask as another user";
  fails(5, {"remove", "log"}, HasSubstr("log"), {.uid = kNobody});
  const auto logged = [&](const std::string& pattern) {
    return eventually([&] { return std::regex_search(registry->err(), std::regex(pattern)); });
  };
  EXPECT_TRUE(logged("created channel=few .*uid=0 pid=[0-9]+\n"));
  EXPECT_TRUE(logged("opened channel=few role=sender uid=0 pid=[0-9]+\n"));
  EXPECT_TRUE(logged("removed channel=few force=false uid=0 pid=[0-9]+\n"));
  EXPECT_TRUE(logged("refused error=Denied uid=65534 pid=[0-9]+: .*'log'")) << registry->err();
}

TEST_F(Sight, ManyOpensAreFewLinesInTheLog) {
  constexpr int kOpens = 2000;
  Registry here = Registry::connect(socket);
  const auto before = std::chrono::steady_clock::now();
  for (int n = 0; n < kOpens; ++n) static_cast<void>(here.sender<std::uint64_t>("few"));
  const auto tenths = (std::chrono::steady_clock::now() - before) / std::chrono::milliseconds(100);
  done({"remove", "few"});
  ASSERT_TRUE(eventually([&] { return registry->err().find("removed channel=few") != std::string::npos; }));
  const auto lines = lines_of(registry->err());
  const auto opened = std::count_if(lines.begin(), lines.end(),
                                    [](const std::string& line) { return line.find("opened ") != std::string::npos; });
  EXPECT_GT(opened, 0);
  EXPECT_LE(opened, 20 + tenths + 1);
}

// For monitoring.

TEST_F(Sight, CheckSaysHowItIsInALineAndACode) {
  const auto says = [&](const Arguments& more, int code, const testing::Matcher<std::string>& what) {
    Arguments arguments{"check"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.code, code) << result.out << result.err;
    EXPECT_THAT(result.out, what);
    EXPECT_EQ(lines_of(result.out).size(), 1U);
    EXPECT_EQ(result.err, "");
  };
  says({}, 0, AllOf(StartsWith("NIMSYNC OK - 2 channels"), HasSubstr(" | channels=2;;;0;65536 memory=")));
  says({"few", "absent"}, 2, AllOf(StartsWith("NIMSYNC CRITICAL - absent is not there"), HasSubstr("fullest=0%")));
  says({"few", "--need-peers"}, 2, AllOf(HasSubstr("few has no sender"), HasSubstr("few has no receiver")));
  fill_few(3);
  says({}, 0, HasSubstr("fullest=75%"));
  says({"--used-warning", "75"}, 1, StartsWith("NIMSYNC WARNING - few is full by 75%"));
  fill_few(1);
  says({}, 2, StartsWith("NIMSYNC CRITICAL - few is full by 100%"));
  says({"--used-critical", "101", "--used-warning", "101"}, 0, StartsWith("NIMSYNC OK"));
  fails(3, {"check", "--used-warning", "90", "--used-critical", "10"}, HasSubstr("turn them round"));
  fails(3, {"check", ""}, HasSubstr("name is empty"));
  says({"log"}, 0, StartsWith("NIMSYNC OK - 1 channel,"));
  says({"log", "--memory-warning", "0"}, 1, HasSubstr("memory is used by 0%"));
  EXPECT_EQ(Json::parse(run({"check", "--json"}).out).at("status"), "CRITICAL");
  EXPECT_EQ(run({"check", "--used-warning", "much"}).code, 3);
  EXPECT_EQ(run({"check", "--no-such-flag"}).code, 3);
  end_registry(SIGTERM);
  says({}, 2, StartsWith("NIMSYNC CRITICAL - no registry answers"));
  start_registry();
}

TEST_F(Sight, CheckFindsADamagedChannel) {
  const Json definition = Json::parse(contents(socket + ".state/channels/few/definition"));
  const std::string segment = "/dev/shm/" + definition.at("forward").at("name").get<std::string>();
  ASSERT_EQ(::truncate(segment.c_str(), 100), 0) << segment;
  const Result result = run({"check"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, HasSubstr("few is damaged"));
}

TEST_F(Sight, MetricsAreOpenMetricsText) {
  fill_few(3);
  const std::string text = done({"metrics"});
  const std::regex comment(R"(# (HELP|TYPE) [a-z_]+ .+|# EOF)");
  const std::regex sample(R"re([a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9]+)re");
  const auto lines = lines_of(text);
  for (const auto& line : lines) {
    EXPECT_TRUE(std::regex_match(line, comment) || std::regex_match(line, sample)) << line;
  }
  EXPECT_EQ(lines.back(), "# EOF");
  EXPECT_THAT(lines, testing::IsSupersetOf(
                         {std::string("nimsync_registry_up 1"), std::string("nimsync_registry_channels 2"),
                          std::string("nimsync_channel_sent_total{channel=\"few\",unit=\"messages\"} 3"),
                          std::string("nimsync_channel_used{channel=\"few\",unit=\"messages\"} 3"),
                          std::string("nimsync_channel_capacity{channel=\"log\",unit=\"bytes\"} 65536"),
                          std::string("nimsync_channel_state{channel=\"few\",state=\"idle\"} 1"),
                          std::string("nimsync_channel_endpoints_total{channel=\"few\",side=\"sender\"} 1")}));
  // No family twice, and none in two parts.
  std::set<std::string> families;
  for (const auto& line : lines) {
    EXPECT_TRUE(!line.starts_with("# TYPE ") || families.insert(line).second) << line;
  }
}

TEST_F(Sight, MetricsReplaceTheirFileWholeOrNotAtAll) {
  const std::string path = folder.path() / "nimsync.prom";
  done({"metrics", "--output", path});
  const std::string before = contents(path);
  EXPECT_THAT(before, testing::EndsWith("# EOF\n"));
  fails(1, {"metrics", "--output", folder.path() / "absent/nimsync.prom"}, HasSubstr("cannot write"));
  end_registry(SIGTERM);
  fails(7, {"metrics", "--output", path}, HasSubstr("no registry answers"));
  EXPECT_THAT(contents(path), AllOf(HasSubstr("nimsync_registry_up 0\n"), Not(HasSubstr("channel"))));
  start_registry();

  // What is no file stays what it is.
  const std::string other = folder.path() / "other";
  ASSERT_EQ(::mkfifo(other.c_str(), 0600), 0);
  fails(4, {"metrics", "--output", other}, HasSubstr("it is no regular file"));
  EXPECT_TRUE(std::filesystem::is_fifo(other));
  std::filesystem::remove(other);
  std::filesystem::create_symlink(path, other);
  fails(4, {"metrics", "--output", other}, HasSubstr("it is no regular file"));
  EXPECT_TRUE(std::filesystem::is_symlink(other));

  // A disk that is full.
  const std::string disk = folder.path() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=4k") != 0) {
    GTEST_SKIP() << "a small file system can't be mounted here: " << std::strerror(errno);
  }
  std::ofstream(disk + "/nimsync.prom") << "old\n";
  const Result result = run({"metrics", "--output", disk + "/nimsync.prom"});
  EXPECT_EQ(result.code, 6) << result.err;
  EXPECT_THAT(result.err, HasSubstr("No space left"));
  EXPECT_EQ(contents(disk + "/nimsync.prom"), "old\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(disk), {}), 1) << "something was left behind";
  EXPECT_EQ(::umount(disk.c_str()), 0);
}

}  // namespace
}  // namespace nimsync::tests
