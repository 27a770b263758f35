// The registry's Session over a socketpair, with a catalog and a store: any bytes, in any pieces, with and without
// descriptors. Each call gets its one last reply, and each reply is well-formed Varlink with an error that is known or
// none; when the client goes the session goes, and no descriptor, name or memory stays behind.
//
// The bytes: who the client is, in pieces of how many bytes it sends the rest, whether it reads as it goes or at the
// end, and how many descriptors it sends along, which nobody asked for.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>

#include "daemon/session.hpp"
#include "os/socket.hpp"
#include "tests/fuzz/bytes.hpp"
#include "tests/fuzz/store_folder.hpp"
#include "tests/rings/channel.hpp"

namespace nimsync::registry {
namespace {

using protocol::Json;
using rings_test::require;

constexpr std::uint32_t kOwner = 1000;

struct Client {
  os::Descriptor socket;
  std::string received;
  std::vector<os::Descriptor> descriptors;
  std::size_t last_replies = 0;  // those that nothing follows
  std::size_t channels = 0;      // replies with a channel
  std::size_t came = 0;          // descriptors
  bool ended = false;

  /// Takes what is there; true when there was something.
  bool read() {
    std::array<std::byte, 4096> buffer{};
    bool any = false;
    while (!ended) {
      const os::Transfer got = os::receive_some(socket, buffer, descriptors);
      if (got.error == EAGAIN) break;
      ended = got.error != 0;
      require(got.error == 0 || got.error == ECONNRESET, "a reply broke: " + os::text_of(got.error));
      received.append(reinterpret_cast<const char*>(buffer.data()), got.bytes);
      any = true;
    }
    for (std::size_t end = received.find('\0'); end != std::string::npos; end = received.find('\0')) {
      look_at(received.substr(0, end));
      received.erase(0, end + 1);
    }
    // They come with their reply, or with one before it.
    came += descriptors.size();
    descriptors.clear();
    return any;
  }

  void look_at(const std::string& text) {
    const Json reply = Json::parse(text, nullptr, false);
    require(reply.is_object(), "a reply is no JSON object: " + text);
    for (const auto& [key, value] : reply.items()) {
      const bool good = key == "parameters"  ? value.is_object()
                        : key == "error"     ? is_known(value)
                        : key == "continues" ? value.is_boolean()
                                             : false;
      require(good, "a reply has a bad " + key + ": " + text);
    }
    require(reply.contains("parameters"), "a reply has no parameters: " + text);
    if (!reply.value("continues", false)) ++last_replies;
    if (reply["parameters"].contains("channel")) ++channels;
  }

  static bool is_known(const Json& error) {
    if (!error.is_string()) return false;
    const auto name = error.get<std::string>();
    for (const char* each :
         {"InterfaceNotFound", "MethodNotFound", "InvalidParameter", "ExpectedMore", "MethodNotImplemented"}) {
      if (name == std::string("org.varlink.service.") + each) return true;
    }
    return protocol::own_error(name).has_value();
  }
};

/// How many last replies the stream is to get; nothing when it becomes a watcher's.
std::optional<std::size_t> expected_replies(std::string_view stream) {
  std::size_t replies = 0;
  for (;;) {
    const std::size_t end = stream.find('\0');
    const std::string_view message = stream.substr(0, end);
    if (message.size() > protocol::kMaxMessage) return replies + 1;
    if (end == std::string_view::npos) return replies;
    try {
      const protocol::Call call = protocol::parse_call(message);
      if (call.interface == protocol::kInterface && call.method == "Watch" && call.more) return std::nullopt;
      if (!call.oneway) ++replies;
    } catch (const protocol::Malformed&) {
      return replies + 1;
    }
    stream.remove_prefix(end + 1);
  }
}

class Registry {
 public:
  Registry() {
    make_channel();
    const Session::Socket first(loop_);  // the loop's own descriptors are there from now on
  }

