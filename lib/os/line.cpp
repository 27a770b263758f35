#include "os/line.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace nimsync::os {

namespace {

constexpr int kBufferBytes = 4096;

struct flock whole_line(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0;
  lock.l_len = 1;
  return lock;
}

Descriptor open_line(const Descriptor& at, const std::string& name, int flags) {
  Descriptor fd(::openat(at.get(), name.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) fail(errno, "cannot open the line " + name);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) fail(errno, "cannot look at the line " + name);
  if (!S_ISFIFO(st.st_mode)) throw Error(Errc::corrupted, "the line " + name + " is not a FIFO");
  return fd;
}

}  // namespace

void make_line(const Descriptor& at, const std::string& name) {
  if (::mkfifoat(at.get(), name.c_str(), 0600) != 0) fail(errno, "cannot make the line " + name);
}

Descriptor open_as_holder(const Descriptor& at, const std::string& name) {
  Descriptor fd = open_line(at, name, O_RDWR);
  // Refused when smaller than what is in it, or over the user's limit: then the line keeps the size that it has.
  static_cast<void>(::fcntl(fd.get(), F_SETPIPE_SZ, kBufferBytes));
  return fd;
}

Descriptor open_as_watcher(const Descriptor& at, const std::string& name) {
  return open_line(at, name, O_RDONLY);
}

PrivateLine make_private_line() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) fail(errno, "cannot make a pipe");
  PrivateLine line{.holder = Descriptor(ends[1]), .watcher = Descriptor(ends[0]), .reader = {}};
  line.reader.reset(::fcntl(ends[0], F_DUPFD_CLOEXEC, 0));
  if (!line.reader) fail(errno, "cannot make a pipe");
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, kBufferBytes));
  static_cast<void>(take_lease(line.holder));  // nobody else knows the pipe
  return line;
}

Lease take_lease(const Descriptor& holder) {
  struct flock lock = whole_line(F_WRLCK);
  if (::fcntl(holder.get(), F_OFD_SETLK, &lock) == 0) return Lease::free;
  if (errno != EAGAIN && errno != EACCES) fail(errno, "cannot lock a line");
  const Lease found = lease(holder);
  return found == Lease::free ? Lease::held : found;  // freed between: the caller may try again
}

Lease lease(const Descriptor& line) {
  struct flock lock = whole_line(F_WRLCK);
  if (::fcntl(line.get(), F_OFD_GETLK, &lock) != 0) fail(errno, "cannot ask for a line's lock");
  if (lock.l_type == F_UNLCK) return Lease::free;
  return lock.l_type == F_RDLCK ? Lease::intruded : Lease::held;
}

void end_lease(const Descriptor& holder) noexcept {
  struct flock lock = whole_line(F_UNLCK);
  static_cast<void>(::fcntl(holder.get(), F_OFD_SETLK, &lock));
}

void ring(const Descriptor& holder) noexcept {
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(holder.get(), &byte, 1);  // EAGAIN: full, and so rung
}

LineNews drain(const Descriptor& watcher) noexcept {
  constexpr int kMostReads = 16;
  LineNews news;
  std::array<char, kBufferBytes> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the kernel
  for (int reads = 0; reads < kMostReads; ++reads) {
    const ssize_t got = ::read(watcher.get(), bytes.data(), bytes.size());
    if (got <= 0) {
      news.dead = got == 0;  // otherwise EAGAIN: empty, and held
      break;
    }
    news.rung = true;
  }
  return news;
}

void mark_removed(const Descriptor& line) noexcept {
  static_cast<void>(::fchmod(line.get(), S_IRUSR | S_IWUSR | S_ISVTX));  // else having no name tells
}

bool is_linked(const Descriptor& line) noexcept {
  struct stat st {};
  // Where that can't be told it is taken to be: the next look asks again.
  return ::fstat(line.get(), &st) != 0 || (st.st_nlink != 0 && (st.st_mode & S_ISVTX) == 0);
}

}  // namespace nimsync::os
