// Runs contestants between two pinned processes, guarded against a machine that changes under the measurement.
//
// The machine's regimes last from milliseconds to seconds: the same cache line takes 60, 85 or 330 ns to go there and
// back by turns. So every sample is taken between two short ping-pongs over one cache line, and thrown away when these
// differ by more than a quarter, or when either process lost its processor meanwhile. Contestants take turns, A B C A B
// C, and are compared within a round only, and only where both saw the same regime.
//
// Three processes: this one only watches and sleeps; it forks the near process (first processor) and the far one
// (second). These spin without end of their own. When one of them dies or nothing moves for long, this one kills both;
// when this one dies the kernel does. Contestants that live in one process have their far half on a second thread of
// the near process; of the far process and that thread, one rests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/child.hpp"
#include "bench/contestant.hpp"

namespace bench {

struct Sample {
  double ns = 0;      // of one unit (round trip, message, byte); 0: there is none
  double regime = 0;  // ns of the one-line ping-pong around it
};

/// Whether two one-line ping-pongs are of the same regime.
bool same_regime(double a, double b) noexcept;

/// What one contestant did.
struct Series {
  std::vector<Sample> rounds;  // one place for each round
  std::vector<double> parts;   // ns of a message each, for percentiles
  std::uint64_t dropped = 0;   // samples that were thrown away
};

/// What one group did: a series for each contestant, in the group's order.
using GroupResult = std::vector<Series>;

struct CampaignOptions {
  int near_cpu = 0;
  int far_cpu = 1;
  std::size_t rounds = 0;  // wanted; more are run when too few could be compared
};

/// Told a sentence about how far it is, several times a second. Whatever it throws ends the run.
using Progress = std::function<void(const std::string&)>;

/// Measures every group; as many results as groups. Throws std::runtime_error when a process died, hung, or received
/// wrong content; Interrupted on a signal. Call block_signals() before.
std::vector<GroupResult> run(const std::vector<Group>& groups, const CampaignOptions& options,
                             const Progress& progress);

}  // namespace bench
