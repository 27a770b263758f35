// Death at any instruction of a data operation, and a peer that acts at any instruction of it.
//
// The operation runs in a process of its own, over the product's endpoints as they are compiled, and is stepped:
//
// record      after each instruction both segments are compared with the last image, and copied when they changed. That
//             copy is what SIGKILL leaves there. The oracle of tests/rings has successors of both sides attach over it
//             and go on: they must see every committed message once, whole and in order; only those of the one
//             operation may be in or out, and what was in stays in.
// check_kill  the process is really killed at one point: the memory must be the image, the lease free, the line hung
//             up, the peer told of one loss, and a successor must go on over the very memory.
// check_peer  the peer makes whole operations of its own at one point, and the process is let go on: what was received
//             must be what was sent.
// check_leaving     once the lease is free, the segment is a successor's: nothing may be written any more.
// check_attaching   the process attaches over an image that another left by its death, and dies there too.
//
// Exact about the instructions, and blind to weak memory orders: a processor's store buffer is empty at each stop.
#pragma once

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/crash/channel.hpp"
#include "tests/rings/crash_checks.hpp"

namespace nimsync::crash_test {

using rings_test::kEnd;
using rings_test::Operation;
using rings_test::Scene;

/// What was judged, and what was found wrong.
struct Tally {
  std::uint64_t points = 0;  // instructions after which it was stopped
  std::uint64_t images = 0;  // different memories, each of which successors went on over
  std::uint64_t kills = 0;
  std::uint64_t acts = 0;         // points at which the peer did something
  std::uint64_t redelivered = 0;  // messages seen again, once: shown to who died, and not released
  std::uint64_t lost = 0;
  std::uint64_t torn = 0;
  std::uint64_t doubled = 0;
  std::uint64_t hung = 0;
  std::uint64_t broken = 0;  // otherwise

  void blame(const Broken& broken_check) {
    switch (broken_check.fault()) {
      case Fault::lost:
        ++lost;
        return;
      case Fault::torn:
        ++torn;
        return;
      case Fault::doubled:
        ++doubled;
        return;
      case Fault::hung:
        ++hung;
        return;
      case Fault::other:
        ++broken;
        return;
    }
  }
};

inline std::string text(const Tally& tally) {
  const auto figure = [](const char* name, std::uint64_t count) { return name + (" " + std::to_string(count)); };
  return figure("points", tally.points) + figure(", images", tally.images) + figure(", kills", tally.kills) +
         figure(", acts of the peer", tally.acts) + figure(", lost", tally.lost) + figure(", torn", tally.torn) +
         figure(", hung", tally.hung) + figure(", doubled", tally.doubled) +
         figure(", seen again unreleased", tally.redelivered);
}

inline void append(Log& log, const Log& more) {
  log.insert(log.end(), more.begin(), more.end());
}
inline bool has_end(const Log& log) {
  return std::find(log.begin(), log.end(), kEnd) != log.end();
}

/// One operation in one place. Warm: the process has sent what waits, or received something, itself, and knows of
/// room, or of messages; cold, it has just succeeded somebody who did.
struct Plan {
  Kind kind;
  Scene scene;
  Operation operation = Operation::send;
  bool warm = false;

