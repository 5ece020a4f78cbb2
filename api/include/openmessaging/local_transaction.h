// SPDX-License-Identifier: Apache-2.0
//
// LocalTransaction gathers messages to send and deliveries to acknowledge that
// take effect together: what a program received, and what follows from it.
// Producer::Transact makes one; docs/design/local-transactions.md says why.

#ifndef OPENMESSAGING_LOCAL_TRANSACTION_H_
#define OPENMESSAGING_LOCAL_TRANSACTION_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/delivery.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/client_settings.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/consumer_watch.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/message_check.h"
#include "openmessaging/internal/producer_core.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/internal/watched_send.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

class Producer;

struct TransactionOptions {
  // How long it may be open; a millisecond at least. Keep it below the lease of
  // what is acknowledged, which it does not renew.
  std::chrono::milliseconds timeout{30000};
};

// What one call of Producer::Transact sends and acknowledges. Nothing of it
// happens before the commit. A call that is refused dooms the transaction: its
// commit answers the same, whatever the function returns.
//
// Threads: one at a time.
// Lifetime: ends with the function that it was given to.
class LocalTransaction {
 public:
  LocalTransaction(const LocalTransaction&) = delete;
  LocalTransaction& operator=(const LocalTransaction&) = delete;

  // Sends `message` with the transaction. It is not copied, but changes made to
  // it later do not count. Each message is stored at the highest durability that
  // one of the transaction asks for.
  //
  // Blocks: only where the queue was not used before: up to send_timeout.
  // Errors: those of Producer::Send() that the broker need not be asked for;
  //   kUnimplemented      1600: the queue has no local transactions (tx-local)
  //   kDeadlineExceeded   1410: past the timeout; nothing was or will be done
  // Implements: OMS-TX-009, 010.
  [[nodiscard]] absl::Status Send(const Message& message) {
    return Note(TrySend(message));
  }

  // Acknowledges `delivery` with the transaction, whichever consumer of the same
  // access point received it, listening or pulling. Until then it stays leased.
  // Again: nothing happens, and it is OK.
  //
  // Errors: those of Delivery::Ack() that the broker need not be asked for;
  //   kUnimplemented      1600, kDeadlineExceeded 1410: as above
  //   kInvalidArgument    1418: a delivery of another access point
  // Implements: OMS-TX-009, 010.
  [[nodiscard]] absl::Status Ack(const Delivery& delivery) {
    return Note(TryAck(delivery));
  }
  // As above, of a delivery that is known by its receipt alone, also from
  // another process where the queue has the capability shared-receipt.
  [[nodiscard]] absl::Status Ack(const Receipt& receipt) {
    return Note(TryAck(receipt));
  }

 private:
  friend class Producer;
  using Results = absl::StatusOr<std::vector<SendResult>>;

  struct Sent {
    std::optional<internal::WatchedSend> watched{};
    CapabilitySet ignored{};
  };
  // Acknowledged; empty where only the receipt is known.
  struct Acked {
    Delivery delivery{};
    Receipt receipt{};
  };

  LocalTransaction(std::shared_ptr<internal::ProducerCore> core,
                   const TransactionOptions& options)
      : core_(std::move(core)),
        timeout_(options.timeout),
        deadline_(internal::DeadlineAfter(options.timeout)) {}

  // Lets `work` fill it, and commits.
  template <typename Work>
  Results Run(Work&& work);
  absl::Status Begin() const;
  Results Commit();
  // Tells those who watch.
  void End(const Results& results);

  absl::Status TrySend(const Message& message);
  absl::Status TryAck(const Delivery& delivery);
  absl::Status TryAck(const Receipt& receipt);
  absl::Status Note(absl::Status status) {
    if (!status.ok() && doom_.ok()) doom_ = status;
    return status;
  }
  absl::Status CheckTime() const;

  const std::shared_ptr<internal::ProducerCore> core_;
  const std::chrono::milliseconds timeout_;
  const internal::TimePoint deadline_;
  // The first refusal.
  absl::Status doom_;
  // What the driver gets, and what is known of each.
  std::vector<Message> messages_;
  std::vector<Sent> sent_;
  std::vector<driver::Settlement> settlements_;
  std::vector<Acked> acked_;
};

inline absl::Status LocalTransaction::CheckTime() const {
  if (!internal::HasPassed(deadline_)) return absl::OkStatus();
  StatusDetail detail = DefaultDetail(Code::kTimeout);
  detail.retriable = false;
  detail.outcome = Outcome::kNotStored;
  return WithDetail(
      MakeStatus(Code::kTimeout, "transact: the transaction was open for more "
                 "than ", timeout_.count(),
                 " ms, nothing was done; expected a function that ends in time "
                 "(TransactionOptions::timeout, OMS-TX-010)"),
      detail);
}

inline absl::Status LocalTransaction::TrySend(const Message& message) {
  if (absl::Status status = CheckTime(); !status.ok()) return status;
  Sent sent;
  const Message* checked = &message;
  if (core_->IsWatched()) {
    sent.watched.emplace(core_->Watch(message));
    checked = &sent.watched->message();
    if (absl::Status status = sent.watched->status(); !status.ok()) {
      sent.watched->End(status);
      return status;
    }
  }
  auto transacted = core_->CheckTransacted(*checked, sent.ignored);
  if (!transacted.ok()) {
    if (sent.watched) sent.watched->End(transacted.status());
    return transacted.status();
  }
  messages_.push_back(*std::move(transacted));
  sent_.push_back(std::move(sent));
  return absl::OkStatus();
}

