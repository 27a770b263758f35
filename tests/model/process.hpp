// What the processes of the model do: what lib/client/endpoint.cpp and the endpoint templates do around a ring and a
// doorbell, with the same calls in the same order, and an account of what they are told.
//
// Message number n, from 1, is one or two words, each of which is n: so small a word looks like a frame's own, should
// it ever be read as one.
#pragma once

#include <array>
#include <cstring>
#include <span>

#include "nimsync/dense_ring.hpp"
#include "nimsync/framed_ring.hpp"
#include "nimsync/sleep.hpp"
#include "nimsync/stamped_ring.hpp"
#include "tests/model/world.hpp"

namespace nimsync::model {

// ---- The three rings behind one set of names.

struct Stamped {
  static constexpr std::size_t words(Word /*number*/) { return 2; }
  static constexpr Geometry geometry(Word capacity) { return {Layout::stamped, 2 * sizeof(Word), capacity}; }
  template <class State>
  using Sender = StampedSender<2 * sizeof(Word), Modelled, State>;
  template <class State>
  using Receiver = StampedReceiver<2 * sizeof(Word), Modelled, State>;
};

struct Dense {
  static constexpr std::size_t words(Word /*number*/) { return 1; }
  static constexpr Geometry geometry(Word capacity) { return {Layout::dense, sizeof(Word), capacity}; }
  template <class State>
  using Sender = DenseSender<sizeof(Word), Modelled, State>;
  template <class State>
  using Receiver = DenseReceiver<sizeof(Word), Modelled, State>;
};

struct Framed {
  static constexpr std::size_t words(Word number) { return 1 + number % 2; }
  static constexpr Geometry geometry(Word capacity) { return {Layout::framed, 2 * sizeof(Word), capacity}; }
  template <class State>
  using Sender = FramedSender<Modelled, State>;
  template <class State>
  using Receiver = FramedReceiver<Modelled, State>;
};

/// How many messages end at `position`.
template <class Kind>
Word messages_before(Word position) noexcept {
  if (world().memory().geometry.layout != Layout::framed) return position;
  Word number = 0;
  for (Word at = 0; at < position; at += layout::frame_bytes(Kind::words(number) * sizeof(Word))) ++number;
  return number;
}

template <class Kind>
Status try_send(SendState& state) noexcept {
  const Word number = messages_before<Kind>(state.position) + 1;
  const std::array<Word, 2> message{number, number};
  typename Kind::template Sender<SendState&> ring(state);
  return ring.try_send(std::as_bytes(std::span(message.data(), Kind::words(number))));
}

/// Takes the next message, and sees that it is the next and whole.
template <class Kind>
Status try_receive(ReceiveState& state) noexcept {
  const Word number = messages_before<Kind>(state.position) + 1;
  std::array<Word, 2> message{number, number};
  std::size_t bytes = 0;
  typename Kind::template Receiver<ReceiveState&> ring(state);
  if constexpr (std::is_same_v<Kind, Framed>) {
    std::span<const std::byte> frame;
    const Status status = ring.try_peek(1, frame);
    if (status != Status::ok) return status;
    bytes = frame.size();
    Modelled::copy<0>(reinterpret_cast<std::byte*>(message.data()), frame.data(), bytes);
    ring.release();
  } else {
    bytes = sizeof(Word) * Kind::words(number);
    const Status status = ring.try_receive(reinterpret_cast<std::byte*>(message.data()));
    if (status != Status::ok) return status;
  }
  world().require(bytes == Kind::words(number) * sizeof(Word) && message[0] == number && message[1] == number,
                  "a message isn't the one that was sent");
  world().require(++world().facts.received == number, "a message came twice, or was left out");
  return Status::ok;
}

// ---- Attaching, as in Attachment::attach(): where the ring goes on.

template <class Kind>
Resume resume_sending(const RingMemory& memory) noexcept {
  const Word streams = Modelled::load_acquire(&memory.forward_header()->common.streams);
  const Word mark = Modelled::load_acquire(&memory.forward_header()->common.position);
  const auto tail = find_tail<Modelled>(memory, mark & layout::kPositionMask);
  world().require(tail.has_value(), "a successor doesn't find the tail");
  return {.position = *tail, .stream = streams};
}

inline Resume resume_receiving(const RingMemory& memory) noexcept {
  return {.position = Modelled::load_acquire(&memory.return_header()->position),
          .stream = Modelled::load_acquire(&memory.return_header()->streams)};
}

template <class Kind>
SendState sending(const RingMemory& memory, const Resume& resume) noexcept {
  return typename Kind::template Sender<SendState>(memory, resume).state();
}
template <class Kind>
ReceiveState receiving(const RingMemory& memory, const Resume& resume) noexcept {
  return typename Kind::template Receiver<ReceiveState>(memory, resume).state();
}

/// Tells the world all that a process goes on with at one place of its program: the state of its half. What its
/// doorbell knows is its epoch, which is in the header, and a removal, which the world remembers.
inline void rest(const SendState& state, Word place = 0) noexcept {
  world().rest({place, state.position, state.limit, state.room, state.stream, Word{state.open}, state.rung, state.hint,
                state.frames});
}
inline void rest(const ReceiveState& state, Word place = 0) noexcept {
  world().rest({place, state.position, state.known, state.stream, state.length, state.rung});
}

// ---- Sleeping endpoints.

/// An endpoint's doorbell, attached, and the blocking call around it. A call is an attempt that is repeated while it
/// says would_block. Where such an attempt left nothing behind, and after each step, the process rests.
class Bell {
 public:
  Bell(Role role, const RingMemory& memory, layout::Barrier barrier) noexcept : doorbell_(role, memory, Kernel{}) {
    if (barrier == layout::Barrier::membarrier) world().register_for_membarrier();
    world().open_lines();
    doorbell_.attach([] { return world().peer_holds_line(); }, barrier);
    world().facts.unmet[world().self()] = world().facts.lost[peer_of(world().self())];
  }

