// Varlink on the wire: NUL-terminated JSON objects, and the calls, replies and errors in them.
//
// Pure: bytes and values, no I/O, no clock. https://varlink.org has the specification.
//
// Limits: a message of at most kMaxMessage bytes and kMaxNesting levels; beyond is an error of the connection, since
// what follows can't be trusted to begin where it should.
//
// Threads: each Splitter by one at a time; the functions are reentrant.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "nimsync/error.hpp"

namespace nimsync::protocol {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxMessage = std::size_t{64} << 10;
inline constexpr std::size_t kMaxNesting = 16;

/// What was received isn't Varlink.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Cuts a stream of bytes into messages. Holds at most kMaxMessage bytes beyond the messages that are complete.
class Splitter {
 public:
  /// Adds what was received.
  void add(std::span<const std::byte> bytes);
  /// The next complete message, without its NUL. Throws Malformed for one that is too long, as soon as that is known.
  std::optional<std::string> next();
  [[nodiscard]] std::size_t pending() const noexcept { return buffer_.size() - begin_; }

 private:
  std::string buffer_;
  std::size_t begin_ = 0;    // of the first message that wasn't taken
  std::size_t scanned_ = 0;  // no NUL between begin_ and here
};

struct Call {
  std::string interface;  // "io.nimsync.registry"
  std::string method;     // "Open"
  Json parameters;        // an object
  bool oneway = false;
  bool more = false;
};

/// A message as a call. Throws Malformed.
Call parse_call(std::string_view message);

struct Reply {
  std::string error;  // whole name; empty when it is none
  Json parameters;    // an object
  bool continues = false;
};

/// A message as a reply. Throws Malformed.
Reply parse_reply(std::string_view message);

// Messages to send, with their NUL.
std::string call(std::string_view interface, std::string_view method, Json parameters, bool more = false);
std::string reply(Json parameters, bool continues = false);
std::string error_reply(std::string_view error, Json parameters);
/// One of our own: "io.nimsync.registry.InUse" and its sentence.
std::string error_reply(Errc code, std::string_view sentence);

/// The code of one of our own errors; nothing for another's.
std::optional<Errc> own_error(std::string_view error);

}  // namespace nimsync::protocol
