// The conformance suite: one for all rings.
#include <gtest/gtest.h>

#include "tests/rings/conformance_checks.hpp"

namespace nimsync::rings_test {
namespace {

struct Family {
  std::string name;
  std::vector<Kind> kinds;
};

std::ostream& operator<<(std::ostream& out, const Family& family) {
  return out << family.name;
}

template <std::size_t... Sizes>
Family stamped_family() {
  return {"stamped", {stamped<Native, Sizes>()...}};
}
template <std::size_t... Sizes>
Family stamped_at_run_time() {
  return {"stampedSizedAtRunTime", {stamped<Native, Sizes, kSizeAtRunTime>()...}};
}
template <std::size_t... Sizes>
Family dense_family() {
  return {"dense", {dense<Native, Sizes>()...}};
}
template <std::size_t... Sizes>
Family dense_at_run_time() {
  return {"denseSizedAtRunTime", {dense<Native, Sizes, kSizeAtRunTime>()...}};
}

std::vector<Family> families() {
  return {stamped_family<1, 3, 8, 12, 16, 24, 56, 57, 64, 100, 4096>(),
          stamped_at_run_time<1, 3, 8, 12, 16, 24, 56, 57, 64, 100, 4096>(),
          dense_family<1, 3, 8, 12, 16, 24, 56, 57, 64, 100, 4096>(),
          dense_at_run_time<1, 3, 8, 12, 16, 24, 56, 57, 64, 100, 4096>(),
          {"framed", {framed<Native>()}}};
}

/// Over each ring of a family, of each size and capacity.
class Conformance : public testing::TestWithParam<Family> {
 protected:
  template <class Check>
  static void with_each(Check check) {
    for (const Kind& kind : GetParam().kinds) {
      for (const Geometry& each : geometries(kind)) {
        ASSERT_NO_THROW(check(kind, each)) << kind.name << ", capacity " << each.capacity << ", size " << each.size;
      }
    }
  }

  static std::vector<Geometry> geometries(const Kind& kind) {
    std::vector<Geometry> all;
    if (kind.framed()) {
      for (const std::uint64_t capacity : {page(), 2 * page(), 16 * page()}) {
        for (const std::uint64_t size :
             {std::uint64_t{1}, std::uint64_t{100}, capacity / 4, layout::largest_frame(capacity)}) {
          all.push_back({Layout::framed, size, capacity});
        }
      }
    } else {
      for (const std::uint64_t capacity : {1U, 2U, 4U, 16U, 64U, 1024U})
        all.push_back({kind.layout, kind.size, capacity});
    }
    return all;
  }
};

TEST_P(Conformance, GivesBackWhatWasSentWhateverTheOrderOfCalls) {
  with_each([](const Kind& kind, const Geometry& geometry) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) check_walk(kind, geometry, seed, geometry.size > 1000 ? 500 : 3000);
  });
}

TEST_P(Conformance, GoesOnAtHighPositionsAndWithManyStreams) {
  // The last position is 2^56 - 1: behind it, marks would run into the numbers of streams (layout.hpp).
  with_each([](const Kind& kind, const Geometry& geometry) {
    const std::uint64_t margin = std::uint64_t{1} << 28U;
    for (const std::uint64_t position :
         {(std::uint64_t{1} << 32U) - 16, (std::uint64_t{1} << 40U) - 8, layout::kPositionMask + 1 - margin}) {
      for (const std::uint64_t streams : {std::uint64_t{255}, (std::uint64_t{1} << 40U) - 1}) {
        check_walk(kind, geometry, position ^ streams, 300, position, streams);
      }
    }
  });
}

TEST_P(Conformance, CarriesTheLastPositionsOfAll) {
  for (const Kind& kind : GetParam().kinds) {
    const std::uint64_t capacity = kind.framed() ? page() : 16;
    Channel channel(kind, capacity);
    const std::uint64_t left = kind.framed() ? page() : 100;
    channel.mapping().start_at(layout::kPositionMask + 1 - left, 3);
    const auto sender = channel.sender();
    const auto receiver = channel.receiver();
    std::uint64_t n = 0;
    for (std::uint64_t used = 0; used + units(channel.geometry(), channel.message(n)) < left; ++n) {
      used += units(channel.geometry(), channel.message(n));
      ASSERT_EQ(sender->try_send(channel.message(n)), Status::ok) << kind.name;
      Message message;
      ASSERT_EQ(receiver->try_receive(message), Status::ok) << kind.name;
      ASSERT_EQ(message, channel.message(n)) << kind.name;
    }
  }
}

TEST_P(Conformance, FillsToTheLastPlaceAndThenSaysSo) {
  with_each([](const Kind& kind, const Geometry& geometry) {
    Walk walk(kind, geometry, 5);
    const std::uint64_t shortest = kind.framed() ? layout::frame_bytes(0) : 0;
    while (walk.room() > shortest) walk.send_one();
    walk.send_one();
    walk.finish();
  });
}

