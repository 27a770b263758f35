#include "bench/campaign.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "bench/machine.hpp"
#include "bench/shared.hpp"
#include "nimsync/policy.hpp"

namespace bench {
namespace {

constexpr double kRegimeTolerance = 1.25;
constexpr std::uint64_t kProbeTrips = 400;
constexpr double kSample_ns = 1e6;       // short against the machine's moods and a time slice
constexpr std::uint64_t kWarmUp = 8192;  // more than any queue holds, so that both processes touch all of it
constexpr std::uint64_t kFewest = 1024;  // messages or round trips a sample
constexpr std::uint64_t kMost = 1 << 20;
constexpr int kAttempts = 12;           // samples for one place in a round
constexpr std::size_t kMoreRounds = 4;  // times the wanted rounds, at most
constexpr std::chrono::seconds kPatience{30};

enum class Order : std::uint32_t { open, probe, sample, leave };

/// What the three processes share. Each group of lines has one writer.
struct Control {
  // The near process.
  alignas(128) std::atomic<std::uint64_t> orders;  // given so far
  Order order;
  std::atomic<std::uint32_t> group;
  std::atomic<std::uint32_t> contestant;
  std::size_t instance;
  std::uint64_t count;
  std::atomic<std::uint64_t> round;
  std::array<char, 1024> near_error;
  // The far process.
  alignas(128) std::atomic<std::uint64_t> done;  // orders carried out
  Lap lap;
  std::int64_t switches;  // times it lost its processor
  std::array<char, 1024> far_error;
  // Either in turn.
  alignas(128) std::atomic<std::uint64_t> line;
};

struct Outcome {
  Sample sample;
  std::uint64_t dropped;
};

std::int64_t switches() noexcept {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

[[gnu::noinline]] Lap probe_near(std::atomic<std::uint64_t>& line, std::uint64_t trips) {
  const auto begin = Clock::now();
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    line.store(2 * trip + 1, std::memory_order_release);
    while (line.load(std::memory_order_acquire) != 2 * trip + 2) {
    }
  }
  return {ns_between(begin, Clock::now()), 0};
}

[[gnu::noinline]] void probe_far(std::atomic<std::uint64_t>& line, std::uint64_t trips) {
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    while (line.load(std::memory_order_acquire) != 2 * trip + 1) {
    }
    line.store(2 * trip + 2, std::memory_order_release);
  }
}

/// Runs a process's part; what it throws is left in `error` for the watching process.
template <std::size_t N, class Body>
int guarded(std::array<char, N>& error, Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& failure) {
    std::strncpy(error.data(), failure.what(), N - 1);
    return 1;
  }
}

void far_process(Control& control, const std::vector<Group>& groups, const CampaignOptions& options) {
  pin(0, options.far_cpu);
  for (std::uint64_t carried_out = 0;; ++carried_out) {
    while (control.orders.load(std::memory_order_acquire) == carried_out) nimsync::Native::pause();
    const auto contestant = [&]() -> Contestant& { return *groups[control.group].contestants[control.contestant]; };
    switch (control.order) {
      case Order::open:
        contestant().open_far();
        break;
      case Order::probe:
        probe_far(control.line, control.count);
        break;
      case Order::sample:
        control.lap = contestant().far(control.instance, control.count);
        break;
      case Order::leave:
        return;
    }
    control.switches = switches();
    control.done.store(carried_out + 1, std::memory_order_release);
  }
}

/// The near process: gives the orders and keeps the samples.
class Near {
 public:
  Near(Control& control, const std::vector<Group>& groups, const CampaignOptions& options, Shared<Outcome>& outcomes)
      : control_(control), groups_(groups), options_(options), outcomes_(outcomes) {}

  void run() {
    pin(0, options_.near_cpu);
    std::size_t first_outcome = 0;
    for (std::uint32_t g = 0; g < groups_.size(); ++g) {
      run(g, first_outcome);
      first_outcome += groups_[g].contestants.size() * options_.rounds * kMoreRounds;
    }
    order(Order::leave, 0, 0, 0, 0);
  }

 private:
  void order(Order what, std::uint32_t group, std::uint32_t contestant, std::size_t instance, std::uint64_t count) {
    control_.order = what;
    control_.group = group;
    control_.contestant = contestant;
    control_.instance = instance;
    control_.count = count;
    control_.orders.store(++orders_, std::memory_order_release);
  }
  void await() {
    while (control_.done.load(std::memory_order_acquire) != orders_) nimsync::Native::pause();
  }

  double probe() {
    order(Order::probe, 0, 0, 0, kProbeTrips);
    const Lap lap = probe_near(control_.line, kProbeTrips);
    await();
    return lap.ns / static_cast<double>(kProbeTrips);
  }

  /// ns of one round trip or message.
  double sample(std::uint32_t g, std::uint32_t c, std::size_t instance, std::uint64_t count) {
    order(Order::sample, g, c, instance, count);
    const Lap near = groups_[g].contestants[c]->near(instance, count);
    await();
    const Lap& far = control_.lap;
    if ((near.wrong | far.wrong) != 0) {
      throw std::runtime_error("a message arrived with other content than was sent: " +
                               groups_[g].contestants[c]->name());
    }
    return groups_[g].workload == Workload::rtt ? near.ns / static_cast<double>(count)
                                                : far.ns / static_cast<double>(count - 1);
  }

  std::int64_t all_switches() const noexcept { return switches() + control_.switches; }

