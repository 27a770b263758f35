// The sleep protocol: how one side of a channel sleeps without polling, and how the other wakes it without paying for
// it while it is awake.
//
//     the side that sleeps                            the side that publishes
//     1  drain its line                               1  store a position, a stamp, a stream's end
//     2  sleep_epoch := an odd number never used      2  compiler barrier
//     3  membarrier: a fence in both processes        3  load the epoch: odd, and not the one rung last?
//     4  look at the ring and at the peer again       4  then ring: a byte into the line
//     5  wait for the line
//     6  sleep_epoch := the next even number
//
// Sleeping and publishing are a store-buffering pair: each side stores one word and loads the other's, and without a
// fence between them on both sides each may miss the other. A fence in the publisher would cost it two thirds of its
// throughput, so the sleeper, who has time, fences for both. If the membarrier comes before the publisher's load of
// the epoch, that load sees it odd, and rings; if after, the look in step 4 sees what was published.
//
// Nobody writes the other's word, and no word is cleared: the publisher remembers the epoch that it rang last in
// private memory. So no honest side uses an epoch twice, and a successor goes on from what it finds.
//
// A peer that could not register for membarriers fences with each publication itself (Barrier::fence). The sleeper
// must know that either is the case: membarrier(2) succeeds without the peer.
//
// A line (os/line.hpp) tells of a dead peer by a hang-up, but a successor that opens it takes the hang-up away, so who
// attaches rings unconditionally at the end. Losses are counted, not seen: each attached peer lives, or closed its
// stream, or was lost, and the difference to the losses already told is what is still to be told. A removed channel's
// lines are marked first, then rung, and lose their names then, so who is rung looks for the mark and the name.
//
// The idea of fencing by the sleeper alone is that of asymmetric Dekker synchronisation and of membarrier(2); the
// epoch in place of a flag that the waker clears is this project's.
//
// Threads: an object is used by one thread at a time. Processes: one on each side.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include "nimsync/layout.hpp"
#include "nimsync/ring.hpp"
#include "nimsync/status.hpp"

