// File descriptors that close themselves, and errno as nimsync::Error.
//
// Threads: as for an int; the functions are reentrant.
#pragma once

#include <string>
#include <utility>

#include "nimsync/error.hpp"

namespace nimsync::os {

/// Owns one file descriptor, or none (-1).
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& from) noexcept : fd_(std::exchange(from.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& from) noexcept {
    if (this != &from) reset(std::exchange(from.fd_, -1));
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept;
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// The errors that say "there is no more of it" are no_space, those that say "you may not" are denied, all else failed.
Errc errc_of(int error) noexcept;

/// "No space left on device", say. Unlike strerror, reentrant.
std::string text_of(int error);

/// Throws Error with `what` (a sentence without its full stop) and the error's text behind it.
[[noreturn]] void fail(int error, const std::string& what);

}  // namespace nimsync::os
