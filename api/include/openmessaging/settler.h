// SPDX-License-Identifier: Apache-2.0
//
// Settler is the settling half of a consumer: every verb for a delivery, for a
// receipt and for many deliveries at once, with and without waiting. What the
// verbs mean is in delivery.h; the promises are in spec/consumer.md.

#ifndef OPENMESSAGING_SETTLER_H_
#define OPENMESSAGING_SETTLER_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/delivery.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/future.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/receipt.h"

namespace openmessaging {
inline namespace v0 {

// Settles what a consumer received. PullConsumer and PushConsumer are settlers.
// A receipt of another consumer is good only where the queue has the capability
// shared-receipt; else it answers 1603.
//
// Blocks: up to the consumer's operation_timeout; those whose names end in
// Async: never, but where they start the consumer.
// Returns: for many, one outcome for each, in their order.
// Errors: those of Delivery's method of the same name.
//
// Threads: every method may be called from any thread at any time.
// Implements: OMS-CONS-008, 009, 010, 012, 014, 015, 020, 023, OMS-SET-001 to
// OMS-SET-030.
class Settler {
 public:
  [[nodiscard]] absl::Status Ack(const Delivery& delivery) {
    return Settle(delivery, {driver::Verb::kAck});
  }
  [[nodiscard]] absl::Status Ack(const Receipt& receipt) {
    return Settle(receipt, {driver::Verb::kAck});
  }
  [[nodiscard]] std::vector<absl::Status> Ack(std::span<const Delivery> deliveries) {
    return Settle(deliveries, {driver::Verb::kAck});
  }
  [[nodiscard]] absl::Status AckUpTo(const Delivery& delivery) {
    return Settle(delivery, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] absl::Status AckUpTo(const Receipt& receipt) {
    return Settle(receipt, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] std::vector<absl::Status> AckUpTo(std::span<const Delivery> deliveries) {
    return Settle(deliveries, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] absl::Status Nack(const Delivery& delivery) {
    return Settle(delivery, {driver::Verb::kNack});
  }
  [[nodiscard]] absl::Status Nack(const Receipt& receipt) {
    return Settle(receipt, {driver::Verb::kNack});
  }
  [[nodiscard]] std::vector<absl::Status> Nack(std::span<const Delivery> deliveries) {
    return Settle(deliveries, {driver::Verb::kNack});
  }
  [[nodiscard]] absl::Status Nack(const Delivery& delivery, std::chrono::milliseconds delay) {
    return Settle(delivery, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] absl::Status Nack(const Receipt& receipt, std::chrono::milliseconds delay) {
    return Settle(receipt, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] std::vector<absl::Status> Nack(std::span<const Delivery> deliveries, std::chrono::milliseconds delay) {
    return Settle(deliveries, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] absl::Status Reject(const Delivery& delivery) {
    return Settle(delivery, {driver::Verb::kReject});
  }
  [[nodiscard]] absl::Status Reject(const Receipt& receipt) {
    return Settle(receipt, {driver::Verb::kReject});
  }
  [[nodiscard]] std::vector<absl::Status> Reject(std::span<const Delivery> deliveries) {
    return Settle(deliveries, {driver::Verb::kReject});
  }
  [[nodiscard]] absl::Status Extend(const Delivery& delivery, std::chrono::milliseconds duration) {
    return Settle(delivery, {driver::Verb::kExtend, duration});
  }
  [[nodiscard]] absl::Status Extend(const Receipt& receipt, std::chrono::milliseconds duration) {
    return Settle(receipt, {driver::Verb::kExtend, duration});
  }
  [[nodiscard]] std::vector<absl::Status> Extend(std::span<const Delivery> deliveries, std::chrono::milliseconds duration) {
    return Settle(deliveries, {driver::Verb::kExtend, duration});
  }

  [[nodiscard]] Future<void> AckAsync(const Delivery& delivery) {
    return SettleAsync(delivery, {driver::Verb::kAck});
  }
  [[nodiscard]] Future<void> AckAsync(const Receipt& receipt) {
    return SettleAsync(receipt, {driver::Verb::kAck});
  }
  [[nodiscard]] std::vector<Future<void>> AckAsync(std::span<const Delivery> deliveries) {
    return SettleAsync(deliveries, {driver::Verb::kAck});
  }
  [[nodiscard]] Future<void> AckUpToAsync(const Delivery& delivery) {
    return SettleAsync(delivery, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] Future<void> AckUpToAsync(const Receipt& receipt) {
    return SettleAsync(receipt, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] std::vector<Future<void>> AckUpToAsync(std::span<const Delivery> deliveries) {
    return SettleAsync(deliveries, {driver::Verb::kAckUpTo});
  }
  [[nodiscard]] Future<void> NackAsync(const Delivery& delivery) {
    return SettleAsync(delivery, {driver::Verb::kNack});
  }
  [[nodiscard]] Future<void> NackAsync(const Receipt& receipt) {
    return SettleAsync(receipt, {driver::Verb::kNack});
  }
  [[nodiscard]] std::vector<Future<void>> NackAsync(std::span<const Delivery> deliveries) {
    return SettleAsync(deliveries, {driver::Verb::kNack});
  }
  [[nodiscard]] Future<void> NackAsync(const Delivery& delivery, std::chrono::milliseconds delay) {
    return SettleAsync(delivery, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] Future<void> NackAsync(const Receipt& receipt, std::chrono::milliseconds delay) {
    return SettleAsync(receipt, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] std::vector<Future<void>> NackAsync(std::span<const Delivery> deliveries, std::chrono::milliseconds delay) {
    return SettleAsync(deliveries, {driver::Verb::kNackDelay, delay});
  }
  [[nodiscard]] Future<void> RejectAsync(const Delivery& delivery) {
    return SettleAsync(delivery, {driver::Verb::kReject});
  }
  [[nodiscard]] Future<void> RejectAsync(const Receipt& receipt) {
    return SettleAsync(receipt, {driver::Verb::kReject});
  }
  [[nodiscard]] std::vector<Future<void>> RejectAsync(std::span<const Delivery> deliveries) {
    return SettleAsync(deliveries, {driver::Verb::kReject});
  }
  [[nodiscard]] Future<void> ExtendAsync(const Delivery& delivery, std::chrono::milliseconds duration) {
    return SettleAsync(delivery, {driver::Verb::kExtend, duration});
  }
  [[nodiscard]] Future<void> ExtendAsync(const Receipt& receipt, std::chrono::milliseconds duration) {
    return SettleAsync(receipt, {driver::Verb::kExtend, duration});
  }
  [[nodiscard]] std::vector<Future<void>> ExtendAsync(std::span<const Delivery> deliveries, std::chrono::milliseconds duration) {
    return SettleAsync(deliveries, {driver::Verb::kExtend, duration});
  }

 protected:
  explicit Settler(std::shared_ptr<internal::ConsumerCore> core)
      : core_(std::move(core)) {}
  Settler(Settler&&) = default;
  Settler& operator=(Settler&&) = default;
  ~Settler() = default;

  std::shared_ptr<internal::ConsumerCore> core_;

 private:
  struct How {
    driver::Verb verb = driver::Verb::kAck;
    std::chrono::milliseconds duration{0};
  };

  // Errors: 1603 where another consumer's delivery is not good here.
  absl::Status CheckOwner(const Delivery& delivery) const;

  absl::Status Settle(const Receipt& receipt, const How& how,
                      const Message* message = nullptr) {
    return core_->Settle({receipt, how.verb, how.duration}, message);
  }
  Future<void> SettleAsync(const Receipt& receipt, const How& how,
                           const Message* message = nullptr) {
    return core_->SettleAsync({receipt, how.verb, how.duration}, message);
  }
  absl::Status Settle(const Delivery& delivery, const How& how);
  Future<void> SettleAsync(const Delivery& delivery, const How& how);
  std::vector<absl::Status> Settle(std::span<const Delivery> deliveries,
                                   const How& how);
  std::vector<Future<void>> SettleAsync(std::span<const Delivery> deliveries,
                                        const How& how);
  // Makes settlements of `deliveries`, and notes whose are refused.
  std::vector<driver::Settlement> Settlements(
      std::span<const Delivery> deliveries, const How& how,
      std::vector<absl::Status>& results) const;
  // Returns: the messages of `deliveries`, where anybody wants to know.
  std::vector<const Message*> WatchedMessages(
      std::span<const Delivery> deliveries) const {
    std::vector<const Message*> messages;
    if (!core_->watch().any()) return messages;
    for (const Delivery& one : deliveries) messages.push_back(&one.message());
    return messages;
  }
};

inline absl::Status Settler::CheckOwner(const Delivery& delivery) const {
  const auto& owner = internal::DeliveryAccess::CoreOf(delivery);
  if (!owner || owner == core_) return absl::OkStatus();
  return core_->CheckForeign(delivery.message().destination());
}

inline absl::Status Settler::Settle(const Delivery& delivery, const How& how) {
  absl::Status status = CheckOwner(delivery);
  if (!status.ok()) return status;
  internal::DeliveryAccess::NoteSettlement(delivery, how.verb);
  return Settle(internal::DeliveryAccess::ReceiptOf(delivery), how,
                &delivery.message());
}

inline Future<void> Settler::SettleAsync(const Delivery& delivery,
                                         const How& how) {
  absl::Status status = CheckOwner(delivery);
  if (!status.ok()) {
    return internal::FutureAccess::Done<void>(std::move(status));
  }
  internal::DeliveryAccess::NoteSettlement(delivery, how.verb);
  return SettleAsync(internal::DeliveryAccess::ReceiptOf(delivery), how,
                     &delivery.message());
}

inline std::vector<driver::Settlement> Settler::Settlements(
    std::span<const Delivery> deliveries, const How& how,
    std::vector<absl::Status>& results) const {
  std::vector<driver::Settlement> batch;
  batch.reserve(deliveries.size());
  results.resize(deliveries.size());
  for (size_t i = 0; i < deliveries.size(); ++i) {
    results[i] = CheckOwner(deliveries[i]);
    if (results[i].ok()) {
      internal::DeliveryAccess::NoteSettlement(deliveries[i], how.verb);
    }
    batch.push_back({internal::DeliveryAccess::ReceiptOf(deliveries[i]),
                     how.verb, how.duration});
  }
  return batch;
}

inline std::vector<absl::Status> Settler::Settle(
    std::span<const Delivery> deliveries, const How& how) {
  std::vector<absl::Status> results;
  const auto batch = Settlements(deliveries, how, results);
  core_->Settle(batch, results, WatchedMessages(deliveries));
  return results;
}

inline std::vector<Future<void>> Settler::SettleAsync(
    std::span<const Delivery> deliveries, const How& how) {
  std::vector<absl::Status> known;
  const auto batch = Settlements(deliveries, how, known);
  return core_->SettleAsync(batch, known, WatchedMessages(deliveries));
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_SETTLER_H_
