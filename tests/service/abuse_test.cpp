// What strangers do at the registry's socket harms nobody else: a witness creates, opens, uses and removes channels all
// the while, and each of its rounds succeeds. The registry's memory stays bounded, and its descriptors are as before
// once the strangers are gone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"
#include "tests/service/service.hpp"

namespace nimsync::testing {
namespace {

constexpr std::uint64_t kMostGrowth = std::uint64_t{64} << 20;  // of resident memory
const std::string kGetInfo("{\"method\":\"org.varlink.service.GetInfo\"}\0", 41);
const std::string kDescribe =
    R"({"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.nimsync.registry"}})" +
    std::string(1, '\0');

constexpr std::size_t kOfTheWitness = 16;  // descriptors for it, or under way to it, just now

using Clients = std::vector<std::unique_ptr<RawClient>>;
Clients connect_many(const std::string& socket, std::size_t count) {
  Clients clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(std::make_unique<RawClient>(socket));
  return clients;
}

/// Sends what goes without waiting; how much that was.
std::size_t stuff(const RawClient& client, std::string_view bytes) {
  const ssize_t sent = ::send(client.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

/// Another client, who does nothing wrong: it makes channels, sends, receives, and removes them, over and over.
class Witness {
 public:
  explicit Witness(std::string socket) : socket_(std::move(socket)), thread_([this] { testify(); }) {}
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() {
    ended_ = true;
    thread_.join();
    EXPECT_EQ(failure_, "") << "in round " << rounds_;
    ::testing::Test::RecordProperty("witness_rounds", static_cast<int>(rounds_));
    std::printf("the witness was served in all of %llu rounds\n", static_cast<unsigned long long>(rounds_));
  }

  /// Whether it is served now, as things are: some whole rounds from here.
  [[nodiscard]] bool is_served() const {
    constexpr std::uint64_t kSome = 3;
    const std::uint64_t until = rounds_ + kSome;
    return eventually([&] { return rounds_ >= until || failed_; }) && !failed_;
  }

 private:
  void testify() {
    try {
      while (!ended_) {
        // By turns over its own connection and over a new one.
        if (rounds_ % 2 == 0 || !registry_) registry_ = Registry::connect(socket_);
        const std::string name = "witness." + std::to_string(rounds_);
        registry_->create(name, {.size = sizeof(std::uint64_t)}, {.capacity = 4});
        {
          auto tx = registry_->sender<std::uint64_t>(name);
          auto rx = registry_->receiver<std::uint64_t>(name);
          std::uint64_t got = 0;
          for (std::uint64_t i = 0; i < 8; ++i) {
            if (!tx.try_send(i) || !rx.try_receive(got) || got != i) throw std::runtime_error("a message was lost");
          }
        }
        registry_->remove(name);
        ++rounds_;
      }
    } catch (const std::exception& e) {
      failure_ = e.what();
      failed_ = true;
    }
  }

  std::string socket_;
  std::optional<Registry> registry_;
  std::string failure_;
  std::atomic<std::uint64_t> rounds_{0};
  std::atomic<bool> failed_{false};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

std::uint64_t resident(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t total = 0;
  std::uint64_t pages = 0;
  file >> total >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class Abuse : public ::testing::Test {
 protected:
  explicit Abuse(std::vector<std::string> arguments = {}) : daemon(std::move(arguments)) {
    // Whatever it makes at its first use.
    static_cast<void>(Registry::connect(daemon.socket()).list());
    descriptors_ = descriptors_of(daemon.pid());
    memory_ = resident(daemon.pid());
  }

  /// While the strangers are there.
  void expect_others_served() {
    EXPECT_TRUE(witness_.is_served());
    const std::uint64_t now = resident(daemon.pid());
    most_memory_ = std::max(most_memory_, now - std::min(now, memory_));
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT_LT(most_memory_, kMostGrowth);
#endif
  }

  /// Once they are gone.
  void TearDown() override {
    expect_others_served();
    std::printf("resident memory grew by %llu KiB at most%s\n", static_cast<unsigned long long>(most_memory_ >> 10U),
#if defined(__SANITIZE_ADDRESS__)
                "; not judged: AddressSanitizer keeps what is freed"
#else
                ""
#endif
    );
    EXPECT_TRUE(eventually([&] { return descriptors_of(daemon.pid()) <= descriptors_ + kOfTheWitness; }))
        << descriptors_of(daemon.pid()) << " descriptors, of " << descriptors_;
  }

  PrivateDaemon daemon;

 private:
  std::size_t descriptors_ = 0;
  std::uint64_t memory_ = 0;
  std::uint64_t most_memory_ = 0;
  Witness witness_{daemon.socket()};
};

TEST_F(Abuse, HalfMessagesAreLeftLying) {
  const Clients clients = connect_many(daemon.socket(), 500);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const std::string half = i % 2 == 0 ? kGetInfo.substr(0, 1 + i % 40) : std::string(65'000, '[');
    static_cast<void>(stuff(*clients[i], half));
  }
  expect_others_served();
}

TEST_F(Abuse, WritersOfAByteAtATimeAreAnsweredInTheEnd) {
  const Clients clients = connect_many(daemon.socket(), 50);
  for (std::size_t i = 0; i < kGetInfo.size(); ++i) {
    for (const auto& client : clients) ASSERT_TRUE(client->send(kGetInfo.substr(i, 1)));
    if (i % 8 == 0) expect_others_served();
  }
  for (const auto& client : clients) EXPECT_TRUE(client->receive()->contains("parameters"));
}

TEST_F(Abuse, RequestsWhoseAnswersNobodyReadsStopTheirSenderAlone) {
  const Clients clients = connect_many(daemon.socket(), 50);
  std::vector<std::size_t> sent(clients.size());
  // Until nothing more goes into any of them though others were served meanwhile.
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < clients.size(); ++i) {
      for (;;) {
        const std::size_t at = sent[i] % kDescribe.size();
        const std::size_t put = stuff(*clients[i], std::string_view(kDescribe).substr(at));
        if (put == 0) break;
        sent[i] += put;
        more = true;
      }
    }
    expect_others_served();
  }
  // Each is answered as often as it has asked, once it reads; the first one a byte at a time.
  const auto asked = [&](std::size_t i) { return sent[i] / kDescribe.size(); };
  std::size_t answers = 0;
  for (char byte = 0; answers == 0; answers += byte == '\0' ? 1 : 0) {
    ASSERT_EQ(::recv(clients[0]->fd(), &byte, 1, 0), 1);
  }
  for (; answers < asked(0); ++answers) ASSERT_TRUE(clients[0]->receive()->contains("parameters"));
  for (std::size_t i = 1; i < clients.size(); i += 7) {
    for (std::size_t n = 0; n < asked(i); ++n) ASSERT_TRUE(clients[i]->receive()->contains("parameters"));
  }
  std::printf("%zu requests of each client were under way\n", asked(0));
}

TEST(Descriptors, AreNotKeptForRepliesThatNobodyReads) {
  const PrivateDaemon daemon;
  const auto call = [](const std::string& method, const std::string& parameters) {
    return R"({"method":")" + method + R"(","parameters":)" + parameters + "}" + '\0';
  };
  const std::string question =
      call("org.varlink.service.GetInterfaceDescription", R"({"interface":"io.nimsync.registry"})");
  auto registry = Registry::connect(daemon.socket());
  const auto let_it_answer = [&] {
    for (int turn = 0; turn < 3; ++turn) static_cast<void>(registry.info());
  };
  // How many replies a socket takes whose other end reads none.
  RawClient first(daemon.socket());
  std::string many;
  for (int i = 0; i < 120; ++i) many += question;
  ASSERT_TRUE(first.send(many));
  let_it_answer();
  int waiting = 0;
  ASSERT_EQ(::ioctl(first.fd(), FIONREAD, &waiting), 0);
  const auto reply = first.receive();
  ASSERT_TRUE(reply);
  const int fitting = waiting / static_cast<int>(reply->dump().size() + 1);
  ASSERT_TRUE(fitting > 0 && fitting < 120) << fitting;

  // Behind so many a call whose answer has descriptors.
  constexpr std::size_t kClients = 8;
  const std::size_t before = descriptors_of(daemon.pid());
  std::vector<std::unique_ptr<RawClient>> clients;
  for (std::size_t i = 0; i < kClients; ++i) {
    const std::string name = "x" + std::to_string(i);
    registry.create(name, {.size = 8}, {.capacity = 1});
    std::string bytes;
    for (int n = 0; n < fitting; ++n) bytes += question;
    bytes += call("io.nimsync.registry.Open", R"({"name":")" + name + R"(","role":"sender"})");
    clients.push_back(std::make_unique<RawClient>(daemon.socket()));
    ASSERT_TRUE(clients.back()->send(bytes));
  }
  let_it_answer();
  EXPECT_EQ(descriptors_of(daemon.pid()), before + kClients);
  for (const auto& each : clients) {
    std::optional<nlohmann::json> last;
    for (int n = 0; n <= fitting; ++n) last = each->receive();
    ASSERT_TRUE(last);
    EXPECT_EQ(last->value("error", ""), "io.nimsync.registry.OverLimit") << *last;
  }
  clients.clear();
  for (std::size_t i = 0; i < kClients; ++i) registry.remove("x" + std::to_string(i));
}

TEST_F(Abuse, ListsThatNobodyReadsWaitForTheirReaders) {
  auto registry = Registry::connect(daemon.socket());
  constexpr int kChannels = 500;
  for (int i = 0; i < kChannels; ++i) registry.create("c" + std::to_string(i), {.size = 8}, {.capacity = 4});
  const std::string list =
      R"({"method":"io.nimsync.registry.List","parameters":{"pattern":"c*"},"more":true})" + std::string(1, '\0');
  Clients clients = connect_many(daemon.socket(), 100);
  for (const auto& client : clients) {
    for (int i = 0; i < 20; ++i) static_cast<void>(stuff(*client, list));
  }
  for (int i = 0; i < 5; ++i) expect_others_served();
  std::size_t listed = 0;
  for (bool continues = true; continues;) {
    const auto part = clients[0]->receive();
    ASSERT_TRUE(part && part->contains("parameters"));
    listed += part->at("parameters").at("channels").size();
    continues = part->value("continues", false);
  }
  EXPECT_EQ(listed, static_cast<std::size_t>(kChannels));
}

TEST_F(Abuse, WatchersThatDoNotReadAreDisconnectedAndThoseThatReadAreTold) {
  const std::string watch =
      R"({"method":"io.nimsync.registry.Watch","parameters":{},"more":true})" + std::string(1, '\0');
  Clients clients = connect_many(daemon.socket(), 100);
  for (const auto& client : clients) {
    ASSERT_TRUE(client->send(watch));
    ASSERT_EQ(client->receive()->at("parameters").at("what"), "watching");
  }
  RawClient& reader = *clients.front();
  auto registry = Registry::connect(daemon.socket());
  const std::uint64_t before = registry.info().connections;
  std::size_t told = 0;
  // More than a connection and its session take: the others are gone before this ends.
  for (int i = 0; registry.info().connections + clients.size() - 1 > before + 2; ++i) {
    ASSERT_LT(i, 20'000) << "watchers that don't read are still there";
    registry.create("event", {.size = 8}, {.capacity = 4});
    registry.remove("event");
    for (bool removed = false; !removed;) {
      const auto event = reader.receive();
      ASSERT_TRUE(event.has_value()) << "after " << told << " events";
      if (event->at("parameters").at("name") != "event") continue;
      removed = event->at("parameters").at("what") == "removed";
      ++told;
    }
    if (i % 100 == 0) expect_others_served();
  }
  std::printf("%zu events were told to the one who reads\n", told);
}

// ---- descriptors

/// A registry whose socket was listened at before it was started, as systemd does it. Where the kernel can keep clients
/// from sending descriptors, those that connected before the registry could say so may send them still.
class Activated {
 public:
  Activated() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(static_cast<char*>(address.sun_path), socket().c_str(), socket().size());
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 1024) != 0) {
      throw std::runtime_error("cannot listen at " + socket());
    }
  }
  Activated(const Activated&) = delete;
  Activated& operator=(const Activated&) = delete;
  ~Activated() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGTERM);
    EXPECT_EQ(wait_for(pid_), 0);
  }

