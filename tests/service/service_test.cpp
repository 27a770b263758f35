// The service from end to end: a real nimsyncd, clients in this process and in others, and everything that strangers
// do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "os/descriptor.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"
#include "tests/service/service.hpp"

namespace nimsync::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> segments_of(const PrivateDaemon& daemon) {
  std::vector<std::string> names;
  for (const auto& folder : fs::directory_iterator(daemon.state() + "/channels")) {
    const auto json = nlohmann::json::parse(read_text(folder.path().string() + "/definition"));
    for (const char* side : {"forward", "return"})
      names.push_back("/dev/shm" + json.at(side).at("name").get<std::string>());
  }
  return names;
}

// ---- the main road

TEST_F(Service, LetsTwoProcessesMeetByName) {
  Child sender([&] {
    auto registry = connect();
    auto tx = registry.sender<Tick>("md.ticks", {.capacity = 1024});
    for (std::uint64_t i = 0; i < 100'000; ++i) {
      if (!tx.send({i, static_cast<double>(i)}, kWatchdog)) return 1;
    }
    tx.close();
    return 0;
  });
  auto registry = connect();
  auto rx = registry.receiver<Tick>("md.ticks", {.capacity = 1024});
  Tick tick{};
  std::uint64_t expected = 0;
  Status status = Status::ok;
  while ((status = rx.receive(tick, kWatchdog))) {
    ASSERT_EQ(tick.seq, expected);
    ASSERT_EQ(tick.price, static_cast<double>(expected));
    ++expected;
  }
  EXPECT_EQ(status, Status::closed);
  EXPECT_EQ(expected, 100'000U);
  EXPECT_EQ(sender.wait(), 0);
}

TEST_F(Service, DescribesAChannelAsItIs) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("md.ticks", {.capacity = 1000, .layout = Layout::dense, .mode = 0640});
  for (std::uint64_t i = 0; i < 7; ++i) ASSERT_TRUE(tx.try_send({i, 0}));
  const ChannelInfo info = registry.stat("md.ticks");
  EXPECT_EQ(info.geometry, (Geometry{Layout::dense, 16, 1024}));
  EXPECT_EQ(info.alignment, 8U);
  EXPECT_EQ(info.mode, 0640U);
  EXPECT_TRUE(info.is_protected);
  EXPECT_EQ(info.owner, ::geteuid());
  EXPECT_EQ(info.sent, 7U);
  EXPECT_EQ(info.used, 7U);
  EXPECT_EQ(info.received, 0U);
  EXPECT_EQ(info.senders, 1U);
  EXPECT_EQ(info.state, "waiting");
  ASSERT_TRUE(info.sender.has_value());
  EXPECT_EQ(info.sender->pid, ::getpid());
  EXPECT_FALSE(info.receiver.has_value());
  auto rx = registry.receiver<Tick>("md.ticks");
  Tick tick{};
  ASSERT_TRUE(rx.try_receive(tick));
  EXPECT_EQ(registry.stat("md.ticks").state, "open");
  EXPECT_EQ(registry.stat("md.ticks").received, 1U);
  tx.close();
  EXPECT_EQ(registry.stat("md.ticks").state, "closed");
  EXPECT_EQ(registry.stat("md.ticks").streams_closed, 1U);
}

TEST_F(Service, CountsExactlyInEveryLayout) {
  auto registry = connect();
  auto stamped = registry.sender<Tick>("stamped", {.capacity = 256});
  auto framed = registry.sender<Bytes>("framed", {.capacity = 65536});
  const std::string message(20, 'x');
  for (std::uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(stamped.try_send({i, 0}));
    ASSERT_TRUE(framed.try_send(std::as_bytes(std::span(message))));
    ASSERT_EQ(registry.stat("stamped").sent, i);
    ASSERT_EQ(registry.stat("framed").sent, i * 32);
  }
}

TEST_F(Service, TellsWatchersWhatHappens) {
  std::vector<std::string> told;
  std::atomic<bool> watching{false};
  std::thread watcher([&] {
    auto registry = connect();
    registry.watch([&](const Event& event) {
      told.push_back(event.what + " " + event.name);
      watching = true;
      return event.what != "removed";
    });
  });
  ASSERT_TRUE(eventually([&] { return watching.load(); }));
  auto registry = connect();
  { auto rx = registry.receiver<Tick>("x", {.capacity = 4}); }
  registry.remove("x");
  watcher.join();
  EXPECT_EQ(told, (std::vector<std::string>{"watching ", "created x", "opened x", "removed x"}));
}

TEST_F(Service, ListsByPatternAndInOrder) {
  auto registry = connect();
  for (const char* name : {"b.two", "a.one", "b.one", "B"}) registry.create(name, {.size = 8}, {.capacity = 4});
  const auto names = [](const std::vector<ChannelInfo>& channels) {
    std::string all;
    for (const auto& each : channels) all += each.name + " ";
    return all;
  };
  EXPECT_EQ(names(registry.list()), "B a.one b.one b.two ");
  EXPECT_EQ(names(registry.list("b.*")), "b.one b.two ");
  EXPECT_EQ(names(registry.list("*.one")), "a.one b.one ");
  EXPECT_EQ(names(registry.list("none")), "");
}

TEST_F(Service, LetsBytesEndpointsOpenRecordChannels) {
  auto registry = connect();
  auto tx = registry.sender<Bytes>("framed", {.capacity = 4096});
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    const std::string channel(name(layout));
    auto typed = registry.sender<std::uint64_t>(channel, {.capacity = 4, .layout = layout});
    auto any = registry.receiver<Bytes>(channel);
    EXPECT_EQ(any.max_size(), 8U);
    ASSERT_TRUE(typed.try_send(42));
    std::span<const std::byte> message;
    ASSERT_TRUE(any.try_receive(message));
    std::uint64_t value = 0;
    ASSERT_EQ(message.size(), sizeof value);
    std::memcpy(&value, message.data(), sizeof value);
    EXPECT_EQ(value, 42U);
    any.release();
    typed.close();
    EXPECT_EQ(any.try_receive(message), Status::closed);
    auto any_sender = registry.sender<Bytes>(channel);
    EXPECT_EQ(any_sender.try_send(std::as_bytes(std::span("seven b", 7))), Status::too_big);
    EXPECT_EQ(any_sender.reserve(7).data(), nullptr);
    ASSERT_EQ(any_sender.reserve(8).size(), 8U);
    any_sender.commit(8);
    EXPECT_EQ(any.size(), 1U);
  }
}

