// SPDX-License-Identifier: Apache-2.0
//
// QueueAdmin makes topics and tells what they can do.

#ifndef OPENMESSAGING_KAFKA_ADMIN_H_
#define OPENMESSAGING_KAFKA_ADMIN_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker_version.h"
#include "catalog.h"
#include "cluster.h"
#include "native.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/queue_info.h"
#include "sender.h"
#include "worker.h"

namespace openmessaging::kafka {

// Threads: every method from any thread.
class QueueAdmin final : public driver::Admin {
 public:
  QueueAdmin(std::shared_ptr<Cluster> cluster, Catalog& catalog,
             Senders& senders, Worker& worker)
      : cluster_(cluster),
        catalog_(catalog),
        producer_(std::move(cluster), senders, worker) {}

  // Errors: 1401, 1403, 1503.
  absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                              TimePoint deadline);

  absl::Status CreateQueue(std::string_view queue, const QueueOptions& options,
                           TimePoint deadline) override;
  absl::Status DeleteQueue(std::string_view queue,
                           TimePoint deadline) override;
  absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, TimePoint deadline) override;
  absl::StatusOr<QueueInfo> DescribeQueue(std::string_view queue,
                                          TimePoint deadline) override;

 private:
  // Asks the first time.
  BrokerVersion VersionOf(TimePoint deadline);

  // Waits until a topic is there, or is not.
  absl::Status AwaitTopic(std::string_view queue, bool there,
                          TimePoint deadline);

  // Makes a topic with these settings. Errors: 1406.
  absl::Status CreateTopic(
      std::string_view topic, int32_t partitions,
      const std::vector<std::pair<const char*, std::string>>& settings,
      TimePoint deadline);

  const std::shared_ptr<Cluster> cluster_;
  Catalog& catalog_;
  KafkaProducer producer_;  // For the catalog.

  internal::Mutex mutex_;
  std::optional<BrokerVersion> version_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_ADMIN_H_
