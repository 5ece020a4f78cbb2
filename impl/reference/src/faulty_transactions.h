// SPDX-License-Identifier: Apache-2.0
//
// Transactions of a connection with faults: what is prepared, decided, asked
// about and committed fails now and then, or is answered late or not at all.

#ifndef OPENMESSAGING_REFERENCE_FAULTY_TRANSACTIONS_H_
#define OPENMESSAGING_REFERENCE_FAULTY_TRANSACTIONS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fault_plan.h"
#include "openmessaging/driver/optional.h"

namespace openmessaging::reference {

// All of it is one client of the plan; those who are asked are one each.
//
// Threads: every method from any thread.
class FaultyTransactions final : public driver::TransactionSource,
                                 public driver::LocalTransactions {
 public:
  using TimePoint = driver::TimePoint;

  FaultyTransactions(driver::TransactionSource& prepared,
                     driver::LocalTransactions& local, driver::Admin& admin,
                     const FaultPlan& plan);

  absl::StatusOr<Prepared> Prepare(const Message& message,
                                   const driver::PrepareOptions& options,
                                   const driver::CallContext& context) override;
  absl::Status Resolve(std::string_view transaction_id, Decision decision,
                       TimePoint deadline) override;
  absl::StatusOr<std::unique_ptr<driver::CheckSource>> OpenChecks(
      std::string_view producer_group, TimePoint deadline) override;
  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements,
      const driver::CallContext& context) override;

 private:
  // Calls `work(deadline)` by the fate that the dice say, and returns what the
  // caller is to see of that.
  template <typename Work>
  auto Perform(std::string_view operation, TimePoint deadline,
               std::optional<Fault> fault, const Work& work)
      -> decltype(work(deadline));
  // Says that a message was prepared. What is wrong with it is told all the same.
  absl::StatusOr<Prepared> Drop(const Message& message, TimePoint deadline);

  driver::TransactionSource& prepared_;
  driver::LocalTransactions& local_;
  driver::Admin& admin_;
  const FaultPlan plan_;
  FaultDice dice_;
  std::atomic<uint64_t> dropped_{0};
  std::atomic<uint64_t> checks_{0};
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FAULTY_TRANSACTIONS_H_
