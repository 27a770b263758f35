// What was measured, as the table and the JSON show it: medians, quartiles, ratios, and the goals.
//
// Pure: no clock, no input or output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/campaign.hpp"
#include "bench/machine.hpp"

namespace bench {

struct Summary {
  double q1 = 0;
  double median = 0;
  double q3 = 0;
  std::size_t count = 0;  // values it was made of; 0: there were none
};

/// Quartiles by linear interpolation.
Summary summarise(std::vector<double> values);

/// A contestant against another one, round by round: times by times, or rates by rates.
struct Ratio {
  std::string over;
  Summary summary;
};

struct Percentiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

struct Row {
  std::string contestant;
  Kind kind = Kind::peer;
  Summary value;  // in the table's unit
  std::vector<Ratio> ratios;
  std::optional<Percentiles> percentiles;  // of what is timed in parts
  std::size_t kept = 0;
  std::uint64_t dropped = 0;
};

struct Table {
  std::string workload;
  std::size_t size = 0;   // bytes of a message
  std::size_t batch = 0;  // messages a call, in `batch`
  std::string note;
  std::string unit;
  bool is_rate = false;  // more is better
  Summary regime;        // ns of the one-line ping-pongs around all samples; none in `open`
  std::vector<Row> rows;
  std::vector<LeftOut> left_out;
};

/// In the group's unit. Rounds in which two contestants saw different regimes aren't compared.
Table evaluate(const Group& group, const GroupResult& result);

/// One bound on one ratio: of the best of some contestants, at the worst of some sizes.
struct Goal {
  std::string workload;
  std::vector<std::size_t> sizes;
  std::size_t batch = 0;
  std::vector<std::string> contestants;
  std::string over;
  std::optional<double> at_most;
  std::optional<double> at_least;
};

/// From the text of goals.json; throws nlohmann::json::exception.
std::vector<Goal> parse_goals(std::string_view text);

/// The committed file.
std::string_view goals_text() noexcept;

struct Verdict {
  Goal goal;
  std::size_t size = 0;    // where it was worst
  std::string contestant;  // the best there
  double value = 0;        // the ratio's median; 0: it could not be measured, which is no goal met
  bool met = false;
};

/// The goals about what was measured.
std::vector<Verdict> judge(const std::vector<Goal>& goals, const std::vector<Table>& tables);

struct Report {
  Machine machine;
  int near_cpu = 0;
  int far_cpu = 0;
  std::size_t rounds = 0;
  std::string version;
  std::vector<Table> tables;
  std::vector<Verdict> verdicts;
};

std::string as_text(const Report& report);
/// README.md has its schema.
nlohmann::ordered_json as_json(const Report& report);

}  // namespace bench
