// SPDX-License-Identifier: Apache-2.0
//
// How full the queues of a store are, and how far their groups.

#ifndef OPENMESSAGING_REFERENCE_QUEUE_STATS_H_
#define OPENMESSAGING_REFERENCE_QUEUE_STATS_H_

#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/queue_stats.h"
#include "store.h"

namespace openmessaging::reference {

// Reads what the living share, without a lock: nobody who sends, receives or
// settles is held up, and what they did before the call is counted. What they
// do meanwhile may be counted or not.
//
// Threads: every method may be called from any thread at any time.
class ReferenceStatsSource final : public driver::StatsSource {
 public:
  explicit ReferenceStatsSource(std::shared_ptr<Store> store)
      : store_(std::move(store)) {}

  absl::StatusOr<QueueStats> StatsOf(std::string_view queue,
                                     TimePoint deadline) noexcept override;

 private:
  const std::shared_ptr<Store> store_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_QUEUE_STATS_H_
