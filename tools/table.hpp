// Tables for people: aligned columns that fit a terminal.
//
// Pure functions over values; a cell's text may be anything (process names come from strangers): what could steer a
// terminal is shown as "?", and a column is as wide as its characters, not its bytes.
//
// Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nimsync::tools {

enum class Colour : std::uint8_t { none, good, notice, bad, title };

struct Cell {
  std::string text;
  Colour colour = Colour::none;

  Cell(std::string shown, Colour paint = Colour::none)  // NOLINT(google-explicit-constructor): a cell is its text
      : text(std::move(shown)), colour(paint) {}
};

struct Column {
  enum class Align : std::uint8_t { left, right };

  std::string title;
  Align align = Align::left;
  bool may_shrink = false;  // text that is still of use when cut
};

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // as many cells as columns
};

struct Style {
  bool header = true;
  bool colour = false;
  std::size_t width = 0;  // of the terminal; 0: as wide as it gets
};

/// The table as lines, each ended by a newline. Columns are two spaces apart, and the last one isn't padded. Where the
/// lines would be longer than the width, the widest columns that may shrink do, to no less than four characters,
/// and what was cut ends in "…"; where that isn't enough, lines are longer.
std::string render(const Table& table, const Style& style);

/// Pairs below a title, the values aligned:
///
///     title
///       key          value
///       another key  value
std::string render_block(std::string_view title, const std::vector<std::pair<std::string, std::string>>& pairs,
                         const Style& style);

/// Characters that `text` takes on a terminal, after printable().
std::size_t width_of(std::string_view text);

/// `text` with a "?" for each control character and each byte that isn't UTF-8.
std::string printable(std::string_view text);

/// The first `width` characters, the last of them "…" when something was cut.
std::string cut(std::string_view text, std::size_t width);

}  // namespace nimsync::tools
