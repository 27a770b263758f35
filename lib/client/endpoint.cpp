#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

#include "client/attachment.hpp"
#include "nimsync/dense_ring.hpp"
#include "nimsync/framed_ring.hpp"
#include "nimsync/stamped_ring.hpp"
#include "os/barrier.hpp"
#include "os/line.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

namespace {

constexpr unsigned kBusySpins = 2048;               // looks at the ring between two looks at the clock
constexpr unsigned kFirstSpins = 256;               // before a backoff yields
constexpr unsigned kYields = 16;                    // before it sleeps
constexpr unsigned kSpinsALook = 64;                // looks at the ring between two looks at the clock, before a sleep
constexpr std::chrono::milliseconds kLookEvery{1};  // at the lines, while spinning

std::atomic<std::chrono::nanoseconds::rep> longest_sleep_setting{kLongestSleep.count()};

}  // namespace

// All attachments of this process, for fork's child to make inert.
struct Everybody {
  static Everybody& instance() {
    static auto* everybody = new Everybody;  // never destroyed: endpoints may outlive static destructors
    return *everybody;
  }

  Everybody() {
    ::pthread_atfork([] { instance().mutex.lock(); }, [] { instance().mutex.unlock(); },
                     [] {
                       for (Attachment* each = instance().first; each != nullptr; each = each->next_) {
                         each->become_inert();
                       }
                       instance().mutex.unlock();
                     });
  }

  void add(Attachment* attachment) {
    const std::lock_guard lock(mutex);
    attachment->next_ = first;
    if (first != nullptr) first->previous_ = attachment;
    first = attachment;
  }
  void remove(Attachment* attachment) {
    const std::lock_guard lock(mutex);
    if (attachment->previous_ != nullptr) attachment->previous_->next_ = attachment->next_;
    if (attachment->next_ != nullptr) attachment->next_->previous_ = attachment->previous_;
    if (first == attachment) first = attachment->next_;
  }

  std::mutex mutex;
  Attachment* first = nullptr;
};

void set_longest_sleep(std::chrono::nanoseconds longest) noexcept {
  longest_sleep_setting.store(longest.count(), std::memory_order_relaxed);
}
std::chrono::nanoseconds longest_sleep() noexcept {
  return std::chrono::nanoseconds(longest_sleep_setting.load(std::memory_order_relaxed));
}

Deadline::Deadline(Timeout timeout) noexcept {
  if (timeout == forever) return;  // without asking for the time
  const auto now = Clock::now();
  is_set = timeout < Timeout::max() - now.time_since_epoch();
  if (is_set) at = now + std::max(timeout, Timeout{0});
}

std::chrono::nanoseconds Deadline::cut(std::chrono::nanoseconds time, Clock::time_point now) const noexcept {
  if (!is_set) return time;
  return std::max(std::chrono::nanoseconds{0}, std::min<std::chrono::nanoseconds>(time, at - now));
}

// -- the operating system's side of the doorbell

LineNews Attachment::Lines::drain() const noexcept {
  return os::drain(attachment->peer_line_);
}
void Attachment::Lines::ring() const noexcept {
  if (attachment->own_line_) os::ring(attachment->own_line_);
}
bool Attachment::Lines::membarrier() noexcept {
  return os::membarrier();
}
bool Attachment::Lines::is_removed() const noexcept {
  const auto unlinked = [](const os::Descriptor& line) { return line && !os::is_linked(line); };
  return unlinked(attachment->own_line_) || unlinked(attachment->peer_line_);
}

// -- attaching and leaving

Attachment::Attachment(Parts parts)
    : name_(std::move(parts.name)),
      role_(parts.role),
      wait_(parts.wait),
      mapping_(std::move(parts.mapping)),
      own_line_(std::move(parts.own_line)),
      peer_line_(std::move(parts.peer_line)),
      line_reader_(std::move(parts.line_reader)),
      bell_(role_, mapping_.memory(), Lines{this}) {
  Everybody::instance().add(this);
}

Attachment::~Attachment() {
  Everybody::instance().remove(this);
}

void Attachment::become_inert() noexcept {
  // Closing a copy leaves the open file description, and with it the parent's lease, as it is.
  own_line_.reset();
  peer_line_.reset();
  line_reader_.reset();
  watch_.close();
  mapping_.plug_after_fork();
  holder_ = nullptr;
}

