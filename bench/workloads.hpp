// The workloads, one source each in workloads/: which contestants, at which sizes.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "bench/workload.hpp"

namespace bench {

/// A workload of two processes; `open` is another matter (open_cost.hpp).
struct Workload {
  const char* name;
  const char* what;                // one line for --help
  bool with_iceoryx;               // which needs its daemon
  std::vector<std::size_t> sizes;  // bytes of a message
  /// Throws std::invalid_argument for another size.
  std::vector<Group> (*groups)(std::size_t size, const Place& place);
};

const std::vector<Workload>& workloads();

std::vector<Group> rtt_groups(std::size_t size, const Place& place);
std::vector<Group> throughput_groups(std::size_t size, const Place& place);
std::vector<Group> batch_groups(std::size_t size, const Place& place);
std::vector<Group> frames_groups(std::size_t size, const Place& place);
std::vector<Group> single_thread_groups(std::size_t size, const Place& place);
std::vector<Group> wake_groups(std::size_t size, const Place& place);
std::vector<Group> wait_set_groups(std::size_t size, const Place& place);
std::vector<Group> blocking_groups(std::size_t size, const Place& place);

/// Calls use(std::integral_constant<std::size_t, size>) for the one of `Sizes` that equals `size`.
template <std::size_t... Sizes, class Use>
std::vector<Group> of_size(std::size_t size, Use use) {
  std::vector<Group> groups;
  const bool known = ((size == Sizes && (groups = use(std::integral_constant<std::size_t, Sizes>{}), true)) || ...);
  if (!known) throw std::invalid_argument("no such message size: " + std::to_string(size));
  return groups;
}

}  // namespace bench
