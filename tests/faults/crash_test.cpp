// The daemon's crash matrix: a nimsyncd is killed at the entry and at the exit of every system call that it makes in a
// scenario, and started again over the same folder and socket. Nothing is leaked (segments, folders, lines, files,
// descriptors), no channel is lost or half there, no side is leased twice, and those who live go on.
//
// NIMSYNC_FAULTS_STRIDE=N judges each N-th stop only (default: 2; 1 is all), the first of them by the process's number.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>

#include "tests/faults/calls.hpp"
#include "tests/faults/scenarios.hpp"
#include "tests/faults/stride.hpp"

namespace nimsync::testing {
namespace {

/// Kills at the n-th stop; of a starting daemon, the n-th since its main set its limit of descriptors, before which all
/// calls are the loader's.
class Killer {
 public:
  Killer(int at, bool starts) : at_(at), counts_(!starts) {}

  Tracer::Verdict operator()(const Stop& stop) {
    if (!counts_) counts_ = is_first_own(stop);
    if (!counts_ || ++stops_ != at_) return {};
    where_ = (stop.is_entry ? "the entry of " : "the exit of ") + call_name(stop.call);
    return {.kill = true};
  }
  [[nodiscard]] bool has_killed() const { return !where_.empty(); }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  int at_;
  bool counts_;
  int stops_ = 0;
  std::string where_;
};

class DaemonCrash : public ::testing::TestWithParam<Scenario> {
 protected:
  /// Does the scenario until the daemon is killed at the stop, or to its end.
  void play(World& world, Killer& killer) const {
    const Scenario& scenario = GetParam();
    const auto decide = [&](const Stop& stop) { return killer(stop); };
    if (scenario.begin == Scenario::Begin::starting) {
      const World::Start start = world.start_traced(decide);
      const bool answers = world.comes_up(start);
      ASSERT_TRUE(answers || killer.has_killed()) << "nimsyncd ended by itself: " << world.said_at_start();
      return;
    }
    Tracer tracer(world.daemon.pid(), decide);
    scenario.script(world);
    if (scenario.ends) {
      ASSERT_TRUE(tracer.wait_for_end()) << "nimsyncd does not end";
    }
    tracer.release();
    if (killer.has_killed()) {
      ASSERT_TRUE(tracer.has_ended());
    }
    if (tracer.has_ended()) world.daemon.kill();
  }

  /// What clients were told: all well, or that the registry is gone.
  static void judge_outcomes(const World& world, bool killed) {
    for (const Outcome& outcome : world.outcomes()) {
      if (outcome.foreseen || (!outcome.error && outcome.said.empty())) continue;
      EXPECT_TRUE(killed && outcome.error == Errc::no_registry &&
                  outcome.said.find("did not answer within") == std::string::npos)
          << outcome.step << ": " << outcome.said;
    }
  }
};

TEST_P(DaemonCrash, LosesNothingAtAnySystemCall) {
  const Scenario& scenario = GetParam();
  const Stride stride(2);
  World world({"--log-level", "error"});  // what is swept needs no mention
  int judged = 0;
  bool killed = true;
  for (int at = stride.first(); killed; at += stride.step()) {
    world.begin();
    scenario.prepare(world);
    Killer killer(at, scenario.begin == Scenario::Begin::starting);
    ASSERT_NO_FATAL_FAILURE(play(world, killer)) << "stop " << at << ", " << killer.where();
    killed = killer.has_killed();
    SCOPED_TRACE(killed ? "killed at stop " + std::to_string(at) + ", " + killer.where() : "not killed");
    judge_outcomes(world, killed);
    for (const std::string& complaint : world.exchange()) FAIL() << "with no registry: " << complaint;
    if (killed || scenario.begin == Scenario::Begin::starting || scenario.ends) world.daemon.start();
    for (const std::string& complaint : world.inspect()) ADD_FAILURE() << complaint;
    if (killed) ++judged;
    if (HasFailure()) return;
  }
  std::cout << "crash points judged, " << scenario.name << ": " << judged << stride << "\n";
  EXPECT_GE(judged, scenario.least_stops / stride.step());
}

INSTANTIATE_TEST_SUITE_P(Killed, DaemonCrash, ::testing::ValuesIn(scenarios().begin(), scenarios().end()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::testing
