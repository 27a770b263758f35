// A channel of the product over the memory of tests/rings: real endpoints, attached as the registry's clients are, each
// with lines of its own description and the lease, and with the peer's segment mapped read-only.
//
// Channel is rings_test::Channel with senders and receivers that are real, so that the oracle of tests/rings
// (crash_checks.hpp) drives these. What an endpoint does stands between marks, which stop a stepped child there.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/attachment.hpp"
#include "nimsync/channel.hpp"
#include "os/line.hpp"
#include "tests/crash/stepped.hpp"
#include "tests/service/private_daemon.hpp"

namespace nimsync::crash_test {

using rings_test::Image;
using rings_test::Message;
using rings_test::View;

/// One that is never on.
inline Marks& no_marks() {
  static Marks marks;
  return marks;
}

/// What real endpoints have beside a ring's half.
class SendingEnd : public rings_test::Sending {
 public:
  virtual Status send(View message) = 0;  // blocks
  virtual Status check() = 0;
  virtual bool arm() = 0;
  virtual void leave() = 0;  // destroys the endpoint
};
class ReceivingEnd : public rings_test::Receiving {
 public:
  virtual Status receive(Message& message) = 0;  // blocks
  virtual Status check() = 0;
  virtual bool arm() = 0;
  virtual void leave() = 0;
};

/// An endpoint whose calls are marked. It is moved into a local variable for each, as a loop of a user's would have it.
template <class End>
class Marked {
 public:
  Marked(internal::Parts parts, Marks& marks) : marks_(marks) {
    marks_.begin();
    end_.emplace(internal::attach(std::move(parts)));
    marks_.end();
  }
  Marked(const Marked&) = delete;
  Marked& operator=(const Marked&) = delete;
  ~Marked() { leave(); }

  void leave() {
    marks_.begin();
    end_.reset();
    marks_.end();
  }

  template <class Use>
  [[gnu::always_inline]] auto operator()(Use use) {
    End end = std::move(*end_);
    marks_.begin();
    auto result = use(end);
    marks_.end();
    *end_ = std::move(end);
    return result;
  }
  template <class Use>
  [[gnu::always_inline]] void perform(Use use) {
    (*this)([&](End & end) __attribute__((always_inline)) {
      use(end);
      return true;
    });
  }
  /// A blocking call, which is made where the endpoint stays: a thread might interrupt() it.
  template <class Use>
  [[gnu::always_inline]] auto in_place(Use use) {
    marks_.begin();
    auto result = use(*end_);
    marks_.end();
    return result;
  }

  [[nodiscard]] const End& get() const { return *end_; }

 private:
  Marks& marks_;
  std::optional<End> end_;
};

/// Calls of `Use` are compiled into the marked place.
#define NIMSYNC_MARKED __attribute__((always_inline))

template <std::size_t Size>
struct Record {
  std::byte bytes[Size];
};

template <std::size_t Size>
class RecordSender final : public SendingEnd {
  using Sent = Record<Size>;

 public:
  RecordSender(internal::Parts parts, Marks& marks) : tx_(std::move(parts), marks) {}

  Status try_send(View message) override {
    const Sent record = of(message);
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.try_send(record); });
  }
  std::size_t try_send_some(View records) override {
    std::vector<Sent> all(records.size() / Size);
    std::memcpy(all.data(), records.data(), records.size());
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.try_send_some(all); });
  }
  std::span<std::byte> reserve(std::size_t n) override {
    const std::span<Sent> room = tx_([&](auto& tx) NIMSYNC_MARKED { return tx.reserve(n); });
    return {reinterpret_cast<std::byte*>(room.data()), room.size() * Size};
  }
  void commit(std::size_t n) override {
    tx_.perform([&](auto& tx) NIMSYNC_MARKED { tx.commit(n); });
  }
  void close() override {
    tx_.perform([&](auto& tx) NIMSYNC_MARKED { tx.close(); });
  }
  Status send(View message) override {
    const Sent record = of(message);
    return tx_.in_place([&](auto& tx) NIMSYNC_MARKED { return tx.send(record); });
  }
  Status check() override {
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.check(); });
  }
  bool arm() override {
    return tx_.in_place([&](auto& tx) { return tx.fd() >= 0 && tx.arm(); });
  }
  void leave() override { tx_.leave(); }
  [[nodiscard]] std::uint64_t size() const override { return tx_.get().size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return tx_.get().capacity(); }
  [[nodiscard]] Status look() const override { return tx_.get().is_full() ? Status::would_block : Status::ok; }

 private:
  static Sent of(View message) {
    Sent record;
    std::memcpy(&record, message.data(), Size);
    return record;
  }

  Marked<Sender<Sent>> tx_;
};

