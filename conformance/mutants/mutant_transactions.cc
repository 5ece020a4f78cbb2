// SPDX-License-Identifier: Apache-2.0

#include "mutant_transactions.h"

#include <chrono>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "mutant_resources.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace mutant_transactions {
namespace {

constexpr std::string_view kOwnPrefix = "own-";

// Checks that do not come, or come once.
class MutantChecks final : public driver::CheckSource {
 public:
  MutantChecks(std::unique_ptr<driver::CheckSource> inner, Mutant mutant)
      : inner_(std::move(inner)), mutant_(mutant) {}

  absl::StatusOr<std::optional<Message>> Take(
      driver::TimePoint deadline) override {
    auto taken = inner_->Take(deadline);
    if (!taken.ok() || !taken->has_value()) return taken;
    const bool again = !seen_.insert(std::string((*taken)->body())).second;
    if (mutant_ == Mutant::kNeverChecks ||
        (mutant_ == Mutant::kChecksOnce && again)) {
      return std::optional<Message>();
    }
    return taken;
  }
  void Interrupt() override { inner_->Interrupt(); }

 private:
  const std::unique_ptr<driver::CheckSource> inner_;
  const Mutant mutant_;
  std::set<std::string, std::less<>> seen_;
};

struct OneSent final : driver::SendCompletion {
  void Sent(size_t, const SendResult& result) override { sent = result; }
  void Failed(size_t, absl::Status) override {}
  SendResult sent;
};

}  // namespace
}  // namespace mutant_transactions

using mutant_transactions::kOwnPrefix;
using mutant_transactions::MutantChecks;
using mutant_transactions::OneSent;

void* MutantTransactions::Query(std::string_view name) {
  if (name == driver::TransactionSource::kInterface) {
    return static_cast<driver::TransactionSource*>(this);
  }
  if (name == driver::LocalTransactions::kInterface) {
    return static_cast<driver::LocalTransactions*>(this);
  }
  return nullptr;
}

std::string MutantTransactions::GroupOf(std::string_view group) const {
  if (mutant_ != Mutant::kChecksOwnOnly) return std::string(group);
  return internal::Concat(group, '-', number_);
}

absl::StatusOr<driver::TransactionSource::Prepared> MutantTransactions::Prepare(
    const Message& message, const driver::PrepareOptions& options,
    const driver::CallContext& context) {
  const std::string group = GroupOf(options.group);
  driver::PrepareOptions changed = options;
  changed.group = group;
  if (mutant_ == Mutant::kChecksForEver) changed.max_checks = 1000;
  if (mutant_ == Mutant::kDeliversPrepared) {
    (void)SendApart({&message, 1}, context.deadline);
  }
  if (mutant_ == Mutant::kRoutesPrepared) {
    const auto producer = connection_.CreateProducer({}, context.deadline);
    if (producer.ok()) {
      CopyByRoutes(connection_, **producer, message, context.deadline);
      (void)(*producer)->Close(context.deadline);
    }
  }
  auto prepared = prepared_.Prepare(message, changed, context);
  if (!prepared.ok()) return prepared;
  if (mutant_ == Mutant::kCommitsTwice) {
    const std::lock_guard<std::mutex> lock(mutex_);
    messages_.insert_or_assign(prepared->transaction_id, message);
  }
  if (mutant_ == Mutant::kOtherTransactionId) {
    prepared->transaction_id.insert(0, kOwnPrefix);
  }
  return prepared;
}

absl::Status MutantTransactions::Resolve(std::string_view transaction_id,
                                         Decision decision,
                                         driver::TimePoint deadline) {
  if (transaction_id.starts_with(kOwnPrefix)) {
    transaction_id.remove_prefix(kOwnPrefix.size());
  }
  if (mutant_ == Mutant::kRollbackCommits) decision = Decision::kCommit;
  absl::Status status = prepared_.Resolve(transaction_id, decision, deadline);
  if (mutant_ == Mutant::kLastDecisionWins &&
      OmsCode(status) == Code::kTransactionConflict) {
    return absl::OkStatus();
  }
  if (mutant_ == Mutant::kCommitsTwice && status.ok() &&
      decision == Decision::kCommit) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = messages_.find(transaction_id);
    if (found != messages_.end()) {
      (void)SendApart({&found->second, 1}, deadline);
    }
  }
  return status;
}

absl::StatusOr<std::unique_ptr<driver::CheckSource>>
MutantTransactions::OpenChecks(std::string_view producer_group,
                               driver::TimePoint deadline) {
  auto checks = prepared_.OpenChecks(GroupOf(producer_group), deadline);
  if (!checks.ok()) return checks;
  return std::make_unique<MutantChecks>(*std::move(checks), mutant_);
}

absl::StatusOr<std::vector<SendResult>> MutantTransactions::CommitLocal(
    std::span<const Message> sends,
    std::span<const driver::Settlement> settlements,
    const driver::CallContext& context) {
  if (mutant_ == Mutant::kHalfTransaction) {
    // One after another, as a driver without transactions would.
    std::vector<SendResult> sent = SendApart(sends, context.deadline);
    if (settlements.empty()) return sent;
    const auto settled = local_.CommitLocal({}, settlements, context);
    if (!settled.ok()) return settled;
    return sent;
  }
  if (mutant_ == Mutant::kTransactionForgetsAcks && !sends.empty()) {
    return local_.CommitLocal(sends, {}, context);
  }
  auto results = local_.CommitLocal(sends, settlements, context);
  const Code code = OmsCode(results.status());
  if (mutant_ == Mutant::kTransactionIgnoresStale && !sends.empty() &&
      (code == Code::kReceiptExpired || code == Code::kTransactionConflict)) {
    return local_.CommitLocal(sends, {}, context);
  }
  return results;
}

std::vector<SendResult> MutantTransactions::SendApart(
    std::span<const Message> messages, driver::TimePoint deadline) {
  std::vector<SendResult> results;
  const auto producer = connection_.CreateProducer({}, deadline);
  if (!producer.ok()) return results;
  for (const Message& message : messages) {
    OneSent one;
    (*producer)->Send({&message, 1},
                      {.deadline = deadline, .caller_waits = true}, one);
    results.push_back(one.sent);
  }
  (void)(*producer)->Close(deadline);
  return results;
}

}  // namespace openmessaging::conformance
