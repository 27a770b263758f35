// Endpoints in a program of Boost.Asio: async_receive, async_send and async_wait, with any completion token. Streams
// with backpressure: a full channel suspends whoever sends to it.
//
//     asio::awaitable<void> serve(nimsync::Receiver<Tick>& rx) {
//       for (;;) use(co_await nimsync::async_receive(rx, asio::use_awaitable));  // throws closed at the end
//     }
//
// Header-only, and an optional leaf: no other header includes it, and the library doesn't need it. Who includes it
// brings the headers of Boost 1.81 or later; there is nothing more to link.
//
// Executors: an operation runs, touches its endpoint, and completes where the completion handler's associated executor
// says; that of a coroutine is its own. A handler that has none is served by the executor, execution context or I/O
// object that each function also takes as its first argument; without either there is a compile-time error, since the
// threads of Asio's system_executor are not the program's. The context must be one that descriptors can be waited for
// in: an io_context, a thread_pool, a strand on one of these. Associated allocators and cancellation slots are
// honoured, and handlers may be move-only. A handler is never called from within the function that starts its
// operation.
//
// Threads: an operation uses its endpoint from its start to its completion, in one thread at a time, so nothing else
// may meanwhile, interrupt() aside: an endpoint has one operation under way at most, and is neither moved nor
// destroyed. Where several threads run the context, cancel, and start what else concerns the endpoint, on a strand, as
// with a socket.
//
// Outcomes: success is an empty error_code. Each other Status that a blocking call could return comes as an error_code
// that compares equal to it, `ec == nimsync::Status::closed`: use_awaitable throws it as a boost::system::system_error,
// as_tuple and redirect_error don't. interrupt() ends an operation with `interrupted`. `timeout` doesn't occur: time is
// limited by Asio's means, a timer and cancellation. Without a descriptor to wait on, error_codes of nimsync::Errc or
// of the system.
//
// Cancellation, of any type, completes with boost::asio::error::operation_aborted; then nothing was received or sent.
// When it comes too late the operation succeeds.
//
// Cost: each operation goes through its executor's queue once, so that others have their turn; to take many at once,
// async_wait and then try_receive_some. One that finds nothing to do announces that it sleeps (arm(), about 12 us) and
// waits on a copy of fd() in the context's reactor; no thread spins, and the endpoint's Wait isn't asked.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/system_context.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "nimsync/channel.hpp"
#include "nimsync/error.hpp"
#include "nimsync/status.hpp"
#include "nimsync/wait_set.hpp"

namespace nimsync {
inline namespace v1 {

namespace internal {

// Boost's category has a destructor that is protected, and not virtual: of no category is one destroyed by its base.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class StatusCategory final : public boost::system::error_category {
 public:
  // By this number it is the same one in each shared object of a program.
  StatusCategory() noexcept : error_category(0x6e696d73796e6331) {}
  [[nodiscard]] const char* name() const noexcept override { return "nimsync.status"; }
  [[nodiscard]] std::string message(int code) const override { return v1::name(static_cast<Status::Code>(code)); }
  using error_category::message;
};
#pragma GCC diagnostic pop

}  // namespace internal

/// The category whose values are Status::Code.
inline const boost::system::error_category& status_category() noexcept {
  static const internal::StatusCategory category;
  return category;
}

inline boost::system::error_code make_error_code(Status status) noexcept {
  return {static_cast<int>(Status::Code{status}), status_category()};
}

namespace internal {

namespace asio = boost::asio;
using boost::system::error_code;

/// What a channel of T carries, as a value.
template <class T>
using Message = std::conditional_t<std::is_same_v<T, Bytes>, std::span<const std::byte>, T>;

// What an operation does: `attempt` is what it is for, or `would_block`. `news`, when arm() said that there is
// something to be told: what that is, or `would_block` if there is nothing after all. `Values` are what completes
// beside the error_code.

template <class End>
Status news_of(End& endpoint) noexcept {
  const Status status = endpoint.check();
  if (status == Status::ok) return Status::would_block;
  return status;
}

template <class T>
struct Receiving {
  using Signature = void(error_code, Message<T>);
  using Values = std::tuple<Message<T>>;

