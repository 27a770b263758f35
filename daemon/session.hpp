// A session: one client's connection, from its bytes to the catalog and the store and back.
//
// One request at a time: while one is being answered nothing more is read, so that a client which doesn't read its
// replies stops itself, and holds at most one reply and one message here. What isn't Varlink gets an error, and then
// the connection ends. Descriptors that a client sends are closed.
//
// Threads: all of them belong to the thread of their loop. Lifetime: a session keeps itself alive while its
// connection is open, and calls `on_end` once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/catalog.hpp"
#include "daemon/log.hpp"
#include "daemon/store.hpp"
#include "os/descriptor.hpp"
#include "protocol/messages.hpp"
#include "protocol/varlink.hpp"

namespace nimsync::registry {

class Session;

/// What all sessions share.
struct Service {
  Catalog& catalog;
  Store& store;
  std::function<protocol::InfoReply()> info;
  std::set<Session*> watchers = {};
  LineLimit opened = {};   // in the log
  LineLimit refused = {};  // in the log

  /// Tells the watchers that may see the channel.
  void tell(const Definition& definition, const protocol::WatchReply& event) const;
  /// Takes a channel away and tells the watchers.
  void remove(const Definition& definition);
  /// Removes the channel if there is one of that name and it is over (Store::is_over); true when it was.
  bool settle(std::string_view name);
  /// The same for all; how many there were.
  std::size_t settle_all();
};

/// A channel that is being made, a slice of its memory a step. Holds its name meanwhile, and lets go of it however that
/// ends.
class Making {
 public:
  Making(Service& service, Definition wanted);
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  ~Making();

  /// True when there is no more to do but to finish().
  bool step() { return creation_.step(); }
  /// Publishes it, and tells watchers.
  Definition finish();

 private:
  Service& service_;
  Store::Creation creation_;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;

  Session(Service& service, Socket socket, Caller caller, std::function<void(Session*)> on_end);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Begins to serve. Once.
  void start();
  /// Answers `sentence` and ends: for a client that is refused as such.
  void refuse(Errc code, const std::string& sentence);
  /// Ends at once.
  void stop();
  [[nodiscard]] const Caller& caller() const { return caller_; }
  /// An event for a watcher. One that doesn't read them is disconnected.
  void tell(const protocol::WatchReply& event);

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<os::Descriptor> descriptors;
  };
  /// Goes on with a request that isn't answered yet; true when it is.
  using Job = std::function<bool()>;

  void wait_readable();
  void read();
  void serve();
  void handle(const protocol::Call& call);
  void handle_service(const protocol::Call& call);
  void handle_own(const protocol::Call& call);
  /// Goes on with the job in the next turn of the loop; after the replies under way, if any, have gone out.
  void run_job();

  void create(const protocol::CreateCall& call);
  void open(const protocol::OpenCall& call);
  /// Error: it may not have more descriptors before it has read what it was sent.
  void require_reader() const;
  void open_existing(const protocol::OpenCall& call);
  void grant(const Definition& definition, protocol::Role role);
  void list(const protocol::ListCall& call, bool more);
  void remove(const protocol::RemoveCall& call);
  void watch();
  [[nodiscard]] Definition define(const protocol::CreateCall& call);
  /// Makes a channel slice by slice, then calls `then`.
  void make(const protocol::CreateCall& call, std::function<void(const Definition&)> then);

  void reply(protocol::Json parameters, bool continues = false, std::vector<os::Descriptor> descriptors = {});
  void reply_error(const std::string& bytes);
  /// For what a request may not have or do, which the log tells too.
  void reply_refusal(const Error& error);
  void flush();
  /// Once nothing is left to send.
  void end_when_sent() { ending_ = true; }

  Service& service_;
  Socket socket_;
  os::Descriptor fd_;  // the socket's own, for sendmsg and recvmsg; never closed by this; none once the session ended
  Caller caller_;
  std::function<void(Session*)> on_end_;
  protocol::Splitter splitter_;
  std::deque<Outgoing> outgoing_;
  std::size_t sent_ = 0;  // of the first of them
  Job job_;
  bool oneway_ = false;            // the request being answered wants no reply
  bool sent_descriptors_ = false;  // in a reply that may not have been read
  bool writing_ = false;           // waits to become writable
  bool watching_ = false;
  bool ending_ = false;
};

}  // namespace nimsync::registry
