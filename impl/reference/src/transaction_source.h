// SPDX-License-Identifier: Apache-2.0
//
// The reference driver's prepared messages, for the portable layer.

#ifndef OPENMESSAGING_REFERENCE_TRANSACTION_SOURCE_H_
#define OPENMESSAGING_REFERENCE_TRANSACTION_SOURCE_H_

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/optional.h"
#include "producer.h"
#include "store.h"

namespace openmessaging::reference {

// Threads: every method may be called from any thread at any time.
class ReferenceTransactionSource final : public driver::TransactionSource {
 public:
  ReferenceTransactionSource(std::shared_ptr<Store> store, bool auto_create)
      : store_(store), producer_(std::move(store), auto_create) {}

  absl::StatusOr<Prepared> Prepare(
      const Message& message, const driver::PrepareOptions& options,
      const driver::CallContext& context) noexcept override;
  absl::Status Resolve(std::string_view transaction_id, Decision decision,
                       TimePoint deadline) noexcept override;
  absl::StatusOr<std::unique_ptr<driver::CheckSource>> OpenChecks(
      std::string_view producer_group, TimePoint deadline) noexcept override;

 private:
  const std::shared_ptr<Store> store_;
  ReferenceProducer producer_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_TRANSACTION_SOURCE_H_
