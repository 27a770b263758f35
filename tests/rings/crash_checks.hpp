// Death between any two stores, and a peer that acts between any two accesses.
//
// check_crashes: one operation runs over Watched; after each of its stores, and in the middle and at the end of each
// copy, both segments are copied. Such a copy is what SIGKILL leaves there (on x86, where stores become visible in
// program order). Over each, successors of both sides go on, and the receivers must see every committed message once,
// whole and in order; only the messages of the one operation may be in or out.
//
// check_interleavings: one operation runs over Watched, and before one of its accesses, for each in turn, the peer runs
// whole operations of its own. Afterwards what was received must be what was sent.
//
// Both are exact about the order of the ring's own stores and blind to weak memory orders.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/rings/channel.hpp"
#include "tests/rings/watched.hpp"

namespace nimsync::rings_test {

enum class Operation : std::uint8_t {
  send,
  send_some,  // a batch; frames: three sends
  reserve,    // and not commit
  reserve_and_commit,
  close,
  send_and_close,
  receive,
  receive_some,
  peek,  // and not release
  peek_and_release,
};
inline constexpr Operation kSenders[] = {Operation::send,  Operation::send_some,          Operation::reserve,
                                         Operation::close, Operation::reserve_and_commit, Operation::send_and_close};
inline constexpr Operation kReceivers[] = {Operation::receive, Operation::receive_some, Operation::peek,
                                           Operation::peek_and_release};

inline const char* name(Operation operation) {
  constexpr const char* kNames[] = {"send",  "send_some",       "reserve", "reserve_and_commit",
                                    "close", "send_and_close",  "receive", "receive_some",
                                    "peek",  "peek_and_release"};
  return kNames[static_cast<std::size_t>(operation)];
}

inline constexpr std::uint64_t kBatch = 3;
inline constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // in a log: a stream ended here
/// The first numbers of the messages of successors.
inline constexpr std::uint64_t kSecond = 1'000'000;
inline constexpr std::uint64_t kThird = 2'000'000;

/// What one side did, in order: numbers of messages, and kEnd.
using Log = std::vector<std::uint64_t>;

inline std::string text(const Log& log) {
  std::string joined;
  for (const std::uint64_t each : log) joined += each == kEnd ? " end" : " " + std::to_string(each);
  return joined;
}

/// Appends the number of a received message, which must be whole.
inline void take(const Channel& channel, View shown, Log& log) {
  const std::uint64_t n = number_of(shown);
  const Message wanted = channel.message(n);
  require(shown.size() == wanted.size() && std::equal(shown.begin(), shown.end(), wanted.begin()),
          "a damaged message, after" + text(log), Fault::torn);
  log.push_back(n);
}

/// Receives all that waits, over the ends of streams; at most `most` things.
inline void receive_all(const Channel& channel, Receiving& receiver, Log& log, std::uint64_t most = 100'000) {
  Message message;
  for (std::uint64_t i = 0; i < most; ++i) {
    const Status status = receiver.try_receive(message);
    if (status == Status::would_block) return;
    if (status == Status::closed) {
      log.push_back(kEnd);
      receiver.next_stream();
    } else {
      require(status == Status::ok, "receiving says " + text(status) + ", after" + text(log));
      take(channel, message, log);
    }
  }
}

/// Sends numbers from `next` on until the ring is full, at most `most`.
inline void send_all(const Channel& channel, Sending& sender, std::uint64_t& next, Log& log, std::uint64_t most) {
  for (std::uint64_t i = 0; i < most; ++i) {
    const Status status = sender.try_send(channel.message(next));
    if (status == Status::would_block) return;
    require(status == Status::ok, "sending says " + text(status));
    log.push_back(next++);
  }
}

/// Runs a sender's operation with messages from `next` on; logs what it says it did.
inline void perform(Operation operation, const Channel& channel, Sending& sender, std::uint64_t& next, Log& log) {
  switch (operation) {
    case Operation::send:
      send_all(channel, sender, next, log, 1);
      return;
    case Operation::send_some: {
      if (channel.kind().framed()) return send_all(channel, sender, next, log, kBatch);
      Message batch;
      for (std::uint64_t i = 0; i < kBatch; ++i) {
        const Message each = channel.message(next + i);
        batch.insert(batch.end(), each.begin(), each.end());
      }
      for (std::size_t sent = sender.try_send_some(batch); sent > 0; --sent) log.push_back(next++);
      return;
    }
    case Operation::reserve:
    case Operation::reserve_and_commit: {
      const Message made = channel.message(next);
      const std::span<std::byte> room = sender.reserve(channel.kind().framed() ? made.size() : 1);
      if (room.data() == nullptr) return;
      std::memcpy(room.data(), made.data(), made.size());
      if (operation == Operation::reserve) return;
      sender.commit(channel.kind().framed() ? made.size() : 1);
      log.push_back(next++);
      return;
    }
    case Operation::send_and_close:
      send_all(channel, sender, next, log, 1);
      [[fallthrough]];
    case Operation::close:
      sender.close();
      log.push_back(kEnd);
      return;
    default:
      throw Broken("not a sender's operation");
  }
}

/// Runs a receiver's operation; logs what it received. Messages that are peeked at without a release aren't logged.
inline void perform(Operation operation, const Channel& channel, Receiving& receiver, Log& log) {
  const bool records = !channel.kind().framed();
  switch (operation) {
    case Operation::receive:
      receive_all(channel, receiver, log, 1);
      return;
    case Operation::receive_some: {
      if (!records) return receive_all(channel, receiver, log, kBatch);
      Message batch(kBatch * channel.kind().size);
      const std::size_t received = receiver.try_receive_some(batch);
      for (std::size_t i = 0; i < received; ++i) {
        take(channel, View(batch).subspan(i * channel.kind().size, channel.kind().size), log);
      }
      return;
    }
    case Operation::peek:
    case Operation::peek_and_release: {
      View shown;
      const Status status = receiver.try_peek(kBatch, shown);
      if (status == Status::closed && operation == Operation::peek_and_release) {
        log.push_back(kEnd);
        receiver.next_stream();
      }
      if (status != Status::ok) return;
      const std::size_t each = records ? channel.kind().size : shown.size();
      Log seen;
      for (std::size_t at = 0; at < shown.size(); at += each) take(channel, shown.subspan(at, each), seen);
      if (operation == Operation::peek) return;
      receiver.release(seen.size());
      log.insert(log.end(), seen.begin(), seen.end());
      return;
    }
    default:
      throw Broken("not a receiver's operation");
  }
}

/// Copies both segments after each store and at half of each copy.
class Recorder final : public Observer {
 public:
  explicit Recorder(const Mapping& mapping) : mapping_(mapping) {}

