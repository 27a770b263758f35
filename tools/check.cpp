#include "tools/check.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "tools/rates.hpp"

namespace nimsync::tools {

namespace {

constexpr std::array<std::string_view, 3> kWords{"OK", "WARNING", "CRITICAL"};
constexpr std::size_t kMostFindings = 5;  // in the line; JSON has all

struct Finding {
  Severity severity;
  std::string text;
};

/// Rounded down, but what isn't full is at most 99.
unsigned percent(std::uint64_t is, std::uint64_t most) {
  if (most == 0 || is >= most) return 100;
  return static_cast<unsigned>(static_cast<double>(is) / static_cast<double>(most) * 100);
}

void hold_against(std::vector<Finding>& findings, const Threshold& threshold, unsigned value, const std::string& what) {
  const std::string text = what + " " + std::to_string(value) + "%";
  if (value >= threshold.critical) {
    findings.push_back({Severity::critical, text});
  } else if (value >= threshold.warning) {
    findings.push_back({Severity::warning, text});
  }
}

void judge_channel(std::vector<Finding>& findings, const ChannelInfo& channel, const CheckOptions& options) {
  if (channel.state == "damaged") {
    findings.push_back({Severity::critical, channel.name + " is damaged"});
    return;
  }
  if (channel.state == "orphaned") findings.push_back({Severity::warning, channel.name + " is orphaned"});
  hold_against(findings, options.used, percent(channel.used, channel.geometry.capacity), channel.name + " is full by");
  if (!options.need_peers) return;
  if (!channel.sender) findings.push_back({Severity::critical, channel.name + " has no sender"});
  if (!channel.receiver) findings.push_back({Severity::critical, channel.name + " has no receiver"});
}

/// "'memory'=1048576B;800;950;0;1000" as the guidelines have it.
std::string performance(std::string_view name, std::uint64_t value, std::string_view unit, std::uint64_t most) {
  return std::string(name) + "=" + std::to_string(value) + std::string(unit) + ";;;0;" + std::to_string(most);
}

}  // namespace

Verdict judge(const RegistryInfo& info, const std::vector<ChannelInfo>& channels, const CheckOptions& options) {
  std::vector<Finding> findings;
  for (const auto& name : options.names) {
    const auto is_it = [&](const ChannelInfo& channel) { return channel.name == name; };
    if (std::none_of(channels.begin(), channels.end(), is_it)) {
      findings.push_back({Severity::critical, name + " is not there"});
    }
  }
  for (const auto& channel : channels) judge_channel(findings, channel, options);
  hold_against(findings, options.memory, percent(info.bytes, info.max_bytes), "memory is used by");
  hold_against(findings, options.memory, percent(info.channels, info.max_channels), "of all channels there are");
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& one, const Finding& other) { return one.severity > other.severity; });
  Verdict verdict;
  if (!findings.empty()) verdict.severity = findings.front().severity;
  for (auto& finding : findings) verdict.findings.push_back(std::move(finding.text));
  return verdict;
}

int check(const Place& place, const CheckOptions& options, const Output& output) {
  for (const Threshold& each : {options.used, options.memory}) {
    if (each.warning <= each.critical) continue;
    complain(output, "a warning at " + std::to_string(each.warning) + " % comes after what is critical at " +
                         std::to_string(each.critical) + " %; turn them round");
    return kCheckUnknown;
  }
  if (std::find(options.names.begin(), options.names.end(), "") != options.names.end()) {
    complain(output, "a channel's name is empty");
    return kCheckUnknown;
  }
  Verdict verdict;
  std::string numbers;
  std::size_t looked_at = 0;
  try {
    Registry registry = reach(place);
    std::vector<ChannelInfo> channels = registry.list();
    const RegistryInfo info = registry.info();
    if (!options.names.empty()) {
      std::erase_if(channels, [&](const ChannelInfo& channel) {
        return std::find(options.names.begin(), options.names.end(), channel.name) == options.names.end();
      });
    }
    looked_at = channels.size();
    verdict = judge(info, channels, options);
    double fullest = 0;
    for (const auto& channel : channels) fullest = std::max(fullest, fullness(channel));
    numbers = performance("channels", info.channels, "", info.max_channels) + " " +
              performance("memory", info.bytes, "B", info.max_bytes) + " " +
              "connections=" + std::to_string(info.connections) +
              ";;;0; fullest=" + std::to_string(static_cast<unsigned>(fullest * 100)) + "%;" +
              std::to_string(options.used.warning) + ";" + std::to_string(options.used.critical) + ";0;100";
  } catch (const Error& error) {
    verdict = {.severity = Severity::critical, .findings = {error.what()}};
  }
  const std::string_view word = kWords[static_cast<std::size_t>(verdict.severity)];
  const int exit_code = static_cast<int>(verdict.severity);
  if (output.json) {
    Json json = document();
    json["status"] = word;
    json["findings"] = verdict.findings;
    json["performance"] = numbers;
    print(output, json);
    return exit_code;
  }
  std::string text;
  for (std::size_t at = 0; at < std::min(verdict.findings.size(), kMostFindings); ++at) {
    text += (at == 0 ? "" : ", ") + verdict.findings[at];
  }
  if (verdict.findings.size() > kMostFindings) {
    text += " and " + std::to_string(verdict.findings.size() - kMostFindings) + " more";
  }
  if (text.empty()) text = std::to_string(looked_at) + (looked_at == 1 ? " channel" : " channels") + ", nothing to say";
  std::replace(text.begin(), text.end(), '|', '/');  // numbers are behind it
  output.out << "NIMSYNC " << word << " - " << printable(text) << (numbers.empty() ? "" : " | ") << numbers << "\n";
  return exit_code;
}

}  // namespace nimsync::tools
