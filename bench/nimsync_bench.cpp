// nimsync_bench: measures nimsync beside its peers and the machine's own limits. README.md says how, and how to read
// it.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "bench/campaign.hpp"
#include "bench/machine.hpp"
#include "bench/open_cost.hpp"
#include "bench/private_registry.hpp"
#include "bench/results.hpp"
#include "bench/rou_di.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

constexpr int kUsage = 2;
constexpr const char* kOpen = "open";
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
  std::string output;

  [[nodiscard]] bool wants(const std::string& workload) const {
    return only.empty() || std::find(only.begin(), only.end(), workload) != only.end();
  }
  [[nodiscard]] bool wants(std::size_t size) const {
    return sizes.empty() || std::find(sizes.begin(), sizes.end(), size) != sizes.end();
  }
};

/// Says how far it is once the run has taken a while: on a terminal in one line that is written over, elsewhere in a
/// line for each table.
class ProgressLine {
 public:
  void operator()(const std::string& where) {
    if (Clock::now() - begin_ < std::chrono::seconds{2}) return;
    if (terminal_) {
      std::cerr << "\r\033[K" << where << std::flush;
    } else if (const std::string table = where.substr(0, where.find(", round")); table != said_) {
      std::cerr << table << std::endl;
      said_ = table;
    }
    shown_ = terminal_;
  }
  void erase() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
    shown_ = false;
  }

 private:
  Clock::time_point begin_ = Clock::now();
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  bool shown_ = false;
  std::string said_;
};

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
  Report report{this_machine(), options.near_cpu, options.far_cpu, options.rounds, NIMSYNC_VERSION, {}, {}};
  PrivateRegistry registry;
  const auto progress = [&](const std::string& where) {
    line(where);
    if (const auto how = registry.process().ended()) {
      throw std::runtime_error("nimsyncd " + *how + " at " + where + "; it said: " + registry.log());
    }
  };
  {
    const bool iceoryx = std::any_of(workloads().begin(), workloads().end(), [&](const Workload& workload) {
      return workload.with_iceoryx && wishes.wants(workload.name);
    });
    std::optional<RouDi> rou_di;
    if (iceoryx) rou_di.emplace(registry.path("roudi.log"));
    const Place place{registry.socket(), registry.path("."), "nimsync_bench." + std::to_string(::getpid()),
                      rou_di ? rou_di->why_not() : "RouDi was not started"};
    std::vector<Group> groups;
    for (const Workload& workload : workloads()) {
      if (!wishes.wants(workload.name)) continue;
      for (const std::size_t size : workload.sizes) {
        if (!wishes.wants(size)) continue;
        for (Group& group : workload.groups(size, place)) groups.push_back(std::move(group));
      }
    }
    const std::vector<GroupResult> results = run(groups, options, progress);
    for (std::size_t i = 0; i < results.size(); ++i) report.tables.push_back(evaluate(groups[i], results[i]));
  }
  if (wishes.wants(kOpen) && wishes.wants(kOpenSize))
    report.tables.push_back(measure_open(registry, options, progress));
  if (report.tables.empty()) throw std::runtime_error("no workload of those asked for has messages of those sizes");
  report.verdicts = judge(parse_goals(goals_text()), report.tables);
  return report;
}

/// Writes the report where it is wanted; false when that failed.
bool write(const Wishes& wishes, const Report& report) {
  std::ofstream file;
  if (!wishes.output.empty()) file.open(wishes.output);
  std::ostream& out = wishes.output.empty() ? std::cout : file;
  if (wishes.json) {
    out << as_json(report).dump(2) << std::endl;
  } else {
    out << as_text(report) << std::flush;
  }
  return static_cast<bool>(out);
}

}  // namespace

int run_program(const Wishes& wishes) {
  block_signals();
  ProgressLine line;
  const auto complain = [&](const std::string& what) {
    line.erase();
    std::cerr << "nimsync_bench: " << what << '\n';
    return 1;
  };
  try {
    if (!wishes.output.empty()) {
      // Before the run, which is long: a folder, or what may not be written to, shows itself here. What is in the file
      // stays until there is something better.
      const std::ofstream file(wishes.output, std::ios::app);
      if (!file) return complain(wishes.output + " can't be written: " + std::strerror(errno));
    }
    const Report report = measure(wishes, line);
    line.erase();
    if (write(wishes, report)) return 0;
    return complain("the report could not be written" + (wishes.output.empty() ? "" : " to " + wishes.output));
  } catch (const Interrupted& interrupted) {
    line.erase();
    constexpr int kBySignal = 128;
    return kBySignal + interrupted.signal;
  } catch (const std::exception& error) {
    return complain(error.what());
  }
}

}  // namespace bench

int main(int argc, char** argv) {
  bench::Wishes wishes;
  std::string about =
      "Measures nimsync between two pinned processes, beside its peers and the machine's own limits. Starts a "
      "registry\n"
      "of its own, the nimsyncd beside this program, and iceoryx's RouDi where that is installed.\n\nWorkloads:\n";
  std::vector<std::string> names{bench::kOpen};
  for (const bench::Workload& workload : bench::workloads()) {
    names.emplace_back(workload.name);
    about += "  " + std::string(workload.name) + ": " + workload.what + "\n";
  }
  about += "  open: opening a channel, beside a bare round trip over a socket";
  CLI::App app{about};
  app.set_version_flag("--version", "nimsync_bench " NIMSYNC_VERSION);
  app.add_option("--only", wishes.only, "These workloads alone, as in rtt,frames (default: all)")
      ->check(CLI::IsMember(names))
      ->delimiter(',');
  app.add_option("--sizes", wishes.sizes, "These message sizes alone, in bytes, as in 8,64 (default: each workload's)")
      ->check(CLI::PositiveNumber)
      ->delimiter(',');
  auto* const rounds = app.add_option("--rounds", wishes.rounds, "Rounds to compare, 7 or more (default: 51)")
                           ->check(CLI::Range(bench::kFewestRounds, std::size_t{10'000}));
  app.add_flag("--quick", wishes.quick, "A short run: 9 rounds")->excludes(rounds);
  app.add_option("--cpus", wishes.cpus, "The two processors, as in 0,1 (default: the first two allowed)")
      ->expected(2)
      ->delimiter(',');
  app.add_flag("--json", wishes.json, "The report as JSON (bench/README.md has the schema)");
  app.add_option("--output", wishes.output, "The report into this file (default: standard output)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : bench::kUsage;
  }
  if (wishes.quick) wishes.rounds = bench::kQuickRounds;
  return bench::run_program(wishes);
}