  void serve(fuzz::Bytes& bytes) {
    static const os::Descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (catalog_.find("c") == nullptr) make_channel();
    const std::ptrdiff_t descriptors = fuzz::open_descriptors();

    const std::array<Caller, 3> callers{
        Caller{.pid = ::getpid(), .uid = 0, .gid = 0, .groups = {}, .administers = true},
        Caller{.pid = ::getpid(), .uid = kOwner, .gid = kOwner, .groups = {}, .administers = false},
        Caller{.pid = ::getpid(), .uid = 2000, .gid = 2000, .groups = {4}, .administers = false}};
    const Caller& caller = callers[bytes.below(callers.size())];
    const std::size_t piece = 1 + bytes.below(256) * 4;
    const bool reads_late = bytes.below(4) == 0;
    const std::uint64_t way = bytes.below(16);
    const std::size_t along = way < 6 ? way : 0;
    const std::string_view stream = bytes.text();

    {
      std::array<int, 2> ends{};
      require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0, "no socketpair");
      Client client;
      client.socket.reset(ends[0]);
      bool ended = false;
      auto session =
          std::make_shared<Session>(service_, Session::Socket(loop_, boost::asio::local::stream_protocol(), ends[1]),
                                    caller, [&ended](Session*) { ended = true; });
      session->start();
      session.reset();

      std::vector<int> sent_along(along, nothing.get());
      std::string_view rest = stream;
      while (!rest.empty()) {
        const os::Transfer put =
            os::send_some(client.socket, std::as_bytes(std::span(rest.substr(0, piece))), sent_along);
        sent_along.clear();
        rest.remove_prefix(put.bytes);
        const bool moved = run();
        const bool read = !reads_late && client.read();
        if (put.error == EAGAIN && !moved && !read && !client.read()) break;  // it doesn't read: a job, or an error
        if (put.error != 0 && put.error != EAGAIN) break;
      }
      while (run() || client.read()) continue;

      const auto expected = expected_replies(stream);
      if (expected && along <= os::kMaxDescriptors) {
        require(client.last_replies == *expected,
                std::to_string(client.last_replies) + " replies to " + std::to_string(*expected) + " calls");
      }
      require(client.came % os::kMaxDescriptors == 0 && client.came / os::kMaxDescriptors <= client.channels,
              "descriptors came without a channel");
      client.socket.reset();
      while (run()) continue;
      require(ended, "a session outlives its client");
    }
    require(service_.watchers.empty(), "a watcher outlives its client");
    clear();
    require(fuzz::open_descriptors() == descriptors, "descriptors stay open");
  }

 private:
  bool run() {
    loop_.restart();
    return loop_.poll() != 0;
  }

  void make_channel() {
    Definition wanted{.name = "c",
                      .shape = {.geometry = {Layout::dense, 8, 16}, .alignment = 8},
                      .owner = kOwner,
                      .group = kOwner,
                      .mode = 0640};
    catalog_.insert(folder_.make(std::move(wanted)));
  }

  /// All channels but the one that is there for all inputs.
  void clear() {
    bool any = catalog_.find("c") == nullptr;
    for (const Definition* each = catalog_.at_or_after(""); each != nullptr;) {
      const Definition definition = *each;
      each = catalog_.at_or_after(definition.name + '\0');
      if (definition.name == "c") continue;
      folder_.store().remove(definition);
      catalog_.erase(definition.name);
      any = true;
    }
    if (!any) return;
    const std::size_t left = catalog_.size();
    const std::filesystem::directory_iterator all(folder_.channels());
    require(static_cast<std::size_t>(std::distance(begin(all), end(all))) == left, "a folder stays behind");
    require(folder_.segments().size() == 2 * left, "a segment stays behind");
  }

  static Limits limits() {
    Limits limits;
    limits.channels = 8;
    limits.bytes = std::uint64_t{1} << 20;
    limits.channel_bytes = std::uint64_t{1} << 18;
    return limits;
  }

  fuzz::StoreFolder folder_;
  boost::asio::io_context loop_{1};
  Catalog catalog_{limits(), os::page_bytes()};
  Service service_{.catalog = catalog_, .store = folder_.store(), .info = [] { return protocol::InfoReply{}; }};
};

}  // namespace
}  // namespace nimsync::registry

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static nimsync::registry::Registry registry;
  nimsync::fuzz::Bytes bytes(data, size);
  registry.serve(bytes);
  return 0;
}