  [[nodiscard]] bool sends() const {
    return std::find(std::begin(rings_test::kSenders), std::end(rings_test::kSenders), operation) !=
           std::end(rings_test::kSenders);
  }
  [[nodiscard]] Role role() const { return sends() ? Role::sender : Role::receiver; }
};

inline std::string text(const Plan& plan) {
  return rings_test::text(plan.kind, plan.scene, plan.operation) + (plan.warm ? ", warm" : ", cold");
}

/// The channel, the peer in this process, and the process that is to be stepped.
class Stage {
 public:
  explicit Stage(const Plan& plan) : channel(plan.kind, plan.scene.capacity) {
    // A watcher that was there before its line's first holder is told of a death.
    line = channel.watch(plan.role());
    if (plan.sends()) {
      receiver = channel.attach_receiver();
      auto first = channel.attach_sender();
      pass(*first, *receiver, plan.scene.before);
      if (!plan.warm) {
        rings_test::send_all(channel, *first, next, sent, plan.scene.waiting);
        waiting.assign(sent.begin() + static_cast<std::ptrdiff_t>(received.size()), sent.end());
      }
      first.reset();
      if (waiting.empty()) {
        require(receiver->check() == Status::peer_lost, "the receiver isn't told of its first sender's loss");
      } else {
        untold = 1;
      }
    } else {
      sender = channel.attach_sender();
      auto first = channel.attach_receiver();
      pass(*sender, *first, plan.scene.before);
      first.reset();
      require(sender->check() == Status::peer_lost, "the sender isn't told of its first receiver's loss");
      rings_test::send_all(channel, *sender, next, sent, plan.scene.waiting + (plan.warm ? 1 : 0));
    }
    process = std::make_unique<Stepped>([&](Marks& marks) { plan.sends() ? send(plan, marks) : receive(plan, marks); });
  }

  Channel channel;
  std::unique_ptr<SendingEnd> sender;      // the peer: one of them
  std::unique_ptr<ReceivingEnd> receiver;  //
  os::Descriptor line;                     // the process's, to look at
  std::uint64_t next = 0;
  Log sent;      // by this process
  Log received;  // by this process
  Log waiting;   // sent before the process attached
  unsigned untold = 0;
  std::unique_ptr<Stepped> process;

  /// How often the peer is told of a loss now.
  [[nodiscard]] unsigned told() const {
    unsigned losses = 0;
    constexpr unsigned kMost = 10;
    while (losses < kMost && (sender ? sender->check() : receiver->check()) == Status::peer_lost) ++losses;
    return losses;
  }

 private:
  void pass(SendingEnd& from, ReceivingEnd& to, std::uint64_t count) {
    constexpr std::uint64_t kAtOnce = 5;
    while (next < count) {
      rings_test::send_all(channel, from, next, sent, std::min(count - next, kAtOnce));
      rings_test::receive_all(channel, to, received);
    }
  }

