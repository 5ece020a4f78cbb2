// SPDX-License-Identifier: Apache-2.0
//
// Transactions makes sends and acknowledgements take effect together, with a
// transactional producer of Kafka's.

#ifndef OPENMESSAGING_KAFKA_TRANSACTIONS_H_
#define OPENMESSAGING_KAFKA_TRANSACTIONS_H_

#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster.h"
#include "native.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/mutex.h"
#include "sender.h"
#include "worker.h"

namespace openmessaging::kafka {

class Member;

// The members that receive on a connection, so that the one can be found that a
// receipt is of.
//
// Threads: every method from any thread.
class Members {
 public:
  void Add(const std::shared_ptr<Member>& member);
  std::vector<std::shared_ptr<Member>> All() const;

 private:
  mutable internal::Mutex mutex_;
  std::vector<std::weak_ptr<Member>> members_ ABSL_GUARDED_BY(mutex_);
};

// One transaction at a time: a producer of Kafka's has one. What is acknowledged
// is written as a commit of the group, image and all, so that one message in the
// middle can be.
//
// Threads: every method from any thread.
class Transactions final : public driver::LocalTransactions {
 public:
  Transactions(std::shared_ptr<Cluster> cluster, Members& members,
               Worker& worker)
      : cluster_(cluster),
        members_(members),
        senders_(cluster, Senders::Kind::kTransactional),
        producer_(std::move(cluster), senders_, worker) {}

  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements,
      const driver::CallContext& context) override;
  void Close();

 private:
  // What one member gives to a transaction.
  struct Share {
    std::shared_ptr<Member> member{};
    std::vector<driver::Settlement> settlements{};
    PartitionList offsets{};
  };

  // Finds whose the receipts are. Errors: 1603, 1604, 1605.
  absl::StatusOr<std::vector<Share>> Divide(
      std::span<const driver::Settlement> settlements, TimePoint deadline);
  absl::StatusOr<std::vector<SendResult>> Run(
      Sender& sender, std::span<const Message> sends,
      std::span<const Share> shares, const driver::CallContext& context)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Cluster> cluster_;
  Members& members_;
  Senders senders_;
  KafkaProducer producer_;

  internal::Mutex mutex_;
  // The sender that the broker knows already.
  std::weak_ptr<Sender> begun_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_TRANSACTIONS_H_
