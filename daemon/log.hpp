// The one log: to stderr, and with journald's priorities in front when it reads there.
//
// Threads: any.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace nimsync::registry {

/// Call once, before the first line. `level` is one of trace, debug, info, warn, error.
void start_log(const std::string& level);
void set_log_level(const std::string& level);

}  // namespace nimsync::registry
