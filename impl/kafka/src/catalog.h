// SPDX-License-Identifier: Apache-2.0
//
// Catalog keeps what a topic has no place for: how a queue redelivers, and where
// its dead letters go.

#ifndef OPENMESSAGING_KAFKA_CATALOG_H_
#define OPENMESSAGING_KAFKA_CATALOG_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/queue_info.h"
#include "stream.h"

namespace openmessaging::kafka {

// Returns: "max-deliveries=3 dead-letter-queue=dead ...", and what it says;
// unknown words are passed over. Partitions are not in it.
std::string OptionsText(const QueueOptions& options);
QueueOptions ReadOptions(std::string_view text);
// Returns: whether a topic by itself has all of that.
bool IsPlain(const QueueOptions& options);

// A compacted topic of one partition, made when it is first written to: its keys
// are queues. Whoever reads catches up first, so that what one process wrote
// counts in the next.
//
// Threads: every method from any thread.
class Catalog {
 public:
  static constexpr std::string_view kTopic = "oms.queues";

  Catalog(std::shared_ptr<Cluster> cluster, Streams& streams)
      : cluster_(std::move(cluster)), streams_(streams) {}
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;

  // Returns: what is known of `queue`, plain options where that is nothing.
  // Blocks: up to `deadline`. Errors: 1401, 1403, 1503.
  absl::StatusOr<QueueOptions> OptionsOf(std::string_view queue,
                                         TimePoint deadline);
  // Writes it, where something is to be said or taken back.
  absl::Status Set(std::string_view queue, const QueueOptions& options,
                   driver::Producer& producer, TimePoint deadline);
  // Returns: a queue whose dead letters go to `queue`; empty: none.
  absl::StatusOr<std::string> OwnerOf(std::string_view queue,
                                      TimePoint deadline);
  void Close();

 private:
  absl::Status CatchUp(TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Cluster> cluster_;
  Streams& streams_;

  internal::Mutex mutex_;
  std::unique_ptr<driver::StreamReader> reader_ ABSL_GUARDED_BY(mutex_);
  int64_t position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, QueueOptions, std::less<>> queues_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_CATALOG_H_
