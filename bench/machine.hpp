// The machine: what the report names, and which processors the measured processes are pinned to.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct Machine {
  std::string processor;  // the model's name
  int cpus = 0;           // online
  std::string kernel;     // release
};

Machine this_machine();

/// The processors that this process may run on, ascending. Throws std::system_error.
std::vector<int> allowed_cpus();

/// Binds a process (0: the caller) to one processor. Throws std::system_error.
void pin(int pid, int cpu);

}  // namespace bench