  void run(std::uint32_t g, std::size_t first_outcome) {
    const Group& group = groups_[g];
    const std::size_t places = options_.rounds * kMoreRounds;
    std::vector<std::uint64_t> counts;
    for (std::uint32_t c = 0; c < group.contestants.size(); ++c) {
      group.contestants[c]->open_near();
      order(Order::open, g, c, 0, 0);
      await();
      group.contestants[c]->remove_names();
      double fastest = sample(g, c, 0, kWarmUp);
      for (std::size_t instance = 0; instance < kInstances; ++instance) {
        for (int i = 0; i < 2; ++i) fastest = std::min(fastest, sample(g, c, instance, kWarmUp));
      }
      counts.push_back(std::clamp(static_cast<std::uint64_t>(kSample_ns / fastest), kFewest, kMost));
    }
    // Rounds in which a contestant saw the regime of the first, with which all are compared.
    std::vector<std::size_t> compared(group.contestants.size());
    for (std::size_t round = 0; round < places; ++round) {
      control_.round.store(round, std::memory_order_relaxed);
      double regime = 0;
      for (std::uint32_t c = 0; c < group.contestants.size(); ++c) {
        Outcome& outcome = outcomes_[first_outcome + c * places + round];
        outcome = place(g, c, round % kInstances, counts[c], regime);
        if (regime == 0) regime = outcome.sample.regime;
        if (outcome.sample.ns != 0 && same_regime(outcome.sample.regime, regime)) ++compared[c];
      }
      if (*std::min_element(compared.begin(), compared.end()) >= options_.rounds) break;
    }
  }

  /// Takes samples until one is good: two probes of one regime around it, nobody lost the processor, and the regime is
  /// that of the round (0: any). A sample good in itself is kept when none of the round's regime comes.
  Outcome place(std::uint32_t g, std::uint32_t c, std::size_t instance, std::uint64_t count, double regime) {
    Outcome outcome{};
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double before = probe();
      const std::int64_t switches_before = all_switches();
      const double ns = sample(g, c, instance, count);
      const std::int64_t switches_after = all_switches();
      const double after = probe();
      const double around = std::sqrt(before * after);
      const bool good = same_regime(before, after) && switches_before == switches_after;
      if (!good) {
        ++outcome.dropped;
        continue;
      }
      if (outcome.sample.ns != 0) ++outcome.dropped;
      outcome.sample = {ns, around};
      if (regime == 0 || same_regime(around, regime)) break;
    }
    return outcome;
  }

  Control& control_;
  const std::vector<Group>& groups_;
  const CampaignOptions& options_;
  Shared<Outcome>& outcomes_;
  std::uint64_t orders_ = 0;
};

std::string where(const Control& control, const std::vector<Group>& groups) {
  const Group& group = groups[std::min<std::size_t>(control.group, groups.size() - 1)];
  return std::string(name(group.workload)) + " " + std::to_string(group.size) + " B, round " +
         std::to_string(control.round.load(std::memory_order_relaxed) + 1);
}

/// Waits until both processes have ended well.
void watch(Control& control, const std::vector<Group>& groups, Child& near, Child& far, const Progress& progress) {
  std::uint64_t seen = 0;
  auto moved = Clock::now();
  for (;;) {
    constexpr int kGlance_ms = 200;
    static_cast<void>(next_signal(kGlance_ms));
    const auto near_ended = near.ended();
    const auto far_ended = far.ended();
    const auto check = [&](const std::optional<std::string>& ended, const std::array<char, 1024>& error,
                           const char* who) {
      if (!ended || *ended == "ended with exit code 0") return;
      const std::string said = error.data();
      throw std::runtime_error(std::string("the ") + who + " process " + *ended + " at " + where(control, groups) +
                               (said.empty() ? "" : ": " + said));
    };
    check(far_ended, control.far_error, "far");
    check(near_ended, control.near_error, "near");
    if (near_ended && far_ended) return;
    const std::uint64_t now = control.orders.load(std::memory_order_relaxed);
    if (now != seen) {
      seen = now;
      moved = Clock::now();
    } else if (Clock::now() - moved > kPatience) {
      const Group& group = groups[control.group];
      throw std::runtime_error("nothing moved for " + std::to_string(kPatience.count()) + " s at " +
                               where(control, groups) + ", " + group.contestants[control.contestant]->name());
    }
    progress(where(control, groups));
  }
}

}  // namespace

bool same_regime(double a, double b) noexcept {
  return std::max(a, b) <= kRegimeTolerance * std::min(a, b);
}

std::vector<GroupResult> run(const std::vector<Group>& groups, const CampaignOptions& options,
                             const Progress& progress) {
  if (groups.empty()) return {};
  const std::size_t places = options.rounds * kMoreRounds;
  std::size_t contestants = 0;
  for (const Group& group : groups) contestants += group.contestants.size();
  Shared<Control> control;
  Shared<Outcome> outcomes(contestants * places);

  Child far = Child::fork([&] { return guarded(control->far_error, [&] { far_process(*control, groups, options); }); });
  Child near = Child::fork(
      [&] { return guarded(control->near_error, [&] { Near(*control, groups, options, outcomes).run(); }); });
  watch(*control, groups, near, far, progress);

  std::vector<GroupResult> results;
  std::size_t next = 0;
  for (const Group& group : groups) {
    GroupResult result{group.workload, group.size, group.capacity, {}};
    for (const auto& contestant : group.contestants) {
      Series series{contestant->name(), {}, 0};
      for (std::size_t round = 0; round < places; ++round) {
        const Outcome& outcome = outcomes[next++];
        series.rounds.push_back(outcome.sample);
        series.dropped += outcome.dropped;
      }
      result.series.push_back(std::move(series));
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace bench
