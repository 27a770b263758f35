// Segments: shared memory that the registry makes, and mappings of it.
//
// A segment is made in steps: created under a name nobody else has (O_EXCL, 0600), its memory allocated slice by slice,
// so that an event loop can do other things between, its identity written last. Clients get descriptors and never
// names.
//
// A sealed segment has no name: a memfd whose size nobody can change any more, whoever holds it. It lives as long as a
// descriptor or a mapping of it. Its mode is 0600 like that of the others, since whoever has a descriptor can open it
// again through /proc, with the access that the mode permits.
//
// posix_fallocate and not ftruncate: on a full /dev/shm the latter succeeds, and the first touch is SIGBUS.
//
// Threads: each object by one at a time. Errors: Error, with nothing left behind.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nimsync/layout.hpp"
#include "nimsync/ring.hpp"
#include "os/descriptor.hpp"

namespace nimsync::os {

/// The machine's page size in bytes.
std::uint64_t page_bytes() noexcept;

/// A segment that is being made. Destroyed before keep(), it is unlinked and its memory given back.
class NewSegment {
 public:
  /// Creates it, empty. The name has a leading slash. Error `exists` when the name is taken, by whomever.
  NewSegment(std::string name, std::uint64_t bytes);
  /// Creates one to be sealed, empty. The label shows in /proc/PID/maps.
  static NewSegment nameless(const std::string& label, std::uint64_t bytes);
  NewSegment(NewSegment&& from) noexcept;
  NewSegment& operator=(NewSegment&&) = delete;
  NewSegment(const NewSegment&) = delete;
  NewSegment& operator=(const NewSegment&) = delete;
  ~NewSegment();

  /// Allocates the next slice (16 MiB); true when all is there. Error no_space says needed and available.
  bool allocate();
  /// Writes the identity; all else is zero.
  void write(const layout::Header& identity);
  /// From now on the segment stays. Of one with a name.
  void keep() noexcept { kept_ = true; }
  /// From now on its size stays. The descriptor of one without a name, which keeps it; once.
  Descriptor seal();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint64_t inode() const;

 private:
  NewSegment(Descriptor fd, std::uint64_t bytes) noexcept : fd_(std::move(fd)), bytes_(bytes), kept_(true) {}

  std::string name_;
  Descriptor fd_;
  std::uint64_t bytes_;
  std::uint64_t allocated_ = 0;
  bool kept_ = false;
};

/// What fstat says of a segment; for adoption and statistics, which never map.
struct SegmentFacts {
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
  std::uint32_t owner = 0;
  unsigned mode = 0;  // permission bits

  bool operator==(const SegmentFacts&) const = default;
};
SegmentFacts facts(const Descriptor& segment);

enum class Access : std::uint8_t { read_only, read_write };

/// Opens by name; an invalid Descriptor when there is none. Never follows links.
Descriptor open_segment(const std::string& name, Access access);
/// A fresh description of a segment that this process has a descriptor of. Needs /proc.
Descriptor reopen_segment(const Descriptor& segment, Access access);
void unlink_segment(const std::string& name) noexcept;
/// Names (with the slash) in shared memory that begin with `prefix` (without it).
std::vector<std::string> segments_named(const std::string& prefix);

/// One channel's two segments in this process. Not inherited by fork's children. Prefaulted. Copies share one mapping,
/// which ends with the last of them.
class Mapping {
 public:
  /// Nothing.
  Mapping() = default;
  /// Maps both. `forward_access` and `return_access` must be what the descriptors permit. Error `corrupted` when a
  /// segment is smaller than its geometry says.
  Mapping(const Descriptor& forward, Access forward_access, const Descriptor& back, Access return_access,
          const Geometry& geometry);

  [[nodiscard]] const RingMemory& memory() const noexcept { return memory_; }

  /// For fork: in the child, puts empty mappings where the segments were not inherited, so that what the child maps
  /// next doesn't lie where this object will unmap.
  void plug_after_fork() const noexcept;

 private:
  std::shared_ptr<std::vector<boost::interprocess::mapped_region>> regions_;
  RingMemory memory_;
};

}  // namespace nimsync::os