  void start() {
    constexpr int kActivatedFd = 3;
    const std::string state = folder_.path() + "/state";
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    if (::dup2(listener_.get(), kActivatedFd) == kActivatedFd) {
      // A descriptor that is 3 already would be closed.
      if (listener_.get() == kActivatedFd) ::fcntl(kActivatedFd, F_SETFD, 0);
      ::execl(NIMSYNCD, NIMSYNCD, "--state-dir", state.c_str(), "--log-level", "warn", nullptr);
    }
    ::_exit(127);
  }

  [[nodiscard]] std::string socket() const { return folder_.path() + "/registry.sock"; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  TemporaryFolder folder_;
  os::Descriptor listener_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  pid_t pid_ = -1;
};

TEST(Descriptors, OfAnyKindAndNumberAreNotKept) {
  Activated daemon;
  constexpr std::size_t kLeaving = 200;
  constexpr std::array<std::size_t, 4> kTooMany{5, 6, 64, 253};  // up to the kernel's limit
  RawClient client(daemon.socket());
  const Clients greedy = connect_many(daemon.socket(), kTooMany.size());
  Clients leaving = connect_many(daemon.socket(), kLeaving);
  daemon.start();
  ASSERT_TRUE(client.send(kGetInfo));
  ASSERT_TRUE(client.receive().has_value());
  ASSERT_GE(Registry::connect(daemon.socket()).info().connections, 1 + kTooMany.size() + kLeaving);
  const std::size_t before = descriptors_of(daemon.pid());
  const Witness witness(daemon.socket());

  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  std::vector<os::Descriptor> kinds;
  for (const int each : {pipe[0], pipe[1], pair[0], pair[1], ::open("/dev/null", O_RDWR | O_CLOEXEC),
                         ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ::epoll_create1(EPOLL_CLOEXEC),
                         ::eventfd(0, EFD_CLOEXEC), ::memfd_create("gift", MFD_CLOEXEC)}) {
    ASSERT_GE(each, 0);
    kinds.emplace_back(each);
  }
  const auto gifts = [&](std::size_t first, std::size_t count) {
    std::vector<int> all;
    for (std::size_t n = 0; n < count; ++n) all.push_back(kinds[(first + n) % kinds.size()].get());
    return all;
  };
  // In each message, from one to as many as may come along; some times the connection itself: a cycle.
  for (std::size_t i = 0; i < 400; ++i) {
    std::vector<int> some = gifts(i, 1 + i % 4);
    if (i % 7 == 0) some.back() = client.fd();
    ASSERT_TRUE(client.send_descriptors(kGetInfo, some));
    ASSERT_TRUE(client.receive()->contains("parameters"));
  }
  EXPECT_TRUE(eventually([&] { return descriptors_of(daemon.pid()) <= before + kOfTheWitness; }));
  // More than may come along end the connection.
  for (std::size_t i = 0; i < kTooMany.size(); ++i) {
    ASSERT_TRUE(greedy[i]->send_descriptors(kGetInfo, gifts(i, kTooMany[i])));
    EXPECT_TRUE(greedy[i]->ends()) << kTooMany[i];
  }
  // With halves of messages, and by clients that go before they are read.
  for (std::size_t i = 0; i < kLeaving; ++i) {
    ASSERT_TRUE(leaving[i]->send_descriptors("{", std::array{gifts(i, 1)[0], leaving[i]->fd()}));
    static_cast<void>(leaving[i]->send_descriptors("}", gifts(i + 1, 1)));
    leaving[i].reset();
  }
  EXPECT_TRUE(witness.is_served());
  const std::size_t ended = kTooMany.size() + kLeaving;
  EXPECT_TRUE(eventually([&] { return descriptors_of(daemon.pid()) <= before - ended + kOfTheWitness; }))
      << descriptors_of(daemon.pid()) << " descriptors, of " << before;
}

/// A TCP connection that can't be closed at once: its peer reads nothing, and it was told to wait for that. A registry
/// that was sent it would stand still for ten minutes.
class Lingering {
 public:
  Lingering() {
    const os::Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener.get(), any, length) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), any, &length) != 0) {
      return;
    }
    os::Descriptor mine(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const linger long_time{.l_onoff = 1, .l_linger = 600};
    if (::connect(mine.get(), any, length) != 0) return;
    peer_.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (::setsockopt(mine.get(), SOL_SOCKET, SO_LINGER, &long_time, sizeof long_time) != 0) return;
    const std::string bytes(std::size_t{1} << 20, 'x');
    while (::send(mine.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) continue;
    socket_ = std::move(mine);
  }

  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(socket_); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  os::Descriptor socket_;
  os::Descriptor peer_;  // closed first: then there is nothing left to wait for
};

