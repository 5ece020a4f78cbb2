// SPDX-License-Identifier: Apache-2.0
//
// PushConsumer calls functions of the application's, listeners, with the
// messages of the queues that it binds. The promises are in spec/consumer.md.

#ifndef OPENMESSAGING_PUSH_CONSUMER_H_
#define OPENMESSAGING_PUSH_CONSUMER_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/bind_options.h"
#include "openmessaging/delivery.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/listener.h"
#include "openmessaging/internal/push_core.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/push_failure.h"
#include "openmessaging/settler.h"
#include "openmessaging/verdict.h"

namespace openmessaging {
inline namespace v0 {

// Fixed for the life of a consumer. What is not set here is as the attribute
// of the access point says that stands beside it, and else as safe to ship.
// Implements: OMS-MAP-009, 013.
struct PushConsumerOptions {
  // Members of one group share its messages; each group gets all of them.
  std::string group{"default"};

  // How many calls of listeners may run at once, 1 to 1024; each has a thread.
  // With 1, calls come one after another, in the order of delivery.
  // `consumer.concurrency`, else 1.
  std::optional<size_t> concurrency{};

  // How much may be here and not settled, at least 1. A listener that does not
  // return keeps no more than this from the other members of the group.
  // `consumer.prefetch-messages`, else 256; `consumer.prefetch-bytes`, else
  // 16 MiB.
  std::optional<size_t> prefetch_messages{};
  std::optional<size_t> prefetch_bytes{};

  // The most that one call of a batch listener gets, at least 1.
  // `consumer.max-batch-messages`, else 64.
  std::optional<size_t> max_batch_messages{};

  // How long a delivery may stay unsettled before somebody else gets it, where
  // the broker leases. `consumer.lease`, else 30 s.
  std::optional<std::chrono::milliseconds> lease{};

  // Whether leases are extended, each third of their time, while a message
  // waits here or is in a listener, where the queue can do that.
  bool renew_leases = true;

  // Where a group that does not exist yet begins.
  StartPosition start = StartPosition::kEarliest;

  // The group is this consumer's own and ends with it: every one gets all.
  bool broadcast = false;

  // No second consumer of the group may bind the queue.
  bool exclusive = false;

  // A key's next message waits until its previous one is settled, whichever
  // member of the group has that; other keys go on. All members, or none.
  bool ordered = false;

  // Told of what no call can return, one failure after another, on the thread
  // that runs callbacks. Let go of when the consumer stops.
  // Implements: OMS-PUSH-017.
  PushFailureListener on_failure{};

  // Longest time to bind or to settle; else operation.timeout, else 3 s.
  std::optional<std::chrono::milliseconds> operation_timeout{};
};

// Receives messages of the queues that it binds and hands them to their
// listeners, from threads of its own. Obtain one from
// MessagingAccessPoint::CreatePushConsumer(). A listener is one of
//
//   Verdict(const Message&)            settled as it says: Ack(), Nack(),
//                                      Nack(delay), Reject()
//   std::vector<Verdict>(std::span<const Message>)
//                                      one for each; what is missing is a Nack
//   void(Delivery)                     owns it and settles it, there or later,
//                                      on any thread
//   void(std::vector<Delivery>)        owns them
//
// A listener that throws has said Nack of what it did not settle. A delivery
// that was dropped unsettled comes back when its lease runs out, or is nacked
// where its queue has no leases. Verdicts are settled together, within 50 ms; a
// settlement that fails has the same effect as a lease that runs out, and
// on_failure is told.
//
// Threads: every method may be called from any thread at any time, also from a
// listener; the last handle may end in one. No lock is held while one runs.
// Lifetime: a movable handle; it keeps its connection alive. One that was moved
// from may only be assigned to or destroyed. The destructor stops and waits for
// listeners up to operation_timeout, but cannot report; see Stop().
class PushConsumer : public Settler {
 public:
  PushConsumer(PushConsumer&&) = default;
  PushConsumer& operator=(PushConsumer&& other) noexcept;
  ~PushConsumer() { End(); }

  // Begins to receive from `queue` for `listener`, before or after Start().
  //
  // Blocks: up to PushConsumerOptions::operation_timeout.
  // Errors:
  //   kFailedPrecondition  1602: the queue has a listener already
  //   ... and those of PullConsumer::Bind()
  // Implements: OMS-PUSH-001, 002, 003, 018.
  template <internal::ListenerFunction Listener>
  [[nodiscard]] absl::Status Bind(std::string_view queue, Listener listener) {
    return Bind(queue, BindOptions(), std::move(listener));
  }

  // As above, for what the options want of the queue.
  // Implements: OMS-CONS-024 to 027.
  template <internal::ListenerFunction Listener>
  [[nodiscard]] absl::Status Bind(std::string_view queue,
                                  const BindOptions& options,
                                  Listener listener) {
    return push_->Bind(queue, options,
                       internal::MakeListener(std::move(listener)));
  }

  // Ends it; what is unsettled of that queue goes back to the group. No call of
  // its listener begins after this returned. OK where it was not bound.
  // Blocks, Errors: as PullConsumer::Unbind().
  // Implements: OMS-PUSH-004.
  [[nodiscard]] absl::Status Unbind(std::string_view queue) {
    return push_->Unbind(queue);
  }

  // Returns: the queues that are bound, in the order of their binding.
  std::vector<std::string> bound_queues() const {
    return core_->bound_queues();
  }

  // Lets `interceptor` see what is received after this returned, behind those
  // that were added before.
  // Errors: 1418 null, or added already.
  // Implements: OMS-INTC-001, 002.
  [[nodiscard]] absl::Status AddInterceptor(
      std::shared_ptr<ConsumerInterceptor> interceptor) {
    return core_->watch().interceptors().Add(std::move(interceptor));
  }

  // Takes it out. No call of it begins after this returned, not even for the
  // settlement of a message that it has seen.
  // Blocks: while a call of it is in progress, unless called in an interceptor.
  // Returns: false where it was not added.
  // Implements: OMS-INTC-003.
  bool RemoveInterceptor(const ConsumerInterceptor* interceptor) {
    return core_->watch().interceptors().Remove(interceptor);
  }

  // Begins to receive and to call listeners. Idempotent.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1601 after Stop; 1401, 1403, 1410, 1503, 1600: try again.
  // Implements: OMS-PUSH-005.
  [[nodiscard]] absl::Status Start() { return push_->Start(); }

  // Stops calling listeners, waits for those that run, settles what they said,
  // and gives the rest back: what no listener has seen at once, where the queue
  // has prompt-release, and as if it had never been delivered. Idempotent.
  // Called in a listener it does not wait for that one, whose verdict still
  // counts: the consumer closes after it.
  // Returns: how many messages were in listeners at `deadline`; they come back
  // to the group.
  // Implements: OMS-PUSH-006, 007.
  size_t Stop(std::chrono::steady_clock::time_point deadline) {
    return push_->Stop(deadline);
  }

  // Calls no listener from now on, until Resume(). What is here already stays
  // here until its lease runs out.
  // Blocks: up to `timeout`, for listeners that run; not for the one that
  // calls. Returns: whether they have finished. Implements: OMS-PUSH-008.
  bool Suspend(std::chrono::milliseconds timeout) {
    return push_->Suspend(internal::DeadlineAfter(timeout));
  }
  void Resume() { push_->Resume(); }
  bool IsSuspended() const { return push_->IsSuspended(); }

  LifecycleState state() const { return push_->state(); }

 private:
  friend class MessagingAccessPoint;

  explicit PushConsumer(std::shared_ptr<internal::PushCore> push)
      : Settler(push->consumer()), push_(std::move(push)) {
    core_->set_observer(push_);
  }

  void End() {
    if (!push_) return;
    push_->Stop(internal::DeadlineAfter(core_->operation_timeout()));
    push_.reset();
    core_.reset();
  }

  std::shared_ptr<internal::PushCore> push_;
};

inline PushConsumer& PushConsumer::operator=(PushConsumer&& other) noexcept {
  if (this != &other) {
    End();
    core_ = std::move(other.core_);
    push_ = std::move(other.push_);
  }
  return *this;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PUSH_CONSUMER_H_
