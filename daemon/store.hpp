// The store: channels as they lie on the machine. A folder for each, two segments, two lines.
//
//     STATE/lock                     held by the one registry of this folder
//     STATE/channels/NAME/           definition     what the channel is (JSON)
//                                    data, room     the sender's line, the receiver's line
//                                    sender, receiver   to whom the side was granted last (JSON)
//     STATE/channels/.new-ID, .gone-ID     half made, half removed: swept at start
//     /dev/shm/nimsync.INSTANCE.UID.ID.f, .r     the segments; INSTANCE is made of STATE's path and the uid
//
// The segments of a sealed channel have no names: the registry that made them has a descriptor of each, and so has the
// service manager's descriptor store where there is one, which hands them to the next registry. Without, they end with
// the registry and with those who hold the channel. A registry that finds such a channel's folder and a side of it held
// keeps the channel as an orphan: listed, not to be opened, and its lines stay, which are the holders' leases,
// doorbells and death notices.
//
// Order: segments, folder (under a temporary name, then renamed), answer. Removal goes the other way round. Killed at
// any point, the next start finds the channel whole or sweeps it.
//
// Segments are never mapped here, since a client may truncate its own: they are read by pread.
//
// Threads: one. Errors: Error.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/catalog.hpp"
#include "os/descriptor.hpp"
#include "os/segment.hpp"
#include "protocol/messages.hpp"
#include "state/folder.hpp"

namespace nimsync::registry {

/// 64 random bits.
using Random = std::function<std::uint64_t()>;

/// Where descriptors outlive this process. Both functions, or none.
struct DescriptorStore {
  std::map<std::string, os::Descriptor> kept = {};  // for an earlier process, by name
  std::function<void(const std::string& name, const os::Descriptor& fd)> keep = {};
  std::function<void(const std::string& name)> forget = {};
};

class Store {
 public:
  /// Opens the folder, made with mode 0700 when it is absent, and takes its lock. Errors: denied (it is another uid's,
  /// or open to others), in_use (another registry has it).
  Store(const std::string& state_dir, Random random, DescriptorStore descriptors = {});

  /// A channel that is being made. Destroyed before finish(), it leaves nothing behind.
  class Creation {
   public:
    Creation(Store& store, Definition definition);
    /// Allocates a slice of memory; true when there is no more to allocate.
    bool step() { return forward_->allocate() && back_->allocate(); }
    /// Publishes the channel; once, after step() said true.
    Definition finish();

    [[nodiscard]] const Definition& definition() const { return definition_; }

   private:
    Store* store_;
    Definition definition_;
    std::optional<os::NewSegment> forward_;
    std::optional<os::NewSegment> back_;
  };

  /// Whether it is a sealed channel whose memory went with the registry that made it.
  [[nodiscard]] bool is_orphan(const Definition& definition) const;
  /// Whether it is one that nobody holds any more: to be removed. Error: it can't be told.
  [[nodiscard]] bool is_over(const Definition& definition) const;

  /// Takes a channel away: its name first, then its lines (and rings both), then its memory. An Error leaves it as it
  /// was.
  void remove(const Definition& definition);

  /// The descriptors that make a side: forward segment, return segment, own line with its lease, the peer's line.
  /// Errors: in_use, naming the holder; corrupted, when the segments aren't what was made, or of an orphan.
  std::array<os::Descriptor, 4> grant(const Definition& definition, protocol::Role role, const protocol::Peer& peer);

  /// The living holder of a side; nothing too when its folder or line is gone. Error: it can't be told.
  [[nodiscard]] std::optional<protocol::Peer> holder(const Definition& definition, protocol::Role role) const;
  /// Everything that can be said of a channel now. Never throws for what clients did to its memory: the state is
  /// "damaged". Error: it can't be told, for want of descriptors or memory.
  [[nodiscard]] protocol::Channel describe(const Definition& definition) const;

  struct Adopted {
    std::vector<Definition> channels;
    std::vector<std::string> remarks;  // what was swept, and what is foreign or damaged and was left alone
  };
  /// Whether the memory of sealed channels is handed to the next registry.
  [[nodiscard]] bool hands_on_sealed() const { return static_cast<bool>(descriptors_.keep); }

  /// Finds what an earlier registry left. Call once, before anything else. Error: something can't be read now; nothing
  /// that might be a channel's is swept then.
  Adopted adopt(const Limits& limits);

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  friend class Creation;

  [[nodiscard]] Segments segments(const Definition& definition, os::Access forward, os::Access back) const;

  [[nodiscard]] std::string segment_name(std::uint64_t id, char side) const;
  /// Whether segment_name() could have made it.
  [[nodiscard]] bool is_own_name(const std::string& segment) const;
  [[nodiscard]] os::Descriptor folder(const std::string& name) const;
  void write_file(const os::Descriptor& folder, const std::string& name, const std::string& text) const;
  struct Remains;
  [[nodiscard]] Remains remains(const std::string& name, const Definition* definition) const;
  void sweep(const std::string& name, const Remains& found) const;
  void drop(const std::string& name, const Remains& found);
  void keep(std::uint64_t generation, const Segments& sealed) const;
  void forget(std::uint64_t generation) const;
  [[nodiscard]] Segments take_kept(std::uint64_t generation);

  std::string path_;
  std::string prefix_;  // of our segments' names
  Random random_;
  os::Descriptor state_;
  os::Descriptor channels_;
  os::Descriptor lock_;
  std::map<std::uint64_t, Segments> sealed_;  // by the channel's generation
  DescriptorStore descriptors_;
};

}  // namespace nimsync::registry
