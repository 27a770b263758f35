// A peer that writes anything. NIMSYNC_SEEDS in the environment sets how many seeds each test takes, and
// NIMSYNC_FIRST_SEED the first.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/rings/hostile_checks.hpp"

namespace nimsync::rings_test {
namespace {

std::uint64_t from_environment(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Victim {
  std::string name;
  std::vector<Kind> kinds;
};

std::ostream& operator<<(std::ostream& out, const Victim& victim) {
  return out << victim.name;
}

class HostilePeer : public testing::TestWithParam<std::tuple<Victim, Side>> {
 protected:
  static void attack(Malice malice) {
    const auto& [victim, side] = GetParam();
    const std::uint64_t seeds = from_environment("NIMSYNC_SEEDS", 200'000);
    std::uint64_t seed = from_environment("NIMSYNC_FIRST_SEED", 1);
    const std::uint64_t rings = victim.kinds.size() * 3;
    for (const Kind& kind : victim.kinds) {
      const std::uint64_t unit = kind.framed() ? page() : 1;
      for (const std::uint64_t capacity : {1 * unit, 2 * unit, 8 * unit}) {
        ASSERT_NO_THROW(check_hostile(kind, capacity, side, malice, seed, seeds / rings + 1));
        seed += seeds;
      }
    }
  }
};

TEST_P(HostilePeer, WhoLiesInEveryWordCausesNoAccessOutsideAndNoOtherStatus) {
  attack(Malice::lies);
}

TEST_P(HostilePeer, WhoScribblesOverItsSegmentCausesNoAccessOutsideAndNoOtherStatus) {
  attack(Malice::scribbles);
}

INSTANTIATE_TEST_SUITE_P(
    Rings, HostilePeer,
    testing::Combine(testing::Values(Victim{"stamped", {stamped<Watched, 8>(), stamped<Watched, 12, kSizeAtRunTime>()}},
                                     Victim{"dense", {dense<Watched, 8>(), dense<Watched, 12, kSizeAtRunTime>()}},
                                     Victim{"framed", {framed<Watched>()}}),
                     testing::Values(Side::sender, Side::receiver)),
    [](const auto& each) {
      return std::get<0>(each.param).name + (std::get<1>(each.param) == Side::sender ? "Sender" : "Receiver");
    });

TEST(Corruption, IsSeenInEveryWordThatNoHonestPeerWrites) {
  for (const std::uint64_t capacity : {1U, 2U, 16U}) {
    ASSERT_NO_THROW(check_corruption(stamped<Watched, 8>(), capacity));
    ASSERT_NO_THROW(check_corruption(dense<Watched, 8>(), capacity));
  }
  ASSERT_NO_THROW(check_corruption(framed<Watched>(), page()));
}

}  // namespace
}  // namespace nimsync::rings_test
