// single-thread: one thread sends and receives in turn, and both are counted: how the Nim library measured itself.
#include <boost/lockfree/spsc_queue.hpp>
#include <optional>

#include "bench/links/nimsync.hpp"
#include "bench/peers.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

constexpr std::size_t kCapacity = 1024;
constexpr const char* kBoostHeap = "boost spsc_queue, heap";

/// Both ends in the near process; the far one has nothing to do.
template <std::size_t Size, class Tx, class Rx>
class InTurn : public Contestant {
 public:
  InTurn(std::string name, Kind kind) : Contestant(std::move(name), kind, {.instances = 1}) {}

  void open_far() override {}
  void remove_names() noexcept override {}
  void close_near() noexcept override {
    tx_.reset();
    rx_.reset();
  }
  void close_far() noexcept override {}

  Lap near(std::size_t, std::uint64_t count, std::span<double>) override {
    return in_turn(*tx_, *rx_, std::exchange(next_, next_ + count), count);
  }
  Lap far(std::size_t, std::uint64_t, std::span<double>) override { return {}; }

 protected:
  std::optional<Tx> tx_;
  std::optional<Rx> rx_;

 private:
  [[gnu::noinline]] static Lap in_turn(Tx& tx_home, Rx& rx_home, std::uint64_t first, std::uint64_t count) {
    Tx tx = std::move(tx_home);
    Rx rx = std::move(rx_home);
    std::uint64_t wrong = 0;
    Record<Size> record;
    const std::uint64_t last = first + count;
    const auto begin = Clock::now();
    for (std::uint64_t number = first; number != last; ++number) {
      separate(number);
      while (!tx.try_send(Record<Size>::of(number))) {
      }
      while (!rx.try_receive(record)) {
      }
      if (record.differs(number) != 0) [[unlikely]]
        count_one(wrong);
    }
    const auto end = Clock::now();
    tx_home = std::move(tx);
    rx_home = std::move(rx);
    return {ns_between(begin, end), 2 * static_cast<double>(count), wrong};
  }

  std::uint64_t next_ = 1;
};

template <std::size_t Size>
class Nimsync final : public InTurn<Size, nimsync::Sender<Record<Size>>, nimsync::Receiver<Record<Size>>> {
 public:
  explicit Nimsync(nimsync::Layout layout)
      : Nimsync::InTurn("nimsync " + kind_of(layout, false), Kind::nimsync), layout_(layout) {}
  void open_near() override {
    auto [tx, rx] = nimsync::make_channel<Record<Size>>({.capacity = kCapacity, .layout = layout_});
    this->tx_.emplace(std::move(tx));
    this->rx_.emplace(std::move(rx));
  }

 private:
  nimsync::Layout layout_;
};

template <std::size_t Size, class Queue, class Make>
class Queued final : public InTurn<Size, typename QueueLink<Size, Queue, Make>::Sender,
                                   typename QueueLink<Size, Queue, Make>::Receiver> {
 public:
  explicit Queued(std::string name) : Queued::InTurn(std::move(name), Kind::peer) {}
  void open_near() override {
    this->tx_.emplace(link_.open_sender());
    this->rx_.emplace(link_.open_receiver());
  }

 private:
  QueueLink<Size, Queue, Make> link_;
};

template <class Queue>
struct MakeOnHeap {
  std::unique_ptr<Queue> operator()() const { return std::make_unique<Queue>(kCapacity); }
};

template <std::size_t Size>
std::vector<Group> make() {
  Group group;
  group.workload = "single-thread";
  group.size = Size;
  group.note = "sending and receiving in turn, both counted, capacity " + std::to_string(kCapacity);
  group.unit = kMillionOperations;
  group.references = {kBoostHeap};
  group.contestants.push_back(std::make_unique<Nimsync<Size>>(nimsync::Layout::stamped));
  group.contestants.push_back(std::make_unique<Nimsync<Size>>(nimsync::Layout::dense));
  using Boost = boost::lockfree::spsc_queue<Record<Size>>;
  group.contestants.push_back(std::make_unique<Queued<Size, Boost, MakeOnHeap<Boost>>>(kBoostHeap));
  using Fixed = FixedQueue<Size, kCapacity>;
  group.contestants.push_back(
      std::make_unique<Queued<Size, Fixed, MakeQueue<Fixed>>>("boost spsc_queue, fixed capacity"));
#if NIMSYNC_BENCH_READERWRITERQUEUE
  using Moody = ReaderWriter<Size, kCapacity>;
  group.contestants.push_back(std::make_unique<Queued<Size, Moody, MakeQueue<Moody>>>("readerwriterqueue"));
#else
  group.left_out.push_back({"readerwriterqueue", "built without libreaderwriterqueue-dev"});
#endif
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace

std::vector<Group> single_thread_groups(std::size_t size, const Place&) {
  return of_size<8, 64>(size, [&](auto known) { return make<known()>(); });
}

}  // namespace bench
