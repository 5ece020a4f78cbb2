// SPDX-License-Identifier: Apache-2.0
//
// InterceptorChain is the list of a client's interceptors, which changes while
// they run.

#ifndef OPENMESSAGING_INTERNAL_INTERCEPTOR_CHAIN_H_
#define OPENMESSAGING_INTERNAL_INTERCEPTOR_CHAIN_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// How many calls of interceptors this thread is in: one in another where an
// interceptor sends or receives.
inline size_t& InterceptorDepth() {
  static constinit thread_local size_t depth = 0;
  return depth;
}

// One registered interceptor, and the calls of it that are in progress.
//
// Threads: every method from any thread. No lock is held while it runs.
template <typename T>
class InterceptorEntry {
 public:
  explicit InterceptorEntry(std::shared_ptr<T> interceptor)
      : interceptor_(std::move(interceptor)) {}
  InterceptorEntry(const InterceptorEntry&) = delete;
  InterceptorEntry& operator=(const InterceptorEntry&) = delete;

  const T* interceptor() const { return interceptor_.get(); }

  // Runs `function(interceptor)`, unless it was removed. Returns: false when it
  // threw.
  template <typename Function>
  bool Call(Function function) {
    {
      const MutexLock lock(mutex_);
      if (removed_) return true;
      ++running_;
    }
    ++InterceptorDepth();
    const bool returned = RunUserCode([&] { function(*interceptor_); });
    --InterceptorDepth();
    const MutexLock lock(mutex_);
    --running_;
    if (removed_) ended_.NotifyAll();
    return returned;
  }

  // Lets no call begin any more, and waits for those in progress, unless this
  // thread is in one of any interceptor: two that remove each other would wait
  // for ever.
  void Remove() {
    const MutexLock lock(mutex_);
    removed_ = true;
    if (InterceptorDepth() != 0) return;
    while (running_ > 0) ended_.Wait(mutex_);
  }

 private:
  const std::shared_ptr<T> interceptor_;
  Mutex mutex_;
  Condition ended_;
  bool removed_ ABSL_GUARDED_BY(mutex_) = false;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a client looks at before each call, so that one that nobody watches pays
// for no more than that look.
//
// Threads: any. Whoever watches has added himself before the call whose message
// he wants to see; so a look needs no order of its own.
class WatchCount {
 public:
  bool any() const { return count_.load(std::memory_order_relaxed) != 0; }
  void Add() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Remove() { count_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> count_{0};
};

// Threads: every method from any thread.
// Invariants:
//   (1) a list is never changed; who runs it has the one of the time when his
//       call began;
//   (2) what is removed ends after mutex_ is let go of: it is the
//       application's.
template <typename T>
class InterceptorChain {
 public:
  using Entry = InterceptorEntry<T>;
  using List = std::vector<std::shared_ptr<Entry>>;

  // `watchers` counts those that are registered; it outlives this.
  explicit InterceptorChain(WatchCount& watchers) : watchers_(watchers) {}
  InterceptorChain(const InterceptorChain&) = delete;
  InterceptorChain& operator=(const InterceptorChain&) = delete;

  // Returns: those there are, in the order of registration; nullptr for none.
  std::shared_ptr<const List> list() const {
    const MutexLock lock(mutex_);
    return list_;
  }

  // Errors: 1418 nothing, or one that is registered already.
  absl::Status Add(std::shared_ptr<T> interceptor) {
    if (interceptor == nullptr) {
      return MakeStatus(Code::kBadParameter,
                        "add interceptor: there is none; expected a pointer "
                        "that is not null (OMS-INTC-001)");
    }
    auto entry = std::make_shared<Entry>(std::move(interceptor));
    std::shared_ptr<const List> old;  // Ends after the lock.
    const MutexLock lock(mutex_);
    auto list = list_ ? std::make_shared<List>(*list_)
                      : std::make_shared<List>();
    if (Find(*list, entry->interceptor()) != list->end()) {
      return MakeStatus(Code::kBadParameter,
                        "add interceptor: it is registered already; expected "
                        "one that is not, or a call of RemoveInterceptor "
                        "before (OMS-INTC-001)");
    }
    list->push_back(std::move(entry));
    old = std::exchange(list_, std::move(list));
    watchers_.Add();
    return absl::OkStatus();
  }

  // Returns: false where it is not registered.
  bool Remove(const T* interceptor) {
    std::shared_ptr<const List> old;
    std::shared_ptr<Entry> removed;
    {
      const MutexLock lock(mutex_);
      if (!list_) return false;
      auto list = std::make_shared<List>(*list_);
      const auto found = Find(*list, interceptor);
      if (found == list->end()) return false;
      removed = *found;
      list->erase(found);
      if (list->empty()) list.reset();
      old = std::exchange(list_, std::move(list));
      watchers_.Remove();
    }
    removed->Remove();
    return true;
  }

 private:
  static auto Find(List& list, const T* interceptor) {
    return std::find_if(list.begin(), list.end(), [&](const auto& entry) {
      return entry->interceptor() == interceptor;
    });
  }

  WatchCount& watchers_;
  mutable Mutex mutex_;
  std::shared_ptr<const List> list_ ABSL_GUARDED_BY(mutex_);
};

// Runs the first half of each interceptor, which returns a status, until one
// fails. Returns: how many let it pass.
template <typename T, typename Function>
size_t RunInOrder(const std::vector<std::shared_ptr<InterceptorEntry<T>>>& list,
                  absl::Status& status, Function function) {
  size_t passed = 0;
  for (const auto& entry : list) {
    const bool returned =
        entry->Call([&](T& interceptor) { status = function(interceptor); });
    if (!returned) {
      status = MakeStatus(Code::kCancelled,
                          "intercept: interceptor ", passed + 1,
                          " threw an exception; expected a status "
                          "(OMS-INTC-004)");
    }
    if (!status.ok()) break;
    ++passed;
  }
  return passed;
}

// Runs the second half of the first `count` of them, the last first.
template <typename T, typename Function>
void RunInReverse(
    const std::vector<std::shared_ptr<InterceptorEntry<T>>>& list, size_t count,
    Function function) {
  for (size_t i = count; i > 0; --i) (void)list[i - 1]->Call(function);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_INTERCEPTOR_CHAIN_H_
