// Memory that the measured processes share because it was mapped before they were forked.
//
// Everything is zero at first and faulted in; the mapping ends with the object, in each process for itself.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <new>
#include <span>
#include <system_error>
#include <type_traits>

namespace bench {

/// `count` objects of T, for which zero bytes are a valid value. Throws std::system_error.
template <class T>
class Shared {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit Shared(std::size_t count = 1) : count_(count) {
    void* const memory =
        ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "shared memory for the bench");
    first_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < count; ++i) ::new (static_cast<void*>(first_ + i)) T{};
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(first_, bytes()); }

  [[nodiscard]] T& operator*() const noexcept { return *first_; }
  [[nodiscard]] T* operator->() const noexcept { return first_; }
  [[nodiscard]] T& operator[](std::size_t i) const noexcept { return first_[i]; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

 private:
  [[nodiscard]] std::size_t bytes() const noexcept { return count_ * sizeof(T); }

  std::size_t count_;
  T* first_;
};

}  // namespace bench
