#include "bench/machine.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>

namespace bench {

Machine this_machine() {
  Machine machine;
  machine.processor = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      machine.processor = line.substr(colon + 2);
      break;
    }
  }
  machine.cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  utsname system{};
  if (::uname(&system) == 0) machine.kernel = static_cast<const char*>(system.release);
  return machine;
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) {
    throw std::system_error(errno, std::generic_category(), "asking which processors may be used");
  }
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void pin(int pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(pid, sizeof set, &set) != 0) {
    throw std::system_error(errno, std::generic_category(), "pinning to processor " + std::to_string(cpu));
  }
}

}  // namespace bench
