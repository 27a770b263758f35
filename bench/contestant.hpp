// A contestant: one way to get messages from one process to another, in one workload at one message size.
//
// Contestants are made before the measured processes are forked and used by both: by the near one, which asks or sends
// and times round trips, and by the far one, which answers or receives and times streams. First the near process opens
// its endpoints, then the far one, then the near one takes away what names there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/loops.hpp"

namespace bench {

enum class Workload { rtt, throughput };

constexpr const char* name(Workload workload) noexcept {
  return workload == Workload::rtt ? "rtt" : "throughput";
}

/// How many times each contestant is made. Where in physical memory a queue happens to lie changes its speed by up to a
/// third, for as long as it lives; rounds go from one instance to the next.
inline constexpr std::size_t kInstances = 7;

class Contestant {
 public:
  explicit Contestant(std::string name) : name_(std::move(name)) {}
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;
  virtual ~Contestant() = default;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// Each may throw; the message says what failed.
  virtual void open_near() = 0;
  virtual void open_far() = 0;
  virtual void remove_names() noexcept = 0;

  /// One sample over the queues of that instance, in the two processes at once. The numbers of an instance's messages
  /// go on from sample to sample.
  virtual Lap near(std::size_t instance, std::uint64_t count) = 0;
  virtual Lap far(std::size_t instance, std::uint64_t count) = 0;

 private:
  std::string name_;
};

/// Contestants that are measured in turns.
struct Group {
  Workload workload;
  std::size_t size;      // bytes of a message
  std::size_t capacity;  // messages that each queue holds
  std::vector<std::unique_ptr<Contestant>> contestants;
};

// The names that the report and the goals use.
inline constexpr const char* kTwoLines = "two-line ping-pong";
inline constexpr const char* kBoost = "boost spsc_queue, managed segment";

/// The sizes that groups can be made of.
const std::vector<std::size_t>& sizes();

/// All contestants of a workload at one of sizes(). The channels are made in the registry at `socket`; `tag` makes
/// names in /dev/shm this run's own.
Group make_group(Workload workload, std::size_t size, const std::string& socket, const std::string& tag);

}  // namespace bench