TEST_F(Service, MakesASmallDenseChannelOfAtMostThreePages) {
  auto registry = connect();
  const auto info = registry.create("small", {.size = 8}, {.capacity = 16, .layout = Layout::dense});
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  EXPECT_LE(info.memory, 3 * page);
  std::uint64_t held = 0;
  for (const std::string& segment : segments_of(daemon)) {
    struct stat st {};
    ASSERT_EQ(::stat(segment.c_str(), &st), 0);
    held += static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  EXPECT_EQ(held, info.memory);
}

// ---- succession

TEST_F(Service, LetsAKilledSendersSuccessorGoOnAtTheExactPosition) {
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    const std::string channel(name(layout));
    auto registry = connect();
    auto rx = registry.receiver<Tick>(channel, {.capacity = 64, .layout = layout});
    std::uint64_t expected = 0;
    for (int round = 0; round < 10; ++round) {
      Child sender([&] {
        auto mine = connect();
        auto tx = mine.sender<Tick>(channel);
        for (std::uint64_t i = expected;; ++i) {
          if (!tx.send({i, 1}, kWatchdog)) return 1;
        }
      });
      Tick tick{};
      for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
        ASSERT_EQ(tick.seq, expected++);
      }
      sender.kill(SIGKILL);
      sender.wait();
      Status status = Status::ok;
      while ((status = rx.receive(tick, kWatchdog))) ASSERT_EQ(tick.seq, expected++);
      ASSERT_EQ(status, Status::peer_lost);
    }
  }
}

TEST_F(Service, LetsAKilledReceiversSuccessorGoOnAtTheExactPosition) {
  auto registry = connect();
  auto tx = registry.sender<Bytes>("frames", {.capacity = 8192});
  const auto shared =
      static_cast<std::uint64_t*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::uint64_t& seen = *shared;
  std::uint64_t sent = 0;
  for (int round = 0; round < 10; ++round) {
    Child receiver([&] {
      auto mine = connect();
      auto rx = mine.receiver<Bytes>("frames");
      for (;;) {
        std::span<const std::byte> message;
        if (!rx.receive(message, kWatchdog)) return 1;
        std::uint64_t value = 0;
        std::memcpy(&value, message.data(), sizeof value);
        const std::uint64_t last = __atomic_load_n(&seen, __ATOMIC_ACQUIRE);
        // At least once: a successor may see again what was used and not released, and never skips.
        if (value != last + 1 && value != last) return 2;
        __atomic_store_n(&seen, value, __ATOMIC_RELEASE);
        rx.release();
      }
    });
    const std::uint64_t target = sent + 2000;
    while (sent < target) {
      std::string message(8 + sent % 100, 'x');
      ++sent;
      std::memcpy(message.data(), &sent, sizeof sent);
      const Status status = tx.send(std::as_bytes(std::span(message)), kWatchdog);
      if (status == Status::peer_lost) {
        --sent;
        continue;
      }
      ASSERT_EQ(status, Status::ok);
    }
    ASSERT_TRUE(eventually([&] { return __atomic_load_n(&seen, __ATOMIC_ACQUIRE) + 100 > sent; }));
    receiver.kill(SIGKILL);
    EXPECT_EQ(receiver.wait(), 128 + SIGKILL);
  }
  ::munmap(shared, 4096);
}

TEST_F(Service, TellsALateReceiverOfASenderThatDiedBeforeItCame) {
  auto registry = connect();
  {
    auto tx = registry.sender<Tick>("x", {.capacity = 4});
    ASSERT_TRUE(tx.try_send({1, 1}));
  }
  auto rx = registry.receiver<Tick>("x");
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::ok);
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::peer_lost);
  EXPECT_EQ(rx.receive(tick, milliseconds(1)), Status::timeout);
}

TEST_F(Service, TellsNothingOfPeersThatNeverExisted) {
  auto registry = connect();
  auto rx = registry.receiver<Tick>("x", {.capacity = 1});
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, milliseconds(5)), Status::timeout);
  EXPECT_EQ(rx.check(), Status::ok);
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({1, 1}));
  EXPECT_EQ(tx.send({2, 2}, milliseconds(5)), Status::timeout);
  EXPECT_EQ(tx.check(), Status::ok);
}

TEST_F(Service, KeepsTheEndOfEachStreamApart) {
  auto registry = connect();
  std::uint64_t next = 0;
  for (std::uint64_t stream = 0; stream < 32; ++stream) {
    auto tx = registry.sender<Tick>("x", {.capacity = 1024});
    for (std::uint64_t i = 0; i < stream % 3; ++i) ASSERT_TRUE(tx.try_send({next++, 0}));
    tx.close();
  }
  EXPECT_REFUSED(Errc::over_limit, registry.sender<Tick>("x"));
  auto rx = registry.receiver<Tick>("x");
  Tick tick{};
  std::uint64_t expected = 0;
  for (std::uint64_t stream = 0; stream < 32; ++stream) {
    for (std::uint64_t i = 0; i < stream % 3; ++i) {
      ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
      ASSERT_EQ(tick.seq, expected++);
    }
    ASSERT_EQ(rx.receive(tick, kWatchdog), Status::closed) << stream;
  }
  auto tx = registry.sender<Tick>("x");
  ASSERT_TRUE(tx.try_send({next, 0}));
  ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
}

// ---- names and sizes

TEST_F(Service, RefusesNamesThatBreakTheRule) {
  auto registry = connect();
  for (const std::string& name :
       {std::string(), std::string(101, 'a'), std::string("../x"), std::string("a\0b", 3), std::string("gr\xc3\xbcn"),
        std::string("."), std::string("-a"), std::string("a b"), std::string("a/b"), std::string("\xff")}) {
    const auto [code, sentence] = refusal([&] { registry.create(name, {.size = 8}, {.capacity = 4}); });
    EXPECT_TRUE(code == Errc::invalid || code == Errc::no_registry) << sentence;
    EXPECT_TRUE(code != Errc::invalid || sentence.find("a name has 1 to 100") != std::string::npos) << sentence;
    registry = connect();
    EXPECT_NE(refusal([&] { static_cast<void>(registry.sender<Tick>(name, {.capacity = 4})); }).first, std::nullopt);
    registry = connect();
  }
  EXPECT_TRUE(registry.list().empty());
  registry.create(std::string(100, 'a'), {.size = 8}, {.capacity = 4});
  EXPECT_REFUSED(Errc::no_such_channel, registry.sender<Tick>("unknown"));
  EXPECT_REFUSED(Errc::no_such_channel, registry.stat("unknown"));
  EXPECT_REFUSED(Errc::no_such_channel, registry.remove("unknown"));
}

