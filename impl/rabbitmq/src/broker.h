// SPDX-License-Identifier: Apache-2.0
//
// Broker makes, finds and ends what a queue of OpenMessaging is at RabbitMQ,
// and keeps the catalog.

#ifndef OPENMESSAGING_RABBITMQ_BROKER_H_
#define OPENMESSAGING_RABBITMQ_BROKER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "config.h"
#include "link.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/mutex.h"
#include "rpc_channel.h"

namespace openmessaging::rabbitmq {

// Returns: what such a queue can do at that broker.
Capabilities CapabilitiesOf(const CatalogQueue& queue,
                            const ServerInfo& server);

// Threads: every method may be called from any; one works at a time. Other
// processes are kept out by a queue that only one connection can have, while
// the catalog is read or changed.
class Broker final : public driver::Admin {
 public:
  Broker(const Config& config, std::shared_ptr<Link> link);

  // Returns: what is known of a queue; its kind by default where there is none.
  absl::StatusOr<CatalogQueue> Describe(std::string_view queue,
                                        TimePoint deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Finds the broker's queue of a group; makes it where the group is new.
  // Errors: 1404 no such queue.
  absl::StatusOr<GroupQueue> FindGroupQueue(std::string_view queue,
                                            std::string_view group,
                                            TimePoint deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status CreateQueue(std::string_view queue, const QueueOptions& options,
                           TimePoint deadline) override;
  absl::Status DeleteQueue(std::string_view queue, TimePoint deadline) override;
  absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, TimePoint deadline) override;
  absl::StatusOr<QueueInfo> DescribeQueue(std::string_view queue,
                                          TimePoint deadline) override;

 private:
  // Changes the catalog; sets `changed` where it did.
  using Change = std::function<absl::Status(Catalog& catalog, bool& changed)>;

  // Calls `change` with the catalog, while nobody else has it.
  absl::Status WithCatalog(TimePoint deadline, const Change& change)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Lock(TimePoint deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unlock() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reads the catalog into `catalog`, and the tags of its messages.
  absl::Status Read(TimePoint deadline, Catalog& catalog,
                    std::vector<uint64_t>& tags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Save(TimePoint deadline, const Catalog& catalog,
                    const std::vector<uint64_t>& tags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MakeCatalog(TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Make(std::string_view name, std::string_view key,
                    const CatalogQueue& queue, TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes what delayed messages come to (delay_line.h).
  absl::Status MakeDelayed(TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Argument> ArgumentsOf(const CatalogQueue& queue) const;
  absl::StatusOr<CatalogQueue> CheckOptions(std::string_view queue,
                                            const QueueOptions& options,
                                            const Catalog& catalog) const;

  const Config config_;
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<RpcChannel> rpc_;
  // For what may be refused, which ends a channel and gives back what it has.
  const std::shared_ptr<RpcChannel> probe_;

  internal::Mutex mutex_;  // Held while the broker is worked with.
  bool attached_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_delayed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_BROKER_H_
