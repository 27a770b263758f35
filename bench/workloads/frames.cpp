// frames: a stream of messages of one length, one call a message: copied in by the sender, read in place by the
// receiver where the contestant can, and every byte compared.
#include <cstring>

#include "bench/links/limits.hpp"
#include "bench/links/nimsync.hpp"
#include "bench/payloads.hpp"
#include "bench/peers.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr const char* kMemcpy = "memcpy";
constexpr const char* kMemcpyMiB = "memcpy, 1 MiB";

/// One link of messages. Endpoints move into locals for a sample, as in loops.hpp.
template <class Link>
class Frames final : public Contestant {
 public:
  static constexpr std::size_t kLinks = 1;
  Frames(std::string name, Kind kind, Nature nature, std::vector<std::unique_ptr<Link>> links)
      : Contestant(std::move(name), kind, nature), ends_(nature.instances), payloads_(links.front()->bytes()) {
    for (std::size_t i = 0; i < nature.instances; ++i) ends_[i].link = std::move(links[i]);
  }

  void open_near() override {
    for (auto& each : ends_) each.tx.emplace(each.link->open_sender());
  }
  void open_far() override {
    for (auto& each : ends_) each.rx.emplace(each.link->open_receiver());
  }
  void remove_names() noexcept override {
    for (auto& each : ends_) each.link->remove_names();
  }
  void close_near() noexcept override {
    for (auto& each : ends_) each.close();
  }
  void close_far() noexcept override { close_near(); }

  Lap near(std::size_t instance, std::uint64_t count, std::span<double>) override {
    send(*ends_[instance].tx, payloads_, ends_[instance].advance(count), count);
    return {};
  }
  Lap far(std::size_t instance, std::uint64_t count, std::span<double>) override {
    return receive(*ends_[instance].rx, payloads_, ends_[instance].link->bytes(), ends_[instance].advance(count),
                   count);
  }

 private:
  template <class Tx>
  [[gnu::noinline]] static void send(Tx& tx_home, Payloads& payloads, std::uint64_t first, std::uint64_t count) {
    Tx tx = std::move(tx_home);
    for (std::uint64_t number = first; number != first + count; ++number) {
      const std::span<const std::byte> message = payloads.of(number);
      while (!tx.try_send(message)) {
      }
    }
    tx_home = std::move(tx);
  }

  template <class Rx>
  [[gnu::noinline]] static Lap receive(Rx& rx_home, const Payloads& payloads, std::size_t bytes, std::uint64_t first,
                                       std::uint64_t count) {
    Rx rx = std::move(rx_home);
    std::uint64_t wrong = 0;
    Clock::time_point begin;
    for (std::uint64_t number = first; number != first + count; ++number) {
      std::span<const std::byte> message;
      while ((message = rx.peek()).data() == nullptr) {
      }
      if (!payloads.is(number, message)) ++wrong;
      rx.release();
      if (number == first) begin = Clock::now();
    }
    const auto end = Clock::now();
    rx_home = std::move(rx);
    return {ns_between(begin, end), static_cast<double>((count - 1) * bytes), wrong};
  }

  std::vector<Ends<Link>> ends_;
  Payloads payloads_;
};

/// A channel of frames as users have it.
class FrameLink {
 public:
  using Sender = nimsync::Sender<nimsync::Bytes>;
  using Receiver = nimsync::Receiver<nimsync::Bytes>;

  FrameLink(std::string socket, std::string name, std::size_t ring, std::size_t bytes)
      : socket_(std::move(socket)), name_(std::move(name)), ring_(ring), bytes_(bytes) {}

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() { return nimsync::Registry::connect(socket_).sender<nimsync::Bytes>(name_, options()); }
  Receiver open_receiver() { return nimsync::Registry::connect(socket_).receiver<nimsync::Bytes>(name_, options()); }
  void remove_names() noexcept {}

 private:
  [[nodiscard]] nimsync::Options options() const {
    return {.capacity = ring_, .max_size = bytes_, .layout = nimsync::Layout::framed, .protect = false};
  }

  std::string socket_;
  std::string name_;
  std::size_t ring_;
  std::size_t bytes_;
};

/// The near process copies from one block to another.
class Memcpy final : public Contestant {
 public:
  Memcpy(std::string name, std::size_t bytes)
      : Contestant(std::move(name), Kind::limit, {.instances = 1}), from_(bytes, std::byte{1}), to_(bytes) {}

  void open_near() override {}
  void open_far() override {}
  void remove_names() noexcept override {}
  void close_near() noexcept override {}
  void close_far() noexcept override {}

  Lap near(std::size_t, std::uint64_t count, std::span<double>) override {
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < count; ++i) {
      from_[i % from_.size()] = static_cast<std::byte>(i);
      std::memcpy(to_.data(), from_.data(), from_.size());
      asm volatile("" : : "r"(to_.data()) : "memory");
    }
    const auto end = Clock::now();
    return {ns_between(begin, end), static_cast<double>(count * from_.size()), to_ == from_ ? 0U : 1U};
  }
  Lap far(std::size_t, std::uint64_t, std::span<double>) override { return {}; }

 private:
  std::vector<std::byte> from_;
  std::vector<std::byte> to_;
};

std::string in_words(std::size_t bytes) {
  if (bytes >= kMiB) return std::to_string(bytes / kMiB) + " MiB";
  return bytes >= kKiB ? std::to_string(bytes / kKiB) + " KiB" : std::to_string(bytes) + " B";
}

}  // namespace

std::vector<Group> frames_groups(std::size_t size, const Place& place) {
  const std::string prefix = place.tag + "-frames-" + std::to_string(size) + "-";
  Group group;
  group.workload = "frames";
  group.size = size;
  group.note = "one call a message";
  group.unit = kGigabytesPerSecond;
  constexpr double kSample_ns = 3e6;  // several laps of the largest ring
  group.sample_ns = kSample_ns;
  group.references = {kMemcpyMiB};
  group.bests = {
      {"fastest peer", {kPipe, kStreamSocket, kSeqpacket, kPosixQueue, kBoostMessageQueue, kZeroMq, kIceoryx}}};
  group.contestants.push_back(std::make_unique<Memcpy>(kMemcpy, size));
  group.contestants.push_back(std::make_unique<Memcpy>(kMemcpyMiB, kMiB));
  group.contestants.push_back(std::make_unique<DirtyLinesContestant>("dirty lines, 4 MiB", 4 * kMiB, size, size));
  // The largest for large messages alone, of which the peers' queues hold as much.
  for (const std::size_t ring : {256 * kKiB, kMiB, 4 * kMiB, 8 * kMiB, 64 * kMiB}) {
    if (2 * size > ring || (ring == 64 * kMiB && size < 64 * kKiB)) continue;
    Nature nature;
    nature.instances = ring == 64 * kMiB ? 1 : 3;
    nature.gives_way = true;  // samples are too long for the kernel to leave alone
    nature.warm_up = 2 * ring / size;
    add<Frames>(
        group, "nimsync framed, " + in_words(ring) + " ring", Kind::nimsync, nature,
        [&](const std::string& part) { return std::make_unique<FrameLink>(place.socket, prefix + part, ring, size); });
  }
  add_message_peers<Frames>(group, place, prefix, size);
  add_iceoryx<Frames>(group, place, prefix, size);
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace bench
