// blocking: throughput's stream through send() and receive(), which wait: what the doorbell costs while the peer is
// awake.
#include "bench/links/nimsync.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

using nimsync::Layout;

constexpr std::size_t kCapacity = 1024;

/// A channel whose endpoints wait where the loops would try again.
template <std::size_t Size>
class BlockingLink : public ChannelLink<Size> {
  using Channel = ChannelLink<Size>;

 public:
  class Sender {
   public:
    explicit Sender(typename Channel::Sender endpoint) noexcept : endpoint_(std::move(endpoint)) {}
    [[gnu::always_inline]] nimsync::Status try_send(const Record<Size>& record) noexcept {
      return endpoint_.send(record);
    }

   private:
    typename Channel::Sender endpoint_;
  };
  class Receiver {
   public:
    explicit Receiver(typename Channel::Receiver endpoint) noexcept : endpoint_(std::move(endpoint)) {}
    [[gnu::always_inline]] nimsync::Status try_receive(Record<Size>& record) noexcept {
      const nimsync::Status status = endpoint_.receive(record);
      if (!status) [[unlikely]]
        record = Record<Size>::of(0);  // wrong, and not uninitialised
      return status;
    }

   private:
    typename Channel::Receiver endpoint_;
  };

  using Channel::Channel;
  Sender open_sender() { return Sender(Channel::open_sender()); }
  Receiver open_receiver() { return Receiver(Channel::open_receiver()); }
};

template <std::size_t Size>
struct Of {
  template <class Link>
  using Made = Stream<OneCall<Size>, Link>;
};

template <std::size_t Size>
std::vector<Group> make(const Place& place) {
  const std::string prefix = place.tag + "-blocking-" + std::to_string(Size) + "-";
  Group group;
  group.workload = "blocking";
  group.size = Size;
  group.note = "one blocking call a message, capacity " + std::to_string(kCapacity);
  group.unit = kMillionsPerSecond;
  group.fewest = kCapacity;
  for (const Layout layout : {Layout::stamped, Layout::dense}) {
    const std::string name(nimsync::name(layout));
    group.references.push_back(name + ", busy");
    for (const bool doorbell : {true, false}) {
      const nimsync::Wait wait = doorbell ? nimsync::Wait::doorbell() : nimsync::Wait::busy();
      add<Of<Size>::template Made>(
          group, name + (doorbell ? ", doorbell" : ", busy"), Kind::nimsync, kInMemory, [&](const std::string& part) {
            const nimsync::Options options{.capacity = kCapacity, .layout = layout, .wait = wait};
            return std::make_unique<BlockingLink<Size>>(place.socket, prefix + part, options);
          });
    }
  }
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace

std::vector<Group> blocking_groups(std::size_t size, const Place& place) {
  return of_size<8, 64>(size, [&](auto known) { return make<known()>(place); });
}

}  // namespace bench