inline absl::Status LocalTransaction::TryAck(const Delivery& delivery) {
  if (absl::Status status = CheckTime(); !status.ok()) return status;
  const auto& consumer = internal::DeliveryAccess::CoreOf(delivery);
  if (!consumer) return TryAck(Receipt());
  const std::string_view queue = delivery.message().destination();
  if (!consumer->QueueHas(queue, Capability::kTransactionLocal)) {
    return internal::NoLocalTransactions(queue);
  }
  const auto receipt = consumer->CheckTransacted(
      internal::DeliveryAccess::ReceiptOf(delivery), core_->connection());
  if (!receipt.ok()) return receipt.status();
  settlements_.push_back({*receipt, driver::Verb::kAck});
  acked_.push_back({delivery, *receipt});
  return absl::OkStatus();
}

inline absl::Status LocalTransaction::TryAck(const Receipt& receipt) {
  if (absl::Status status = CheckTime(); !status.ok()) return status;
  if (receipt.empty()) {
    return MakeStatus(Code::kReceiptInvalid,
                      "acknowledge in a transaction: the receipt is empty; "
                      "expected the receipt of a delivery (OMS-CONS-009)");
  }
  settlements_.push_back({receipt, driver::Verb::kAck});
  acked_.push_back({{}, receipt});
  return absl::OkStatus();
}

template <typename Work>
LocalTransaction::Results LocalTransaction::Run(Work&& work) {
  if (absl::Status status = Begin(); !status.ok()) return status;
  absl::Status status;
  if (!internal::RunUserCode(
          [&] { status = std::forward<Work>(work)(*this); })) {
    status = MakeStatus(Code::kCancelled,
                        "transact: the function threw, nothing was done; "
                        "expected one that returns a status (OMS-TX-009)");
  }
  Results results = status.ok() ? Commit() : Results(std::move(status));
  End(results);
  return results;
}

inline absl::Status LocalTransaction::Begin() const {
  absl::Status status =
      internal::CheckTimeout("transact", "timeout", timeout_, 1);
  if (!status.ok()) return status;
  return core_->CheckTransactions();
}

inline LocalTransaction::Results LocalTransaction::Commit() {
  if (!doom_.ok()) return doom_;
  if (absl::Status status = CheckTime(); !status.ok()) return status;
  if (messages_.empty() && settlements_.empty()) {
    return std::vector<SendResult>();
  }
  // Sources may have been revoked, and receipts replaced, in the meantime.
  for (size_t i = 0; i < acked_.size(); ++i) {
    const auto& consumer =
        internal::DeliveryAccess::CoreOf(acked_[i].delivery);
    if (!consumer) continue;
    const auto receipt =
        consumer->CheckTransacted(acked_[i].receipt, core_->connection());
    if (!receipt.ok()) return receipt.status();
    settlements_[i].receipt = *receipt;
  }
  auto results = core_->CommitLocal(messages_, settlements_);
  if (!results.ok()) return results;
  for (size_t i = 0; i < results->size(); ++i) {
    (*results)[i].ignored = sent_[i].ignored;
  }
  return results;
}

inline void LocalTransaction::End(const Results& results) {
  for (size_t i = 0; i < sent_.size(); ++i) {
    if (!sent_[i].watched) continue;
    sent_[i].watched->End(
        results.ok() ? absl::StatusOr<SendResult>((*results)[i])
                     : absl::StatusOr<SendResult>(results.status()));
  }
  if (!results.ok()) return;
  for (size_t i = 0; i < acked_.size(); ++i) {
    const Delivery& delivery = acked_[i].delivery;
    const auto& consumer = internal::DeliveryAccess::CoreOf(delivery);
    if (!consumer) continue;
    internal::DeliveryAccess::NoteSettlement(delivery, driver::Verb::kAck);
    if (!consumer->watch().any()) continue;
    internal::WatchedSettle(consumer->watch().watchers(), settlements_[i],
                            &delivery.message())
        .End(absl::OkStatus());
  }
}

namespace internal {

inline absl::Status ProducerCore::CheckTransactions() {
  if (driver::QueryInterface<driver::LocalTransactions>(
          connection_->connection()) == nullptr) {
    return MakeStatus(Code::kUnsupported,
                      "transact: the broker has no local transactions; "
                      "expected one with the capability ",
                      Name(Capability::kTransactionLocal));
  }
  absl::Status status = Enter("transact", DeadlineAfter(start_timeout()));
  if (status.ok()) Leave();
  return status;
}

inline absl::StatusOr<Message> ProducerCore::CheckTransacted(
    const Message& message, CapabilitySet& ignored) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("send", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto plan = Check(message, deadline);
  if (!plan.ok()) return plan.status();
  const auto facts = connection_->FactsOf(message.destination(), deadline);
  if (!facts.ok()) return facts.status();
  if (!(*facts)->capabilities.Has(Capability::kTransactionLocal)) {
    return NoLocalTransactions(message.destination());
  }
  ignored = plan->ignored;
  return plan->strip ? StripMessage(message, plan->ignored) : message;
}

inline absl::StatusOr<std::vector<SendResult>> ProducerCore::CommitLocal(
    std::span<const Message> sends,
    std::span<const driver::Settlement> settlements) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("commit", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  auto* const transactions =
      driver::QueryInterface<driver::LocalTransactions>(
          connection_->connection());
  std::optional<Backoff> backoff;
  while (true) {
    auto results = transactions->CommitLocal(
        sends, settlements,
        {.deadline = deadline,
         .caller_waits = true,
         .born_timestamp_ms = CoarseSystemMilliseconds()});
    if (results.ok() || !MaySendAgain(results.status())) return results;
    if (!backoff) backoff.emplace();
    absl::Status stop = WaitToRetry(results.status(), deadline, *backoff);
    if (!stop.ok()) return stop;
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_LOCAL_TRANSACTION_H_
