// Registry: a connection to nimsyncd, which names, sizes and grants channels.
//
// Threads: one at a time. A Registry may be moved, and destroyed while endpoints it opened live on: they need it no
// more, and neither the daemon. Every function throws Error; a connection that broke is made anew by the next call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nimsync/channel.hpp"
#include "nimsync/error.hpp"
#include "nimsync/options.hpp"

namespace nimsync {
inline namespace v1 {

/// Who holds a side of a channel, as the registry saw it when granting.
struct Peer {
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::string command;  // the name of its main thread
};

/// A channel as the registry describes it.
struct ChannelInfo {
  std::string name;
  Geometry geometry;
  std::uint64_t alignment = 0;  // of a record; 0: its creator didn't say
  std::string type;             // empty: unchecked
  std::uint32_t owner = 0;      // uid
  std::uint32_t group = 0;      // gid
  unsigned mode = 0;
  bool is_protected = false;
  bool is_sealed = false;
  std::uint64_t generation = 0;
  std::int64_t created = 0;    // seconds since 1970
  std::uint64_t memory = 0;    // bytes of shared memory
  std::optional<Peer> sender;  // living holders
  std::optional<Peer> receiver;
  // Counts since the channel was made: messages (records) or bytes of ring (frames).
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t used = 0;
  // How often blocking calls found the ring full or empty, how often they gave the processor away, and how often each
  // side rang the other.
  std::uint64_t full_stalls = 0;
  std::uint64_t empty_stalls = 0;
  std::uint64_t sender_sleeps = 0;
  std::uint64_t receiver_sleeps = 0;
  std::uint64_t sender_rings = 0;
  std::uint64_t receiver_rings = 0;
  // How often the registry or the peer rang a side that then found nothing.
  std::uint64_t sender_spurious = 0;
  std::uint64_t receiver_spurious = 0;
  // Endpoints that ever attached, and streams closed and received to their end.
  std::uint64_t senders = 0;
  std::uint64_t receivers = 0;
  std::uint64_t streams_closed = 0;
  std::uint64_t streams_received = 0;

  /// In a word: "idle" (nobody), "waiting" (one side), "open" (both), "closed" (an ended stream waits), "damaged" (its
  /// segments can't be read or aren't the registry's), "orphaned" (sealed, and its memory went with the registry that
  /// made it: whoever holds it goes on, nobody can join).
  std::string state;

  /// How the side that attached last orders its sleep: "membarrier" (it can sleep until rung), "fence" or "refused"
  /// (its process was refused membarrier(2), at once or later: it backs off), or "" (nobody has attached yet).
  std::string sender_barrier;
  std::string receiver_barrier;
};

/// What a new channel is to be, beyond Options: for programs that have no C++ type for its messages.
struct Shape {
  bool frames = false;
  std::uint64_t size = 0;       // of a record, in bytes
  std::uint64_t alignment = 0;  // of a record; 0: unsaid, agrees with any
  std::string type = {};        // empty: unchecked
};

struct RegistryInfo {
  std::string version;
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t uptime_s = 0;
  std::string socket;
  std::string state_dir;
  std::uint64_t channels = 0;
  std::uint64_t bytes = 0;  // of shared memory, all channels
  std::uint64_t connections = 0;
  std::uint64_t max_channels = 0;
  std::uint64_t max_bytes = 0;          // all channels
  std::uint64_t max_channel_bytes = 0;  // one channel
  std::uint64_t max_capacity = 0;       // records
  std::uint64_t max_message = 0;        // bytes of a record or frame
  bool keeps_sealed = false;            // the memory of sealed channels outlives its crash, restart and upgrade
};

struct Event {
  std::string what;  // "created", "opened", "removed"
  std::string name;
  std::optional<Role> role;  // of "opened"
};

class Registry {
 public:
  /// Where to look when no path is given.
  enum class Scope : std::uint8_t { any, user, system };

  /// Connects to $NIMSYNC_SOCKET if that is set; else to the user's registry (not for root) if its socket exists, else
  /// to the system's. Error no_registry names the places tried.
  static Registry connect();
  static Registry connect(Scope scope);
  /// Connects to the socket at `path`.
  static Registry connect(const std::string& path);
  /// The paths that connect(scope) would try, in their order.
  static std::vector<std::string> places(Scope scope = Scope::any);

  Registry(Registry&&) noexcept;
  Registry& operator=(Registry&&) noexcept;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry();

  /// Takes one side of a channel; with a capacity in the options it is created when absent. Errors: invalid,
  /// no_such_channel, differs, denied, in_use (naming the holder), no_space, over_limit, corrupted, no_registry.
  template <class T>
  [[nodiscard]] Sender<T> sender(std::string_view name, const Options& options = {}) {
    return Sender<T>(open(Role::sender, name, internal::wanted<T>(), options));
  }
  template <class T>
  [[nodiscard]] Receiver<T> receiver(std::string_view name, const Options& options = {}) {
    return Receiver<T>(open(Role::receiver, name, internal::wanted<T>(), options));
  }

  /// Makes a channel; `exists` or `differs` when there is one of that name.
  ChannelInfo create(std::string_view name, const Shape& shape, const Options& options);
  /// The channels whose names match a shell pattern ("" is all), by name.
  [[nodiscard]] std::vector<ChannelInfo> list(std::string_view pattern = {});
  [[nodiscard]] ChannelInfo stat(std::string_view name);
  /// Removes a channel; `in_use`, naming the holder, unless forced or unused. Endpoints learn `removed`.
  void remove(std::string_view name, bool force = false);
  [[nodiscard]] RegistryInfo info();
  /// Calls `event` for each event from now on, until it returns false; first with what = "watching". The Registry
  /// can't be used otherwise meanwhile.
  void watch(const std::function<bool(const Event&)>& event);

  /// The socket it is connected to.
  [[nodiscard]] const std::string& socket() const noexcept;

 private:
  class Connection;
  explicit Registry(std::unique_ptr<Connection> connection) noexcept;
  internal::Attached open(Role role, std::string_view name, const internal::Wanted& wanted, const Options& options);

  std::unique_ptr<Connection> connection_;
};

}  // namespace v1
}  // namespace nimsync
