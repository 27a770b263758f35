// Whether all is well, for programs that ask so every minute: Nagios and those who took its manners over.
//
// One line: "NIMSYNC OK - 12 channels, ... | channels=12;...". Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
// (https://nagios-plugins.org/doc/guidelines.html).
//
// One thread.
#pragma once

#include <cstdint>
#include <nimsync/nimsync.hpp>
#include <string>
#include <vector>

#include "tools/autostart.hpp"
#include "tools/output.hpp"

namespace nimsync::tools {

inline constexpr int kCheckUnknown = 3;

/// In percent; above 100 never.
struct Threshold {
  unsigned warning = 80;
  unsigned critical = 95;
};

struct CheckOptions {
  std::vector<std::string> names;  // which must be there; none: all that are
  Threshold used;                  // of a channel's capacity
  Threshold memory;                // of the registry's limits: memory, channels
  bool need_peers = false;         // both sides of each channel are to be held
};

enum class Severity : std::uint8_t { ok, warning, critical };

struct Verdict {
  Severity severity = Severity::ok;
  std::vector<std::string> findings;  // the gravest first
};

/// What there is to say of what a registry says.
Verdict judge(const RegistryInfo& info, const std::vector<ChannelInfo>& channels, const CheckOptions& options);

/// Prints the line (or JSON: {"status", "findings", "performance"}); the exit code as above. A registry that doesn't
/// answer is critical.
int check(const Place& place, const CheckOptions& options, const Output& output);

}  // namespace nimsync::tools
