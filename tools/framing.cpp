#include "tools/framing.hpp"

#include <cstring>
#include <string>

namespace nimsync::tools {
namespace {

std::string counted(std::uint64_t bytes) {
  return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

}  // namespace

Splitter::Splitter(Framing framing, MessageRule rule)
    : framing_(framing), rule_(rule), buffer_(kBlock + rule.size + kLengthBytes + 1) {}

std::span<std::byte> Splitter::room() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  return std::span{buffer_}.subspan(end_);
}

std::optional<std::span<const std::byte>> Splitter::next() {
  switch (framing_) {
    case Framing::lines:
      return next_line();
    case Framing::raw:
      return next_raw();
    case Framing::length:
      return next_with_length();
  }
  return std::nullopt;
}

std::optional<std::span<const std::byte>> Splitter::last() {
  const std::size_t rest = end_ - begin_;
  if (rest == 0) return std::nullopt;
  if (framing_ == Framing::lines) {
    if (!is_allowed(rest)) {
      throw BadInput("line " + std::to_string(messages_ + 1) + " has " + counted(rest) + ", and " + limit());
    }
    return take(0, rest, 0);
  }
  throw BadInput("the input ended at byte " + std::to_string(offset_ + rest) + ", " + counted(rest) + " into message " +
                 std::to_string(messages_ + 1) + (framing_ == Framing::raw ? ", and " + limit() : std::string{}));
}

std::optional<std::span<const std::byte>> Splitter::next_line() {
  const std::size_t there = end_ - begin_;
  const std::byte* from = buffer_.data() + begin_;
  const void* newline = std::memchr(from + searched_, '\n', there - searched_);
  const std::size_t bytes =
      newline == nullptr ? there : static_cast<std::size_t>(static_cast<const std::byte*>(newline) - from);
  if (newline == nullptr && bytes <= rule_.size) {
    searched_ = bytes;
    return std::nullopt;
  }
  if (newline == nullptr || !is_allowed(bytes)) {
    throw BadInput("line " + std::to_string(messages_ + 1) + " has " + (newline == nullptr ? "at least " : "") +
                   counted(bytes) + ", and " + limit());
  }
  return take(0, bytes, 1);
}

std::optional<std::span<const std::byte>> Splitter::next_raw() {
  const std::size_t there = end_ - begin_;
  if (there == 0 || (rule_.is_record && there < rule_.size)) return std::nullopt;
  return take(0, there < rule_.size ? there : rule_.size, 0);
}

std::optional<std::span<const std::byte>> Splitter::next_with_length() {
  if (end_ - begin_ < kLengthBytes) return std::nullopt;
  std::uint32_t bytes = 0;
  for (std::size_t at = kLengthBytes; at-- > 0;) {
    bytes = bytes << 8U | std::to_integer<std::uint32_t>(buffer_[begin_ + at]);
  }
  if (!is_allowed(bytes)) {
    throw BadInput("message " + std::to_string(messages_ + 1) + ", at byte " + std::to_string(offset_) + ", has " +
                   counted(bytes) + ", and " + limit());
  }
  if (end_ - begin_ - kLengthBytes < bytes) return std::nullopt;
  return take(kLengthBytes, bytes, 0);
}

/// Takes a message with what stands before and behind it.
std::span<const std::byte> Splitter::take(std::size_t before, std::size_t bytes, std::size_t behind) noexcept {
  const std::span<const std::byte> message = std::span{buffer_}.subspan(begin_ + before, bytes);
  begin_ += before + bytes + behind;
  offset_ += before + bytes + behind;
  searched_ = 0;
  ++messages_;
  return message;
}

bool Splitter::is_allowed(std::uint64_t bytes) const noexcept {
  return rule_.is_record ? bytes == rule_.size : bytes <= rule_.size;
}

std::string Splitter::limit() const {
  if (rule_.is_record) return "a record of this channel has " + std::to_string(rule_.size);
  return "a message of this channel at most " + std::to_string(rule_.size);
}

Frame frame_for(Framing framing, std::size_t message_bytes) noexcept {
  Frame frame;
  if (framing == Framing::lines) frame.newline_bytes = 1;
  if (framing == Framing::length) {
    frame.before_bytes = Splitter::kLengthBytes;
    for (std::size_t at = 0; at < Splitter::kLengthBytes; ++at) {
      frame.before[at] = static_cast<std::byte>(message_bytes >> (8 * at) & 0xffU);
    }
  }
  return frame;
}

}  // namespace nimsync::tools