template <std::size_t Size>
class RecordReceiver final : public ReceivingEnd {
  using Received = Record<Size>;

 public:
  RecordReceiver(internal::Parts parts, Marks& marks) : rx_(std::move(parts), marks) {}

  Status try_receive(Message& message) override {
    Received record;
    const Status status = rx_([&](auto& rx) NIMSYNC_MARKED { return rx.try_receive(record); });
    if (status == Status::ok) message.assign(record.bytes, record.bytes + Size);
    return status;
  }
  std::size_t try_receive_some(std::span<std::byte> records) override {
    std::vector<Received> all(records.size() / Size);
    const std::size_t received = rx_([&](auto& rx) NIMSYNC_MARKED { return rx.try_receive_some(all); });
    std::memcpy(records.data(), all.data(), received * Size);
    return received;
  }
  Status try_peek(std::size_t count, View& messages) override {
    const std::span<const Received> shown = rx_([&](auto& rx) NIMSYNC_MARKED { return rx.peek(count); });
    messages = {reinterpret_cast<const std::byte*>(shown.data()), shown.size() * Size};
    return shown.empty() ? Status::would_block : Status::ok;
  }
  void release(std::size_t count) override {
    rx_.perform([&](auto& rx) NIMSYNC_MARKED { rx.release(count); });
  }
  void next_stream() override {}  // by itself
  Status receive(Message& message) override {
    Received record;
    const Status status = rx_.in_place([&](auto& rx) NIMSYNC_MARKED { return rx.receive(record); });
    if (status == Status::ok) message.assign(record.bytes, record.bytes + Size);
    return status;
  }
  Status check() override {
    return rx_([&](auto& rx) NIMSYNC_MARKED { return rx.check(); });
  }
  bool arm() override {
    return rx_.in_place([&](auto& rx) { return rx.fd() >= 0 && rx.arm(); });
  }
  void leave() override { rx_.leave(); }
  [[nodiscard]] std::uint64_t size() const override { return rx_.get().size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return rx_.get().capacity(); }
  [[nodiscard]] Status look() const override { return rx_.get().is_empty() ? Status::would_block : Status::ok; }

 private:
  Marked<Receiver<Received>> rx_;
};

/// Of frames, and of records whose size only the channel knows.
class BytesSender final : public SendingEnd {
 public:
  BytesSender(internal::Parts parts, Marks& marks) : tx_(std::move(parts), marks) {}

