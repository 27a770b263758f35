#include "tests/faults/calls.hpp"

#include <fcntl.h>
#include <string.h>  // strerrorname_np
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace nimsync::testing {

std::span<const FallibleCall> fallible_calls() {
  static const std::vector<FallibleCall> table{
      {SYS_openat, "openat", {EMFILE, ENOMEM, ENOSPC, EIO}},
      {SYS_newfstatat, "newfstatat", {ENOMEM, EIO}},
      {SYS_statfs, "statfs", {ENOMEM, EIO}},
      {SYS_fstatfs, "fstatfs", {ENOMEM, EIO}},
      {SYS_readlink, "readlink", {ENOMEM, EIO}},
      {SYS_readlinkat, "readlinkat", {ENOMEM, EIO}},
      {SYS_mkdir, "mkdir", {ENOSPC, ENOMEM, EIO}},
      {SYS_mkdirat, "mkdirat", {ENOSPC, ENOMEM, EIO}},
      {SYS_mknodat, "mknodat", {ENOSPC, ENOMEM, EIO}},
      {SYS_rename, "rename", {ENOSPC, ENOMEM, EIO}},
      {SYS_renameat, "renameat", {ENOSPC, ENOMEM, EIO}},
      {SYS_renameat2, "renameat2", {ENOSPC, ENOMEM, EIO}},
      {SYS_unlink, "unlink", {ENOMEM, EIO}},
      {SYS_unlinkat, "unlinkat", {ENOMEM, EIO}},
      {SYS_chmod, "chmod", {ENOMEM, EIO}},
      {SYS_fchmod, "fchmod", {EIO}},
      {SYS_ftruncate, "ftruncate", {EINTR, EIO, ENOMEM}},
      {SYS_fallocate, "fallocate", {ENOSPC, EINTR, EIO, ENOMEM}},
      {SYS_memfd_create, "memfd_create", {EMFILE, ENOMEM}},
      {SYS_getdents64, "getdents64", {ENOMEM, EIO}},
      {SYS_read, "read", {EIO, ENOMEM}},
      {SYS_pread64, "pread64", {EIO, ENOMEM}},
      {SYS_write, "write", {ENOSPC, EIO, ENOMEM, EAGAIN}},
      {SYS_pwrite64, "pwrite64", {ENOSPC, EIO, ENOMEM}},
      {SYS_fcntl, "fcntl", {EMFILE, ENOMEM, EPERM}},
      {SYS_socket, "socket", {EMFILE, ENOMEM}},
      {SYS_bind, "bind", {ENOMEM, ENOSPC, EIO}},
      {SYS_connect, "connect", {EINTR, EAGAIN, ENOMEM}},
      {SYS_accept, "accept", {EMFILE, ENOMEM, EINTR}},
      {SYS_accept4, "accept4", {EMFILE, ENOMEM, EINTR}},
      {SYS_sendmsg, "sendmsg", {EAGAIN, EINTR, ENOMEM, ECONNRESET, ETOOMANYREFS}},
      {SYS_recvmsg, "recvmsg", {EAGAIN, EINTR, ENOMEM, ECONNRESET}},
      {SYS_getsockopt, "getsockopt", {ENOMEM}},
      {SYS_setsockopt, "setsockopt", {ENOMEM}},
      {SYS_epoll_create1, "epoll_create1", {EMFILE, ENOMEM}},
      {SYS_epoll_ctl, "epoll_ctl", {ENOMEM, ENOSPC}},
      {SYS_epoll_wait, "epoll_wait", {EINTR}},
      {SYS_epoll_pwait2, "epoll_pwait2", {EINTR}},
      {SYS_poll, "poll", {EINTR, ENOMEM}},
      {SYS_ppoll, "ppoll", {EINTR, ENOMEM}},
      {SYS_eventfd2, "eventfd2", {EMFILE, ENOMEM}},
      {SYS_timerfd_create, "timerfd_create", {EMFILE, ENOMEM}},
      {SYS_pipe2, "pipe2", {EMFILE, ENOMEM}},
      {SYS_pipe, "pipe", {EMFILE, ENOMEM}},
      {SYS_mmap, "mmap", {ENOMEM}},
      {SYS_mremap, "mremap", {ENOMEM}},
      {SYS_madvise, "madvise", {ENOMEM, EIO}},
      {SYS_membarrier, "membarrier", {EPERM}},
  };
  return table;
}

bool can_fail(const Stop& stop, int error) {
  struct stat st {};
  const std::string fd = std::to_string(static_cast<int>(stop.arguments[0]));
  const std::string path = "/proc/" + std::to_string(stop.pid) + "/fd/" + fd;
  const bool is_known = ::stat(path.c_str(), &st) == 0;
  const bool is_file = is_known && S_ISREG(st.st_mode);
  // Not the pipe that tells a loop of a signal: full, it has told already.
  std::error_code ignored;
  const bool has_name = std::filesystem::read_symlink(path, ignored).string().starts_with('/');
  const bool is_line = is_known && S_ISFIFO(st.st_mode) && has_name;
  switch (stop.call) {
    case SYS_openat:
      return error != ENOSPC || (stop.arguments[2] & O_CREAT) != 0;
    case SYS_read:
      return is_file;
    case SYS_write:
      return error == EAGAIN ? is_line : is_file;
    case SYS_fcntl:
      switch (static_cast<int>(stop.arguments[1])) {
        case F_DUPFD_CLOEXEC:
          return error == EMFILE;
        case F_SETPIPE_SZ:
          return error == EPERM || error == ENOMEM;
        case F_OFD_SETLK:
          return error == ENOMEM;
        default:
          return false;
      }
#if defined(__SANITIZE_ADDRESS__)
    case SYS_mmap:
      return (stop.arguments[3] & MAP_SHARED) != 0;  // what else is mapped is the sanitizer's, which ends without it
    case SYS_pipe:
    case SYS_pipe2:
      return false;  // by which the sanitizer asks whether an object's memory is there, and finds a wrong one without
#endif
    case SYS_epoll_ctl:
      return stop.arguments[1] == EPOLL_CTL_ADD;
    default:
      return true;
  }
}

bool is_first_own(const Stop& stop) {
  // The limit of descriptors, read to be raised; the loader asks for that of the stack.
  return stop.is_entry && stop.call == SYS_prlimit64 && stop.arguments[1] == RLIMIT_NOFILE;
}

std::string call_name(long call) {
  const auto table = fallible_calls();
  const auto found = std::find_if(table.begin(), table.end(), [&](const auto& row) { return row.call == call; });
  return found != table.end() ? found->name : "call " + std::to_string(call);
}

std::string error_name(int error) {
  return ::strerrorname_np(error);
}

}  // namespace nimsync::testing
