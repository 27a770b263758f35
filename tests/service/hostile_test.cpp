// A hostile process at the other end of a channel: what it can do to its peer and to the registry, and what it can't.
//
// It scribbles over all that it may write while its peer uses every call: statuses and payloads may be wrong, but
// nothing crashes, hangs or reads outside. Of a protected channel it can write nothing else, whatever it tries with the
// mappings and descriptors that it was given. It truncates, grows and punches what it may write: the registry answers
// on, and other channels don't notice; its peer may die of it (SIGBUS), which is shown as what is not promised, and of
// a sealed channel never does. It keeps locks on the lines: that costs nobody a lease.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "os/line.hpp"
#include "tests/rings/channel.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"

namespace nimsync::testing {
namespace {

using rings_test::Random;

constexpr const char* kOpen = "io.nimsync.registry.Open";
constexpr uid_t kStranger = 65534;
constexpr Timeout kMoment = std::chrono::microseconds(50);

struct Tick {
  std::uint64_t seq;
  std::uint64_t more[2];
};

const char* word(Role role) {
  return role == Role::sender ? "sender" : "receiver";
}
Role other(Role role) {
  return role == Role::sender ? Role::receiver : Role::sender;
}

// ---- a scribbler

/// Values over the whole segment, most of them where they hurt; now and then all is put right again as far as the
/// peer's header says what that is, so that its peer gets to attach and to go on.
[[noreturn]] void scribble(std::byte* segment, std::size_t bytes, const layout::Header& peer,
                           const os::Descriptor& line) {
  Random random(7);
  layout::Header identity{};
  std::memcpy(&identity, segment, sizeof identity);
  const std::array<std::size_t, 5> places{offsetof(layout::Header, position), offsetof(layout::Header, streams),
                                          offsetof(layout::Header, sleep_epoch), offsetof(layout::Header, barrier),
                                          offsetof(layout::ForwardHeader, ends)};
  for (;;) {
    std::size_t at = random.below(bytes / 8) * 8;
    if (random.below(2) == 0) at = places[random.below(places.size())];
    auto* const to = reinterpret_cast<std::uint64_t*>(segment + at);
    const std::uint64_t was = Native::load_relaxed(to);
    switch (random.below(4)) {
      case 0:
        Native::store_relaxed(to, random.next());
        break;
      case 1:
        Native::store_relaxed(to, random.below(64));
        break;
      case 2:
        Native::store_relaxed(to, was + random.below(5) - 2);
        break;
      default:
        Native::store_relaxed(to, was ^ (std::uint64_t{1} << random.below(64)));
        break;
    }
    if (random.below(8) == 0) {
      auto* const own = reinterpret_cast<layout::Header*>(segment);
      std::memcpy(segment, &identity, offsetof(layout::Header, attached));
      Native::store_relaxed(&own->streams, Native::load_relaxed(&peer.streams));
      Native::store_relaxed(&own->position, Native::load_relaxed(&peer.position) & layout::kPositionMask);
      for (std::uint64_t pauses = random.below(2000); pauses > 0; --pauses) Native::pause();
    }
    if (random.below(256) == 0) os::ring(line);
  }
}

/// What came of the honest side's calls.
struct Outcome {
  std::uint64_t calls = 0;
  std::uint64_t done = 0;
  std::uint64_t corrupted = 0;

