// The two segments of a channel in this process, without a registry: what the tests of the rings lie over.
//
// A Segments owns the memory (two memfds); a Mapping shows it, with the rights of one side or of both. Several mappings
// of one Segments may exist at once, as in several processes. Around and between the segments lie pages without any
// rights, so that an access outside ends the program.
//
//     guard | forward segment | the ring again (frames) | guard | return segment | guard
//
// Not thread-safe to create; the memory is what the rings share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "nimsync/ring.hpp"

namespace nimsync::rings_test {

inline std::uint64_t page() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

[[noreturn]] inline void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// A range of addresses.
struct Range {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;

  [[nodiscard]] bool holds(const void* address, std::size_t bytes) const {
    const auto* const first = static_cast<const std::byte*>(address);
    return first >= begin && first <= end && bytes <= static_cast<std::size_t>(end - first);
  }
  [[nodiscard]] bool touches(const void* address, std::size_t bytes) const {
    const auto* const first = static_cast<const std::byte*>(address);
    return first < end && first + bytes > begin;
  }
};

/// All bytes of both segments at one moment.
struct Image {
  std::vector<std::byte> forward;
  std::vector<std::byte> back;
};

class Segments {
 public:
  /// New segments as the daemon makes them: identity in both headers, zero elsewhere.
  explicit Segments(const Geometry& geometry)
      : geometry_(geometry),
        forward_(create("forward", forward_bytes())),
        back_(create("return", layout::return_bytes(page()))) {
    const layout::Header header = layout::identity(geometry, 1, page());
    write(forward_, &header, sizeof header, 0);
    write(back_, &header, sizeof header, 0);
  }
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;
  ~Segments() {
    ::close(forward_);
    ::close(back_);
  }

  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  [[nodiscard]] int forward() const { return forward_; }
  [[nodiscard]] int back() const { return back_; }
  [[nodiscard]] std::uint64_t forward_bytes() const { return layout::forward_bytes(geometry_, page()); }

 private:
  static int create(const char* name, std::uint64_t bytes) {
    const int fd = ::memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) throw_errno("memfd_create");
    if (::ftruncate(fd, static_cast<::off_t>(bytes)) != 0) throw_errno("ftruncate");
    return fd;
  }
  static void write(int fd, const void* from, std::size_t bytes, ::off_t at) {
    if (::pwrite(fd, from, bytes, at) != static_cast<::ssize_t>(bytes)) throw_errno("pwrite");
  }

  Geometry geometry_;
  int forward_;
  int back_;
};

class Mapping {
 public:
  enum class Rights : std::uint8_t { sender, receiver, both };

  /// `segments` may go before the mapping does.
  Mapping(const Segments& segments, Rights rights) : geometry_(segments.geometry()) {
    const std::uint64_t forward = segments.forward_bytes();
    const std::uint64_t again = geometry_.layout == Layout::framed ? geometry_.capacity : 0;
    const std::uint64_t back = layout::return_bytes(page());
    bytes_ = forward + again + back + 3 * page();
    void* const base = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) throw_errno("mmap");
    base_ = static_cast<std::byte*>(base);
    const int forward_rights = rights == Rights::receiver ? PROT_READ : PROT_READ | PROT_WRITE;
    const int back_rights = rights == Rights::sender ? PROT_READ : PROT_READ | PROT_WRITE;
    memory_.geometry = geometry_;
    memory_.forward = place(base_ + page(), forward, forward_rights, segments.forward(), 0);
    memory_.ring = memory_.forward + layout::ring_offset(geometry_.layout, page());
    if (again != 0) place(memory_.ring + again, again, forward_rights, segments.forward(), page());
    memory_.back = place(memory_.forward + forward + again + page(), back, back_rights, segments.back(), 0);
    forward_ = {memory_.forward, memory_.forward + forward + again};
    back_ = {memory_.back, memory_.back + back};
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(base_, bytes_); }

  [[nodiscard]] const RingMemory& memory() const { return memory_; }
  /// The segments with the ring's second appearance, and all that was reserved, guards included.
  [[nodiscard]] Range forward() const { return forward_; }
  [[nodiscard]] Range back() const { return back_; }
  [[nodiscard]] Range reserved() const { return {base_, base_ + bytes_}; }
  /// The ring, twice for frames.
  [[nodiscard]] Range ring() const {
    const std::uint64_t times = geometry_.layout == Layout::framed ? 2 : 1;
    return {memory_.ring, memory_.ring + layout::ring_bytes(geometry_) * times};
  }

  [[nodiscard]] Image image() const {
    const std::byte* const end = memory_.ring + layout::ring_bytes(geometry_);
    return {{forward_.begin, end}, {back_.begin, back_.begin + sizeof(layout::Header)}};
  }
  void restore(const Image& image) {
    std::memcpy(memory_.forward, image.forward.data(), image.forward.size());
    std::memcpy(memory_.back, image.back.data(), image.back.size());
  }

  /// Makes a new channel's memory that of one whose messages so far were all received: `position` of them (bytes of
  /// ring, for frames) in `streams` closed streams. Each ended where the last one did.
  void start_at(std::uint64_t position, std::uint64_t streams) {
    layout::ForwardHeader& forward = *memory_.forward_header();
    layout::Header& back = *memory_.return_header();
    forward.common.position = layout::mark(position, streams);
    forward.common.streams = streams;
    back.position = position;
    back.streams = streams;
    if (geometry_.layout != Layout::stamped) return;
    const std::uint64_t before = position < geometry_.capacity ? position : geometry_.capacity;
    for (std::uint64_t each = position - before; each < position; ++each) {
      std::byte* const slot =
          memory_.ring + (each & (geometry_.capacity - 1)) * layout::stride(Layout::stamped, geometry_.size);
      const std::uint64_t stamp = layout::mark(each + 1, streams);
      std::memcpy(slot + layout::stamp_offset(geometry_.size), &stamp, sizeof stamp);
    }
  }

 private:
  static std::byte* place(std::byte* at, std::uint64_t bytes, int rights, int fd, std::uint64_t offset) {
    void* const placed = ::mmap(at, bytes, rights, MAP_SHARED | MAP_FIXED, fd, static_cast<::off_t>(offset));
    if (placed == MAP_FAILED) throw_errno("mmap at a fixed place");
    return static_cast<std::byte*>(placed);
  }

  Geometry geometry_;
  std::uint64_t bytes_ = 0;
  std::byte* base_ = nullptr;
  RingMemory memory_;
  Range forward_;
  Range back_;
};

}  // namespace nimsync::rings_test
