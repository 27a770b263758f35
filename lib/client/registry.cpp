#include "nimsync/registry.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <utility>

#include "client/attachment.hpp"
#include "client/info.hpp"
#include "client/shape.hpp"
#include "os/socket.hpp"
#include "protocol/messages.hpp"
#include "protocol/varlink.hpp"

namespace nimsync {
inline namespace v1 {

namespace {

using protocol::Json;

constexpr unsigned kAnswerWithin_ms = 30'000;
constexpr std::size_t kReadBytes = std::size_t{16} << 10;
constexpr const char* kSystemSocket = "/run/nimsync/registry.sock";

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): the program doesn't change it meanwhile
  return value != nullptr ? value : "";
}

std::string user_socket() {
  const std::string runtime = environment("XDG_RUNTIME_DIR");
  return (runtime.empty() ? "/tmp/nimsync-" + std::to_string(::geteuid()) : runtime + "/nimsync") + "/registry.sock";
}

protocol::Role role_of(Role role) {
  return role == Role::sender ? protocol::Role::sender : protocol::Role::receiver;
}

protocol::Shape shape_of(bool frames, std::uint64_t size, std::uint64_t alignment, std::string type,
                         const Options& options) {
  return {.geometry = internal::asked_geometry(frames, size, options), .alignment = alignment, .type = std::move(type)};
}

protocol::Rights rights_of(const Options& options) {
  protocol::Rights rights{.mode = options.mode, .group = options.group, .protect = options.protect};
  if (options.sealed) rights.sealed = true;
  return rights;
}

}  // namespace

