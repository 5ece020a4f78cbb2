// SPDX-License-Identifier: Apache-2.0
//
// Member is one consumer of a group: what is assigned to it, what is out, and
// what the group's coordinator is told of it.

#ifndef OPENMESSAGING_KAFKA_MEMBER_H_
#define OPENMESSAGING_KAFKA_MEMBER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "assigned.h"
#include "cluster.h"
#include "headers.h"
#include "native.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::kafka {

// librdkafka gives a member two queues here. Its own has rebalances, errors and
// answers to commits; a thread, the keeper, serves it, so that a group moves on
// while nobody receives. What the assigned partitions fetch is forwarded to the
// other one, which Receive reads without a hop.
//
// Commits: of each partition the low-water mark, and as its metadata what is
// settled above it. One commit is under way at a time; what is settled meanwhile
// goes with the next.
//
// Threads: as driver::Consumer says; the keeper runs the callbacks of librdkafka.
// Invariants:
//   (1) a partition is in assigned_ from before librdkafka fetches it until its
//       source was reported revoking or lost;
//   (2) ConsumerEvents are called without mutex_.
class Member : public std::enable_shared_from_this<Member> {
 public:
  static absl::StatusOr<std::shared_ptr<Member>> Make(
      std::shared_ptr<Cluster> cluster, const driver::ConsumerOptions& options,
      driver::ConsumerEvents& events);
  Member(std::shared_ptr<Cluster> cluster,
         const driver::ConsumerOptions& options,
         driver::ConsumerEvents& events)
      : cluster_(std::move(cluster)), options_(options), events_(events) {}
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  absl::Status Bind(std::string_view queue, TimePoint deadline);
  absl::Status Unbind(std::string_view queue, TimePoint deadline);
  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink);
  void Settle(std::span<const driver::Settlement> batch,
              driver::SettleCompletion& done);
  void Interrupt();
  absl::Status Close(TimePoint deadline);

 private:
  using Place = std::pair<std::string, int32_t>;

  struct Delivery {
    Message message{};
    Receipt receipt{};
  };

  // --- the group: the keeper's thread, or who closes ---
  static void OnRebalance(rd_kafka_t* rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t* list, void* opaque);
  void Keep();
  void OnAssigned(rd_kafka_topic_partition_list_t* list);
  void OnRevoked(rd_kafka_topic_partition_list_t* list);
  void OnError(rd_kafka_resp_err_t error, std::string_view text);
  // Finds where each partition of `list` begins. Returns: false where the member
  // ends meanwhile.
  bool FindPositions(rd_kafka_topic_partition_list_t* list);
  void Assign(const rd_kafka_topic_partition_list_t* list, bool add);
  // Takes them out. Returns: their sources.
  std::vector<uint64_t> Forget(const rd_kafka_topic_partition_list_t* list);
  std::vector<uint64_t> SourcesOf(const rd_kafka_topic_partition_list_t* list);
  void LoseAll();

  absl::Status Subscribe() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasPartitionOf(std::string_view queue) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- commits ---
  static void OnCommitted(rd_kafka_t* rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t* list, void* opaque);
  void CommitEnded(rd_kafka_resp_err_t error);
  // Returns: what is to be committed of all, or of `only`; nullptr: nothing is.
  PartitionList TakeDirty(bool untold,
                          const rd_kafka_topic_partition_list_t* only)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Begins a commit where one is due and none is under way.
  void CommitSoon();
  rd_kafka_resp_err_t CommitNow(const rd_kafka_topic_partition_list_t& list,
                                TimePoint deadline);

  // --- receiving ---
  // Takes a record in. Errors: what its partition says.
  absl::Status TakeIn(OwnedMessage record, std::vector<Delivery>& out);
  size_t TakeDue(size_t max, std::vector<Delivery>& out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandOut(Assigned& partition, int64_t offset, std::vector<Delivery>& out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Resume(Assigned& partition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Pause(Assigned& partition, bool pause);
  absl::Status Fetch(size_t max, TimePoint wait_until,
                     std::vector<Delivery>& out);
  bool TakeInterrupt();
  TimePoint NextDue(TimePoint deadline);
  void Wake() { rd_kafka_queue_yield(fetched_.get()); }

  absl::Status SettleOne(const driver::Settlement& settlement)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status GiveBack(Assigned& partition, int64_t offset, int32_t delivery,
                        std::optional<milliseconds> delay)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after Make.
  const std::shared_ptr<Cluster> cluster_;
  const driver::ConsumerOptions options_;
  driver::ConsumerEvents& events_;
  std::shared_ptr<Handle> handle_;
  OwnedQueue own_;      // Rebalances, errors, answers to commits.
  OwnedQueue fetched_;  // Messages.
  std::thread keeper_;

  std::atomic<bool> stopping_{false};

  internal::Mutex mutex_;
  internal::Condition changed_;
  std::vector<std::string> queues_ ABSL_GUARDED_BY(mutex_);
  std::map<Place, std::unique_ptr<Assigned>> assigned_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Assigned*> by_source_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> lost_ ABSL_GUARDED_BY(mutex_);
  // When what was given back comes again: source and offset.
  std::multimap<TimePoint, std::pair<uint64_t, int64_t>> due_
      ABSL_GUARDED_BY(mutex_);
  uint64_t assignments_ ABSL_GUARDED_BY(mutex_) = 0;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  bool committing_ ABSL_GUARDED_BY(mutex_) = false;
  bool dirty_ ABSL_GUARDED_BY(mutex_) = false;
  Clock::time_point committed_at_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_MEMBER_H_
