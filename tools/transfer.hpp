// Transfer: between a channel and a file descriptor, until one of them ends.
//
// Nothing is lost on the way out: a message is released only when write(2) took all of it, so that whatever ends the
// program, the message that wasn't written whole is the next receiver's first. Nothing waits on the way in: what was
// read is sent before the next read.
//
// One transfer at a time in a process (signals are the process's).
#pragma once

#include <cstdint>
#include <functional>
#include <nimsync/nimsync.hpp>
#include <optional>

#include "tools/framing.hpp"

namespace nimsync::tools {

struct Count {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;  // of payload
};

struct SendRules {
  Timeout timeout = forever;  // for room
  /// Whether the channel has a receiver just now. Asked when the ring is full after one was lost.
  std::function<bool()> has_receiver;
};

/// Sends what `in` gives. `ok` at its end; `peer_lost` when the ring is full and its receiver gone; `timeout`,
/// `removed`, `corrupted`. Leaves the stream open. Throws BadInput, and Error when reading fails. `count` is of what
/// was sent, whatever happened.
Status send_all(int in, Splitter& splitter, Sender<Bytes>& sender, const SendRules& rules, Count& count);

struct ReceiveRules {
  Framing framing = Framing::raw;
  bool follow = false;  // beyond the end of a stream and the loss of a sender
  bool wait = true;     // for messages that aren't there yet
  std::optional<std::uint64_t> count = std::nullopt;
  Timeout timeout = forever;  // for the next message
};

enum class Ending : std::uint8_t {
  done,         // the count was reached; with wait = false, nothing was left
  status,       // see there: closed, peer_lost, timeout, removed, corrupted
  signal,       // StopOnSignals::caught()
  reader_gone,  // nobody reads the output any more
};

struct Received {
  Ending ending = Ending::done;
  Status status = Status::ok;
};

/// Writes to `out` what the channel gives. Throws Error when writing fails.
Received receive_all(Receiver<Bytes>& receiver, int out, const ReceiveRules& rules, Count& count);

/// While one lives, the first SIGINT or SIGTERM interrupts `endpoint`'s waiting instead of ending the process; the
/// second ends it, which loses nothing either. A signal that was ignored stays so. The endpoint must not move.
class StopOnSignals {
 public:
  explicit StopOnSignals(const Endpoint& endpoint);
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;
  ~StopOnSignals();

  /// The signal that came, or 0.
  static int caught() noexcept;
};

}  // namespace nimsync::tools
