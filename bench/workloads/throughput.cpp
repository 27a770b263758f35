// throughput: a stream of records, one call a message on both sides, spinning.
#include "bench/links/limits.hpp"
#include "bench/links/nimsync.hpp"
#include "bench/peers.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

using nimsync::Layout;

constexpr std::size_t kCapacity = 1024;

template <std::size_t Size>
struct Of {
  template <class Link>
  using Made = Stream<OneCall<Size>, Link>;
  template <class Link>
  using MadeMember = Stream<OneCallMember<Size>, Link>;
  template <class Link>
  using MadeInPlace = Stream<InPlace<Size, 1>, Link>;
};

template <std::size_t Size>
std::vector<Group> make(const Place& place) {
  const std::string prefix = place.tag + "-stream-" + std::to_string(Size) + "-";
  Group group;
  group.workload = "throughput";
  group.size = Size;
  group.note = "one call a message, capacity " + std::to_string(kCapacity);
  group.unit = kMillionsPerSecond;
  group.fewest = kCapacity;  // a stream, also for who delivers in bursts
  group.references = {kBoost, kDirtyLines};
  group.contestants.push_back(std::make_unique<DirtyLinesContestant>(kDirtyLines, kCapacity * Size, Size));
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    const auto channel = [&](bool protect) {
      return [&, protect](const std::string& part) {
        const nimsync::Options options{.capacity = kCapacity, .layout = layout, .protect = protect};
        return std::make_unique<ChannelLink<Size>>(place.socket, prefix + part, options);
      };
    };
    for (const bool protect : {false, true}) {
      const std::string name = "nimsync " + kind_of(layout, protect);
      add<Of<Size>::template Made>(group, name, Kind::nimsync, kInMemory, channel(protect));
      add<Of<Size>::template MadeInPlace>(group, name + ", in place", Kind::nimsync, kInMemory, channel(protect));
    }
    add<Of<Size>::template MadeMember>(group, "nimsync " + kind_of(layout, false) + ", class member", Kind::nimsync,
                                       kInMemory, channel(false));
  }
  add<Of<Size>::template Made>(group, "bare ring stamped", Kind::bare, kInMemory, [](const std::string&) {
    return std::make_unique<StampedLink<Size>>(Layout::stamped, kCapacity, false);
  });
  add<Of<Size>::template Made>(group, "bare ring dense", Kind::bare, kInMemory, [](const std::string&) {
    return std::make_unique<DenseLink<Size>>(Layout::dense, kCapacity, false);
  });
  add_record_peers<Of<Size>::template Made, Size, kCapacity>(group, place, prefix);
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace

std::vector<Group> throughput_groups(std::size_t size, const Place& place) {
  return of_size<8, 56, 64, 256, 1024>(size, [&](auto known) { return make<known()>(place); });
}

}  // namespace bench
