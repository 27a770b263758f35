#include "words/quantity.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace nimsync::words {
namespace {

constexpr std::string_view kSuffixes = "KMGTPE";

[[noreturn]] void refuse(std::string_view text, std::string_view what, std::string_view instead) {
  throw Error(Errc::invalid, "\"" + std::string{text} + "\" is not " + std::string{what} + "; " + std::string{instead});
}

/// The digits that `text` begins with, taken off it. Nothing when there are none or too many.
std::optional<std::uint64_t> take_number(std::string_view& text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

char upper(char letter) {
  return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

}  // namespace

std::uint64_t parse_size(std::string_view text) {
  constexpr std::string_view kInstead = "write a whole number, with K, M, G or T for powers of 1024, such as 64K";
  std::string_view rest = text;
  const std::optional<std::uint64_t> number = take_number(rest, 10);
  const bool has_digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
  if (!number) refuse(text, has_digits ? "a size below 16E" : "a size", kInstead);
  unsigned shift = 0;
  if (!rest.empty()) {
    const std::size_t power = kSuffixes.find(upper(rest.front()));
    if (power != std::string_view::npos) {
      shift = 10 * static_cast<unsigned>(power + 1);
      rest.remove_prefix(1);
      if (!rest.empty() && upper(rest.front()) == 'I') rest.remove_prefix(1);
    }
    if (!rest.empty() && upper(rest.front()) == 'B') rest.remove_prefix(1);
  }
  if (!rest.empty()) refuse(text, "a size", kInstead);
  if (*number > (std::numeric_limits<std::uint64_t>::max() >> shift)) refuse(text, "a size below 16E", kInstead);
  return *number << shift;
}

Timeout parse_duration(std::string_view text) {
  constexpr std::string_view kInstead = "write a whole number and ns, us, ms, s, m or h, such as 500ms";
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 6> kUnits{{
      {"ns", 1},
      {"us", 1'000},
      {"ms", 1'000'000},
      {"s", 1'000'000'000},
      {"m", 60'000'000'000},
      {"h", 3'600'000'000'000},
  }};
  std::string_view rest = text;
  const std::optional<std::uint64_t> number = take_number(rest, 10);
  const auto* unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& each) { return each.first == rest; });
  if (!number || unit == kUnits.end()) refuse(text, "a duration", kInstead);
  // The largest Timeout means for ever, so that no duration may reach it.
  if (*number >= static_cast<std::uint64_t>(Timeout::max().count()) / unit->second) {
    refuse(text, "a duration below 292 years", kInstead);
  }
  return Timeout{static_cast<Timeout::rep>(*number * unit->second)};
}

unsigned parse_mode(std::string_view text) {
  constexpr std::string_view kInstead = "write octal digits as for chmod, at most 0777, such as 0620";
  std::string_view rest = text;
  if (rest.substr(0, 2) == "0o") rest.remove_prefix(2);
  const std::optional<std::uint64_t> number = take_number(rest, 8);
  if (!number || !rest.empty() || *number > 0777) refuse(text, "a mode", kInstead);
  return static_cast<unsigned>(*number);
}

std::string format_size(std::uint64_t bytes) {
  unsigned power = 0;
  while (power < kSuffixes.size() && (bytes >> (10 * (power + 1))) != 0) ++power;
  if (power == 0) return std::to_string(bytes);
  const unsigned shift = 10 * power;
  const std::uint64_t whole = bytes >> shift;
  // Of the next lower unit, so that nothing overflows.
  const std::uint64_t tenth = ((bytes >> (shift - 10)) & 1023) * 10 / 1024;
  std::string text = std::to_string(whole);
  if (tenth != 0) text += "." + std::to_string(tenth);
  return text + kSuffixes[power - 1];
}

std::string format_age(std::int64_t seconds) {
  constexpr std::array<std::pair<std::int64_t, char>, 3> kUnits{{{86400, 'd'}, {3600, 'h'}, {60, 'm'}}};
  seconds = std::max<std::int64_t>(seconds, 0);
  for (const auto& [length, letter] : kUnits) {
    if (seconds >= length) return std::to_string(seconds / length) + letter;
  }
  return std::to_string(seconds) + 's';
}

std::string format_mode(unsigned mode) {
  std::array<char, 12> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  const std::string text(digits.data(), end);
  return std::string(text.size() < 4 ? 4 - text.size() : 0, '0') + text;
}

}  // namespace nimsync::words
