// Unix stream sockets that carry descriptors, and who is at the other end.
//
// Threads: the functions are reentrant. Errors: Error, but for what a caller must expect: see Transfer.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "os/descriptor.hpp"

namespace nimsync::os {

/// As many descriptors as a message may carry.
inline constexpr std::size_t kMaxDescriptors = 4;

/// What came of a send or a receive: bytes, or 0 and why. `error` is an errno; ECONNRESET also for an orderly end.
struct Transfer {
  std::size_t bytes = 0;
  int error = 0;  // EAGAIN: would block, or timed out
};

/// Sends what it can of `bytes`, `descriptors` with the first of them. Never raises SIGPIPE.
Transfer send_some(const Descriptor& socket, std::span<const std::byte> bytes,
                   std::span<const int> descriptors) noexcept;

/// Receives what is there. Descriptors that come with it are appended, and close on exec. More than kMaxDescriptors in
/// one message is EPROTO, and fewer than came, because this process may not have more, EMFILE; then all are closed.
Transfer receive_some(const Descriptor& socket, std::span<std::byte> buffer,
                      std::vector<Descriptor>& descriptors) noexcept;

/// A connection to the socket at `path`; an invalid Descriptor and errno in `error` when there is none. Sending and
/// receiving block, at most `timeout_ms`; 0 is for ever.
Descriptor connect(const std::string& path, unsigned timeout_ms, int& error);
/// Lets nobody send descriptors over `socket`, and over the connections that are made to it from now on: who tries gets
/// EPERM. False where the kernel doesn't know how (before Linux 6.16).
///
/// Whoever has been sent a descriptor has to close it, unread or not, and closing some takes as long as the sender
/// likes: a TCP connection that lingers, say.
bool refuse_descriptors(int socket) noexcept;

/// Changes that time.
void set_timeout(const Descriptor& socket, unsigned timeout_ms);

/// Who made the connection, from the kernel.
struct Credentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
};
Credentials credentials(int socket);

/// Whether there is something to receive: bytes, or the connection's end. Takes nothing.
bool has_news(const Descriptor& socket) noexcept;

/// Bytes sent that the other end hasn't read.
std::size_t unread(const Descriptor& socket) noexcept;

/// Whether a small message would go out at once. Error: it can't be told.
bool has_room(const Descriptor& socket);

}  // namespace nimsync::os
