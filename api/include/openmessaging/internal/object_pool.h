// SPDX-License-Identifier: Apache-2.0
//
// ObjectPool keeps objects that are used again and again, so that those who
// have many of them at once allocate only at first.

#ifndef OPENMESSAGING_INTERNAL_OBJECT_POOL_H_
#define OPENMESSAGING_INTERNAL_OBJECT_POOL_H_

#include <array>
#include <cstddef>
#include <memory>

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Where ThreadCache keeps one object for each thread, this keeps a few hundred.
//
// Threads: each has its own. An object may be given by another thread than the
// one that took it; it then serves that one.
template <typename T>
class ObjectPool {
 public:
  static constexpr size_t kMaximum = 256;

  // Returns: an object of this thread's, or a new one.
  static T* Take() {
    List& list = ListOfThread();
    if (list.size > 0) return list.objects[--list.size];
    return new T();
  }

  // Keeps `object` for the next Take, or ends it.
  static void Give(T* object) {
    List& list = ListOfThread();
    if (list.size == kMaximum || list.ended) {
      delete object;
      return;
    }
    static thread_local const Cleaner cleaner;
    list.objects[list.size++] = object;
  }

 private:
  // Without a destructor of its own, so that reading it needs no guard.
  struct List {
    std::array<T*, kMaximum> objects{};
    size_t size = 0;
    bool ended = false;
  };

  static List& ListOfThread() {
    static constinit thread_local List list{};
    return list;
  }

  struct Cleaner {
    Cleaner() = default;
    Cleaner(const Cleaner&) = delete;
    Cleaner& operator=(const Cleaner&) = delete;
    ~Cleaner() {
      List& list = ListOfThread();
      list.ended = true;
      while (list.size > 0) delete list.objects[--list.size];
    }
  };
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_OBJECT_POOL_H_
