// Times that were measured, and what is said of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

namespace nimsync::soak {

/// The value that a share of all is at most (nearest rank); `values` is sorted and not empty.
inline double quantile(const std::vector<double>& values, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::min(std::max<std::size_t>(rank, 1), values.size()) - 1];
}

/// "p50 .. p90 .. p99 .. max .. UNIT"; nothing of no values.
inline std::string percentiles(std::vector<double> values, const char* unit) {
  if (values.empty()) return "none";
  std::sort(values.begin(), values.end());
  std::ostringstream text;
  text.precision(1);
  text << std::fixed << "p50 " << quantile(values, 0.50) << ", p90 " << quantile(values, 0.90) << ", p99 "
       << quantile(values, 0.99) << ", max " << values.back() << ' ' << unit;
  return text.str();
}

}  // namespace nimsync::soak
