// A client refused: each system call that a process makes while it connects, creates, lists, opens, sends, sleeps,
// waits for several, gives back and removes fails in turn with each error that it can end with, without being done.
// Each call of the library ends with a status or a nimsync::Error that says something (or std::bad_alloc, when memory
// is what ran out), the data is right, and afterwards no descriptor is open and no lease taken. Nothing hangs or ends
// the process.
//
// NIMSYNC_FAULTS_STRIDE=N injects each N-th fault only (default: 1, all).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <new>
#include <string>

#include "tests/faults/calls.hpp"
#include "tests/faults/stride.hpp"
#include "tests/faults/world.hpp"

namespace nimsync::testing {
namespace {

constexpr const char* kName = "client";
const Options kRecords{.capacity = 4, .layout = Layout::dense, .wait = Wait::doorbell(Timeout{0})};
const Options kFrames{.capacity = 4096, .wait = Wait::doorbell(Timeout{0})};

// How the client's process ends.
enum Exit : int { kGood, kSilentError, kOtherException, kWrongMessage, kWrongStatus, kDescriptors, kLease };

/// What the tracer counts between.
void mark() {
  static_cast<void>(::syscall(SYS_getppid));
}

long open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

int worst = kGood;
void found(Exit what) {
  if (worst == kGood) worst = what;
}

/// One request; what it ends with is told apart from what it must not.
template <class Act>
void attempt(Act act) {
  try {
    act();
  } catch (const Error& e) {
    if (std::string(e.what()).size() < 10 || e.errc() == Errc::corrupted) found(kSilentError);
  } catch (const std::bad_alloc&) {
  } catch (...) {
    found(kOtherException);
  }
}

/// A message through a ring whose receiver sleeps, in each way there is to sleep.
void use(Sender<std::uint64_t>& tx, Receiver<std::uint64_t>& rx) {
  using std::chrono::milliseconds;
  std::uint64_t value = 0;
  if (rx.receive(value, milliseconds(2)) != Status::timeout) found(kWrongStatus);
  attempt([&] { static_cast<void>(rx.fd()); });
  const bool armed = rx.arm();
  if (!tx.send(42, kWatchdog)) found(kWrongStatus);
  if (armed) {
    pollfd line{.fd = rx.fd(), .events = POLLIN, .revents = 0};
    static_cast<void>(::poll(&line, 1, 100));  // a ring that was refused is no ring
  }
  attempt([&] {
    const std::array<Endpoint*, 1> endpoints{&rx};
    if (!wait_any(endpoints, kWatchdog)) found(kWrongStatus);
  });
  if (!rx.receive(value, kWatchdog) || value != 42) found(kWrongMessage);
  attempt([&] {
    const std::array<Endpoint*, 1> endpoints{&rx};
    if (wait_any(endpoints, milliseconds(2))) static_cast<void>(rx.check());
  });
  if (const Status status = tx.check(); status != Status::ok) found(kWrongStatus);
}

int client(const std::string& path) {
  worst = kGood;
  const long before = open_descriptors();
  mark();
  {
    std::optional<Registry> registry;
    attempt([&] { registry.emplace(Registry::connect(path)); });
    if (registry) {
      attempt([&] { registry->create(kName, {.size = 8}, kRecords); });
      attempt([&] { static_cast<void>(registry->list()); });
      attempt([&] {
        auto tx = registry->sender<std::uint64_t>(kName, kRecords);
        auto rx = registry->receiver<std::uint64_t>(kName, kRecords);
        use(tx, rx);
        tx.close();
      });
      attempt([&] {
        auto framed = registry->receiver<Bytes>("client.frames", kFrames);
        static_cast<void>(framed.check());
      });
      attempt([&] { static_cast<void>(registry->stat(kName)); });
    }
  }
  mark();
  if (open_descriptors() != before) found(kDescriptors);
  auto registry = Registry::connect(path);
  for (const ChannelInfo& each : registry.list("client*")) {
    if (each.sender || each.receiver) found(kLease);
    registry.remove(each.name);
  }
  return worst;
}

TEST(ClientFault, IsToldClearlyAndLeavesNothing) {
  const Stride stride;
  World world({"--log-level", "error"});
  std::map<std::string, int> injected;
  int rows = 0;
  int total = 0;
  for (const FallibleCall& row : fallible_calls()) {
    for (const int error : row.errors) {
      // A connection that is reset ends, and the client goes on to read why: one that isn't would keep it waiting.
      if (row.call == SYS_sendmsg && error == ECONNRESET) continue;
      for (int at = 1 + (stride.first() + rows++) % stride.step();; at += stride.step()) {
        const std::string where =
            std::string(row.name) + " number " + std::to_string(at) + " fails with " + error_name(error);
        std::array<int, 2> gate{};
        ASSERT_EQ(::pipe2(gate.data(), O_CLOEXEC), 0);
        const os::Descriptor wait(gate[0]);
        os::Descriptor go(gate[1]);
        Child child([&] {
          go.reset();
          char byte = 0;
          while (::read(wait.get(), &byte, 1) < 0) continue;
          return client(world.daemon.socket());
        });
        int seen = 0;
        int marks = 0;
        Tracer tracer(child.pid(), [&](const Stop& stop) -> Tracer::Verdict {
          if (!stop.is_entry) return {};
          if (stop.call == SYS_getppid) ++marks;
          if (marks != 1 || stop.call != row.call || seen == at || !can_fail(stop, error) || ++seen != at) return {};
          return {.error = error};
        });
        go.reset();
        const bool ended = tracer.wait_for_end();
        tracer.release();
        ASSERT_TRUE(ended) << where << ": the client hangs";
        EXPECT_EQ(child.wait(), kGood) << where;
        if (seen != at) break;
        ++injected[row.name];
        ++total;
      }
    }
  }
  for (const std::string& complaint : world.inspect()) ADD_FAILURE() << complaint;
  std::cout << "faults injected, client: " << total << stride;
  for (const auto& [name, count] : injected) std::cout << " " << name << "=" << count;
  std::cout << "\n";
  EXPECT_GE(total, 100 / stride.step());
}

}  // namespace
}  // namespace nimsync::testing
