// Endpoints over a channel of this process: what the API promises beside the rings' own suite.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"

namespace nimsync {
namespace {

using std::chrono::milliseconds;
constexpr Timeout kWatchdog = std::chrono::seconds(60);

struct Tick {
  std::uint64_t seq;
  double price;
};

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}
std::string text(std::span<const std::byte> message) {
  return {reinterpret_cast<const char*>(message.data()), message.size()};
}

class EitherLayout : public ::testing::TestWithParam<Layout> {
 protected:
  [[nodiscard]] static Options options(std::uint64_t capacity) { return {.capacity = capacity, .layout = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(Layouts, EitherLayout, ::testing::Values(Layout::stamped, Layout::dense),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(EitherLayout, RoundsTheCapacityUpToAPowerOfTwo) {
  for (const auto& [asked, given] : {std::pair{1, 1}, {2, 2}, {3, 4}, {1000, 1024}}) {
    auto [tx, rx] = make_channel<Tick>(options(static_cast<std::uint64_t>(asked)));
    EXPECT_EQ(tx.capacity(), static_cast<std::uint64_t>(given));
    EXPECT_EQ(rx.capacity(), tx.capacity());
    EXPECT_EQ(tx.layout(), GetParam());
  }
}

TEST_P(EitherLayout, SaysClosedOnceAndAtTheEndOfTheStream) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  ASSERT_TRUE(tx.try_send({1, 1}));
  tx.close();
  tx.close();
  EXPECT_EQ(tx.try_send({2, 2}), Status::closed);
  EXPECT_EQ(tx.send({2, 2}), Status::closed);
  EXPECT_EQ(tx.check(), Status::closed);
  Tick tick{};
  EXPECT_EQ(rx.check(), Status::ok);
  EXPECT_TRUE(rx.try_receive(tick));
  EXPECT_EQ(rx.try_receive(tick), Status::closed);
  EXPECT_EQ(rx.try_receive(tick), Status::would_block);
  EXPECT_EQ(rx.receive(tick, milliseconds(1)), Status::timeout);
  EXPECT_EQ(rx.check(), Status::ok);
}

TEST_P(EitherLayout, PeekSeesTheEndOnlyAsEmptiness) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  tx.close();
  EXPECT_TRUE(rx.peek().empty());
  EXPECT_EQ(rx.check(), Status::closed);
}

TEST_P(EitherLayout, DrainsALostSenderThenTellsOnce) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  ASSERT_TRUE(tx.try_send({1, 1}));
  { const auto gone = std::move(tx); }
  EXPECT_EQ(rx.check(), Status::ok);
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::ok);
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::peer_lost);
  EXPECT_EQ(rx.receive(tick, milliseconds(1)), Status::timeout);
  EXPECT_EQ(rx.check(), Status::ok);
}

TEST_P(EitherLayout, TellsABlockedSenderOfALostReceiver) {
  auto [tx, rx] = make_channel<Tick>(options(1));
  { const auto gone = std::move(rx); }
  EXPECT_EQ(tx.send({1, 1}, kWatchdog), Status::ok) << "there is room";
  EXPECT_EQ(tx.send({2, 2}, kWatchdog), Status::peer_lost);
  EXPECT_EQ(tx.send({2, 2}, milliseconds(1)), Status::timeout);
}

TEST_P(EitherLayout, MovesWithAllItsState) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  ASSERT_TRUE(tx.try_send({1, 1}));
  Sender<Tick> moved = std::move(tx);
  EXPECT_FALSE(tx.is_attached());  // NOLINT(bugprone-use-after-move): what a moved-from endpoint does is promised
  EXPECT_EQ(tx.try_send({9, 9}), Status::closed);
  EXPECT_EQ(tx.send({9, 9}), Status::closed);
  EXPECT_EQ(tx.check(), Status::closed);
  EXPECT_TRUE(tx.reserve().empty());
  EXPECT_EQ(tx.capacity(), 0U);
  tx.close();
  tx.interrupt();
  ASSERT_TRUE(moved.try_send({2, 2}));
  Receiver<Tick> taken = std::move(rx);
  Tick tick{};
  const auto to_itself = [](auto& endpoint, auto& same) { endpoint = std::move(same); };
  to_itself(moved, moved);
  to_itself(taken, taken);
  EXPECT_TRUE(moved.is_attached());
  EXPECT_EQ(rx.try_receive(tick), Status::would_block);  // NOLINT(bugprone-use-after-move): as above
  EXPECT_EQ(rx.receive(tick), Status::closed);
  EXPECT_TRUE(rx.peek().empty());
  EXPECT_EQ(rx.size(), 0U);
  for (std::uint64_t i = 1; i <= 2; ++i) {
    ASSERT_TRUE(taken.try_receive(tick));
    EXPECT_EQ(tick.seq, i);
  }
  auto [tx2, rx2] = make_channel<Tick>(options(4));
  moved = std::move(tx2);  // ends the first channel's sender
  EXPECT_EQ(taken.receive(tick, kWatchdog), Status::peer_lost);
  ASSERT_TRUE(moved.try_send({3, 3}));
  ASSERT_TRUE(rx2.try_receive(tick));
  EXPECT_EQ(tick.seq, 3U);
}

