#include "bench/results.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bench {
namespace {

constexpr std::string_view kNimsync = "nimsync ";
constexpr std::string_view kBare = "bare ring ";

/// Whom a contestant of a workload is compared with.
std::vector<std::string> references(Workload workload, const std::string& contestant) {
  std::vector<std::string> over;
  if (workload == Workload::rtt) over.emplace_back(kTwoLines);
  over.emplace_back(kBoost);
  if (contestant.starts_with(kNimsync)) {
    over.push_back(std::string(kBare) + contestant.substr(kNimsync.size()));
  }
  return over;
}

double in_unit(Workload workload, double ns) noexcept {
  return workload == Workload::rtt ? ns : 1000 / ns;
}

const Row* find(const std::vector<Table>& tables, const Goal& goal) {
  for (const Table& table : tables) {
    if (table.workload != goal.workload || table.size != goal.size) continue;
    for (const Row& row : table.rows) {
      if (row.contestant == goal.contestant) return &row;
    }
  }
  return nullptr;
}

const Ratio* find(const Row& row, const std::string& over) {
  const auto found =
      std::find_if(row.ratios.begin(), row.ratios.end(), [&](const Ratio& ratio) { return ratio.over == over; });
  return found == row.ratios.end() ? nullptr : &*found;
}

std::string number(double value) {
  char text[32];
  const int digits = value < 10 ? 2 : value < 1000 ? 1 : 0;
  static_cast<void>(std::snprintf(text, sizeof text, "%.*f", digits, value));
  return text;
}

std::string spread(const Summary& summary) {
  if (summary.count == 0) return "-";
  return number(summary.median) + " (" + number(summary.q1) + "-" + number(summary.q3) + ")";
}

std::string bound(const Goal& goal) {
  return goal.at_most ? "<= " + number(*goal.at_most) : ">= " + number(goal.at_least.value_or(0));
}

/// Rows of cells under their heads: the first column to the left, the others to the right.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - line[i].size(), ' ');
      text += i == 0 ? line[i] + space : "  " + space + line[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

/// The head of a ratio's column; the bare ring is another one in each row.
std::string column(const std::string& over) {
  if (over.starts_with(kBare)) return "/ bare ring";
  return over == kBoost ? "/ boost" : "/ " + over;
}

std::string as_text(const Table& table) {
  std::string title = table.workload + ", " + std::to_string(table.size) + " B, capacity " +
                      std::to_string(table.capacity) + (table.workload == "throughput" ? ", one call a message" : "");
  if (table.regime.count != 0) title += "; one-line ping-pong " + spread(table.regime) + " ns";
  std::vector<std::string> columns;
  for (const Row& row : table.rows) {
    for (const Ratio& ratio : row.ratios) {
      if (std::find(columns.begin(), columns.end(), column(ratio.over)) == columns.end()) {
        columns.push_back(column(ratio.over));
      }
    }
  }
  std::vector<std::vector<std::string>> lines;
  lines.push_back({"", table.unit});
  lines.back().insert(lines.back().end(), columns.begin(), columns.end());
  lines.back().insert(lines.back().end(), {"kept", "dropped"});
  for (const Row& row : table.rows) {
    std::vector<std::string> line{"  " + row.contestant, spread(row.value)};
    for (const std::string& head : columns) {
      const auto found = std::find_if(row.ratios.begin(), row.ratios.end(),
                                      [&](const Ratio& ratio) { return column(ratio.over) == head; });
      line.push_back(found == row.ratios.end() ? "" : spread(found->summary));
    }
    line.push_back(std::to_string(row.kept));
    line.push_back(std::to_string(row.dropped));
    lines.push_back(std::move(line));
  }
  return title + "\n" + aligned(lines);
}

nlohmann::ordered_json as_json(const Summary& summary) {
  return {{"median", summary.median}, {"q1", summary.q1}, {"q3", summary.q3}, {"count", summary.count}};
}

}  // namespace

Summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double at = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above], at - static_cast<double>(below));
  };
  return {quantile(0.25), quantile(0.5), quantile(0.75), values.size()};
}

Table evaluate(const GroupResult& group) {
  const bool rates = group.workload == Workload::throughput;
  Table table{name(group.workload), group.size, group.capacity, rates ? "M/s" : "ns", {}, {}};
  std::vector<double> probes;
  for (const Series& series : group.series) {
    Row row;
    row.contestant = series.contestant;
    row.dropped = series.dropped;
    std::vector<double> values;
    for (const Sample& sample : series.rounds) {
      if (sample.ns == 0) continue;
      values.push_back(in_unit(group.workload, sample.ns));
      probes.push_back(sample.regime);
    }
    row.kept = values.size();
    row.value = summarise(std::move(values));
    for (const std::string& over : references(group.workload, series.contestant)) {
      if (over == series.contestant) continue;
      for (const Series& other : group.series) {
        if (other.contestant != over) continue;
        std::vector<double> ratios;
        for (std::size_t round = 0; round < series.rounds.size(); ++round) {
          const Sample& a = series.rounds[round];
          const Sample& b = other.rounds[round];
          if (a.ns == 0 || b.ns == 0 || !same_regime(a.regime, b.regime)) continue;
          ratios.push_back(rates ? b.ns / a.ns : a.ns / b.ns);
        }
        row.ratios.push_back({over, summarise(std::move(ratios))});
      }
    }
    table.rows.push_back(std::move(row));
  }
  table.regime = summarise(std::move(probes));
  return table;
}