  bool count(Status status) {
    ++calls;
    if (status == Status::ok) ++done;
    if (status == Status::corrupted) ++corrupted;
    return status == Status::ok;
  }
};

template <class Endpoint>
void wait_in_every_way(Endpoint& endpoint, std::uint64_t round, Outcome& outcome) {
  outcome.count(endpoint.check());
  static_cast<void>(endpoint.size() + endpoint.capacity());
  static_cast<void>(endpoint.is_empty() || endpoint.is_full());
  if (round % 16 != 0) return;
  pollfd waiting{.fd = endpoint.fd(), .events = POLLIN, .revents = 0};
  if (endpoint.arm()) static_cast<void>(::poll(&waiting, 1, 0));
  Endpoint* const one = &endpoint;
  nimsync::Endpoint* const any[] = {one};
  static_cast<void>(wait_any(any, kMoment));
  WaitSet set;
  set.add(endpoint, 1);
  static_cast<void>(set.wait(kMoment));
}

/// Touches every byte, so that what lies outside is noticed.
std::uint64_t sum(std::span<const std::byte> bytes) {
  std::uint64_t all = 0;
  for (const std::byte byte : bytes) all += static_cast<std::uint64_t>(byte);
  return all;
}

void use(Sender<Tick>& tx, std::uint64_t round, Outcome& outcome) {
  const std::array<Tick, 3> some{};
  outcome.count(tx.try_send({round, {}}));
  outcome.count(tx.send({round, {}}, kMoment));
  static_cast<void>(tx.try_send_some(some));
  const auto room = tx.reserve(2);
  for (Tick& each : room) each = {round, {}};
  if (!room.empty()) tx.commit(room.size());
  wait_in_every_way(tx, round, outcome);
}
void use(Receiver<Tick>& rx, std::uint64_t round, Outcome& outcome) {
  std::array<Tick, 3> some{};
  outcome.count(rx.try_receive(some[0]));
  outcome.count(rx.receive(some[0], kMoment));
  static_cast<void>(rx.try_receive_some(some));
  const auto shown = rx.peek(2);
  static_cast<void>(sum(std::as_bytes(shown)));
  if (!shown.empty()) rx.release(shown.size());
  wait_in_every_way(rx, round, outcome);
}
void use(Sender<Bytes>& tx, std::uint64_t round, Outcome& outcome) {
  const std::vector<std::byte> message(round % 900);
  outcome.count(tx.try_send(message));
  outcome.count(tx.send(message, kMoment));
  const auto room = tx.reserve(64);
  std::fill(room.begin(), room.end(), std::byte{1});
  if (!room.empty()) tx.commit(room.size());
  wait_in_every_way(tx, round, outcome);
}
void use(Receiver<Bytes>& rx, std::uint64_t round, Outcome& outcome) {
  std::span<const std::byte> message;
  if (outcome.count(rx.try_receive(message))) {
    static_cast<void>(sum(message));
    rx.release();
  }
  if (outcome.count(rx.receive(message, kMoment))) {
    static_cast<void>(sum(message));
    rx.release();
  }
  wait_in_every_way(rx, round, outcome);
}

/// So many rounds of every call, and on until one was told of a corruption: the scribbler's strokes are short, and a
/// busy machine may run the two in turns. Attaches anew now and then. 0: it lived, and noticed something.
template <class Endpoint, class Open>
int endure(Open open, std::uint64_t rounds, int ready) {
  Outcome outcome;
  std::optional<Endpoint> endpoint(open());
  if (::write(ready, "r", 1) != 1) return 98;
  std::uint64_t attached = 1;
  std::uint64_t refused = 0;
  const auto give_up = std::chrono::steady_clock::now() + kWatchdog / 2;
  const auto noticed = [&] { return outcome.corrupted + refused != 0; };
  for (std::uint64_t round = 1; round <= rounds || (!noticed() && std::chrono::steady_clock::now() < give_up);
       ++round) {
    if (round % 500 == 0) {
      endpoint.reset();
      for (int tries = 0; !endpoint && tries < 300; ++tries) {
        try {
          endpoint.emplace(open());
          ++attached;
        } catch (const Error& e) {
          if (e.errc() != Errc::corrupted && e.errc() != Errc::over_limit) throw;
          ++refused;
        }
      }
      if (!endpoint) break;  // the scribbler leaves nothing to attach to
    }
    use(*endpoint, round, outcome);
  }
  static_cast<void>(std::printf("%lu calls: %lu done, %lu corrupted; attached %lu times, refused %lu times\n",
                                outcome.calls, outcome.done, outcome.corrupted, attached, refused));
  static_cast<void>(std::fflush(stdout));
  return noticed() ? 0 : 1;
}

class Scribbler : public ::testing::TestWithParam<std::tuple<Layout, Role>> {};

TEST_P(Scribbler, HurtsItsPeerInNoOtherWayThanByStatusesAndPayloads) {
  const auto [layout, role] = GetParam();
  const PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  const bool frames = layout == Layout::framed;
  if (frames) {
    registry.create("x", {.frames = true}, {.capacity = 4096, .max_size = 1000, .protect = true});
  } else {
    registry.create("x", {.size = sizeof(Tick)}, {.capacity = 8, .layout = layout, .protect = true});
  }
  const std::uint64_t rounds = 4000;
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);

