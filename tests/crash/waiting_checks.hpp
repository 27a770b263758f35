// Blocking calls at any instruction on their way to sleep: whatever the peer does just then, the call comes back, and
// says the right thing. No bound on the sleep: what is not woken hangs, and the watchdog finds it.
//
// record_waiting   receive() on an empty ring, send() on a full one, stepped until it sleeps, then woken by a message
// (or
//                  room) and stepped to its end; the memory is judged after each instruction, as for other operations.
// check_waiting    at one point the peer acts, and the process is let go on.
// check_waking     the other way round: the peer sleeps, and the process dies at one point of the call that wakes it.
#pragma once

#include <poll.h>
#include <sys/ioctl.h>

#include <memory>
#include <string>

#include "tests/crash/crash_checks.hpp"

namespace nimsync::crash_test {

/// What the peer, or fate, does while a call is about to sleep.
enum class Act : std::uint8_t {
  supply,   // a message is sent, or room is made
  close,    // of a sender
  leave,    // goes away without a word
  part,     // supplies, and leaves
  die,      // SIGKILL
  succeed,  // SIGKILL, and a successor is there at once
  remove,   // of the channel
  replace,  // of the one who waits: SIGKILL, a successor waits in its place, and is supplied
};
inline constexpr Act kActs[] = {Act::supply, Act::close,   Act::leave,  Act::part,
                                Act::die,    Act::succeed, Act::remove, Act::replace};

inline const char* name(Act act) {
  constexpr const char* kNames[] = {"supply", "close", "leave", "part", "die", "succeed", "remove", "replace"};
  return kNames[static_cast<std::size_t>(act)];
}

/// A status in a log.
inline std::uint64_t said(Status status) {
  return (std::uint64_t{1} << 40U) + static_cast<std::uint64_t>(Status::Code{status});
}

/// A channel whose `role` waits in a process that is stepped, and whose peer is here or in a process of its own.
class Waiting {
 public:
  Waiting(const Kind& kind, Role role, bool is_peer_apart)
      : channel(kind, kind.framed() ? rings_test::page() : 4), receives(role == Role::receiver) {
    if (is_peer_apart) {
      other = std::make_unique<Stepped>(
          [&](Marks&) {
            const auto tx = receives ? channel.attach_sender() : nullptr;
            const auto rx = receives ? nullptr : channel.attach_receiver();
            ::poll(nullptr, 0, -1);  // until it is killed
          },
          false);
      other->until_asleep();
    } else {
      attach_peer();
    }
    process = std::make_unique<Stepped>([&](Marks& marks) { wait(marks, 0, false); });
  }

  void attach_peer() {
    if (receives) {
      sender = channel.attach_sender();
    } else {
      receiver = channel.attach_receiver();
    }
  }

  /// One message, or all the room.
  void supply() {
    if (receives) {
      rings_test::send_all(channel, *sender, next, sent, 1);
    } else {
      rings_test::receive_all(channel, *receiver, received);
    }
  }

  /// In the child: one blocking call, from number `from` on (a sender, which fills the ring before). `all`: receives
  /// without end, until there is something else to say.
  void wait(Marks& marks, std::uint64_t from, bool all) const {
    internal::set_longest_sleep(Timeout::max());
    Log log;
    if (receives) {
      const auto rx = channel.attach_receiver(marks);
      Status status = Status::ok;
      do {
        Message message;
        marks.on();
        status = rx->receive(message);
        marks.off();
        if (status == Status::ok) {
          rings_test::take(channel, message, log);
        } else {
          log.push_back(said(status));
        }
        marks.report(log);
      } while (all && status == Status::ok && log.back() < rings_test::kSecond);
    } else {
      const auto tx = channel.attach_sender(marks);
      rings_test::send_all(channel, *tx, from, log, rings_test::page());
      marks.report(log, true);
      const Message message = channel.message(from);
      marks.on();
      const Status status = tx->send(message);
      marks.off();
      marks.report({status == Status::ok ? from : said(status)});
    }
  }

