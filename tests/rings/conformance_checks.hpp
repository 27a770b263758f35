// What every ring does, with one process on each side and nobody in between: checked against a model.
//
// check_walk takes random steps on both sides (single messages, batches, in place, closing, successors) and knows from
// its model, a plain queue, the one right outcome of each. The others lead the rings to particular places.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/rings/channel.hpp"

namespace nimsync::rings_test {

class Walk {
 public:
  /// The memory is that of a channel that has passed `position` messages (bytes) in `streams` streams.
  Walk(const Kind& kind, const Geometry& geometry, std::uint64_t seed, std::uint64_t position = 0,
       std::uint64_t streams = 0)
      : channel_(kind, geometry), geometry_(geometry), random_(seed) {
    channel_.mapping().start_at(position, streams);
    sender_ = channel_.sender();
    receiver_ = channel_.receiver();
    position_ = position;
  }

  void step() {
    if (random_.below(40) == 0) sending_ = !sending_;
    const bool send = random_.below(4) == 0 ? !sending_ : sending_;
    switch (random_.below(send ? 10 : 9)) {
      case 0:
      case 1:
      case 2:
        return send ? send_one() : receive_one();
      case 3:
      case 4:
        return send ? send_some() : receive_some();
      case 5:
      case 6:
        return send ? reserve_and_commit() : peek_and_release();
      case 7:
        return send ? look_from_sender() : look_from_receiver();
      case 8:
        if (random_.below(4) != 0) return;
        if (send) {
          sender_ = channel_.sender();
        } else {
          receiver_ = channel_.receiver();
        }
        return;
      default:
        if (random_.below(8) == 0 && ends_ < layout::kStreamEnds) close();
        return;
    }
  }

  /// Takes all that waits and sees that nothing is left.
  void finish() {
    while (!queue_.empty()) receive_one();
    receive_one();
    look_from_sender();
    look_from_receiver();
  }

  void send_one() {
    const Message message = random_message();
    const Status status = sender_->try_send(message);
    expect(status, room_for(message.size()) ? Status::ok : Status::would_block, "try_send");
    if (status == Status::ok) sent(message);
    if (random_.below(16) == 0) {
      const Message wrong(geometry_.size + 1);
      expect(sender_->try_send(wrong), Status::too_big, "try_send of too much");
    }
  }

  void send_some(std::uint64_t count) {
    Message batch;
    std::vector<Message> messages;
    for (std::uint64_t i = 0; i < count; ++i) {
      messages.push_back(random_message());
      batch.insert(batch.end(), messages.back().begin(), messages.back().end());
    }
    const std::uint64_t fit = std::min(count, geometry_.capacity - used_);
    require(sender_->try_send_some(batch) == fit, "a batch wasn't cut to the room, " + where());
    for (std::uint64_t i = 0; i < fit; ++i) sent(messages[i]);
  }

  void receive_some(std::uint64_t count) {
    Message batch(count * geometry_.size);
    std::uint64_t ready = 0;
    while (ready < count && ready < queue_.size() && !queue_[ready].end) ++ready;
    require(receiver_->try_receive_some(batch) == ready, "a batch wasn't cut to what waits, " + where());
    for (std::uint64_t i = 0; i < ready; ++i) received(View(batch).subspan(i * geometry_.size, geometry_.size));
  }

  void receive_one() {
    Message message;
    const Status status = receiver_->try_receive(message);
    expect(status, waiting(), "try_receive");
    if (status == Status::ok) received(message);
    if (status == Status::closed) end();
  }

  void close() {
    sender_->close();
    expect(sender_->try_send(Message(geometry_.size)), Status::closed, "try_send after close");
    expect(sender_->look(), Status::closed, "a closed sender's look");
    require(sender_->reserve(1).data() == nullptr, "a closed sender reserved");
    require(sender_->capacity() == 0 && sender_->size() == 0, "a closed sender has a size");
    sender_->close();
    queue_.push_back({{}, true});
    ++ends_;
    sender_ = channel_.sender();
  }

  [[nodiscard]] std::uint64_t room() const { return geometry_.capacity - used_; }

 private:
  struct Entry {
    Message message;
    bool end = false;
  };

  [[nodiscard]] bool framed() const { return geometry_.layout == Layout::framed; }
  [[nodiscard]] std::string where() const {
    return channel_.kind().name + ", capacity " + std::to_string(geometry_.capacity) + ", used " +
           std::to_string(used_) + ", position " + std::to_string(position_);
  }
  void expect(Status got, Status wanted, const char* what) const {
    require(got == wanted, std::string(what) + " says " + text(got) + " and not " + text(wanted) + ", " + where());
  }

