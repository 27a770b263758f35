// What a daemon is asked to do while it is stopped at each of its system calls: a table, to which more can be added.
#pragma once

#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "tests/faults/world.hpp"

namespace nimsync::testing {

struct Scenario {
  /// What is traced: a daemon that is up, or one from its first own system call until it answers.
  enum class Begin : std::uint8_t { up, starting };

  const char* name;
  int least_stops;  // below which the tracer has missed something
  std::function<void(World&)> prepare;
  std::function<void(World&)> script;  // of a starting daemon: none
  Begin begin = Begin::up;
  bool ends = false;  // the script makes the daemon end
};

std::span<const Scenario> scenarios();

void PrintTo(const Scenario& scenario, std::ostream* out);

}  // namespace nimsync::testing
