// rtt: a question and its answer, through two links.
#include "bench/links/limits.hpp"
#include "bench/links/nimsync.hpp"
#include "bench/peers.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

using nimsync::Layout;

// Small enough for the rings of both directions to stay in a core's first-level cache at small sizes.
constexpr std::size_t kCapacity = 64;

template <std::size_t Size>
struct Of {
  template <class Link>
  using Made = RoundTrip<Size, Link>;
};

template <std::size_t Size>
std::vector<Group> make(const Place& place) {
  const std::string prefix = place.tag + "-rtt-" + std::to_string(Size) + "-";
  Group group;
  group.workload = "rtt";
  group.size = Size;
  group.note = "capacity " + std::to_string(kCapacity);
  group.references = {kTwoLines, kBoost, kIceoryx};
  constexpr std::size_t kParts = 48;
  group.parts = kParts;
  group.part_trips = 16;  // the clock ticks in 10 ns, and reading it takes 25
  group.parts_apart = true;
  // The ping-pong is a word's, whatever the size of the others' messages.
  add<Of<8>::Made>(group, kTwoLines, Kind::limit, kInMemory,
                   [](const std::string&) { return std::make_unique<LineLink>(); });
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    for (const bool protect : {false, true}) {
      add<Of<Size>::template Made>(
          group, "nimsync " + kind_of(layout, protect), Kind::nimsync, kInMemory, [&](const std::string& part) {
            const nimsync::Options options{.capacity = kCapacity, .layout = layout, .protect = protect};
            return std::make_unique<ChannelLink<Size>>(place.socket, prefix + part, options);
          });
    }
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

std::vector<Group> rtt_groups(std::size_t size, const Place& place) {
  return of_size<8, 24, 56, 64, 256, 1024, 4096>(size, [&](auto known) { return make<known()>(place); });
}

}  // namespace bench
