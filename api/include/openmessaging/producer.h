// SPDX-License-Identifier: Apache-2.0
//
// Producer sends messages to queues. Build messages with message.h; receive
// them with pull_consumer.h. The promises are in spec/producer.md.

#ifndef OPENMESSAGING_PRODUCER_H_
#define OPENMESSAGING_PRODUCER_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/future.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/producer_core.h"  // IWYU pragma: export
#include "openmessaging/lifecycle.h"
#include "openmessaging/local_transaction.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/prepared_message.h"  // IWYU pragma: export
#include "openmessaging/producer_options.h"  // IWYU pragma: export
#include "openmessaging/send_result.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {

// Sends messages to the queues of one access point. Obtain one from
// MessagingAccessPoint::CreateProducer(); ProducerOptions says how it behaves.
//
// Threads: every method may be called from any thread at any time.
// Lifetime: a movable handle; it keeps its connection alive. One that was moved
// from may only be assigned to or destroyed. The destructor stops, but cannot
// report; call Stop() to learn what was left undone.
class Producer {
 public:
  Producer(Producer&&) = default;
  Producer& operator=(Producer&& other) noexcept;
  ~Producer() { End(); }

  // Sends one message. Its bytes are only read, and not kept after the call.
  // What was certainly not stored is sent again, after 1 ms doubling to 100 ms,
  // while `send_timeout` allows.
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Errors:
  //   kInvalidArgument     1418: no destination or a bad one, a bad value
  //   kInvalidArgument     1411, 1412, 1413: properties, header, body too large
  //   kNotFound            1404: the queue does not exist
  //   kUnimplemented       1600: it asks for what the queue cannot give
  //   kResourceExhausted   1502: the broker is full; not stored, retriable
  //   kUnavailable         1503: no broker; not stored, retriable
  //   kDeadlineExceeded    1410: no answer in time; it may have been stored
  //   kFailedPrecondition  1601, 1602: stopped, not started
  // Implements: OMS-PROD-001, 002, 005, 006, 009 to 015.
  [[nodiscard]] absl::StatusOr<SendResult> Send(const Message& message) {
    return core_->Send(message);
  }

  // Sends `messages` in order, in as few batches as the driver allows. One that
  // fails its checks does not keep the others back. A batch is sent again only
  // when nothing of it was stored and all of it may succeed: the order holds.
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Returns: one result for each message, same order, same count.
  // Errors: those above, in the result of the message that they concern.
  // Implements: OMS-PROD-003, 004, 017, 033, 046.
  [[nodiscard]] std::vector<absl::StatusOr<SendResult>> Send(
      std::span<const Message> messages) {
    return core_->Send(messages);
  }

  // Sends one message and does not wait for the outcome. Calls of one thread
  // reach the driver in their order. What fails is not sent again, not even
  // where it was certainly not stored: it would end up behind later messages.
  //
  // Blocks: at the limits of what is in flight, up to send_timeout, unless
  // at_in_flight_limit says otherwise; and where it starts the producer.
  // Returns: a future of the outcome, which comes after send_timeout where the
  // broker is that late. Its errors are those of Send(), and
  //   kResourceExhausted   1607: no room in flight; not stored, retriable
  // Implements: OMS-PROD-021, 022, 023, 026, 037, 038.
  [[nodiscard]] Future<SendResult> SendAsync(const Message& message) {
    return core_->SendAsync(message);
  }

  // Sends `messages` in order, in as few batches as the driver allows.
  // Blocks: as above; what there is room for is sent before it waits.
  // Returns: one future for each message, same order, same count.
  // Implements: OMS-PROD-021, 024.
  [[nodiscard]] std::vector<Future<SendResult>> SendAsync(
      std::span<const Message> messages) {
    return core_->SendAsync(messages);
  }

  // Sends one message whose outcome nobody asks for. What was sent before
  // Stop() arrives if the broker takes it.
  //
  // Blocks: never, but where it starts the producer.
  // Errors: what is wrong with the message, as Send(); 1607 no room in flight;
  // 1601, 1602. OK says nothing of what the broker does.
  // Implements: OMS-PROD-025, 039, 047.
  [[nodiscard]] absl::Status SendOneway(const Message& message) {
    return core_->SendOneway(message);
  }

  // Withdraws a message that was sent with a delay and is not due yet: from then
  // on it is never delivered. Any producer may that has the message's id, also
  // as text (MessageId::FromText), whoever sent it.
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Errors:
  //   kInvalidArgument     1418: not a name of a queue; the id is empty
  //   kNotFound            1404: there is no such queue; no message of it has
  //                        or had that id
  //   kUnimplemented       1600: the queue cannot do that (delay-cancel)
  //   kFailedPrecondition  1602: it does not wait any more, because it is due or
  //                        was cancelled, or it never did
  //   kFailedPrecondition  1601, 1602: stopped, not started
  //   kDeadlineExceeded    1410, 1504: no answer in time; it may be cancelled
  // Implements: OMS-TIME-005, 009.
  [[nodiscard]] absl::Status CancelDelayed(std::string_view queue,
                                           const MessageId& id) {
    return core_->CancelDelayed(queue, id);
  }