  [[nodiscard]] Status attempt(Values& values) const noexcept { return endpoint->try_receive(std::get<0>(values)); }
  [[nodiscard]] Status news() const noexcept { return news_of(*endpoint); }

  Receiver<T>* endpoint;
};

template <class T>
struct Sending {
  using Signature = void(error_code);
  using Values = std::tuple<>;

  [[nodiscard]] Status attempt(Values&) const noexcept { return endpoint->try_send(message); }
  [[nodiscard]] Status news() const noexcept { return news_of(*endpoint); }

  Sender<T>* endpoint;
  Message<T> message;
};

struct Waiting {
  using Signature = void(error_code);
  using Values = std::tuple<>;

  [[nodiscard]] static Status attempt(Values&) noexcept { return Status::would_block; }
  [[nodiscard]] Status news() const {
    return wait_any(std::array{endpoint}, Timeout{0}) ? Status::ok : Status::would_block;
  }

  Endpoint* endpoint;
};

/// One operation under way: what async_compose() calls to begin with, and each time something has happened.
template <class Act>
class Operation {
 public:
  explicit Operation(Act act) : act_(std::move(act)) {}

  template <class Self>
  void operator()(Self& self, error_code error = {}) {
    if (!std::exchange(has_begun_, true)) {
      self.reset_cancellation_state(asio::enable_total_cancellation());  // any type: none leaves anything half done
      return come_again(self);
    }
    typename Act::Values values{};
    Next next = Next::complete;
    if (self.cancelled() != asio::cancellation_type::none) error = asio::error::operation_aborted;
    if (!error) next = step(self, values, error);
    switch (next) {
      case Next::come_again:
        return come_again(self);
      case Next::wait: {
        auto& descriptor = *descriptor_;
        return descriptor.async_wait(descriptor.wait_read, std::move(self));
      }
      case Next::complete:
        descriptor_.reset();  // by Asio's custom an operation holds nothing any more when its handler is called
        std::apply([&](auto&... value) { self.complete(error, value...); }, values);
    }
  }

 private:
  enum class Next : std::uint8_t {
    complete,
    wait,        // until the peer rings
    come_again,  // there may be something by now
  };

  /// Through the queue, so that neither the caller nor others are kept waiting.
  template <class Self>
  static void come_again(Self& self) {
    asio::post(self.get_io_executor(), std::move(self));
  }

  template <class Self>
  Next step(Self& self, typename Act::Values& values, error_code& error) try {
    Status status = act_.attempt(values);
    if (status == Status::would_block) {
      const bool will_be_rung = act_.endpoint->arm();
      // Again also when it will be: arm() asks for room for the largest message, and this may be a small one.
      status = act_.attempt(values);
      if (status == Status::would_block && !will_be_rung) status = act_.news();
      if (status == Status::would_block) {
        if (descriptor_ == nullptr) error = open(self);
        if (error) return Next::complete;
        return will_be_rung ? Next::wait : Next::come_again;
      }
    }
    if (status != Status::ok) error = make_error_code(status);
    return Next::complete;
  } catch (const Error& failed) {  // no descriptors for the endpoint
    error = failed.code();
    return Next::complete;
  } catch (const boost::system::system_error& failed) {  // or for the context
    error = failed.code();
    return Next::complete;
  }

