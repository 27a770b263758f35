// The system calls that nimsync makes, and the errors that each can end with: what is injected.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "tests/faults/tracer.hpp"

namespace nimsync::testing {

struct FallibleCall {
  long call;  // SYS_...
  const char* name;
  std::vector<int> errors;
};

/// By their manual pages, cut down to what can run out, be interrupted or break: EMFILE, ENOMEM, ENOSPC, EINTR, EAGAIN,
/// ECONNRESET, EIO (and ETOOMANYREFS of sendmsg, EPERM of F_SETPIPE_SZ and membarrier, which have paths of their own).
/// Not brk, which says where the break is and has no error to end with: given one, glibc takes that for an address.
std::span<const FallibleCall> fallible_calls();

/// Whether the process, stopped at its entry into a fallible call, could get this error with these arguments: no EMFILE
/// of an fcntl that makes no descriptor, no EAGAIN of a write to a file.
bool can_fail(const Stop& stop, int error);

/// Whether it is the first call that nimsyncd's main makes: those before are the loader's.
bool is_first_own(const Stop& stop);

/// "openat"; "call 7" for one that is not in the table.
std::string call_name(long call);
/// "ENOSPC"
std::string error_name(int error);

}  // namespace nimsync::testing
