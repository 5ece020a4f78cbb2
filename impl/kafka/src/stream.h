// SPDX-License-Identifier: Apache-2.0
//
// Reading partitions by position: offsets of the broker's, and readers with a
// handle of their own.

#ifndef OPENMESSAGING_KAFKA_STREAM_H_
#define OPENMESSAGING_KAFKA_STREAM_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "cluster.h"
#include "openmessaging/driver/optional.h"

namespace openmessaging::kafka {

// Threads: every method from any thread.
class Streams final : public driver::StreamSource {
 public:
  explicit Streams(std::shared_ptr<Cluster> cluster)
      : cluster_(std::move(cluster)) {}

  absl::StatusOr<int32_t> PartitionsOf(std::string_view queue,
                                       TimePoint deadline) override;
  absl::StatusOr<Range> RangeOf(std::string_view queue, int32_t partition,
                                TimePoint deadline) override;
  absl::StatusOr<int64_t> OffsetAt(std::string_view queue, int32_t partition,
                                   milliseconds since_1970_utc,
                                   TimePoint deadline) override;
  absl::StatusOr<std::unique_ptr<driver::StreamReader>> Open(
      std::string_view queue, int32_t partition, int64_t offset,
      TimePoint deadline) override;

 private:
  // Errors: 1404, 1418.
  absl::Status CheckPartition(std::string_view queue, int32_t partition,
                              TimePoint deadline);

  const std::shared_ptr<Cluster> cluster_;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_STREAM_H_
