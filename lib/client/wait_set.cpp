#include "nimsync/wait_set.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client/attachment.hpp"
#include "os/barrier.hpp"

namespace nimsync {
inline namespace v1 {

namespace {

using internal::Access;
using internal::Attachment;
using internal::Clock;
using internal::Deadline;
using Readiness = Attachment::Readiness;

constexpr std::chrono::milliseconds kLookEvery{1};  // at the lines, while spinning

/// Where to begin looking: of no period that a caller's loop could have too. xorshift, its high bits.
std::size_t any_number() noexcept {
  static thread_local std::uint64_t state = 0x9e3779b97f4a7c15U;
  state ^= state << 13U;
  state ^= state >> 7U;
  state ^= state << 17U;
  return state >> 33U;
}

/// The endpoints of one wait_any().
class Few {
 public:
  explicit Few(std::span<Endpoint* const> endpoints) : endpoints_(endpoints), polled_(endpoints.size()) {
    for (std::size_t i = 0; i < polled_.size(); ++i) {
      if (at(i) != nullptr) polled_[i] = {.fd = at(i)->fd(), .events = POLLIN, .revents = 0};
    }
    each([](Attachment& one) { one.enter(); });
    first_ = any_number() % endpoints.size();
  }
  Few(const Few&) = delete;
  Few& operator=(const Few&) = delete;
  ~Few() {
    each([](Attachment& one) { one.leave(); });
  }

  /// The next in turn that `is` says yes to; those that were moved from are closed, and always it.
  template <class Is>
  std::optional<std::size_t> find(Is is) {
    for (std::size_t step = 0; step < endpoints_.size(); ++step) {
      const std::size_t i = (first_ + step) % endpoints_.size();
      if (at(i) == nullptr || is(*at(i))) return i;
    }
    return std::nullopt;
  }

  /// How long to spin before sleeping.
  [[nodiscard]] Timeout spin() const {
    Timeout longest{0};
    each([&](const Attachment& one) {
      if (one.how().kind() == Wait::Kind::busy) longest = forever;
      if (one.how().kind() == Wait::Kind::doorbell) longest = std::max(longest, one.how().from());
    });
    return longest;
  }

  /// False: some can't sleep on their lines.
  bool announce() {
    std::size_t announced = 0;
    each([&](Attachment& one) { announced += one.prepare() ? 1U : 0U; });
    if (announced != 0 && !os::membarrier()) {
      each([](Attachment& one) { one.refuse(); });
      return false;
    }
    return announced == endpoints_.size();
  }

  void sleep(std::chrono::nanoseconds at_most) {
    each([](Attachment& one) { one.count_sleep(); });
    const timespec time = os::timespec_of(at_most);
    const int woken = ::ppoll(polled_.data(), polled_.size(), &time, nullptr);
    each([&](Attachment& one) {
      one.rise();
      if (woken == 0) one.look_for_removal();
    });
  }

 private:
  [[nodiscard]] Attachment* at(std::size_t i) const { return Access::attachment(*endpoints_[i]); }
  template <class Use>
  void each(Use use) const {
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      if (at(i) != nullptr) use(*at(i));
    }
  }

  std::span<Endpoint* const> endpoints_;
  std::vector<pollfd> polled_;
  std::size_t first_ = 0;
};

}  // namespace

std::optional<std::size_t> wait_any(std::span<Endpoint* const> endpoints, Timeout timeout) {
  if (endpoints.empty()) return std::nullopt;
  const Deadline deadline(timeout);
  Few few(endpoints);
  const auto is_ready = [](Attachment& one) { return one.readiness() == Readiness::ready; };
  if (const auto found = few.find(is_ready)) return found;

  const Deadline spinning(few.spin());
  Deadline next_look(kLookEvery);
  for (auto now = Clock::now(); !spinning.is_over(now) && !deadline.is_over(now); now = Clock::now()) {
    constexpr int kLooks = 16;
    for (int look = 0; look < kLooks; ++look) {
      if (const auto found = few.find([](const Attachment& one) { return one.has_news(); })) return found;
      Native::pause();
    }
    if (!next_look.is_over(now)) continue;
    next_look = Deadline(kLookEvery);
    const auto found = few.find([](Attachment& one) {
      one.look_for_removal();
      return one.readiness() == Readiness::ready;
    });
    if (found) return found;
  }
  for (;;) {
    if (deadline.is_over(Clock::now())) return few.find(is_ready);
    const bool can_sleep = few.announce();
    bool again = false;
    const auto found = few.find([&](Attachment& one) {
      const Readiness readiness = one.readiness();
      again = again || readiness == Readiness::again;
      return readiness == Readiness::ready;
    });
    if (found) return found;
    if (!again) few.sleep(deadline.cut(can_sleep ? internal::longest_sleep() : kFallbackWait.to(), Clock::now()));
  }
}

// ---------------------------------------------------------------------------------------------------------------------

/// Members are *hot* (to be looked at by the next wait, since they were ready, rung, used or added) or *idle*
/// (announced; whoever has news for them rings). A wait looks at the hot ones, and announces those that have nothing:
/// how many are idle doesn't matter.
class WaitSet::Members final : public internal::Holder {
 public:
  Members() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!epoll_ || !event_) os::fail(errno, "cannot make a wait set");
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = kNobody}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &event) != 0) os::fail(errno, "cannot make a wait set");
    make_room();
  }
  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;
  ~Members() {
    if (::getpid() != process_) return;  // a fork's child: its endpoints are inert, and may have ended before
    for (Member& member : members_) {
      if (member.attachment != nullptr) let_go(member);
    }
  }

  void add(Attachment* attachment, Key key) {
    if (attachment == nullptr || attachment->is_closed()) {
      throw Error(Errc::invalid, "an endpoint that was closed or moved from can't be waited for");
    }
    const std::lock_guard lock(mutex_);
    if (attachment->holder() != nullptr) {
      throw Error(Errc::invalid, "the endpoint of channel '" + attachment->name() + "' is in a wait set already");
    }
    const std::size_t slot = take_in({.attachment = attachment, .key = key}, attachment->line(), EPOLLIN | EPOLLET,
                                     "channel '" + attachment->name() + "'");
    attachment->hold(this, id(slot));
    heat(slot);
    kick();  // who waits just now is to announce it
  }

  void add(int descriptor, short events, Key key) {
    const std::lock_guard lock(mutex_);
    const std::string what = "descriptor " + std::to_string(descriptor);
    if (descriptors_.contains(descriptor)) throw Error(Errc::invalid, what + " is in the wait set already");
    static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI && EPOLLERR == POLLERR);
    const auto mask = static_cast<std::uint32_t>(static_cast<unsigned short>(events));
    auto place = descriptors_.emplace(descriptor, 0).first;
    try {
      place->second = take_in({.descriptor = descriptor, .key = key}, descriptor, mask, what);
    } catch (...) {
      descriptors_.erase(place);
      throw;
    }
  }

  bool remove(const Attachment* attachment) noexcept {
    const std::lock_guard lock(mutex_);
    if (attachment == nullptr || attachment->holder() != this) return false;
    const std::size_t slot = slot_of(attachment->member());
    static_cast<void>(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, attachment->line(), nullptr));
    let_go(members_[slot]);
    free(slot);
    return true;
  }

  bool remove(int descriptor) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(descriptor);
    if (found == descriptors_.end()) return false;
    static_cast<void>(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr));
    free(found->second);
    descriptors_.erase(found);
    return true;
  }

  [[nodiscard]] std::size_t size() noexcept {
    const std::lock_guard lock(mutex_);
    return members_.size() - free_.size();
  }

  std::span<const Ready> wait(Timeout timeout) noexcept {
    const Deadline deadline(timeout);
    std::unique_lock lock(mutex_);
    assert(!waits_ && "two threads wait on one wait set");
    waits_ = true;
    room_.ready.clear();
    while (!interrupted_.exchange(false)) {
      take_room();
      std::chrono::nanoseconds at_most = look_at_hot();
      if (!room_.ready.empty()) at_most = std::chrono::nanoseconds{0};  // whoever else is ready comes along
      at_most = deadline.cut(at_most, Clock::now());
      lock.unlock();
      const int count = os::wait_for_events(epoll_, room_.events, at_most);
      lock.lock();
      if (count > 0) take(std::span(room_.events).first(static_cast<std::size_t>(count)));
      if (!room_.ready.empty() || deadline.is_over(Clock::now())) break;
      if (count == 0) look_at_some();
    }
    waits_ = false;
    return room_.ready;
  }

  void interrupt() noexcept {
    interrupted_.store(true);
    kick();
  }

  void disturbed(std::uint64_t member) noexcept override {
    const std::lock_guard lock(mutex_);
    heat(slot_of(member));
  }

  void gone(std::uint64_t member) noexcept override {
    const std::lock_guard lock(mutex_);
    const std::size_t slot = slot_of(member);
    static_cast<void>(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, members_[slot].attachment->line(), nullptr));
    free(slot);
  }

 private:
  static constexpr std::uint64_t kNobody = ~std::uint64_t{0};
  static constexpr std::size_t kCold = std::numeric_limits<std::size_t>::max();

  struct Member {
    Attachment* attachment = nullptr;  // null: a descriptor, or nobody
    int descriptor = -1;
    Key key = 0;
    std::size_t heat = kCold;  // its place in hot_
    std::uint32_t use = 0;     // how often the slot was freed: events of who was there before are told by it
  };

  // What the kernel is given for a member, and gives back.
  [[nodiscard]] std::uint64_t id(std::size_t slot) const noexcept {
    return (std::uint64_t{members_[slot].use} << 32U) | slot;
  }
  static std::size_t slot_of(std::uint64_t id) noexcept { return static_cast<std::uint32_t>(id); }

  std::size_t take_in(Member member, int fd, std::uint32_t events, const std::string& what) {
    if (free_.empty()) {
      constexpr std::size_t kFirst = 16;
      if (members_.size() == members_.capacity()) members_.reserve(std::max(kFirst, 2 * members_.capacity()));
      make_room();
      members_.emplace_back();
      free_.push_back(members_.size() - 1);
    }
    const std::size_t slot = free_.back();
    member.use = members_[slot].use;
    epoll_event event{.events = events, .data = {.u64 = id(slot)}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      const int error = errno;
      if (error == EPERM || error == EBADF || error == EEXIST || error == EINVAL || error == ELOOP) {
        throw Error(Errc::invalid, what + " can't be waited for: " + os::text_of(error));
      }
      os::fail(error, "cannot wait for " + what);
    }
    free_.pop_back();
    members_[slot] = member;
    return slot;
  }

  /// What a wait fills: who waits just now has one, and so has who reads what the last wait returned.
  struct Room {
    std::vector<epoll_event> events;
    std::vector<Ready> ready;
  };

  /// So that wait() needs no memory.
  void make_room() {
    hot_.reserve(members_.capacity());
    free_.reserve(members_.capacity());
    if (std::max(room_.events.size(), next_room_.events.size()) > members_.capacity()) return;
    Room room;
    room.ready.reserve(2 * members_.capacity());  // some may go, and others come, between the look and the events
    room.events.resize(members_.capacity() + 1);
    next_room_ = std::move(room);
  }
  /// Nothing is in the old one.
  void take_room() noexcept {
    if (next_room_.events.size() > room_.events.size()) std::swap(room_, next_room_);
  }

  void free(std::size_t slot) noexcept {
    Member& member = members_[slot];
    if (member.heat != kCold) cool(slot);
    member = {.use = member.use + 1};
    free_.push_back(slot);
  }

  static void let_go(const Member& member) noexcept {
    member.attachment->rise();
    member.attachment->hold(nullptr, 0);
  }

  void heat(std::size_t slot) noexcept {
    Member& member = members_[slot];
    if (member.heat != kCold) return;
    member.heat = hot_.size();
    hot_.push_back(slot);
  }
  void cool(std::size_t slot) noexcept {
    const std::size_t place = std::exchange(members_[slot].heat, kCold);
    const std::size_t last = hot_.back();
    hot_.pop_back();
    if (last == slot) return;
    hot_[place] = last;
    members_[last].heat = place;
  }

  void tell(const Member& member, short events) noexcept { room_.ready.push_back({member.key, events}); }
  void tell(const Member& member) noexcept {
    tell(member, member.attachment->role() == Role::sender ? POLLOUT : POLLIN);
  }

  void swap_places(std::size_t a, std::size_t b) noexcept {
    std::swap(hot_[a], hot_[b]);
    members_[hot_[a]].heat = a;
    members_[hot_[b]].heat = b;
  }

  /// Tells of all hot members that are ready, and announces the others, so that they are idle. Only while those are no
  /// more than the ready ones they stay hot, and the membarrier is saved: who is busy is often looked at in vain.
  /// Returns how long the wait may be.
  std::chrono::nanoseconds look_at_hot() noexcept {
    std::size_t told = 0;  // they are moved to the front
    for (std::size_t place = 0; place < hot_.size(); ++place) {
      const Member& member = members_[hot_[place]];
      if (member.attachment->readiness() != Readiness::ready) continue;
      member.attachment->rise();
      tell(member);
      swap_places(place, told++);
    }
    if (hot_.size() - told <= told) return internal::longest_sleep();

    std::size_t announced = 0;
    const std::span<const std::size_t> rest = std::span(hot_).subspan(told);
    for (const std::size_t slot : rest) announced += members_[slot].attachment->prepare() ? 1U : 0U;
    const bool unable = announced != rest.size();
    if (announced != 0 && !os::membarrier()) {
      for (const std::size_t slot : rest) members_[slot].attachment->refuse();
      return kFallbackWait.to();
    }
    bool again = false;
    for (std::size_t place = hot_.size(); place-- != told;) {  // backwards: cool() moves the last one forward
      const std::size_t slot = hot_[place];
      Attachment& attachment = *members_[slot].attachment;
      if (!attachment.is_announced()) continue;  // it can't, and was looked at above
      switch (attachment.readiness()) {
        case Readiness::ready:
          attachment.rise();
          tell(members_[slot]);
          break;
        case Readiness::again:
          again = true;
          break;
        case Readiness::idle:
          attachment.count_sleep();
          cool(slot);
          break;
      }
    }
    if (again) return std::chrono::nanoseconds{0};
    return unable ? std::chrono::nanoseconds(kFallbackWait.to()) : internal::longest_sleep();
  }

  void take(std::span<const epoll_event> events) noexcept {
    for (const epoll_event& event : events) {
      const std::size_t slot = slot_of(event.data.u64);
      if (event.data.u64 == kNobody || slot >= members_.size() || id(slot) != event.data.u64) continue;
      const Member& member = members_[slot];
      if (member.attachment == nullptr) {
        tell(member, static_cast<short>(event.events));
      } else if (member.heat == kCold) {  // hot ones were looked at
        member.attachment->rise();
        heat(slot);
        if (member.attachment->readiness() == Readiness::ready) {
          tell(member);
        } else {
          member.attachment->count_spurious();
        }
      }
    }
  }

  /// For peers that don't keep to the protocol: some of the idle members are looked at, each wait that ends by its
  /// bound.
  void look_at_some() noexcept {
    constexpr std::size_t kSome = 64;
    for (std::size_t i = 0; i < std::min(kSome, members_.size()); ++i) {
      next_look_ = next_look_ + 1 < members_.size() ? next_look_ + 1 : 0;
      const Member& member = members_[next_look_];
      if (member.attachment == nullptr || member.heat != kCold) continue;
      member.attachment->look_for_removal();
      if (member.attachment->readiness() != Readiness::idle) {
        member.attachment->rise();
        heat(next_look_);
      }
    }
  }

  /// Ends a wait for events.
  void kick() const noexcept {
    const int saved = errno;  // also in a signal handler
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
    errno = saved;
  }

  const pid_t process_ = ::getpid();
  std::mutex mutex_;  // held but while waiting for events
  os::Descriptor epoll_;
  os::Descriptor event_;  // edge-triggered and never read: a write is an edge
  std::vector<Member> members_;
  std::vector<std::size_t> free_;  // slots
  std::unordered_map<int, std::size_t> descriptors_;
  std::vector<std::size_t> hot_;
  Room room_;
  Room next_room_;
  std::size_t next_look_ = 0;
  std::atomic<bool> interrupted_{false};
  bool waits_ = false;
};

WaitSet::WaitSet() : members_(std::make_unique<Members>()) {}
WaitSet::WaitSet(WaitSet&&) noexcept = default;
WaitSet& WaitSet::operator=(WaitSet&&) noexcept = default;
WaitSet::~WaitSet() = default;

void WaitSet::add(Endpoint& endpoint, Key key) {
  members_->add(Access::attachment(endpoint), key);
}
void WaitSet::add(int descriptor, short events, Key key) {
  members_->add(descriptor, events, key);
}
bool WaitSet::remove(const Endpoint& endpoint) noexcept {
  return members_->remove(Access::attachment(endpoint));
}
bool WaitSet::remove(int descriptor) noexcept {
  return members_->remove(descriptor);
}
std::size_t WaitSet::size() const noexcept {
  return members_->size();
}
std::span<const WaitSet::Ready> WaitSet::wait(Timeout timeout) noexcept {
  return members_->wait(timeout);
}
void WaitSet::interrupt() const noexcept {
  members_->interrupt();
}

}  // namespace v1
}  // namespace nimsync
