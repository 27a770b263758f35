// membarrier(2): a sequentially consistent fence that one process has executed in others.
//
// The expedited global kind reaches every thread that runs just now of every process that registered; a thread that
// doesn't run has been through a fence when it was switched away. It takes about 11 us, which who is about to sleep can
// afford (nimsync/sleep.hpp).
//
// The call succeeds whether or not a particular process registered, so endpoints publish that theirs did
// (layout::Barrier). A fork's child is registered like its parent; exec ends a registration.
//
// Threads: any.
#pragma once

namespace nimsync::os {

/// Lets the membarriers of others reach this process, from now on. Cheap when repeated. False: refused (an old kernel,
/// a seccomp filter).
bool register_for_membarriers() noexcept;

/// A fence in this thread and in all of every registered process. False: refused, and nothing was fenced.
bool membarrier() noexcept;

}  // namespace nimsync::os
