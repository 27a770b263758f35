// The two processes that are killed: a sender and a receiver that go on where their predecessors stopped, and judge all
// that they see by the ledger.
#pragma once

#include <cstdint>
#include <string>

#include "tests/soak/messages.hpp"
#include "tests/soak/oracle.hpp"

namespace nimsync::soak {

inline constexpr const char* kChannel = "soak";

struct Peer {
  std::string socket;  // the registry's; it may be dead just now
  const Messages* messages;
  Ledger* ledger;
  std::uint64_t seed;  // how it waits, and how it sends
};

/// Sends until it is killed, or until the ledger says that it is enough: then it closes its stream and returns 0. 1,
/// having said why, when something is wrong.
int run_sender(const Peer& peer);
/// Receives until it is killed, or until the end of the last stream: 0. 1, having said why, when something is wrong.
int run_receiver(const Peer& peer);

}  // namespace nimsync::soak