  Child honest([&, side = role] {
    auto mine = Registry::connect(daemon.socket());
    if (frames && side == Role::sender) {
      return endure<Sender<Bytes>>([&] { return mine.sender<Bytes>("x"); }, rounds, ready[1]);
    }
    if (frames) return endure<Receiver<Bytes>>([&] { return mine.receiver<Bytes>("x"); }, rounds, ready[1]);
    if (side == Role::sender) return endure<Sender<Tick>>([&] { return mine.sender<Tick>("x"); }, rounds, ready[1]);
    return endure<Receiver<Tick>>([&] { return mine.receiver<Tick>("x"); }, rounds, ready[1]);
  });
  const Child scribbler([&, side = other(role)] {
    char byte = 0;
    if (::read(ready[0], &byte, 1) != 1) return 97;
    RawClient raw(daemon.socket());
    static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", word(side)}}));
    if (raw.descriptors.size() != 4) return 96;
    const os::Descriptor& own = raw.descriptors[side == Role::sender ? 0 : 1];
    struct stat st {};
    if (::fstat(own.get(), &st) != 0) return 95;
    const auto bytes = static_cast<std::size_t>(st.st_size);
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own.get(), 0);
    const int peer = raw.descriptors[side == Role::sender ? 1 : 0].get();
    const void* const header = ::mmap(nullptr, sizeof(layout::Header), PROT_READ, MAP_SHARED, peer, 0);
    if (at == MAP_FAILED || header == MAP_FAILED) return 94;
    scribble(static_cast<std::byte*>(at), bytes, *static_cast<const layout::Header*>(header), raw.descriptors[2]);
  });
  EXPECT_EQ(honest.wait(), 0);
  EXPECT_EQ(registry.list().size(), 1U) << "the registry reads it all the while";
  ::close(ready[0]);
  ::close(ready[1]);
}

INSTANTIATE_TEST_SUITE_P(Each, Scribbler,
                         ::testing::Combine(::testing::Values(Layout::stamped, Layout::dense, Layout::framed),
                                            ::testing::Values(Role::sender, Role::receiver)),
                         [](const auto& each) {
                           return std::string(name(std::get<0>(each.param))) +
                                  (std::get<1>(each.param) == Role::sender ? "Sender" : "Receiver");
                         });

// ---- what it can't write

sigjmp_buf fault;
bool faults(std::byte* address) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { ::siglongjmp(fault, 1); };
  ::sigaction(SIGSEGV, &action, &before);
  const bool faulted = ::sigsetjmp(fault, 1) != 0;
  if (!faulted) *static_cast<volatile std::byte*>(address) = std::byte{1};
  ::sigaction(SIGSEGV, &before, nullptr);
  return faulted;
}

template <class Result>
bool fails(Result result, std::initializer_list<int> errors) {
  if (result != Result(-1)) return false;
  for (const int each : errors) {
    if (errno == each) return true;
  }
  return false;
}

