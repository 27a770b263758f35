#include "tools/transfer.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace nimsync::tools {
namespace {

constexpr std::chrono::seconds kWatchdog{30};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    out = ends[0];
    in = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_out();
    close_in();
  }
  void close_in() { ::close(std::exchange(in, -1)); }
  void close_out() { ::close(std::exchange(out, -1)); }

  void write(std::string_view text) const {
    ASSERT_EQ(::write(in, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// What was written, without waiting for more; the writing end must be closed.
  [[nodiscard]] std::string read_all() const {
    std::string all;
    std::array<char, 4096> block{};
    for (ssize_t got = 0; (got = ::read(out, block.data(), block.size())) > 0;) {
      all.append(block.data(), static_cast<std::size_t>(got));
    }
    return all;
  }

  int out = -1;
  int in = -1;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

std::string receive_one(Receiver<Bytes>& receiver) {
  std::span<const std::byte> message;
  const Status status = receiver.receive(message, kWatchdog);
  if (status != Status::ok) return std::string{"("} + name(status) + ")";
  std::string text = text_of(message);
  receiver.release();
  return text;
}

const SendRules kPatient{.timeout = kWatchdog, .has_receiver = [] { return true; }};

TEST(SendAll, SendsWhatTricklesBeforeItReadsOn) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096, .max_size = 100});
  Pipe pipe;
  Count count;
  std::thread sending([&, tx = std::move(sender)]() mutable {
    Splitter splitter{Framing::lines, {.size = 100, .is_record = false}};
    EXPECT_EQ(send_all(pipe.out, splitter, tx, kPatient, count), Status::ok);
    tx.close();
  });
  pipe.write("first\nsec");
  EXPECT_EQ(receive_one(receiver), "first");
  pipe.write("ond\n");
  EXPECT_EQ(receive_one(receiver), "second");
  pipe.write("third");
  pipe.close_in();
  EXPECT_EQ(receive_one(receiver), "third");
  EXPECT_EQ(receive_one(receiver), "(closed)");
  sending.join();
  EXPECT_EQ(count.messages, 3U);
  EXPECT_EQ(count.bytes, 16U);
}

TEST(SendAll, WaitsForRoomAndSaysTimeoutWhenThereIsNone) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096, .max_size = 64});
  Pipe pipe;
  for (int line = 0; line < 200; ++line) pipe.write(std::string(50, 'x') + "\n");
  pipe.close_in();
  Splitter splitter{Framing::lines, {.size = 64, .is_record = false}};
  Count count;
  EXPECT_EQ(send_all(pipe.out, splitter, sender, {std::chrono::milliseconds{5}, [] { return true; }}, count),
            Status::timeout);
  EXPECT_GT(count.messages, 0U);
  EXPECT_LT(count.messages, 200U);
}

TEST(SendAll, SendsAllBeforeTheLineThatIsTooLong) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096, .max_size = 10});
  Pipe pipe;
  pipe.write("a\nb\n12345678901\nc\n");
  pipe.close_in();
  Splitter splitter{Framing::lines, {.size = 10, .is_record = false}};
  Count count;
  EXPECT_THROW(static_cast<void>(send_all(pipe.out, splitter, sender, kPatient, count)), BadInput);
  EXPECT_EQ(count.messages, 2U);
  EXPECT_EQ(receive_one(receiver), "a");
  EXPECT_EQ(receive_one(receiver), "b");
  EXPECT_TRUE(receiver.is_empty());
}

TEST(SendAll, EndsWhenTheRingIsFullAndItsReceiverGone) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096, .max_size = 64});
  { const Receiver<Bytes> gone = std::move(receiver); }
  Pipe pipe;
  for (int line = 0; line < 200; ++line) pipe.write(std::string(50, 'x') + "\n");
  pipe.close_in();
  Splitter splitter{Framing::lines, {.size = 64, .is_record = false}};
  Count count;
  EXPECT_EQ(send_all(pipe.out, splitter, sender, {kWatchdog, [] { return false; }}, count), Status::peer_lost);
  EXPECT_GT(count.messages, 0U);
}

TEST(SendAll, FailsWithTheCauseWhenTheInputCannotBeRead) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096, .max_size = 10});
  Splitter splitter{Framing::lines, {.size = 10, .is_record = false}};
  Count count;
  try {
    static_cast<void>(send_all(-1, splitter, sender, kPatient, count));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("cannot read the input: Bad file descriptor"));
  }
}

class ReceiveAll : public testing::Test {
 protected:
  ReceiveAll() : ReceiveAll(make_channel<Bytes>({.capacity = 4096, .max_size = 1000})) {}

  void send(std::initializer_list<std::string_view> messages) {
    for (const auto message : messages) ASSERT_EQ(sender.try_send(bytes_of(message)), Status::ok);
  }
  Received receive(const ReceiveRules& rules) {
    const Received received = receive_all(receiver, pipe.in, rules, count);
    pipe.close_in();
    return received;
  }

  Sender<Bytes> sender;
  Receiver<Bytes> receiver;
  Pipe pipe;
  Count count;

 private:
  explicit ReceiveAll(std::pair<Sender<Bytes>, Receiver<Bytes>> ends)
      : sender(std::move(ends.first)), receiver(std::move(ends.second)) {}
};

TEST_F(ReceiveAll, WritesLinesUntilTheStreamIsClosed) {
  send({"one", "", "three"});
  sender.close();
  const Received received = receive({.framing = Framing::lines, .timeout = kWatchdog});
  EXPECT_EQ(received.ending, Ending::status);
  EXPECT_EQ(received.status, Status::closed);
  EXPECT_EQ(pipe.read_all(), "one\n\nthree\n");
  EXPECT_EQ(count.messages, 3U);
  EXPECT_EQ(count.bytes, 8U);
}

