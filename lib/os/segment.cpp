#include "os/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/exceptions.hpp>
#include <cerrno>
#include <memory>
#include <utility>

namespace nimsync::os {

namespace bi = boost::interprocess;

namespace {

constexpr std::uint64_t kSlice = std::uint64_t{16} << 20;
constexpr const char* kFolder = "/dev/shm";  // where glibc's shm_open looks

struct stat stat_of(const Descriptor& fd) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) fail(errno, "cannot look at a segment");
  return st;
}

/// A descriptor in the words of Boost.Interprocess.
struct Mappable {
  int fd;
  [[nodiscard]] bi::mapping_handle_t get_mapping_handle() const { return {.handle = fd, .is_xsi = false}; }
};

int flags_of(Access access) {
  return (access == Access::read_write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
}

bi::mode_t mode_of(Access access) {
  return access == Access::read_write ? bi::read_write : bi::read_only;
}

bi::mapped_region map(const Descriptor& fd, Access access, std::uint64_t offset, std::uint64_t bytes,
                      const void* at = nullptr) {
  const auto options = at != nullptr ? bi::map_options_t{MAP_FIXED} : bi::default_map_options;
  try {
    bi::mapped_region region(Mappable{fd.get()}, mode_of(access), static_cast<bi::offset_t>(offset), bytes, at,
                             options);
    // A mapping in fork's child would keep a dead sender's memory, and must not be written by it.
    if (::madvise(region.get_address(), bytes, MADV_DONTFORK) != 0) fail(errno, "cannot keep a segment from children");
    // Now, and not at the first message; and where a page is missing this says so, and a touch would be SIGBUS.
    const int populate = access == Access::read_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    if (::madvise(region.get_address(), bytes, populate) != 0) {
      if (errno == EFAULT)
        throw Error(Errc::corrupted, "a segment is smaller than its size, or a page of it is missing");
      if (errno != EINVAL) fail(errno, "cannot prefault a segment");  // EINVAL: Linux before 5.14 doesn't know how
    }
    return region;
  } catch (const bi::interprocess_exception& e) {
    fail(static_cast<int>(e.get_native_error()), "cannot map a segment of " + std::to_string(bytes) + " bytes");
  }
}

void require_bytes(const Descriptor& fd, std::uint64_t bytes, const char* which) {
  const auto have = static_cast<std::uint64_t>(stat_of(fd).st_size);
  if (have < bytes) {
    throw Error(Errc::corrupted, std::string("the ") + which + " segment has " + std::to_string(have) + " bytes and " +
                                     std::to_string(bytes) + " are needed");
  }
}

}  // namespace

std::uint64_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

