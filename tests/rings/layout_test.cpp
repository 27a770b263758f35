// The arithmetic of the layout at its edges. What is fixed at compile time layout.hpp itself asserts.
#include "nimsync/layout.hpp"

#include <gtest/gtest.h>

#include "tests/rings/memory.hpp"

namespace nimsync::rings_test {
namespace {

TEST(Layout, OfASmallDenseChannelTakesTwoPagesInAll) {
  const Geometry geometry{Layout::dense, 8, 16};
  EXPECT_EQ(layout::forward_bytes(geometry, 4096) + layout::return_bytes(4096), 2U * 4096);
}

TEST(Layout, KeepsAStampInItsOwnWordBehindThePayloadAndInTheSlot) {
  for (std::uint64_t size = 1; size <= 5000; ++size) {
    const std::uint64_t stamp = layout::stamp_offset(size);
    const std::uint64_t stride = layout::stride(Layout::stamped, size);
    ASSERT_GE(stamp, size);
    ASSERT_EQ(stamp % 8, 0U);
    ASSERT_LE(stamp + 8, stride);
    ASSERT_LT(stride, stamp + 8 + layout::kCacheLine);
    ASSERT_EQ(stride % layout::kCacheLine, 0U);
  }
}

TEST(Layout, KeepsAMarksPositionAndStreamApart) {
  for (const std::uint64_t position : {std::uint64_t{0}, std::uint64_t{1} << 32U, layout::kPositionMask}) {
    for (const std::uint64_t stream :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{1} << 40U}) {
      const std::uint64_t mark = layout::mark(position, stream);
      EXPECT_EQ(mark & layout::kPositionMask, position);
      EXPECT_TRUE(layout::is_of_stream(mark, stream));
      EXPECT_TRUE(layout::is_of_stream(mark, stream + 256));
      EXPECT_FALSE(layout::is_of_stream(mark, stream + 1));
      EXPECT_FALSE(layout::is_of_stream(mark, stream - layout::kStreamEnds));
      EXPECT_EQ(layout::distance(position, mark), 0U);
    }
  }
}

TEST(Layout, TellsThisLapsStampFromTheLastOnes) {
  for (const std::uint64_t capacity : {1U, 2U, 64U, 1024U}) {
    for (const std::uint64_t position :
         {std::uint64_t{0}, capacity - 1, std::uint64_t{capacity}, 7 * capacity + 3 % capacity}) {
      const std::uint64_t before = position < capacity ? 0 : layout::mark(position - capacity + 1, 9);
      EXPECT_TRUE(layout::is_stamp_before(before, position, capacity));
      EXPECT_FALSE(layout::is_stamp_of(before, position));
      EXPECT_TRUE(layout::is_stamp_of(layout::mark(position + 1, 9), position));
      EXPECT_FALSE(layout::is_stamp_before(layout::mark(position + 1, 9), position, capacity));
    }
  }
}

TEST(Layout, GivesFramesTheRoomThatTheirLengthsNeed) {
  for (std::uint64_t length = 0; length < 100; ++length) {
    EXPECT_GE(layout::frame_bytes(length), length + layout::kFrameWord);
    EXPECT_LT(layout::frame_bytes(length), length + 2 * layout::kFrameWord);
    EXPECT_EQ(layout::frame_bytes(length) % 8, 0U);
    EXPECT_EQ(layout::frame_length(layout::frame_word(length, 77)), length);
    EXPECT_NE(layout::frame_word(length, 0), 0U);
  }
  EXPECT_EQ(layout::frame_bytes(layout::largest_frame(4096)) + layout::kFrameWord, 4096U);
  EXPECT_GT(layout::frame_length(layout::stream_tag(3)), std::uint64_t{1} << 60U);  // a word that no sender writes
}

TEST(Layout, FindsWhatIsWrongWithAHeader) {
  const Geometry geometry{Layout::stamped, 24, 64};
  const layout::Header expected = layout::identity(geometry, 5, 4096);
  EXPECT_FALSE(layout::mismatch(expected, expected));
  layout::Header used = expected;
  used.attached = 3;
  used.position = 99;
  EXPECT_FALSE(layout::mismatch(used, expected));
  const auto what = [&](auto spoil) {
    layout::Header found = expected;
    spoil(found);
    return layout::mismatch(found, expected).value_or("nothing");
  };
  EXPECT_EQ(what([](auto& header) { ++header.magic; }), "magic");
  EXPECT_EQ(what([](auto& header) { ++header.version; }), "layout version");
  EXPECT_EQ(what([](auto& header) { ++header.generation; }), "generation");
  EXPECT_EQ(what([](auto& header) { ++header.layout; }), "layout");
  EXPECT_EQ(what([](auto& header) { ++header.size; }), "message size");
  EXPECT_EQ(what([](auto& header) { ++header.capacity; }), "capacity");
  EXPECT_EQ(what([](auto& header) { ++header.ring; }), "ring offset");
}

TEST(Layout, DoesNotSearchForATailForEver) {
  for (const Layout kind : {Layout::stamped, Layout::framed}) {
    const Geometry geometry{kind, 8, 4096};
    std::uint64_t reads = 0;
    std::uint64_t position = 0;
    const auto always = [&](std::uint64_t offset) {
      EXPECT_LT(offset, layout::ring_bytes(geometry));
      ++reads;
      return kind == Layout::stamped ? ++position : layout::frame_word(0, 0);
    };
    EXPECT_FALSE(layout::find_tail(geometry, 0, always).has_value());
    EXPECT_EQ(reads, layout::kHintEvery + 1);
  }
  EXPECT_FALSE(
      layout::find_tail({Layout::framed, 8, 4096}, 3, [](std::uint64_t) { return std::uint64_t{0}; }).has_value());
}

}  // namespace
}  // namespace nimsync::rings_test