  // Stores one message that nobody receives until it is committed. A process
  // that dies before it decides is not waited for: a check listener of the group
  // is asked. What was certainly not stored is tried again, as by Send().
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Errors: those of Send(), and
  //   kInvalidArgument     1418: the producer has no check listener; the message
  //                        has a delay or a deduplication id
  //   kUnimplemented       1600: the queue cannot do that (tx-check)
  // Implements: OMS-TX-001, 004, 008, 011.
  [[nodiscard]] absl::StatusOr<PreparedMessage> Prepare(
      const Message& message) {
    auto prepared = core_->Prepare(message);
    if (!prepared.ok()) return prepared.status();
    return PreparedMessage(core_, *std::move(prepared));
  }

  // Decides what a PreparedMessage of any producer would decide, of another
  // process or before a restart. The first decision wins; the same one again is
  // harmless. Needs no check listener.
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Errors:
  //   kInvalidArgument     1418: no id; kUnknown is no decision
  //   kAborted             1605: the opposite was decided before
  //   kNotFound            1404: there is no such transaction, or its outcome is
  //                        not remembered any more; the queue is gone
  //   kUnimplemented       1600: the driver cannot do that (tx-check)
  //   kFailedPrecondition  1601, 1602: stopped, not started
  //   kDeadlineExceeded    1410, 1504: no answer in time; it may be decided
  // Implements: OMS-TX-003, 008.
  [[nodiscard]] absl::Status Resolve(std::string_view transaction_id,
                                     TransactionState state) {
    return core_->Resolve(transaction_id, state);
  }

  // Runs `work`, a function of LocalTransaction& that returns a status. Once it
  // has returned OK, all that it sent and acknowledged through the transaction
  // takes effect together, whoever dies meanwhile; otherwise nothing does: where
  // it fails or throws, where something in it was refused, past the timeout, and
  // where the producer was stopped. What is certainly not stored is tried again
  // as Send() does; `work` runs once.
  //
  // Blocks: while `work` runs, then up to ProducerOptions::send_timeout.
  // Returns: a result for each message, in the order of sending.
  // Errors: what `work` returned; what refused something in it; and
  //   kUnimplemented       1600: the broker has no local transactions
  //   kNotFound            1604: an acknowledged message was given back or
  //                        handed out again meanwhile, or revoked
  //   kAborted             1605: one was settled otherwise
  //   kCancelled           1606: `work` threw
  //   kInvalidArgument     1418: too much for one transaction, or what none can
  //                        have; the text says what
  //   kDeadlineExceeded    1410: past the timeout, nothing was done; or, where
  //                        the outcome is unknown, no answer in time
  //   and those of Send().
  // Implements: OMS-TX-009, 010.
  template <typename Work>
  [[nodiscard]] absl::StatusOr<std::vector<SendResult>> Transact(
      Work&& work, const TransactionOptions& options = {}) {
    LocalTransaction transaction(core_, options);
    return transaction.Run(std::forward<Work>(work));
  }

  // Waits until everything that was sent before has an outcome, which is in
  // its future.
  // Blocks: up to `timeout`.
  // Errors: 1410 not in time; 1601 after Stop; 1602 before Start, where
  // autostart is off.
  // Implements: OMS-PROD-014, 027.
  [[nodiscard]] absl::Status Flush(std::chrono::milliseconds timeout) {
    return core_->Flush(timeout);
  }

  // Lets `interceptor` see the messages of every send that begins after this
  // returned, behind those that were added before.
  // Errors: 1418 null, or added already.
  // Implements: OMS-INTC-001, 002.
  [[nodiscard]] absl::Status AddInterceptor(
      std::shared_ptr<ProducerInterceptor> interceptor) {
    return core_->interceptors().Add(std::move(interceptor));
  }

  // Takes it out. No call of it begins after this returned, not even for the
  // outcome of a message that it has seen.
  // Blocks: while a call of it is in progress, unless called in an interceptor.
  // Returns: false where it was not added.
  // Implements: OMS-INTC-003.
  bool RemoveInterceptor(const ProducerInterceptor* interceptor) {
    return core_->interceptors().Remove(interceptor);
  }

  // Starts. Idempotent, and only needed where autostart is off, or to learn
  // early whether there is a broker.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1601 after Stop; 1401, 1403, 1409, 1410, 1503: try again.
  // Implements: OMS-PROD-014.
  [[nodiscard]] absl::Status Start() {
    return core_->Start(internal::DeadlineAfter(core_->start_timeout()));
  }

  // Refuses new sends with 1601, waits for those in progress, releases the
  // driver. Idempotent. A send that waits to be tried again ends at once. Every
  // future has its outcome then: of what could not be sent by `deadline` it is
  // 1601, or what else the driver knows of it. Waits for the callbacks as well,
  // unless called in one.
  // Returns: how many calls were still in progress at `deadline`; the last of
  // them releases the driver.
  // Implements: OMS-PROD-007, 008, 028, 029.
  size_t Stop(std::chrono::steady_clock::time_point deadline) {
    return core_->StopAll(deadline);
  }

  LifecycleState state() const { return core_->state(); }

 private:
  friend class MessagingAccessPoint;
  explicit Producer(std::shared_ptr<internal::ProducerCore> core)
      : core_(std::move(core)) {}

  void End() {
    if (!core_) return;
    core_->StopAll(internal::DeadlineAfter(core_->start_timeout()));
    core_.reset();
  }

  std::shared_ptr<internal::ProducerCore> core_;
};

inline Producer& Producer::operator=(Producer&& other) noexcept {
  if (this != &other) {
    End();
    core_ = std::move(other.core_);
  }
  return *this;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PRODUCER_H_
