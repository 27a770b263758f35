// The catalog: which channels there are, and every decision about them.
//
// Pure state: no file, socket, clock or randomness in here; what depends on those comes as an argument. What a decision
// refuses it refuses by throwing Error with a sentence for the one who asked.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nimsync/error.hpp"
#include "protocol/messages.hpp"
#include "state/definition.hpp"

namespace nimsync::registry {

/// Who asks, as the kernel says.
struct Caller {
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // supplementary
  bool administers = false;           // root, the registry's own uid, or of the administrators' group

  [[nodiscard]] bool is_in(std::uint32_t group) const;
};

/// A channel that a file declares: what would be asked for it, and for whom.
struct Declaration {
  std::string where;  // FILE:LINE
  protocol::CreateCall call;
  std::optional<std::uint32_t> group;  // that call.rights.group stands for
  Caller owner;
};

/// In what a channel differs from what its declaration would have made: "mode 0600 and not 0660, ..."; "" in nothing.
std::string drift(const Definition& is, const Definition& declared);

class Catalog {
 public:
  Catalog(const Limits& limits, std::uint64_t page) : limits_(limits), page_(page) {}

  /// What a new channel would be: every rule checked, the capacity rounded up, defaults filled in. Generation, time and
  /// segments are left to the caller. `group` is the number that rights.group stands for, when it isn't empty. Errors:
  /// invalid, exists, differs, denied, over_limit.
  [[nodiscard]] Definition define(const protocol::CreateCall& call, std::optional<std::uint32_t> group,
                                  const Caller& caller) const;

  /// Keeps the name and the memory of a channel that is being made, until insert() or abandon().
  void reserve(const Definition& definition);
  void abandon(const Definition& definition);
  [[nodiscard]] bool is_reserved(std::string_view name) const { return reserved_.contains(name); }

  void insert(Definition definition);
  void erase(std::string_view name);

  /// Null when there is none.
  [[nodiscard]] const Definition* find(std::string_view name) const;
  /// The first one of a name at or behind `from`; null behind the last. For listing in parts.
  [[nodiscard]] const Definition* at_or_after(std::string_view from) const;
  /// Error: no_such_channel.
  [[nodiscard]] const Definition& get(std::string_view name) const;

  // Whether the caller may; each throws `denied`, naming the right that is missing.
  static void require_use(const Definition& definition, protocol::Role role, const Caller& caller);
  static void require_ownership(const Definition& definition, const Caller& caller);
  [[nodiscard]] static bool may_see(const Definition& definition, const Caller& caller);

  /// Error `differs`, naming what, when a channel isn't what is expected of it.
  static void require_match(const Definition& definition, const protocol::Shape& expected);

  [[nodiscard]] std::size_t size() const { return channels_.size(); }
  /// How many of them are sealed.
  [[nodiscard]] std::size_t sealed() const;
  [[nodiscard]] std::uint64_t bytes() const { return all_.bytes; }
  [[nodiscard]] const Limits& limits() const { return limits_; }
  /// For channels that are made from now on.
  void set_limits(const Limits& limits) { limits_ = limits; }
  [[nodiscard]] std::uint64_t page() const { return page_; }

 private:
  Limits limits_;
  std::uint64_t page_;
  std::map<std::string, Definition, std::less<>> channels_;
  struct Usage {
    std::uint64_t channels = 0;
    std::uint64_t bytes = 0;
  };
  void take(const Definition& definition);
  void give_back(const Definition& definition);

  std::map<std::string, Definition, std::less<>> reserved_;
  Usage all_;                            // of channels and reservations
  std::map<std::uint32_t, Usage> uids_;  // of each owner
};

}  // namespace nimsync::registry