  void stored() noexcept override { record(); }
  void copied() noexcept override { record(); }
  void record() { images_.push_back(mapping_.image()); }
  [[nodiscard]] const std::vector<Image>& images() const { return images_; }

 private:
  const Mapping& mapping_;
  std::vector<Image> images_;
};

/// Where a scenario begins: `before` messages were sent and received, `waiting` more were sent (or as many as fit).
struct Scene {
  std::uint64_t capacity = 0;
  std::uint64_t before = 0;
  std::uint64_t waiting = 0;
};

inline std::string text(const Kind& kind, const Scene& scene, Operation operation) {
  return kind.name + ", capacity " + std::to_string(scene.capacity) + ", " + std::to_string(scene.before) +
         " passed, " + std::to_string(scene.waiting) + " waiting, " + name(operation);
}

/// Over an image, successors of both sides, and theirs, go on. Returns what the receivers saw of the first sender.
inline Log succeed(Channel& channel, const Image& image) {
  channel.mapping().restore(image);
  auto receiver = channel.receiver();
  Log sent;
  Log received;
  std::uint64_t next = kSecond;
  // A successor that dies soon, and one that finds what that one left: the hint must serve it too.
  send_all(channel, *channel.sender(), next, sent, 1 + image.forward.size() % 5);
  auto sender = channel.sender();
  next = kThird;
  send_all(channel, *sender, next, sent, 2);
  receive_all(channel, *receiver, received, 2);
  receiver.reset();
  receiver = channel.receiver();
  receive_all(channel, *receiver, received);
  // Once around.
  for (std::uint64_t i = 0; i <= std::min<std::uint64_t>(channel.geometry().capacity, 8); ++i) {
    send_all(channel, *sender, next, sent, 1);
    receive_all(channel, *receiver, received);
  }
  sender->close();
  sent.push_back(kEnd);
  receive_all(channel, *receiver, received);
  require(received.size() >= sent.size() &&
              std::equal(sent.begin(), sent.end(), received.end() - static_cast<std::ptrdiff_t>(sent.size())),
          "successors sent" + text(sent) + " and received" + text(received));
  received.resize(received.size() - sent.size());
  return received;
}

/// What successors may see while one operation is under way: what is there before it and after it, and each step
/// between (prefixes of what a sender sends, suffixes of what a receiver hasn't taken), and never one that was passed.
class Judge {
 public:
  /// `waiting` was there before the operation, which sends or receives `done`.
  Judge(bool sends, Log waiting, Log done) : sends_(sends), all_(std::move(waiting)), done_(std::move(done)) {
    if (sends) all_.insert(all_.end(), done_.begin(), done_.end());
  }