  /// `memory` for a ring's half that looks at the peer's epoch, or always takes the slow path.
  [[nodiscard]] RingMemory heard(RingMemory memory) const noexcept {
    memory.bell = doorbell_.bell();
    return memory;
  }

  /// After each publication.
  template <class State>
  void publish(State& state) noexcept {
    if (peer_sleeps<Modelled>(state)) state.rung = doorbell_.wake(state.rung);
  }

  /// As Endpoint::block().
  template <class State, class Attempt>
  Status block(State& state, Attempt attempt) noexcept {
    const Status status = wait(state, attempt);
    doorbell_.rise();
    return status;
  }

  /// As who arms an endpoint and waits for its descriptor: announces anew each time, without rising in between, and
  /// asks for the membarrier itself.
  template <class State, class Attempt>
  Status arm(State& state, Attempt attempt) noexcept {
    for (;;) {
      Status status = attempt();
      if (status != Status::would_block) return status;
      rest(state, kTried);
      world().require(doorbell_.prepare(), kUnable);
      world().membarrier();
      rest(state, kAnnounced);
      status = attempt();
      if (status != Status::would_block) return status;
      rest(state, kTriedAgain);
      const auto news = doorbell_.look();
      if (news.status == Status::ok) {
        if (!news.rung) world().sleep();
        continue;
      }
      status = attempt();
      if (status != Status::would_block) return status;
      return news.status == Status::peer_lost ? tell_loss() : news.status;
    }
  }

 private:
  using Step = Doorbell<Modelled, Kernel>::Step;

  enum Place : Word { kTried = 1, kAnnounced, kTriedAgain, kStepped };
  static constexpr const char* kUnable = "an endpoint that could sleep says that it can't";

  template <class State, class Attempt>
  Status wait(State& state, Attempt attempt) noexcept {
    for (;;) {
      Status status = attempt();
      if (status != Status::would_block) return status;
      rest(state, doorbell_.is_announced() ? kTriedAgain : kTried);
      switch (doorbell_.step()) {
        case Step::look:
          break;
        case Step::sleep:
          world().sleep();
          doorbell_.rise();
          break;
        case Step::peer_lost:
          status = attempt();
          return status != Status::would_block ? status : tell_loss();
        case Step::removed:
          status = attempt();
          return status != Status::would_block ? status : Status{Status::removed};
        case Step::unable:
          world().fault(kUnable);
      }
      rest(state, doorbell_.is_announced() ? kAnnounced : kStepped);
    }
  }

  /// A loss that the caller is told of.
  Status tell_loss() noexcept {
    Facts& facts = world().facts;
    const Part self = world().self();
    doorbell_.count_loss();
    world().require(++facts.told[self] <= facts.lost[peer_of(self)], "peer_lost without a lost peer");
    return Status::peer_lost;
  }

  Doorbell<Modelled, Kernel> doorbell_;
};

}  // namespace nimsync::model