/// The socket, and calls over it. One call at a time; a connection that broke is made anew by the next one.
class Registry::Connection {
 public:
  explicit Connection(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Connects when not connected; errno in `error` when nobody answers.
  bool connect(int& error) {
    error = 0;
    if (!socket_) socket_ = os::connect(path_, kAnswerWithin_ms, error);
    return static_cast<bool>(socket_);
  }

  struct Answer {
    Json parameters;
    bool continues = false;
    std::vector<os::Descriptor> descriptors;
  };

  /// Who is at the other end.
  [[nodiscard]] uid_t peer_uid() const { return os::credentials(socket_.get()).uid; }

  /// Calls, and returns the first reply. A registry that was restarted since the last call has closed the
  /// connection, and a new one is made.
  Answer call(const char* method, const Json& parameters, bool more = false) {
    const std::string message = protocol::call(protocol::kInterface, method, parameters, more);
    if (socket_ && answered_ && os::has_news(socket_)) drop();  // it never sends unasked: this is its end
    int error = 0;
    if (!connect(error)) {
      throw Error(Errc::no_registry,
                  "no registry answers at " + path_ + ": " + os::text_of(error) + "; is nimsyncd running?");
    }
    send(message);
    return receive();
  }

  /// The next reply to a call with `more`.
  Answer receive() {
    Answer answer;
    for (;;) {
      try {
        if (const auto message = splitter_.next()) {
          protocol::Reply reply = protocol::parse_reply(*message);
          answered_ = true;
          if (!reply.error.empty()) throw_error(reply);
          answer.parameters = std::move(reply.parameters);
          answer.continues = reply.continues;
          return answer;
        }
      } catch (const protocol::Malformed& e) {
        not_ours(e.what());
      }
      std::array<std::byte, kReadBytes> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the kernel
      const os::Transfer got = os::receive_some(socket_, buffer, answer.descriptors);
      if (got.error != 0) broken(got.error);
      splitter_.add(std::span(buffer).first(got.bytes));
    }
  }

  void wait_for_ever() { os::set_timeout(socket_, 0); }
  void drop() noexcept {
    socket_.reset();
    splitter_ = {};
    answered_ = false;
  }

  /// The answer isn't one of a nimsync registry.
  [[noreturn]] void not_ours(const std::string& why) {
    drop();
    throw Error(Errc::no_registry, "what answers at " + path_ + " is not a nimsync registry: " + why);
  }

 private:
  void send(const std::string& message) {
    std::span<const std::byte> rest = std::as_bytes(std::span(message));
    while (!rest.empty()) {
      const os::Transfer put = os::send_some(socket_, rest, {});
      if (put.error == ECONNRESET) return;  // a registry that refuses a connection has said why: to be received
      if (put.error != 0) broken(put.error);
      rest = rest.subspan(put.bytes);
    }
  }

  [[noreturn]] void broken(int error) {
    drop();
    if (error == EAGAIN) {
      throw Error(Errc::no_registry, "the registry at " + path_ + " did not answer within " +
                                         std::to_string(kAnswerWithin_ms / 1000) + " s");
    }
    if (error == EMFILE) {
      throw Error(Errc::no_space,
                  "this process has no descriptors left for a channel's; close some, or raise its limit (ulimit -n)");
    }
    throw Error(Errc::no_registry, "the connection to the registry at " + path_ + " broke: " + os::text_of(error) +
                                       "; the next call makes a new one");
  }

  [[noreturn]] void throw_error(const protocol::Reply& reply) {
    const auto code = protocol::own_error(reply.error);
    if (!code) not_ours("it says " + reply.error.substr(0, 100));
    const auto sentence = reply.parameters.find("message");
    throw Error(*code, sentence != reply.parameters.end() && sentence->is_string() ? sentence->get<std::string>()
                                                                                   : std::string(row(*code).text));
  }

  std::string path_;
  os::Descriptor socket_;
  protocol::Splitter splitter_;
  bool answered_ = false;  // a call on this connection
};

namespace {

/// A reply's parameters as what they should be.
template <class Reply, class Connection, class Answer>
Reply read_reply(Connection& connection, const Answer& answer) {
  try {
    return answer.parameters.template get<Reply>();
  } catch (const protocol::InvalidParameter& e) {
    connection.not_ours(std::string("its reply has a bad ") + e.what());
  }
}

}  // namespace

Registry::Registry(std::unique_ptr<Connection> connection) noexcept : connection_(std::move(connection)) {}
Registry::Registry(Registry&&) noexcept = default;
Registry& Registry::operator=(Registry&&) noexcept = default;
Registry::~Registry() = default;

std::vector<std::string> Registry::places(Scope scope) {
  if (scope == Scope::any) {
    if (std::string given = environment("NIMSYNC_SOCKET"); !given.empty()) return {std::move(given)};
  }
  std::vector<std::string> places;
  if (scope == Scope::user || (scope == Scope::any && ::geteuid() != 0)) places.push_back(user_socket());
  if (scope != Scope::user) places.emplace_back(kSystemSocket);
  return places;
}

Registry Registry::connect() {
  return connect(Scope::any);
}

Registry Registry::connect(Scope scope) {
  std::string tried;
  for (const std::string& place : places(scope)) {
    auto connection = std::make_unique<Connection>(place);
    int error = 0;
    if (connection->connect(error)) {
      // In /tmp anybody may have been there first.
      if (place == user_socket() && connection->peer_uid() != ::geteuid() && connection->peer_uid() != 0) {
        throw Error(Errc::denied, "what answers at " + place + " runs as uid " +
                                      std::to_string(connection->peer_uid()) +
                                      " and is no registry of this user's; remove it, or set XDG_RUNTIME_DIR");
      }
      return Registry(std::move(connection));
    }
    tried += (tried.empty() ? "" : ", ") + place + " (" + os::text_of(error) + ")";
  }
  throw Error(Errc::no_registry, "no registry answers; tried " + tried +
                                     "; start nimsyncd, or say where it is by "
                                     "NIMSYNC_SOCKET or a path");
}

Registry Registry::connect(const std::string& path) {
  auto connection = std::make_unique<Connection>(path);
  int error = 0;
  if (!connection->connect(error)) {
    throw Error(Errc::no_registry, "no registry answers; tried " + path + " (" + os::text_of(error) +
                                       "); start nimsyncd, "
                                       "or give another path");
  }
  return Registry(std::move(connection));
}

const std::string& Registry::socket() const noexcept {
  return connection_->path();
}

internal::Attached Registry::open(Role role, std::string_view name, const internal::Wanted& wanted,
                                  const Options& options) {
  protocol::OpenCall call{
      .name = std::string(name), .role = role_of(role), .expect = std::nullopt, .create = std::nullopt};
  // Untyped endpoints that don't create take what there is.
  if (!wanted.frames || options.capacity != 0) {
    call.expect = shape_of(wanted.frames, wanted.size, wanted.alignment, std::string(wanted.type), options);
  }
  if (options.capacity != 0) call.create = rights_of(options);
  auto answer = connection_->call("Open", Json(call));
  const auto channel = read_reply<protocol::ChannelReply>(*connection_, answer).channel;
  if (answer.descriptors.size() != os::kMaxDescriptors) {
    connection_->not_ours("its reply to Open has " + std::to_string(answer.descriptors.size()) + " descriptors");
  }
  const auto access = [&](Role writer) {
    return writer == role || !channel.protect ? os::Access::read_write : os::Access::read_only;
  };
  const Geometry& geometry = channel.shape.geometry;
  internal::Parts parts{.name = channel.name,
                        .role = role,
                        .wait = options.wait,
                        .mapping = os::Mapping(answer.descriptors[0], access(Role::sender), answer.descriptors[1],
                                               access(Role::receiver), geometry),
                        .own_line = std::move(answer.descriptors[2]),
                        .peer_line = std::move(answer.descriptors[3]),
                        .line_reader = {}};
  const layout::Header expected = layout::identity(geometry, channel.generation, os::page_bytes());
  const RingMemory& memory = parts.mapping.memory();
  const std::array<const layout::Header*, 2> headers{&memory.forward_header()->common, memory.return_header()};
  for (const layout::Header* header : headers) {
    if (const auto wrong = layout::mismatch(*header, expected)) {
      throw Error(Errc::corrupted, "channel '" + channel.name + "' has shared memory with another " +
                                       std::string(*wrong) + " than the registry says; remove and create it");
    }
  }
  return internal::attach(std::move(parts));
}

ChannelInfo Registry::create(std::string_view name, const Shape& shape, const Options& options) {
  const protocol::CreateCall call{.name = std::string(name),
                                  .shape = shape_of(shape.frames, shape.size, shape.alignment, shape.type, options),
                                  .rights = rights_of(options)};
  const auto answer = connection_->call("Create", Json(call));
  return info_of(read_reply<protocol::ChannelReply>(*connection_, answer).channel);
}

std::vector<ChannelInfo> Registry::list(std::string_view pattern) {
  std::vector<ChannelInfo> channels;
  auto answer = connection_->call("List", Json(protocol::ListCall{.pattern = std::string(pattern)}), true);
  for (;;) {
    for (const protocol::Channel& channel : read_reply<protocol::ListReply>(*connection_, answer).channels) {
      channels.push_back(info_of(channel));
    }
    if (!answer.continues) return channels;
    answer = connection_->receive();
  }
}

ChannelInfo Registry::stat(std::string_view name) {
  const auto answer = connection_->call("Stat", Json(protocol::StatCall{.name = std::string(name)}));
  return info_of(read_reply<protocol::ChannelReply>(*connection_, answer).channel);
}

void Registry::remove(std::string_view name, bool force) {
  static_cast<void>(connection_->call("Remove", Json(protocol::RemoveCall{.name = std::string(name), .force = force})));
}

RegistryInfo Registry::info() {
  const auto reply = read_reply<protocol::InfoReply>(*connection_, connection_->call("Info", Json::object()));
  return {.version = reply.version,
          .pid = reply.pid,
          .uid = reply.uid,
          .uptime_s = reply.uptime_s,
          .socket = reply.socket,
          .state_dir = reply.state_dir,
          .channels = reply.channels,
          .bytes = reply.bytes,
          .connections = reply.connections,
          .max_channels = reply.max_channels,
          .max_bytes = reply.max_bytes,
          .max_channel_bytes = reply.max_channel_bytes,
          .max_capacity = reply.max_capacity,
          .max_message = reply.max_message,
          .keeps_sealed = reply.keeps_sealed};
}

void Registry::watch(const std::function<bool(const Event&)>& event) {
  auto answer = connection_->call("Watch", Json::object(), true);
  connection_->wait_for_ever();
  // However it ends, the connection can't be used again: the registry would go on telling.
  const std::unique_ptr<Connection, void (*)(Connection*)> ended(connection_.get(),
                                                                 [](Connection* used) { used->drop(); });
  for (;;) {
    const auto reply = read_reply<protocol::WatchReply>(*connection_, answer);
    Event told{.what = reply.what, .name = reply.name, .role = std::nullopt};
    if (reply.role) told.role = *reply.role == protocol::Role::sender ? Role::sender : Role::receiver;
    if (!event(told)) return;
    answer = connection_->receive();
  }
}

}  // namespace v1
}  // namespace nimsync
