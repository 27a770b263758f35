// nimsyncctl doctor finds each fault that is planted, says what it is and fails, and finds none where there is none;
// and list and stat say of channels the same with the registry dead as with it alive.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <thread>

#include "tests/client/refuse.hpp"
#include "tests/tools/nimsyncctl.hpp"

namespace nimsync::tests {
namespace {

namespace fs = std::filesystem;

bool refuse_membarrier() {
  return nimsync::testing::refuse(SYS_membarrier);
}

class Doctor : public Nimsyncctl {
 protected:
  // Small limits, so that whatever /dev/shm there is keeps what they promise.
  Doctor() : Nimsyncctl({"--max-channel-bytes", "1M", "--max-bytes", "4M", "--max-channels", "20"}) {}

  /// What it finds, but of other registries on this machine, as "severity id: what".
  std::vector<std::string> findings(Arguments arguments = {}, const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), {"doctor", "--json"});
    const Result result = run(arguments, surroundings);
    EXPECT_EQ(result.err, "");
    return read(result);
  }
  static std::vector<std::string> read(const Result& result) {
    std::vector<std::string> all;
    bool is_ill = false;
    const Json json = Json::parse(result.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << result.out << result.err;
    if (json.is_discarded()) return all;
    for (const Json& each : json.at("findings")) {
      EXPECT_NE(each.at("advice"), "");
      is_ill = is_ill || each.at("severity") != "note";
      if (each.at("id") == "unknown-segments" || each.at("id") == "linger") continue;
      all.push_back(each.at("severity").get<std::string>() + " " + each.at("id").get<std::string>() + ": " +
                    each.at("what").get<std::string>());
    }
    EXPECT_EQ(result.code, is_ill ? 1 : 0);
    return all;
  }
  void expect(const ::testing::Matcher<std::string>& one) { EXPECT_THAT(findings(), ElementsAre(one)); }

  [[nodiscard]] std::string state() const { return socket + ".state"; }
  [[nodiscard]] Json definition(const std::string& channel) const {
    return Json::parse(contents(state() + "/channels/" + channel + "/definition"));
  }
  [[nodiscard]] std::string segment(const std::string& channel) const {
    return "/dev/shm" + definition(channel).at("forward").at("name").get<std::string>();
  }
  /// A path in /dev/shm that is as a segment of this registry's, and no channel's.
  [[nodiscard]] std::string stray(const std::string& channel) const {
    std::string path = segment(channel);
    path.replace(path.size() - 18, 16, "00000000deadbeef");
    return path;
  }
  void create(const std::string& name) { done({"create", name, "--size", "8", "--capacity", "4"}); }
};

TEST_F(Doctor, HasNothingToSayOfAHealthyRegistryInUse) {
  create("c");
  auto here = Registry::connect(socket);
  const auto tx = here.sender<std::uint64_t>("c");
  const auto rx = here.receiver<std::uint64_t>("c");
  EXPECT_THAT(findings(), ElementsAre());
  const std::string text = done({"doctor"});
  EXPECT_THAT(text, AllOf(HasSubstr("all is well; looked at the registry at " + socket), HasSubstr("1 channel"),
                          HasSubstr(state()), HasSubstr("/dev/shm"), HasSubstr("membarrier(2)")));
}

TEST_F(Doctor, SaysWhatToDoInWordsAsWell) {
  create("c");
  const Result result = [&] {
    auto tx = Registry::connect(socket).sender<std::uint64_t>("c");
    EXPECT_TRUE(tx.try_send(1));
    return run({"doctor"});
  }();
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, AllOf(HasSubstr("warning: channel c has 1 message and no receiver [no-receiver]\n  do: "),
                                Not(HasSubstr("all is well"))));
}

TEST_F(Doctor, FindsLimitsThatAreNear) {
  for (int i = 0; i < 16; ++i) create("c" + std::to_string(i));
  expect(HasSubstr("warning near-limit: there are 16 channels of at most 20"));
}