TEST_P(EitherLayout, SendsAndReceivesInPlaceAndInBatches) {
  auto [tx, rx] = make_channel<Tick>(options(8));
  std::uint64_t next = 0;
  std::uint64_t expected = 0;
  for (int lap = 0; lap < 50; ++lap) {
    std::array<Tick, 3> batch{};
    for (Tick& tick : batch) tick = {next++, 0};
    ASSERT_EQ(tx.try_send_some(batch), 3U);
    const std::span<Tick> room = tx.reserve(2);
    ASSERT_FALSE(room.empty());
    for (Tick& tick : room) tick = {next++, 0};
    tx.commit(room.size());
    std::array<Tick, 2> out{};
    ASSERT_EQ(rx.try_receive_some(out), 2U);
    for (const Tick& tick : out) EXPECT_EQ(tick.seq, expected++);
    while (expected != next) {
      const std::span<const Tick> waiting = rx.peek(8);
      ASSERT_FALSE(waiting.empty());
      for (const Tick& tick : waiting) EXPECT_EQ(tick.seq, expected++);
      rx.release(waiting.size());
    }
    EXPECT_TRUE(rx.is_empty());
    EXPECT_TRUE(tx.is_empty());
  }
}

TEST_P(EitherLayout, FillsUpExactly) {
  auto [tx, rx] = make_channel<Tick>(options(4));
  std::array<Tick, 9> many{};
  EXPECT_EQ(tx.try_send_some(many), 4U);
  EXPECT_TRUE(tx.is_full());
  EXPECT_TRUE(rx.is_full());
  EXPECT_EQ(tx.try_send({}), Status::would_block);
  EXPECT_TRUE(tx.reserve().empty());
  EXPECT_EQ(tx.size(), 4U);
  EXPECT_EQ(rx.size(), 4U);
  EXPECT_EQ(rx.try_receive_some(many), 4U);
  EXPECT_FALSE(tx.is_full());
  EXPECT_EQ(rx.size(), 0U);
}

TEST(Endpoint, HasASizeThatIsNotAboutLayout) {
  // Alignment beyond the word, sizes that are no multiple of it.
  struct alignas(64) Wide {
    std::array<char, 64> data;
  };
  auto [tx, rx] = make_channel<Wide>({.capacity = 4});
  const auto room = tx.reserve();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room.data()) % 64, 0U);
  auto [tx3, rx3] = make_channel<std::array<char, 3>>({.capacity = 4});
  ASSERT_TRUE(tx3.try_send({'a', 'b', 'c'}));
  std::array<char, 3> out{};
  ASSERT_TRUE(rx3.try_receive(out));
  EXPECT_EQ(out[2], 'c');
}

TEST(Frames, CarryMessagesOfAnyLength) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 1000});
  EXPECT_EQ(tx.max_size(), 1000U);
  std::thread sender([&tx = tx] {
    for (std::size_t i = 0; i < 20'000; ++i) {
      if (!tx.send(bytes(std::string(i % 1001, static_cast<char>('a' + i % 26))), kWatchdog)) return;
    }
    tx.close();
  });
  std::span<const std::byte> message;
  Status status = Status::ok;
  std::size_t received = 0;
  while ((status = rx.receive(message, kWatchdog))) {
    ASSERT_EQ(text(message), std::string(received % 1001, static_cast<char>('a' + received % 26)));
    rx.release();
    ++received;
  }
  sender.join();
  EXPECT_EQ(status, Status::closed);
  EXPECT_EQ(received, 20'000U);
}

