// An object in memory that a process shares with its children, and that outlives them.
#pragma once

#include <sys/mman.h>

#include <new>
#include <stdexcept>

namespace nimsync::soak {

template <class T>
class Shared {
 public:
  Shared() {
    void* const place = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) throw std::runtime_error("cannot map shared memory");
    object_ = new (place) T;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(object_, sizeof(T)); }

  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }

 private:
  T* object_;
};

}  // namespace nimsync::soak