NewSegment::NewSegment(std::string name, std::uint64_t bytes) : name_(std::move(name)), bytes_(bytes) {
  fd_.reset(::shm_open(name_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd_) {
    if (errno == EEXIST) throw Error(Errc::exists, "the name " + name_ + " is taken in shared memory");
    fail(errno, "cannot create the shared memory " + name_);
  }
}

NewSegment NewSegment::nameless(const std::string& label, std::uint64_t bytes) {
  Descriptor fd(::memfd_create(label.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Before anybody has a descriptor: with its first mode, 0777, everybody could open a read-only one for writing.
  if (!fd || ::fchmod(fd.get(), 0600) != 0) fail(errno, "cannot create shared memory without a name");
  return {std::move(fd), bytes};
}

NewSegment::NewSegment(NewSegment&& from) noexcept
    : name_(std::move(from.name_)),
      fd_(std::move(from.fd_)),
      bytes_(from.bytes_),
      allocated_(from.allocated_),
      kept_(std::exchange(from.kept_, true)) {}

NewSegment::~NewSegment() {
  if (!kept_) unlink_segment(name_);
}

bool NewSegment::allocate() {
  if (allocated_ == bytes_) return true;
  const std::uint64_t slice = std::min(kSlice, bytes_ - allocated_);
  int error = EINTR;
  while (error == EINTR) {
    error = ::posix_fallocate(fd_.get(), static_cast<off_t>(allocated_), static_cast<off_t>(slice));
  }
  if (error == ENOSPC) {
    struct statvfs space {};
    const bool known = ::fstatvfs(fd_.get(), &space) == 0;
    throw Error(Errc::no_space,
                "shared memory is full: " + std::to_string(bytes_) + " bytes needed" +
                    (known ? ", " + std::to_string(allocated_ + space.f_bavail * space.f_bsize) + " available"
                           : std::string()) +
                    "; remove channels" + (name_.empty() ? "" : std::string(" or enlarge ") + kFolder));
  }
  if (error != 0) fail(error, "cannot allocate " + std::to_string(bytes_) + " bytes of shared memory");
  allocated_ += slice;
  return allocated_ == bytes_;
}

void NewSegment::write(const layout::Header& identity) {
  const ssize_t written = ::pwrite(fd_.get(), &identity, sizeof identity, 0);
  if (written != static_cast<ssize_t>(sizeof identity)) fail(written < 0 ? errno : EIO, "cannot write a segment");
}

Descriptor NewSegment::seal() {
  if (::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    fail(errno, "cannot seal shared memory");
  }
  return std::move(fd_);
}

std::uint64_t NewSegment::inode() const {
  return stat_of(fd_).st_ino;
}

SegmentFacts facts(const Descriptor& segment) {
  const struct stat st = stat_of(segment);
  return {.inode = st.st_ino,
          .bytes = static_cast<std::uint64_t>(st.st_size),
          .owner = st.st_uid,
          .mode = st.st_mode & 07777U};
}

Descriptor open_segment(const std::string& name, Access access) {
  Descriptor fd(::shm_open(name.c_str(), flags_of(access), 0));
  if (!fd && errno != ENOENT && errno != EACCES && errno != ELOOP) fail(errno, "cannot open the shared memory " + name);
  return fd;
}

Descriptor reopen_segment(const Descriptor& segment, Access access) {
  Descriptor fd(::open(("/proc/self/fd/" + std::to_string(segment.get())).c_str(), flags_of(access)));
  if (!fd) fail(errno, "cannot open sealed shared memory again through /proc");
  return fd;
}

void unlink_segment(const std::string& name) noexcept {
  ::shm_unlink(name.c_str());
}

std::vector<std::string> segments_named(const std::string& prefix) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(kFolder), ::closedir);
  if (!folder) fail(errno, std::string("cannot read ") + kFolder);
  errno = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = static_cast<const char*>(entry->d_name);
    if (name.starts_with(prefix)) names.push_back("/" + name);
    errno = 0;
  }
  if (errno != 0) fail(errno, std::string("cannot read ") + kFolder);
  return names;
}

Mapping::Mapping(const Descriptor& forward, Access forward_access, const Descriptor& back, Access return_access,
                 const Geometry& geometry) {
  regions_ = std::make_shared<std::vector<bi::mapped_region>>();
  const std::uint64_t page = page_bytes();
  const std::uint64_t bytes = layout::forward_bytes(geometry, page);
  const std::uint64_t ring = layout::ring_offset(geometry.layout, page);
  require_bytes(forward, bytes, "forward");
  require_bytes(back, layout::return_bytes(page), "return");
  if (geometry.layout == Layout::framed) {
    // Header, ring, and the ring once more behind it. The reservation keeps the addresses; the mappings replace all of
    // it.
    void* at =
        ::mmap(nullptr, bytes + geometry.capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) fail(errno, "cannot reserve addresses for a ring");
    auto* base = static_cast<std::byte*>(at);
    try {
      regions_->push_back(map(forward, forward_access, 0, bytes, base));
    } catch (...) {
      ::munmap(base + bytes, geometry.capacity);  // only what no region has taken: theirs they unmap themselves
      throw;
    }
    regions_->push_back(map(forward, forward_access, ring, geometry.capacity, base + bytes));
  } else {
    regions_->push_back(map(forward, forward_access, 0, bytes));
  }
  memory_.forward = static_cast<std::byte*>(regions_->front().get_address());
  memory_.ring = memory_.forward + ring;
  regions_->push_back(map(back, return_access, 0, layout::return_bytes(page)));
  memory_.back = static_cast<std::byte*>(regions_->back().get_address());
  memory_.geometry = geometry;
}

void Mapping::plug_after_fork() const noexcept {
  if (!regions_) return;
  for (const bi::mapped_region& region : *regions_) {
    // Plugged already when two endpoints share the mapping.
    static_cast<void>(::mmap(region.get_address(), region.get_size(), PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));
  }
}

}  // namespace nimsync::os
