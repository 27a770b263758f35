// A policy that shows each access to shared memory to an observer, which may record it, act for the peer there, or lie.
//
// Without an observer it is Native's meaning without its speed. One thread at a time: the observer is global.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "nimsync/policy.hpp"

namespace nimsync::rings_test {

/// Told of each access before and after it; the functions of a ring are noexcept, so these don't throw.
class Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer() = default;

  /// Whether the load may be made; a refused one gives 0.
  virtual bool before_load(const std::uint64_t*) noexcept { return true; }
  /// What the ring gets for `value`.
  virtual std::uint64_t loaded(const std::uint64_t*, std::uint64_t value) noexcept { return value; }
  /// Whether the store may be made.
  virtual bool before_store(const std::uint64_t*) noexcept { return true; }
  virtual void stored() noexcept {}
  /// Whether the copy may be made. Copies of nothing aren't told of.
  virtual bool before_copy(const std::byte* /*to*/, const std::byte* /*from*/, std::size_t) noexcept { return true; }
  /// Called twice: with half of the bytes copied, and with all.
  virtual void copied() noexcept {}
};

struct Watched {
  using Word = std::uint64_t;

  static inline Observer* observer = nullptr;

  static Word load_acquire(const Word* from) noexcept { return load(from); }
  static Word load_relaxed(const Word* from) noexcept { return load(from); }
  static void store_release(Word* to, Word value) noexcept { store(to, value); }
  static void store_relaxed(Word* to, Word value) noexcept { store(to, value); }

  template <std::size_t Size>
  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    const std::size_t all = Size == 0 ? bytes : Size;
    if (all == 0 || (observer != nullptr && !observer->before_copy(to, from, all))) return;
    const std::size_t half = all / 2;
    std::memcpy(to, from, half);
    if (observer != nullptr) observer->copied();
    std::memcpy(to + half, from + half, all - half);
    if (observer != nullptr) observer->copied();
  }

  template <std::size_t Size>
  static void expect(const std::byte* /*payload*/) noexcept {}

 private:
  static Word load(const Word* from) noexcept {
    if (observer == nullptr) return Native::load_acquire(from);
    if (!observer->before_load(from)) return 0;
    return observer->loaded(from, Native::load_acquire(from));
  }
  static void store(Word* to, Word value) noexcept {
    if (observer == nullptr) return Native::store_release(to, value);
    if (!observer->before_store(to)) return;
    Native::store_release(to, value);
    observer->stored();
  }
};

/// Sets the observer for as long as it lives.
class Watching {
 public:
  explicit Watching(Observer& observer) { Watched::observer = &observer; }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
  ~Watching() { Watched::observer = nullptr; }
};

}  // namespace nimsync::rings_test
