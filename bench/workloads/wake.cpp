// wake: how long after it was sent a message reaches a receiver that sleeps.
#include "bench/links/nimsync.hpp"
#include "bench/peers.hpp"
#include "bench/waking.hpp"
#include "bench/workloads.hpp"

namespace bench {

std::vector<Group> wake_groups(std::size_t size, const Place& place) {
  if (size != kWakeSize) throw std::invalid_argument("wake has messages of 16 bytes");
  const std::string prefix = place.tag + "-wake-";
  Group group = wake_group("wake");
  group.references = {kPipe, kNimBackoff};
  const auto channel = [&](nimsync::Wait wait) {
    return [&, wait](const std::string& part) {
      return std::make_unique<ChannelLink<kWakeSize>>(place.socket, prefix + part,
                                                      nimsync::Options{.capacity = 64, .wait = wait});
    };
  };
  using std::chrono::milliseconds;
  add<Wake>(group, "nimsync, default", Kind::nimsync, wake_nature(), channel(nimsync::kDefaultWait));
  add<Wake>(group, kNimBackoff, Kind::nimsync, wake_nature(),
            channel(nimsync::Wait::backoff(milliseconds{1}, milliseconds{100})));
  add_message_peers<Wake>(group, place, prefix, kWakeSize, Blocking::yes);
  group.left_out.push_back({kIceoryx, "its subscribers are polled here, and don't sleep"});
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace bench
