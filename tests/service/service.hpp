// What the tests of the service share: the service itself, what it refuses, and strangers.
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/service/private_daemon.hpp"

namespace nimsync::testing {

inline constexpr uid_t kStranger = 65534;
inline constexpr const char* kOpen = "io.nimsync.registry.Open";

struct Tick {
  std::uint64_t seq;
  double price;
};

/// The code and the sentence of what `act` throws; `failed` and "" when it doesn't.
template <class Act>
std::pair<std::optional<Errc>, std::string> refusal(Act act) {
  try {
    act();
  } catch (const Error& e) {
    return {e.errc(), e.what()};
  }
  return {std::nullopt, "nothing was refused"};
}
#define EXPECT_REFUSED(code, act)                                      \
  do {                                                                 \
    const auto [said, why] = refusal([&] { static_cast<void>(act); }); \
    EXPECT_EQ(said, code) << why;                                      \
  } while (false)

class Service : public ::testing::Test {
 protected:
  explicit Service(std::vector<std::string> daemon_arguments = {}) : daemon(std::move(daemon_arguments)) {}
  Registry connect() { return Registry::connect(daemon.socket()); }
  PrivateDaemon daemon;
};

/// This process, which must be root's, is a stranger's from now on, in these groups alone.
inline bool become_stranger(const std::vector<gid_t>& groups = {}) {
  return ::setgroups(groups.size(), groups.data()) == 0 && ::setresgid(kStranger, kStranger, kStranger) == 0 &&
         ::setresuid(kStranger, kStranger, kStranger) == 0;
}

/// Runs `act` with the registry as another uid, in a process of its own; its exit code.
inline int as_stranger(const PrivateDaemon& daemon, const std::vector<gid_t>& groups,
                       const std::function<int(Registry&)>& act) {
  Child child([&] {
    if (!become_stranger(groups)) return 98;
    auto registry = Registry::connect(daemon.socket());
    return act(registry);
  });
  return child.wait();
}

}  // namespace nimsync::testing
