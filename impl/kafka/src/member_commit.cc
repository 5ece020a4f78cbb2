// SPDX-License-Identifier: Apache-2.0
//
// What a member tells the coordinator of its group.

#include <algorithm>
#include <cstring>

#include "errors.h"
#include "member.h"
#include "openmessaging/internal/deadline.h"

namespace openmessaging::kafka {
namespace {

// Waits for one commit, however long its answer takes to come.
struct CommitAnswer {
  std::atomic<bool> here{false};
  std::atomic<rd_kafka_resp_err_t> error{RD_KAFKA_RESP_ERR_NO_ERROR};

  static void Take(rd_kafka_t* /*rk*/, rd_kafka_resp_err_t error,
                   rd_kafka_topic_partition_list_t* /*list*/, void* opaque) {
    const std::unique_ptr<std::shared_ptr<CommitAnswer>> answer(
        static_cast<std::shared_ptr<CommitAnswer>*>(opaque));
    (*answer)->error = error;
    (*answer)->here = true;
  }
};

}  // namespace

bool Member::IsOut(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
         error == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ||
         error == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED;
}

PartitionList Member::TakeDirty(bool untold,
                                const rd_kafka_topic_partition_list_t* only) {
  PartitionList list;
  if (options_.broadcast) return list;
  for (auto& [place, partition] : assigned_) {
    // Who goes leaves nothing stopped.
    const bool stopped = !untold && partition->IsStopped();
    if (!partition->settled && !(untold && partition->delivered) &&
        partition->told_stopped == stopped) {
      continue;
    }
    if (only != nullptr &&
        rd_kafka_topic_partition_list_find(
            const_cast<rd_kafka_topic_partition_list_t*>(only),
            place.first.c_str(), place.second) == nullptr) {
      continue;
    }
    partition->settled = false;
    partition->delivered = false;
    partition->told_stopped = stopped;
    if (list == nullptr) list = NewPartitionList(assigned_.size());
    rd_kafka_topic_partition_t* const one = rd_kafka_topic_partition_list_add(
        list.get(), place.first.c_str(), place.second);
    one->offset = partition->tracker.low_water();
    SetMetadata(*one, MetadataOf(partition->tracker, stopped));
  }
  return list;
}

PartitionList Member::TakeDueCommit() {
  if (!dirty_ || committing_ || transacting_ || stopping_) return nullptr;
  const TimePoint now = internal::CoarseSteadyNow();
  if (now - committed_at_ < kCommitAfter) return nullptr;
  dirty_ = false;
  PartitionList list = TakeDirty(false, nullptr);
  if (list == nullptr) return nullptr;
  committing_ = true;
  committed_at_ = now;
  return list;
}

void Member::BeginCommit(const rd_kafka_topic_partition_list_t& list) {
  auto* const self = new std::shared_ptr<Member>(shared_from_this());
  const rd_kafka_resp_err_t error = rd_kafka_commit_queue(
      handle_->get(), &list, own_.get(), &Member::OnCommitted, self);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    delete self;
    CommitEnded(error);
  }
}

void Member::CommitSoon() {
  PartitionList list;
  {
    const internal::MutexLock lock(mutex_);
    list = TakeDueCommit();
  }
  if (list != nullptr) BeginCommit(*list);
}

void Member::OnCommitted(rd_kafka_t* /*rk*/, rd_kafka_resp_err_t error,
                         rd_kafka_topic_partition_list_t* list, void* opaque) {
  const std::unique_ptr<std::shared_ptr<Member>> self(
      static_cast<std::shared_ptr<Member>*>(opaque));
  for (int i = 0; list != nullptr && i < list->cnt; ++i) {
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = list->elems[i].err;
  }
  (*self)->CommitEnded(error);
}

void Member::CommitEnded(rd_kafka_resp_err_t error) {
  {
    const internal::MutexLock lock(mutex_);
    committing_ = false;
    changed_.NotifyAll();
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR &&
        error != RD_KAFKA_RESP_ERR__NO_OFFSET) {
      // Again with what comes next; of what is gone nothing is there to tell.
      dirty_ = true;
      for (auto& [place, partition] : assigned_) partition->settled = true;
    }
  }
  if (IsOut(error)) LoseAll();
}

rd_kafka_resp_err_t Member::CommitNow(
    const rd_kafka_topic_partition_list_t& list, TimePoint deadline) {
  const OwnedQueue answers(rd_kafka_queue_new(handle_->get()));
  const auto answer = std::make_shared<CommitAnswer>();
  auto* const opaque = new std::shared_ptr<CommitAnswer>(answer);
  const rd_kafka_resp_err_t error = rd_kafka_commit_queue(
      handle_->get(), &list, answers.get(), &CommitAnswer::Take, opaque);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    delete opaque;
    return error;
  }
  while (!answer->here) {
    if (Clock::now() >= deadline) return RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_queue_poll_callback(answers.get(),
                                 std::max(1, TimeoutMs(deadline)));
  }
  return answer->error;
}

}  // namespace openmessaging::kafka