  /// A copy, for Asio closes what it waits on.
  template <class Self>
  error_code open(Self& self) {
    descriptor_ = std::allocate_shared<asio::posix::stream_descriptor>(self.get_allocator(), self.get_io_executor());
    const int copy = ::fcntl(act_.endpoint->fd(), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return {errno, boost::system::system_category()};
    error_code error;
    descriptor_->assign(copy, error);
    if (error) ::close(copy);
    return error;
  }

  Act act_;
  bool has_begun_ = false;
  // Elsewhere, since an operation moves, and a descriptor that is waited on can't. Shared for the sake of its
  // allocator.
  std::shared_ptr<asio::posix::stream_descriptor> descriptor_;
};

/// `where`: an executor, an execution context or an I/O object.
template <class Where, class Act, class Token>
auto start(Where&& where, Act act, Token&& token) {
  return asio::async_compose<Token, typename Act::Signature>(Operation<Act>(std::move(act)), token, where);
}

/// Whose executor runs things in Asio's own threads: system_executor, and what promises wrap around it.
template <class Executor>
concept OfTheSystem = requires(const Executor& executor) {
  { asio::query(executor, asio::execution::context) } -> std::same_as<asio::system_context&>;
};

/// On the executor of the handler.
template <class Act, class Token>
auto start(Act act, Token&& token) {
  return asio::async_initiate<Token, typename Act::Signature>(
      []<class Handler>(Handler&& handler, Act moved) {
        const auto executor = asio::get_associated_executor(handler);
        static_assert(!OfTheSystem<std::remove_const_t<decltype(executor)>>,
                      "this completion handler has no executor: name one first, as in async_receive(io_context, rx, "
                      "token), or bind_executor() the token to one");
        start(executor, std::move(moved), std::forward<Handler>(handler));
      },
      token, std::move(act));
}

}  // namespace internal

// ---------------------------------------------------------------------------------------------------------------------

/// Receives the next message, as receive() does: `void(error_code, T)`. For Bytes `void(error_code, std::span<const
/// std::byte>)`: the message in place, valid, and the next one, until release(). When it fails the value is T{}.
///
/// A record that was received belongs to the completion: where that is thrown away, as by || of awaitable_operators
/// when another operation has won, the record is lost. async_wait() and then try_receive() can't lose one; nor can
/// Bytes, where a message that wasn't released is the next one still. g++ 12 and clang 14 align coroutine frames to 16
/// bytes only: records of a larger alignment want handlers, or async_wait().
template <class T, class Token>
auto async_receive(Receiver<T>& receiver, Token&& token) {
  static_assert(std::default_initializable<internal::Message<T>>, "a failed receive completes with a T{}");
  return internal::start(internal::Receiving<T>{&receiver}, std::forward<Token>(token));
}
template <class Where, class T, class Token>
auto async_receive(Where&& where, Receiver<T>& receiver, Token&& token) {
  static_assert(std::default_initializable<internal::Message<T>>, "a failed receive completes with a T{}");
  return internal::start(where, internal::Receiving<T>{&receiver}, std::forward<Token>(token));
}

/// Sends a message, as send() does, once there is room for it: `void(error_code)`. A record is copied at once. The
/// bytes of a message are not: they must stay until the completion.
template <class T, class Token>
auto async_send(Sender<T>& sender, const internal::Message<T>& message, Token&& token) {
  return internal::start(internal::Sending<T>{&sender, message}, std::forward<Token>(token));
}
template <class Where, class T, class Token>
auto async_send(Where&& where, Sender<T>& sender, const internal::Message<T>& message, Token&& token) {
  return internal::start(where, internal::Sending<T>{&sender, message}, std::forward<Token>(token));
}

/// Waits until the endpoint is ready, as wait_set.hpp says it, and takes nothing: `void(error_code)`.
template <class Token>
auto async_wait(Endpoint& endpoint, Token&& token) {
  return internal::start(internal::Waiting{&endpoint}, std::forward<Token>(token));
}
template <class Where, class Token>
auto async_wait(Where&& where, Endpoint& endpoint, Token&& token) {
  return internal::start(where, internal::Waiting{&endpoint}, std::forward<Token>(token));
}

}  // namespace v1
}  // namespace nimsync

template <>
struct boost::system::is_error_code_enum<nimsync::Status::Code> : std::true_type {};
