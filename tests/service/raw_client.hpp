// A client that isn't ours: bytes to the registry's socket and back, with the descriptors that come along.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.hpp"

namespace nimsync::testing {

class RawClient {
 public:
  explicit RawClient(const std::string& path);

  /// Sends bytes as they are; false when the connection has ended.
  bool send(std::string_view bytes);
  /// Sends descriptors with a byte string, which nobody asked for: any number of them.
  bool send_descriptors(std::string_view bytes, std::span<const int> gifts);
  /// The next message; nothing when the connection ended before. Waits under the watchdog.
  std::optional<nlohmann::json> receive();
  /// A call and its reply.
  nlohmann::json call(const std::string& method, const nlohmann::json& parameters, bool more = false);
  /// Whether the registry ends the connection, with nothing more to read.
  bool ends();

  [[nodiscard]] int fd() const { return socket_.get(); }
  std::vector<os::Descriptor> descriptors;  // all that came

 private:
  os::Descriptor socket_;
  std::string received_;
};

}  // namespace nimsync::testing
