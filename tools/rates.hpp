// How fast things happen in channels: what their counts grew by between two looks.
//
// One thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <nimsync/nimsync.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/output.hpp"
#include "tools/table.hpp"

namespace nimsync::tools {

/// A second. sent and received: messages, or bytes of ring (frames). sleeps, rings: of both sides.
struct Rates {
  double sent = 0;
  double received = 0;
  double full_stalls = 0;
  double empty_stalls = 0;
  double sleeps = 0;
  double rings = 0;
};

struct Measured {
  ChannelInfo channel;
  std::optional<Rates> rates;  // from the second look on
};

/// Remembers the look before. A channel that was removed and made anew between two looks begins anew.
class Meter {
 public:
  using Clock = std::chrono::steady_clock;  // whatever happens to the time of day

  std::vector<Measured> measure(std::vector<ChannelInfo> channels, Clock::time_point now);

 private:
  std::map<std::string, ChannelInfo, std::less<>> before_;
  Clock::time_point then_;
};

/// What a table can be in the order of: by name upwards, by all else downwards.
enum class Order : std::uint8_t { name, sent, received, used, full_stalls, empty_stalls, memory };

/// Its word on the command line, and the key for it in top.
struct OrderWord {
  Order order;
  std::string_view word;
  char key;
};
inline constexpr std::array<OrderWord, 7> kOrders{{
    {Order::name, "name", 'n'},
    {Order::sent, "sent", 's'},
    {Order::received, "received", 'r'},
    {Order::used, "used", 'u'},
    {Order::full_stalls, "full", 'f'},
    {Order::empty_stalls, "empty", 'e'},
    {Order::memory, "memory", 'm'},
}};

/// How full, from 0 to 1.
double fullness(const ChannelInfo& channel);

/// Puts channels into an order; those that are alike in it by name.
void sort(std::vector<Measured>& channels, Order order, bool reversed);

/// A row for each, in the order they are in.
Table rate_table(const std::vector<Measured>& channels);

/// CHANNEL with "rates": null at the first look.
Json json_of(const Measured& measured);
Json json_of(const std::vector<Measured>& channels);

}  // namespace nimsync::tools
