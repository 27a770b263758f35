#include "os/line.hpp"

#include <fcntl.h>
#include <poll.h>
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

std::pair<Descriptor, Descriptor> make_private_line() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) fail(errno, "cannot make a pipe");
  std::pair<Descriptor, Descriptor> line{Descriptor(ends[1]), Descriptor(ends[0])};
  static_cast<void>(take_lease(line.first));  // nobody else knows the pipe
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

News look(const Descriptor& watcher) noexcept {
  pollfd line{.fd = watcher.get(), .events = POLLIN, .revents = 0};
  if (::poll(&line, 1, 0) <= 0) return {};
  News news{.rung = (line.revents & POLLIN) != 0, .hung_up = (line.revents & POLLHUP) != 0};
  if (news.rung) {
    std::array<char, kBufferBytes> drain{};  // one read empties a line; what floods it is read no further
    [[maybe_unused]] const ssize_t drained = ::read(watcher.get(), drain.data(), drain.size());
  }
  return news;
}

bool is_linked(const Descriptor& line) noexcept {
  struct stat st {};
  return ::fstat(line.get(), &st) == 0 && st.st_nlink != 0;
}

}  // namespace nimsync::os
