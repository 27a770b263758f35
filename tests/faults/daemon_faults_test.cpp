// The daemon refused: each system call that nimsyncd makes in a scenario fails in turn with each error that it can end
// with, without being done. The client gets a clear error with a code that fits, or what it asked for; the daemon stays
// up, serves a following plain request, and nothing is leaked. A daemon that can't start says why in one line, and
// leaves nothing.
//
// NIMSYNC_FAULTS_STRIDE=N injects each N-th fault only (default: 3; 1 is all), the first of them by the process's
// number; NIMSYNC_FAULTS_CALL=openat injects into that call only.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/faults/calls.hpp"
#include "tests/faults/scenarios.hpp"
#include "tests/faults/stride.hpp"

namespace nimsync::testing {
namespace {

/// Has the n-th of a system call fail; of a starting daemon, the n-th since its main began.
class Refuser {
 public:
  Refuser(const FallibleCall& row, int error, int at, bool starts)
      : call_(row.call), error_(error), at_(at), counts_(!starts) {}

  Tracer::Verdict operator()(const Stop& stop) {
    if (!counts_) counts_ = is_first_own(stop);
    if (!counts_ || !stop.is_entry || stop.call != call_ || seen_ == at_) return {};
    if (!can_fail(stop, error_) || ++seen_ != at_) return {};
    return {.error = error_};
  }
  /// How many could have failed; when it is the n-th that was asked for, that one did.
  [[nodiscard]] int seen() const { return seen_; }

 private:
  long call_;
  int error_;
  int at_;
  bool counts_;
  int seen_ = 0;
};

/// Whether a code says what happened: what ran out is `no_space`, unless the connection broke over it; and no code says
/// of the channel what isn't so.
bool fits(Errc code, int error) {
  if (error == EINTR || error == EAGAIN) return false;  // these say to try again
  if (code == Errc::no_registry || code == Errc::failed) return true;
  if (error == EIO && code == Errc::corrupted) return true;  // what can't be read is said to be damaged
  const bool ran_out = error == ENOSPC || error == EMFILE || error == ENOMEM || error == ETOOMANYREFS;
  return ran_out && code == Errc::no_space;
}

/// What can't be undone when the call that undoes it is refused; the next start sweeps it.
bool leaves_remains(long call) {
  return call_name(call).starts_with("unlink");
}

class DaemonFault : public ::testing::TestWithParam<Scenario> {
 protected:
  /// Returns how many of that call could have failed, up to the n-th, which did: fewer when the scenario ended before.
  int play(const FallibleCall& row, int error, int at) {
    const Scenario& scenario = GetParam();
    world.begin();
    scenario.prepare(world);
    const bool starts = scenario.begin == Scenario::Begin::starting;
    Refuser refuser(row, error, at, starts);
    const auto decide = [&](const Stop& stop) { return refuser(stop); };
    if (starts) {
      ::unlink(world.daemon.socket().c_str());  // the last one's, so that one that is left is this one's
      judge_start(world.start_traced(decide));
      world.daemon.start();
    } else {
      Tracer tracer(world.daemon.pid(), decide);
      scenario.script(world);
      if (scenario.ends) {
        EXPECT_TRUE(tracer.wait_for_end()) << "nimsyncd does not end";
      }
      tracer.release();
      if (tracer.has_ended()) {
        EXPECT_TRUE(scenario.ends) << "nimsyncd ended";
        world.daemon.kill();
        world.daemon.start();
      }
    }
    judge_outcomes(error);
    const auto complaints = world.inspect();
    const bool forgiven = !complaints.empty() && leaves_remains(row.call);
    for (const std::string& complaint : forgiven ? world.inspect_after_restart() : complaints) {
      ADD_FAILURE() << complaint;
    }
    return refuser.seen();
  }

  void judge_outcomes(int error) const {
    for (const Outcome& outcome : world.outcomes()) {
      if (outcome.foreseen || (!outcome.error && outcome.said.empty())) continue;
      EXPECT_TRUE(outcome.error && fits(*outcome.error, error)) << outcome.step << ": " << outcome.said;
      EXPECT_EQ(outcome.said.find("did not answer within"), std::string::npos) << outcome.step << ": no answer";
    }
  }

  /// Up, or ended with one line that says why.
  void judge_start(const World::Start& start) const {
    if (world.comes_up(start)) return;
    EXPECT_EQ(start.daemon->wait(), 1);
    std::istringstream lines(world.said_at_start());
    std::vector<std::string> said;
    for (std::string line; std::getline(lines, line);) said.push_back(line);
    EXPECT_TRUE(said.size() == 1 && said.front().starts_with("nimsyncd: ")) << world.said_at_start();
    EXPECT_FALSE(std::filesystem::exists(world.daemon.socket())) << "the socket is left";
  }

  World world{{"--log-level", "error"}};
};

TEST_P(DaemonFault, IsAnsweredClearlyAndLeavesNothing) {
  const Stride stride(3);
  const char* only = std::getenv("NIMSYNC_FAULTS_CALL");
  std::map<std::string, int> injected;
  int total = 0;
  // The stride goes over the faults of all rows, so that a row of few calls isn't always skipped or always taken.
  int at = stride.first();
  for (const FallibleCall& row : fallible_calls()) {
    if (only != nullptr && std::string(only) != row.name) continue;
    for (const int error : row.errors) {
      for (;; at += stride.step()) {
        SCOPED_TRACE(std::string(GetParam().name) + ": " + row.name + " number " + std::to_string(at) + " fails with " +
                     error_name(error));
        if (const int seen = play(row, error, at); seen < at) {
          at -= seen;
          break;
        }
        ++injected[row.name];
        ++total;
        if (HasFailure() && only != nullptr) return;
      }
    }
  }
  std::cout << "faults injected, " << GetParam().name << ": " << total << stride;
  for (const auto& [name, count] : injected) std::cout << " " << name << "=" << count;
  std::cout << "\n";
  if (only == nullptr) {
    EXPECT_GE(total, GetParam().least_stops / 4 / stride.step());
  }
}

INSTANTIATE_TEST_SUITE_P(Refused, DaemonFault, ::testing::ValuesIn(scenarios().begin(), scenarios().end()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace nimsync::testing
