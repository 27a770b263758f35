#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "client/attachment.hpp"
#include "os/line.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

namespace {

constexpr unsigned kBusySpins = 2048;               // looks at the ring between two looks at the clock
constexpr unsigned kFirstSpins = 256;               // before a backoff yields
constexpr unsigned kYields = 16;                    // before it sleeps
constexpr std::chrono::milliseconds kLookEvery{1};  // at the lines, while spinning

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

Attachment::Attachment(Parts parts)
    : name_(std::move(parts.name)),
      role_(parts.role),
      wait_(parts.wait),
      mapping_(std::move(parts.mapping)),
      own_line_(std::move(parts.own_line)),
      peer_line_(std::move(parts.peer_line)) {
  Everybody::instance().add(this);
}

Attachment::~Attachment() {
  Everybody::instance().remove(this);
}

void Attachment::become_inert() noexcept {
  // Closing a copy leaves the open file description, and with it the parent's lease, as it is.
  own_line_.reset();
  peer_line_.reset();
  mapping_.plug_after_fork();
}

layout::Header* Attachment::own_header() const noexcept {
  const RingMemory& memory = mapping_.memory();
  return role_ == Role::sender ? &memory.forward_header()->common : memory.return_header();
}

const layout::Header* Attachment::peer_header() const noexcept {
  const RingMemory& memory = mapping_.memory();
  return role_ == Role::sender ? memory.return_header() : &memory.forward_header()->common;
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

  // What peers died before this endpoint came. A receiver learns of one loss, since what it will drain may end in the
  // middle; when a new sender is there already, of none. Of a receiver that a sender never met there is nothing to
  // tell.
  const std::uint64_t peers = Native::load_acquire(&peer_header()->attached);
  const bool peer_lives = os::lease(peer_line_) != os::Lease::free;
  gone_at_attach_ = peer_lives ? 0 : peers;
  const std::uint64_t closed = role_ == Role::receiver ? streams_closed : 0;
  const std::uint64_t lost = peers - std::min(peers, closed + (peer_lives ? 1 : 0));
  const std::uint64_t told = Native::load_acquire(&own_header()->losses);
  const bool tell_one = role_ == Role::receiver && !peer_lives && lost > told;
  Native::store_release(&own_header()->losses, lost - (tell_one ? 1 : 0));
  Native::store_release(&own_header()->attached, Native::load_relaxed(&own_header()->attached) + 1);
  return resume;
}

void Attachment::give_lease_back() noexcept {
  if (!own_line_) return;
  // In this order: the watcher is woken by the close, and a successor finds the lease free by then.
  os::end_lease(own_line_);
  own_line_.reset();
}

/// Each attached peer lives, or closed its stream, or was lost; each loss is told once. A sender that has closed and
/// lives on makes the sum one too small, until it is gone.
bool Attachment::has_untold_loss(std::uint64_t attached, bool dead) const noexcept {
  const std::uint64_t closed = role_ == Role::receiver ? Native::load_acquire(&peer_header()->streams) : 0;
  const std::uint64_t accounted = closed + Native::load_relaxed(&own_header()->losses) + (dead ? 0 : 1);
  return attached > accounted;
}

/// Either line: the registry also unlinks a line alone, when it has to replace one.
bool Attachment::is_unlinked() const noexcept {
  return (own_line_ && !os::is_linked(own_line_)) || (peer_line_ && !os::is_linked(peer_line_));
}

Status Attachment::look() noexcept {
  // First who attached, then whether it lives: whoever attached before is dead if nobody lives.
  const std::uint64_t attached = Native::load_acquire(&peer_header()->attached);
  const os::News news = os::look(peer_line_);
  // A line shows no hang-up of holders that went before it was opened.
  const bool dead = news.hung_up || (gone_at_attach_ != 0 && attached == gone_at_attach_);
  if ((news.rung || news.hung_up) && is_unlinked()) removed_ = true;
  if (removed_) return Status::removed;
  return has_untold_loss(attached, dead) ? Status::peer_lost : Status::ok;
}

void Attachment::count_loss() noexcept {
  Native::store_release(&own_header()->losses, Native::load_relaxed(&own_header()->losses) + 1);
}

void Attachment::begin_wait(Timeout timeout) noexcept {
  const auto now = Clock::now();
  has_deadline_ = timeout < Timeout::max() - now.time_since_epoch();
  if (has_deadline_) deadline_ = now + std::max(timeout, Timeout{0});
  next_look_ = now + kLookEvery;
  spins_ = wait_.kind() == Wait::Kind::busy ? kBusySpins : kFirstSpins;
  yields_ = 0;
  next_sleep_ = wait_.from();
  layout::Header* own = own_header();
  Native::store_relaxed(&own->stalls, Native::load_relaxed(&own->stalls) + 1);
}

Woken Attachment::wait() noexcept {
  if (take_interrupt()) return Woken::interrupted;
  const auto now = Clock::now();
  if (has_deadline_ && now >= deadline_) return Woken::timeout;
  const bool sleeps = wait_.kind() == Wait::Kind::backoff && yields_ >= kYields;
  if (sleeps || now >= next_look_) {
    next_look_ = now + kLookEvery;
    if (is_unlinked()) removed_ = true;  // also when the peer drained the ring that tells
    const Status status = look();
    if (status == Status::removed) return Woken::removed;
    if (status == Status::peer_lost) return Woken::peer_lost;
  }
  if (wait_.kind() == Wait::Kind::busy) return Woken::look;
  spins_ = 1;
  if (!sleeps) {
    ++yields_;
    ::sched_yield();
    return Woken::look;
  }
  sleep(has_deadline_ ? std::min<std::chrono::nanoseconds>(next_sleep_, deadline_ - now) : next_sleep_);
  next_sleep_ = next_sleep_ > wait_.to() / 2 ? wait_.to() : next_sleep_ * 2;
  return Woken::look;
}

/// On the interrupt's word, so that an interrupt ends it.
void Attachment::sleep(std::chrono::nanoseconds at_most) noexcept {
  layout::Header* own = own_header();
  Native::store_relaxed(&own->sleeps, Native::load_relaxed(&own->sleeps) + 1);
  const timespec time{.tv_sec = static_cast<time_t>(at_most.count() / 1'000'000'000),
                      .tv_nsec = static_cast<long>(at_most.count() % 1'000'000'000)};
  static_assert(sizeof interrupted_ == sizeof(std::uint32_t));
  ::syscall(SYS_futex, &interrupted_, FUTEX_WAIT_PRIVATE, 0, &time, nullptr, 0);
}

bool Attachment::take_interrupt() noexcept {
  return interrupted_.load(std::memory_order_relaxed) != 0 && interrupted_.exchange(0, std::memory_order_acquire) != 0;
}

void Attachment::interrupt() noexcept {
  interrupted_.store(1, std::memory_order_release);
  ::syscall(SYS_futex, &interrupted_, FUTEX_WAKE_PRIVATE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
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
