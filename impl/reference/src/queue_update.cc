// SPDX-License-Identifier: Apache-2.0
//
// What a queue may be, and changing one that there is.

#include <algorithm>
#include <string>
#include <vector>

#include "catalog.h"
#include "catalog_locked.h"
#include "deduplication_table.h"
#include "delivery_word.h"
#include "openmessaging/internal/queue_check.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

// More could not be counted.
constexpr int32_t kMaxDeliveries = DeliveryWord::kMaxAttempts - 1;

const QueueRecord* Find(const std::vector<QueueRecord>& queues,
                        std::string_view name) {
  const auto found =
      std::find_if(queues.begin(), queues.end(),
                   [&](const QueueRecord& queue) { return queue.name == name; });
  return found == queues.end() ? nullptr : &*found;
}

template <typename... What>
absl::Status RefuseUpdate(Code code, std::string_view name,
                          const What&... what) {
  return MakeStatus(code, "update queue \"", name, "\": ", what...);
}

// What stands for a queue's life, since messages lie by it.
absl::Status CheckUnchanged(std::string_view name, const QueueOptions& before,
                            const QueueOptions& after) {
  if (before.partitions != after.partitions) {
    return RefuseUpdate(Code::kBadParameter, name, "it has ", before.partitions,
                        " partitions for good; expected no other number");
  }
  if (before.priorities != after.priorities) {
    return RefuseUpdate(Code::kBadParameter, name, "it was created ",
                        before.priorities ? "with" : "without",
                        " priorities; expected no change of that");
  }
  return absl::OkStatus();
}

// A new queue cannot begin a ring, but a queue that others name can.
absl::Status CheckDeadLetters(const std::vector<QueueRecord>& queues,
                              std::string_view name,
                              std::string_view dead_letters) {
  std::string_view next = dead_letters;
  for (size_t steps = 0; !next.empty() && steps <= queues.size(); ++steps) {
    const QueueRecord* const queue = Find(queues, next);
    if (queue == nullptr) {
      return RefuseUpdate(Code::kQueueNotFound, name, "there is no queue \"",
                          next, "\"; create the dead-letter queue first");
    }
    next = queue->options.dead_letter_queue;
    if (next == name) {
      return RefuseUpdate(
          Code::kBadParameter, name, "its dead_letter_queue is \"",
          dead_letters,
          "\", whose dead letters come back to it; expected one "
          "whose do not");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Catalog::CheckLimits(std::string_view operation,
                                  std::string_view name,
                                  const QueueOptions& options) {
  if (options.max_deliveries > kMaxDeliveries) {
    return MakeStatus(Code::kBadParameter, operation, " queue \"", name,
                      "\": max_deliveries is ", options.max_deliveries,
                      "; expected at most ", kMaxDeliveries);
  }
  if (options.deduplication_window.count() > kMaxDeduplicationMs) {
    return MakeStatus(Code::kBadParameter, operation, " queue \"", name,
                      "\": deduplication_window is ",
                      options.deduplication_window.count(),
                      " ms; expected at most ", kMaxDeduplicationMs);
  }
  if (options.filter.empty()) return absl::OkStatus();
  return kit::Filter::Compile(options.filter).status();
}

absl::Status Catalog::ShareOptions(const Queue& queue, uint64_t position,
                                   TimePoint deadline) {
  QueueState& state = *queue.state;
  const int64_t retention_ms = queue.options.retention.count();
  const int64_t window_ms = queue.options.deduplication_window.count();
  const auto deliveries = static_cast<uint32_t>(queue.options.max_deliveries);
  if (state.retention_ms.Load() == retention_ms &&
      state.deduplication_ms.Load() == window_ms &&
      state.max_deliveries.Load() == deliveries) {
    return absl::OkStatus();
  }
  // Under the lock of those who change it, lest an older record be the last.
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  if (queue.entry->record.Load() == position) {
    state.retention_ms.Store(retention_ms);
    state.deduplication_ms.Store(window_ms);
    state.max_deliveries.Store(deliveries);
    if (deliveries != 0) {
      control_->header().catalog.counts_deliveries.Store(1);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Catalog::CountsDeliveries(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  // Nobody may have read the record of a new queue yet.
  if (auto s = Refresh(deadline); !s.ok()) return s;
  return control_->header().catalog.counts_deliveries.Load() != 0;
}

absl::Status Catalog::UpdateQueue(std::string_view name,
                                  const QueueUpdate& update,
                                  TimePoint deadline) {
  const auto queue = FindQueue(name, deadline);
  if (!queue.ok()) return queue.status();
  {
    const Locked locked(*this, deadline);
    if (!locked.status().ok()) return locked.status();
    const auto queues = LiveQueues();
    if (!queues.ok()) return queues.status();
    const QueueRecord* const before = Find(*queues, name);
    if (before == nullptr || !(*queue)->live()) {
      return RefuseUpdate(Code::kQueueNotFound, name,
                          "it was deleted meanwhile");
    }
    const QueueOptions options = Updated(before->options, update);
    if (auto s = CheckUnchanged(name, before->options, options); !s.ok()) {
      return s;
    }
    if (auto s = internal::CheckQueueOptions("update", name, options);
        !s.ok()) {
      return s;
    }
    if (auto s = CheckLimits("update", name, options); !s.ok()) return s;
    if (auto s = CheckDeadLetters(*queues, name, options.dead_letter_queue);
        !s.ok()) {
      return s;
    }
    const QueueRecord after{std::string(name), options,
                            NextOffsets(*(*queue)->state)};
    if (auto s = AppendRecord(RecordType::kQueue, (*queue)->id, 0, 0,
                              EncodeQueueRecord(after), deadline);
        !s.ok()) {
      return s;
    }
  }
  // Lets the others know what they do not read records for.
  return FindQueue(name, deadline).status();
}

}  // namespace openmessaging::reference