TEST_F(Service, RefusesSizesBeyondItsLimitsAndRoundsTheRest) {
  auto registry = connect();
  const auto make = [&](const Shape& shape, const Options& options) { return registry.create("x", shape, options); };
  EXPECT_REFUSED(Errc::invalid, make({.size = 8}, {.capacity = 0}));
  EXPECT_REFUSED(Errc::over_limit, make({.size = 8}, {.capacity = std::uint64_t{1} << 31}));
  EXPECT_REFUSED(Errc::over_limit, make({.size = 8}, {.capacity = ~std::uint64_t{0} >> 1}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 0}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::over_limit, make({.size = std::uint64_t{17} << 20}, {.capacity = 1}));
  EXPECT_REFUSED(Errc::over_limit, make({.size = std::uint64_t{16} << 20}, {.capacity = 1024}));
  EXPECT_REFUSED(Errc::invalid, make({.frames = true}, {.capacity = 4096, .max_size = 4096}));
  EXPECT_REFUSED(Errc::over_limit, make({.frames = true}, {.capacity = std::uint64_t{1} << 40}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 8}, {.capacity = 4, .mode = 0777}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 8, .alignment = 3}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 12, .alignment = 8}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 8, .type = "a\nb"}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::invalid, make({.size = 8}, {.capacity = 4, .group = "no-such-group"}));
  EXPECT_TRUE(registry.list().empty());
  EXPECT_EQ(make({.size = 8}, {.capacity = 3}).geometry.capacity, 4U);
  registry.remove("x");
  EXPECT_EQ(make({.frames = true}, {.capacity = 5000}).geometry, (Geometry{Layout::framed, 4096, 8192}));
}

TEST_F(Service, RefusesToCreateTwice) {
  auto registry = connect();
  registry.create("x", {.size = 8}, {.capacity = 4});
  EXPECT_REFUSED(Errc::exists, registry.create("x", {.size = 8}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::differs, registry.create("x", {.size = 16}, {.capacity = 4}));
  EXPECT_REFUSED(Errc::differs, registry.create("x", {.size = 8}, {.capacity = 8}));
  EXPECT_REFUSED(Errc::differs, registry.create("x", {.frames = true}, {.capacity = 4096}));
}

TEST_F(Service, RefusesToOpenAsWhatAChannelIsNot) {
  auto registry = connect();
  registry.create("typed", {.size = 16, .alignment = 8, .type = "Tick/1"}, {.capacity = 4});
  struct Small {
    std::uint64_t one;
  };
  struct alignas(16) Aligned {
    std::array<char, 16> data;
  };
  EXPECT_REFUSED(Errc::differs, registry.sender<Small>("typed"));
  EXPECT_REFUSED(Errc::differs, registry.sender<Aligned>("typed"));
  EXPECT_REFUSED(Errc::differs, registry.sender<Tick>("typed", {.capacity = 8}));
  EXPECT_REFUSED(Errc::differs, registry.sender<Bytes>("typed", {.capacity = 4096}));
  RawClient other(daemon.socket());
  const auto reply = other.call(
      kOpen,
      {{"name", "typed"},
       {"role", "sender"},
       {"expect", {{"layout", "stamped"}, {"size", 16}, {"capacity", 1}, {"alignment", 8}, {"type", "Tock/1"}}}});
  EXPECT_EQ(reply.at("error"), "io.nimsync.registry.Differs") << reply;
  EXPECT_TRUE(other.descriptors.empty());
  EXPECT_NO_THROW(static_cast<void>(registry.sender<Tick>("typed", {.capacity = 3})));
}

// ---- leases

TEST_F(Service, RefusesASecondHolderAndNamesTheFirst) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 4});
  auto rx = registry.receiver<Tick>("x");
  const std::string me = "pid " + std::to_string(::getpid());
  for (const bool sender : {true, false}) {
    const auto [code, sentence] = refusal([&] {
      if (sender) {
        static_cast<void>(registry.sender<Tick>("x"));
      } else {
        static_cast<void>(registry.receiver<Tick>("x"));
      }
    });
    EXPECT_EQ(code, Errc::in_use);
    EXPECT_NE(sentence.find(me), std::string::npos) << sentence;
  }
  EXPECT_EQ(rx.check(), Status::ok) << "the refused one left no trace";
  EXPECT_EQ(tx.check(), Status::ok);
  tx.close();
  EXPECT_NO_THROW(static_cast<void>(registry.sender<Tick>("x"))) << "a closed sender makes room at once";
}

TEST_F(Service, RefusesToRemoveWhatIsInUseUnlessForced) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 1});
  EXPECT_REFUSED(Errc::in_use, registry.remove("x"));
  auto rx = registry.receiver<Tick>("x");
  ASSERT_TRUE(tx.try_send({1, 1}));
  registry.remove("x", true);
  EXPECT_EQ(tx.check(), Status::removed);
  EXPECT_EQ(tx.send({2, 2}, kWatchdog), Status::removed);
  EXPECT_EQ(rx.check(), Status::removed);
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::ok) << "what was sent can still be received";
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::removed);
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::removed) << "for good";
  EXPECT_REFUSED(Errc::no_such_channel, registry.stat("x"));
  auto again = registry.sender<Tick>("x", {.capacity = 4});
  EXPECT_EQ(again.check(), Status::ok);
  EXPECT_EQ(registry.stat("x").sent, 0U) << "a new channel";
}

TEST_F(Service, GivesASideThatAnIntruderKeepsLockedToTheNextHolder) {
  auto registry = connect();
  auto intruder = registry.receiver<Tick>("x", {.capacity = 4});
  // A receiver watches the sender's line, and a read lock on it keeps every sender's write lock out.
  RawClient raw(daemon.socket());
  registry.create("y", {.size = 16}, {.capacity = 4});
  static_cast<void>(raw.call(kOpen, {{"name", "y"}, {"role", "receiver"}}));
  ASSERT_EQ(raw.descriptors.size(), 4U);
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(raw.descriptors[3].get(), F_OFD_SETLK, &lock), 0);
  EXPECT_NO_THROW(static_cast<void>(registry.sender<Tick>("y")));
  EXPECT_EQ(registry.stat("y").sender, std::nullopt);
}

