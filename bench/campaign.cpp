#include "bench/campaign.hpp"

#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <stdexcept>
#include <thread>

#include "bench/loops.hpp"
#include "bench/machine.hpp"
#include "bench/shared.hpp"
#include "nimsync/policy.hpp"

namespace bench {
namespace {

constexpr double kRegimeTolerance = 1.25;
constexpr std::uint64_t kProbeTrips = 400;
constexpr std::uint64_t kMost = 1 << 20;  // messages a sample
constexpr int kAttempts = 12;             // samples for one place in a round
constexpr std::size_t kMoreRounds = 4;    // times the wanted rounds, at most
constexpr std::size_t kMostParts = 64;
constexpr std::chrono::seconds kPatience{30};

enum class Order : std::uint32_t { open, probe, sample, close, rest, leave };

/// What a far half (the process's or the thread's) and the near process share. Each group of lines has one writer.
struct Desk {
  // The near process.
  alignas(128) std::atomic<std::uint32_t> orders;  // given so far
  Order order;
  std::size_t instance;
  std::uint64_t count;
  std::size_t parts;
  // The far half.
  alignas(128) std::atomic<std::uint32_t> done;  // orders carried out
  Lap lap;
  std::int64_t switches;  // times it lost its processor
};

/// What the three processes share.
struct Control {
  Desk process;
  Desk thread;
  alignas(128) std::atomic<std::uint64_t> line;  // of the probe; either's in turn
  // The near process.
  alignas(128) std::atomic<std::uint32_t> group;
  std::atomic<std::uint32_t> contestant;
  std::atomic<std::uint64_t> round;
  std::atomic<std::uint64_t> moves;  // orders given to anybody
  std::array<char, 1024> near_error;
  std::array<double, kMostParts> parts;  // whichever half times them
  // The far process.
  alignas(128) std::array<char, 1024> far_error;
};

struct Outcome {
  Sample sample;
  std::uint64_t dropped;
};

std::int64_t switches() noexcept {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

/// Sleeps until `word` isn't `value`, a second at most.
void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept {
  const timespec second{1, 0};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &second, nullptr, 0);
}

void wake(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

[[gnu::noinline]] double probe_near(std::atomic<std::uint64_t>& line, std::uint64_t trips) {
  const auto begin = Clock::now();
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    line.store(2 * trip + 1, std::memory_order_release);
    while (line.load(std::memory_order_acquire) != 2 * trip + 2) {
    }
  }
  return ns_between(begin, Clock::now()) / static_cast<double>(trips);
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

/// A far half's life: carries out what it finds on its desk.
void carry_out_orders(Desk& desk, Control& control, const std::vector<Group>& groups, int cpu) {
  pin(0, cpu);
  bool resting = true;
  for (std::uint32_t carried_out = 0;; ++carried_out) {
    while (desk.orders.load(std::memory_order_acquire) == carried_out) {
      resting ? sleep_on(desk.orders, carried_out) : nimsync::Native::pause();
    }
    resting = desk.order == Order::rest;
    const auto contestant = [&]() -> Contestant& { return *groups[control.group].contestants[control.contestant]; };
    switch (desk.order) {
      case Order::open:
        contestant().open_far();
        break;
      case Order::probe:
        probe_far(control.line, desk.count);
        break;
      case Order::sample:
        desk.lap = contestant().far(desk.instance, desk.count, std::span(control.parts).first(desk.parts));
        break;
      case Order::close:
        contestant().close_far();
        break;
      case Order::rest:
        break;
      case Order::leave:
        return;
    }
    desk.switches = switches();
    desk.done.store(carried_out + 1, std::memory_order_release);
  }
}

/// The near process: gives the orders and keeps the samples.
class Near {
 public:
  Near(Control& control, const std::vector<Group>& groups, const CampaignOptions& options, Shared<Outcome>& outcomes,
       Shared<double>& parts)
      : control_(control), groups_(groups), options_(options), outcomes_(outcomes), parts_(parts) {}

  void run() {
    pin(0, options_.near_cpu);
    // Never joined: this process leaves without it, and it ends the process when it fails.
    std::thread([&control = control_, &groups = groups_, cpu = options_.far_cpu] {
      if (guarded(control.near_error, [&] { carry_out_orders(control.thread, control, groups, cpu); }) != 0) {
        ::_exit(1);
      }
    }).detach();
    Place place{};
    for (std::uint32_t g = 0; g < groups_.size(); ++g) run(g, place);
    summon(control_.process);
    order(Order::leave);
  }

 private:
  /// Where the next group's results go.
  struct Place {
    std::size_t outcome;
    std::size_t part;
  };

  void order(Order what, std::size_t instance = 0, std::uint64_t count = 0, std::size_t parts = 0) {
    desk_->order = what;
    desk_->instance = instance;
    desk_->count = count;
    desk_->parts = parts;
    desk_->orders.fetch_add(1, std::memory_order_release);
    control_.moves.fetch_add(1, std::memory_order_relaxed);
  }
  void await(bool patiently = false) {
    while (desk_->done.load(std::memory_order_acquire) != desk_->orders.load(std::memory_order_relaxed)) {
      if (patiently) {
        const timespec moment{0, 20'000};
        ::nanosleep(&moment, nullptr);  // the contestant has threads of its own, which need this processor
      }
      nimsync::Native::pause();
    }
  }

  /// From now on orders go to this far half; the other one rests.
  void summon(Desk& desk) {
    if (desk_ == &desk) return;
    if (desk_ != nullptr) {
      order(Order::rest);
      await();
    }
    desk_ = &desk;
    order(Order::probe);  // of no trips: it is awake once it has answered
    wake(desk_->orders);
    await();
  }

  double probe() {
    order(Order::probe, 0, kProbeTrips);
    const double ns = probe_near(control_.line, kProbeTrips);
    await();
    return ns;
  }

  /// ns of one unit; with `parts`, the ns of each in control_.parts.
  double sample(Contestant& contestant, std::size_t instance, std::uint64_t count, std::size_t parts = 0) {
    order(Order::sample, instance, count, parts);
    const Lap near = contestant.near(instance, count, std::span(control_.parts).first(parts));
    await(contestant.nature().waits);
    const Lap& far = desk_->lap;
    if ((near.wrong | far.wrong) != 0) {
      throw std::runtime_error("a message arrived with other content than was sent: " + contestant.name());
    }
    message_ns_ = (near.ns + far.ns) / static_cast<double>(count);
    const double units = near.units + far.units;
    return units == 0 ? 0 : (near.ns + far.ns) / units;
  }

  std::int64_t all_switches() const noexcept { return switches() + desk_->switches; }

  void choose(std::uint32_t contestant) {
    control_.contestant = contestant;
    summon(groups_[control_.group].contestants[contestant]->nature().threads ? control_.thread : control_.process);
  }

  void run(std::uint32_t g, Place& next) {
    const Group& group = groups_[g];
    if (group.parts > kMostParts) throw std::logic_error("more parts a sample than there is room for");
    control_.group = g;
    control_.round.store(0, std::memory_order_relaxed);
    const std::size_t places = options_.rounds * kMoreRounds;
    const auto contestants = static_cast<std::uint32_t>(group.contestants.size());
    std::vector<std::uint64_t> counts;
    for (std::uint32_t c = 0; c < contestants; ++c) {
      choose(c);
      counts.push_back(open(group, *group.contestants[c]));
    }
    // Rounds in which a contestant saw the regime of the first, with which all are compared.
    std::vector<std::size_t> compared(contestants);
    for (std::size_t round = 0; round < places; ++round) {
      control_.round.store(round, std::memory_order_relaxed);
      double regime = 0;
      for (std::uint32_t c = 0; c < contestants; ++c) {
        choose(c);
        Outcome& outcome = outcomes_[next.outcome + c * places + round];
        double* const parts = &parts_[next.part + (c * places + round) * group.parts];
        outcome = place(group, *group.contestants[c], round, counts[c], regime, parts);
        if (regime == 0) regime = outcome.sample.regime;
        if (outcome.sample.ns != 0 && same_regime(outcome.sample.regime, regime)) ++compared[c];
      }
      if (*std::min_element(compared.begin(), compared.end()) >= options_.rounds) break;
    }
    for (std::uint32_t c = 0; c < contestants; ++c) {
      choose(c);
      group.contestants[c]->close_near();
      order(Order::close);
      await();
    }
    next.outcome += contestants * places;
    next.part += contestants * places * group.parts;
  }

  /// Opens and warms up; returns how many messages a sample has.
  std::uint64_t open(const Group& group, Contestant& contestant) {
    contestant.open_near();
    order(Order::open);
    await();
    contestant.remove_names();
    const Nature& nature = contestant.nature();
    const std::uint64_t warm_up = std::max<std::uint64_t>(nature.warm_up, 2);
    sample(contestant, 0, warm_up);
    double fastest_ns = message_ns_;
    for (std::size_t instance = 0; instance < nature.instances; ++instance) {
      for (int i = 0; i < 2; ++i) {
        sample(contestant, instance, warm_up);
        fastest_ns = std::min(fastest_ns, message_ns_);
      }
    }
    return std::clamp(static_cast<std::uint64_t>(group.sample_ns / fastest_ns), group.fewest, kMost);
  }

  /// Takes samples until one is good: two probes of one regime around it, nobody lost the processor, and the regime is
  /// that of the round (0: any). A sample good in itself is kept when none of the round's regime comes.
  Outcome place(const Group& group, Contestant& contestant, std::size_t round, std::uint64_t count, double regime,
                double* parts) {
    const std::size_t instance = round % contestant.nature().instances;
    Outcome outcome{};
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double before = probe();
      const std::int64_t switches_before = all_switches();
      const double ns = sample(contestant, instance, count, group.parts_apart ? 0 : group.parts);
      if (group.parts_apart) sample(contestant, instance, group.parts * group.part_trips, group.parts);
      const std::int64_t switches_after = all_switches();
      const double after = probe();
      const double around = std::sqrt(before * after);
      const bool good =
          same_regime(before, after) && (switches_before == switches_after || contestant.nature().gives_way);
      if (!good) {
        ++outcome.dropped;
        continue;
      }
      if (outcome.sample.ns != 0) ++outcome.dropped;
      outcome.sample = {ns, around};
      for (std::size_t i = 0; i < group.parts; ++i) {
        parts[i] = control_.parts[i] / static_cast<double>(group.part_trips);
      }
      if (regime == 0 || same_regime(around, regime)) break;
    }
    return outcome;
  }

  Control& control_;
  const std::vector<Group>& groups_;
  const CampaignOptions& options_;
  Shared<Outcome>& outcomes_;
  Shared<double>& parts_;
  Desk* desk_ = nullptr;
  double message_ns_ = 0;  // in the last sample
};

std::string where(const Control& control, const std::vector<Group>& groups) {
  const std::size_t at = std::min<std::size_t>(control.group, groups.size() - 1);
  const Group& group = groups[at];
  return group.workload + " " + std::to_string(group.size) + " B (table " + std::to_string(at + 1) + " of " +
         std::to_string(groups.size()) + "), round " +
         std::to_string(control.round.load(std::memory_order_relaxed) + 1);
}

/// Waits until both processes have ended well.
void watch(Control& control, const std::vector<Group>& groups, Child& near, Child& far, const Progress& progress) {
  std::uint64_t seen = 0;
  auto moved = Clock::now();
  for (;;) {
    constexpr int kGlance_ms = 200;
    static_cast<void>(next_signal(kGlance_ms));
    progress(where(control, groups));  // first: a registry that died is why a process failed, not the other way round
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
    const std::uint64_t now = control.moves.load(std::memory_order_relaxed);
    if (now != seen) {
      seen = now;
      moved = Clock::now();
    } else if (Clock::now() - moved > kPatience) {
      const Group& group = groups[control.group];
      throw std::runtime_error("nothing moved for " + std::to_string(kPatience.count()) + " s at " +
                               where(control, groups) + ", " + group.contestants[control.contestant]->name());
    }
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
  std::size_t outcome_count = 0;
  std::size_t part_count = 0;
  for (const Group& group : groups) {
    outcome_count += group.contestants.size() * places;
    part_count += group.contestants.size() * places * group.parts;
  }
  Shared<Control> control;
  Shared<Outcome> outcomes(outcome_count);
  Shared<double> parts(part_count + 1);

  Child far = Child::fork([&] {
    return guarded(control->far_error, [&] { carry_out_orders(control->process, *control, groups, options.far_cpu); });
  });
  Child near = Child::fork(
      [&] { return guarded(control->near_error, [&] { Near(*control, groups, options, outcomes, parts).run(); }); });
  watch(*control, groups, near, far, progress);

  std::vector<GroupResult> results;
  std::size_t next_outcome = 0;
  std::size_t next_part = 0;
  for (const Group& group : groups) {
    GroupResult result;
    for (std::size_t c = 0; c < group.contestants.size(); ++c) {
      Series series;
      for (std::size_t round = 0; round < places; ++round, next_part += group.parts) {
        const Outcome& outcome = outcomes[next_outcome++];
        series.rounds.push_back(outcome.sample);
        series.dropped += outcome.dropped;
        if (outcome.sample.ns == 0) continue;
        for (std::size_t i = 0; i < group.parts; ++i) series.parts.push_back(parts[next_part + i]);
      }
      result.push_back(std::move(series));
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace bench
