// What is known of a channel beside the channel: a page that outlives every process of the soak but its supervisor.
//
// Each side says what it is going to do before it does it, and that it has done it afterwards. So whoever comes after a
// kill knows where the channel may stand: never before what was done, never behind what was begun. Where it does stand
// the registry says, and that must agree.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace nimsync::soak {

using Number = std::atomic<std::uint64_t>;
static_assert(Number::is_always_lock_free);

struct Ledger {
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  // The sender's: messages, and streams.
  Number begun{0};                // messages that it is about to send are below this
  Number sent{0};                 // those whose send has returned ok
  Number closing{0};              // streams that it is about to close are below this
  Number closed{0};               // those whose close() has returned
  std::array<Number, 64> ends{};  // messages sent before the end of stream n, at n % 64; said before close()
  Number last_stream{kNone};      // no other follows

  Number writing{0};  // attached, and its stream is open

  // The receiver's.
  Number used{0};      // messages judged, said before release()
  Number released{0};  // those whose release has returned
  Number ended{0};     // streams whose `closed` has been returned
  Number reading{0};   // attached

  // Counted.
  Number redelivered{0};        // messages that had been used and not released when the receiver was killed
  Number lost_to_senders{0};    // peer_lost
  Number lost_to_receivers{0};  // peer_lost
  Number still_held{0};         // times that a predecessor's lease was not free yet
  Number gaps{0};
  Number torn{0};
  Number doubled{0};
  Number misplaced{0};  // where a side went on is not where it was left

  // The supervisor's.
  Number finish{0};  // the sender shall close its stream and end
};

}  // namespace nimsync::soak
