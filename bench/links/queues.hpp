// Links between two threads of one process: queues that can't leave it, or needn't.
#pragma once

#include <cstddef>
#include <memory>

#include "bench/loops.hpp"

#if NIMSYNC_BENCH_READERWRITERQUEUE
#include <readerwriterqueue/readerwriterqueue.h>
#endif

namespace bench {

/// A queue with push and pop (boost::lockfree::spsc_queue), made by `Make` when it is first opened.
template <std::size_t Size, class Queue, class Make>
class QueueLink {
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

  Sender open_sender() { return Sender(queue()); }
  Receiver open_receiver() { return Receiver(queue()); }
  void remove_names() noexcept {}

 private:
  Queue* queue() {
    if (!queue_) queue_ = Make{}();
    return queue_.get();
  }

  std::unique_ptr<Queue> queue_;
};

#if NIMSYNC_BENCH_READERWRITERQUEUE
/// moodycamel::ReaderWriterQueue under the names above.
template <std::size_t Size, std::size_t Capacity>
class ReaderWriter {
 public:
  [[gnu::always_inline]] bool push(const Record<Size>& record) noexcept { return queue_.try_enqueue(record); }
  [[gnu::always_inline]] bool pop(Record<Size>& record) noexcept { return queue_.try_dequeue(record); }

 private:
  moodycamel::ReaderWriterQueue<Record<Size>> queue_{Capacity};
};
#endif

}  // namespace bench
