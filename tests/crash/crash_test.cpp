// Nothing is lost, torn or doubled, and nobody hangs, whatever instruction of a data operation a process dies at: the
// product's endpoints, as they are compiled, stepped through by ptrace (crash_checks.hpp).
//
// Each test prints what it judged. NIMSYNC_CRASH_STRIDE=1 takes every point also where the usual run takes one in a
// few, NIMSYNC_CRASH_SEED others of them.
#include "tests/crash/waiting_checks.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

namespace nimsync::crash_test {
namespace {

struct Case {
  std::string name;
  Kind kind;
  bool differs_little = false;  // from another: the usual run takes fewer points
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

  void run(const std::function<void()>& check) {
    try {
      check();
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }

  template <std::size_t N>
  void check(const Operation (&operations)[N]) {
    std::size_t salt = seed();
    every_ = stride(GetParam().differs_little ? 13 : 3);
    const Extent extent{.kill_every = stride(11), .act_every = every_};
    for (const Scene& scene : scenes(GetParam().kind)) {
      for (const Operation operation : operations) {
        for (const bool warm : {false, true}) {
          run([&] { check_operation({GetParam().kind, scene, operation, warm}, extent, salt++, tally); });
        }
      }
    }
  }

  /// Messages wait, and a batch lies over the ring's end.
  static Scene middle() {
    const bool framed = GetParam().kind.framed();
    return framed ? Scene{rings_test::page(), wrapping(rings_test::page()) - 1, 2} : Scene{4, 2, 2};
  }

  Tally tally;
  std::size_t every_ = 1;
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

TEST_P(Crash, OfASuccessorAtAnyInstructionOfItsAttachingLeavesWhatItFound) {
  std::size_t salt = seed();
  every_ = stride(499);
  const auto attach_after = [&](Operation operation) {
    // After two operations only.
    const bool is_first = operation == Operation::send_some || operation == Operation::receive;
    if (!is_first && GetParam().differs_little && every_ != 1) return;
    run([&] { check_attaching({GetParam().kind, middle(), operation, true}, every_, salt++, tally); });
  };
  for (const Operation operation : rings_test::kSenders) attach_after(operation);
  for (const Operation operation : rings_test::kReceivers) attach_after(operation);
  EXPECT_GT(tally.points, 5000U);
  EXPECT_GT(tally.images, 30U);
  EXPECT_GT(tally.kills, 10U);
}

TEST_P(Crash, OfAnEndpointThatLeavesAtAnyInstructionFindsItsSegmentWhole) {
  run([&] { check_leaving(GetParam().kind, Role::sender, false, tally); });
  run([&] { check_leaving(GetParam().kind, Role::sender, true, tally); });
  run([&] { check_leaving(GetParam().kind, Role::receiver, false, tally); });
  EXPECT_GT(tally.points, 300U);
}

TEST_P(Crash, AndWhateverElseThePeerDoesAtAnyInstructionOfASleepersWayWakesIt) {
  every_ = stride(GetParam().differs_little ? 61 : 23);
  std::size_t salt = seed();
  run([&] { check_waiting(GetParam().kind, Role::receiver, every_, salt, tally); });
  run([&] { check_waiting(GetParam().kind, Role::sender, every_, salt + 5, tally); });
  EXPECT_GT(tally.points, 500U);
  EXPECT_GT(tally.acts, 100U);
}

TEST_P(Crash, AtAnyInstructionOfACallThatWakesItsPeerWakesIt) {
  every_ = stride(5);
  std::size_t salt = seed();
  for (const Operation operation : {Operation::send, Operation::close, Operation::receive}) {
    run([&] { check_waking(GetParam().kind, operation, every_, salt++, tally); });
  }
  EXPECT_GT(tally.kills, 20U);
}

INSTANTIATE_TEST_SUITE_P(Rings, Crash,
                         ::testing::Values(Case{"stamped", stamped<8>()}, Case{"dense", dense<8>()},
                                           Case{"framed", framed()}, Case{"stampedOverTwoLines", stamped<64>(), true},
                                           Case{"denseSizedAtRunTime",
                                                sized_at_run_time(rings_test::dense<Native, 100, kSizeAtRunTime>()),
                                                true}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::crash_test