RingMemory Attachment::memory() const noexcept {
  RingMemory memory = mapping_.memory();
  memory.bell = bell_.bell();
  return memory;
}

layout::Header* Attachment::own_header() const noexcept {
  const RingMemory& memory = mapping_.memory();
  return role_ == Role::sender ? &memory.forward_header()->common : memory.return_header();
}

Resume Attachment::attach() {
  const RingMemory& memory = mapping_.memory();
  const std::uint64_t head = Native::load_acquire(&memory.return_header()->position);
  const std::uint64_t streams_closed = Native::load_acquire(&memory.forward_header()->common.streams);
  const std::uint64_t streams_received = Native::load_acquire(&memory.return_header()->streams);
  const std::string corrupted = "channel '" + name_ + "' holds values that no endpoint writes; remove and create it";
  Resume resume;
  if (role_ == Role::sender) {
    const std::uint64_t waiting = streams_closed - streams_received;
    if (waiting > layout::kStreamEnds) throw Error(Errc::corrupted, corrupted);
    if (waiting == layout::kStreamEnds) {
      throw Error(Errc::over_limit, "channel '" + name_ + "' holds " + std::to_string(waiting) +
                                        " closed streams that nobody has received; receive some first");
    }
    const std::uint64_t mark = Native::load_acquire(&memory.forward_header()->common.position);
    const auto tail = find_tail<Native>(memory, mark & layout::kPositionMask);
    if (!tail || *tail - head > memory.geometry.capacity) throw Error(Errc::corrupted, corrupted);
    resume = {.position = *tail, .stream = streams_closed};
  } else {
    const bool aligned = memory.geometry.layout != Layout::framed || head % layout::kFrameWord == 0;
    if (head > layout::kPositionMask || !aligned) throw Error(Errc::corrupted, corrupted);
    resume = {.position = head, .stream = streams_received};
  }

  // Before the peer can learn that somebody attached.
  const auto barrier = os::register_for_membarriers() ? layout::Barrier::membarrier : layout::Barrier::fence;
  bell_.attach([this] { return os::lease(peer_line_) != os::Lease::free; }, barrier);
  return resume;
}

void Attachment::give_lease_back() noexcept {
  if (!own_line_) return;
  rise();  // the header is a successor's from now on
  // In this order: the watcher is woken by the close, and a successor finds the lease free by then.
  os::end_lease(own_line_);
  own_line_.reset();
  if (holder_ != nullptr) holder_->disturbed(member_);
}

void Attachment::leave_holder() noexcept {
  if (holder_ != nullptr) std::exchange(holder_, nullptr)->gone(member_);
}

// -- one endpoint's waiting

void Attachment::enter() noexcept {
  [[maybe_unused]] const bool used = in_use_.exchange(true, std::memory_order_relaxed);
  assert(!used && "two threads wait on one endpoint");
  rise();  // arm() may have announced
}
void Attachment::leave() noexcept {
  rise();
  release();
}
/// Without taking back an announcement.
void Attachment::release() noexcept {
  in_use_.store(false, std::memory_order_relaxed);
  if (holder_ != nullptr) holder_->disturbed(member_);
}

void Attachment::begin_wait(Timeout timeout) noexcept {
  enter();
  deadline_ = Deadline(timeout);
  has_begun_ = false;
  current_ = wait_;
  yields_ = 0;
  next_sleep_ = wait_.from();
  rung_ = false;
  switch (wait_.kind()) {
    case Wait::Kind::busy:
      spins_ = kBusySpins;
      break;
    case Wait::Kind::backoff:
      spins_ = kFirstSpins;
      break;
    case Wait::Kind::doorbell:
      spins_ = wait_.from() > Timeout{0} ? kSpinsALook : 1;
      break;
  }
  layout::Header* own = own_header();
  Native::store_relaxed(&own->stalls, Native::load_relaxed(&own->stalls) + 1);
}