std::vector<Goal> parse_goals(std::string_view text) {
  std::vector<Goal> goals;
  const nlohmann::json document = nlohmann::json::parse(text);
  for (const auto& each : document.at("goals")) {
    Goal goal;
    goal.workload = each.at("workload");
    goal.size = each.at("size");
    goal.contestant = each.at("contestant");
    goal.over = each.at("over");
    if (each.contains("at_most")) {
      goal.at_most = each.at("at_most").get<double>();
    } else {
      goal.at_least = each.at("at_least").get<double>();
    }
    goals.push_back(std::move(goal));
  }
  return goals;
}

std::vector<Verdict> judge(const std::vector<Goal>& goals, const std::vector<Table>& tables) {
  std::vector<Verdict> verdicts;
  for (const Goal& goal : goals) {
    const Row* const row = find(tables, goal);
    const Ratio* const ratio = row == nullptr ? nullptr : find(*row, goal.over);
    if (ratio == nullptr) continue;
    const double value = ratio->summary.median;
    const bool met =
        ratio->summary.count != 0 && (goal.at_most ? value <= *goal.at_most : value >= goal.at_least.value_or(0));
    verdicts.push_back({goal, value, met});
  }
  return verdicts;
}

std::string as_text(const Report& report) {
  std::string text = "nimsync_bench " + report.version + " on " + report.machine.processor + ", " +
                     std::to_string(report.machine.cpus) + " processors, Linux " + report.machine.kernel + "\n" +
                     "two processes, on processors " + std::to_string(report.near_cpu) + " and " +
                     std::to_string(report.far_cpu) + "; medians (quartiles) of " + std::to_string(report.rounds) +
                     " rounds or more; ratios are taken within a round\n";
  for (const Table& table : report.tables) text += "\n" + as_text(table);
  if (report.verdicts.empty()) return text;
  std::vector<std::vector<std::string>> lines{{"goals", "", "", ""}};
  for (const Verdict& verdict : report.verdicts) {
    const Goal& goal = verdict.goal;
    lines.push_back(
        {"  " + goal.workload + " " + std::to_string(goal.size) + " B, " + goal.contestant + " / " + goal.over,
         bound(goal), number(verdict.value), verdict.met ? "met" : "falls short"});
  }
  return text + "\n" + aligned(lines);
}

nlohmann::ordered_json as_json(const Report& report) {
  using Json = nlohmann::ordered_json;
  Json tables = Json::array();
  for (const Table& table : report.tables) {
    Json rows = Json::array();
    for (const Row& row : table.rows) {
      Json ratios = Json::array();
      for (const Ratio& ratio : row.ratios) {
        Json one = as_json(ratio.summary);
        one["over"] = ratio.over;
        ratios.push_back(std::move(one));
      }
      rows.push_back({{"contestant", row.contestant},
                      {"value", as_json(row.value)},
                      {"ratios", std::move(ratios)},
                      {"kept", row.kept},
                      {"dropped", row.dropped}});
    }
    tables.push_back({{"workload", table.workload},
                      {"size", table.size},
                      {"capacity", table.capacity},
                      {"unit", table.unit},
                      {"regime_ns", table.regime.count != 0 ? Json(as_json(table.regime)) : Json()},
                      {"rows", std::move(rows)}});
  }
  Json goals = Json::array();
  for (const Verdict& verdict : report.verdicts) {
    const Goal& goal = verdict.goal;
    Json one{{"workload", goal.workload}, {"size", goal.size}, {"contestant", goal.contestant}, {"over", goal.over}};
    if (goal.at_most) one["at_most"] = *goal.at_most;
    if (goal.at_least) one["at_least"] = *goal.at_least;
    one["value"] = verdict.value;
    one["met"] = verdict.met;
    goals.push_back(std::move(one));
  }
  return {{"version", 1},
          {"program", "nimsync_bench " + report.version},
          {"machine",
           {{"processor", report.machine.processor},
            {"cpus", report.machine.cpus},
            {"kernel", report.machine.kernel},
            {"near_cpu", report.near_cpu},
            {"far_cpu", report.far_cpu}}},
          {"rounds", report.rounds},
          {"tables", std::move(tables)},
          {"goals", std::move(goals)}};
}

}  // namespace bench
