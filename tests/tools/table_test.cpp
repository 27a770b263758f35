#include "tools/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace nimsync::tools {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

Table animals() {
  Table table;
  table.columns = {
      {"NAME", Column::Align::left, true}, {"LEGS", Column::Align::right}, {"HOME", Column::Align::left, true}};
  table.rows = {{std::string{"ox"}, std::string{"4"}, std::string{"stable"}},
                {std::string{"centipede"}, std::string{"100"}, std::string{"-"}}};
  return table;
}

TEST(Table, AlignsColumnsLeftAndRightAndPadsNoLineEnd) {
  EXPECT_EQ(render(animals(), {}),
            "NAME       LEGS  HOME\n"
            "ox            4  stable\n"
            "centipede   100  -\n");
}

TEST(Table, WithoutAHeaderItIsNoWiderThanItsCells) {
  EXPECT_EQ(render(animals(), {.header = false}),
            "ox           4  stable\n"
            "centipede  100  -\n");
}

TEST(Table, AnEmptyOneIsItsHeaderAlone) {
  Table table = animals();
  table.rows.clear();
  EXPECT_EQ(render(table, {}), "NAME  LEGS  HOME\n");
  EXPECT_EQ(render(table, {.header = false}), "");
}

TEST(Table, FitsTheTerminalByCuttingTheWidestColumnsThatMayShrink) {
  EXPECT_EQ(render(animals(), {.width = 20}),
            "NAME    LEGS  HOME\n"
            "ox         4  stable\n"
            "centi…   100  -\n");
  for (std::size_t width = 16; width < 40; ++width) {
    for (const auto& line : lines_of(render(animals(), {.width = width}))) EXPECT_LE(width_of(line), width);
  }
}

TEST(Table, CutsNoColumnBelowFourCharactersAndNeverNumbers) {
  EXPECT_EQ(render(animals(), {.width = 1}),
            "NAME  LEGS  HOME\n"
            "ox       4  sta…\n"
            "cen…   100  -\n");
}

TEST(Table, ColoursWithoutChangingTheAlignment) {
  Table table = animals();
  table.rows[0][0].colour = Colour::good;
  EXPECT_EQ(render(table, {.header = false, .colour = true}),
            "\x1b[32mox\x1b[0m           4  stable\n"
            "centipede  100  -\n");
  EXPECT_EQ(render(table, {.header = false}).find('\x1b'), std::string::npos);
}

TEST(Table, ShowsNothingThatCouldSteerATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\r\n\t\x7f"), "a?[31mb????");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "?31m");  // the one-character form of escape and bracket
  EXPECT_EQ(printable(std::string{"a\0b", 3}), "a?b");
}

TEST(Table, ShowsAQuestionMarkForEachByteThatIsNotUtf8) {
  EXPECT_EQ(printable("grün"), "grün");
  EXPECT_EQ(printable("…€😀"), "…€😀");
  EXPECT_EQ(printable("\xff\xfe"), "??");
  EXPECT_EQ(printable("\xc0\xaf"), "??");            // overlong
  EXPECT_EQ(printable("\xe0\x80\xaf"), "???");       // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "???");       // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "????");  // beyond the last
  EXPECT_EQ(printable("abc\xe2\x82"), "abc??");      // cut short
}

TEST(Table, CountsCharactersAndNotBytes) {
  EXPECT_EQ(width_of("grün"), 4U);
  EXPECT_EQ(width_of("…"), 1U);
  EXPECT_EQ(width_of("\xff"), 1U);
  Table table;
  table.columns = {{"A"}, {"B"}};
  table.rows = {{std::string{"grün"}, std::string{"1"}}, {std::string{"grau"}, std::string{"2"}}};
  EXPECT_EQ(render(table, {.header = false}), "grün  1\ngrau  2\n");
}

TEST(Table, CutsBetweenCharacters) {
  EXPECT_EQ(cut("äöü", 3), "äöü");
  EXPECT_EQ(cut("äöüß", 3), "äö…");
  EXPECT_EQ(cut("abc", 1), "…");
  EXPECT_EQ(cut("abc", 0), "");
}

TEST(Block, AlignsTheValuesBelowATitle) {
  EXPECT_EQ(render_block("title", {{"a", "1"}, {"longer", "2\n"}}, {}),
            "title\n"
            "  a       1\n"
            "  longer  2?\n");
}

}  // namespace
}  // namespace nimsync::tools
