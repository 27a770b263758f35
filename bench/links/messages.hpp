// What every link of plain bytes offers: records as messages, and messages copied out to where they can be looked at.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "bench/loops.hpp"

namespace bench {

/// `Raw` has `bool try_send(std::span<const std::byte>)`.
template <class Raw>
class MessageSender {
 public:
  explicit MessageSender(Raw raw) noexcept : raw_(std::move(raw)) {}
  template <std::size_t Size>
  bool try_send(const Record<Size>& record) {
    return raw_.try_send(std::as_bytes(std::span(&record, 1)));
  }
  bool try_send(std::span<const std::byte> message) { return raw_.try_send(message); }

 private:
  Raw raw_;
};

/// `Raw` has `bool try_receive(std::span<std::byte>)`, for messages of exactly that length. Where it blocks, receive()
/// does.
template <class Raw>
class MessageReceiver {
 public:
  MessageReceiver(Raw raw, std::size_t bytes) : raw_(std::move(raw)), message_(bytes) {}
  template <std::size_t Size>
  bool try_receive(Record<Size>& record) {
    return raw_.try_receive(std::as_writable_bytes(std::span(&record, 1)));
  }
  template <std::size_t Size>
  bool receive(Record<Size>& record) {
    return try_receive(record);
  }
  std::span<const std::byte> peek() {
    if (!raw_.try_receive(message_)) return {};
    return message_;
  }
  void release() noexcept {}

 private:
  Raw raw_;
  std::vector<std::byte> message_;
};

}  // namespace bench
