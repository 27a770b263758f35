// Knowing that somebody sleeps, and no bound that would wake him all the same: what the tests of waiting have in
// common.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "client/attachment.hpp"

namespace nimsync::testing {

inline constexpr Timeout kLong = std::chrono::seconds(60);  // a watchdog: nothing that works takes as long

/// While one lives, only a ring ends a sleep: a lost wake-up is a hang, which the watchdog finds, and not a delay.
class NoBound {
 public:
  NoBound() { internal::set_longest_sleep(std::chrono::nanoseconds::max()); }
  NoBound(const NoBound&) = delete;
  NoBound& operator=(const NoBound&) = delete;
  ~NoBound() { internal::set_longest_sleep(internal::kLongestSleep); }
};

/// Whether a thread (of any process) gives the processor away just now.
inline bool is_asleep(pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const auto name_end = stat.rfind(')');
  return name_end != std::string::npos && name_end + 2 < stat.size() && stat[name_end + 2] == 'S';
}

/// A thread that can be waited for to fall asleep. Joined at the end.
class Sleeper {
 public:
  explicit Sleeper(std::function<void()> body)
      : thread_([this, body = std::move(body)] {
          id_ = static_cast<pid_t>(::syscall(SYS_gettid));
          body();
          done_ = true;
        }) {}
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() { join(); }

  /// Until it sleeps in three looks on end, or has ended.
  void until_asleep() const {
    constexpr int kLooks = 3;
    for (int looks = 0; looks < kLooks && !done_;) {
      looks = id_ != 0 && is_asleep(id_) ? looks + 1 : 0;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  [[nodiscard]] bool is_done() const { return done_; }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<pid_t> id_{0};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

/// While one lives, this thread gets a SIGUSR1 each millisecond.
class Signals {
 public:
  explicit Signals(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    EXPECT_EQ(::sigaction(SIGUSR1, &action, &before_), 0);
    sender_ = std::thread([this, to = ::pthread_self()] {
      while (!done_) {
        ::pthread_kill(to, SIGUSR1);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    done_ = true;
    sender_.join();
    ::sigaction(SIGUSR1, &before_, nullptr);
  }

 private:
  struct sigaction before_ {};
  std::atomic<bool> done_{false};
  std::thread sender_;
};

}  // namespace nimsync::testing
