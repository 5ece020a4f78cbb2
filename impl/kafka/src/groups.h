// SPDX-License-Identifier: Apache-2.0
//
// GroupAdmin looks at groups from outside: how far they are, and moves them.

#ifndef OPENMESSAGING_KAFKA_GROUPS_H_
#define OPENMESSAGING_KAFKA_GROUPS_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster.h"
#include "native.h"
#include "openmessaging/driver/optional.h"
#include "stream.h"
#include "transactions.h"

namespace openmessaging::kafka {

// A group with members is moved through them where they are of this connection,
// and by the broker otherwise, which moves only those without.
//
// Threads: every method from any thread.
class GroupAdmin final : public driver::GroupControl,
                         public driver::StatsSource {
 public:
  GroupAdmin(std::shared_ptr<Cluster> cluster, Streams& streams,
             Members& members)
      : cluster_(std::move(cluster)), streams_(streams), members_(members) {}

  absl::StatusOr<std::vector<std::string>> ListGroups(
      std::string_view queue, TimePoint deadline) override;
  absl::Status Seek(std::string_view queue, std::string_view group,
                    int32_t partition, int64_t offset,
                    TimePoint deadline) override;
  absl::Status DeleteGroup(std::string_view queue, std::string_view group,
                           TimePoint deadline) override;
  absl::StatusOr<QueueStats> StatsOf(std::string_view queue,
                                     TimePoint deadline) override;

 private:
  // Errors: 1602 somebody still binds the queue.
  absl::Status DeleteOffsets(std::string_view queue, std::string_view group,
                             const rd_kafka_topic_partition_list_t& offsets,
                             TimePoint deadline);
  // Returns: the names of all groups of the cluster, in order.
  absl::StatusOr<std::vector<std::string>> AllGroups(TimePoint deadline);
  // Returns: what `group` has committed of each partition of `queue`; an offset
  // below zero where that is nothing.
  absl::StatusOr<PartitionList> CommittedOf(std::string_view group,
                                            std::string_view queue,
                                            int32_t partitions,
                                            TimePoint deadline);

  const std::shared_ptr<Cluster> cluster_;
  Streams& streams_;
  Members& members_;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_GROUPS_H_
