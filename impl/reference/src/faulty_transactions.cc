// SPDX-License-Identifier: Apache-2.0

#include "faulty_transactions.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "fault_errors.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/message_id.h"

namespace openmessaging::reference {
namespace {

// Apart from the numbers of producers and consumers.
constexpr uint64_t kTransactionClient = 0xffff'ffff;
constexpr uint64_t kFirstCheckClient = 0x8000'0000;

// What is done later than its caller waits gets so much time.
constexpr std::chrono::seconds kLateWork{10};

// Asks, unless the question is lost on its way.
class FaultyChecks final : public driver::CheckSource {
 public:
  FaultyChecks(std::unique_ptr<driver::CheckSource> inner,
               const FaultPlan& plan, uint64_t client)
      : inner_(std::move(inner)), dice_(plan, client) {}

  absl::StatusOr<std::optional<Message>> Take(
      driver::TimePoint deadline) override {
    const auto fault =
        dice_.Throw({Fault::kError, Fault::kDisconnect, Fault::kDrop});
    if (fault == Fault::kError) return FaultRefusal("take a check");
    auto taken = inner_->Take(deadline);
    if (!fault || !taken.ok() || !taken->has_value()) return taken;
    // It was counted, and nobody is asked this time.
    if (fault == Fault::kDisconnect) return FaultLoss("take a check", *fault);
    return std::optional<Message>();
  }
  void Interrupt() override { inner_->Interrupt(); }

 private:
  const std::unique_ptr<driver::CheckSource> inner_;
  FaultDice dice_;
};

}  // namespace

FaultyTransactions::FaultyTransactions(driver::TransactionSource& prepared,
                                       driver::LocalTransactions& local,
                                       driver::Admin& admin,
                                       const FaultPlan& plan)
    : prepared_(prepared),
      local_(local),
      admin_(admin),
      plan_(plan),
      dice_(plan, kTransactionClient) {}

template <typename Work>
auto FaultyTransactions::Perform(std::string_view operation,
                                 TimePoint deadline,
                                 std::optional<Fault> fault, const Work& work)
    -> decltype(work(deadline)) {
  if (fault == Fault::kError) return FaultRefusal(operation);
  const bool done = !fault || dice_.Half();
  bool late = false;
  if (plan_.delay.count() > 0) {
    const TimePoint due = std::chrono::steady_clock::now() + dice_.Delay();
    late = due > deadline;
    std::this_thread::sleep_until(std::min(due, deadline));
  }
  if (!done) return FaultLoss(operation, *fault);
  auto result =
      work(late ? std::chrono::steady_clock::now() + kLateWork : deadline);
  if (fault) return FaultLoss(operation, *fault);
  if (late) return FaultLoss(operation, "delay");
  return result;
}

absl::StatusOr<FaultyTransactions::Prepared> FaultyTransactions::Drop(
    const Message& message, TimePoint deadline) {
  const auto queue = admin_.DescribeQueue(message.destination(), deadline);
  if (!queue.ok()) return queue.status();
  Prepared prepared;
  prepared.transaction_id =
      internal::Concat("dropped-t-", dropped_.fetch_add(1) + 1);
  prepared.message_id = *MessageId::FromText(prepared.transaction_id);
  return prepared;
}

absl::StatusOr<FaultyTransactions::Prepared> FaultyTransactions::Prepare(
    const Message& message, const driver::PrepareOptions& options,
    const driver::CallContext& context) {
  const auto fault = dice_.Throw({Fault::kError, Fault::kUnknown,
                                  Fault::kDisconnect, Fault::kDrop});
  if (fault == Fault::kDrop) return Drop(message, context.deadline);
  return Perform("prepare", context.deadline, fault, [&](TimePoint deadline) {
    driver::CallContext inner = context;
    inner.deadline = deadline;
    return prepared_.Prepare(message, options, inner);
  });
}

absl::Status FaultyTransactions::Resolve(std::string_view transaction_id,
                                         Decision decision,
                                         TimePoint deadline) {
  const auto fault =
      dice_.Throw({Fault::kError, Fault::kUnknown, Fault::kDisconnect});
  return Perform(decision == Decision::kCommit ? "commit" : "roll back",
                 deadline, fault, [&](TimePoint until) {
                   return prepared_.Resolve(transaction_id, decision, until);
                 });
}

absl::StatusOr<std::unique_ptr<driver::CheckSource>>
FaultyTransactions::OpenChecks(std::string_view producer_group,
                               TimePoint deadline) {
  auto checks = prepared_.OpenChecks(producer_group, deadline);
  if (!checks.ok()) return checks.status();
  return std::make_unique<FaultyChecks>(
      *std::move(checks), plan_, kFirstCheckClient + checks_.fetch_add(1));
}

absl::StatusOr<std::vector<SendResult>> FaultyTransactions::CommitLocal(
    std::span<const Message> sends,
    std::span<const driver::Settlement> settlements,
    const driver::CallContext& context) {
  const auto fault =
      dice_.Throw({Fault::kError, Fault::kUnknown, Fault::kDisconnect});
  return Perform("commit transaction", context.deadline, fault,
                 [&](TimePoint deadline) {
                   driver::CallContext inner = context;
                   inner.deadline = deadline;
                   return local_.CommitLocal(sends, settlements, inner);
                 });
}

}  // namespace openmessaging::reference
