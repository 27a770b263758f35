#include "tools/commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace nimsync::tools {
namespace {

std::string refusal(const Creation& creation) {
  try {
    static_cast<void>(request_for(creation));
  } catch (const Error& error) {
    EXPECT_EQ(error.errc(), Errc::invalid);
    return error.what();
  }
  ADD_FAILURE() << "it was taken";
  return {};
}

TEST(Creation, OfRecordsNeedsSizeAndCapacity) {
  const CreationRequest request = request_for(
      {.size = 16, .capacity = 1024, .layout = Layout::dense, .align = 8, .mode = 0620, .group = "users", .type = "T"});
  EXPECT_FALSE(request.shape.frames);
  EXPECT_EQ(request.shape.size, 16U);
  EXPECT_EQ(request.shape.alignment, 8U);
  EXPECT_EQ(request.shape.type, "T");
  EXPECT_EQ(request.options.capacity, 1024U);
  EXPECT_EQ(request.options.layout, Layout::dense);
  EXPECT_EQ(request.options.mode, 0620U);
  EXPECT_EQ(request.options.group, "users");
  EXPECT_EQ(request.options.protect, std::nullopt);
  EXPECT_THAT(refusal({.size = 16}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({.capacity = 16}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({.size = 0, .capacity = 16}), testing::HasSubstr("--size must be"));
  EXPECT_THAT(refusal({.size = 1, .capacity = 0}), testing::HasSubstr("--capacity must be"));
}

TEST(Creation, OfFramesNeedsBytes) {
  const CreationRequest request = request_for({.frames = true, .bytes = 4096, .max_size = 100, .protect = true});
  EXPECT_TRUE(request.shape.frames);
  EXPECT_EQ(request.options.capacity, 4096U);
  EXPECT_EQ(request.options.max_size, 100U);
  EXPECT_EQ(request.options.mode, 0600U);
  EXPECT_EQ(request.options.protect, true);
  EXPECT_THAT(refusal({.frames = true}), testing::HasSubstr("--frames and --bytes are needed"));
  EXPECT_THAT(refusal({.bytes = 4096}), testing::HasSubstr("--frames and --bytes are needed"));
  EXPECT_THAT(refusal({.frames = true, .bytes = 0}), testing::HasSubstr("--bytes must be"));
  EXPECT_THAT(refusal({.frames = true, .bytes = 1, .max_size = 0}), testing::HasSubstr("--max-size must be"));
}

TEST(Creation, OfBothOrNeitherIsRefused) {
  EXPECT_THAT(refusal({.size = 16, .capacity = 4, .frames = true, .bytes = 4096}),
              testing::HasSubstr("records and of frames"));
  EXPECT_THAT(refusal({.layout = Layout::dense, .frames = true, .bytes = 4096}),
              testing::HasSubstr("records and of frames"));
  EXPECT_THAT(refusal({.mode = 0600}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({}), testing::HasSubstr("give --size and --capacity"));
}

TEST(ListTable, HasARowForEachChannelAndACellForEachColumn) {
  ChannelInfo records;
  records.name = "md.ticks";
  records.geometry = {Layout::stamped, 16, 2048};
  records.used = 1500;
  records.owner = ::getuid();
  records.group = 4'000'000'000;
  records.mode = 0620;
  records.is_protected = true;
  records.memory = 135'168;
  records.created = 1000;
  records.state = "open";
  records.sender = Peer{.pid = 17, .uid = 0, .command = "feed"};
  ChannelInfo frames;
  frames.name = "log";
  frames.geometry = {Layout::framed, 65'536, 4U << 20};
  frames.used = 1536;
  frames.mode = 0600;
  frames.state = "idle";
  const Table table = table_of({records, frames}, 1000 + 7200);
  ASSERT_EQ(table.rows.size(), 2U);
  std::vector<std::string> titles;
  for (const auto& column : table.columns) titles.push_back(column.title);
  EXPECT_THAT(titles, testing::ElementsAre("NAME", "KIND", "MSG", "CAPACITY", "USED", "STATE", "SENDER", "RECEIVER",
                                           "OWNER", "GROUP", "MODE", "MEMORY", "AGE"));
  const auto texts = [&](std::size_t row) {
    std::vector<std::string> cells;
    for (const auto& cell : table.rows[row]) cells.push_back(cell.text);
    return cells;
  };
  EXPECT_THAT(texts(0), testing::ElementsAre("md.ticks", "stamped", "16", "2048", "1500", "open", "feed[17]", "-",
                                             testing::Not(testing::IsEmpty()), "4000000000", "0620p", "132K", "2h"));
  EXPECT_THAT(texts(1), testing::ElementsAre("log", "framed", "64K", "4M", "1.5K", "idle", "-", "-", testing::_,
                                             testing::_, "0600", "0", "2h"));
}

}  // namespace
}  // namespace nimsync::tools
