#include "tests/soak/peers.hpp"

#include <poll.h>

#include <chrono>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

#include "client/attachment.hpp"
#include "nimsync/nimsync.hpp"

namespace nimsync::soak {

namespace {

using Random = std::mt19937_64;
using std::chrono::microseconds;

constexpr std::uint64_t kSome = 3;  // messages that are offered at once
constexpr std::uint64_t kPauseEvery = 24;
constexpr std::uint64_t kLongestPause = 120;  // us: longer than a doorbell spins
constexpr std::uint64_t kCloseEvery = 200;
constexpr microseconds kTryAgain{200};

/// What ends a peer with 1.
class Wrong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void wrong(Number& counted, const Parts&... parts) {
  ++counted;
  std::ostringstream text;
  (text << ... << parts);
  throw Wrong(text.str());
}

/// Repeats what needs the registry while that is dead, and while a killed predecessor's lease isn't free yet: what the
/// kernel ends it ends soon, and not before the kill.
template <class Act>
auto persistently(Ledger& ledger, Act act) {
  for (;;) {
    try {
      return act();
    } catch (const Error& e) {
      if (e.errc() == Errc::in_use) {
        ++ledger.still_held;
      } else if (e.errc() != Errc::no_registry) {
        throw;
      }
    }
    std::this_thread::sleep_for(kTryAgain);
  }
}

/// How a peer waits: by turns asleep at once, after a spin, and in poll().
struct Waiting {
  Wait wait;
  bool polls;
};
Waiting waiting(Random& random) {
  switch (random() % 4) {
    case 0:
      return {kDefaultWait, false};
    case 1:
      return {Wait::doorbell(Timeout{0}), true};
    default:
      return {Wait::doorbell(Timeout{0}), false};
  }
}

/// A blocking call made of one that doesn't: as the documentation of Endpoint::fd() says.
template <class End, class Attempt>
Status by_poll(End& end, Attempt attempt) {
  pollfd descriptor{.fd = end.fd(), .events = POLLIN, .revents = 0};
  Status status = Status::would_block;
  do {
    status = attempt();
    if (status != Status::would_block) return status;
    if (end.arm()) {
      ::poll(&descriptor, 1, -1);
    } else {
      status = end.check();
    }
  } while (status == Status::ok || status == Status::would_block);
  return status;
}

void pause_sometimes(Random& random) {
  if (random() % kPauseEvery == 0) std::this_thread::sleep_for(microseconds(random() % kLongestPause));
}

Registry connected(const Peer& peer) {
  internal::set_longest_sleep(std::chrono::nanoseconds::max());  // a lost wake-up is a hang, and not a delay
  return persistently(*peer.ledger, [&] { return Registry::connect(peer.socket); });
}

class SendingPeer {
 public:
  explicit SendingPeer(const Peer& peer)
      : messages_(*peer.messages), ledger_(*peer.ledger), random_(peer.seed), registry_(connected(peer)) {}

  void run() {
    while (!send_stream()) continue;
  }

 private:
  /// True when it was the last one.
  bool send_stream() {
    const Waiting how = waiting(random_);
    auto tx = persistently(ledger_, [&] { return registry_.sender<Bytes>(kChannel, Options{.wait = how.wait}); });
    go_on();
    ledger_.writing = 1;
    while (!ledger_.finish) {
      if (!send_some(tx)) send_one(tx, how.polls);
      pause_sometimes(random_);
      if (random_() % kCloseEvery == 0) break;
    }
    const bool last = ledger_.finish != 0;
    ledger_.writing = 0;
    ledger_.ends[stream_ % ledger_.ends.size()] = next_;
    if (last) ledger_.last_stream = stream_;
    ledger_.closing = stream_ + 1;
    tx.close();
    ledger_.closed = ++stream_;
    return last;
  }

  /// Finds the number that comes next. It holds the lease, so the position that the registry tells is nobody else's.
  void go_on() {
    const ChannelInfo info = persistently(ledger_, [&] { return registry_.stat(kChannel); });
    const std::uint64_t sent = ledger_.sent;
    const std::uint64_t begun = ledger_.begun;
    for (next_ = sent; messages_.position(next_) != info.sent; ++next_) {
      if (next_ >= begun) {
        wrong(ledger_.misplaced, "the channel stands at ", info.sent, ", and ", sent, " to ", begun,
              " messages were sent: ", messages_.position(sent), " to ", messages_.position(begun));
      }
    }
    ledger_.sent = next_;
    ledger_.begun = next_;
    stream_ = info.streams_closed;
    if (stream_ < ledger_.closed || stream_ > ledger_.closing) {
      wrong(ledger_.misplaced, stream_, " streams are closed, where ", ledger_.closed, " to ", ledger_.closing,
            " were");
    }
    ledger_.closed = stream_;
    ledger_.closing = stream_;
  }