TEST_F(Doctor, FindsARegistryThatIsShortOfDescriptors) {
  rlimit was{};
  ASSERT_EQ(::prlimit(registry->pid(), RLIMIT_NOFILE, nullptr, &was), 0);
  const fs::directory_iterator open{"/proc/" + std::to_string(registry->pid()) + "/fd"};
  // Room for the connections of doctor, and no more.
  const rlimit few{.rlim_cur = static_cast<rlim_t>(std::distance(open, {})) + 2, .rlim_max = was.rlim_max};
  ASSERT_EQ(::prlimit(registry->pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  expect(HasSubstr("warning descriptors: the registry has "));
  ASSERT_EQ(::prlimit(registry->pid(), RLIMIT_NOFILE, &was, nullptr), 0);
}

TEST_F(Doctor, FindsMemoryThatIsNotWhatWasMade) {
  create("c");
  const std::string path = segment("c");
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  expect(AllOf(HasSubstr("error damaged: channel c"), HasSubstr("has the mode 0644 and not 0600")));
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  const auto size = static_cast<off_t>(fs::file_size(path));
  ASSERT_EQ(::truncate(path.c_str(), size - 4096), 0);
  expect(AllOf(HasSubstr("error damaged"), HasSubstr("bytes and not " + std::to_string(size))));
  fs::remove(path);
  expect(AllOf(HasSubstr("error damaged"), HasSubstr(path + " is gone")));
  std::ofstream{path} << "other";
  expect(AllOf(HasSubstr("error damaged"), HasSubstr(path + " is another file than was made")));
  fs::remove(path);
}

TEST_F(Doctor, FindsMemoryThatNoChannelHas) {
  create("c");
  const std::string path = stray("c");
  std::ofstream{path} << "stale";
  expect(HasSubstr("warning stale-segment: " + path));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
    expect(HasSubstr("warning foreign-segment: " + path + " has a name of this registry's and belongs to uid 65534"));
  } else {
    std::cout << "left out: only root can plant a foreign segment\n";
  }
  fs::remove(path);
  EXPECT_THAT(findings(), ElementsAre());
}

TEST_F(Doctor, NotesMemoryOfOtherRegistries) {
  const std::string path =
      "/dev/shm/nimsync.00000000" + std::to_string(::getpid() + 10000000).substr(0, 8) + ".0.0000000000000001.f";
  std::ofstream{path} << "other";
  const Json json = Json::parse(run({"doctor", "--json"}).out);
  fs::remove(path);
  std::vector<std::string> notes;
  for (const Json& each : json.at("findings")) {
    if (each.at("id") == "unknown-segments") notes.push_back(each.at("what"));
  }
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes.front(), AllOf(HasSubstr(" of /dev/shm, "), HasSubstr("other registr")));
  // The first three are named, in their order, which this one is among.
  EXPECT_THAT(notes.front(), HasSubstr(path.substr(0, path.find(".0.") + 3)));
}

TEST_F(Doctor, FindsFoldersThatAreNoChannels) {
  create("c");
  const std::string channels = state() + "/channels/";
  fs::create_directory(channels + "empty");
  expect(HasSubstr("warning state-leftover: " + channels + "empty is no channel: it has no definition"));
  fs::rename(channels + "empty", channels + "wrong");
  std::ofstream{channels + "wrong/definition"} << R"({"version": 1, "name": "wro)";
  expect(HasSubstr("error state-definition: " + channels + "wrong is no channel: the definition can't be read"));
  std::ofstream{channels + "wrong/definition"} << definition("c").dump();
  expect(HasSubstr("error state-definition: " + channels + "wrong is no channel: it names another channel, c"));
  fs::remove_all(channels + "wrong");
}

