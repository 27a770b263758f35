// What goes on in channels, looked at again and again: `top` and `stat --watch`.
//
// One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/autostart.hpp"
#include "tools/output.hpp"
#include "tools/rates.hpp"

namespace nimsync::tools {

struct TopOptions {
  std::string pattern;  // empty: all channels
  std::chrono::milliseconds interval{2000};
  Order order = Order::sent;
  bool reversed = false;
  bool once = false;
};

/// A table that is repainted until q, SIGINT or SIGTERM. While there is no registry it says so, and goes on when there
/// is one again. With `once`, or for JSON, the table of one interval is printed and that is all; Error (no_registry).
int top(const Place& place, const TopOptions& options, const Output& output);

struct WatchOptions {
  std::vector<std::string> names;  // none: all
  std::chrono::milliseconds interval{1000};
  std::optional<std::uint64_t> count = std::nullopt;  // of tables; nothing: without end
};

/// The table (JSON: a document a line) of each interval, until a channel's name is no more, the registry ends or nobody
/// reads it.
int watch_rates(const Place& place, const WatchOptions& options, const Output& output);

}  // namespace nimsync::tools
