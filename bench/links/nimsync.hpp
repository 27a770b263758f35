// Links of nimsync's own: a channel as users have it, and the bare ring below it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>

#include "bench/loops.hpp"
#include "nimsync/nimsync.hpp"

namespace bench {

/// "stamped, protected" and the like.
inline std::string kind_of(nimsync::Layout layout, bool protect) {
  return std::string(nimsync::name(layout)) + (protect ? ", protected" : "");
}

/// A channel as users have it: opened by name through the registry.
template <std::size_t Size>
class ChannelLink {
 public:
  using Sender = nimsync::Sender<Record<Size>>;
  using Receiver = nimsync::Receiver<Record<Size>>;

  ChannelLink(std::string socket, std::string name, nimsync::Options options)
      : socket_(std::move(socket)), name_(std::move(name)), options_(std::move(options)) {}

  Sender open_sender() { return nimsync::Registry::connect(socket_).sender<Record<Size>>(name_, options_); }
  Receiver open_receiver() { return nimsync::Registry::connect(socket_).receiver<Record<Size>>(name_, options_); }
  void remove_names() noexcept {}  // the registry's, and ends with it

 private:
  std::string socket_;
  std::string name_;
  nimsync::Options options_;
};

/// The bare ring: the same algorithm over memory mapped here, without endpoint, registry or lines.
template <std::size_t Size, template <std::size_t, class, class> class SendingRing,
          template <std::size_t, class, class> class ReceivingRing>
class RingLink {
 public:
  class Sender {
   public:
    explicit Sender(const nimsync::RingMemory& memory) noexcept : ring_(memory, nimsync::Resume{}) {}
    [[gnu::always_inline]] nimsync::Status try_send(const Record<Size>& record) noexcept {
      std::byte* place = nullptr;
      const nimsync::Status status = ring_.try_claim(place);
      if (status != nimsync::Status::ok) return status;
      nimsync::Native::copy<Size>(place, reinterpret_cast<const std::byte*>(&record), Size);
      ring_.publish(place);
      return nimsync::Status::ok;
    }

   private:
    SendingRing<Size, nimsync::Native, nimsync::SendState> ring_;
  };

  class Receiver {
   public:
    explicit Receiver(const nimsync::RingMemory& memory) noexcept : ring_(memory, nimsync::Resume{}) {}
    [[gnu::always_inline]] nimsync::Status try_receive(Record<Size>& record) noexcept {
      const std::byte* place = nullptr;
      const nimsync::Status status = ring_.try_find(place);
      if (status != nimsync::Status::ok) return status;
      record = *reinterpret_cast<const Record<Size>*>(place);
      ring_.free_one();
      return nimsync::Status::ok;
    }

   private:
    ReceivingRing<Size, nimsync::Native, nimsync::ReceiveState> ring_;
  };

  RingLink(nimsync::Layout layout, std::size_t capacity, bool protect)
      : geometry_{layout, Size, capacity},
        protect_(protect),
        forward_(nimsync::layout::forward_bytes(geometry_, page())),
        back_(nimsync::layout::return_bytes(page())) {}

  Sender open_sender() { return Sender(map(true, !protect_)); }
  Receiver open_receiver() { return Receiver(map(!protect_, true)); }
  void remove_names() noexcept {}

 private:
  /// Memory without a name, so that each process can map it with the access of its side. A mapping lasts until the
  /// process ends.
  class Segment {
   public:
    explicit Segment(std::size_t bytes) : bytes_(bytes), fd_(::memfd_create("nimsync_bench", MFD_CLOEXEC)) {
      if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) {
        throw std::system_error(errno, std::generic_category(), "memory for a bare ring");
      }
    }
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment() { ::close(fd_); }

    [[nodiscard]] std::byte* map(bool writable) const {
      const int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
      void* const memory = ::mmap(nullptr, bytes_, access, MAP_SHARED | MAP_POPULATE, fd_, 0);
      if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mapping a bare ring");
      return static_cast<std::byte*>(memory);
    }

   private:
    std::size_t bytes_;
    int fd_;
  };

  static std::size_t page() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

  nimsync::RingMemory map(bool forward_writable, bool back_writable) const {
    std::byte* const forward = forward_.map(forward_writable);
    return {.forward = forward,
            .back = back_.map(back_writable),
            .ring = forward + nimsync::layout::ring_offset(geometry_.layout, page()),
            .geometry = geometry_};
  }

  nimsync::Geometry geometry_;
  bool protect_;
  Segment forward_;
  Segment back_;
};

template <std::size_t Size>
using StampedLink = RingLink<Size, nimsync::StampedSender, nimsync::StampedReceiver>;
template <std::size_t Size>
using DenseLink = RingLink<Size, nimsync::DenseSender, nimsync::DenseReceiver>;

}  // namespace bench