  Status try_send(View message) override {
    message = placed(message);
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.try_send(message); });
  }
  std::size_t try_send_some(View records) override {
    records = placed(records);
    std::vector<View> all;
    const std::size_t each = tx_.get().max_size();
    for (std::size_t at = 0; at < records.size(); at += each) all.push_back(records.subspan(at, each));
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.try_send_some(all); });
  }
  std::span<std::byte> reserve(std::size_t n) override {
    const std::size_t size = bytes(n);
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.reserve(size); });
  }
  void commit(std::size_t n) override {
    const std::size_t size = bytes(n);
    tx_.perform([&](auto& tx) NIMSYNC_MARKED { tx.commit(size); });
  }
  void close() override {
    tx_.perform([&](auto& tx) NIMSYNC_MARKED { tx.close(); });
  }
  Status send(View message) override {
    message = placed(message);
    return tx_.in_place([&](auto& tx) NIMSYNC_MARKED { return tx.send(message); });
  }
  Status check() override {
    return tx_([&](auto& tx) NIMSYNC_MARKED { return tx.check(); });
  }
  bool arm() override {
    return tx_.in_place([&](auto& tx) { return tx.fd() >= 0 && tx.arm(); });
  }
  void leave() override { tx_.leave(); }
  [[nodiscard]] std::uint64_t size() const override { return tx_.get().size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return tx_.get().capacity(); }
  [[nodiscard]] Status look() const override { return tx_.get().is_full() ? Status::would_block : Status::ok; }

 private:
  /// At the same address each time: how the C library copies much depends on where it lies.
  static View placed(View message) {
    alignas(4096) static std::byte place[8192];
    require(message.size() <= sizeof place, "a large message");
    std::memcpy(place, message.data(), message.size());
    return {place, message.size()};
  }
  [[nodiscard]] std::size_t bytes(std::size_t n) const {
    return tx_.get().layout() == Layout::framed ? n : tx_.get().max_size();
  }

  Marked<Sender<Bytes>> tx_;
};

class BytesReceiver final : public ReceivingEnd {
 public:
  BytesReceiver(internal::Parts parts, Marks& marks) : rx_(std::move(parts), marks) {}

  Status try_receive(Message& message) override {
    View shown;
    return taken(rx_([&](auto& rx) NIMSYNC_MARKED { return rx.try_receive(shown); }), shown, message);
  }
  std::size_t try_receive_some(std::span<std::byte> records) override {
    std::size_t received = 0;
    for (View each; received < records.size() && try_peek(1, each) == Status::ok; received += each.size()) {
      std::memcpy(records.data() + received, each.data(), each.size());
      release(1);
    }
    return received / rx_.get().max_size();
  }
  Status try_peek(std::size_t /*one at a time*/, View& messages) override {
    messages = rx_([&](auto& rx) NIMSYNC_MARKED { return rx.peek(); });
    return messages.data() == nullptr ? Status::would_block : Status::ok;
  }
  void release(std::size_t /*one*/) override {
    rx_.perform([&](auto& rx) NIMSYNC_MARKED { rx.release(); });
  }
  void next_stream() override {}  // by itself
  Status receive(Message& message) override {
    View shown;
    return taken(rx_.in_place([&](auto& rx) NIMSYNC_MARKED { return rx.receive(shown); }), shown, message);
  }
  Status check() override {
    return rx_([&](auto& rx) NIMSYNC_MARKED { return rx.check(); });
  }
  bool arm() override {
    return rx_.in_place([&](auto& rx) { return rx.fd() >= 0 && rx.arm(); });
  }
  void leave() override { rx_.leave(); }
  [[nodiscard]] std::uint64_t size() const override { return rx_.get().size(); }
  [[nodiscard]] std::uint64_t capacity() const override { return rx_.get().capacity(); }
  [[nodiscard]] Status look() const override { return rx_.get().is_empty() ? Status::would_block : Status::ok; }

 private:
  Status taken(Status status, View shown, Message& message) {
    if (status == Status::ok) {
      message.assign(shown.begin(), shown.end());
      release(1);
    }
    return status;
  }

  Marked<Receiver<Bytes>> rx_;
};

/// A ring's kind, and the endpoints that a user would have for it.
struct Kind : rings_test::Kind {
  std::unique_ptr<SendingEnd> (*make_sender)(internal::Parts, Marks&) = nullptr;
  std::unique_ptr<ReceivingEnd> (*make_receiver)(internal::Parts, Marks&) = nullptr;
};

template <class End, class Made>
std::unique_ptr<End> made(internal::Parts parts, Marks& marks) {
  return std::make_unique<Made>(std::move(parts), marks);
}

