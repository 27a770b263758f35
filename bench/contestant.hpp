// A contestant: one way to get messages from one process to another, in one workload at one message size.
//
// Contestants are made before the measured processes are forked and used by both: by the near one, which asks or sends,
// and by the far one, which answers or receives. First the near process opens its endpoints, then the far one, then the
// near one takes away what names there are; after the group's last round both close. The far half of a contestant that
// lives in one process runs on a second thread of the near one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// What one process found in one sample. The one that times it says how many units (messages, bytes, operations) the
/// time was for; the other leaves 0.
struct Lap {
  double ns = 0;            // of the whole
  double units = 0;         // done in that time
  std::uint64_t wrong = 0;  // messages with other content than was sent
};

/// What a row is about.
enum class Kind : std::uint8_t { limit, nimsync, bare, peer };

/// How many times a queue in memory is made. Where in physical memory it happens to lie changes its speed by up to a
/// third, for as long as it lives; rounds go from one instance to the next.
inline constexpr std::size_t kInstances = 7;

/// How a contestant wants to be treated.
struct Nature {
  std::size_t instances = kInstances;
  std::uint64_t warm_up = 8192;  // messages, so that both sides have touched all of the queue
  bool waits = false;            // its calls sleep, or it has threads
  bool gives_way = false;        // to lose the processor is part of its way of working, and no reason to drop a sample
  bool threads = false;          // both halves in the near process
};

inline constexpr Nature kInMemory{};
inline constexpr Nature kInOneProcess{.threads = true};
inline constexpr Nature kInKernel{.instances = 1, .warm_up = 512, .gives_way = true};
inline constexpr Nature kWaiting{.instances = 1, .warm_up = 64, .waits = true, .gives_way = true};

class Contestant {
 public:
  Contestant(std::string name, Kind kind, Nature nature) : name_(std::move(name)), kind_(kind), nature_(nature) {}
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;
  virtual ~Contestant() = default;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] const Nature& nature() const noexcept { return nature_; }

  /// Each may throw; the message says what failed.
  virtual void open_near() = 0;
  virtual void open_far() = 0;
  virtual void remove_names() noexcept = 0;
  virtual void close_near() noexcept = 0;
  virtual void close_far() noexcept = 0;

  /// One sample of `count` messages over that instance, in the two processes at once. The numbers of an instance's
  /// messages go on from sample to sample. `parts` is empty, or one of the two leaves there the ns of each of as many
  /// equal parts of the sample.
  virtual Lap near(std::size_t instance, std::uint64_t count, std::span<double> parts) = 0;
  virtual Lap far(std::size_t instance, std::uint64_t count, std::span<double> parts) = 0;

 private:
  std::string name_;
  Kind kind_;
  Nature nature_;
};

/// How a group's numbers are shown, from ns a unit.
struct Unit {
  const char* name;  // "ns", "us": less is better; "M/s", "GB/s", "Mops/s": more is better
  bool is_rate;
  double factor;  // shown is ns * factor, or factor / ns
};

inline constexpr Unit kNanoseconds{"ns", false, 1};
inline constexpr Unit kMicroseconds{"us", false, 1e-3};
inline constexpr Unit kMillionsPerSecond{"M/s", true, 1e3};
inline constexpr Unit kMillionOperations{"Mops/s", true, 1e3};
inline constexpr Unit kGigabytesPerSecond{"GB/s", true, 1};

/// The best in each round of some contestants, to compare with.
struct Best {
  std::string name;
  std::vector<std::string> of;
};

struct LeftOut {
  std::string contestant;
  std::string reason;
};

/// Contestants that are measured in turns.
struct Group {
  std::string workload;
  std::size_t size = 0;   // bytes of a message
  std::size_t batch = 0;  // messages a call, where that is the point
  std::string note;       // what else a table's title says
  Unit unit = kNanoseconds;
  double sample_ns = 1e6;      // short against the machine's moods and a time slice
  std::uint64_t fewest = 16;   // messages a sample
  std::size_t parts = 0;       // timed parts of a sample for percentiles; 0: none
  std::size_t part_trips = 1;  // messages each
  bool parts_apart = false;    // timed in a sample of their own, which would otherwise be slower for it
  std::vector<std::string> references;
  std::vector<Best> bests;
  std::vector<std::unique_ptr<Contestant>> contestants;
  std::vector<LeftOut> left_out;
};

}  // namespace bench
