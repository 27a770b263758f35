// The service manager, if one started this process: what it hands over, and what it is told. All of it by libsystemd's
// sd-daemon(3), so that whoever speaks that protocol will do.
//
// A manager with a descriptor store keeps descriptors for this service and hands them to its next process, so that what
// has no name outlives a crash, a restart and an upgrade; a stop empties it.
//
// Threads: one.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "os/descriptor.hpp"

namespace nimsync::registry::supervisor {

struct Inherited {
  os::Descriptor socket;                       // listens already; none unless activated by one
  std::map<std::string, os::Descriptor> kept;  // from the descriptor store, by name
};

/// Takes what was handed over, close-on-exec from here on; once, since the environment then forgets of it. What is
/// neither is closed. Error: it can't be told.
Inherited inherit();

/// Ready to serve (again, after reloading()). `status` is for people: one line.
void ready(const std::string& status);
/// Reads its configuration anew.
void reloading();
void stopping();
/// Cannot start, for a reason that the next start will find again. Under a manager it waits a moment, so that one that
/// starts it again and again, since clients wait, doesn't do so at full speed.
void cannot_start(const std::string& status);

/// How often it wants to hear still_alive(), at least; nothing when it doesn't.
std::optional<std::chrono::microseconds> watchdog();
void still_alive();

/// Whether there is a descriptor store: $FDSTORE, which systemd sets since 254, and units by hand before.
bool keeps_descriptors();
/// Has it keep a descriptor by a name of its own; nothing without a store. Error: it can't be told.
void keep(const std::string& name, const os::Descriptor& fd);
void forget(const std::string& name);

}  // namespace nimsync::registry::supervisor
