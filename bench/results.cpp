#include "bench/results.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace bench {
namespace {

constexpr std::string_view kNimsync = "nimsync ";
constexpr std::string_view kBare = "bare ring ";

double in_unit(const Unit& unit, double ns) noexcept {
  return unit.is_rate ? unit.factor / ns : unit.factor * ns;
}

/// One contestant over another, round by round; b may be made up of several.
std::vector<double> ratios(const Unit& unit, const std::vector<Sample>& a, const std::vector<Sample>& b) {
  std::vector<double> found;
  for (std::size_t round = 0; round < a.size(); ++round) {
    if (a[round].ns == 0 || b[round].ns == 0 || !same_regime(a[round].regime, b[round].regime)) continue;
    found.push_back(unit.is_rate ? b[round].ns / a[round].ns : a[round].ns / b[round].ns);
  }
  return found;
}

const std::vector<Sample>* rounds_of(const Group& group, const GroupResult& result, const std::string& contestant) {
  for (std::size_t c = 0; c < result.size(); ++c) {
    if (group.contestants[c]->name() == contestant) return &result[c].rounds;
  }
  return nullptr;
}

/// Whom `contestant` is compared with, and their rounds.
std::vector<std::pair<std::string, std::vector<Sample>>> references(const Group& group, const GroupResult& result,
                                                                    const std::string& contestant) {
  std::vector<std::pair<std::string, std::vector<Sample>>> found;
  std::vector<std::string> names = group.references;
  if (contestant.starts_with(kNimsync)) names.push_back(std::string(kBare) + contestant.substr(kNimsync.size()));
  for (const std::string& name : names) {
    const auto* const rounds = rounds_of(group, result, name);
    if (rounds != nullptr && name != contestant) found.emplace_back(name, *rounds);
  }
  for (const Best& best : group.bests) {
    std::vector<Sample> fastest;
    for (const std::string& name : best.of) {
      const auto* const rounds = rounds_of(group, result, name);
      if (rounds == nullptr) continue;
      fastest.resize(rounds->size());
      for (std::size_t round = 0; round < rounds->size(); ++round) {
        const Sample& one = (*rounds)[round];
        if (one.ns != 0 && (fastest[round].ns == 0 || one.ns < fastest[round].ns)) fastest[round] = one;
      }
    }
    if (!fastest.empty()) found.emplace_back(best.name, std::move(fastest));
  }
  return found;
}

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

std::optional<Percentiles> percentiles(const Unit& unit, std::vector<double> ns) {
  if (ns.empty()) return std::nullopt;
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) { return in_unit(unit, quantile(ns, q)); };
  return Percentiles{at(0.5), at(0.9), at(0.99), at(0.999), at(1)};
}

const char* word(Kind kind) noexcept {
  switch (kind) {
    case Kind::limit:
      return "limit";
    case Kind::nimsync:
      return "nimsync";
    case Kind::bare:
      return "bare";
    case Kind::peer:
      return "peer";
  }
  return "";
}

const Table* find(const std::vector<Table>& tables, const Goal& goal, std::size_t size) {
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const Table& table) {
    return table.workload == goal.workload && table.size == size && table.batch == goal.batch;
  });
  return found == tables.end() ? nullptr : &*found;
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
  return "/ " + over.substr(0, over.find(','));
}

std::string as_text(const Table& table) {
  std::string title = table.workload + ", " + std::to_string(table.size) + " B, " + table.note;
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
  const bool timed = std::any_of(table.rows.begin(), table.rows.end(), [](const Row& row) { return row.percentiles; });
  if (timed) lines.back().emplace_back("p99");
  lines.back().insert(lines.back().end(), {"kept", "dropped"});
  for (const Row& row : table.rows) {
    std::vector<std::string> line{"  " + row.contestant, spread(row.value)};
    for (const std::string& head : columns) {
      const auto found = std::find_if(row.ratios.begin(), row.ratios.end(),
                                      [&](const Ratio& ratio) { return column(ratio.over) == head; });
      line.push_back(found == row.ratios.end() ? "" : spread(found->summary));
    }
    if (timed) line.push_back(row.percentiles ? number(row.percentiles->p99) : "");
    line.push_back(std::to_string(row.kept));
    line.push_back(std::to_string(row.dropped));
    lines.push_back(std::move(line));
  }
  std::string text = title + "\n" + aligned(lines);
  for (const LeftOut& each : table.left_out) text += "  " + each.contestant + " left out: " + each.reason + "\n";
  return text;
}

nlohmann::ordered_json as_json(const Summary& summary) {
  return {{"median", summary.median}, {"q1", summary.q1}, {"q3", summary.q3}, {"count", summary.count}};
}

nlohmann::ordered_json as_json(const Percentiles& percentiles) {
  return {{"p50", percentiles.p50},
          {"p90", percentiles.p90},
          {"p99", percentiles.p99},
          {"p99.9", percentiles.p999},
          {"max", percentiles.max}};
}

}  // namespace

Summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75), values.size()};
}

Table evaluate(const Group& group, const GroupResult& result) {
  Table table;
  table.workload = group.workload;
  table.size = group.size;
  table.batch = group.batch;
  table.note = group.note;
  table.unit = group.unit.name;
  table.is_rate = group.unit.is_rate;
  table.left_out = group.left_out;
  std::vector<double> probes;
  for (std::size_t c = 0; c < result.size(); ++c) {
    const Series& series = result[c];
    Row row;
    row.contestant = group.contestants[c]->name();
    row.kind = group.contestants[c]->kind();
    row.dropped = series.dropped;
    std::vector<double> values;
    for (const Sample& sample : series.rounds) {
      if (sample.ns == 0) continue;
      values.push_back(in_unit(group.unit, sample.ns));
      probes.push_back(sample.regime);
    }
    row.kept = values.size();
    row.value = summarise(std::move(values));
    for (const auto& [over, rounds] : references(group, result, row.contestant)) {
      row.ratios.push_back({over, summarise(ratios(group.unit, series.rounds, rounds))});
    }
    row.percentiles = percentiles(group.unit, series.parts);
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
    if (each.contains("sizes")) {
      goal.sizes = each.at("sizes").get<std::vector<std::size_t>>();
    } else {
      goal.sizes = {each.at("size").get<std::size_t>()};
    }
    goal.batch = each.value("batch", std::size_t{0});
    if (each.contains("best_of")) {
      goal.contestants = each.at("best_of").get<std::vector<std::string>>();
    } else {
      goal.contestants = {each.at("contestant").get<std::string>()};
    }
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
    const auto better = [&](double a, double b) { return goal.at_most ? a < b : a > b; };
    std::optional<Verdict> worst;
    for (const std::size_t size : goal.sizes) {
      const Table* const table = find(tables, goal, size);
      if (table == nullptr) continue;
      Verdict best{goal, size, goal.contestants.front(), 0, false};  // until somebody was measured
      for (const Row& row : table->rows) {
        if (std::find(goal.contestants.begin(), goal.contestants.end(), row.contestant) == goal.contestants.end()) {
          continue;
        }
        const Ratio* const ratio = find(row, goal.over);
        if (ratio == nullptr || ratio->summary.count == 0) continue;
        const double value = ratio->summary.median;
        const bool met = goal.at_most ? value <= *goal.at_most : value >= goal.at_least.value_or(0);
        if (best.value == 0 || better(value, best.value)) best = {goal, size, row.contestant, value, met};
      }
      if (!worst || best.value == 0 || (worst->value != 0 && better(worst->value, best.value))) worst = best;
    }
    if (worst) verdicts.push_back(*std::move(worst));
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
    lines.push_back({"  " + goal.workload + (goal.batch != 0 ? " of " + std::to_string(goal.batch) : "") + " " +
                         std::to_string(verdict.size) + " B" + (goal.sizes.size() > 1 ? " (the worst size)" : "") +
                         ", " + verdict.contestant + " / " + goal.over,
                     bound(goal), verdict.value == 0 ? "-" : number(verdict.value),
                     verdict.met          ? "met"
                     : verdict.value == 0 ? "not measured"
                                          : "falls short"});
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
                      {"kind", word(row.kind)},
                      {"value", as_json(row.value)},
                      {"ratios", std::move(ratios)},
                      {"percentiles", row.percentiles ? as_json(*row.percentiles) : Json()},
                      {"kept", row.kept},
                      {"dropped", row.dropped}});
    }
    Json left_out = Json::array();
    for (const LeftOut& each : table.left_out) {
      left_out.push_back({{"contestant", each.contestant}, {"reason", each.reason}});
    }
    tables.push_back({{"workload", table.workload},
                      {"size", table.size},
                      {"batch", table.batch},
                      {"note", table.note},
                      {"unit", table.unit},
                      {"better", table.is_rate ? "more" : "less"},
                      {"regime_ns", table.regime.count != 0 ? Json(as_json(table.regime)) : Json()},
                      {"rows", std::move(rows)},
                      {"left_out", std::move(left_out)}});
  }
  Json goals = Json::array();
  for (const Verdict& verdict : report.verdicts) {
    const Goal& goal = verdict.goal;
    Json one{{"workload", goal.workload},
             {"size", verdict.size},
             {"worst_of_sizes", goal.sizes.size() > 1},
             {"batch", goal.batch},
             {"contestant", verdict.contestant},
             {"over", goal.over}};
    if (goal.at_most) one["at_most"] = *goal.at_most;
    if (goal.at_least) one["at_least"] = *goal.at_least;
    one["value"] = verdict.value;
    one["met"] = verdict.met;
    goals.push_back(std::move(one));
  }
  return {{"version", 2},
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