  /// What successors saw over the next image.
  void add(const Log& seen) {
    const std::string what = "of" + text(all_) + " with" + text(done_) + " in flight were received" + text(seen);
    const std::size_t least = all_.size() - done_.size();  // what the operation has nothing to do with
    for (const std::uint64_t each : seen) {
      if (each != kEnd) require(std::count(seen.begin(), seen.end(), each) == 1, what, Fault::doubled);
    }
    require(seen.size() >= least, what, Fault::lost);
    require(seen.size() <= all_.size(), what, Fault::doubled);
    require(sends_ ? std::equal(seen.begin(), seen.end(), all_.begin())
                   : std::equal(seen.rbegin(), seen.rend(), all_.rbegin()),
            what, Fault::lost);
    const std::size_t made = sends_ ? seen.size() - least : all_.size() - seen.size();
    require(made >= progress_, "a message that was committed, or released, is not any more: " + what,
            sends_ ? Fault::lost : Fault::doubled);
    progress_ = made;
  }

  /// After the last image.
  void finish() const { require(progress_ == done_.size(), "done, and not all of" + text(done_) + " is", Fault::lost); }

 private:
  bool sends_;
  Log all_;
  Log done_;
  std::size_t progress_ = 0;
};

/// See the top. The Kind's policy is Watched.
inline void check_crashes(const Kind& kind, const Scene& scene, Operation operation) try {
  Channel channel(kind, scene.capacity);
  Channel after(kind, scene.capacity);
  const bool sends = std::find(std::begin(kSenders), std::end(kSenders), operation) != std::end(kSenders);
  auto sender = channel.sender();
  auto receiver = channel.receiver();
  std::uint64_t next = 0;
  Log ignored;
  while (next < scene.before) {
    send_all(channel, *sender, next, ignored, std::min<std::uint64_t>(scene.before - next, 5));
    receive_all(channel, *receiver, ignored);
  }
  Log waiting;
  send_all(channel, *sender, next, waiting, scene.waiting);

  Recorder recorder(channel.mapping());
  recorder.record();
  Log done;
  {
    const Watching watching(recorder);
    if (sends) {
      perform(operation, channel, *sender, next, done);
    } else {
      perform(operation, channel, *receiver, done);
    }
  }
  recorder.record();

  Judge judge(sends, waiting, done);
  for (const Image& image : recorder.images()) judge.add(succeed(after, image));
  judge.finish();
} catch (const Broken& broken) {
  throw Broken(text(kind, scene, operation) + ": " + broken.what());
}

/// Runs the peer before one access.
class Interloper final : public Observer {
 public:
  Interloper(std::uint64_t at, std::function<void()> act) : at_(at), act_(std::move(act)) {}

