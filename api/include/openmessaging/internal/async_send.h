// SPDX-License-Identifier: Apache-2.0
//
// AsyncSend is the completion of a send that nobody waits for: the state of its
// future.

#ifndef OPENMESSAGING_INTERNAL_ASYNC_SEND_H_
#define OPENMESSAGING_INTERNAL_ASYNC_SEND_H_

#include <atomic>
#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/future_state.h"
#include "openmessaging/internal/in_flight.h"
#include "openmessaging/internal/object_pool.h"
#include "openmessaging/internal/sync_call.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// One message that has entered an InFlight, which it leaves when the driver
// completes it. Its producer closes after that.
class AsyncSend final : public driver::SendCompletion,
                        public FutureState<SendResult> {
 public:
  // Returns: one with two references, the driver's and the caller's.
  static AsyncSend* Make(InFlight& in_flight, Dispatcher& dispatcher,
                         size_t bytes, CapabilitySet ignored) {
    AsyncSend* const send = ObjectPool<AsyncSend>::Take();
    send->in_flight_ = &in_flight;
    send->dispatcher_ = &dispatcher;
    send->bytes_ = bytes;
    send->ignored_ = ignored;
    send->Begin(2);
    return send;
  }

  void Sent(size_t /*index*/, const SendResult& result) override {
    SendResult sent = result;
    sent.ignored = ignored_;
    Finish(sent);
  }
  void Failed(size_t /*index*/, absl::Status status) override {
    Finish(FailureOf(std::move(status)));
  }

 private:
  void Finish(absl::StatusOr<SendResult> result) {
    Complete(std::move(result), *dispatcher_);
    // The producer may end as soon as this has left.
    in_flight_->Leave(bytes_);
    Unref();
  }
  void Recycle() override { ObjectPool<AsyncSend>::Give(this); }

  InFlight* in_flight_ = nullptr;
  Dispatcher* dispatcher_ = nullptr;
  size_t bytes_ = 0;
  CapabilitySet ignored_{};
};

// Several of them that went to the driver in one call. Ends with the last.
class AsyncSendBatch final : public driver::SendCompletion {
 public:
  explicit AsyncSendBatch(std::vector<AsyncSend*> sends)
      : left_(sends.size()), sends_(std::move(sends)) {}

  void Sent(size_t index, const SendResult& result) override {
    assert(index < sends_.size() &&
           "a driver completed an entry that it was not given");
    sends_[index]->Sent(0, result);
    CompleteOne();
  }
  void Failed(size_t index, absl::Status status) override {
    assert(index < sends_.size() &&
           "a driver completed an entry that it was not given");
    sends_[index]->Failed(0, std::move(status));
    CompleteOne();
  }

 private:
  void CompleteOne() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  std::atomic<size_t> left_;
  const std::vector<AsyncSend*> sends_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_ASYNC_SEND_H_
