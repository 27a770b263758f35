// Links through ZeroMQ (libzmq, PUSH and PULL over ipc).
//
// Its calls block, unlike the others': each process has an input-output thread of ZeroMQ's besides, and with a
// processor each there is none to spin on while that thread works.
#pragma once

#include <zmq.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "bench/links/messages.hpp"

namespace bench {

class ZeroMqLink {
  struct Close {
    void operator()(void* socket) const noexcept { ::zmq_close(socket); }
  };
  using Socket = std::unique_ptr<void, Close>;

  [[noreturn]] static void fail(const std::string& what) {
    throw std::runtime_error("ZeroMQ: " + what + ": " + ::zmq_strerror(::zmq_errno()));
  }

 public:
  class Output {
   public:
    explicit Output(Socket socket) noexcept : socket_(std::move(socket)) {}
    bool try_send(std::span<const std::byte> message) {
      if (::zmq_send(socket_.get(), message.data(), message.size(), 0) < 0) fail("zmq_send");
      return true;
    }

   private:
    Socket socket_;
  };

  class Input {
   public:
    explicit Input(Socket socket) noexcept : socket_(std::move(socket)) {}
    bool try_receive(std::span<std::byte> message) {
      const int got = ::zmq_recv(socket_.get(), message.data(), message.size(), 0);
      if (got < 0) fail("zmq_recv");
      if (static_cast<std::size_t>(got) != message.size()) throw std::runtime_error("ZeroMQ: a message was cut");
      return true;
    }

   private:
    Socket socket_;
  };

  using Sender = MessageSender<Output>;
  using Receiver = MessageReceiver<Input>;

  /// `path`: where the socket may lie.
  ZeroMqLink(const std::string& path, std::size_t bytes) : endpoint_("ipc://" + path), bytes_(bytes) {}

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() {
    Socket made = socket(ZMQ_PUSH);
    if (::zmq_bind(made.get(), endpoint_.c_str()) != 0) fail("zmq_bind");
    return Sender(Output(std::move(made)));
  }
  Receiver open_receiver() {
    Socket made = socket(ZMQ_PULL);
    if (::zmq_connect(made.get(), endpoint_.c_str()) != 0) fail("zmq_connect");
    return {Input(std::move(made)), bytes_};
  }
  void remove_names() noexcept {}  // in the run's folder, and go with it

 private:
  /// A process's context; never ended, since the measured processes leave without destructors.
  static void* context() {
    static void* const made = ::zmq_ctx_new();
    return made;
  }
  static Socket socket(int type) {
    Socket made(::zmq_socket(context(), type));
    if (!made) fail("zmq_socket");
    const int linger = 0;
    ::zmq_setsockopt(made.get(), ZMQ_LINGER, &linger, sizeof linger);
    return made;
  }

  std::string endpoint_;
  std::size_t bytes_;
};

}  // namespace bench