/// Everything that may be tried with a descriptor that is for reading alone. 0, or which of it went through.
int attack_descriptor(int fd, bool is_fifo) {
  const char byte = 1;
  if (!fails(::write(fd, &byte, 1), {EBADF})) return 20;
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  for (const int flags : {O_RDWR, O_WRONLY}) {
    if (!fails(::open(self.c_str(), flags | O_NONBLOCK | O_CLOEXEC), {EACCES})) return 21;
  }
  if (!fails(::fchmod(fd, 0666), {EPERM}) || !fails(::fchown(fd, kStranger, kStranger), {EPERM})) return 22;
  if (is_fifo) return 0;
  if (!fails(::pwrite(fd, &byte, 1, 0), {EBADF})) return 23;
  if (!fails(::ftruncate(fd, 0), {EBADF, EINVAL})) return 24;
  if (!fails(::fallocate(fd, 0, 0, 1 << 20), {EBADF})) return 25;
  if (!fails(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), {EBADF})) return 26;
  if (::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED || errno != EACCES) return 27;
  return 0;
}

/// The segments among this process's mappings: each is its own and writable, or its peer's and closed to it. 0, or what
/// went through.
int attack_mappings() {
  std::ifstream maps("/proc/self/maps");
  const os::Descriptor memory(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  int writable = 0;
  int closed = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/dev/shm/nimsync.") == std::string::npos) continue;
    const auto begin = std::stoull(line, nullptr, 16);
    const std::string rights = line.substr(line.find(' ') + 1, 4);
    if (rights == "rw-s") {
      ++writable;
      continue;
    }
    if (rights != "r--s") return 40;
    ++closed;
    auto* const at = reinterpret_cast<std::byte*>(begin);  // NOLINT(performance-no-int-to-ptr)
    if (!faults(at)) return 41;
    if (!fails(::mprotect(at, 4096, PROT_READ | PROT_WRITE), {EACCES})) return 42;
    const char byte = 1;
    if (memory && ::pwrite(memory.get(), &byte, 1, static_cast<off_t>(begin)) == 1) return 43;
    if (!faults(at)) return 44;
  }
  return writable == 1 && closed == 1 ? 0 : 45;
}

class AttackerOfAProtectedChannel : public ::testing::TestWithParam<Role> {};

TEST_P(AttackerOfAProtectedChannel, WritesNothingButItsOwnSegmentAndLine) {
  if (::geteuid() != 0) GTEST_SKIP() << "another uid can't be tried without root";
  const Role role = GetParam();
  const PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  registry.create("x", {.size = sizeof(Tick)}, {.capacity = 4, .mode = 0666});
  Child attacker([&] {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kStranger, kStranger, kStranger) != 0 ||
        ::setresuid(kStranger, kStranger, kStranger) != 0) {
      return 98;
    }
    {
      RawClient raw(daemon.socket());
      static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", word(role)}}));
      if (raw.descriptors.size() != 4) return 97;
      const std::size_t own = role == Role::sender ? 0 : 1;
      if (const int broken = attack_descriptor(raw.descriptors[1 - own].get(), false)) return broken;
      if (const int broken = attack_descriptor(raw.descriptors[3].get(), true)) return broken + 10;
      // Its own it writes, and may not open to others either.
      const std::byte byte{1};
      if (::pwrite(raw.descriptors[own].get(), &byte, 1, offsetof(layout::Header, sleeps)) != 1) return 2;
      if (!fails(::fchmod(raw.descriptors[own].get(), 0666), {EPERM})) return 3;
    }
    auto mine = Registry::connect(daemon.socket());
    std::optional<Sender<Tick>> tx;
    std::optional<Receiver<Tick>> rx;
    if (role == Role::sender) {
      tx.emplace(mine.sender<Tick>("x"));
    } else {
      rx.emplace(mine.receiver<Tick>("x"));
    }
    return attack_mappings();
  });
  EXPECT_EQ(attacker.wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Each, AttackerOfAProtectedChannel, ::testing::Values(Role::sender, Role::receiver),
                         [](const auto& each) { return each.param == Role::sender ? "Sender" : "Receiver"; });

// ---- truncation, growth, holes

struct Damage {
  const char* name;
  int (*act)(int segment, off_t bytes);
  bool resizes;          // which a seal forbids; without one the registry says damaged
  bool may_kill_a_peer;  // by SIGBUS
};

