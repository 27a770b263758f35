// wait-set: the same through a WaitSet, of which all members but one are idle: a wake-up should cost what it costs with
// few.
#include <sys/resource.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bench/links/nimsync.hpp"
#include "bench/waking.hpp"
#include "bench/workloads.hpp"

namespace bench {
namespace {

/// As many channels as it is told, all received by one set; messages come through the last of them.
class SetLink {
 public:
  using Message = Record<kWakeSize>;
  using Sender = ChannelLink<kWakeSize>::Sender;

  class Receiver {
   public:
    explicit Receiver(std::vector<nimsync::Receiver<Message>> members) : members_(std::move(members)) {
      for (std::size_t i = 0; i < members_.size(); ++i) set_.add(members_[i], i);
    }
    nimsync::Status receive(Message& message) {
      for (;;) {
        for (const auto& ready : set_.wait()) {
          const nimsync::Status status = members_[ready.key].try_receive(message);
          if (status != nimsync::Status::would_block) return status;
        }
      }
    }

   private:
    nimsync::WaitSet set_;
    std::vector<nimsync::Receiver<Message>> members_;
  };

  SetLink(std::string socket, std::string prefix, std::size_t count)
      : socket_(std::move(socket)), prefix_(std::move(prefix)), count_(count) {}

  Sender open_sender() { return nimsync::Registry::connect(socket_).sender<Message>(name(count_ - 1), options()); }
  Receiver open_receiver() {
    auto registry = nimsync::Registry::connect(socket_);
    std::vector<nimsync::Receiver<Message>> members;
    for (std::size_t i = 0; i < count_; ++i) members.push_back(registry.receiver<Message>(name(i), options()));
    return Receiver(std::move(members));
  }
  void remove_names() noexcept {}  // the registry's, and ends with it

 private:
  [[nodiscard]] std::string name(std::size_t i) const { return prefix_ + std::to_string(i); }
  static nimsync::Options options() { return {.capacity = 4}; }

  std::string socket_;
  std::string prefix_;
  std::size_t count_;
};

/// 10,000, or as many as the descriptors last that this process may have: two a channel.
std::size_t many_channels() {
  constexpr std::size_t kMany = 10'000;
  constexpr rlim_t kEach = 2;
  constexpr rlim_t kSpare = 1000;  // of other workloads too, whose endpoints are still open
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t needed = kEach * kMany + kSpare;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(limit.rlim_max, needed);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return std::min<std::size_t>(kMany, (limit.rlim_cur - kSpare) / kEach);
}

}  // namespace

std::vector<Group> wait_set_groups(std::size_t size, const Place& place) {
  if (size != kWakeSize) throw std::invalid_argument("wait-set has messages of 16 bytes");
  const std::string prefix = place.tag + "-set-";
  Group group = wake_group("wait-set");
  const std::size_t many = many_channels();
  group.note = "one member of a sleeping set is active, 8 to 24 ms between messages; many: " + std::to_string(many) +
               ", two descriptors each";
  constexpr const char* kFew = "10 channels";
  group.references = {kFew};
  const auto set_of = [&](std::size_t count) {
    return [&, count](const std::string& part) {
      return std::make_unique<SetLink>(place.socket, prefix + part + "-", count);
    };
  };
  add<Wake>(group, kFew, Kind::nimsync, wake_nature(), set_of(10));
  add<Wake>(group, "many channels", Kind::nimsync, wake_nature(), set_of(many));
  std::vector<Group> groups;
  groups.push_back(std::move(group));
  return groups;
}

}  // namespace bench
