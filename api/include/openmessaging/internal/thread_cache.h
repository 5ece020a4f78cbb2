// SPDX-License-Identifier: Apache-2.0
//
// ThreadCache keeps one object of a type for each thread, so that a call that
// needs one again and again allocates once.

#ifndef OPENMESSAGING_INTERNAL_THREAD_CACHE_H_
#define OPENMESSAGING_INTERNAL_THREAD_CACHE_H_

#include <memory>
#include <utility>

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Threads: each has its own. An object may be given by another thread than the
// one that took it.
template <typename T>
class ThreadCache {
 public:
  // Returns: the object of this thread, which is then the caller's; a new one
  // where it has none, for example inside a call that took it.
  static std::unique_ptr<T> Take() {
    std::unique_ptr<T> object(std::exchange(slot(), nullptr));
    return object ? std::move(object) : std::make_unique<T>();
  }

  // Keeps `object` for the next Take, or ends it.
  static void Give(std::unique_ptr<T> object) {
    if (slot() != nullptr || ended()) return;
    static thread_local const Cleaner cleaner;
    slot() = object.release();
  }

 private:
  // Without a destructor of their own, so that reading them needs no guard.
  static T*& slot() {
    static constinit thread_local T* object = nullptr;
    return object;
  }
  static bool& ended() {
    static constinit thread_local bool value = false;
    return value;
  }

  struct Cleaner {
    Cleaner() = default;
    Cleaner(const Cleaner&) = delete;
    Cleaner& operator=(const Cleaner&) = delete;
    ~Cleaner() {
      ended() = true;
      delete std::exchange(slot(), nullptr);
    }
  };
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_THREAD_CACHE_H_
