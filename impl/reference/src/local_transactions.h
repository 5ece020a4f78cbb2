// SPDX-License-Identifier: Apache-2.0
//
// The reference driver's local transactions: one unit of the log.

#ifndef OPENMESSAGING_REFERENCE_LOCAL_TRANSACTIONS_H_
#define OPENMESSAGING_REFERENCE_LOCAL_TRANSACTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/mutex.h"
#include "producer.h"
#include "receipt_token.h"
#include "store.h"

namespace openmessaging::reference {

// Threads: every method may be called from any thread at any time.
class ReferenceLocalTransactions final : public driver::LocalTransactions {
 public:
  // `ack_sync`: what is acknowledged alone returns when it is durable, too.
  ReferenceLocalTransactions(std::shared_ptr<Store> store, bool auto_create,
                        bool ack_sync)
      : store_(std::move(store)),
        ack_sync_(ack_sync),
        receipts_(store_->uuid()),
        producer_(store_, auto_create) {}

  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements,
      const driver::CallContext& context) noexcept override;

 private:
  // What is settled in one partition for one group.
  class Part;
  class Unit;

  // Errors: 1603 there is no such group.
  absl::StatusOr<std::shared_ptr<const Group>> GroupOf(uint32_t id,
                                                       TimePoint deadline);
  absl::Status AddParts(std::span<const driver::Settlement> settlements,
                        TimePoint deadline, Unit& unit);

  const std::shared_ptr<Store> store_;
  const bool ack_sync_;
  const ReceiptCodec receipts_;
  ReferenceProducer producer_;

  internal::Mutex mutex_;
  absl::flat_hash_map<uint32_t, std::shared_ptr<const Group>> groups_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_LOCAL_TRANSACTIONS_H_