  [[nodiscard]] bool room_for(std::uint64_t bytes) const {
    return framed() ? layout::frame_bytes(bytes) + layout::kFrameWord <= room() : room() > 0;
  }
  [[nodiscard]] Status waiting() const {
    if (queue_.empty()) return Status::would_block;
    return queue_.front().end ? Status::closed : Status::ok;
  }

  Message random_bytes(std::uint64_t bytes) {
    Message made(bytes);
    const std::uint64_t style = random_.below(8);  // zeros and ones too: they look like words
    for (std::size_t i = 0; i < made.size(); i += 8) {
      const std::uint64_t word = style == 0 ? 0 : style == 1 ? 1 : random_.next();
      std::memcpy(made.data() + i, &word, std::min<std::size_t>(8, made.size() - i));
    }
    return made;
  }
  Message random_message() {
    if (!framed()) return random_bytes(geometry_.size);
    return random_bytes(
        random_.below(random_.below(4) == 0 ? geometry_.size + 1 : std::min<std::uint64_t>(geometry_.size + 1, 70)));
  }

  void sent(const Message& message) {
    queue_.push_back({message, false});
    used_ += units(geometry_, message);
    position_ += units(geometry_, message);
  }
  void received(View message) {
    require(!queue_.empty() && !queue_.front().end, "a message that wasn't sent, " + where());
    const Message& wanted = queue_.front().message;
    require(message.size() == wanted.size() && std::equal(message.begin(), message.end(), wanted.begin()),
            "another message than the one sent, " + where());
    used_ -= units(geometry_, wanted);
    queue_.pop_front();
  }
  void end() {
    // Said again until the receiver goes on; and a successor that attaches before is told too.
    Message message;
    expect(receiver_->try_receive(message), Status::closed, "try_receive at the end of a stream");
    if (random_.below(4) == 0) {
      receiver_ = channel_.receiver();
      expect(receiver_->try_receive(message), Status::closed, "a successor's try_receive at the end of a stream");
    }
    receiver_->next_stream();
    require(!queue_.empty() && queue_.front().end, "an end where there is none, " + where());
    queue_.pop_front();
    --ends_;
  }

  void send_some() {
    if (framed()) return send_one();
    send_some(random_.below(std::min<std::uint64_t>(geometry_.capacity, 200) + 3));
  }
  void receive_some() {
    if (framed()) return receive_one();
    receive_some(random_.below(std::min<std::uint64_t>(geometry_.capacity, 200) + 3));
  }

  void reserve_and_commit() {
    if (framed()) {
      const Message message = random_message();
      const std::span<std::byte> place = sender_->reserve(message.size());
      require((place.data() != nullptr) == room_for(message.size()), "reserve and the room differ, " + where());
      if (place.data() == nullptr) return;
      require(place.size() == message.size(), "a reservation of another size, " + where());
      std::copy(message.begin(), message.end(), place.begin());
      look_from_receiver();  // nothing of it is visible
      if (random_.below(4) == 0) return;
      const std::uint64_t part = random_.below(4) == 0 ? random_.below(message.size() + 1) : message.size();
      sender_->commit(part);
      sent(Message(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(part)));
      return;
    }
    const std::uint64_t wanted = random_.below(6);
    const std::span<std::byte> place = sender_->reserve(wanted);
    std::uint64_t got = std::min(wanted, room());
    if (geometry_.layout == Layout::stamped) got = std::min<std::uint64_t>(got, 1);
    got = std::min(got, geometry_.capacity - position_ % geometry_.capacity);
    require(place.size() == got * geometry_.size, "a reservation of another size, " + where());
    if (got == 0) return;
    const Message bytes = random_bytes(place.size());
    std::copy(bytes.begin(), bytes.end(), place.begin());
    look_from_receiver();
    const std::uint64_t part = random_.below(got + 1);
    sender_->commit(part);
    for (std::uint64_t i = 0; i < part; ++i) {
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(i * geometry_.size);
      sent(Message(begin, begin + static_cast<std::ptrdiff_t>(geometry_.size)));
    }
  }

  void peek_and_release() {
    const std::uint64_t wanted = 1 + random_.below(5);
    View shown;
    const Status status = receiver_->try_peek(wanted, shown);
    expect(status, waiting(), "try_peek");
    if (status == Status::closed) return end();
    if (status != Status::ok) return require(shown.data() == nullptr, "a peek at nothing shows something");
    View again;
    expect(receiver_->try_peek(wanted, again), Status::ok, "the second try_peek");
    require(again.data() == shown.data() && again.size() == shown.size(), "two peeks differ, " + where());
    const std::uint64_t each = framed() ? shown.size() : geometry_.size;
    std::uint64_t got = 1;
    if (geometry_.layout == Layout::dense) {
      got = 0;
      while (got < wanted && got < queue_.size() && !queue_[got].end) ++got;
      const std::uint64_t head = position_ - used_;
      got = std::min(got, geometry_.capacity - head % geometry_.capacity);
    }
    require(shown.size() == got * each, "a peek at another number of messages, " + where());
    look_from_sender();  // nothing of it is free
    const std::uint64_t part = random_.below(got + 1);
    receiver_->release(part);
    for (std::uint64_t i = 0; i < part; ++i) received(shown.subspan(i * each, each));
    if (part == 0) receiver_ = channel_.receiver();  // it sees them again
  }

