// SPDX-License-Identifier: Apache-2.0
//
// PageGuard keeps a process alive that touches a page which is not there.

#ifndef OPENMESSAGING_REFERENCE_ENV_PAGE_GUARD_H_
#define OPENMESSAGING_REFERENCE_ENV_PAGE_GUARD_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/status.h"

namespace openmessaging::reference {

// The kernel sends SIGBUS to who touches a page of a mapping behind the end of
// its file, which somebody cut, or a page that the disk does not give back.
// While a guard lives, such a page of what it watches is replaced by one of
// zeros, this process's own, and *lost_word() is true from then on: whoever
// reads or stores looks at it afterwards, and trusts nothing if it is.
//
// The handler is the process's: the first guard installs it and the last one
// puts back what was there, unless somebody has put another above it. Signals
// of other pages go to what was there.
//
// Threads: every method from any thread.
class PageGuard {
 public:
  static std::shared_ptr<PageGuard> Make();
  PageGuard();
  ~PageGuard();
  PageGuard(const PageGuard&) = delete;
  PageGuard& operator=(const PageGuard&) = delete;

  const std::atomic<bool>* lost_word() const { return &lost_; }

  // Watches [data, data + size) until Forget(data), before it is unmapped.
  void Watch(const void* data, size_t size);
  void Forget(const void* data);

 private:
  std::atomic<bool> lost_{false};
};

// Returns: 1501; of `store` a page was lost.
absl::Status LostPagesError(std::string_view store);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_PAGE_GUARD_H_
