// SPDX-License-Identifier: Apache-2.0
//
// Delivery is a message that was received and waits to be settled.

#ifndef OPENMESSAGING_DELIVERY_H_
#define OPENMESSAGING_DELIVERY_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "openmessaging/future.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

namespace internal {

class DeliveryAccess;

// Gives a message back that a listener dropped unsettled: where its queue has
// no lease that would do it, and when the listener failed. Shared by the copies
// of a delivery.
//
// Threads: any.
class UnsettledGuard {
 public:
  UnsettledGuard(std::shared_ptr<ConsumerCore> core, const Receipt& receipt,
                 bool nack)
      : core_(std::move(core)), receipt_(receipt), nack_(nack) {}
  UnsettledGuard(const UnsettledGuard&) = delete;
  UnsettledGuard& operator=(const UnsettledGuard&) = delete;
  ~UnsettledGuard() {
    if (settled_.load(std::memory_order_acquire) ||
        !nack_.load(std::memory_order_acquire)) {
      return;
    }
    // After a stop it fails, and closing gives the message back.
    (void)core_->SettleAsync({receipt_, driver::Verb::kNack});
  }

  // What the application settles is its own business, even if that fails.
  void NoteSettlement(driver::Verb verb) {
    if (verb == driver::Verb::kExtend) return;
    settled_.store(true, std::memory_order_release);
  }
  void NackWhenDropped() { nack_.store(true, std::memory_order_release); }

 private:
  const std::shared_ptr<ConsumerCore> core_;
  const Receipt receipt_;
  std::atomic<bool> nack_;
  std::atomic<bool> settled_{false};
};

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
  // Where Extend brought another one, it is the latest.
  Receipt receipt() const { return core_ ? core_->Latest(receipt_) : receipt_; }

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
  // Implements: OMS-SET-002, 003, 004, 016, 017.
  // Blocks, Errors: as Ack(); also 1418: a negative delay.
  [[nodiscard]] absl::Status Nack() const {
    return Settle(driver::Verb::kNack, std::chrono::milliseconds(0));
  }
  [[nodiscard]] absl::Status Nack(std::chrono::milliseconds delay) const {
    return Settle(driver::Verb::kNackDelay, delay);
  }

  // Acknowledges this message and all that the same source (a partition of a
  // queue) delivered to this consumer before it.
  // Implements: OMS-SET-009, 010.
  // Blocks, Errors: as Ack().
  [[nodiscard]] absl::Status AckUpTo() const {
    return Settle(driver::Verb::kAckUpTo, std::chrono::milliseconds(0));
  }

  // Moves the message to the queue's dead-letter queue, with its origin and the
  // reason. It is not delivered again to this group.
  // Implements: OMS-SET-005, 006, 030.
  // Blocks, Errors: as Ack(); 1600 also where the queue has no dead-letter
  // queue.
  [[nodiscard]] absl::Status Reject() const {
    return Settle(driver::Verb::kReject, std::chrono::milliseconds(0));
  }

  // Makes the lease end `duration` from now. This delivery, its copies and its
  // receipt stay good, also where the broker replaces the receipt.
  // Blocks, Errors: as Ack(); also 1418: a duration that is not positive.
  // Implements: OMS-SET-012, 016, 020.
  [[nodiscard]] absl::Status Extend(std::chrono::milliseconds duration) const {
    return Settle(driver::Verb::kExtend, duration);
  }

  // Do the same without waiting. The future's outcome is what the other answers
  // and comes when the broker answers, or when the consumer stops.
  // Implements: OMS-CONS-023.
  [[nodiscard]] Future<void> AckAsync() const {
    return SettleAsync(driver::Verb::kAck, std::chrono::milliseconds(0));
  }
  [[nodiscard]] Future<void> AckUpToAsync() const {
    return SettleAsync(driver::Verb::kAckUpTo, std::chrono::milliseconds(0));
  }
  [[nodiscard]] Future<void> NackAsync() const {
    return SettleAsync(driver::Verb::kNack, std::chrono::milliseconds(0));
  }
  [[nodiscard]] Future<void> NackAsync(std::chrono::milliseconds delay) const {
    return SettleAsync(driver::Verb::kNackDelay, delay);
  }
  [[nodiscard]] Future<void> RejectAsync() const {
    return SettleAsync(driver::Verb::kReject, std::chrono::milliseconds(0));
  }
  [[nodiscard]] Future<void> ExtendAsync(
      std::chrono::milliseconds duration) const {
    return SettleAsync(driver::Verb::kExtend, duration);
  }

 private:
  friend class internal::DeliveryAccess;

  absl::Status Settle(driver::Verb verb,
                      std::chrono::milliseconds duration) const {
    if (!core_) return Empty();
    if (guard_) guard_->NoteSettlement(verb);
    return core_->Settle({receipt_, verb, duration}, &message_);
  }
  Future<void> SettleAsync(driver::Verb verb,
                           std::chrono::milliseconds duration) const {
    if (!core_) return internal::FutureAccess::Done<void>(Empty());
    if (guard_) guard_->NoteSettlement(verb);
    return core_->SettleAsync({receipt_, verb, duration}, &message_);
  }
  static absl::Status Empty() {
    return MakeStatus(Code::kReceiptInvalid,
                      "settle: the delivery is empty; expected one that a "
                      "consumer received (OMS-CONS-009)");
  }

  Message message_;
  Receipt receipt_;
  std::shared_ptr<internal::ConsumerCore> core_;
  // Only of what a listener owns; see UnsettledGuard.
  std::shared_ptr<internal::UnsettledGuard> guard_;
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
    delivery.guard_.reset();
  }
  // Makes the end of `delivery` and its copies give the message back, if `nack`
  // or once the guard is told so.
  static const std::shared_ptr<UnsettledGuard>& Guard(Delivery& delivery,
                                                      bool nack) {
    delivery.guard_ = std::make_shared<UnsettledGuard>(
        delivery.core_, delivery.receipt_, nack);
    return delivery.guard_;
  }
  // Returns: the receipt that it was received with.
  static const Receipt& ReceiptOf(const Delivery& delivery) {
    return delivery.receipt_;
  }
  static void NoteSettlement(const Delivery& delivery, driver::Verb verb) {
    if (delivery.guard_) delivery.guard_->NoteSettlement(verb);
  }
  // Empties `delivery`, but keeps `core`, which will fill it again.
  static void Clear(Delivery& delivery,
                    const std::shared_ptr<ConsumerCore>& core) {
    delivery.message_ = Message();
    delivery.receipt_ = Receipt();
    delivery.guard_.reset();
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
