// What successors find when a side dies between any two stores, and what a peer may do between any two accesses.
#include <gtest/gtest.h>

#include "tests/rings/crash_checks.hpp"

namespace nimsync::rings_test {
namespace {

struct Case {
  std::string name;
  Kind kind;
  std::vector<std::uint64_t> capacities;
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
  return out << each.name;
}

class Crash : public testing::TestWithParam<Case> {
 protected:
  template <std::size_t N, class Check>
  static void in_all_scenes(const Operation (&operations)[N], Check check) {
    for (const std::uint64_t capacity : GetParam().capacities) {
      for (const Scene& scene : scenes(capacity, GetParam().kind.framed())) {
        for (const Operation operation : operations) ASSERT_NO_THROW(check(GetParam().kind, scene, operation));
      }
    }
  }
};

TEST_P(Crash, OfASenderAfterAnyStoreLosesNothingCommittedAndShowsNothingElse) {
  in_all_scenes(kSenders, check_crashes);
}

TEST_P(Crash, OfAReceiverAfterAnyStoreRepeatsAtMostWhatWasInFlight) {
  in_all_scenes(kReceivers, check_crashes);
}

/// Over few slots: the larger rings differ in the hint, which only successors read.
class Interleaving : public Crash {};

TEST_P(Interleaving, OfAReceiverWithinASendersOperationDeliversEachMessageOnce) {
  for (const bool much : {false, true}) {
    in_all_scenes(kSenders, [&](const Kind& kind, const Scene& scene, Operation operation) {
      check_interleavings(kind, scene, operation, much);
    });
  }
}

TEST_P(Interleaving, OfASenderWithinAReceiversOperationDeliversEachMessageOnce) {
  for (const bool much : {false, true}) {
    in_all_scenes(kReceivers, [&](const Kind& kind, const Scene& scene, Operation operation) {
      check_interleavings(kind, scene, operation, much);
    });
  }
}

std::vector<Case> cases() {
  return {
      {"stamped", stamped<Watched, 8>(), {1, 2, 4, 64, 128}},
      {"stampedOverTwoLines", stamped<Watched, 64>(), {1, 2, 4, 128}},
      {"stampedSizedAtRunTime", stamped<Watched, 12, kSizeAtRunTime>(), {2, 8}},
      {"dense", dense<Watched, 8>(), {1, 2, 4, 64, 128}},
      {"denseSizedAtRunTime", dense<Watched, 100, kSizeAtRunTime>(), {2, 8}},
      {"framed", framed<Watched>(), {4096}},
  };
}

std::vector<Case> small_cases() {
  std::vector<Case> all = cases();
  for (Case& each : all) {
    if (!each.kind.framed()) each.capacities = {1, 2, 4};
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Rings, Crash, testing::ValuesIn(cases()), [](const auto& each) { return each.param.name; });
INSTANTIATE_TEST_SUITE_P(Rings, Interleaving, testing::ValuesIn(small_cases()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::rings_test
