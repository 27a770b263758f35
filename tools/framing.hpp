// Framing: how messages lie in a stream of bytes, at standard input and output.
//
//   lines   each message and a newline. What the newline ends is a message, an empty line an empty one; the last line
//           needs no newline.
//   raw     messages and nothing else. Records are told apart by their size; frames become what each read gave, in
//           pieces of at most the largest message.
//   length  four bytes, the message's length (little-endian), then the message.
//
// Thread-safe: one thread at a time for each Splitter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace nimsync::tools {

enum class Framing : std::uint8_t { lines, raw, length };

/// What a channel takes: messages of `size` bytes (records), or of at most `size` (frames).
struct MessageRule {
  std::uint64_t size = 0;
  bool is_record = false;
};

/// Input that is no sequence of messages for this channel. The text says which line, message or byte.
class BadInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Cuts a stream of bytes into messages, wherever its blocks begin and end.
///
///     read into room(), say added(), take next() until there is none; at the end of the input take last() too.
class Splitter {
 public:
  static constexpr std::size_t kBlock = std::size_t{256} << 10;
  static constexpr std::size_t kLengthBytes = 4;

  Splitter(Framing framing, MessageRule rule);

  /// Where to put the next bytes: at least kBlock of them. Ends the validity of messages given before.
  [[nodiscard]] std::span<std::byte> room();
  void added(std::size_t bytes) noexcept { end_ += bytes; }

  /// The next whole message, or nothing. Throws BadInput for one that the channel can't take.
  [[nodiscard]] std::optional<std::span<const std::byte>> next();
  /// At the end of the input, after next() gave nothing: the line without a newline, or nothing. Throws BadInput when
  /// the input ended within a message.
  [[nodiscard]] std::optional<std::span<const std::byte>> last();

 private:
  [[nodiscard]] std::optional<std::span<const std::byte>> next_line();
  [[nodiscard]] std::optional<std::span<const std::byte>> next_raw();
  [[nodiscard]] std::optional<std::span<const std::byte>> next_with_length();
  [[nodiscard]] std::span<const std::byte> take(std::size_t before, std::size_t bytes, std::size_t behind) noexcept;
  [[nodiscard]] bool is_allowed(std::uint64_t bytes) const noexcept;
  [[nodiscard]] std::string limit() const;

  Framing framing_;
  MessageRule rule_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of what wasn't taken yet
  std::size_t end_ = 0;
  std::size_t searched_ = 0;    // bytes from begin_ on that hold no newline
  std::uint64_t offset_ = 0;    // of begin_ in the stream
  std::uint64_t messages_ = 0;  // taken
};

/// What stands before and behind a message in the output.
struct Frame {
  std::array<std::byte, Splitter::kLengthBytes> before{};
  std::size_t before_bytes = 0;
  std::size_t newline_bytes = 0;  // 1 or 0
};
Frame frame_for(Framing framing, std::size_t message_bytes) noexcept;

}  // namespace nimsync::tools