TEST_P(Conformance, CutsBatchesAtEachPlaceOfTheRing) {
  if (GetParam().kinds.front().framed()) GTEST_SKIP() << "frames go one at a time";
  for (const Kind& kind : GetParam().kinds) {
    if (kind.size > 100) continue;
    for (const std::uint64_t capacity : {1U, 2U, 4U, 16U}) {
      Walk walk(kind, geometry(kind, capacity), 6);
      for (std::uint64_t place = 0; place < capacity; ++place) {
        for (std::uint64_t sent = 0; sent <= capacity + 1; ++sent) {
          for (std::uint64_t first = 0; first <= sent + 1; ++first) {
            ASSERT_NO_THROW({
              walk.send_some(sent);
              walk.receive_some(first);
              walk.receive_some(capacity + 1);
            });
          }
        }
        ASSERT_NO_THROW({
          walk.send_some(1);
          walk.receive_some(1);
        });
      }
    }
  }
}

TEST_P(Conformance, EndsABatchWhereAStreamEnds) {
  if (GetParam().kinds.front().framed()) GTEST_SKIP() << "frames go one at a time";
  for (const Kind& kind : GetParam().kinds) {
    if (kind.size > 100) continue;
    Walk walk(kind, geometry(kind, 16), 7);
    for (std::uint64_t before = 0; before <= 8; ++before) {
      for (std::uint64_t behind = 0; behind <= 8; ++behind) {
        ASSERT_NO_THROW({
          walk.send_some(before);
          walk.close();
          walk.send_some(behind);
          walk.receive_some(16);
          walk.receive_some(16);
          walk.finish();
        });
      }
    }
  }
}

TEST_P(Conformance, KeepsTheEndsOf32StreamsForALateReceiver) {
  for (const Kind& kind : GetParam().kinds) {
    for (const std::uint64_t streams :
         {std::uint64_t{0}, std::uint64_t{31}, std::uint64_t{240}, std::uint64_t{1} << 33U}) {
      for (const std::uint64_t capacity : {std::uint64_t{1}, std::uint64_t{16}, std::uint64_t{64}}) {
        ASSERT_NO_THROW(check_queued_streams(kind, kind.framed() ? page() : capacity, streams));
      }
    }
  }
}

TEST_P(Conformance, RefusesMessagesOfTheWrongSize) {
  with_each([](const Kind& kind, const Geometry& geometry) {
    const Channel channel(kind, geometry);
    const auto sender = channel.sender();
    EXPECT_EQ(sender->try_send(Message(geometry.size + 1)), Status::too_big);
    if (kind.framed()) {
      EXPECT_EQ(sender->reserve(geometry.size + 1).data(), nullptr);
    } else {
      EXPECT_EQ(sender->try_send(Message(geometry.size - 1)), Status::too_big);
    }
    EXPECT_EQ(sender->size(), 0U);
  });
}

INSTANTIATE_TEST_SUITE_P(Rings, Conformance, testing::ValuesIn(families()),
                         [](const auto& each) { return each.param.name; });

TEST(FramedRing, CarriesFramesOfEveryLengthAtEveryPlace) {
  const Geometry geometry{Layout::framed, layout::largest_frame(page()), page()};
  Channel channel(framed<Native>(), geometry);
  const auto sender = channel.sender();
  const auto receiver = channel.receiver();
  for (std::uint64_t length = 0; length <= geometry.size; ++length) {
    Message sent(length);
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i + length);
    ASSERT_EQ(sender->try_send(sent), Status::ok) << length;
    Message received;
    ASSERT_EQ(receiver->try_receive(received), Status::ok) << length;
    ASSERT_EQ(received, sent);
    ASSERT_EQ(receiver->look(), Status::would_block) << length;
  }
}

TEST(FramedRing, CutsAReservationToWhatIsCommitted) {
  Channel channel(framed<Native>(), page());
  const auto sender = channel.sender();
  const auto receiver = channel.receiver();
  for (int lap = 0; lap < 200; ++lap) {
    const std::span<std::byte> room = sender->reserve(channel.geometry().size);
    ASSERT_EQ(room.size(), channel.geometry().size);
    std::fill(room.begin(), room.end(), std::byte{0x7f});  // would read as words of frames
    sender->commit(17);
    View shown;
    ASSERT_EQ(receiver->try_peek(1, shown), Status::ok);
    ASSERT_EQ(shown.size(), 17U);
    receiver->release(1);
    ASSERT_EQ(receiver->look(), Status::would_block);
  }
}

}  // namespace
}  // namespace nimsync::rings_test
