#include "tools/table.hpp"

#include <algorithm>
#include <numeric>

namespace nimsync::tools {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 4;

/// Bytes of the UTF-8 character that `text` begins with; 0 when it begins with none.
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length > text.size()) return 0;
  unsigned code = length > 1 ? first & (0x7fU >> length) : first;
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0U) != 0x80U) return 0;
    code = code << 6U | (byte(at) & 0x3fU);
  }
  // Neither overlong, nor a surrogate, nor beyond the last character.
  const bool is_valid = !(length == 3 && code < 0x800) && !(length == 4 && (code < 0x10000 || code > 0x10ffff)) &&
                        !(code >= 0xd800 && code <= 0xdfff);
  return is_valid ? length : 0;
}

/// Whether a valid character moves the cursor or changes the terminal's mood.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (first < 0x20 || first == 0x7f) return true;
  return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;  // U+0080 to U+009F
}

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::good:
      return "\x1b[32m";
    case Colour::notice:
      return "\x1b[33m";
    case Colour::bad:
      return "\x1b[31m";
    case Colour::title:
      return "\x1b[1m";
    case Colour::none:
      break;
  }
  return {};
}

std::string painted(const std::string& text, Colour colour, const Style& style) {
  const std::string_view code = style.colour ? code_of(colour) : std::string_view{};
  if (code.empty()) return text;
  return std::string{code} + text + "\x1b[0m";
}

/// Takes from the widest columns that may shrink until the line fits.
void fit(std::vector<std::size_t>& widths, const std::vector<Column>& columns, std::size_t width) {
  const std::size_t gaps = widths.empty() ? 0 : kGap * (widths.size() - 1);
  std::size_t total = std::accumulate(widths.begin(), widths.end(), gaps);
  for (; total > width; --total) {
    std::size_t* widest = nullptr;
    for (std::size_t at = 0; at < columns.size(); ++at) {
      if (columns[at].may_shrink && widths[at] > kNarrowest && (widest == nullptr || widths[at] > *widest)) {
        widest = &widths[at];
      }
    }
    if (widest == nullptr) return;
    --*widest;
  }
}

void add_line(std::string& out, const Table& table, const std::vector<std::size_t>& widths,
              const std::vector<Cell>& cells, const Style& style) {
  for (std::size_t at = 0; at < cells.size(); ++at) {
    const std::string text = cut(printable(cells[at].text), widths[at]);
    const std::string padding(widths[at] - width_of(text), ' ');
    const bool is_last = at + 1 == cells.size();
    if (table.columns[at].align == Column::Align::right) out += padding;
    out += painted(text, cells[at].colour, style);
    if (table.columns[at].align == Column::Align::left && !is_last) out += padding;
    if (!is_last) out.append(kGap, ' ');
  }
  out += '\n';
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = character(text);
    if (length == 0 || is_control(text.substr(0, length))) {
      out += '?';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::size_t width_of(std::string_view text) {
  const std::string shown = printable(text);
  return static_cast<std::size_t>(std::count_if(
      shown.begin(), shown.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }));
}

std::string cut(std::string_view text, std::size_t width) {
  if (width_of(text) <= width) return std::string{text};
  std::string out;
  for (std::size_t taken = 0; taken + 1 < width; ++taken) {
    const std::size_t length = std::max<std::size_t>(character(text), 1);
    out += text.substr(0, length);
    text.remove_prefix(length);
  }
  return width == 0 ? out : out + "…";
}

std::string render(const Table& table, const Style& style) {
  std::vector<std::size_t> widths;
  widths.reserve(table.columns.size());
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    std::size_t width = style.header ? width_of(table.columns[at].title) : 0;
    for (const auto& row : table.rows) width = std::max(width, width_of(row[at].text));
    widths.push_back(width);
  }
  if (style.width != 0) fit(widths, table.columns, style.width);

  std::string out;
  if (style.header) {
    std::vector<Cell> titles;
    titles.reserve(table.columns.size());
    for (const auto& column : table.columns) titles.emplace_back(column.title, Colour::title);
    add_line(out, table, widths, titles, style);
  }
  for (const auto& row : table.rows) add_line(out, table, widths, row, style);
  return out;
}

std::string render_block(std::string_view title, const std::vector<std::pair<std::string, std::string>>& pairs,
                         const Style& style) {
  std::size_t widest = 0;
  for (const auto& [key, value] : pairs) widest = std::max(widest, width_of(key));
  std::string out = painted(printable(title), Colour::title, style) + "\n";
  for (const auto& [key, value] : pairs) {
    out += "  " + printable(key) + std::string(widest - width_of(key) + kGap, ' ') + printable(value) + "\n";
  }
  return out;
}

}  // namespace nimsync::tools
