// batch: a stream of records, many a call: copied from and to arrays, or written and read in place.
#include "bench/links/limits.hpp"
#include "bench/links/nimsync.hpp"
#include "bench/peers.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

using nimsync::Layout;

constexpr std::size_t kCapacity = 1024;

template <std::size_t Size, std::size_t Batch>
struct Of {
  template <class Link>
  using MadeCopied = Stream<Copied<Size, Batch>, Link>;
  template <class Link>
  using MadeInPlace = Stream<InPlace<Size, Batch>, Link>;
};

template <std::size_t Size, std::size_t Batch>
Group make(const Place& place) {
  const std::string prefix = place.tag + "-batch-" + std::to_string(Size) + "-" + std::to_string(Batch) + "-";
  Group group;
  group.workload = "batch";
  group.size = Size;
  group.batch = Batch;
  group.note = std::to_string(Batch) + " messages a call, capacity " + std::to_string(kCapacity);
  group.unit = kMillionsPerSecond;
  group.fewest = kCapacity;  // a stream, also for who delivers in bursts
  group.references = {kBoost, kDirtyLines};
  group.contestants.push_back(std::make_unique<DirtyLinesContestant>(kDirtyLines, kCapacity * Size, Size));
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    for (const bool protect : {false, true}) {
      const auto channel = [&](const std::string& part) {
        const nimsync::Options options{.capacity = kCapacity, .layout = layout, .protect = protect};
        return std::make_unique<ChannelLink<Size>>(place.socket, prefix + part, options);
      };
      const std::string name = "nimsync " + kind_of(layout, protect);
      add<Of<Size, Batch>::template MadeCopied>(group, name + ", copied", Kind::nimsync, kInMemory, channel);
      if (layout == Layout::stamped) continue;  // in place it is one slot at a time: `throughput`
      add<Of<Size, Batch>::template MadeInPlace>(group, name + ", in place", Kind::nimsync, kInMemory, channel);
    }
  }
  add_boost<Of<Size, Batch>::template MadeCopied, Size, kCapacity>(group, prefix);
  return group;
}

}  // namespace

std::vector<Group> batch_groups(std::size_t size, const Place& place) {
  return of_size<8, 64>(size, [&](auto known) {
    std::vector<Group> groups;
    groups.push_back(make<known(), 16>(place));
    groups.push_back(make<known(), 64>(place));
    return groups;
  });
}

}  // namespace bench
