// SPDX-License-Identifier: Apache-2.0
//
// PartitionLog writes down what one group of a queue did not manage in one
// partition: counts of deliveries, and moves to the dead-letter queue.

#ifndef OPENMESSAGING_REFERENCE_PARTITION_LOG_H_
#define OPENMESSAGING_REFERENCE_PARTITION_LOG_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "delivery_terms.h"
#include "message_reader.h"
#include "redelivery.h"
#include "store.h"

namespace openmessaging::reference {

// Threads: under the cursor's lock, but for set_terms.
class PartitionLog final : public RedeliveryLog {
 public:
  // `terms`: nullptr where nothing is to be moved.
  PartitionLog(Store* store, std::shared_ptr<const Group> group,
               uint32_t partition, const DeliveryTerms* terms = nullptr);

  // From any thread.
  void set_terms(const DeliveryTerms* terms) {
    terms_.store(terms, std::memory_order_release);
  }

  absl::Status EnsureExceptions(TimePoint deadline) override;
  absl::Status LogCursor(TimePoint deadline) override;
  absl::Status LogAttempts(uint64_t floor, std::span<const Attempt> attempts,
                           TimePoint deadline) override;
  bool IsExpired(uint64_t offset, uint64_t position) override;
  absl::Status MoveDead(const DeadLetter& letter, TimePoint deadline) override;
  absl::StatusOr<uint64_t> LogSeek(uint64_t offset, uint64_t number,
                                   TimePoint deadline) override;
  absl::Status FinishDead(TimePoint deadline) override;

 private:
  absl::StatusOr<Message> ReadSource(const DeadLetter& letter) const;
  struct SharedBody {
    LargeBody body{};
    bool pending = false;
  };
  // Returns: nothing where the message has its body in its record.
  absl::StatusOr<std::optional<SharedBody>> SharedBodyOf(
      const DeadLetter& letter) const;
  // Returns: the fields of the message in its new place: what tells of its
  // life is kept, what asked for its old place is not.
  std::string FieldsOf(const Message& message, const DeadLetter& letter) const;
  KeyValue PropertiesOf(const Message& message, const DeadLetter& letter) const;

  Store* const store_;
  const std::shared_ptr<const Group> group_;
  const uint32_t queue_partition_;
  std::atomic<const DeliveryTerms*> terms_;
  Cursor* const cursor_;
  std::string buffer_;  // Kept for its room.
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_PARTITION_LOG_H_
