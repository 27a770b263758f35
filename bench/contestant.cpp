#include "bench/contestant.hpp"

#include <array>
#include <optional>
#include <stdexcept>

#include "bench/links.hpp"

namespace bench {
namespace {

// What each queue holds. Small enough for the rings of a round trip to stay in a core's first-level cache, large enough
// for a stream not to wait at every turn.
constexpr std::size_t kRttCapacity = 64;
constexpr std::size_t kThroughputCapacity = 1024;

template <class Link>
using Links = std::vector<std::unique_ptr<Link>>;

/// Two links, there and back.
template <std::size_t Size, class Link>
class RoundTrip final : public Contestant {
 public:
  RoundTrip(std::string name, Links<Link> there, Links<Link> back) : Contestant(std::move(name)) {
    for (std::size_t i = 0; i < kInstances; ++i) {
      instances_[i].there = std::move(there[i]);
      instances_[i].back = std::move(back[i]);
    }
  }

  void open_near() override {
    for (Instance& each : instances_) {
      each.tx.emplace(each.there->open_sender());
      each.rx.emplace(each.back->open_receiver());
    }
  }
  void open_far() override {
    for (Instance& each : instances_) {
      each.rx.emplace(each.there->open_receiver());
      each.tx.emplace(each.back->open_sender());
    }
  }
  void remove_names() noexcept override {
    for (Instance& each : instances_) {
      each.there->remove_names();
      each.back->remove_names();
    }
  }

  Lap near(std::size_t instance, std::uint64_t count) override {
    Instance& at = instances_[instance];
    return ask<Size>(*at.tx, *at.rx, std::exchange(at.next, at.next + count), count);
  }
  Lap far(std::size_t instance, std::uint64_t count) override {
    Instance& at = instances_[instance];
    return answer<Size>(*at.tx, *at.rx, std::exchange(at.next, at.next + count), count);
  }

 private:
  struct Instance {
    std::unique_ptr<Link> there;
    std::unique_ptr<Link> back;
    std::optional<typename Link::Sender> tx;
    std::optional<typename Link::Receiver> rx;
    std::uint64_t next = 1;
  };
  std::array<Instance, kInstances> instances_;
};

/// One link, from near to far.
template <std::size_t Size, class Link>
class Stream final : public Contestant {
 public:
  Stream(std::string name, Links<Link> links) : Contestant(std::move(name)) {
    for (std::size_t i = 0; i < kInstances; ++i) instances_[i].link = std::move(links[i]);
  }

  void open_near() override {
    for (Instance& each : instances_) each.tx.emplace(each.link->open_sender());
  }
  void open_far() override {
    for (Instance& each : instances_) each.rx.emplace(each.link->open_receiver());
  }
  void remove_names() noexcept override {
    for (Instance& each : instances_) each.link->remove_names();
  }

  Lap near(std::size_t instance, std::uint64_t count) override {
    Instance& at = instances_[instance];
    return pour<Size>(*at.tx, std::exchange(at.next, at.next + count), count);
  }
  Lap far(std::size_t instance, std::uint64_t count) override {
    Instance& at = instances_[instance];
    return drain<Size>(*at.rx, std::exchange(at.next, at.next + count), count);
  }

 private:
  struct Instance {
    std::unique_ptr<Link> link;
    std::optional<typename Link::Sender> tx;
    std::optional<typename Link::Receiver> rx;
    std::uint64_t next = 1;
  };
  std::array<Instance, kInstances> instances_;
};

/// Builds one group's contestants, each from a function that makes one link; its argument is a part for names.
template <std::size_t Size>
class GroupOf {
 public:
  GroupOf(Workload workload, std::size_t capacity) { group_ = {workload, Size, capacity, {}}; }

  template <class MakeLink>
  void add(const std::string& name, MakeLink make_link) {
    using Link = typename decltype(make_link(std::string{}))::element_type;
    const std::string part = "c" + std::to_string(group_.contestants.size());
    if (group_.workload == Workload::rtt) {
      group_.contestants.push_back(std::make_unique<RoundTrip<Size, Link>>(name, make_links(part + "-there", make_link),
                                                                           make_links(part + "-back", make_link)));
    } else {
      group_.contestants.push_back(std::make_unique<Stream<Size, Link>>(name, make_links(part, make_link)));
    }
  }
  /// The ping-pong is a word's, whatever the size of the others' messages.
  void add_ping_pong() {
    const auto line = [](const std::string&) { return std::make_unique<LineLink>(); };
    group_.contestants.push_back(
        std::make_unique<RoundTrip<8, LineLink>>(kTwoLines, make_links("", line), make_links("", line)));
  }

  Group take() && { return std::move(group_); }

 private:
  template <class MakeLink>
  static auto make_links(const std::string& part, MakeLink make_link) {
    Links<typename decltype(make_link(std::string{}))::element_type> links;
    for (std::size_t i = 0; i < kInstances; ++i) links.push_back(make_link(part + "-" + std::to_string(i)));
    return links;
  }

  Group group_;
};

template <std::size_t Size, std::size_t Capacity>
Group all(Workload workload, const std::string& socket, const std::string& tag) {
  using nimsync::Layout;
  const std::string prefix = tag + "-" + name(workload) + "-" + std::to_string(Size) + "-";
  GroupOf<Size> group(workload, Capacity);
  if (workload == Workload::rtt) group.add_ping_pong();
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    for (const bool protect : {false, true}) {
      const std::string kind = std::string(nimsync::name(layout)) + (protect ? ", protected" : "");
      group.add("nimsync " + kind, [&](const std::string& part) {
        const nimsync::Options options{.capacity = Capacity, .layout = layout, .protect = protect};
        return std::make_unique<ChannelLink<Size>>(socket, prefix + part, options);
      });
      if (layout == Layout::stamped) {
        group.add("bare ring " + kind,
                  [&](const std::string&) { return std::make_unique<StampedLink<Size>>(layout, Capacity, protect); });
      } else {
        group.add("bare ring " + kind,
                  [&](const std::string&) { return std::make_unique<DenseLink<Size>>(layout, Capacity, protect); });
      }
    }
  }
  group.add(kBoost,
            [&](const std::string& part) { return std::make_unique<BoostLink<Size, Capacity>>(prefix + part); });
  return std::move(group).take();
}

template <std::size_t Size>
Group all(Workload workload, const std::string& socket, const std::string& tag) {
  return workload == Workload::rtt ? all<Size, kRttCapacity>(workload, socket, tag)
                                   : all<Size, kThroughputCapacity>(workload, socket, tag);
}

}  // namespace

const std::vector<std::size_t>& sizes() {
  static const std::vector<std::size_t> all_sizes{8, 24, 56, 64};
  return all_sizes;
}

Group make_group(Workload workload, std::size_t size, const std::string& socket, const std::string& tag) {
  switch (size) {
    case 8:
      return all<8>(workload, socket, tag);
    case 24:
      return all<24>(workload, socket, tag);
    case 56:
      return all<56>(workload, socket, tag);
    case 64:
      return all<64>(workload, socket, tag);
    default:
      throw std::invalid_argument("messages of " + std::to_string(size) + " bytes are not among the bench's sizes");
  }
}

}  // namespace bench
