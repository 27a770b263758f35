#include "tools/rates.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "words/quantity.hpp"

namespace nimsync::tools {

namespace {

constexpr double kSoonFull = 0.8;

Rates rates_between(const ChannelInfo& before, const ChannelInfo& now, double seconds) {
  // Counts are what clients wrote: they may be anything, and go backwards.
  const auto rate = [&](auto... counts) {
    double grown = 0;
    for (const auto count : {counts...}) {
      if (now.*count > before.*count) grown += static_cast<double>(now.*count - before.*count);
    }
    return grown / seconds;
  };
  return {.sent = rate(&ChannelInfo::sent),
          .received = rate(&ChannelInfo::received),
          .full_stalls = rate(&ChannelInfo::full_stalls),
          .empty_stalls = rate(&ChannelInfo::empty_stalls),
          .sleeps = rate(&ChannelInfo::sender_sleeps, &ChannelInfo::receiver_sleeps),
          .rings = rate(&ChannelInfo::sender_rings, &ChannelInfo::receiver_rings)};
}

/// What the order compares, larger ones first.
double weight(const Measured& measured, Order order) {
  const Rates rates = measured.rates.value_or(Rates{});
  switch (order) {
    case Order::sent:
      return rates.sent;
    case Order::received:
      return rates.received;
    case Order::used:
      return fullness(measured.channel);
    case Order::full_stalls:
      return rates.full_stalls;
    case Order::empty_stalls:
      return rates.empty_stalls;
    case Order::memory:
      return static_cast<double>(measured.channel.memory);
    case Order::name:
      break;
  }
  return 0;
}

/// "1234", "12.3k" (thousands, for messages), "4M" (bytes); "-" when it isn't known; what isn't zero is at least "1".
std::string shown(const std::optional<Rates>& rates, double Rates::*rate, bool bytes = false) {
  if (!rates) return "-";
  const double exact = *rates.*rate;
  const auto rounded = static_cast<std::uint64_t>(std::llround(std::min(exact, 1e18)));
  const std::uint64_t value = exact > 0 ? std::max<std::uint64_t>(rounded, 1) : 0;
  if (bytes) return words::format_size(value);
  constexpr std::array<std::pair<std::uint64_t, char>, 3> kThousands{
      {{1'000'000'000, 'G'}, {1'000'000, 'M'}, {10'000, 'k'}}};
  for (const auto& [least, letter] : kThousands) {
    if (value < least) continue;
    const std::uint64_t unit = letter == 'k' ? 1000 : least;
    const std::uint64_t tenth = value % unit * 10 / unit;
    return std::to_string(value / unit) + (tenth == 0 ? "" : "." + std::to_string(tenth)) + letter;
  }
  return std::to_string(value);
}

}  // namespace

std::vector<Measured> Meter::measure(std::vector<ChannelInfo> channels, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - then_).count();
  std::vector<Measured> measured;
  measured.reserve(channels.size());
  std::map<std::string, ChannelInfo, std::less<>> after;
  for (ChannelInfo& channel : channels) {
    const auto before = before_.find(channel.name);
    Measured& one = measured.emplace_back();
    if (before != before_.end() && before->second.generation == channel.generation && seconds > 0) {
      one.rates = rates_between(before->second, channel, seconds);
    }
    after.emplace(channel.name, channel);
    one.channel = std::move(channel);
  }
  before_ = std::move(after);
  then_ = now;
  return measured;
}

double fullness(const ChannelInfo& channel) {
  if (channel.geometry.capacity == 0) return 0;
  return std::min(1.0, static_cast<double>(channel.used) / static_cast<double>(channel.geometry.capacity));
}

void sort(std::vector<Measured>& channels, Order order, bool reversed) {
  const auto comes_before = [order](const Measured& one, const Measured& other) {
    const double first = weight(one, order);
    const double second = weight(other, order);
    return first != second ? first > second : one.channel.name < other.channel.name;
  };
  std::sort(channels.begin(), channels.end(), comes_before);
  if (reversed) std::reverse(channels.begin(), channels.end());
}

Table rate_table(const std::vector<Measured>& channels) {
  using enum Column::Align;
  Table table;
  table.columns = {{"NAME", left, true}, {"SENT/S", right},   {"RECEIVED/S", right},  {"USED", right},
                   {"FULL", right},      {"STALLS/S", right}, {"WAITS/S", right},     {"SLEEPS/S", right},
                   {"RINGS/S", right},   {"STATE"},           {"SENDER", left, true}, {"RECEIVER", left, true}};
  table.rows.reserve(channels.size());
  for (const auto& [channel, rates] : channels) {
    const bool bytes = is_framed(channel);
    const double full = fullness(channel);
    table.rows.push_back({
        channel.name,
        shown(rates, &Rates::sent, bytes),
        shown(rates, &Rates::received, bytes),
        amount(channel, channel.used),
        {std::to_string(static_cast<int>(full * 100)) + "%", full >= kSoonFull ? Colour::notice : Colour::none},
        shown(rates, &Rates::full_stalls),
        shown(rates, &Rates::empty_stalls),
        shown(rates, &Rates::sleeps),
        shown(rates, &Rates::rings),
        {channel.state, colour_of(channel.state)},
        text_of(channel.sender),
        text_of(channel.receiver),
    });
  }
  return table;
}

Json json_of(const Measured& measured) {
  Json json = json_of(measured.channel);
  json["rates"] = nullptr;
  if (const auto& rates = measured.rates) {
    json["rates"] = {{"sent", rates->sent},
                     {"received", rates->received},
                     {"full_stalls", rates->full_stalls},
                     {"empty_stalls", rates->empty_stalls},
                     {"sleeps", rates->sleeps},
                     {"rings", rates->rings}};
  }
  return json;
}

Json json_of(const std::vector<Measured>& channels) {
  Json list = Json::array();
  for (const auto& each : channels) list.push_back(json_of(each));
  return list;
}

}  // namespace nimsync::tools
