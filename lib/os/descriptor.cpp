#include "os/descriptor.hpp"

#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace nimsync::os {

void Descriptor::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Errc errc_of(int error) noexcept {
  switch (error) {
    case ENOSPC:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
    case ENOBUFS:
    case ETOOMANYREFS:
      return Errc::no_space;
    case EACCES:
    case EPERM:
      return Errc::denied;
    default:
      return Errc::failed;
  }
}

std::string text_of(int error) {
  return std::generic_category().message(error);
}

void fail(int error, const std::string& what) {
  throw Error(errc_of(error), what + ": " + text_of(error));
}

}  // namespace nimsync::os
