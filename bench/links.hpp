// Links: how each contestant carries records one way. A link is made before the fork; each process then opens its end.
//
// A link has the types Sender and Receiver (as loops.hpp wants them), open_sender(), open_receiver() and
// remove_names(). The first of the two that is called makes what is missing.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "bench/loops.hpp"
#include "bench/shared.hpp"
#include "nimsync/nimsync.hpp"

namespace bench {

/// One cache line with one word: less than this no message can cost. Holds one message and never says full: for
/// questions and answers only.
class LineLink {
  struct alignas(128) Line {
    std::atomic<std::uint64_t> number;
  };

 public:
  class Sender {
   public:
    explicit Sender(Line& line) noexcept : line_(&line) {}
    [[gnu::always_inline]] bool try_send(const Record<8>& record) noexcept {
      line_->number.store(record.words[0], std::memory_order_release);
      return true;
    }

   private:
    Line* line_;
  };

  class Receiver {
   public:
    explicit Receiver(Line& line) noexcept : line_(&line) {}
    [[gnu::always_inline]] bool try_receive(Record<8>& record) noexcept {
      const std::uint64_t number = line_->number.load(std::memory_order_acquire);
      if (number == last_) return false;
      last_ = number;
      record.words[0] = number;
      return true;
    }

   private:
    Line* line_;
    std::uint64_t last_ = 0;
  };

  Sender open_sender() { return Sender(*line_); }
  Receiver open_receiver() { return Receiver(*line_); }
  void remove_names() noexcept {}

 private:
  Shared<Line> line_;
};

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
template <std::size_t Size, template <std::size_t, class> class SendingRing,
          template <std::size_t, class> class ReceivingRing>
class RingLink {
 public:
  class Sender {
   public:
    explicit Sender(const nimsync::RingMemory& memory) noexcept : ring_(memory, nimsync::Resume{}) {}
    [[gnu::always_inline]] nimsync::Status try_send(const Record<Size>& record) noexcept {
      return ring_.try_send(reinterpret_cast<const std::byte*>(&record));
    }

   private:
    SendingRing<Size, nimsync::Native> ring_;
  };

  class Receiver {
   public:
    explicit Receiver(const nimsync::RingMemory& memory) noexcept : ring_(memory, nimsync::Resume{}) {}
    [[gnu::always_inline]] nimsync::Status try_receive(Record<Size>& record) noexcept {
      return ring_.try_receive(reinterpret_cast<std::byte*>(&record));
    }

   private:
    ReceivingRing<Size, nimsync::Native> ring_;
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

/// boost::lockfree::spsc_queue of a fixed capacity, in a managed segment of Boost.Interprocess.
template <std::size_t Size, std::size_t Capacity>
class BoostLink {
  using Queue = boost::lockfree::spsc_queue<Record<Size>, boost::lockfree::capacity<Capacity>>;

 public:
  class Sender {
   public:
    explicit Sender(Queue* queue) noexcept : queue_(queue) {}
    [[gnu::always_inline]] bool try_send(const Record<Size>& record) noexcept { return queue_->push(record); }

   private:
    Queue* queue_;
  };

  class Receiver {
   public:
    explicit Receiver(Queue* queue) noexcept : queue_(queue) {}
    [[gnu::always_inline]] bool try_receive(Record<Size>& record) noexcept { return queue_->pop(record); }

   private:
    Queue* queue_;
  };

  explicit BoostLink(std::string name) : name_(std::move(name)) {}
  BoostLink(const BoostLink&) = delete;
  BoostLink& operator=(const BoostLink&) = delete;
  ~BoostLink() { remove_names(); }

  Sender open_sender() { return Sender(queue()); }
  Receiver open_receiver() { return Receiver(queue()); }
  void remove_names() noexcept { boost::interprocess::shared_memory_object::remove(name_.c_str()); }

 private:
  Queue* queue() {
    using boost::interprocess::managed_shared_memory;
    constexpr std::size_t kBookkeeping = std::size_t{16} << 10;
    segment_ = std::make_unique<managed_shared_memory>(boost::interprocess::open_or_create, name_.c_str(),
                                                       sizeof(Queue) + kBookkeeping);
    return segment_->template find_or_construct<Queue>("queue")();
  }

  std::string name_;
  std::unique_ptr<boost::interprocess::managed_shared_memory> segment_;
};

}  // namespace bench