Woken Attachment::wait() noexcept {
  if (take_interrupt()) return Woken::interrupted;
  const auto now = Clock::now();
  if (deadline_.is_over(now)) {  // however short it was, it tells what there is to tell
    const Woken news = told(bell_.look().status);
    return news == Woken::look ? Woken::timeout : news;
  }
  if (!std::exchange(has_begun_, true)) {  // only now: most waits are over before, and need no clock
    next_look_ = now + kLookEvery;
    spinning_ = Deadline(current_.from());
  }
  switch (current_.kind()) {
    case Wait::Kind::busy:
      break;
    case Wait::Kind::backoff:
      return back_off(now);
    case Wait::Kind::doorbell:
      if (spinning_.is_over(now)) return sleep_until_rung(now);
      break;
  }
  return now < next_look_ ? Woken::look : look_at_peer(now);
}

/// Without having been rung for it; also when the peer took the ring that tells of a removal.
Woken Attachment::look_at_peer(Clock::time_point now) noexcept {
  next_look_ = now + kLookEvery;
  bell_.look_for_removal();
  return told(bell_.look().status);
}

Woken Attachment::told(Status status) noexcept {
  if (status == Status::removed) return Woken::removed;
  return status == Status::peer_lost ? Woken::peer_lost : Woken::look;
}

/// Yields a few times, then sleeps, each time for twice as long.
Woken Attachment::back_off(Clock::time_point now) noexcept {
  const bool sleeps = yields_ >= kYields;
  if (sleeps || now >= next_look_) {
    const Woken news = look_at_peer(now);
    if (news != Woken::look) return news;
  }
  spins_ = 1;
  if (!sleeps) {
    ++yields_;
    ::sched_yield();
    return Woken::look;
  }
  count_sleep();
  // Without a descriptor nothing but time ends a sleep.
  const Timeout sleep = watch_.open(peer_line_) ? next_sleep_ : std::min(next_sleep_, kFallbackWait.to());
  if (is_interrupted()) return Woken::look;  // before there was something to poke
  watch_.wait(deadline_.cut(sleep, now));
  next_sleep_ = next_sleep_ > current_.to() / 2 ? current_.to() : next_sleep_ * 2;
  return Woken::look;
}

Woken Attachment::sleep_until_rung(Clock::time_point now) noexcept {
  spins_ = 1;
  if (std::exchange(rung_, false)) count_spurious();
  using Step = Doorbell<Native, Lines>::Step;
  switch (watch_.open(peer_line_) ? bell_.step() : Step::unable) {
    case Step::look:
      return Woken::look;
    case Step::peer_lost:
      return Woken::peer_lost;
    case Step::removed:
      return Woken::removed;
    case Step::unable:
      current_ = kFallbackWait;
      next_sleep_ = current_.from();
      return Woken::look;
    case Step::sleep:
      break;
  }
  if (is_interrupted()) return Woken::look;  // before there was something to poke
  count_sleep();
  switch (watch_.wait(deadline_.cut(longest_sleep(), now))) {
    case os::Watch::Woken::line:
      rung_ = true;
      rise();
      break;
    case os::Watch::Woken::timeout:  // still announced, and not rung: what comes next is a look, and not a membarrier
      bell_.look_for_removal();
      break;
    case os::Watch::Woken::poked:
      break;
  }
  return Woken::look;
}

void Attachment::count_sleep() noexcept {
  layout::Header* own = own_header();
  Native::store_relaxed(&own->sleeps, Native::load_relaxed(&own->sleeps) + 1);
}
void Attachment::count_spurious() noexcept {
  layout::Header* own = own_header();
  Native::store_relaxed(&own->spurious, Native::load_relaxed(&own->spurious) + 1);
}

bool Attachment::take_interrupt() noexcept {
  return is_interrupted() && interrupted_.exchange(false);
}

void Attachment::interrupt() noexcept {
  // Sequentially consistent with Watch::open() and the look behind it: one of the two sees the other.
  interrupted_.store(true);
  watch_.poke();
}

// -- waiting by others: the user's poll, wait_any, a WaitSet