TEST_F(ReceiveAll, WritesLengthsLittleEndian) {
  send({"abc"});
  EXPECT_EQ(receive({.framing = Framing::length, .wait = false}).ending, Ending::done);
  EXPECT_EQ(pipe.read_all(), std::string("\3\0\0\0abc", 7));
}

TEST_F(ReceiveAll, TakesNoMoreThanTheCount) {
  send({"a", "b", "c"});
  EXPECT_EQ(receive({.framing = Framing::raw, .count = 2}).ending, Ending::done);
  EXPECT_EQ(pipe.read_all(), "ab");
  EXPECT_EQ(receive_one(receiver), "c");
}

TEST_F(ReceiveAll, OfNoneTakesNothing) {
  send({"a"});
  EXPECT_EQ(receive({.framing = Framing::raw, .count = 0}).ending, Ending::done);
  EXPECT_EQ(receive_one(receiver), "a");
}

TEST_F(ReceiveAll, WithoutWaitingTakesWhatIsThere) {
  send({"a", "b"});
  EXPECT_EQ(receive({.framing = Framing::raw, .wait = false}).ending, Ending::done);
  EXPECT_EQ(pipe.read_all(), "ab");
}

TEST_F(ReceiveAll, SaysTimeoutWhenNothingComes) {
  const Received received = receive({.timeout = std::chrono::milliseconds{5}});
  EXPECT_EQ(received.ending, Ending::status);
  EXPECT_EQ(received.status, Status::timeout);
}

TEST_F(ReceiveAll, SaysPeerLostWhenTheSenderLeftItsStreamOpenAfterTheLastMessage) {
  send({"a"});
  { const Sender<Bytes> gone = std::move(sender); }
  const Received received = receive({.framing = Framing::raw, .timeout = kWatchdog});
  EXPECT_EQ(received.ending, Ending::status);
  EXPECT_EQ(received.status, Status::peer_lost);
  EXPECT_EQ(pipe.read_all(), "a");
}

TEST_F(ReceiveAll, FollowingGoesOnBeyondTheEndOfAStreamAndTheLossOfItsSender) {
  send({"a"});
  sender.close();
  { const Sender<Bytes> gone = std::move(sender); }
  const Received received = receive({.framing = Framing::raw, .follow = true, .timeout = std::chrono::milliseconds{5}});
  EXPECT_EQ(received.status, Status::timeout);
  EXPECT_EQ(pipe.read_all(), "a");
}

TEST_F(ReceiveAll, KeepsTheMessageThatNobodyReads) {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  send({"a", "b"});
  pipe.close_out();
  EXPECT_EQ(receive({.framing = Framing::raw}).ending, Ending::reader_gone);
  EXPECT_EQ(count.messages, 0U);
  EXPECT_EQ(receive_one(receiver), "a");
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_F(ReceiveAll, KeepsTheMessageThatCannotBeWritten) {
  send({"a"});
  EXPECT_THROW(static_cast<void>(receive_all(receiver, -1, {.framing = Framing::raw}, count)), Error);
  EXPECT_EQ(receive_one(receiver), "a");
}

TEST_F(ReceiveAll, WaitsForAnOutputThatSomebodyMadeNonBlocking) {
  ASSERT_EQ(::fcntl(pipe.in, F_SETFL, O_NONBLOCK), 0);
  ASSERT_GE(::fcntl(pipe.in, F_SETPIPE_SZ, 4096), 4096);
  std::string expected;
  std::thread sending([&] {
    for (int at = 0; at < 200; ++at) {
      const std::string message(1000, static_cast<char>('a' + at % 26));
      expected += message;
      EXPECT_EQ(sender.send(bytes_of(message), kWatchdog), Status::ok);
    }
    sender.close();
  });
  std::string got;
  std::thread reading([&] { got = pipe.read_all(); });
  EXPECT_EQ(receive({.framing = Framing::raw, .timeout = kWatchdog}).status, Status::closed);
  reading.join();
  sending.join();
  EXPECT_EQ(got, expected);
}

TEST_F(ReceiveAll, EndsAtASignalAndKeepsWhatItHasNotWritten) {
  send({"a"});
  std::thread killing;
  Received received;
  int signal = 0;
  {
    const StopOnSignals stop{receiver};
    killing = std::thread([&] {
      std::array<char, 1> byte{};
      EXPECT_EQ(::read(pipe.out, byte.data(), byte.size()), 1);  // it has begun
      EXPECT_EQ(::kill(::getpid(), SIGTERM), 0);
    });
    received = receive({.framing = Framing::raw, .timeout = kWatchdog});
    signal = StopOnSignals::caught();
  }
  killing.join();
  EXPECT_EQ(received.ending, Ending::signal);
  EXPECT_EQ(signal, SIGTERM);
  send({"b"});
  EXPECT_EQ(receive_one(receiver), "b");
}

TEST(StopOnSignals, PutsBackWhatWasThere) {
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096});
  { const StopOnSignals stop{receiver}; }
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    ASSERT_EQ(::sigaction(signal, nullptr, &action), 0);
    EXPECT_EQ(action.sa_handler, SIG_DFL);
  }
}

TEST(StopOnSignals, LeavesAnIgnoredSignalIgnored) {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGINT, &ignore, &before), 0);
  auto [sender, receiver] = make_channel<Bytes>({.capacity = 4096});
  {
    const StopOnSignals stop{receiver};
    ASSERT_EQ(std::raise(SIGINT), 0);
    EXPECT_EQ(StopOnSignals::caught(), 0);
  }
  ASSERT_EQ(::sigaction(SIGINT, &before, nullptr), 0);
}

}  // namespace
}  // namespace nimsync::tools