// ---- rights

class Rights : public Service {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  }
};

TEST_F(Rights, KeepStrangersOut) {
  auto registry = connect();
  registry.create("private", {.size = 16}, {.capacity = 4});
  EXPECT_EQ(0, as_stranger(daemon, {}, [](Registry& mine) {
              int right = 0;
              right += refusal([&] { static_cast<void>(mine.sender<Tick>("private")); }).first == Errc::denied ? 1 : 0;
              right +=
                  refusal([&] { static_cast<void>(mine.receiver<Tick>("private")); }).first == Errc::denied ? 1 : 0;
              right += refusal([&] { static_cast<void>(mine.stat("private")); }).first == Errc::denied ? 1 : 0;
              right += refusal([&] { mine.remove("private", true); }).first == Errc::denied ? 1 : 0;
              right += mine.list().empty() ? 1 : 0;
              return right == 5 ? 0 : right + 1;
            }));
}

TEST_F(Rights, GoByOwnerGroupAndMode) {
  auto registry = connect();
  registry.create("to-me", {.size = 16}, {.capacity = 4, .mode = 0602});
  registry.create("from-me", {.size = 16}, {.capacity = 4, .mode = 0604});
  registry.create("group", {.size = 16}, {.capacity = 4, .mode = 0660, .group = "4242"});
  const auto tries = [](Registry& mine) {
    const auto may = [&](const char* name, bool send) {
      return !refusal([&] {
                if (send) {
                  static_cast<void>(mine.sender<Tick>(name));
                } else {
                  static_cast<void>(mine.receiver<Tick>(name));
                }
              }).first;
    };
    return (may("to-me", true) ? 1 : 0) + (may("to-me", false) ? 2 : 0) + (may("from-me", true) ? 4 : 0) +
           (may("from-me", false) ? 8 : 0) + (may("group", true) ? 16 : 0) + (may("group", false) ? 32 : 0);
  };
  EXPECT_EQ(as_stranger(daemon, {}, tries), 1 + 8);
  EXPECT_EQ(as_stranger(daemon, {4242}, tries), 1 + 8 + 16 + 32);
}

TEST_F(Rights, ToAGroupTakeItsMembership) {
  EXPECT_EQ(0, as_stranger(daemon, {4242}, [](Registry& mine) {
              const auto other = refusal([&] { mine.create("a", {.size = 8}, {.capacity = 4, .group = "4343"}); });
              if (other.first != Errc::denied) return 1;
              return mine.create("b", {.size = 8}, {.capacity = 4, .group = "4242"}).group == 4242 ? 0 : 2;
            }));
}

constexpr gid_t kAdministrators = 4242;

class AdministratorsGroup : public Service {
 protected:
  AdministratorsGroup() : Service({"--admin-group", std::to_string(kAdministrators), "--max-uid-channels", "1"}) {}
};

TEST_F(AdministratorsGroup, MayDoWhatRootMay) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  auto here = connect();
  here.create("private", {.frames = false, .size = 8}, {.capacity = 4, .mode = 0600});
  const auto try_all = [](Registry& registry) {
    const auto denied = [](const auto& act) { return refusal(act).first == Errc::denied ? 1 : 0; };
    return denied([&] { static_cast<void>(registry.receiver<std::uint64_t>("private")); }) |
           denied([&] { registry.remove("private"); }) << 1;
  };
  EXPECT_EQ(as_stranger(daemon, {kAdministrators + 1}, try_all), 3) << "others are let in";
  EXPECT_EQ(here.list().size(), 1U);
  EXPECT_EQ(as_stranger(daemon, {kAdministrators}, try_all), 0);
  EXPECT_EQ(here.list().size(), 0U);
  const auto create_two = [](Registry& registry) {
    registry.create("one", {.frames = false, .size = 8}, {.capacity = 4});
    registry.create("two", {.frames = false, .size = 8}, {.capacity = 4});
    return 0;
  };
  EXPECT_EQ(as_stranger(daemon, {kAdministrators}, create_two), 0) << "a limit of others was held against them";
  here.remove("one");
  here.remove("two");
}

class Quotas : public Service {
 protected:
  Quotas() : Service({"--max-uid-channels", "2", "--max-uid-bytes", "100K", "--max-channels", "4"}) {}
};

TEST_F(Quotas, AreOfEachUidAndGivenBack) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  auto here = connect();
  const Shape shape{.frames = false, .size = 8};
  const auto try_all = [&](Registry& registry) {
    const auto said = [&](const char* name, std::uint64_t capacity) {
      return refusal([&] { registry.create(name, shape, {.capacity = capacity}); });
    };
    if (said("large", 4096).second.find("uid 65534 has 102400 of its limit of 102400 left") == std::string::npos)
      return 1;
    if (said("a", 4).first || said("b", 4).first) return 2;
    if (said("c", 4).second.find("uid 65534 has 2 channels, its limit") == std::string::npos) return 3;
    if (said("c", 4).first != Errc::over_limit) return 4;
    registry.remove("a");
    return said("c", 4).first ? 5 : 0;
  };
  EXPECT_EQ(as_stranger(daemon, {}, try_all), 0);
  // What one uid has used up is others' still, up to the limits of all.
  here.create("large", shape, {.capacity = 4096});
  here.create("d", shape, {.capacity = 4});
  EXPECT_REFUSED(Errc::over_limit, here.create("e", shape, {.capacity = 4}));
  for (const char* name : {"b", "c", "d", "large"}) here.remove(name);
}

