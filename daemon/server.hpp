// The server: the loop, the socket that clients connect to, the signals that end it.
//
// Threads: one; run() is all of it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/catalog.hpp"
#include "daemon/session.hpp"
#include "daemon/store.hpp"
#include "os/descriptor.hpp"

namespace nimsync::registry {

struct Config {
  std::string socket;                                            // path; "" for the activated one, else the default
  std::string state_dir;                                         // "" for $RUNTIME_DIRECTORY, else SOCKET.state
  std::optional<std::chrono::seconds> idle_exit = std::nullopt;  // without channels and clients for so long
  Limits limits = {};
  std::optional<std::uint32_t> administrators = std::nullopt;  // a group whose members may do what root may
  std::vector<Declaration> declared = {};                      // to be made where there is none of the name
  std::function<std::optional<Config>()> read_again = {};      // at SIGHUP: what holds from now on; nothing: no change
};

/// Where the registry listens unless told otherwise: the system's place for root and for a service's user, the user's
/// else.
std::string default_socket();

class Server {
 public:
  /// Takes the state folder and the socket, and adopts the channels that are there. Errors: Error.
  explicit Server(const Config& config);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  /// Serves until SIGTERM or SIGINT, or until it was idle for long enough; at SIGHUP reads its settings again, of which
  /// limits, administrators, log level and idle time change at once. Channels stay, whatever the limits are.
  void run();

 private:
  using Protocol = boost::asio::local::stream_protocol;

  void listen(const Config& config);
  void accept();
  void welcome(Protocol::socket socket);
  void watch_idleness();
  void feed_watchdog();
  void wait_for_signal();
  /// Makes the first of the declared channels that are left, or a slice of it; false when none is left.
  bool declare_some();
  void declare_the_rest();
  void reload();
  void stop();
  [[nodiscard]] protocol::InfoReply info() const;

  boost::asio::io_context loop_{1};
  std::optional<std::chrono::seconds> idle_exit_;
  std::function<std::optional<Config>()> read_again_;
  std::string socket_path_;
  bool socket_is_ours_ = false;  // and not systemd's
  os::Descriptor socket_lock_;
  Protocol::acceptor acceptor_{loop_};
  boost::asio::signal_set signals_{loop_};
  boost::asio::steady_timer retry_{loop_};
  boost::asio::steady_timer idle_{loop_};
  boost::asio::steady_timer watchdog_{loop_};
  std::optional<Store> store_;
  Catalog catalog_;
  std::optional<Service> service_;
  std::uint64_t connections_limit_;                     // of one uid
  std::optional<std::uint32_t> administrators_;         // of connections that come from now on
  std::map<std::uint32_t, std::uint64_t> connections_;  // of each uid
  std::map<Session*, std::weak_ptr<Session>> sessions_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::deque<Declaration> declared_;  // that are to be made
  std::unique_ptr<Making> making_;    // the first of them
  bool stopping_ = false;
};

}  // namespace nimsync::registry
