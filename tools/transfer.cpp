#include "tools/transfer.hpp"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

namespace nimsync::tools {
namespace {

std::atomic<const Endpoint*> interrupted_endpoint{nullptr};
std::atomic<int> caught_signal{0};
static_assert(std::atomic<const Endpoint*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void stop(int signal) {
  caught_signal = signal;
  if (const Endpoint* endpoint = interrupted_endpoint) endpoint->interrupt();
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(Errc::failed, what + ": " + std::strerror(errno));
}

/// A descriptor that somebody made non-blocking is waited for.
void wait_until_ready(int fd, short events) {
  pollfd wanted{.fd = fd, .events = events, .revents = 0};
  static_cast<void>(::poll(&wanted, 1, -1));
}

/// Bytes read; 0 at the end.
std::size_t read_some(int fd, std::span<std::byte> room) {
  for (;;) {
    const ssize_t got = ::read(fd, room.data(), room.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EAGAIN) {
      wait_until_ready(fd, POLLIN);
    } else if (errno != EINTR) {
      fail("cannot read the input");
    }
  }
}

Ending write_whole(int fd, std::span<iovec> parts) {
  for (;;) {
    while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
    if (parts.empty()) return Ending::done;
    ssize_t written = ::writev(fd, parts.data(), static_cast<int>(parts.size()));
    if (written < 0) {
      if (errno == EPIPE) return Ending::reader_gone;
      if (errno == EINTR) {
        if (StopOnSignals::caught() != 0) return Ending::signal;
      } else if (errno == EAGAIN) {
        wait_until_ready(fd, POLLOUT);
        if (StopOnSignals::caught() != 0) return Ending::signal;
      } else {
        fail("cannot write the output");
      }
      continue;
    }
    auto left = static_cast<std::size_t>(written);
    for (iovec& part : parts) {
      const std::size_t taken = std::min(left, part.iov_len);
      part.iov_base = static_cast<std::byte*>(part.iov_base) + taken;
      part.iov_len -= taken;
      left -= taken;
    }
  }
}

Ending write_message(int fd, Framing framing, std::span<const std::byte> message) {
  Frame frame = frame_for(framing, message.size());
  char newline = '\n';
  // writev(2) reads only; iovec can't say so.
  std::array<iovec, 3> parts{{
      {frame.before.data(), frame.before_bytes},
      {const_cast<std::byte*>(message.data()), message.size()},
      {&newline, frame.newline_bytes},
  }};
  return write_whole(fd, parts);
}

}  // namespace

Status send_all(int in, Splitter& splitter, Sender<Bytes>& sender, const SendRules& rules, Count& count) {
  bool is_receiver_lost = false;  // check() says so once; it matters when the ring is full
  const auto send = [&](std::span<const std::byte> message) {
    Status status = sender.try_send(message);
    if (status == Status::would_block) {
      if (is_receiver_lost && !rules.has_receiver()) return Status{Status::peer_lost};
      is_receiver_lost = false;
      status = sender.send(message, rules.timeout);
    }
    if (status == Status::ok) {
      ++count.messages;
      count.bytes += message.size();
    }
    return status;
  };

  for (;;) {
    const std::size_t got = read_some(in, splitter.room());
    splitter.added(got);
    const Status status = sender.check();
    if (status == Status::peer_lost) {
      is_receiver_lost = true;
    } else if (status != Status::ok) {
      return status;
    }
    while (const auto message = splitter.next()) {
      if (const Status sent = send(*message); sent != Status::ok) return sent;
    }
    if (got == 0) break;
  }
  if (const auto message = splitter.last()) return send(*message);
  return Status::ok;
}

Received receive_all(Receiver<Bytes>& receiver, int out, const ReceiveRules& rules, Count& count) {
  for (;;) {
    if (rules.count && count.messages >= *rules.count) return {Ending::done};
    if (StopOnSignals::caught() != 0) return {Ending::signal};
    std::span<const std::byte> message;
    const Status status = rules.wait ? receiver.receive(message, rules.timeout) : receiver.try_receive(message);
    switch (status) {
      case Status::ok:
        break;
      case Status::would_block:
        return {Ending::done};
      case Status::closed:
        if (!rules.wait) return {Ending::done};
        if (!rules.follow) return {Ending::status, status};
        continue;
      case Status::peer_lost:
        if (!rules.follow) return {Ending::status, status};
        continue;
      case Status::interrupted:
        continue;
      default:
        return {Ending::status, status};
    }
    const Ending written = write_message(out, rules.framing, message);
    if (written != Ending::done) return {written};
    count.bytes += message.size();
    ++count.messages;
    receiver.release();
  }
}

StopOnSignals::StopOnSignals(const Endpoint& endpoint) {
  caught_signal = 0;
  interrupted_endpoint = &endpoint;
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    static_cast<void>(::sigaction(signal, nullptr, &action));
    if (action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = stop;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    static_cast<void>(::sigaction(signal, &action, nullptr));
  }
}

StopOnSignals::~StopOnSignals() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    static_cast<void>(::sigaction(signal, nullptr, &action));
    if (action.sa_handler != stop) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    static_cast<void>(::sigaction(signal, &action, nullptr));
  }
  interrupted_endpoint = nullptr;
}

int StopOnSignals::caught() noexcept {
  return caught_signal;
}

}  // namespace nimsync::tools