  void look_from_sender() {
    require(sender_->size() == used_, "the sender's size is " + std::to_string(sender_->size()) + ", " + where());
    require(sender_->capacity() == geometry_.capacity, "the sender's capacity, " + where());
    expect(sender_->look(), room_for(geometry_.size) ? Status::ok : Status::would_block, "the sender's look");
  }
  void look_from_receiver() {
    require(receiver_->size() == used_, "the receiver's size is " + std::to_string(receiver_->size()) + ", " + where());
    require(receiver_->capacity() == geometry_.capacity, "the receiver's capacity, " + where());
    expect(receiver_->look(), waiting(), "the receiver's look");
  }

  Channel channel_;
  Geometry geometry_;
  Random random_;
  std::unique_ptr<Sending> sender_;
  std::unique_ptr<Receiving> receiver_;
  std::deque<Entry> queue_;
  std::uint64_t used_ = 0;      // units in the ring
  std::uint64_t position_ = 0;  // the tail
  std::uint64_t ends_ = 0;      // that wait
  bool sending_ = true;
};

inline void check_walk(const Kind& kind, const Geometry& geometry, std::uint64_t seed, std::uint64_t steps,
                       std::uint64_t position = 0, std::uint64_t streams = 0) {
  Walk walk(kind, geometry, seed, position, streams);
  for (std::uint64_t i = 0; i < steps; ++i) walk.step();
  walk.finish();
}

/// As many ended streams as may wait, of 0 to 2 messages, for a receiver that comes late; each end at its exact place.
inline void check_queued_streams(const Kind& kind, std::uint64_t capacity, std::uint64_t streams) {
  Channel channel(kind, capacity);
  channel.mapping().start_at(0, streams);
  std::vector<std::uint64_t> sent;
  constexpr std::uint64_t kEnded = ~std::uint64_t{0};
  std::uint64_t next = 1;
  for (std::uint64_t i = 0; i < layout::kStreamEnds; ++i) {
    const auto sender = channel.sender();
    for (std::uint64_t j = 0; j < i % 3 && sender->try_send(channel.message(next)); ++j) sent.push_back(next++);
    sender->close();
    sent.push_back(kEnded);
  }
  const auto last = channel.sender();
  if (last->try_send(channel.message(next))) sent.push_back(next);
  std::unique_ptr<Receiving> receiver;
  for (const std::uint64_t each : sent) {
    if (each % 3 == 0 || receiver == nullptr) receiver = channel.receiver();
    Message message;
    const Status status = receiver->try_receive(message);
    if (each == kEnded) {
      require(status == Status::closed, kind.name + ": an end is missed, " + text(status));
      receiver->next_stream();
    } else {
      require(status == Status::ok && message == channel.message(each), kind.name + ": a message is missed");
    }
  }
  Message message;
  require(receiver->try_receive(message) == Status::would_block, kind.name + ": more than was sent");
}

/// Calls that are bugs of the caller: with assertions off they do no more harm than their functions say.
inline void check_misuse(const Kind& kind, std::uint64_t capacity) {
  Channel channel(kind, capacity);
  const auto sender = channel.sender();
  const auto receiver = channel.receiver();
  const std::uint64_t too_many = kind.framed() ? channel.geometry().size + 1 : capacity + 5;
  require(sender->reserve(1).data() != nullptr, "nothing to reserve");
  sender->commit(too_many);
  require(sender->size() <= capacity, kind.name + ": a commit of too much went beyond the ring");
  require(sender->look() != Status::corrupted, kind.name + ": a commit of too much lost the sender its place");
  Message message;
  while (receiver->try_receive(message) == Status::ok) continue;
  receiver->release(1);
  receiver->release(capacity + 5);
  require(sender->size() == 0, kind.name + ": a release of nothing moved the receiver");
  require(sender->try_send(channel.message(7)) == Status::ok, kind.name + ": misuse stopped the sender");
  View shown;
  require(receiver->try_peek(1, shown) == Status::ok, kind.name + ": misuse stopped the receiver");
  receiver->release(capacity + 5);
  require(sender->size() == 0 && sender->look() == Status::ok,
          kind.name + ": a release of too much went beyond the tail");
}

}  // namespace nimsync::rings_test