template <std::size_t Size>
Kind stamped() {
  return {rings_test::stamped<Native, Size>(), made<SendingEnd, RecordSender<Size>>,
          made<ReceivingEnd, RecordReceiver<Size>>};
}
template <std::size_t Size>
Kind dense() {
  return {rings_test::dense<Native, Size>(), made<SendingEnd, RecordSender<Size>>,
          made<ReceivingEnd, RecordReceiver<Size>>};
}
/// The same through endpoints of Bytes.
inline Kind sized_at_run_time(rings_test::Kind kind) {
  return {std::move(kind), made<SendingEnd, BytesSender>, made<ReceivingEnd, BytesReceiver>};
}
inline Kind framed() {
  return sized_at_run_time(rings_test::framed<Native>());
}

class Channel final : public rings_test::Channel {
 public:
  Channel(const Kind& kind, std::uint64_t capacity)
      : rings_test::Channel(kind, capacity), make_sender_(kind.make_sender), make_receiver_(kind.make_receiver) {
    at_.reset(::open(folder_.path().c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    for (const Role role : {Role::sender, Role::receiver}) os::make_line(at_, line_name(role));
  }

  /// Attach. Broken when somebody has the lease.
  [[nodiscard]] std::unique_ptr<SendingEnd> attach_sender(Marks& marks = no_marks()) const {
    return make_sender_(parts(Role::sender), marks);
  }
  [[nodiscard]] std::unique_ptr<ReceivingEnd> attach_receiver(Marks& marks = no_marks()) const {
    return make_receiver_(parts(Role::receiver), marks);
  }
  [[nodiscard]] std::unique_ptr<rings_test::Sending> sender() const override { return attach_sender(); }
  [[nodiscard]] std::unique_ptr<rings_test::Receiving> receiver() const override { return attach_receiver(); }

  /// A description of one's own of a role's line, for who only looks.
  [[nodiscard]] os::Descriptor watch(Role role) const { return os::open_as_watcher(at_, line_name(role)); }

  /// As the registry removes a channel: unlinks both lines, then rings both.
  void remove() const {
    const os::Descriptor data = os::open_as_holder(at_, line_name(Role::sender));
    const os::Descriptor room = os::open_as_holder(at_, line_name(Role::receiver));
    for (const Role role : {Role::sender, Role::receiver}) ::unlinkat(at_.get(), line_name(role), 0);
    os::ring(data);
    os::ring(room);
  }

  /// Whether the memory is that of an image.
  [[nodiscard]] bool shows(const Image& image) const {
    return std::memcmp(memory().forward, image.forward.data(), image.forward.size()) == 0 &&
           std::memcmp(memory().back, image.back.data(), image.back.size()) == 0;
  }

 private:
  static const char* line_name(Role role) { return role == Role::sender ? "data" : "room"; }

  [[nodiscard]] internal::Parts parts(Role role) const {
    const bool sends = role == Role::sender;
    os::Descriptor own = os::open_as_holder(at_, line_name(role));
    require(os::take_lease(own) == os::Lease::free, "the lease is not free");
    const os::Descriptor forward(::dup(segments().forward()));
    const os::Descriptor back(::dup(segments().back()));
    return {.name = "crash",
            .role = role,
            .wait = Wait::doorbell(Timeout{0}),
            .mapping = os::Mapping(forward, sends ? os::Access::read_write : os::Access::read_only, back,
                                   sends ? os::Access::read_only : os::Access::read_write, geometry()),
            .own_line = std::move(own),
            .peer_line = watch(sends ? Role::receiver : Role::sender),
            .line_reader = {}};
  }

  testing::TemporaryFolder folder_;
  os::Descriptor at_;
  std::unique_ptr<SendingEnd> (*make_sender_)(internal::Parts, Marks&);
  std::unique_ptr<ReceivingEnd> (*make_receiver_)(internal::Parts, Marks&);
};

}  // namespace nimsync::crash_test