TEST_F(Rights, HideFromWatchersWhatTheyMayNotSee) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  Child watcher([&] {
    if (!become_stranger()) return 98;
    std::string told;
    connect().watch([&](const Event& event) {
      if (event.what == "watching" && ::write(ready[1], "w", 1) != 1) return false;
      told += event.name;
      return event.name != "public";
    });
    return told == "public" ? 0 : 1;
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  auto registry = connect();
  registry.create("private", {.size = 8}, {.capacity = 4});
  registry.create("public", {.size = 8}, {.capacity = 4, .mode = 0604});
  EXPECT_EQ(watcher.wait(), 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(Rights, OfAProtectedChannelAreKeptByTheKernel) {
  auto registry = connect();
  registry.create("x", {.size = 16}, {.capacity = 4, .mode = 0606});
  EXPECT_EQ(0, as_stranger(daemon, {}, [&](Registry&) {
              RawClient raw(daemon.socket());
              static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", "receiver"}}));
              if (raw.descriptors.size() != 4) return 1;
              const int forward = raw.descriptors[0].get();
              const int back = raw.descriptors[1].get();
              if (::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, forward, 0) != MAP_FAILED) return 2;
              if (errno != EACCES) return 3;
              void* readable = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, forward, 0);
              if (readable == MAP_FAILED || ::mprotect(readable, 4096, PROT_READ | PROT_WRITE) == 0) return 4;
              const char byte = 0;
              if (::pwrite(forward, &byte, 1, 0) >= 0 || ::ftruncate(forward, 0) == 0) return 5;
              const std::string self = "/proc/self/fd/" + std::to_string(forward);
              if (::open(self.c_str(), O_RDWR | O_CLOEXEC) >= 0) return 6;
              // Its own segment it may write.
              return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, back, 0) == MAP_FAILED ? 7 : 0;
            }));
  EXPECT_EQ(0, as_stranger(daemon, {}, [](Registry& mine) {
              auto rx = mine.receiver<Tick>("x");
              auto tx = mine.sender<Tick>("x");
              Tick tick{};
              for (std::uint64_t i = 0; i < 100; ++i) {
                if (!tx.try_send({i, 0}) || !rx.try_receive(tick) || tick.seq != i) return 1;
              }
              return 0;
            }));
}

// ---- no registry, or another

TEST(Connecting, NamesThePlacesItTried) {
  const TemporaryFolder folder;
  const std::string nowhere = folder.path() + "/nowhere.sock";
  {
    const auto [code, sentence] = refusal([&] { static_cast<void>(Registry::connect(nowhere)); });
    EXPECT_EQ(code, Errc::no_registry);
    EXPECT_NE(sentence.find(nowhere), std::string::npos) << sentence;
  }
  ::setenv("NIMSYNC_SOCKET", nowhere.c_str(), 1);
  const auto [code, sentence] = refusal([] { static_cast<void>(Registry::connect()); });
  ::unsetenv("NIMSYNC_SOCKET");
  EXPECT_EQ(code, Errc::no_registry);
  EXPECT_NE(sentence.find(nowhere), std::string::npos) << sentence;
  EXPECT_REFUSED(Errc::no_registry, Registry::connect(std::string(200, 'x')));
}

TEST(Connecting, SaysWhenWhatAnswersIsNoRegistry) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/other.sock";
  const std::string huge(100'000, 'x');
  const std::vector<std::string> answers{
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      std::string("garbage\0", 8),
      std::string("{}\0", 3),
      std::string("[1,2]\0", 6),
      std::string("{\"error\":\"org.varlink.service.InterfaceNotFound\"}\0", 50),
      std::string("{\"parameters\":{\"channel\":7}}\0", 29),
      huge,
      "",
  };
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(static_cast<char*>(address.sun_path), path.c_str(), path.size());
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 8), 0);
  for (const std::string& answer : answers) {
    std::thread server([&] {
      const int client = ::accept(listener, nullptr, nullptr);
      std::array<char, 4096> request{};
      static_cast<void>(!::read(client, request.data(), request.size()));
      static_cast<void>(::send(client, answer.data(), answer.size(), MSG_NOSIGNAL));
      ::close(client);
    });
    auto registry = Registry::connect(path);
    EXPECT_REFUSED(Errc::no_registry, registry.stat("x"));
    server.join();
  }
  ::close(listener);
}

// ---- strangers at the socket

TEST_F(Service, AnswersGarbageWithAnErrorAndEndsTheConnection) {
  for (const std::string& garbage : {std::string("garbage\0", 8), std::string("\0", 1), std::string("{}\0", 3),
                                     std::string("[[[[[[[[[[[[[[[[[[[[\0", 21), std::string("{\"method\":7}\0", 13),
                                     std::string(65 * 1024, 'x'), std::string("\xff\xfe\0", 3)}) {
    RawClient client(daemon.socket());
    client.send(garbage);
    const auto reply = client.receive();
    ASSERT_TRUE(reply.has_value()) << garbage.substr(0, 20);
    EXPECT_EQ(reply->at("error"), "io.nimsync.registry.Invalid");
    EXPECT_TRUE(client.ends());
  }
  EXPECT_TRUE(connect().list().empty());
}

TEST_F(Service, TakesAMessageInPiecesAndSeveralAtOnce) {
  RawClient client(daemon.socket());
  const std::string call("{\"method\":\"org.varlink.service.GetInfo\"}\0", 41);
  for (const char c : call) ASSERT_TRUE(client.send(std::string_view(&c, 1)));
  EXPECT_EQ(client.receive()->at("parameters").at("product"), "nimsyncd");
  std::string many;
  for (int i = 0; i < 100; ++i) many += call;
  std::thread writer([&] { client.send(many); });
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.receive().has_value()) << i;
  writer.join();
}

TEST_F(Service, ForgetsClientsThatLeaveInTheMiddle) {
  const std::size_t before = descriptors_of(daemon.pid());
  for (int i = 0; i < 50; ++i) {
    RawClient client(daemon.socket());
    client.send("{\"method\":\"io.nimsync");
  }
  for (int i = 0; i < 50; ++i) {
    RawClient client(daemon.socket());
    const std::string call =
        nlohmann::json{
            {"method", kOpen},
            {"parameters",
             {{"name", "x"},
              {"role", "sender"},
              {"expect", {{"layout", "dense"}, {"size", 8}, {"capacity", 8}, {"alignment", 8}, {"type", ""}}},
              {"create", {{"mode", 0600}, {"group", ""}}}}}}
            .dump();
    client.send(call + '\0');  // and gone before the answer: no lease may stay behind
  }
  ASSERT_TRUE(eventually([&] { return descriptors_of(daemon.pid()) <= before; }));
  auto registry = connect();
  EXPECT_NO_THROW(static_cast<void>(registry.sender<std::uint64_t>("x")));
}

TEST_F(Service, ServesOthersBesideAThousandIdleConnections) {
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<RawClient>(daemon.socket()));
    if (i % 2 == 0) idle.back()->send("{\"method\":");
  }
  auto registry = connect();
  registry.create("x", {.size = 8}, {.capacity = 4});
  EXPECT_EQ(registry.list().size(), 1U);
  EXPECT_GE(registry.info().connections, 1000U);
}

