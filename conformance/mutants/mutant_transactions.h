// SPDX-License-Identifier: Apache-2.0
//
// Prepared messages and local transactions, as a mutant has them.

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_TRANSACTIONS_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_TRANSACTIONS_H_

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mutants.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"

namespace openmessaging::conformance {

class MutantTransactions final : public driver::TransactionSource,
                                 public driver::LocalTransactions {
 public:
  // `inner` has both and outlives this. `number` is the connection's own.
  MutantTransactions(driver::Connection& inner, Mutant mutant, int number)
      : connection_(inner),
        prepared_(*driver::QueryInterface<driver::TransactionSource>(inner)),
        local_(*driver::QueryInterface<driver::LocalTransactions>(inner)),
        mutant_(mutant),
        number_(number) {}

  // Returns: as Connection::Query; nullptr for what is not among them.
  void* Query(std::string_view name);

  // driver::TransactionSource
  absl::StatusOr<Prepared> Prepare(const Message& message,
                                   const driver::PrepareOptions& options,
                                   const driver::CallContext& context) override;
  absl::Status Resolve(std::string_view transaction_id, Decision decision,
                       driver::TimePoint deadline) override;
  absl::StatusOr<std::unique_ptr<driver::CheckSource>> OpenChecks(
      std::string_view producer_group, driver::TimePoint deadline) override;

  // driver::LocalTransactions
  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements,
      const driver::CallContext& context) override;

 private:
  // Sends past the transaction.
  std::vector<SendResult> SendApart(std::span<const Message> messages,
                                    driver::TimePoint deadline);
  // The group that a fault makes of one.
  std::string GroupOf(std::string_view group) const;

  driver::Connection& connection_;
  driver::TransactionSource& prepared_;
  driver::LocalTransactions& local_;
  const Mutant mutant_;
  const int number_;
  std::mutex mutex_;
  std::map<std::string, Message, std::less<>> messages_;
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_TRANSACTIONS_H_
