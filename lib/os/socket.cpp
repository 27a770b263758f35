#include "os/socket.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace nimsync::os {

namespace {

constexpr int kPassRights = 83;  // SO_PASSRIGHTS, which older headers don't have

// Room for one more than is allowed, so that one too many is seen as such.
using Control = std::array<std::byte, CMSG_SPACE(sizeof(int) * (kMaxDescriptors + 1))>;

}  // namespace

Transfer send_some(const Descriptor& socket, std::span<const std::byte> bytes,
                   std::span<const int> descriptors) noexcept {
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket.get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return {.error = errno == EPIPE ? ECONNRESET : errno};
  return {.bytes = static_cast<std::size_t>(sent)};
}

Transfer receive_some(const Descriptor& socket, std::span<std::byte> buffer,
                      std::vector<Descriptor>& descriptors) noexcept {
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  alignas(cmsghdr) Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received = -1;
  do {
    received = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return {.error = errno};

  std::vector<Descriptor> came;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      came.emplace_back(fd);
    }
  }
  if (came.size() > kMaxDescriptors) return {.error = EPROTO};
  // Cut short with room left for more: this process may not have more.
  if ((message.msg_flags & MSG_CTRUNC) != 0) return {.error = came.size() < kMaxDescriptors ? EMFILE : EPROTO};
  for (Descriptor& fd : came) descriptors.push_back(std::move(fd));
  if (received == 0) return {.error = ECONNRESET};
  return {.bytes = static_cast<std::size_t>(received)};
}

Descriptor connect(const std::string& path, unsigned timeout_ms, int& error) {
  error = 0;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    error = ENAMETOOLONG;
    return {};
  }
  std::memcpy(static_cast<char*>(address.sun_path), path.c_str(), path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) fail(errno, "cannot make a socket");
  set_timeout(socket, timeout_ms);
  int result = -1;
  do {
    result = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    error = errno;
    return {};
  }
  return socket;
}

bool refuse_descriptors(int socket) noexcept {
  const int no = 0;
  return ::setsockopt(socket, SOL_SOCKET, kPassRights, &no, sizeof no) == 0;
}

void set_timeout(const Descriptor& socket, unsigned timeout_ms) {
  const timeval timeout{.tv_sec = timeout_ms / 1000, .tv_usec = static_cast<suseconds_t>(timeout_ms % 1000) * 1000};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket.get(), SOL_SOCKET, option, &timeout, sizeof timeout) != 0) {
      fail(errno, "cannot set a socket's timeout");
    }
  }
}

Credentials credentials(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) fail(errno, "cannot tell who connected");
  Credentials result{.pid = peer.pid, .uid = peer.uid, .gid = peer.gid, .groups = {}};
  length = 0;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, nullptr, &length) != 0 && errno != ERANGE) {
    fail(errno, "cannot tell the groups of who connected");
  }
  result.groups.resize(length / sizeof(gid_t));
  if (length != 0 && ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, result.groups.data(), &length) != 0) {
    fail(errno, "cannot tell the groups of who connected");
  }
  return result;
}

bool has_news(const Descriptor& socket) noexcept {
  pollfd waiting{.fd = socket.get(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) > 0;
}

std::size_t unread(const Descriptor& socket) noexcept {
  int bytes = 0;
  return ::ioctl(socket.get(), SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

bool has_room(const Descriptor& socket) {
  pollfd waiting{.fd = socket.get(), .events = POLLOUT, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, 0);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) fail(errno, "cannot tell whether a reply would go out");
  return ready > 0 && (waiting.revents & POLLOUT) != 0;
}

}  // namespace nimsync::os