  /// By one of the calls that don't wait; false: nothing was sent.
  bool send_some(Sender<Bytes>& tx) {
    const std::uint64_t kind = random_() % 4;
    if (kind == 0) {
      const auto room = tx.reserve(messages_.size(next_));
      if (room.data() == nullptr) return false;
      messages_.write(next_, room.first(messages_.size(next_)));
      ledger_.begun = next_ + 1;
      tx.commit(messages_.size(next_));
      ledger_.sent = ++next_;
      return true;
    }
    if (kind != 1) return false;
    std::array<std::vector<std::byte>, kSome> made;
    std::array<std::span<const std::byte>, kSome> offered;
    for (std::uint64_t i = 0; i < kSome; ++i) offered[i] = made[i] = messages_.make(next_ + i);
    ledger_.begun = next_ + kSome;
    const std::size_t sent = tx.try_send_some(offered);
    ledger_.sent = next_ += sent;
    return sent != 0;
  }

  void send_one(Sender<Bytes>& tx, bool polls) {
    const std::vector<std::byte> message = messages_.make(next_);
    ledger_.begun = next_ + 1;
    for (;;) {
      const Status status = polls ? by_poll(tx, [&] { return tx.try_send(message); }) : tx.send(message);
      if (status == Status::ok) break;
      if (status != Status::peer_lost) throw Wrong(std::string("a send said ") + name(status));
      ++ledger_.lost_to_senders;
    }
    ledger_.sent = ++next_;
  }

  const Messages& messages_;
  Ledger& ledger_;
  Random random_;
  Registry registry_;
  std::uint64_t next_ = 0;    // message
  std::uint64_t stream_ = 0;  // that it writes
};

class ReceivingPeer {
 public:
  explicit ReceivingPeer(const Peer& peer)
      : messages_(*peer.messages), ledger_(*peer.ledger), random_(peer.seed), registry_(connected(peer)) {}

  void run() {
    const Waiting how = waiting(random_);
    auto rx = persistently(ledger_, [&] { return registry_.receiver<Bytes>(kChannel, Options{.wait = how.wait}); });
    go_on();
    ledger_.reading = 1;
    for (;;) {
      std::span<const std::byte> message;
      const Status status = how.polls ? by_poll(rx, [&] { return rx.try_receive(message); }) : rx.receive(message);
      switch (status) {
        case Status::ok:
          judge(message);
          pause_sometimes(random_);  // used and not released: what a successor sees again
          rx.release();
          ledger_.released = next_;
          break;
        case Status::closed:
          if (end_stream()) return;
          break;
        case Status::peer_lost:
          ++ledger_.lost_to_receivers;
          break;
        default:
          throw Wrong(std::string("a receive said ") + name(status));
      }
      pause_sometimes(random_);
    }
  }

 private:
  /// Finds the number that comes next, and the stream. It holds the lease, so what the registry tells is nobody else's.
  void go_on() {
    const ChannelInfo info = persistently(ledger_, [&] { return registry_.stat(kChannel); });
    const std::uint64_t released = ledger_.released;
    const std::uint64_t used = ledger_.used;
    for (next_ = released; messages_.position(next_) != info.received; ++next_) {
      if (next_ >= used) {
        wrong(ledger_.misplaced, "the channel is freed up to ", info.received, ", and ", released, " to ", used,
              " messages were: ", messages_.position(released), " to ", messages_.position(used));
      }
    }
    stream_ = info.streams_received;
    if (stream_ != ledger_.ended && stream_ != ledger_.ended + 1) {
      wrong(ledger_.misplaced, stream_, " streams are received, where ", ledger_.ended, " or one more were");
    }
    ledger_.ended = stream_;
  }

  void judge(std::span<const std::byte> message) {
    const auto number = messages_.read(message);
    if (!number) wrong(ledger_.torn, "message ", next_, " is torn: ", message.size(), " bytes");
    if (*number > next_) wrong(ledger_.gaps, "message ", *number, " came where ", next_, " was due");
    if (*number < next_) wrong(ledger_.doubled, "message ", *number, " came again where ", next_, " was due");
    if (next_ >= ledger_.begun) wrong(ledger_.misplaced, "message ", next_, " was never sent");
    if (next_ < ledger_.used) {
      ++ledger_.redelivered;  // at least once: a predecessor was killed before its release
    } else {
      ledger_.used = next_ + 1;
    }
    ++next_;
  }

  /// True when it was the last one.
  bool end_stream() {
    const std::uint64_t end = ledger_.ends[stream_ % ledger_.ends.size()];
    if (next_ != end) wrong(ledger_.misplaced, "stream ", stream_, " ended after ", next_, " messages and not ", end);
    const bool last = stream_ == ledger_.last_stream;
    ledger_.ended = ++stream_;
    return last;
  }

  const Messages& messages_;
  Ledger& ledger_;
  Random random_;
  Registry registry_;
  std::uint64_t next_ = 0;    // message
  std::uint64_t stream_ = 0;  // that it reads
};

template <class Runs>
int run(const Peer& peer, std::string_view side) {
  try {
    Runs(peer).run();
    return 0;
  } catch (const std::exception& e) {
    std::cerr << side << ": " << e.what() << std::endl;
    return 1;
  }
}

}  // namespace

int run_sender(const Peer& peer) {
  return run<SendingPeer>(peer, "sender");
}
int run_receiver(const Peer& peer) {
  return run<ReceivingPeer>(peer, "receiver");
}

}  // namespace nimsync::soak