TEST(Frames, RefuseWhatNeverFits) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096, .max_size = 100});
  EXPECT_EQ(tx.try_send(bytes(std::string(101, 'x'))), Status::too_big);
  EXPECT_EQ(tx.send(bytes(std::string(101, 'x'))), Status::too_big);
  EXPECT_EQ(tx.reserve(101).data(), nullptr);
  EXPECT_NE(tx.reserve(0).data(), nullptr) << "an empty message is one";
  EXPECT_TRUE(tx.try_send({}));
  std::span<const std::byte> message;
  ASSERT_TRUE(rx.try_receive(message));
  EXPECT_TRUE(message.empty());
  EXPECT_NE(message.data(), nullptr);
}

TEST(Frames, ShowTheSameMessageUntilItIsReleased) {
  auto [tx, rx] = make_channel<Bytes>({.capacity = 4096});
  const std::array<std::span<const std::byte>, 2> two{std::as_bytes(std::span("one", 3)),
                                                      std::as_bytes(std::span("two", 3))};
  ASSERT_EQ(tx.try_send_some(two), 2U);
  std::span<const std::byte> message;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(rx.try_receive(message));
    EXPECT_EQ(text(message), "one");
  }
  rx.release();
  EXPECT_EQ(text(rx.peek()), "two");
  rx.release();
  EXPECT_EQ(rx.peek().data(), nullptr);
}

TEST(MakeChannel, RefusesWhatCannotBe) {
  const auto refused = [](const Options& options) {
    try {
      static_cast<void>(make_channel<Tick>(options));
    } catch (const Error& e) {
      return e.errc();
    }
    return Errc{};
  };
  EXPECT_EQ(refused({.capacity = 0}), Errc::invalid);
  EXPECT_EQ(refused({.capacity = ~std::uint64_t{0}}), Errc::invalid);
  EXPECT_EQ(refused({.capacity = std::uint64_t{1} << 40}), Errc::no_space);
  EXPECT_EQ(refused({.capacity = 4, .layout = Layout::framed}), Errc::invalid);
  EXPECT_THROW(static_cast<void>(make_channel<Bytes>({.capacity = 4096, .max_size = 4096})), Error);
  EXPECT_THROW(static_cast<void>(make_channel<Bytes>({.capacity = 4096, .layout = Layout::dense})), Error);
}

TEST(Fork, LeavesTheParentsEndpointsAsTheyAre) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    { const auto gone = std::move(tx); }  // destroyed here: nothing of the parent's ends
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(rx.check(), Status::ok);
  ASSERT_TRUE(tx.try_send({1, 1}));
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::ok);
}

TEST(Fork, KeepsNoEndpointOfTheParentAlive) {
  auto [tx, rx] = make_channel<Tick>({.capacity = 4});
  std::array<int, 2> hold{};
  ASSERT_EQ(::pipe(hold.data()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(hold[1]);
    char byte = 0;
    static_cast<void>(!::read(hold[0], &byte, 1));  // lives until the parent is done
    ::_exit(0);
  }
  { const auto gone = std::move(tx); }
  Tick tick{};
  EXPECT_EQ(rx.receive(tick, kWatchdog), Status::peer_lost) << "though the child lives";
  ::close(hold[1]);
  ::close(hold[0]);
  ::waitpid(child, nullptr, 0);
}

TEST(Fork, LetsAChildDestroyAnEndpointWithoutHarmToItsOwnMemory) {
  auto [tx, rx] = make_channel<std::array<char, 4096>>({.capacity = 256});
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // What the child maps must not come to lie where the parent's ring lay.
    std::vector<std::vector<char>> mine(64, std::vector<char>(std::size_t{1} << 20, 'x'));
    { const auto gone = std::move(tx); }
    { const auto gone = std::move(rx); }
    for (const auto& each : mine) {
      if (each.front() != 'x' || each.back() != 'x') ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Status, ReadsAsSuccessAndWorksInASwitch) {
  const Status good = Status::ok;
  EXPECT_TRUE(good);
  EXPECT_FALSE(Status{Status::timeout});
  switch (Status{Status::closed}) {
    case Status::closed:
      break;
    default:
      FAIL();
  }
  EXPECT_STREQ(name(Status{Status::peer_lost}), "peer_lost");
}

}  // namespace
}  // namespace nimsync
