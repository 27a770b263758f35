// Links through the kernel: pipe, Unix sockets, POSIX message queue.
//
// They don't block but are called again, as all that is measured for latency and throughput is; the workload `wake`
// takes them blocking. Both processes hold both ends, made before the fork. A record or message is one call where the
// kernel takes it whole; the rest of a partial write or read follows at once.
#pragma once

#include <fcntl.h>
#include <mqueue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "bench/links/messages.hpp"

namespace bench {

enum class Blocking : bool { no, yes };

[[noreturn]] inline void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// Two descriptors: what is written to one is read from the other.
class Descriptors {
 public:
  Descriptors(int write_end, int read_end) noexcept : write_end_(write_end), read_end_(read_end) {}
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  Descriptors(Descriptors&& from) noexcept
      : write_end_(std::exchange(from.write_end_, -1)), read_end_(std::exchange(from.read_end_, -1)) {}
  Descriptors& operator=(Descriptors&&) = delete;
  ~Descriptors() {
    if (write_end_ >= 0) ::close(write_end_);
    if (read_end_ >= 0) ::close(read_end_);
  }

  [[nodiscard]] int write_end() const noexcept { return write_end_; }
  [[nodiscard]] int read_end() const noexcept { return read_end_; }

  /// A pipe of 1 MiB, or of what this user may have.
  static Descriptors pipe(Blocking blocking) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | (blocking == Blocking::no ? O_NONBLOCK : 0)) != 0) throw_errno("making a pipe");
    constexpr int kBytes = 1 << 20;
    static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, kBytes));
    return {ends[1], ends[0]};
  }

  /// A pair of Unix sockets of that type, with buffers for `bytes` (4 MiB and more only for root).
  static Descriptors sockets(int type, Blocking blocking, std::size_t bytes) {
    int ends[2];
    const int flags = SOCK_CLOEXEC | (blocking == Blocking::no ? SOCK_NONBLOCK : 0);
    if (::socketpair(AF_UNIX, type | flags, 0, ends) != 0) throw_errno("making a pair of Unix sockets");
    Descriptors made(ends[0], ends[1]);
    const int size = static_cast<int>(bytes);
    if (::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
      static_cast<void>(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    }
    return made;
  }

 private:
  int write_end_;
  int read_end_;
};

class DescriptorLink {
 public:
  class Output {
   public:
    explicit Output(int fd) noexcept : fd_(fd) {}
    bool try_send(std::span<const std::byte> message) {
      std::size_t done = 0;
      while (done < message.size()) {
        const ssize_t now = ::write(fd_, message.data() + done, message.size() - done);
        if (now >= 0) {
          done += static_cast<std::size_t>(now);
        } else if (errno != EAGAIN) {
          throw_errno("writing " + std::to_string(message.size()) + " bytes");
        } else if (done == 0) {
          return false;
        }
      }
      return true;
    }

   private:
    int fd_;
  };

  class Input {
   public:
    explicit Input(int fd) noexcept : fd_(fd) {}
    bool try_receive(std::span<std::byte> message) {
      std::size_t done = 0;
      while (done < message.size()) {
        const ssize_t now = ::read(fd_, message.data() + done, message.size() - done);
        if (now > 0) {
          done += static_cast<std::size_t>(now);
        } else if (now == 0 || errno != EAGAIN) {
          throw_errno("reading " + std::to_string(message.size()) + " bytes");
        } else if (done == 0) {
          return false;
        }
      }
      return true;
    }

   private:
    int fd_;
  };

  using Sender = MessageSender<Output>;
  using Receiver = MessageReceiver<Input>;

  /// Messages of `bytes`.
  DescriptorLink(Descriptors ends, std::size_t bytes) noexcept : ends_(std::move(ends)), bytes_(bytes) {}

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() { return Sender(Output(ends_.write_end())); }
  Receiver open_receiver() { return {Input(ends_.read_end()), bytes_}; }
  void remove_names() noexcept {}

 private:
  Descriptors ends_;
  std::size_t bytes_;
};

/// A POSIX message queue of as many messages as every user may have.
class PosixQueueLink {
 public:
  class Output {
   public:
    explicit Output(mqd_t queue) noexcept : queue_(queue) {}
    bool try_send(std::span<const std::byte> message) {
      if (::mq_send(queue_, reinterpret_cast<const char*>(message.data()), message.size(), 0) == 0) return true;
      if (errno != EAGAIN) throw_errno("mq_send");
      return false;
    }

   private:
    mqd_t queue_;
  };

  class Input {
   public:
    explicit Input(mqd_t queue) noexcept : queue_(queue) {}
    bool try_receive(std::span<std::byte> message) {
      const ssize_t got = ::mq_receive(queue_, reinterpret_cast<char*>(message.data()), message.size(), nullptr);
      if (got == static_cast<ssize_t>(message.size())) return true;
      if (got >= 0) throw std::runtime_error("mq_receive: a message of another length");
      if (errno != EAGAIN) throw_errno("mq_receive");
      return false;
    }

   private:
    mqd_t queue_;
  };

  using Sender = MessageSender<Output>;
  using Receiver = MessageReceiver<Input>;

  /// Throws std::system_error where the system's limits don't allow messages of `bytes`.
  PosixQueueLink(const std::string& name, Blocking blocking, std::size_t bytes) : bytes_(bytes) {
    constexpr long kMessages = 10;
    mq_attr attributes{};
    attributes.mq_maxmsg = kMessages;
    attributes.mq_msgsize = static_cast<long>(bytes);
    const std::string path = "/" + name;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (blocking == Blocking::no ? O_NONBLOCK : 0);
    queue_ = ::mq_open(path.c_str(), flags, 0600, &attributes);
    if (queue_ < 0) throw_errno("mq_open for messages of " + std::to_string(bytes) + " B");
    ::mq_unlink(path.c_str());
  }
  PosixQueueLink(const PosixQueueLink&) = delete;
  PosixQueueLink& operator=(const PosixQueueLink&) = delete;
  ~PosixQueueLink() { ::mq_close(queue_); }

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() { return Sender(Output(queue_)); }
  Receiver open_receiver() { return {Input(queue_), bytes_}; }
  void remove_names() noexcept {}

 private:
  std::size_t bytes_;
  mqd_t queue_ = -1;
};

}  // namespace bench
