#include "os/watch.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace nimsync::os {

namespace {

enum Source : std::uint32_t { kLine, kEvent, kTimer };

bool add(const Descriptor& epoll, int fd, Source source) noexcept {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u32 = source}};
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

using Events = std::array<epoll_event, 3>;

}  // namespace

timespec timespec_of(std::chrono::nanoseconds time) noexcept {
  constexpr std::int64_t kSecond_ns = 1'000'000'000;
  if (time.count() < 0) return {};
  return {.tv_sec = static_cast<time_t>(time.count() / kSecond_ns),
          .tv_nsec = static_cast<long>(time.count() % kSecond_ns)};
}

/// The call that does it is refused by old kernels and by filters that don't know it; then two others do the same.
int wait_for_events(const Descriptor& epoll, std::span<epoll_event> events, std::chrono::nanoseconds at_most) noexcept {
  static std::atomic<bool> has_pwait2{true};
  const timespec time = timespec_of(at_most);
  const int most = static_cast<int>(events.size());
  if (has_pwait2.load(std::memory_order_relaxed)) {
    const int count = ::epoll_pwait2(epoll.get(), events.data(), most, &time, nullptr);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM && errno != EACCES)) return count;
    has_pwait2.store(false, std::memory_order_relaxed);
  }
  pollfd set{.fd = epoll.get(), .events = POLLIN, .revents = 0};
  const int count = ::ppoll(&set, 1, &time, nullptr);
  return count <= 0 ? count : ::epoll_wait(epoll.get(), events.data(), most, 0);
}

bool Watch::open(const Descriptor& line) noexcept {
  if (epoll_) return true;
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll || !event || !add(epoll, line.get(), kLine) || !add(epoll, event.get(), kEvent)) return false;
  epoll_ = std::move(epoll);
  event_.store(event.release());  // sequentially consistent: whoever pokes sees it, or has said before why
  return true;
}

Watch::Woken Watch::wait(std::chrono::nanoseconds at_most) noexcept {
  if (!epoll_) {
    const timespec time = timespec_of(at_most);
    ::ppoll(nullptr, 0, &time, nullptr);
    return Woken::timeout;
  }
  Events events;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the kernel
  const int count = wait_for_events(epoll_, events, at_most);
  Woken woken = Woken::timeout;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t source = events.at(static_cast<std::size_t>(i)).data.u32;
    if (source == kLine) return Woken::line;
    if (source == kEvent) woken = Woken::poked;
  }
  return woken;
}

void Watch::clear() noexcept {
  if (!epoll_) return;
  Events events;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the kernel
  static_cast<void>(::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0));
}

void Watch::poke() noexcept {
  const int event = event_.load();
  if (event < 0) return;
  const int saved = errno;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event, &one, sizeof one);  // at its most it is readable anyway
  errno = saved;
}

bool Watch::wake_after(std::chrono::nanoseconds time) noexcept {
  if (!timer_) {
    Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer || !add(epoll_, timer.get(), kTimer)) return false;
    timer_ = std::move(timer);
  }
  const itimerspec once{.it_interval = {}, .it_value = timespec_of(time)};
  return ::timerfd_settime(timer_.get(), 0, &once, nullptr) == 0;
}

void Watch::close() noexcept {
  Descriptor(event_.exchange(-1)).reset();
  timer_.reset();
  epoll_.reset();
}

}  // namespace nimsync::os