const Damage kDamages[] = {
    {"TruncatesToNothing", [](int segment, off_t) { return ::ftruncate(segment, 0); }, true, true},
    {"TruncatesToAPartOfAPage", [](int segment, off_t) { return ::ftruncate(segment, 300); }, true, false},
    {"Grows", [](int segment, off_t bytes) { return ::ftruncate(segment, bytes + 4096); }, true, false},
    {"AllocatesBeyondTheEnd", [](int segment, off_t bytes) { return ::fallocate(segment, 0, bytes, 4096); }, true,
     false},
    {"Punches",
     [](int segment, off_t bytes) {
       return ::fallocate(segment, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes);
     },
     false, false}};

/// How a channel's memory is made.
enum class Memory : std::uint8_t { unsealed, sealed };

/// Whether the first bytes of a segment, as many as its header has, are all zero.
bool is_zero(int segment) {
  std::array<char, sizeof(layout::Header)> bytes{};
  return ::pread(segment, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()) &&
         std::all_of(bytes.begin(), bytes.end(), [](char each) { return each == 0; });
}

class Vandal : public ::testing::TestWithParam<std::tuple<Memory, Role, Damage>> {};

TEST_P(Vandal, TroublesNeitherTheRegistryNorOtherChannels) {
  const auto& [memory, role, damage] = GetParam();
  const bool sealed = memory == Memory::sealed;
  const bool is_damaged = damage.resizes && !sealed;
  PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  auto tx = registry.sender<Tick>("other", {.capacity = 4});
  auto rx = registry.receiver<Tick>("other");
  const auto others_go_on = [&] {
    Tick tick{};
    return tx.try_send({5, {}}) && rx.try_receive(tick) && tick.seq == 5;
  };
  registry.create("x", {.size = sizeof(Tick)},
                  {.capacity = 256, .layout = Layout::dense, .protect = true, .sealed = sealed});

  RawClient raw(daemon.socket());
  static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", word(role)}}));
  ASSERT_EQ(raw.descriptors.size(), 4U);
  const int segment = raw.descriptors[role == Role::sender ? 0 : 1].get();
  struct stat st {};
  ASSERT_EQ(::fstat(segment, &st), 0);

  // Its peer is attached meanwhile and reads what is no longer there.
  std::array<int, 2> there{};
  std::array<int, 2> go{};
  ASSERT_EQ(::pipe2(there.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(go.data(), O_CLOEXEC), 0);
  Child peer([&, of = other(role)] {
    ::signal(SIGBUS, SIG_DFL);  // a sanitizer would make an exit code of it
    auto mine = Registry::connect(daemon.socket());
    char byte = 0;
    const auto meet = [&] { return ::write(there[1], "x", 1) == 1 && ::read(go[0], &byte, 1) == 1; };
    if (of == Role::sender) {
      auto end = mine.sender<Tick>("x");
      if (!meet()) return 1;
      for (int i = 0; i < 1000; ++i) static_cast<void>(end.try_send({}));
    } else {
      auto end = mine.receiver<Tick>("x");
      if (!meet()) return 1;
      Tick tick{};
      for (int i = 0; i < 1000; ++i) static_cast<void>(end.try_receive(tick));
    }
    return 0;
  });
  char byte = 0;
  ASSERT_EQ(::read(there[0], &byte, 1), 1);
  const int done = damage.act(segment, st.st_size);
  if (damage.resizes && sealed) {
    EXPECT_TRUE(done == -1 && errno == EPERM) << "a sealed segment has another size";
    EXPECT_FALSE(is_zero(segment));
  } else {
    ASSERT_EQ(done, 0);
  }
  if (!damage.resizes) {
    EXPECT_TRUE(is_zero(segment));
  }
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  EXPECT_EQ(peer.wait(), damage.may_kill_a_peer && !sealed ? 128 + SIGBUS : 0);
  for (const int end : {there[0], there[1], go[0], go[1]}) ::close(end);

  const auto answers = [&](Registry& each, bool is_orphaned) {
    EXPECT_EQ(each.list().size(), 2U);
    const std::string state = each.stat("x").state;
    EXPECT_EQ(state == "damaged", is_damaged) << state;
    EXPECT_EQ(state == "orphaned", is_orphaned) << state;
    EXPECT_EQ(each.stat("other").state, "open");
    try {
      static_cast<void>(each.receiver<Tick>("x"));
    } catch (const Error& e) {
      EXPECT_TRUE(e.errc() == Errc::corrupted || e.errc() == Errc::in_use) << e.what();
    }
    EXPECT_TRUE(others_go_on());
  };
  answers(registry, false);
  daemon.kill();
  EXPECT_TRUE(others_go_on());
  daemon.start();
  auto again = Registry::connect(daemon.socket());
  answers(again, sealed);  // the vandal holds its side still
  again.remove("x", true);
  EXPECT_EQ(again.list().size(), 1U);
  EXPECT_TRUE(others_go_on());
}

INSTANTIATE_TEST_SUITE_P(Each, Vandal,
                         ::testing::Combine(::testing::Values(Memory::unsealed, Memory::sealed),
                                            ::testing::Values(Role::sender, Role::receiver),
                                            ::testing::ValuesIn(kDamages)),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param) == Memory::sealed ? "Sealed" : "") +
                                  (std::get<1>(each.param) == Role::sender ? "Sender" : "Receiver") +
                                  std::get<2>(each.param).name;
                         });

