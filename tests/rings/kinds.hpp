// One face for all rings: what the conformance suite, the crash checks and the hostile peer drive.
//
// A Kind is a ring with its layout and record size; it makes sending and receiving sides over a memory, each going on
// where the memory says that the last one stopped. The sides forward each call to the ring's halves, nothing more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nimsync/dense_ring.hpp"
#include "nimsync/framed_ring.hpp"
#include "nimsync/stamped_ring.hpp"

namespace nimsync::rings_test {

using Message = std::vector<std::byte>;
using View = std::span<const std::byte>;

class Sending {
 public:
  Sending() = default;
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  virtual ~Sending() = default;

  virtual Status try_send(View message) = 0;
  /// Records one behind the other. Frames: not to be called.
  virtual std::size_t try_send_some(View records) = 0;
  virtual std::span<std::byte> reserve(std::size_t n) = 0;
  virtual void commit(std::size_t n) = 0;
  virtual void close() = 0;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual std::uint64_t capacity() const = 0;
  [[nodiscard]] virtual Status look() const = 0;
};

class Receiving {
 public:
  Receiving() = default;
  Receiving(const Receiving&) = delete;
  Receiving& operator=(const Receiving&) = delete;
  virtual ~Receiving() = default;

  /// Copies out (records), or shows, copies and releases (frames).
  virtual Status try_receive(Message& message) = 0;
  /// Frames: not to be called.
  virtual std::size_t try_receive_some(std::span<std::byte> records) = 0;
  virtual Status try_peek(std::size_t count, View& messages) = 0;
  virtual void release(std::size_t count) = 0;
  virtual void next_stream() = 0;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual std::uint64_t capacity() const = 0;
  [[nodiscard]] virtual Status look() const = 0;
};

template <class Half, bool Framed>
class SendingOf final : public Sending {
 public:
  SendingOf(const RingMemory& memory, const Resume& resume) : half_(memory, resume), size_(memory.geometry.size) {}

  Status try_send(View message) override {
    if constexpr (!Framed) {
      if (message.size() == size_) return half_.try_send(message.data());
    }
    return half_.try_send(message);
  }
  std::size_t try_send_some([[maybe_unused]] View records) override {
    if constexpr (Framed) {
      return 0;
    } else {
      return half_.try_send_some(records.data(), records.size() / size_);
    }
  }
  std::span<std::byte> reserve(std::size_t n) override { return half_.reserve(n); }
  void commit(std::size_t n) override { half_.commit(n); }
  void close() override { half_.close(); }
  [[nodiscard]] std::uint64_t size() const override { return half_.size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return half_.capacity(); }
  [[nodiscard]] Status look() const override { return half_.look(); }

 private:
  Half half_;
  std::size_t size_;
};

template <class Half, bool Framed>
class ReceivingOf final : public Receiving {
 public:
  ReceivingOf(const RingMemory& memory, const Resume& resume) : half_(memory, resume), size_(memory.geometry.size) {}

  Status try_receive(Message& message) override {
    if constexpr (Framed) {
      View shown;
      const Status status = half_.try_peek(1, shown);
      if (status != Status::ok) return status;
      message.assign(shown.begin(), shown.end());
      half_.release(1);
      return Status::ok;
    } else {
      message.resize(size_);
      return half_.try_receive(message.data());
    }
  }
  std::size_t try_receive_some([[maybe_unused]] std::span<std::byte> records) override {
    if constexpr (Framed) {
      return 0;
    } else {
      return half_.try_receive_some(records.data(), records.size() / size_);
    }
  }
  Status try_peek(std::size_t count, View& messages) override { return half_.try_peek(count, messages); }
  void release(std::size_t count) override { half_.release(count); }
  void next_stream() override { half_.next_stream(); }
  [[nodiscard]] std::uint64_t size() const override { return half_.size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return half_.capacity(); }
  [[nodiscard]] Status look() const override { return half_.look(); }

 private:
  Half half_;
  std::size_t size_;
};

struct Kind {
  std::string name;
  Layout layout = Layout::stamped;
  std::size_t size = 0;  // of a record; frames: 0, the channel's geometry says
  std::unique_ptr<Sending> (*sending)(const RingMemory&, const Resume&) = nullptr;
  std::unique_ptr<Receiving> (*receiving)(const RingMemory&, const Resume&) = nullptr;
  std::optional<std::uint64_t> (*tail)(const RingMemory&, std::uint64_t from) noexcept = nullptr;

  [[nodiscard]] bool framed() const { return layout == Layout::framed; }

  /// Where a sender and a receiver that attach to `memory` go on; nothing when the tail can't be found.
  [[nodiscard]] std::optional<Resume> resume_sending(const RingMemory& memory) const {
    const layout::Header& header = memory.forward_header()->common;
    const auto position = tail(memory, header.position & layout::kPositionMask);
    if (!position) return std::nullopt;
    return Resume{*position, header.streams};
  }
  [[nodiscard]] static Resume resume_receiving(const RingMemory& memory) {
    return {memory.return_header()->position, memory.return_header()->streams};
  }
};

template <class Half, bool Framed>
std::unique_ptr<Sending> sending(const RingMemory& memory, const Resume& resume) {
  return std::make_unique<SendingOf<Half, Framed>>(memory, resume);
}
template <class Half, bool Framed>
std::unique_ptr<Receiving> receiving(const RingMemory& memory, const Resume& resume) {
  return std::make_unique<ReceivingOf<Half, Framed>>(memory, resume);
}

/// The size of `Record` is `Known` to the compiler, or kSizeAtRunTime.
template <class Policy, std::size_t Record, std::size_t Known = Record>
Kind stamped() {
  return {"stamped ring, records of " + std::to_string(Record),
          Layout::stamped,
          Record,
          sending<StampedSender<Known, Policy>, false>,
          receiving<StampedReceiver<Known, Policy>, false>,
          find_tail<Policy>};
}
template <class Policy, std::size_t Record, std::size_t Known = Record>
Kind dense() {
  return {"dense ring, records of " + std::to_string(Record),
          Layout::dense,
          Record,
          sending<DenseSender<Known, Policy>, false>,
          receiving<DenseReceiver<Known, Policy>, false>,
          find_tail<Policy>};
}
template <class Policy>
Kind framed() {
  return {
      "framed ring",    Layout::framed, 0, sending<FramedSender<Policy>, true>, receiving<FramedReceiver<Policy>, true>,
      find_tail<Policy>};
}

}  // namespace nimsync::rings_test