  bool before_load(const std::uint64_t*) noexcept override { return count(); }
  bool before_store(const std::uint64_t*) noexcept override { return count(); }
  bool before_copy(const std::byte*, const std::byte*, std::size_t) noexcept override { return count(); }
  void copied() noexcept override { count(); }

  [[nodiscard]] bool acted() const { return count_ > at_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  bool count() noexcept {
    if (count_++ != at_) return true;
    Watched::observer = nullptr;  // the peer's own accesses aren't counted
    try {
      act_();
    } catch (const Broken& broken) {
      failure_ = broken.what();
    }
    Watched::observer = this;
    return true;
  }

  std::uint64_t at_;
  std::uint64_t count_ = 0;
  std::function<void()> act_;
  std::string failure_;
};

/// See the top. `much`: the peer fills or drains the ring; else it sends or receives one, and closes behind it.
inline void check_interleavings(const Kind& kind, const Scene& scene, Operation operation, bool much) try {
  const bool sends = std::find(std::begin(kSenders), std::end(kSenders), operation) != std::end(kSenders);
  for (std::uint64_t at = 0;; ++at) {
    Channel channel(kind, scene.capacity);
    auto sender = channel.sender();
    auto receiver = channel.receiver();
    std::uint64_t next = 0;
    Log sent;
    Log received;
    while (next < scene.before) {
      send_all(channel, *sender, next, sent, std::min<std::uint64_t>(scene.before - next, 5));
      receive_all(channel, *receiver, received);
    }
    send_all(channel, *sender, next, sent, scene.waiting);
    Interloper interloper(at, [&] {
      if (sends) {
        receive_all(channel, *receiver, received, much ? 100'000 : 1);
      } else {
        send_all(channel, *sender, next, sent, much ? 100'000 : 1);
        if (!much) {
          sender->close();
          sent.push_back(kEnd);
          sender = channel.sender();
          send_all(channel, *sender, next, sent, 1);
        }
      }
    });
    {
      const Watching watching(interloper);
      if (sends) {
        perform(operation, channel, *sender, next, sent);
      } else {
        perform(operation, channel, *receiver, received);
      }
    }
    require(interloper.failure().empty(), interloper.failure());
    receive_all(channel, *receiver, received);
    require(sent == received, "sent" + text(sent) + ", received" + text(received) + ", the peer acted before access " +
                                  std::to_string(at));
    if (!interloper.acted()) return;
  }
} catch (const Broken& broken) {
  throw Broken(text(kind, scene, operation) + ", interleaved: " + broken.what());
}

/// Empty, half full, nearly full and full rings, at the beginning, around the places where the hint is stored, and laps
/// later.
inline std::vector<Scene> scenes(std::uint64_t capacity, bool framed) {
  std::vector<Scene> all;
  const std::uint64_t fits = framed ? capacity / 8 : capacity;
  std::vector<std::uint64_t> befores;
  if (framed) {
    befores = {0, 1, 2, 31, 62, 63, 64, 65, 66, 127, 128, 129, 200};
  } else if (capacity <= 8) {
    for (std::uint64_t before = 0; before <= 2 * capacity + 1; ++before) befores.push_back(before);
  } else {
    befores = {0, 1, 61, 62, 63, 64, 65, 127, 128, 129, 3 * capacity - 1, 3 * capacity};
  }
  for (const std::uint64_t before : befores) {
    for (const std::uint64_t waiting : {std::uint64_t{0}, std::uint64_t{1}, fits / 2, fits - 1, fits}) {
      if (all.empty() || all.back().before != before || all.back().waiting != waiting) {
        all.push_back({capacity, before, waiting});
      }
    }
  }
  return all;
}

}  // namespace nimsync::rings_test
