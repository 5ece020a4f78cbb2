// SPDX-License-Identifier: Apache-2.0
//
// What a ProducerCore does with transactions: prepared messages, their outcome.

#ifndef OPENMESSAGING_INTERNAL_PRODUCER_TRANSACTIONS_H_
#define OPENMESSAGING_INTERNAL_PRODUCER_TRANSACTIONS_H_

#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/message_check.h"
#include "openmessaging/internal/producer_core.h"
#include "openmessaging/internal/watched_send.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline absl::Status ProducerCore::StartChecks(TimePoint deadline) {
  if (settings_.check == nullptr) return absl::OkStatus();
  auto* const source = driver::QueryInterface<driver::TransactionSource>(
      connection_->connection());
  if (source == nullptr) {
    return MakeStatus(Code::kUnsupported,
                      "start: the producer has a check listener, and the driver "
                      "does not support ",
                      Name(Capability::kTransactionCheck),
                      "; expected none (ProducerOptions::check)");
  }
  return checks_.Start(connection_, *source, settings_.group, settings_.check,
                       send_timeout_, deadline);
}

inline absl::StatusOr<PreparedSend> ProducerCore::Prepare(
    const Message& message) {
  if (!IsWatched()) return PreparePlain(message);
  WatchedSend watched(Watchers(), message);
  absl::StatusOr<PreparedSend> prepared =
      watched.status().ok() ? PreparePlain(watched.message())
                            : absl::StatusOr<PreparedSend>(watched.status());
  if (prepared.ok()) {
    SendResult stored;
    stored.message_id = prepared->message_id;
    stored.ignored = prepared->ignored;
    watched.End(stored);
  } else {
    watched.End(prepared.status());
  }
  return prepared;
}

inline absl::Status ProducerCore::CheckPrepare(const Message& message) const {
  const auto refuse = [&](std::string_view what) {
    return MakeStatus(Code::kBadParameter, "prepare for \"",
                      Printable(message.destination()), "\": ", what);
  };
  if (settings_.check == nullptr) {
    return refuse(
        "the producer has no check listener; expected one, so that somebody can "
        "be asked for the outcome (ProducerOptions::check)");
  }
  if (message.delay().count() > 0) {
    return refuse(
        "the message has a delay; expected none, as nobody knows when it will be "
        "committed");
  }
  if (!message.deduplication_id().empty()) {
    return refuse(
        "the message has a deduplication id; expected none, as it is delivered "
        "once by its transaction id");
  }
  return absl::OkStatus();
}

inline absl::StatusOr<PreparedSend> ProducerCore::PreparePlain(
    const Message& message) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = CheckPrepare(message); !status.ok()) return status;
  if (absl::Status status = Enter("prepare", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto plan = Check(message, deadline);
  if (!plan.ok()) return plan.status();
  const auto facts = connection_->FactsOf(message.destination(), deadline);
  if (!facts.ok()) return facts.status();
  auto* const source = driver::QueryInterface<driver::TransactionSource>(
      connection_->connection());
  if (source == nullptr ||
      !(*facts)->capabilities.Has(Capability::kTransactionCheck)) {
    return MakeStatus(Code::kUnsupported, "prepare for \"",
                      Printable(message.destination()),
                      "\": the queue does not support ",
                      Name(Capability::kTransactionCheck),
                      "; expected one that takes prepared messages");
  }
  const driver::PrepareOptions options{
      settings_.group, settings_.check_after, settings_.max_checks};
  const Message stored =
      plan->strip ? StripMessage(message, plan->ignored) : message;
  std::optional<Backoff> backoff;
  while (true) {
    auto prepared =
        source->Prepare(stored, options,
                        {.deadline = deadline,
                         .caller_waits = true,
                         .born_timestamp_ms = CoarseSystemMilliseconds()});
    if (prepared.ok()) {
      return PreparedSend{std::move(prepared->transaction_id),
                          std::move(prepared->message_id), plan->ignored};
    }
    if (!MaySendAgain(prepared.status())) return prepared.status();
    if (!backoff) backoff.emplace();
    absl::Status stop = WaitToRetry(prepared.status(), deadline, *backoff);
    if (!stop.ok()) return stop;
  }
}

inline absl::Status ProducerCore::Resolve(std::string_view transaction_id,
                                          TransactionState state) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (transaction_id.empty() || (state != TransactionState::kCommit &&
                                 state != TransactionState::kRollback)) {
    return MakeStatus(Code::kBadParameter, "resolve transaction \"",
                      Printable(transaction_id),
                      "\": expected the id of one, and a decision (commit or "
                      "rollback)");
  }
  if (absl::Status status = Enter("resolve", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  auto* const source = driver::QueryInterface<driver::TransactionSource>(
      connection_->connection());
  if (source == nullptr) {
    return MakeStatus(Code::kUnsupported, "resolve transaction \"",
                      Printable(transaction_id),
                      "\": the driver does not support ",
                      Name(Capability::kTransactionCheck),
                      "; expected one that takes prepared messages");
  }
  using Decision = driver::TransactionSource::Decision;
  return source->Resolve(transaction_id,
                         state == TransactionState::kCommit
                             ? Decision::kCommit
                             : Decision::kRollback,
                         deadline);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_PRODUCER_TRANSACTIONS_H_