  void send(const Plan& plan, Marks& marks) {
    const auto tx = channel.attach_sender(marks);
    Log log;
    if (plan.warm) rings_test::send_all(channel, *tx, next, log, plan.scene.waiting);
    marks.report(log, true);
    Log done;
    marks.on();
    rings_test::perform(plan.operation, channel, *tx, next, done);
    marks.off();
    marks.report(done);
  }
  void receive(const Plan& plan, Marks& marks) {
    const auto rx = channel.attach_receiver(marks);
    Log log;
    if (plan.warm) rings_test::receive_all(channel, *rx, log, 1);
    marks.report(log, true);
    Log done;
    marks.on();
    rings_test::perform(plan.operation, channel, *rx, done);
    marks.off();
    marks.report(done);
  }
};

/// What a process that was stepped through all of it left behind.
struct Steps {
  Trace trace;                        // each point
  std::vector<std::size_t> at;        // of each point, the image
  std::vector<Image> images;          // no two that follow one another alike
  std::vector<rings_test::Log> seen;  // over each image, by successors, of what was sent before it
};

/// Looks at the memory after another instruction.
inline void take(const Channel& channel, const Stepped& process, Steps& steps) {
  steps.trace.push_back(process.point());
  if (steps.images.empty() || !channel.shows(steps.images.back())) {
    steps.images.push_back(channel.mapping().image());
  }
  steps.at.push_back(steps.images.size() - 1);
}

/// What successors see over an image. That they can't attach is a fault too.
inline Log succeed(Channel& after, const Image& image) try {
  return rings_test::succeed(after, image);
} catch (const Error& error) {
  throw Broken(std::string("a successor can't attach: ") + error.what(), Fault::lost);
}

/// The oracle over all images, `waiting` having been there before the operation.
inline void judge(const Plan& plan, Steps& steps, const Log& waiting, const Log& done, Tally& tally) {
  Channel after(plan.kind, plan.scene.capacity);
  rings_test::Judge judge(plan.sends(), waiting, done);
  for (const Image& image : steps.images) {
    steps.seen.push_back(succeed(after, image));
    judge.add(steps.seen.back());
  }
  judge.finish();
  tally.points += steps.trace.size();
  tally.images += steps.images.size();
}

/// See the top.
inline Steps record(const Plan& plan, Tally& tally) {
  Steps steps;
  Stage stage(plan);
  while (stage.process->step() != Stepped::Stop::ended) take(stage.channel, *stage.process, steps);
  Log waiting = stage.waiting;
  if (plan.sends()) {
    append(waiting, stage.process->before());
  } else {
    append(stage.received, stage.process->before());
    waiting.assign(stage.sent.begin() + static_cast<std::ptrdiff_t>(stage.received.size()), stage.sent.end());
  }
  judge(plan, steps, waiting, stage.process->done(), tally);
  if (plan.operation == Operation::peek && !waiting.empty()) {
    require(steps.seen.back() == waiting, "a message that was shown and not released is not seen again once");
    ++tally.redelivered;
  }
  return steps;
}

inline void run_to(Stage& stage, const Steps& steps, std::size_t point) {
  require(stage.process->run_to(steps.trace, point) && stage.process->point() == steps.trace[point] &&
              stage.channel.shows(steps.images[steps.at[point]]),
          "a process that does the same doesn't come to the same point");
}

/// Both ends of a line that was held: the lease is free and the watcher told.
inline void require_dead(const os::Descriptor& line) {
  require(os::lease(line) == os::Lease::free, "the dead hold their lease");
  ::pollfd look{.fd = line.get(), .events = POLLIN, .revents = 0};
  ::poll(&look, 1, 0);
  require((look.revents & POLLHUP) != 0, "the line doesn't hang up");
}

/// See the top.
inline void check_kill(const Plan& plan, const Steps& steps, std::size_t point, Tally& tally) {
  Stage stage(plan);
  Channel& channel = stage.channel;
  run_to(stage, steps, point);
  stage.process->kill();
  require(channel.shows(steps.images[steps.at[point]]), "SIGKILL leaves other memory than the image");
  require_dead(stage.line);

  Log wanted = steps.seen[steps.at[point]];
  const bool first = point % 2 == 0;  // the peer is told before a successor comes, or after
  std::uint64_t next = rings_test::kSecond;
  Log got;
  if (plan.sends()) {
    auto successor = first ? nullptr : channel.attach_sender();
    rings_test::receive_all(channel, *stage.receiver, got);
    require(stage.told() == stage.untold + (has_end(got) ? 0 : 1), "not each loss is told once");
    if (first) successor = channel.attach_sender();
    rings_test::send_all(channel, *successor, next, wanted, 2);
    rings_test::receive_all(channel, *stage.receiver, got);
  } else {
    auto successor = first ? nullptr : channel.attach_receiver();
    require(stage.told() == 1, "not each loss is told once");
    if (first) successor = channel.attach_receiver();
    rings_test::receive_all(channel, *successor, got);
    rings_test::send_all(channel, *stage.sender, next, wanted, 2);
    rings_test::receive_all(channel, *successor, got);
  }
  require(got == wanted, "after a kill, of" + rings_test::text(wanted) + " came" + rings_test::text(got), Fault::lost);
  ++tally.kills;
}

/// See the top. `much`: the peer fills or drains the ring; else it sends or receives one, closes, and sends one more.
inline void check_peer(const Plan& plan, const Steps& steps, std::size_t point, bool much, Tally& tally) {
  constexpr std::uint64_t kAll = 100'000;
  Stage stage(plan);
  Channel& channel = stage.channel;
  run_to(stage, steps, point);
  if (plan.sends()) {
    rings_test::receive_all(channel, *stage.receiver, stage.received, much ? kAll : 1);
  } else {
    rings_test::send_all(channel, *stage.sender, stage.next, stage.sent, much ? kAll : 1);
    if (!much) {
      stage.sender->close();
      stage.sent.push_back(kEnd);
      stage.sender.reset();
      stage.sender = channel.attach_sender();
      rings_test::send_all(channel, *stage.sender, stage.next, stage.sent, 1);
    }
  }
  stage.process->finish();
  Log& log = plan.sends() ? stage.sent : stage.received;
  append(log, stage.process->before());
  append(log, stage.process->done());
  if (!plan.sends()) stage.receiver = channel.attach_receiver();
  rings_test::receive_all(channel, *stage.receiver, stage.received);
  require(stage.sent == stage.received,
          "sent" + rings_test::text(stage.sent) + ", received" + rings_test::text(stage.received), Fault::lost);
  ++tally.acts;
}

/// How much of the matrix is walked. Each point is always imaged and judged; this is about what needs a process of its
/// own.
struct Extent {
  std::size_t kill_every = 1;
  std::size_t act_every = 1;