namespace nimsync {
inline namespace v1 {

/// What one look at the peer's line finds.
struct LineNews {
  bool rung = false;  // a byte was there; the line was emptied
  bool dead = false;  // nobody holds it just now
};

/// What the protocol asks of the operating system for one endpoint.
template <class K>
concept LineKernel = requires(K kernel) {
  // Empties the peer's line without waiting, and says what was in it.
  { kernel.drain() }
  noexcept->std::same_as<LineNews>;
  // Puts one byte into the own line; never waits.
  { kernel.ring() }
  noexcept->std::same_as<void>;
  // A sequentially consistent fence in every registered process; false: refused.
  { kernel.membarrier() }
  noexcept->std::same_as<bool>;
  // Whether the channel was removed.
  { kernel.is_removed() }
  noexcept->std::same_as<bool>;
};

/// In the place of the peer's epoch, for an endpoint that must fence before it may look at that: every publication
/// takes the slow path.
inline constexpr std::uint64_t kAlwaysOdd = ~std::uint64_t{0};

/// One endpoint's side of the protocol, and its account of lost peers.
template <class Policy, LineKernel Kernel>
class Doorbell {
 public:
  /// For memory that is mapped as long as this lives.
  Doorbell(Role role, const RingMemory& memory, Kernel kernel) noexcept
      : role_(role),
        own_(role == Role::sender ? &memory.forward_header()->common : memory.return_header()),
        peer_(role == Role::sender ? memory.return_header() : &memory.forward_header()->common),
        kernel_(kernel) {}

  /// Makes this endpoint known to the peer. `peer_lives()` says whether somebody holds the peer's side just now; what
  /// it throws is passed on.
  ///
  /// What peers died before this endpoint came: a receiver learns of one loss, since what it will drain may end in the
  /// middle; when a new sender is there already, of none. Of a receiver that a sender never met there is nothing to
  /// tell.
  template <class PeerLives>
  void attach(PeerLives peer_lives, layout::Barrier barrier) {
    barrier_ = barrier;
    // In this order: a peer that attaches or closes meanwhile isn't counted as lost. Its real loss would later be taken
    // for one that was told.
    const std::uint64_t peers = Policy::load_acquire(&peer_->attached);  // SYNC: attached
    const bool lives = peer_lives();
    const std::uint64_t closed = role_ == Role::receiver ? Policy::load_acquire(&peer_->streams) : 0;
    const std::uint64_t lost = peers - std::min(peers, closed + (lives ? 1 : 0));
    const std::uint64_t told = Policy::load_acquire(&own_->losses);
    const bool tell_one = role_ == Role::receiver && !lives && lost > told;
    // Never fewer than were told: a sender that has closed its stream and still holds its line is in the sum twice.
    Policy::store_release(&own_->losses, std::max(told, lost - (tell_one ? 1 : 0)));
    // Killed while it slept, a predecessor left an odd epoch, for which the peer may have rung already.
    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);
    Policy::store_relaxed(&own_->sleep_epoch, epoch_);
    Policy::store_relaxed(&own_->barrier, static_cast<std::uint64_t>(barrier));
    Policy::store_release(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);  // SYNC: attached
    kernel_.ring();
  }

  /// What a ring's half is to look at after it has published; null: the peer's epoch itself.
  [[nodiscard]] const std::uint64_t* bell() const noexcept {
    return barrier_ == layout::Barrier::fence ? &kAlwaysOdd : nullptr;
  }

  /// The slow path of a publication (peer_sleeps()), and the one place that rings for one: `rung` is the epoch rung for
  /// last; returns the one to be remembered.
  std::uint64_t wake(std::uint64_t rung) noexcept {
    if (barrier_ == layout::Barrier::fence) Policy::fence();
    const std::uint64_t epoch = Policy::load_relaxed(&peer_->sleep_epoch);  // SYNC: asleep
    if ((epoch & 1) == 0 || epoch == rung || epoch == kAlwaysOdd) return rung;
    Policy::store_relaxed(&own_->rings, Policy::load_relaxed(&own_->rings) + 1);
    kernel_.ring();
    return epoch;
  }

  enum class Step : std::uint8_t {
    look,       // look at the ring; if it has nothing, come again
    sleep,      // wait for the line, then call rise()
    peer_lost,  // look at the ring a last time; if it has nothing, the loss is to be told, and counted
    removed,    // likewise
    unable,     // this endpoint can't sleep on its line: wait otherwise
  };

  /// The way to sleep, one step a call, between which the caller looks at its ring: announce, then sleep. Whatever ends
  /// it, rise() comes last.
  Step step() noexcept {
    if (!is_announced()) return announce() ? Step::look : Step::unable;
    const News news = look();
    if (news.status == Status::removed) return Step::removed;
    if (news.status == Status::peer_lost) return Step::peer_lost;
    if (!news.rung) return Step::sleep;
    rise();
    return Step::look;
  }

  [[nodiscard]] bool is_announced() const noexcept { return (epoch_ & 1) != 0; }

  /// Steps 1 to 3. False, and not announced, when it can't be done here.
  bool announce() noexcept {
    if (!prepare()) return false;
    if (kernel_.membarrier()) return true;
    refuse();
    return false;
  }

  /// Steps 1 and 2, for who asks for one membarrier on behalf of many endpoints. Announces anew when announced already.
  bool prepare() noexcept {
    if (!can_sleep()) return false;
    const LineNews news = kernel_.drain();
    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    epoch_ += is_announced() ? 2U : 1U;
    Policy::store_relaxed(&own_->sleep_epoch, epoch_);  // SYNC: asleep
    return true;
  }

  /// The membarrier was refused: sleeps on the line no more, for good.
  void refuse() noexcept {
    rise();
    if (barrier_ == layout::Barrier::membarrier) barrier_ = layout::Barrier::refused;
    Policy::store_relaxed(&own_->barrier, static_cast<std::uint64_t>(barrier_));
  }

  /// Step 6. Nothing when not announced.
  void rise() noexcept {
    if (!is_announced()) return;
    ++epoch_;
    Policy::store_relaxed(&own_->sleep_epoch, epoch_);
  }

  /// Whether this side may sleep on its line: it can ask for membarriers, and the peer takes part in them or fences.
  [[nodiscard]] bool can_sleep() const noexcept {
    if (barrier_ != layout::Barrier::membarrier) return false;
    return Policy::load_acquire(&peer_->attached) == 0 ||  // SYNC: attached
           Policy::load_relaxed(&peer_->barrier) != static_cast<std::uint64_t>(layout::Barrier::none);
  }

  struct News {
    Status status;      // `ok`, `removed`, or `peer_lost` (to be counted when told)
    bool rung = false;  // somebody rang since the last look
  };

  /// How the peer is. One system call when there is no news.
  News look() noexcept {
    // First who attached, then whether it lives: whoever attached before is dead if nobody lives.
    const std::uint64_t attached = Policy::load_acquire(&peer_->attached);  // SYNC: attached
    const LineNews news = kernel_.drain();
    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    if (removed_) return {Status::removed, news.rung};
    return {has_untold_loss(attached, news.dead) ? Status::peer_lost : Status::ok, news.rung};
  }

  /// Asks whether the channel was removed without having been rung for it.
  void look_for_removal() noexcept {
    if (kernel_.is_removed()) removed_ = true;
  }

  /// A lost peer was told of.
  void count_loss() noexcept { Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1); }

 private:
  /// Each attached peer lives, or closed its stream, or was lost; each loss is told once. A sender that has closed and
  /// lives on makes the sum one too small, until it is gone.
  [[nodiscard]] bool has_untold_loss(std::uint64_t attached, bool dead) const noexcept {
    const std::uint64_t closed = role_ == Role::receiver ? Policy::load_acquire(&peer_->streams) : 0;
    const std::uint64_t accounted = closed + Policy::load_relaxed(&own_->losses) + (dead ? 0 : 1);
    return attached > accounted;
  }

  Role role_;
  layout::Header* own_;
  const layout::Header* peer_;
  Kernel kernel_;
  layout::Barrier barrier_ = layout::Barrier::none;
  std::uint64_t epoch_ = 0;  // own, as in the header
  bool removed_ = false;     // for good
};

}  // namespace v1
}  // namespace nimsync