  Channel channel;
  bool receives;
  std::unique_ptr<SendingEnd> sender;
  std::unique_ptr<ReceivingEnd> receiver;
  std::unique_ptr<Stepped> other;  // the peer, if apart
  std::uint64_t next = 0;
  Log sent;
  Log received;
  std::unique_ptr<Stepped> process;
};

/// See the top. The steps returned end where it sleeps.
inline Steps record_waiting(const Kind& kind, Role role, Tally& tally) {
  Waiting stage(kind, role, false);
  Steps steps;
  Steps woken;
  bool has_slept = false;
  for (;;) {
    const Stepped::Stop stop = stage.process->step();
    if (stop == Stepped::Stop::ended) break;
    if (stop == Stepped::Stop::stopped) {
      take(stage.channel, *stage.process, has_slept ? woken : steps);
    } else {
      require(!has_slept, "it sleeps twice");
      has_slept = true;
      stage.supply();
    }
  }
  require(has_slept, "it doesn't sleep");
  const Log waiting = stage.receives ? Log{} : stage.process->before();
  Plan plan{kind, {stage.channel.geometry().capacity, 0, 0}, stage.receives ? Operation::peek : Operation::reserve};
  judge(plan, steps, waiting, {}, tally);
  judge(plan, woken, stage.sent, stage.process->done(), tally);
  return steps;
}

/// The successor of one who was killed waits, and is supplied.
inline void check_replaced(Waiting& stage) {
  Stepped successor([&](Marks& marks) { stage.wait(marks, rings_test::kSecond, true); }, false);
  successor.until_asleep();
  if (stage.receives) {
    stage.next = rings_test::kSecond;  // the last that it waits for
    stage.supply();
    successor.finish();
    require(successor.done() == stage.sent,
            "sent" + rings_test::text(stage.sent) + ", received" + rings_test::text(successor.done()), Fault::lost);
  } else {
    stage.supply();
    successor.finish();
    stage.supply();
    Log wanted = stage.process->before();
    append(wanted, successor.before());
    append(wanted, successor.done());
    require(stage.received == wanted,
            "sent" + rings_test::text(wanted) + ", received" + rings_test::text(stage.received), Fault::lost);
  }
}

/// See the top. Point steps.trace.size() is where it sleeps. False: the process didn't come to the point, but went
/// another way to sleep than the one that was recorded: how the time is told depends on the time.
inline bool check_waiting(const Kind& kind, Role role, Act act, const Steps& steps, std::size_t point, Tally& tally) {
  Waiting stage(kind, role, act == Act::die || act == Act::succeed);
  const std::size_t last = steps.trace.size() - 1;
  if (!stage.process->run_to(steps.trace, std::min(point, last))) return false;
  if (point > last && stage.process->step() != Stepped::Stop::asleep) return false;
  std::uint64_t wanted = said(Status::peer_lost);
  switch (act) {
    case Act::supply:
      stage.supply();
      wanted = stage.receives ? 0 : stage.process->before().size();
      break;
    case Act::close:
      stage.sender->close();
      wanted = said(Status::closed);
      break;
    case Act::part:
      stage.supply();
      wanted = stage.receives ? 0 : stage.process->before().size();
      [[fallthrough]];
    case Act::leave:
      if (stage.receives) {
        stage.sender->leave();
      } else {
        stage.receiver->leave();
      }
      break;
    case Act::die:
      stage.other->kill();
      break;
    case Act::succeed:
      stage.other->kill();
      stage.attach_peer();
      break;
    case Act::remove:
      stage.channel.remove();
      wanted = said(Status::removed);
      break;
    case Act::replace:
      if (point % 2 == 0) stage.supply();  // rung for, or not
      stage.process->kill();
      ++tally.kills;
      check_replaced(stage);
      ++tally.acts;
      return true;
  }
  stage.process->finish();
  require(stage.process->done() == Log{wanted},
          "wanted" + rings_test::text({wanted}) + ", and it said" + rings_test::text(stage.process->done()));
  ++tally.acts;
  return true;
}

/// All acts, each at one in `every` points and where it sleeps.
inline void check_waiting(const Kind& kind, Role role, std::size_t every, std::size_t salt, Tally& tally) {
  std::string where = "recording";
  try {
    Steps steps = record_waiting(kind, role, tally);
    for (const Act act : kActs) {
      if (act == Act::close && role == Role::sender) continue;
      ++salt;
      for (std::size_t point = 0; point <= steps.trace.size(); ++point) {
        if (point != steps.trace.size() && !Extent::has(every, point, salt)) continue;
        where =
            std::string(name(act)) + " at point " + std::to_string(point) + " of " + std::to_string(steps.trace.size());
        constexpr unsigned kMostWays = 10;
        for (unsigned ways = 1; !check_waiting(kind, role, act, steps, point, tally); ++ways) {
          require(ways < kMostWays, "processes that wait alike come elsewhere");
          Tally ignored;
          steps = record_waiting(kind, role, ignored);
          point = std::min(point, steps.trace.size());
        }
      }
    }
  } catch (const Broken& broken) {
    tally.blame(broken);
    throw Broken(
        kind.name + (role == Role::sender ? ", send() waits, " : ", receive() waits, ") + where + ": " + broken.what(),
        broken.fault());
  }
}

/// Kills who makes a call that wakes its peer, at one point of it. False: the call had ended by then.
inline bool kill_who_wakes(const Kind& kind, Operation operation, std::size_t point) {
  const bool sends = Plan{kind, {}, operation}.sends();
  Channel channel(kind, kind.framed() ? rings_test::page() : 4);
  Stepped sleeper(
      [&](Marks& marks) {
        internal::set_longest_sleep(Timeout::max());
        Log log;
        Status status = Status::ok;
        if (sends) {
          const auto rx = channel.attach_receiver();
          for (Message message; (status = rx->receive(message)) == Status::ok;) {
            rings_test::take(channel, message, log);
          }
        } else {
          const auto tx = channel.attach_sender();
          for (std::uint64_t n = 0; (status = tx->send(channel.message(n))) == Status::ok; ++n) log.push_back(n);
        }
        log.push_back(said(status));
        marks.report(log);
      },
      false);
  sleeper.until_asleep();
  const os::Descriptor line = channel.watch(sends ? Role::sender : Role::receiver);
  Stepped process([&](Marks& marks) {
    const auto tx = sends ? channel.attach_sender(marks) : nullptr;
    const auto rx = sends ? nullptr : channel.attach_receiver(marks);
    std::uint64_t next = 0;
    Log log;
    marks.on();
    if (sends) {
      rings_test::perform(operation, channel, *tx, next, log);
    } else {
      rings_test::perform(operation, channel, *rx, log);
    }
    ::poll(nullptr, 0, -1);  // until it is killed
  });
  require(process.step() == Stepped::Stop::stopped, "the process doesn't begin");
  // The sleeper has taken the ring of this attaching, and sleeps again.
  const layout::Header& theirs = sends ? *channel.memory().return_header() : channel.memory().forward_header()->common;
  const auto has_settled = [&] {
    int bytes = 0;
    return ::ioctl(line.get(), FIONREAD, &bytes) == 0 && bytes == 0 &&
           __atomic_load_n(&theirs.sleep_epoch, __ATOMIC_SEQ_CST) % 2 != 0;
  };
  require(testing::eventually(has_settled), "the peer doesn't sleep again", Fault::hung);
  sleeper.until_asleep();
  for (std::size_t i = 0; i < point && process.point().is_marked; ++i) process.step();
  const bool is_inside = process.point().is_marked;
  process.kill();
  sleeper.finish();
  const Log log = sleeper.done();
  const bool is_told = !log.empty() && (log.back() == said(Status::peer_lost) ||
                                        (operation == Operation::close && log.back() == said(Status::closed)));
  require(is_told, "the peer of the dead says" + rings_test::text(log));
  // Only when nothing was left to be received, and no room to send into.
  Log left;
  if (sends) rings_test::receive_all(channel, *channel.attach_receiver(), left);
  require(left.empty(), "the peer of the dead is told of it before it has received" + rings_test::text(left),
          Fault::lost);
  require(sends || channel.attach_sender()->look() == Status::would_block,
          "the peer of the dead is told of it while there is room");
  return is_inside;
}

/// See the top, at one in `every` points.
inline void check_waking(const Kind& kind, Operation operation, std::size_t every, std::size_t salt, Tally& tally) {
  std::size_t point = salt % every;
  try {
    while (kill_who_wakes(kind, operation, point)) {
      point += every;
      ++tally.points;
      ++tally.kills;
    }
  } catch (const Broken& broken) {
    tally.blame(broken);
    throw Broken(kind.name + ", " + rings_test::name(operation) + " wakes, killed at point " + std::to_string(point) +
                     ": " + broken.what(),
                 broken.fault());
  }
}

}  // namespace nimsync::crash_test
