// SPDX-License-Identifier: Apache-2.0
//
// AsyncSettle is the completion of a settlement that nobody waits for: the
// state of its future.

#ifndef OPENMESSAGING_INTERNAL_ASYNC_SETTLE_H_
#define OPENMESSAGING_INTERNAL_ASYNC_SETTLE_H_

#include <atomic>
#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/future_state.h"
#include "openmessaging/internal/in_flight.h"
#include "openmessaging/internal/object_pool.h"
#include "openmessaging/internal/renewed_receipts.h"
#include "openmessaging/internal/sync_call.h"
#include "openmessaging/receipt.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// One settlement that has entered an InFlight, which it leaves when the driver
// completes it. Its consumer closes after that.
class AsyncSettle final : public driver::SettleCompletion,
                          public FutureState<void> {
 public:
  // What a settlement tells on its way.
  struct Place {
    InFlight* in_flight = nullptr;
    Dispatcher* dispatcher = nullptr;
    // Only of Extend.
    RenewedReceipts* renewed = nullptr;
  };

  // `receipt`: the one that was asked for. Returns: one with two references,
  // the driver's and the caller's.
  static AsyncSettle* Make(const Place& place, const Receipt& receipt) {
    AsyncSettle* const settle = ObjectPool<AsyncSettle>::Take();
    settle->place_ = place;
    if (place.renewed != nullptr) settle->receipt_ = receipt;
    settle->Begin(2);
    return settle;
  }

  void Settled(size_t /*index*/, const Receipt& replacement) override {
    if (place_.renewed != nullptr) place_.renewed->Add(receipt_, replacement);
    Finish(absl::OkStatus());
  }
  void Failed(size_t /*index*/, absl::Status status) override {
    Finish(FailureOf(std::move(status)));
  }

 private:
  void Finish(absl::Status status) {
    Complete(std::move(status), *place_.dispatcher);
    // The consumer may end as soon as this has left.
    place_.in_flight->Leave(0);
    Unref();
  }
  void Recycle() override { ObjectPool<AsyncSettle>::Give(this); }

  Place place_;
  Receipt receipt_;
};

// Several of them that went to the driver in one call. Ends with the last.
class AsyncSettleBatch final : public driver::SettleCompletion {
 public:
  explicit AsyncSettleBatch(std::vector<AsyncSettle*> settlements)
      : left_(settlements.size()), settlements_(std::move(settlements)) {}

  void Settled(size_t index, const Receipt& replacement) override {
    assert(index < settlements_.size() &&
           "a driver completed an entry that it was not given");
    settlements_[index]->Settled(0, replacement);
    CompleteOne();
  }
  void Failed(size_t index, absl::Status status) override {
    assert(index < settlements_.size() &&
           "a driver completed an entry that it was not given");
    settlements_[index]->Failed(0, std::move(status));
    CompleteOne();
  }

 private:
  void CompleteOne() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  std::atomic<size_t> left_;
  const std::vector<AsyncSettle*> settlements_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_ASYNC_SETTLE_H_