  /// Whether a point is one of each `every`; which of them, differs from plan to plan and with NIMSYNC_CRASH_SEED.
  static bool has(std::size_t every, std::size_t point, std::size_t salt) { return (point + salt) % every == 0; }
};

inline std::size_t setting(const char* name, std::size_t usual) {
  const char* const asked = std::getenv(name);
  return asked != nullptr ? static_cast<std::size_t>(std::strtoull(asked, nullptr, 10)) : usual;
}
/// NIMSYNC_CRASH_STRIDE, the points from one to the next where not all are taken; 1 takes all.
inline std::size_t stride(std::size_t usual) {
  return std::max<std::size_t>(1, setting("NIMSYNC_CRASH_STRIDE", usual));
}
inline std::size_t seed() {
  return setting("NIMSYNC_CRASH_SEED", 0);
}

/// Images at every point, kills and the peer's operations as the extent says.
inline void check_operation(const Plan& plan, const Extent& extent, std::size_t salt, Tally& tally) {
  std::size_t point = 0;
  try {
    const Steps steps = record(plan, tally);
    for (; point < steps.trace.size(); ++point) {
      if (Extent::has(extent.kill_every, point, salt)) check_kill(plan, steps, point, tally);
      if (Extent::has(extent.act_every, point, salt)) {
        check_peer(plan, steps, point, ((point + salt) / extent.act_every) % 2 != 0, tally);
      }
    }
  } catch (const Broken& broken) {
    tally.blame(broken);
    throw Broken(text(plan) + ", point " + std::to_string(point) + ": " + broken.what(), broken.fault());
  }
}

/// See the top: over each image of the plan's operation an endpoint of either side attaches, and dies as it does. One
/// in `kill_every` points is a real kill, after which others go on over the very memory and lines.
inline void check_attaching(const Plan& plan, std::size_t kill_every, std::size_t salt, Tally& tally) {
  std::string where = "recording";
  try {
    Tally ignored;
    const Steps died = record(plan, ignored);
    for (std::size_t image = 0; image < died.images.size(); ++image) {
      for (const Role role : {Role::sender, Role::receiver}) {
        where = "a " + std::string(role == Role::sender ? "sender" : "receiver") + " attaches over image " +
                std::to_string(image);
        const auto attach = [role](const Channel& channel) {
          return std::make_unique<Stepped>([&channel, role](Marks& marks) {
            marks.on();
            const auto sender = role == Role::sender ? channel.attach_sender(marks) : nullptr;
            const auto receiver = role == Role::receiver ? channel.attach_receiver(marks) : nullptr;
            marks.off();
          });
        };
        Steps steps;
        Channel channel(plan.kind, plan.scene.capacity);
        channel.mapping().restore(died.images[image]);
        const auto process = attach(channel);
        while (process->step() != Stepped::Stop::ended) take(channel, *process, steps);
        Channel after(plan.kind, plan.scene.capacity);
        const auto require_same = [&](const Log& seen) {
          require(seen == died.seen[image],
                  "of" + rings_test::text(died.seen[image]) + " were received" + rings_test::text(seen), Fault::lost);
        };
        for (const Image& each : steps.images) require_same(succeed(after, each));
        tally.points += steps.trace.size();
        tally.images += steps.images.size();
        for (std::size_t point = 0; point < steps.trace.size(); ++point) {
          if (!Extent::has(kill_every, point, salt++)) continue;
          Channel live(plan.kind, plan.scene.capacity);
          live.mapping().restore(died.images[image]);
          const os::Descriptor line = live.watch(role);
          const auto victim = attach(live);
          require(victim->run_to(steps.trace, point), "a process that attaches alike comes to another point");
          victim->kill();
          require_dead(line);
          require_same(succeed(live, live.mapping().image()));
          ++tally.kills;
        }
      }
    }
  } catch (const Broken& broken) {
    tally.blame(broken);
    throw Broken(text(plan) + ", " + where + ": " + broken.what(), broken.fault());
  }
}

/// See the top: an endpoint that is armed, so that there is something to take back, leaves; a sender closes before.
inline void check_leaving(const Kind& kind, Role role, bool closes, Tally& tally) {
  const bool sends = role == Role::sender;
  Channel channel(kind, kind.framed() ? rings_test::page() : 4);
  const layout::Header& own = sends ? channel.memory().forward_header()->common : *channel.memory().return_header();
  const os::Descriptor line = channel.watch(role);
  const auto receiver = sends ? channel.attach_receiver() : nullptr;
  const auto sender = sends ? nullptr : channel.attach_sender();
  Stepped process([&](Marks& marks) {
    Log log;
    if (sends) {
      const auto tx = channel.attach_sender(marks);
      std::uint64_t next = 0;
      rings_test::send_all(channel, *tx, next, log, rings_test::page());
      marks.report(log, true);
      require(tx->arm(), "a sender doesn't arm over a full ring");
      marks.on();
      if (closes) tx->close();
      tx->leave();
      marks.report(closes ? Log{kEnd} : Log{});
    } else {
      const auto rx = channel.attach_receiver(marks);
      require(rx->arm(), "a receiver doesn't arm over an empty ring");
      marks.on();
      rx->leave();
    }
    marks.off();
  });
  try {
    Steps steps;
    bool is_free = false;
    while (process.step() != Stepped::Stop::ended) {
      const std::size_t before = steps.images.size();
      take(channel, process, steps);
      require(!is_free || steps.images.size() == before, "written when the lease had been given back");
      is_free = os::lease(line) == os::Lease::free;
      require(!is_free || own.sleep_epoch % 2 == 0, "the lease is given back by who has announced to sleep");
    }
    require(is_free, "who left still has the lease");
    judge({kind, {channel.geometry().capacity, 0, 0}, sends ? Operation::close : Operation::peek}, steps,
          process.before(), process.done(), tally);
  } catch (const Broken& broken) {
    tally.blame(broken);
    throw Broken(kind.name + (sends ? ", a sender " : ", a receiver ") + (closes ? "closes and " : "") +
                     "leaves: " + broken.what(),
                 broken.fault());
  }
}

/// The first message of a framed ring that lies over its end.
inline std::uint64_t wrapping(std::uint64_t capacity) {
  const Geometry geometry = rings_test::geometry(rings_test::framed<Native>(), capacity);
  std::uint64_t position = 0;
  for (std::uint64_t n = 0;; ++n) {
    const std::uint64_t next = position + rings_test::units(geometry, rings_test::message(geometry, n));
    if (position / capacity != (next - 1) / capacity) return n;
    position = next;
  }
}

/// Empty, half full, full, wrapping around, and where the hint is stored.
inline std::vector<Scene> scenes(const Kind& kind) {
  if (kind.framed()) {
    const std::uint64_t capacity = rings_test::page();
    return {{capacity, 0, 0}, {capacity, wrapping(capacity), 0}, {capacity, 63, 3}, {capacity, 20, capacity}};
  }
  std::vector<Scene> all{{4, 0, 0}, {4, 3, 0}, {4, 5, 2}, {4, 6, 4}};
  if (kind.layout == Layout::stamped) {
    all.push_back({64, 62, 0});
    all.push_back({64, 64, 1});
  }
  return all;
}

}  // namespace nimsync::crash_test
