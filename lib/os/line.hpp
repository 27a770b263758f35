// Lines: a FIFO that one side of a channel holds and the other watches. Lease, death notice and doorbell in one.
//
// The holder has the FIFO open for reading and writing, and on that open file description a write lock (F_OFD_SETLK):
// the lease. The kernel ends it when the last descriptor of the description is closed, however its holder died, and
// anybody who has the FIFO open can ask. The watcher has it open for reading alone; as the holder is the only writer,
// its death is a hang-up there (POLLHUP, and a read that returns 0). A byte in the FIFO is the doorbell and says
// "look": the holder writes one when its peer sleeps (nimsync/sleep.hpp), and the registry when it has removed the
// channel.
//
// A line is never mapped (a mapping would keep the lock), and the lock is never released by hand in a fork's child.
//
// Threads: the functions are reentrant. Errors: Error.
#pragma once

#include <optional>
#include <string>

#include "nimsync/sleep.hpp"
#include "os/descriptor.hpp"

namespace nimsync::os {

/// Makes the FIFO in the folder `at`; mode 0600.
void make_line(const Descriptor& at, const std::string& name);

/// A fresh description for a holder: read-write, never blocking, one page of buffer, so that thousands don't reach the
/// user's limit of pipe memory.
Descriptor open_as_holder(const Descriptor& at, const std::string& name);
/// A fresh description for the watcher: read-only, never blocking.
Descriptor open_as_watcher(const Descriptor& at, const std::string& name);

/// A line of this process alone.
struct PrivateLine {
  Descriptor holder;  // with its lease
  Descriptor watcher;
  Descriptor reader;  // the holder's: a ring after the watcher went finds it, where a FIFO's holder is its own reader
};
PrivateLine make_private_line();

enum class Lease {
  free,
  held,
  intruded,  // a read lock: only a watcher can have taken it, to keep holders out
};

/// Tries to take the lease on a holder's description. `free` means that it is taken now.
Lease take_lease(const Descriptor& holder);
/// Asks; on either end's description.
Lease lease(const Descriptor& line);
/// Ends the lease; the description stays open.
void end_lease(const Descriptor& holder) noexcept;

/// Writes one byte. Never blocks; a full line is as good as rung.
void ring(const Descriptor& holder) noexcept;

/// Empties a line. One system call when there is nothing in it. What a holder floods it with is read no further than 16
/// pages: then it is told of as rung.
LineNews drain(const Descriptor& watcher) noexcept;

/// Says for good that the FIFO's channel is removed, while it still has a name, so that a registry that takes over from
/// one that died here can open it and ring its holders (the sticky bit, which only the owner can set).
void mark_removed(const Descriptor& line) noexcept;
/// Whether the FIFO still has a name, and isn't marked: false once its channel was removed. Always true of a private
/// line.
bool is_linked(const Descriptor& line) noexcept;

}  // namespace nimsync::os