Status Attachment::ring_status() const noexcept {
  const RingMemory& memory = mapping_.memory();
  const Layout layout = memory.geometry.layout;
  if (role_ == Role::receiver) {
    const ReceiveState state(memory, {.position = Native::load_relaxed(&memory.return_header()->position),
                                      .stream = Native::load_relaxed(&memory.return_header()->streams)});
    if (layout == Layout::stamped) return StampedReceiver<kSizeAtRunTime, Native, const ReceiveState&>(state).look();
    if (layout == Layout::dense) return DenseReceiver<kSizeAtRunTime, Native, const ReceiveState&>(state).look();
    return FramedReceiver<Native, const ReceiveState&>(state).look();
  }
  const layout::Header& own = memory.forward_header()->common;
  const auto tail = find_tail<Native>(memory, Native::load_relaxed(&own.position) & layout::kPositionMask);
  if (!tail) return Status::corrupted;
  const SendState state(memory, {.position = *tail, .stream = Native::load_relaxed(&own.streams)});
  if (layout == Layout::framed) return FramedSender<Native, const SendState&>(state).look();
  return DenseSender<kSizeAtRunTime, Native, const SendState&>(state).look();  // records: any layout's
}

bool Attachment::prepare() noexcept {
  watch_.clear();
  return !is_closed() && bell_.prepare();
}

bool Attachment::has_news() const noexcept {
  return is_closed() || is_interrupted() || ring_status() != Status::would_block;
}

Attachment::Readiness Attachment::readiness() noexcept {
  if (has_news()) return Readiness::ready;
  const auto news = bell_.look();
  if (news.status != Status::ok) return Readiness::ready;
  return news.rung ? Readiness::again : Readiness::idle;
}

Status Attachment::look() noexcept {
  if (take_interrupt()) return Status::interrupted;
  const auto news = bell_.look();
  if (news.rung) {  // taken from who waits for it
    watch_.poke();
    if (holder_ != nullptr) holder_->disturbed(member_);
  }
  return news.status;
}

int Attachment::fd() {
  if (!watch_.open(peer_line_)) os::fail(errno, "cannot make a descriptor to wait on for channel '" + name_ + "'");
  return watch_.fd();
}

bool Attachment::arm() noexcept {
  enter();
  if (!has_news() && watch_.open(peer_line_)) {
    watch_.clear();
    // Where it can't be rung it looks again soon.
    const bool waits = bell_.announce() || watch_.wake_after(kFallbackWait.to());
    if (waits && readiness() == Readiness::idle) {
      count_sleep();
      release();
      return true;
    }
  }
  leave();
  return false;
}

void Attachment::hold(Holder* holder, std::uint64_t member) noexcept {
  holder_ = holder;
  member_ = member;
}

Attached attach(Parts parts) {
  auto attachment = std::make_unique<Attachment>(std::move(parts));
  Attached attached;
  attached.resume = attachment->attach();
  attached.memory = attachment->memory();
  attached.attachment = attachment.release();
  return attached;
}

void detach(Attachment* attachment) noexcept {
  if (attachment == nullptr) return;
  attachment->leave_holder();
  attachment->give_lease_back();
  delete attachment;
}

void give_lease_back(Attachment* attachment) noexcept {
  if (attachment != nullptr) attachment->give_lease_back();
}
void begin_wait(Attachment* attachment, Timeout timeout) noexcept {
  attachment->begin_wait(timeout);
}
unsigned spins(const Attachment* attachment) noexcept {
  return attachment->spins();
}
Woken wait(Attachment* attachment) noexcept {
  return attachment->wait();
}
void end_wait(Attachment* attachment) noexcept {
  attachment->leave();
}
std::uint64_t wake(Attachment* attachment, std::uint64_t rung) noexcept {
  return attachment != nullptr ? attachment->wake(rung) : rung;
}
int fd(Attachment* attachment) {
  if (attachment == nullptr) throw Error(Errc::invalid, "an endpoint that was moved from has nothing to wait on");
  return attachment->fd();
}
bool arm(Attachment* attachment) noexcept {
  return attachment != nullptr && attachment->arm();
}
void count_loss(Attachment* attachment) noexcept {
  attachment->count_loss();
}
Status look(Attachment* attachment) noexcept {
  return attachment != nullptr ? attachment->look() : Status{Status::closed};
}
void interrupt(Attachment* attachment) noexcept {
  attachment->interrupt();
}

const std::string& channel_name(const Attachment* attachment) noexcept {
  static const std::string none;
  return attachment != nullptr ? attachment->name() : none;
}

}  // namespace internal
}  // namespace v1
}  // namespace nimsync
