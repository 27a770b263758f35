// nimsync_bench: measures nimsync beside its peers and the machine's own limits. README.md says how, and how to read
// it.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "bench/campaign.hpp"
#include "bench/machine.hpp"
#include "bench/open_cost.hpp"
#include "bench/private_registry.hpp"
#include "bench/results.hpp"

namespace bench {
namespace {

constexpr int kUsage = 2;
constexpr std::size_t kRounds = 51;
constexpr std::size_t kQuickRounds = 9;
constexpr std::size_t kFewestRounds = 7;

struct Wishes {
  std::vector<std::string> only;
  std::vector<std::size_t> sizes;
  std::vector<int> cpus;
  std::size_t rounds = kRounds;
  bool quick = false;
  bool json = false;

  [[nodiscard]] bool wants(const std::string& workload) const {
    return only.empty() || std::find(only.begin(), only.end(), workload) != only.end();
  }
};

/// One line that is written over, on a terminal alone, once the run has taken a while.
class ProgressLine {
 public:
  void operator()(const std::string& where) {
    if (::isatty(STDERR_FILENO) == 0 || Clock::now() - begin_ < std::chrono::seconds{2}) return;
    std::cerr << "\r\033[K" << where << std::flush;
    shown_ = true;
  }
  void erase() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
    shown_ = false;
  }

 private:
  Clock::time_point begin_ = Clock::now();
  bool shown_ = false;
};

std::vector<std::size_t> sizes_of(const Wishes& wishes, Workload workload) {
  if (!wishes.sizes.empty()) return wishes.sizes;
  return workload == Workload::rtt ? std::vector<std::size_t>{8, 56} : std::vector<std::size_t>{8, 64};
}

CampaignOptions choose(const Wishes& wishes) {
  const std::vector<int> allowed = allowed_cpus();
  if (allowed.size() < 2) {
    throw std::runtime_error(
        "this process may use one processor only; two processes that spin need two (see taskset(1) and the cpuset)");
  }
  CampaignOptions options{allowed[0], allowed[1], wishes.rounds};
  if (!wishes.cpus.empty()) {
    options.near_cpu = wishes.cpus[0];
    options.far_cpu = wishes.cpus[1];
    for (const int cpu : wishes.cpus) {
      if (std::find(allowed.begin(), allowed.end(), cpu) == allowed.end()) {
        throw std::runtime_error("processor " + std::to_string(cpu) + " is not one that this process may use");
      }
    }
    if (options.near_cpu == options.far_cpu) throw std::runtime_error("the two processes need a processor each");
  }
  return options;
}

Report measure(const Wishes& wishes, ProgressLine& line) {
  const CampaignOptions options = choose(wishes);
  const auto progress = [&](const std::string& where) { line(where); };
  Report report{this_machine(), options.near_cpu, options.far_cpu, options.rounds, NIMSYNC_VERSION, {}, {}};
  PrivateRegistry registry;
  {
    const std::string tag = "nimsync_bench." + std::to_string(::getpid());
    std::vector<Group> groups;
    for (const Workload workload : {Workload::rtt, Workload::throughput}) {
      if (!wishes.wants(name(workload))) continue;
      for (const std::size_t size : sizes_of(wishes, workload)) {
        groups.push_back(make_group(workload, size, registry.socket(), tag));
      }
    }
    for (const GroupResult& result : run(groups, options, progress)) report.tables.push_back(evaluate(result));
  }
  if (wishes.wants("open")) report.tables.push_back(measure_open(registry, options, progress));
  report.verdicts = judge(parse_goals(goals_text()), report.tables);
  return report;
}

}  // namespace

int run_program(const Wishes& wishes) {
  block_signals();
  ProgressLine line;
  try {
    const Report report = measure(wishes, line);
    line.erase();
    if (wishes.json) {
      std::cout << as_json(report).dump(2) << std::endl;
    } else {
      std::cout << as_text(report) << std::flush;
    }
    if (std::cout) return 0;
    std::cerr << "nimsync_bench: the report could not be written\n";
  } catch (const Interrupted& interrupted) {
    line.erase();
    constexpr int kBySignal = 128;
    return kBySignal + interrupted.signal;
  } catch (const std::exception& error) {
    line.erase();
    std::cerr << "nimsync_bench: " << error.what() << '\n';
  }
  return 1;
}

}  // namespace bench

int main(int argc, char** argv) {
  bench::Wishes wishes;
  CLI::App app{
      "Measures nimsync between two pinned processes, beside the cache-line ping-pong, the bare rings and Boost's\n"
      "spsc_queue. Starts a registry of its own, the nimsyncd beside this program."};
  app.set_version_flag("--version", "nimsync_bench " NIMSYNC_VERSION);
  app.add_option("--only", wishes.only, "Workloads: rtt, throughput, open (default: all)")
      ->check(CLI::IsMember({"rtt", "throughput", "open"}))
      ->delimiter(',');
  app.add_option("--sizes", wishes.sizes, "Message sizes in bytes: 8, 24, 56, 64 (default: rtt 8,56; throughput 8,64)")
      ->check(CLI::IsMember(bench::sizes()))
      ->delimiter(',');
  auto* const rounds = app.add_option("--rounds", wishes.rounds, "Rounds to compare, 7 or more (default: 51)")
                           ->check(CLI::Range(bench::kFewestRounds, std::size_t{10'000}));
  app.add_flag("--quick", wishes.quick, "A short run: 9 rounds")->excludes(rounds);
  app.add_option("--cpus", wishes.cpus, "The two processors, as in 0,1 (default: the first two allowed)")
      ->expected(2)
      ->delimiter(',');
  app.add_flag("--json", wishes.json, "The report as JSON (bench/README.md has the schema)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : bench::kUsage;
  }
  if (wishes.quick) wishes.rounds = bench::kQuickRounds;
  return bench::run_program(wishes);
}