TEST_F(Doctor, FindsAStateFolderThatOthersMayWriteInto) {
  ASSERT_EQ(::chmod(state().c_str(), 0777), 0);
  expect(HasSubstr("error state-permissions: the state folder " + state() + " has the mode 0777"));
  ASSERT_EQ(::chmod(state().c_str(), 0700), 0);
}

TEST_F(Doctor, FindsPeersThatAreGone) {
  create("c");
  auto here = Registry::connect(socket);
  {
    auto tx = here.sender<std::uint64_t>("c");
    ASSERT_TRUE(tx.try_send(1));
  }
  expect(HasSubstr("warning no-receiver: channel c has 1 message and no receiver"));
  const auto rx = here.receiver<std::uint64_t>("c");
  expect(HasSubstr("warning no-sender: channel c has a receiver"));
}

TEST_F(Doctor, FindsThatMembarrierIsRefused) {
  create("c");
  Process receiver = start({"receive", "c"}, {.prepare = refuse_membarrier});
  await("c", &ChannelInfo::receiver);
  auto here = Registry::connect(socket);
  ASSERT_TRUE(eventually([&] { return !here.stat("c").receiver_barrier.empty(); }));
  expect(HasSubstr("warning peer-without-membarrier: the receiver of channel c is refused membarrier(2)"));
  receiver.kill(SIGTERM);
  EXPECT_EQ(receiver.wait(), 128 + SIGTERM);
  EXPECT_THAT(findings({}, {.prepare = refuse_membarrier}),
              ::testing::Contains(HasSubstr("warning membarrier-refused: membarrier(2) is refused here")));
}

TEST_F(Doctor, FindsADevShmThatIsTooSmall) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may mount";
  const auto with = [&](const std::string& options) {
    Process process(folder, {"/usr/bin/unshare", "--mount", "/bin/sh", "-c",
                             "mount -t tmpfs -o " + options + " tmpfs /dev/shm && exec \"$@\"", "sh", NIMSYNCCTL,
                             "--socket", socket, "doctor", "--json"});
    return read(result_of(process));
  };
  EXPECT_THAT(with("size=128k,mode=1777"), ElementsAre(AllOf(HasSubstr("warning shm-small: /dev/shm has 128K left"),
                                                             HasSubstr("promise a channel of 1M"))));
  EXPECT_THAT(with("size=8M,mode=1777,nr_inodes=9"),
              ElementsAre(HasSubstr("warning shm-inodes: /dev/shm has 8 inodes")));
  EXPECT_THAT(with("size=8M,mode=0755"), ElementsAre(HasSubstr("error shm-permissions: /dev/shm has the mode 0755")));
}

TEST_F(Doctor, SaysWhatItMayNotRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  EXPECT_THAT(findings({}, {.uid = kNobody}), ElementsAre(AllOf(HasSubstr("note state-unread: "), HasSubstr(state()))));
}

TEST_F(Doctor, FindsWhatARegistryLeftThatWasKilled) {
  create("c");
  fs::create_directory(state() + "/channels/.new-1");
  std::ofstream{stray("c")} << "stale";
  kill_registry();
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("error stale-socket: nobody listens at " + socket),
                                      HasSubstr("warning state-leftover: " + state() +
                                                "/channels/.new-1 is no channel: it was being"),
                                      HasSubstr("warning stale-segment: " + stray("c"))));
  start_registry();
  EXPECT_THAT(findings(), ElementsAre());
  EXPECT_FALSE(fs::exists(stray("c")));
}

TEST_F(Doctor, FindsChannelsWhoseSealedMemoryWentWithTheirRegistry) {
  ASSERT_EQ(run({"create", "c", "--size", "8", "--capacity", "4", "--sealed"}).code, 0);
  const auto tx = Registry::connect(socket).sender<std::uint64_t>("c");
  kill_registry();
  start_registry();
  expect(HasSubstr("warning orphaned: channel c is sealed"));
}

