// Nothing is lost, torn or doubled, and nobody hangs, whatever instruction of a data operation a process dies at: the
// product's endpoints, as they are compiled, stepped through by ptrace (crash_checks.hpp).
//
// Each test prints what it judged. NIMSYNC_CRASH_STRIDE=1 takes every point also where the usual run takes one in a
// few, NIMSYNC_CRASH_SEED others of them.
#include "tests/crash/crash_checks.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace nimsync::crash_test {
namespace {

struct Case {
  std::string name;
  Kind kind;
  std::size_t act_every = 1;  // where the usual run doesn't take all
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
  return out << each.name;
}

class Crash : public ::testing::TestWithParam<Case> {
 protected:
  void TearDown() override {
    std::printf("%s, stride %zu, seed %zu\n", text(tally).c_str(), every_, seed());
    RecordProperty("points", std::to_string(tally.points));
    RecordProperty("images", std::to_string(tally.images));
    RecordProperty("kills", std::to_string(tally.kills));
    RecordProperty("acts", std::to_string(tally.acts));
    RecordProperty("lost", std::to_string(tally.lost));
    RecordProperty("torn", std::to_string(tally.torn));
    RecordProperty("hung", std::to_string(tally.hung));
    RecordProperty("doubled", std::to_string(tally.doubled));
  }

  template <std::size_t N>
  void check(const Operation (&operations)[N]) {
    std::size_t salt = seed();
    const Extent extent{.kill_every = stride(7), .act_every = every_};
    for (const Scene& scene : scenes(GetParam().kind)) {
      for (const Operation operation : operations) {
        for (const bool warm : {false, true}) {
          try {
            check_operation({GetParam().kind, scene, operation, warm}, extent, salt++, tally);
          } catch (const std::exception& e) {
            ADD_FAILURE() << e.what();
          }
        }
      }
    }
  }

  Tally tally;
  std::size_t every_ = stride(GetParam().act_every);
};

TEST_P(Crash, OfASenderAtAnyInstructionLosesNothingCommittedAndShowsNothingElse) {
  check(rings_test::kSenders);
  EXPECT_GT(tally.points, 1000U);
  EXPECT_GT(tally.images, 100U);
  EXPECT_GT(tally.kills, 100U);
  EXPECT_GT(tally.acts, 200U);
}

TEST_P(Crash, OfAReceiverAtAnyInstructionRepeatsOnlyWhatWasNotReleased) {
  check(rings_test::kReceivers);
  EXPECT_GT(tally.points, 500U);
  EXPECT_GT(tally.images, 30U);
  EXPECT_GT(tally.kills, 50U);
  EXPECT_GT(tally.acts, 100U);
  EXPECT_GT(tally.redelivered, 3U);
}

INSTANTIATE_TEST_SUITE_P(Rings, Crash,
                         ::testing::Values(Case{"stamped", stamped<8>()}, Case{"dense", dense<8>()},
                                           Case{"framed", framed()}, Case{"stampedOverTwoLines", stamped<64>(), 7},
                                           Case{"denseSizedAtRunTime",
                                                sized_at_run_time(rings_test::dense<Native, 100, kSizeAtRunTime>()),
                                                7}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::crash_test