TEST_F(Abuse, ADescriptorThatTakesLongToCloseIsNotLetIn) {
  const Lingering lingering;
  if (!lingering) GTEST_SKIP() << "no TCP connection can be made here";
  RawClient client(daemon.socket());
  const bool sent = client.send_descriptors(kGetInfo, std::array{lingering.fd()});
  if (sent) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS (Linux 6.16): such a descriptor can't be kept out";
  EXPECT_EQ(errno, EPERM);
  EXPECT_FALSE(client.send_descriptors("{", std::array{lingering.fd(), 0}));
  ASSERT_TRUE(client.send(kGetInfo));
  EXPECT_TRUE(client.receive()->contains("parameters")) << "the connection is as good as before";
  expect_others_served();
}

// ---- bytes

TEST_F(Abuse, NoGarbageIsTakenForARequest) {
  const auto request = [](const std::string& method, const std::string& parameters) {
    return R"({"method":"io.nimsync.registry.)" + method + R"(","parameters":)" + parameters + "}";
  };
  const auto create = [&](const std::string& shape, const std::string& rights = R"({"mode":384,"group":""})") {
    return request("Create", R"({"name":"garbage","shape":)" + shape + R"(,"rights":)" + rights + "}");
  };
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  const auto deep_object = [](std::size_t levels) {
    std::string text;
    for (std::size_t i = 0; i < levels; ++i) text += R"({"a":)";
    return text + "0" + std::string(levels, '}');
  };
  std::vector<std::string> all{
      nested(17),
      nested(30'000),
      deep_object(10'000),
      request("Stat", R"({"name":)" + nested(20) + "}"),
      request("Stat", deep_object(17)),
      std::string(60'000, ' '),
      "\"" + std::string(60'000, 'x') + "\"",
      std::string(60'000, '9'),
      R"({"method":")" + std::string(60'000, 'm') + "\"}",
      R"({"method":"io.nimsync.registry.\u0000","parameters":{}})",
      "{\"method\":\"io.nimsync.registry.Stat\xff\",\"parameters\":{}}",
      "{\"method\":\"org.varlink.service.GetInfo\xc0\x80\"}",
      "{\"method\":\"\xed\xa0\x80.x\"}",
      R"({"method":"\ud800.x"})",
      R"({"method":"io.nimsync.registry.Info","parameters":[]})",
      R"({"method":"io.nimsync.registry.Info","parameters":7})",
      R"({"method":["io.nimsync.registry.Info"]})",
      R"({"method":"io.nimsync.registry.Info","more":"yes"})",
      R"({"method":"io.nimsync.registry.Info","oneway":1})",
      R"({"method":"io.nimsync.registry.Info"}{"method":"io.nimsync.registry.Info"})",
      R"({"method":"Info"})",
      R"({"method":""})",
      R"({"method":"."})",
      R"({"method":"io.nimsync.registry."})",
      request("Stat", R"({"name":null})"),
      request("Stat", R"({"name":"a\u0000b"})"),
      request("Stat", R"({"name":")" + std::string(60'000, 'n') + "\"}"),
      "{\"method\":\"io.nimsync.registry.Stat\",\"parameters\":{\"name\":\"\xff\xfe\"}}",
      request("Remove", R"({"name":"garbage","force":"true"})"),
      request("Remove", R"({"name":"../../etc","force":true})"),
      request("List", R"({"pattern":")" + std::string(60'000, '*') + "\"}"),
      request("Open", R"({"name":"garbage","role":"king"})"),
      request("Open", R"({"name":"garbage","role":1})"),
      request("Open", "{}"),
      create(R"({"layout":"round","size":8,"capacity":4,"alignment":8,"type":""})"),
      create(R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":")" + std::string(50'000, 't') + "\"}"),
      create(R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":""})",
             R"({"mode":4294967680,"group":""})"),
      create(R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":""})", R"({"mode":-1,"group":""})"),
      create(R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":""})",
             R"({"mode":384,"group":")" + std::string(50'000, 'g') + "\"}"),
      create(R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":""})",
             R"({"mode":384,"group":"99999999999999999999"})"),
  };
  for (const char* number : {"-1", "0", "1.5", "1e400", "-1e400", "9223372036854775807", "9223372036854775808",
                             "18446744073709551615", "18446744073709551616", "1e19", "true", "\"8\"", "null", "[8]"}) {
    for (const char* field : {"size", "capacity"}) {
      std::string shape = R"({"layout":"dense","size":8,"capacity":4,"alignment":8,"type":""})";
      const std::string of = std::string("\"") + field + "\":";
      const std::size_t at = shape.find(of) + of.size();
      all.push_back(create(shape.replace(at, 1, number)));
    }
  }
  std::size_t refused = 0;
  for (const std::string& garbage : all) {
    RawClient client(daemon.socket());
    ASSERT_TRUE(client.send(garbage + '\0'));
    const auto reply = client.receive();
    const std::string shown = garbage.substr(0, 120);
    EXPECT_TRUE(!reply || reply->contains("error")) << shown << "\n" << *reply;
    EXPECT_TRUE(client.descriptors.empty()) << shown;
    if (!reply || reply->contains("error")) ++refused;
    if (refused % 16 == 0) expect_others_served();
  }
  std::printf("%zu kinds of garbage were refused\n", refused);
  // NULs alone, and a message that never ends.
  RawClient nothing(daemon.socket());
  static_cast<void>(nothing.send(std::string(100'000, '\0')));
  while (nothing.receive().has_value()) continue;
  RawClient endless(daemon.socket());
  static_cast<void>(endless.send(std::string(1'000'000, 'x')));
  while (endless.receive().has_value()) continue;
  EXPECT_TRUE(Registry::connect(daemon.socket()).list("garbage").empty());
}

// ---- connections

TEST_F(Abuse, ConnectionsThatComeAndGoAreForgotten) {
  std::vector<std::thread> strangers;
  std::atomic<std::size_t> made{0};
  for (std::size_t i = 0; i < 4; ++i) {
    strangers.emplace_back([&, i] {
      for (std::size_t n = 0; n < 2000; ++n) {
        RawClient client(daemon.socket());
        ++made;
        if ((n + i) % 4 == 1) static_cast<void>(stuff(client, "{"));
        if ((n + i) % 4 == 2) static_cast<void>(stuff(client, kDescribe));
        if ((n + i) % 4 == 3) static_cast<void>(stuff(client, kGetInfo + kGetInfo.substr(0, 7)));
      }
    });
  }
  expect_others_served();
  for (std::thread& each : strangers) each.join();
  EXPECT_EQ(made, 8000U);
}

class ManyConnections : public Abuse {
 protected:
  ManyConnections() : Abuse({"--max-connections", "20000"}) {}
};

TEST_F(ManyConnections, OfWhichEachMayBeHalfAMessageHoldNobodyUp) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  // Half of the registry's descriptors are one uid's.
  constexpr std::size_t kWanted = 10'000;
  constexpr std::size_t kOfOthers = 10;  // connections of this uid: the witness's, and those below
  const std::size_t count = std::min<std::size_t>(kWanted, limit.rlim_max / 2 - kOfOthers);
  const Clients clients = connect_many(daemon.socket(), count);
  for (std::size_t i = 0; i < count; i += 2) static_cast<void>(stuff(*clients[i], "{\"method\":"));
  expect_others_served();
  EXPECT_GE(Registry::connect(daemon.socket()).info().connections, count);
  std::printf("%zu connections at once%s\n", count,
              count < kWanted ? ", and not 10,000: RLIMIT_NOFILE doesn't allow that" : "");
}

/// Runs `act` as another uid; its exit code.
int as_stranger(const std::function<int()>& act) {
  Child child([&] {
    if (!become_stranger()) return 98;
    return act();
  });
  return child.wait();
}

class FewConnections : public Abuse {
 protected:
  FewConnections() : Abuse({"--max-connections", "50"}) {}
};

TEST_F(FewConnections, OfOneUidLeaveRoomForOthers) {
  if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  EXPECT_EQ(0, as_stranger([&] {
              const Clients clients = connect_many(daemon.socket(), 50);
              for (const auto& each : clients) {
                if (!each->call("org.varlink.service.GetInfo", nlohmann::json::object()).contains("parameters"))
                  return 1;
              }
              for (int i = 0; i < 200; ++i) {
                RawClient refused(daemon.socket());
                const auto reply = refused.receive();
                if (!reply || reply->value("error", "") != "io.nimsync.registry.OverLimit" || !refused.ends()) return 2;
              }
              // Those that it has are served on, and others are let in.
              if (!clients[7]->call("org.varlink.service.GetInfo", nlohmann::json::object()).contains("parameters")) {
                return 3;
              }
              return 0;
            }));
  expect_others_served();
}

TEST(FewDescriptors, AreNotAllGivenToOneUid) {
  if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  Child child([] {
    const rlimit few{.rlim_cur = 256, .rlim_max = 256};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return 97;
    PrivateDaemon daemon;
    std::array<int, 2> there{};
    std::array<int, 2> served{};
    if (::pipe(there.data()) != 0 || ::pipe(served.data()) != 0) return 96;
    Child stranger([&] {
      ::close(served[1]);
      return as_stranger([&] {
        const Clients clients = connect_many(daemon.socket(), 200);
        char byte = 0;
        return ::write(there[1], "x", 1) == 1 && ::read(served[0], &byte, 1) >= 0 ? 0 : 1;
      });
    });
    ::close(there[1]);
    ::close(served[0]);
    char byte = 0;
    if (::read(there[0], &byte, 1) != 1) return 1;
    auto registry = Registry::connect(daemon.socket());
    registry.create("x", {.size = 8}, {.capacity = 4});
    {
      auto tx = registry.sender<std::uint64_t>("x");
      auto rx = registry.receiver<std::uint64_t>("x");
      std::uint64_t got = 0;
      if (!tx.try_send(7) || !rx.try_receive(got) || got != 7) return 2;
    }
    registry.remove("x");
    ::close(served[1]);
    return stranger.wait();
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace nimsync::testing
