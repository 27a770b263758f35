// Links of Boost: Lockfree's spsc_queue in a managed segment, and Interprocess's message_queue.
#pragma once

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/loops.hpp"

namespace bench {

/// boost::lockfree::spsc_queue of a fixed capacity, in a managed segment of Boost.Interprocess.
template <std::size_t Size, std::size_t Capacity>
class BoostLink {
  using Queue = boost::lockfree::spsc_queue<Record<Size>, boost::lockfree::capacity<Capacity>>;

 public:
  class Sender {
   public:
    explicit Sender(Queue* queue) noexcept : queue_(queue) {}
    [[gnu::always_inline]] bool try_send(const Record<Size>& record) noexcept { return queue_->push(record); }
    [[gnu::always_inline]] std::size_t try_send_some(std::span<const Record<Size>> records) noexcept {
      return queue_->push(records.data(), records.size());
    }

   private:
    Queue* queue_;
  };

  class Receiver {
   public:
    explicit Receiver(Queue* queue) noexcept : queue_(queue) {}
    [[gnu::always_inline]] bool try_receive(Record<Size>& record) noexcept { return queue_->pop(record); }
    [[gnu::always_inline]] std::size_t try_receive_some(std::span<Record<Size>> records) noexcept {
      return queue_->pop(records.data(), records.size());
    }

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

/// boost::interprocess::message_queue: messages of up to `bytes`, in its own segment, under its mutex.
class BoostMessageQueueLink {
  using Queue = boost::interprocess::message_queue;

 public:
  class Sender {
   public:
    explicit Sender(std::unique_ptr<Queue> queue) : queue_(std::move(queue)) {}
    template <std::size_t Size>
    bool try_send(const Record<Size>& record) {
      return queue_->try_send(&record, sizeof record, 0);
    }
    bool try_send(std::span<const std::byte> message) { return queue_->try_send(message.data(), message.size(), 0); }

   private:
    std::unique_ptr<Queue> queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::unique_ptr<Queue> queue) : queue_(std::move(queue)), message_(queue_->get_max_msg_size()) {}
    template <std::size_t Size>
    bool try_receive(Record<Size>& record) {
      std::size_t got = 0;
      unsigned priority = 0;
      return queue_->try_receive(&record, sizeof record, got, priority) && got == sizeof record;
    }
    template <std::size_t Size>
    bool receive(Record<Size>& record) {
      std::size_t got = 0;
      unsigned priority = 0;
      queue_->receive(&record, sizeof record, got, priority);
      return got == sizeof record;
    }
    std::span<const std::byte> peek() {
      std::size_t got = 0;
      unsigned priority = 0;
      if (!queue_->try_receive(message_.data(), message_.size(), got, priority)) return {};
      return {message_.data(), got};
    }
    void release() noexcept {}

   private:
    std::unique_ptr<Queue> queue_;
    std::vector<std::byte> message_;
  };

  BoostMessageQueueLink(std::string name, std::size_t messages, std::size_t bytes)
      : name_(std::move(name)), messages_(messages), bytes_(bytes) {}
  BoostMessageQueueLink(const BoostMessageQueueLink&) = delete;
  BoostMessageQueueLink& operator=(const BoostMessageQueueLink&) = delete;
  ~BoostMessageQueueLink() { remove_names(); }

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() { return Sender(queue()); }
  Receiver open_receiver() { return Receiver(queue()); }
  void remove_names() noexcept { Queue::remove(name_.c_str()); }

 private:
  std::unique_ptr<Queue> queue() {
    return std::make_unique<Queue>(boost::interprocess::open_or_create, name_.c_str(), messages_, bytes_);
  }

  std::string name_;
  std::size_t messages_;
  std::size_t bytes_;
};

}  // namespace bench