TEST_F(Service, SaysWhenAProcessHasNoDescriptorsLeftAndTakesNothing) {
  Child child([this] {
    auto registry = connect();
    const rlimit few{.rlim_cur = 40, .rlim_max = 40};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return 1;
    std::vector<Receiver<Tick>> receivers;
    std::optional<Errc> said;
    while (!said) {
      const std::string name = "c" + std::to_string(receivers.size());
      said = refusal([&] { receivers.push_back(registry.receiver<Tick>(name, {.capacity = 4})); }).first;
    }
    if (said != Errc::no_space || receivers.empty()) return 2;
    const std::string refused = "c" + std::to_string(receivers.size());
    receivers.pop_back();
    receivers.pop_back();
    receivers.push_back(registry.receiver<Tick>(refused));  // nobody holds it
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST(Limits, OfConnectionsAreSaidToTheOneTooMany) {
  PrivateDaemon daemon({"--max-connections", "3"});
  const RawClient one(daemon.socket());
  const RawClient two(daemon.socket());
  const RawClient three(daemon.socket());
  RawClient four(daemon.socket());
  const auto reply = four.receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->at("error"), "io.nimsync.registry.OverLimit");
  EXPECT_TRUE(four.ends());
}

TEST(Limits, OfChannelsAndBytesAreSaid) {
  PrivateDaemon daemon({"--max-channels", "2", "--max-bytes", "64K"});
  auto registry = Registry::connect(daemon.socket());
  EXPECT_REFUSED(Errc::over_limit, registry.create("big", {.size = 8}, {.capacity = 65536}));
  registry.create("one", {.size = 8}, {.capacity = 4});
  registry.create("two", {.size = 8}, {.capacity = 4});
  EXPECT_REFUSED(Errc::over_limit, registry.create("three", {.size = 8}, {.capacity = 4}));
  registry.remove("one");
  EXPECT_NO_THROW(registry.create("three", {.size = 8}, {.capacity = 4}));
}

TEST_F(Service, GivesOneUnreadReplyWithDescriptorsAtATime) {
  auto registry = connect();
  registry.create("x", {.size = 8}, {.capacity = 4});
  RawClient client(daemon.socket());
  const auto open = [](const char* role) {
    return nlohmann::json{{"method", kOpen}, {"parameters", {{"name", "x"}, {"role", role}}}}.dump() + '\0';
  };
  const auto waiting = [&] {
    int bytes = 0;
    return ::ioctl(client.fd(), FIONREAD, &bytes) == 0 ? bytes : 0;
  };
  client.send(open("sender"));
  ASSERT_TRUE(eventually([&] { return waiting() > 0; }));
  const int one_reply = waiting();
  client.send(open("receiver"));
  ASSERT_TRUE(eventually([&] { return waiting() > one_reply; }));
  const auto first = client.receive();
  const auto second = client.receive();
  EXPECT_TRUE(first->contains("parameters") && !first->contains("error")) << *first;
  EXPECT_EQ(second->value("error", ""), "io.nimsync.registry.OverLimit") << *second;
  EXPECT_EQ(client.descriptors.size(), 4U);
  EXPECT_FALSE(client.call(kOpen, {{"name", "x"}, {"role", "receiver"}}).contains("error"));
}

// ---- Varlink's own

TEST_F(Service, DescribesItselfAsVarlinkAsks) {
  RawClient client(daemon.socket());
  const auto info = client.call("org.varlink.service.GetInfo", nlohmann::json::object()).at("parameters");
  EXPECT_EQ(info.at("interfaces"), (nlohmann::json{"org.varlink.service", "io.nimsync.registry"}));
  const auto description =
      client.call("org.varlink.service.GetInterfaceDescription", {{"interface", "io.nimsync.registry"}});
  EXPECT_EQ(description.at("parameters").at("description"), read_text(NIMSYNC_INTERFACE));
  const auto error = [&](const char* method, const nlohmann::json& parameters) {
    return client.call(method, parameters).value("error", "none");
  };
  EXPECT_EQ(error("org.varlink.service.GetInterfaceDescription", {{"interface", "no.such"}}),
            "org.varlink.service.InterfaceNotFound");
  EXPECT_EQ(error("org.varlink.service.GetInterfaceDescription", nlohmann::json::object()),
            "org.varlink.service.InvalidParameter");
  EXPECT_EQ(error("no.such.Method", nlohmann::json::object()), "org.varlink.service.InterfaceNotFound");
  EXPECT_EQ(error("io.nimsync.registry.NoSuch", nlohmann::json::object()), "org.varlink.service.MethodNotFound");
  EXPECT_EQ(error("io.nimsync.registry.Stat", {{"name", 7}}), "org.varlink.service.InvalidParameter");
  EXPECT_EQ(error("io.nimsync.registry.Watch", nlohmann::json::object()), "org.varlink.service.ExpectedMore");
  client.send(std::string("{\"method\":\"org.varlink.service.GetInfo\",\"oneway\":true}\0", 55));
  EXPECT_EQ(error("no.such.Method", nlohmann::json::object()), "org.varlink.service.InterfaceNotFound")
      << "a oneway call has no reply";
}

TEST_F(Service, SaysWhenAListNeedsParts) {
  auto registry = connect();
  for (int i = 0; i < 40; ++i) registry.create("c" + std::to_string(i), {.size = 8}, {.capacity = 4});
  RawClient client(daemon.socket());
  EXPECT_EQ(client.call("io.nimsync.registry.List", {{"pattern", ""}}).value("error", ""),
            "io.nimsync.registry.OverLimit");
  EXPECT_EQ(client.call("io.nimsync.registry.List", {{"pattern", "c1*"}}).at("parameters").at("channels").size(), 11U);
  EXPECT_EQ(registry.list().size(), 40U);
}

// ---- the daemon's life

TEST_F(Service, LeavesChannelsInPlaceWhenItEnds) {
  std::vector<ChannelInfo> before;
  {
    auto registry = connect();
    auto tx = registry.sender<Tick>("x", {.capacity = 4});
    ASSERT_TRUE(tx.try_send({7, 0}));
    tx.close();
    registry.create("y", {.frames = true}, {.capacity = 4096});
    before = registry.list();
  }
  EXPECT_EQ(daemon.stop(), 0);
  EXPECT_FALSE(fs::exists(daemon.socket()));
  daemon.start();
  auto registry = connect();
  const auto after = registry.list();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(after[i].name, before[i].name);
    EXPECT_EQ(after[i].generation, before[i].generation);
    EXPECT_EQ(after[i].sent, before[i].sent);
    EXPECT_EQ(after[i].created, before[i].created);
  }
  auto rx = registry.receiver<Tick>("x");
  Tick tick{};
  ASSERT_EQ(rx.receive(tick, kWatchdog), Status::ok);
  EXPECT_EQ(tick.seq, 7U);
}

TEST_F(Service, IsNotMissedByTrafficWhenItIsKilled) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 64});
  Child receiver([&] {
    auto mine = connect();
    auto rx = mine.receiver<Tick>("x");
    Tick tick{};
    std::uint64_t expected = 0;
    Status status = Status::ok;
    while ((status = rx.receive(tick, kWatchdog))) {
      if (tick.seq != expected++) return 1;
    }
    return status == Status::closed && expected > 1000 ? 0 : 2;
  });
  std::uint64_t sent = 0;
  const auto send = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) ASSERT_EQ(tx.send({sent++, 0}, kWatchdog), Status::ok);
  };
  send(10'000);
  const auto before = registry.stat("x");
  daemon.kill();
  send(10'000);
  EXPECT_REFUSED(Errc::no_registry, registry.info());
  daemon.start();
  send(10'000);
  const auto after = registry.list();  // the same Registry: it reconnects
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].generation, before.generation);
  ASSERT_TRUE(after[0].sender && after[0].receiver);
  EXPECT_EQ(after[0].sender->pid, ::getpid());
  EXPECT_EQ(after[0].receiver->pid, receiver.pid());
  EXPECT_REFUSED(Errc::in_use, registry.sender<Tick>("x"));
  tx.close();
  EXPECT_EQ(receiver.wait(), 0);
}

