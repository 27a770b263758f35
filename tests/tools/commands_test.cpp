#include "tools/commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace nimsync::tools {
namespace {

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
