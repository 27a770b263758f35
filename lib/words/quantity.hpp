// Quantities as people write and read them: sizes, durations, permissions, ages.
//
// Thread-safe: pure functions. Those that parse throw Error (invalid), whose text names what was written and
// what would be right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nimsync/error.hpp"
#include "nimsync/wait.hpp"

namespace nimsync::words {

/// "4096", "64K", "4M", "16Mi", "1GiB": bytes or a count, in powers of 1024 whatever the case and the tail of the
/// suffix. Whole numbers only.
std::uint64_t parse_size(std::string_view text);

/// "500ms", "2s", "1m", "1h", "250us", "100ns"; a unit is required.
Timeout parse_duration(std::string_view text);

/// "0620", "620", "0o620": octal, at most 0777.
unsigned parse_mode(std::string_view text);

/// 4194304 as "4M", 12595 as "12.2K", 100 as "100": at most one decimal, rounded down.
std::string format_size(std::uint64_t bytes);

/// 59 as "59s", 3600 as "1h", 200000 as "2d": the largest unit that gives at least 1. Negative counts as 0.
std::string format_age(std::int64_t seconds);

/// 0620 as "0620".
std::string format_mode(unsigned mode);

}  // namespace nimsync::words