TEST_F(Service, RefusesASecondDaemonForTheSamePlace) {
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--socket", daemon.folder() + "/other.sock", "--state-dir", daemon.state()})), 1);
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--socket", daemon.socket(), "--state-dir", daemon.folder() + "/other"})), 1);
  EXPECT_TRUE(connect().list().empty()) << "the first one still answers";
  std::ofstream(daemon.folder() + "/file") << "precious";
  EXPECT_EQ(
      wait_for(spawn({NIMSYNCD, "--socket", daemon.folder() + "/file", "--state-dir", daemon.folder() + "/third"})), 1);
  EXPECT_EQ(read_text(daemon.folder() + "/file"), "precious");
}

TEST(Program, SaysWhatItIsAndRefusesWhatItDoesNotKnow) {
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--version"})), 0);
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--help"})), 0);
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--no-such-flag"})), 2);
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--max-bytes", "many"})), 2);
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--log-level", "loud"})), 2);
}

TEST(Program, EndsItselfWhenItIsIdleAndToldTo) {
  const TemporaryFolder folder;
  EXPECT_EQ(wait_for(spawn({NIMSYNCD, "--socket", folder.path() + "/s", "--idle-exit", "1", "--log-level", "warn"})),
            0);
}

// ---- memory that isn't what it was

/// Restarts the daemon with `change` done to the channel's forward segment in between; the state it then has.
std::string state_after(PrivateDaemon& daemon, const std::function<void(const std::string& path)>& change) {
  {
    auto registry = Registry::connect(daemon.socket());
    registry.create("x", {.size = 8}, {.capacity = 1024});
  }
  daemon.stop();
  change(segments_of(daemon).front());
  daemon.start();
  auto registry = Registry::connect(daemon.socket());
  const auto list = registry.list();
  if (list.empty()) return "gone";
  if (list[0].state == "damaged") {
    EXPECT_REFUSED(Errc::corrupted, registry.sender<std::uint64_t>("x"));
    registry.remove("x");
    EXPECT_TRUE(registry.list().empty());
    registry.create("x", {.size = 8}, {.capacity = 4});
    registry.remove("x");
  }
  return list[0].state;
}

TEST_F(Service, DoesNotAdoptMemoryOfAnotherSize) {
  EXPECT_EQ(state_after(daemon, [](const std::string& path) { fs::resize_file(path, 4096); }), "damaged");
}
TEST_F(Service, DoesNotAdoptMemoryThatGrew) {
  EXPECT_EQ(state_after(daemon, [](const std::string& path) { fs::resize_file(path, 1 << 20); }), "damaged");
}
TEST_F(Service, DoesNotAdoptMemoryOpenToOthers) {
  EXPECT_EQ(state_after(daemon, [](const std::string& path) { ::chmod(path.c_str(), 0666); }), "damaged");
}
TEST_F(Service, DoesNotAdoptMemoryOfAnotherOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "a file's owner can't be changed without root";
  std::string stolen;
  EXPECT_EQ(state_after(daemon,
                        [&](const std::string& path) {
                          stolen = path;
                          ASSERT_EQ(::chown(path.c_str(), kStranger, kStranger), 0);
                        }),
            "damaged");
  fs::remove(stolen);
}
TEST_F(Service, DoesNotAdoptMemoryWithAnotherInode) {
  std::string impostor;
  EXPECT_EQ(state_after(daemon,
                        [&](const std::string& path) {
                          impostor = path;
                          fs::copy(path, path + ".copy");
                          ::chmod((path + ".copy").c_str(), 0600);
                          fs::rename(path + ".copy", path);
                        }),
            "damaged");
  EXPECT_TRUE(fs::exists(impostor)) << "what the registry didn't make it doesn't remove while it runs";
  fs::remove(impostor);
}
TEST_F(Service, DropsAChannelWhoseMemoryIsGone) {
  EXPECT_EQ(state_after(daemon,
                        [&](const std::string&) {
                          for (const std::string& each : segments_of(daemon)) fs::remove(each);
                        }),
            "gone");
}

TEST_F(Service, SweepsWhatIsHalfMadeAndLeavesWhatIsForeign) {
  connect().create("x", {.size = 8}, {.capacity = 4});
  const std::string segment = segments_of(daemon).front();
  const std::string prefix = segment.substr(0, segment.size() - 18);
  daemon.stop();
  std::ofstream(prefix + "0123456789abcdef.f") << "left behind";
  fs::create_directory(daemon.state() + "/channels/.new-0123");
  fs::create_directory(daemon.state() + "/channels/.gone-0123");
  fs::create_directory(daemon.state() + "/channels/mystery");
  std::ofstream("/dev/shm/nimsync.of-another") << "foreign";
  daemon.start();
  EXPECT_EQ(connect().list().size(), 1U);
  EXPECT_FALSE(fs::exists(prefix + "0123456789abcdef.f"));
  EXPECT_FALSE(fs::exists(daemon.state() + "/channels/.new-0123"));
  EXPECT_FALSE(fs::exists(daemon.state() + "/channels/.gone-0123"));
  EXPECT_TRUE(fs::exists(daemon.state() + "/channels/mystery"));
  EXPECT_TRUE(fs::exists("/dev/shm/nimsync.of-another"));
  fs::remove("/dev/shm/nimsync.of-another");
}