TEST_F(Doctor, SaysWhoIsAtTheSocketWhereNoRegistryIs) {
  const auto at = [&](const std::string& path) {
    Process process(folder, {NIMSYNCCTL, "--socket", path, "doctor", "--json"});
    return read(result_of(process));
  };
  EXPECT_THAT(at(folder.path() / "none"),
              ::testing::Contains(HasSubstr("error no-registry: there is no registry at ")));
  const std::string link = folder.path() / "link";
  fs::create_symlink(socket, link);
  EXPECT_THAT(at(link), ElementsAre()) << "a link to a socket is as good";
  EXPECT_THAT(at(file("text")), ::testing::Contains(HasSubstr("error not-a-socket: ")));
  EXPECT_THAT(at(std::string(200, 'x')), ::testing::Contains(HasSubstr("error no-registry: ")));

  const std::string path = folder.path() / "foreign";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  const Descriptor listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_THAT(at(path), ::testing::Contains(HasSubstr("error stale-socket: nobody listens at ")));
  ASSERT_EQ(::listen(listener.get(), 5), 0);
  EXPECT_THAT(at(path), ::testing::Contains(HasSubstr("error silent: what listens at ")));
  std::thread server([&] {
    for (const std::string_view answer : {"", "hello", ""}) {  // the first is who was left without one
      const Descriptor client{::accept(listener.get(), nullptr, nullptr)};
      if (answer.empty()) continue;
      EXPECT_GT(::send(client.get(), answer.data(), answer.size() + 1, MSG_NOSIGNAL), 0);
    }
  });
  EXPECT_THAT(at(path), ::testing::Contains(HasSubstr("error foreign-service: ")));
  EXPECT_THAT(at(path), ::testing::Contains(HasSubstr("error foreign-service: ")));
  server.join();
}

TEST_F(Doctor, IsNotNeededToReadWhatADeadRegistryLeft) {
  create("c");
  done({"create", "log", "--frames", "--bytes", "64K", "--mode", "0640"});
  auto rx = Registry::connect(socket).receiver<std::uint64_t>("c");
  {
    auto tx = Registry::connect(socket).sender<std::uint64_t>("c");
    for (std::uint64_t n = 0; n < 3; ++n) ASSERT_TRUE(tx.try_send(n));
  }
  std::uint64_t n = 0;
  ASSERT_TRUE(rx.try_receive(n));
  const Json alive = json({"stat"});
  EXPECT_EQ(json({"stat", "--offline"}), alive);
  const Json one = json({"list", "lo*"});
  kill_registry();
  EXPECT_EQ(json({"stat", "--offline"}), alive);
  EXPECT_EQ(json({"list", "lo*", "--offline"}), one);
  EXPECT_EQ(json({"list", "lo*", "--offline", "--state-dir", state()}), one);
  EXPECT_EQ(json({"stat", "c", "--offline"}).at("channels").at(0), alive.at("channels").at(0));
  fails(3, {"stat", "absent", "--offline"}, HasSubstr("there is no channel 'absent'"));
  fails(7, {"list", "--offline", "--state-dir", "/nonexistent"}, HasSubstr("tried /nonexistent; say where"));
  fails(7, {"list"}, HasSubstr("no registry"));
  fails(2, {"list", "--state-dir", state()}, HasSubstr("--offline"));
  fails(2, {"stat", "--offline", "--watch", "1"}, HasSubstr("--watch"));
  if (::geteuid() == 0) fails(5, {"list", "--offline"}, HasSubstr(state()), {.uid = kNobody});
  start_registry();
  EXPECT_EQ(json({"stat"}), alive);
}

TEST_F(Doctor, ReadsNothingOfSealedMemoryWhileNoRegistryRuns) {
  ASSERT_EQ(run({"create", "c", "--size", "8", "--capacity", "4", "--sealed"}).code, 0);
  EXPECT_EQ(json({"list", "--offline"}).at("channels").at(0).at("state"), "sealed");
}

}  // namespace
}  // namespace nimsync::tests
