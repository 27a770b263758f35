// Reaching a registry, and starting the user's own when there is none: the embedded default.
//
// The library never starts a registry; only a tool that is about to create a channel does. One thread.
#pragma once

#include <iosfwd>
#include <nimsync/nimsync.hpp>
#include <string>

namespace nimsync::tools {

/// Where the registry is, as the command line says.
struct Place {
  std::string socket;  // empty: by scope
  Registry::Scope scope = Registry::Scope::any;
  bool may_start = true;
};

/// Connects, or throws Error (no_registry).
Registry reach(const Place& place);

/// Connects; when no registry is to be found, starts nimsyncd for this user, says so in one line on `err`, and waits
/// until it answers. It ends itself when it has been without channels and clients for a minute. Nothing is started when
/// the place says otherwise or names a socket or the system's registry; when it names nothing and NIMSYNC_SOCKET is set
/// or the system's socket exists; when somebody answers at the user's socket; and for root, who has no registry of his
/// own. Several that start one at once end up with the same.
Registry reach_or_start(const Place& place, std::ostream& err);

}  // namespace nimsync::tools
