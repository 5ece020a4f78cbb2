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
#include "openmessaging/queue_info.h"
#include "worker.h"

namespace openmessaging::kafka {

class Catalog;
class Transactions;

// What a member needs of its connection, which outlives it.
struct MemberServices {
  Catalog* catalog = nullptr;
  Transactions* transactions = nullptr;
  Worker* worker = nullptr;
};

// librdkafka gives a member two queues here. Its own has rebalances, errors and
// answers to commits; a thread, the keeper, serves it, so that a group moves on
// while nobody receives. What the assigned partitions fetch is forwarded to the
// other one, which Receive reads without a hop.
//
// A broadcast member is of no group: it takes every partition by itself and
// commits nothing.
//
// A message moves to the dead-letter queue in a transaction, on the connection's
// worker: it is stored there and acknowledged here, or neither.
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
      std::shared_ptr<Cluster> cluster, const MemberServices& services,
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events);
  Member(std::shared_ptr<Cluster> cluster, const MemberServices& services,
         const driver::ConsumerOptions& options,
         driver::ConsumerEvents& events)
      : cluster_(std::move(cluster)),
        services_(services),
        options_(options),
        events_(events) {}
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

  const std::string& group() const { return options_.group; }
  bool broadcast() const { return options_.broadcast; }

  // --- for transactions: from Begin to End no commit is under way ---
  // Returns: whether a source is, or was, of this member.
  bool Knows(uint64_t source);
  // Returns: what the group's state is with these acknowledged; nullptr: as it
  // is. Errors: 1603, 1604; 1605 one is settled already.
  absl::StatusOr<PartitionList> BeginTransaction(
      std::span<const driver::Settlement> acks, TimePoint deadline);
  rd_kafka_error_t* AddToTransaction(
      rd_kafka_t* producer, const rd_kafka_topic_partition_list_t& offsets,
      int timeout_ms);
  void EndTransaction(std::span<const driver::Settlement> acks,
                      bool committed);

  // --- for who moves and ends groups ---
  // Moves a partition. Returns: nothing where this member has not got it.
  std::optional<absl::Status> SeekTo(std::string_view queue, int32_t partition,
                                     int64_t offset, TimePoint deadline);
  // Returns: how many of a partition it has not settled, where it is of no group
  // and has the partition; `end` is that of the log.
  std::optional<int64_t> BroadcastLag(std::string_view queue, int32_t partition,
                                      int64_t end);
  // Leaves `queue`; Receive answers 1602 until it is unbound.
  void EndGroup(std::string_view queue, TimePoint deadline);

 private:
  using Place = std::pair<std::string, int32_t>;
  // Looks up what is a pair of a view and a number, too.
  struct PlaceLess {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      const int order = std::string_view(a.first).compare(b.first);
      return order != 0 ? order < 0 : a.second < b.second;
    }
  };
  using Places = std::map<Place, std::unique_ptr<Assigned>, PlaceLess>;

  struct Delivery {
    Message message{};
    Receipt receipt{};
  };

  // --- the group: the keeper's thread, or who closes ---
  static void OnRebalance(rd_kafka_t* rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t* list, void* opaque);
  static int OnStatistics(rd_kafka_t* rk, char* json, size_t size,
                          void* opaque);
  void Keep();
  void OnAssigned(rd_kafka_topic_partition_list_t* list);
  void OnRevoked(rd_kafka_topic_partition_list_t* list);
  // Returns: whether the group was left in time.
  bool Leave(TimePoint deadline);
  void End();
  void OnError(rd_kafka_resp_err_t error, std::string_view text);
  // Takes them in, each with a source of its own.
  void TakeOver(const rd_kafka_topic_partition_list_t* list);
  // Takes every partition of the bound queues, without a group.
  absl::Status AssignAll(std::string_view queue, int32_t partitions,
                         TimePoint deadline);
  void ForwardFetches(const rd_kafka_topic_partition_list_t* list);
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
  // How long what was settled waits for company before it is committed.
  static constexpr milliseconds kCommitAfter{20};

  // Returns: that the coordinator does not know this member, or no longer.
  static bool IsOut(rd_kafka_resp_err_t error);
  static void OnCommitted(rd_kafka_t* rk, rd_kafka_resp_err_t error,
                          rd_kafka_topic_partition_list_t* list, void* opaque);
  void CommitEnded(rd_kafka_resp_err_t error);
  // Returns: what is to be committed of all, or of `only`; nullptr: nothing is.
  PartitionList TakeDirty(bool untold,
                          const rd_kafka_topic_partition_list_t* only)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns: what is to be committed now; nullptr: nothing, or a commit is
  // under way. BeginCommit must follow.
  PartitionList TakeDueCommit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BeginCommit(const rd_kafka_topic_partition_list_t& list);
  void CommitSoon();
  rd_kafka_resp_err_t CommitNow(const rd_kafka_topic_partition_list_t& list,
                                TimePoint deadline);

  // --- receiving ---
  // Returns: what stops receiving, once.
  absl::Status NextError() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes from librdkafka what there is, into arrived_; waits for the first of
  // it, unless `wait_until` is TimePoint::min().
  void Fetch(size_t max, TimePoint wait_until);
  // Hands out what is due, was parked or has arrived.
  void TakeReady(size_t max, std::vector<Delivery>& out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeIn(Received received, std::vector<Delivery>& out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Admit(Assigned& partition, Received received,
             std::vector<Delivery>& out) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandOut(Assigned& partition, Assigned::Unsettled::iterator place,
               std::vector<Delivery>& out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets what arrived of a partition that goes, or that moves.
  void DropArrived(std::string_view queue, int32_t partition)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Resume(Assigned& partition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake() { rd_kafka_queue_yield(fetched_.get()); }

  // --- dead letters ---
  void Bury(Assigned& partition, int64_t offset, int32_t delivery,
            std::string_view reason, driver::SettleCompletion* done,
            size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BuryNow(const Message& dead, const driver::Settlement& ack,
               driver::SettleCompletion* done, size_t index);
  // Returns: whether it completes later.
  absl::StatusOr<bool> Reject(const driver::Settlement& settlement,
                              driver::SettleCompletion& done, size_t index)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // `wake`: set where Receive has more to hand out now.
  absl::Status SettleOne(const driver::Settlement& settlement, bool& wake)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status GiveBack(Assigned& partition, int64_t offset, int32_t delivery,
                        std::optional<milliseconds> delay)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after Make.
  const std::shared_ptr<Cluster> cluster_;
  const MemberServices services_;
  const driver::ConsumerOptions options_;
  driver::ConsumerEvents& events_;
  std::shared_ptr<Handle> handle_;
  OwnedQueue own_;      // Rebalances, errors, answers to commits.
  OwnedQueue fetched_;  // Messages.
  OwnedQueue ending_;   // What own_ had, while the member closes.
  std::thread keeper_;

  std::atomic<bool> stopping_{false};

  internal::Mutex mutex_;
  internal::Condition changed_;
  std::vector<std::string> queues_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, QueueOptions, std::less<>> queue_options_
      ABSL_GUARDED_BY(mutex_);
  // Of which somebody ended the group.
  std::set<std::string, std::less<>> ended_ ABSL_GUARDED_BY(mutex_);
  Places assigned_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Assigned*> by_source_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> lost_ ABSL_GUARDED_BY(mutex_);
  // When what was given back comes again: source and offset.
  std::multimap<TimePoint, std::pair<uint64_t, int64_t>> due_
      ABSL_GUARDED_BY(mutex_);
  uint64_t assignments_ ABSL_GUARDED_BY(mutex_) = 0;
  bool subscribed_ ABSL_GUARDED_BY(mutex_) = false;  // Ever.
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  // A Receive takes messages from librdkafka. Who takes a partition away, or
  // moves it, counts in moving_ and waits for the end of that: a message of the
  // time before must not pass for one of the time after.
  bool fetching_ ABSL_GUARDED_BY(mutex_) = false;
  int moving_ ABSL_GUARDED_BY(mutex_) = 0;
  // What was fetched and not looked at yet; [next_arrived_, end).
  std::vector<Received> arrived_ ABSL_GUARDED_BY(mutex_);
  size_t next_arrived_ ABSL_GUARDED_BY(mutex_) = 0;
  // Something that comes once only is about to be handed out.
  bool once_ ABSL_GUARDED_BY(mutex_) = false;
  // Dead letters on their way.
  size_t burying_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  bool committing_ ABSL_GUARDED_BY(mutex_) = false;
  bool transacting_ ABSL_GUARDED_BY(mutex_) = false;
  bool dirty_ ABSL_GUARDED_BY(mutex_) = false;
  Clock::time_point committed_at_ ABSL_GUARDED_BY(mutex_){};

  // Of the Receive in progress; they keep their room.
  std::vector<Delivery> handing_;
  std::vector<Received> fetched_now_;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_MEMBER_H_
