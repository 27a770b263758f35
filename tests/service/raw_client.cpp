#include "tests/service/raw_client.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "os/socket.hpp"

namespace nimsync::testing {

RawClient::RawClient(const std::string& path) {
  int error = 0;
  socket_ = os::connect(path, 60'000, error);
  if (!socket_) throw std::runtime_error("cannot connect: " + os::text_of(error));
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const os::Transfer put = os::send_some(socket_, std::as_bytes(std::span(bytes)), {});
    if (put.error != 0) return false;
    bytes.remove_prefix(put.bytes);
  }
  return true;
}

bool RawClient::send_descriptors(std::string_view bytes, std::span<const int> gifts) {
  std::vector<char> control(CMSG_SPACE(gifts.size_bytes()));
  iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(gifts.size_bytes());
  std::memcpy(CMSG_DATA(header), gifts.data(), gifts.size_bytes());
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

std::optional<nlohmann::json> RawClient::receive() {
  for (;;) {
    if (const std::size_t end = received_.find('\0'); end != std::string::npos) {
      auto message = nlohmann::json::parse(received_.substr(0, end));
      received_.erase(0, end + 1);
      return message;
    }
    std::array<std::byte, 4096> buffer{};
    const os::Transfer got = os::receive_some(socket_, buffer, descriptors);
    if (got.error == EAGAIN) throw std::runtime_error("the registry does not answer");
    if (got.error != 0) return std::nullopt;
    received_.append(reinterpret_cast<const char*>(buffer.data()), got.bytes);
  }
}

nlohmann::json RawClient::call(const std::string& method, const nlohmann::json& parameters, bool more) {
  nlohmann::json message{{"method", method}, {"parameters", parameters}};
  if (more) message["more"] = true;
  send(message.dump() + '\0');
  auto reply = receive();
  if (!reply) throw std::runtime_error("the registry ended the connection");
  return *reply;
}

bool RawClient::ends() {
  return !receive().has_value();
}

}  // namespace nimsync::testing