TEST_F(Service, LeavesTheMemoryOfAChannelThatItCannotRead) {
  connect().create("x", {.size = 8}, {.capacity = 4});
  const auto segments = segments_of(daemon);
  const std::string definition = daemon.state() + "/channels/x/definition";
  const std::string text = read_text(definition);
  daemon.stop();
  std::ofstream(definition) << "{\"version\": 2}";
  daemon.start();
  EXPECT_TRUE(connect().list().empty());
  for (const std::string& each : segments) EXPECT_TRUE(fs::exists(each));
  daemon.stop();
  std::ofstream(definition) << text;
  daemon.start();
  EXPECT_EQ(connect().list().size(), 1U) << "and has it again once it can";
}

TEST_F(Service, RefusesToAttachToAnotherHeader) {
  auto registry = connect();
  struct Field {
    const char* name;
    std::uint64_t offset;
  };
  for (const Field field :
       {Field{"magic", offsetof(layout::Header, magic)}, Field{"version", offsetof(layout::Header, version)},
        Field{"generation", offsetof(layout::Header, generation)},
        Field{"capacity", offsetof(layout::Header, capacity)}}) {
    for (const std::size_t side : {0U, 1U}) {
      registry.create("x", {.size = 8}, {.capacity = 4});
      const os::Descriptor segment(::open(segments_of(daemon)[side].c_str(), O_RDWR | O_CLOEXEC));
      const std::uint32_t wrong = 0x5a5a5a5a;
      ASSERT_EQ(::pwrite(segment.get(), &wrong, sizeof wrong, static_cast<off_t>(field.offset)), 4);
      const auto [code, sentence] = refusal([&] { static_cast<void>(registry.sender<std::uint64_t>("x")); });
      EXPECT_EQ(code, Errc::corrupted);
      EXPECT_NE(sentence.find(field.name), std::string::npos) << sentence;
      registry.remove("x", true);
    }
  }
}

TEST(FullMemory, IsSaidAndLeavesNothingBehind) {
  if (::geteuid() != 0) GTEST_SKIP() << "a small /dev/shm can't be mounted without root";
  Child child([] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k") != 0) {
      return 98;
    }
    PrivateDaemon daemon;
    auto registry = Registry::connect(daemon.socket());
    const auto [code, sentence] = refusal([&] { registry.create("big", {.size = 8}, {.capacity = 4096}); });
    if (code != Errc::no_space || sentence.find("needed") == std::string::npos) return 1;
    if (sentence.find("65536 available") == std::string::npos) return 2;
    if (!registry.list().empty() || !fs::is_empty("/dev/shm") || !fs::is_empty(daemon.state() + "/channels")) return 3;
    // Until it is full, and what there is stays good.
    int made = 0;
    while (!refusal([&] { registry.create("c" + std::to_string(made), {.size = 8}, {.capacity = 4}); }).first) ++made;
    if (made == 0 || registry.list().size() != static_cast<std::size_t>(made)) return 4;
    registry.remove("c0");
    return refusal([&] { registry.create("again", {.size = 8}, {.capacity = 4}); }).first ? 5 : 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

// ---- many

TEST_F(Service, HoldsTenThousandChannelsInLittleMemoryAndWithoutDescriptors) {
  const auto resident = [&] {
    std::ifstream file("/proc/" + std::to_string(daemon.pid()) + "/statm");
    std::uint64_t total = 0;
    std::uint64_t pages = 0;
    file >> total >> pages;
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  };
  constexpr int count = 10'000;
  auto registry = connect();
  registry.create("first", {.size = 8}, {.capacity = 16, .layout = Layout::dense});
  registry.remove("first");
  const std::uint64_t before = resident();
  const std::size_t descriptors = descriptors_of(daemon.pid());
  for (int i = 0; i < count; ++i) {
    registry.create("channel." + std::to_string(i), {.size = 8}, {.capacity = 16, .layout = Layout::dense});
  }
  EXPECT_EQ(registry.list().size(), static_cast<std::size_t>(count));
  const std::uint64_t after = resident();
  const std::uint64_t each = (after - std::min(before, after)) / count;
  RecordProperty("bytes_per_channel", static_cast<int>(each));
  std::printf("resident memory: %llu bytes a channel\n", static_cast<unsigned long long>(each));
#if defined(__SANITIZE_ADDRESS__)
  std::printf("not judged: AddressSanitizer keeps what is freed\n");
#else
  EXPECT_LT(each, 2048U);
#endif
  for (int i = 0; i < count; ++i) {
    auto tx = registry.sender<std::uint64_t>("channel." + std::to_string(i));
    ASSERT_TRUE(tx.try_send(1));
  }
  EXPECT_TRUE(eventually([&] { return descriptors_of(daemon.pid()) <= descriptors; }));
  for (int i = 0; i < count; ++i) registry.remove("channel." + std::to_string(i));
  EXPECT_TRUE(registry.list().empty());
  EXPECT_TRUE(fs::is_empty(daemon.state() + "/channels"));
}

TEST_F(Service, UsesNoProcessorWhenIdle) {
  auto registry = connect();
  auto tx = registry.sender<Tick>("x", {.capacity = 4});
  auto rx = registry.receiver<Tick>("x");
  clockid_t clock{};
  ASSERT_EQ(::clock_getcpuclockid(daemon.pid(), &clock), 0);
  const auto used = [&] {
    timespec time{};
    ::clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  };
  const auto sleeps = [&] {
    const std::string stat = read_text("/proc/" + std::to_string(daemon.pid()) + "/stat");
    return stat.find(") S ") != std::string::npos;
  };
  // It sleeps once it has done what came of its last answer.
  ASSERT_TRUE(eventually(sleeps));
  const auto before = used();
  std::this_thread::sleep_for(std::chrono::seconds(2));  // the measurement itself
  EXPECT_EQ(used(), before);
}

}  // namespace
}  // namespace nimsync::testing