// ---- lines

bool lock(const os::Descriptor& line, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  return ::fcntl(line.get(), F_OFD_SETLK, &lock) == 0;
}

TEST(Intruder, TakesNoLeaseFromALivingHolder) {
  const PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  auto tx = registry.sender<Tick>("x", {.capacity = 4});
  RawClient raw(daemon.socket());
  static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", "receiver"}}));
  ASSERT_EQ(raw.descriptors.size(), 4U);
  EXPECT_FALSE(lock(raw.descriptors[3], F_RDLCK)) << "the holder's write lock keeps it out";
  EXPECT_FALSE(lock(raw.descriptors[3], F_UNLCK) && registry.stat("x").sender == std::nullopt)
      << "nobody unlocks another's description";
  EXPECT_TRUE(registry.stat("x").sender.has_value());
  EXPECT_TRUE(tx.try_send({}));
  try {
    static_cast<void>(registry.sender<Tick>("x"));
    FAIL() << "a second sender attached";
  } catch (const Error& e) {
    EXPECT_EQ(e.errc(), Errc::in_use);
  }
}

TEST(Intruder, WithReadLocksOnBothLinesKeepsNobodyOut) {
  const PrivateDaemon daemon;
  auto registry = Registry::connect(daemon.socket());
  registry.create("x", {.size = sizeof(Tick)}, {.capacity = 4});
  // It was either side's watcher once, and keeps the descriptions.
  std::vector<os::Descriptor> lines;
  for (const char* side : {"sender", "receiver"}) {
    RawClient raw(daemon.socket());
    static_cast<void>(raw.call(kOpen, {{"name", "x"}, {"role", side}}));
    ASSERT_EQ(raw.descriptors.size(), 4U);
    ASSERT_TRUE(lock(raw.descriptors[3], F_RDLCK));
    lines.push_back(std::move(raw.descriptors[3]));
    raw.descriptors.clear();
  }
  EXPECT_EQ(registry.stat("x").sender, std::nullopt);
  EXPECT_EQ(registry.stat("x").receiver, std::nullopt);
  auto tx = registry.sender<Tick>("x");
  auto rx = registry.receiver<Tick>("x");
  // The sender watches the line that was replaced after it had come: it is told, and opens the channel again.
  if (tx.check() == Status::removed) tx = Sender<Tick>(registry.sender<Tick>("x"));
  Tick tick{};
  EXPECT_TRUE(tx.try_send({8, {}}));
  EXPECT_TRUE(rx.try_receive(tick));
  EXPECT_EQ(tick.seq, 8U);
}

}  // namespace
}  // namespace nimsync::testing
