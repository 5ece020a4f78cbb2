// SPDX-License-Identifier: Apache-2.0
//
// Delivery is a message that was received and waits to be settled.

#ifndef OPENMESSAGING_DELIVERY_H_
#define OPENMESSAGING_DELIVERY_H_

#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

namespace internal {
class DeliveryAccess;
}  // namespace internal

// A message with its receipt. Settle it once: Ack() when it is done with,
// Nack() to get it again. One that is destroyed unsettled comes back when its
// lease runs out, or, where the broker has no leases, when its consumer ends.
//
// Threads: a value; const methods may run together, and any thread may settle.
// Lifetime: keeps its consumer's connection alive, but not the consumer from
// stopping: to settle then answers 1601, and the message comes back.
class Delivery {
 public:
  // A delivery of nothing: settling it answers 1603.
  Delivery() = default;

  const Message& message() const { return message_; }
  Message& mutable_message() { return message_; }
  const Message* operator->() const { return &message_; }
  const Message& operator*() const { return message_; }

  // Prints, so that it can be settled later or elsewhere; see Receipt.
  const Receipt& receipt() const { return receipt_; }

  // Says that the message is done with. Again: nothing happens, and it is OK.
  // Only where the queue has the capability settle-confirmed has the broker
  // carried it out by then; elsewhere a connection that breaks soon may bring
  // the message back.
  //
  // Blocks: up to PullConsumerOptions::operation_timeout.
  // Errors:
  //   kNotFound            1604: it was delivered again meanwhile, or revoked
  //   kInvalidArgument     1603: a delivery of nothing
  //   kUnimplemented       1600: the queue cannot do it
  //   kDeadlineExceeded    1410: no answer in time; it may be settled
  //   kFailedPrecondition  1601: the consumer is stopped
  // Implements: OMS-CONS-008, 009, 010, 012, 014, 019, 020.
  [[nodiscard]] absl::Status Ack() const {
    return Settle(driver::Verb::kAck, std::chrono::milliseconds(0));
  }

  // Gives the message back, to be delivered again after the queue's own
  // back-off, or `delay` from now, at once for zero.
  // Blocks, Errors: as Ack(); also 1418: a negative delay.
  [[nodiscard]] absl::Status Nack() const {
    return Settle(driver::Verb::kNack, std::chrono::milliseconds(0));
  }
  [[nodiscard]] absl::Status Nack(std::chrono::milliseconds delay) const {
    return Settle(driver::Verb::kNackDelay, delay);
  }

  // Acknowledges this message and all that the same source (a partition of a
  // queue) delivered to this consumer before it.
  // Blocks, Errors: as Ack().
  [[nodiscard]] absl::Status AckUpTo() const {
    return Settle(driver::Verb::kAckUpTo, std::chrono::milliseconds(0));
  }

  // Moves the message to the queue's dead-letter queue, with its origin and the
  // reason. It is not delivered again to this group.
  // Blocks, Errors: as Ack(); 1600 also where the queue has no dead-letter
  // queue.
  [[nodiscard]] absl::Status Reject() const {
    return Settle(driver::Verb::kReject, std::chrono::milliseconds(0));
  }

  // Makes the lease end `duration` from now.
  // Blocks, Errors: as Ack(); also 1418: a duration that is not positive.
  [[nodiscard]] absl::Status Extend(std::chrono::milliseconds duration) const {
    return Settle(driver::Verb::kExtend, duration);
  }

 private:
  friend class internal::DeliveryAccess;

  absl::Status Settle(driver::Verb verb,
                      std::chrono::milliseconds duration) const {
    if (core_) return core_->Settle({receipt_, verb, duration});
    return MakeStatus(Code::kReceiptInvalid,
                      "settle: the delivery is empty; expected one that a "
                      "consumer received (OMS-CONS-009)");
  }

  Message message_;
  Receipt receipt_;
  std::shared_ptr<internal::ConsumerCore> core_;
};

namespace internal {

// Fills deliveries, and tells whose they are.
class DeliveryAccess {
 public:
  static void Fill(Delivery& delivery, Message message, const Receipt& receipt,
                   const std::shared_ptr<ConsumerCore>& core) {
    delivery.message_ = std::move(message);
    delivery.receipt_ = receipt;
    // The same consumer mostly fills what it filled before.
    if (delivery.core_ != core) delivery.core_ = core;
  }
  // Empties `delivery`, but keeps `core`, which will fill it again.
  static void Clear(Delivery& delivery,
                    const std::shared_ptr<ConsumerCore>& core) {
    delivery.message_ = Message();
    delivery.receipt_ = Receipt();
    if (delivery.core_ != core) delivery.core_.reset();
  }
  static const std::shared_ptr<ConsumerCore>& CoreOf(const Delivery& delivery) {
    return delivery.core_;
  }
};

}  // namespace internal

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DELIVERY_H_
