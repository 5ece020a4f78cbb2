// SPDX-License-Identifier: Apache-2.0
//
// RenewedReceipts remembers which receipt took the place of another.

#ifndef OPENMESSAGING_INTERNAL_RENEWED_RECEIPTS_H_
#define OPENMESSAGING_INTERNAL_RENEWED_RECEIPTS_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/receipt.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Some brokers answer Extend with a new receipt, while deliveries, their copies
// and receipts that were printed still have the old one. Only the latest are
// remembered; what is older has run out of its lease long ago.
//
// Threads: any. Costs one load until a broker replaced a receipt.
class RenewedReceipts {
 public:
  bool any() const { return any_.load(std::memory_order_acquire); }

  void Add(const Receipt& old, const Receipt& renewed) {
    if (renewed.empty() || renewed == old) return;
    const MutexLock lock(mutex_);
    std::string key = old.ToString();
    if (!renewed_.contains(key)) order_.push_back(key);
    renewed_[std::move(key)] = renewed;
    if (order_.size() > kMaximum) {
      renewed_.erase(order_.front());
      order_.pop_front();
    }
    any_.store(true, std::memory_order_release);
  }

  // Returns: what `receipt` was replaced by, itself where nothing did.
  Receipt Latest(const Receipt& receipt) const {
    if (!any()) return receipt;
    const MutexLock lock(mutex_);
    Receipt latest = receipt;
    // No receipt returns, but a driver may be wrong.
    for (size_t steps = 0; steps < kMaximum; ++steps) {
      const auto found = renewed_.find(latest.ToString());
      if (found == renewed_.end()) break;
      latest = found->second;
    }
    return latest;
  }

 private:
  static constexpr size_t kMaximum = 16384;

  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  absl::flat_hash_map<std::string, Receipt> renewed_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> order_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_RENEWED_RECEIPTS_H_
