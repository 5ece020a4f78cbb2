// SPDX-License-Identifier: Apache-2.0
//
// Catalog knows the queues, groups and namespaces of a store. Their names and
// options are records of the log; ctl holds where those records are.

#ifndef OPENMESSAGING_REFERENCE_CATALOG_H_
#define OPENMESSAGING_REFERENCE_CATALOG_H_

#include <cstdint>
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
#include "control_file.h"
#include "env/environment.h"
#include "lanes.h"
#include "log.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/kit/filter.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/route.h"
#include "segment_map.h"
#include "slot_lock.h"

namespace openmessaging::reference {

struct RouteTable;

// One queue as this process sees it at one time. Constant once made: a queue that
// is changed is another object of the same id.
struct Queue {
  uint32_t id = 0;
  uint32_t revision = 0;
  std::string name{};
  // Those of the log, and those that applications see: of each lane.
  uint32_t partitions = 0;
  uint32_t lane_partitions = 0;
  QueueOptions options{};
  // That of the options; nothing where they have none.
  std::optional<kit::Filter> filter{};
  // Whether a route begins here.
  bool routed = false;
  const CatalogEntry* entry = nullptr;
  QueueState* state = nullptr;

  bool live() const { return entry->live.Load() != 0; }
  // Whether it lives, and nothing was changed since.
  bool current() const { return entry->live.Load() == revision; }

  bool has_priorities() const { return partitions != lane_partitions; }
  // Returns: where the log has messages of a partition and priority.
  uint32_t InLane(uint32_t partition, int priority) const {
    if (!has_priorities()) return partition;
    return (kLanes - static_cast<uint32_t>(priority)) * lane_partitions +
           partition;
  }
  // Returns: what applications call a partition of the log.
  uint32_t Shown(uint32_t logged) const {
    return has_priorities() ? logged % lane_partitions : logged;
  }
};

// One group of one queue. Constant once made.
struct Group {
  uint32_t id = 0;
  std::string name{};
  std::shared_ptr<const Queue> queue{};
  const CatalogEntry* entry = nullptr;
  GroupState* state = nullptr;

  bool live() const { return entry->live.Load() != 0 && queue->live(); }
};

// What a QUEUE record says.
struct QueueRecord {
  std::string name{};
  QueueOptions options{};
  // Of a record that is appended again: the next offset of each partition, so
  // that they survive the retirement of every message.
  std::vector<uint64_t> next{};
};
std::string EncodeQueueRecord(const QueueRecord& record);
// Returns: nothing where the bytes describe no queue.
std::optional<QueueRecord> DecodeQueueRecord(std::string_view body);

// Returns: the next offset of each partition.
std::vector<uint64_t> NextOffsets(QueueState& state);

// What a GROUP record says beside the name: the first offset of each partition.
std::string EncodeGroupRecord(std::string_view name,
                              const std::vector<uint64_t>& start);
bool DecodeGroupRecord(std::string_view body, std::string& name,
                       std::vector<uint64_t>& start);

// What a NAMESPACE record says.
std::string EncodeNamespaceRecord(std::string_view name);
// Returns: its name; nothing where the bytes are no such record.
std::optional<std::string> DecodeNamespaceRecord(std::string_view body);
// Returns: the filter in a ROUTE record, which has one or none; nothing where the
// bytes describe no route.
std::optional<std::string> DecodeRouteRecord(std::string_view body);

// Threads: every method may be called from any thread at any time.
class Catalog {
 public:
  Catalog(const Environment* environment, Control* control,
          SegmentMap* segments, const Liveness* liveness);

  // The log needs the catalog to be made first.
  void set_log(Log* log) { log_ = log; }

  // Changes whenever a queue, group, namespace or route is made, changed or
  // deleted, by anybody.
  uint32_t version() const {
    return control_->header().catalog.version.Load();
  }

  // Returns: whether a queue of the store ever had max_deliveries.
  absl::StatusOr<bool> CountsDeliveries(TimePoint deadline);

  // Whether the record of a queue, group, namespace or route cannot be read.
  // Then what the log has of it is kept: nothing is retired, and no checkpoint
  // written, which would leave it out.
  bool HasDamage(TimePoint deadline);

  // Errors: 1404 no such queue, 1405 no such namespace, 1609 its record is
  // damaged.
  absl::StatusOr<std::shared_ptr<const Queue>> FindQueue(
      std::string_view name, TimePoint deadline);
  absl::StatusOr<std::vector<std::shared_ptr<const Queue>>> Queues(
      TimePoint deadline);
  // Returns: the groups that have received something, of all queues.
  absl::StatusOr<std::vector<std::shared_ptr<const Group>>> Groups(
      TimePoint deadline);

  // Durable when it returns. Errors: 1405, 1406, 1416, 1502; 1418, 1404, 1405
  // the dead-letter queue cannot be one.
  absl::Status CreateQueue(std::string_view name, const QueueOptions& options,
                           TimePoint deadline);
  // Durable when it returns. Errors: as CreateQueue, of what the queue would be;
  // 1404; 1418 partitions or priorities would change, or dead letters go round.
  absl::Status UpdateQueue(std::string_view name, const QueueUpdate& update,
                           TimePoint deadline);
  // Errors: 1404; 1602 it is the dead-letter queue of another, or the target of
  // a route.
  absl::Status DeleteQueue(std::string_view name, TimePoint deadline);

  // Returns: the queues of a namespace. Errors: 1405.
  absl::StatusOr<std::vector<std::shared_ptr<const Queue>>> QueuesOf(
      std::string_view name_space, TimePoint deadline);
  // Returns: the names of all.
  absl::StatusOr<std::vector<std::string>> Namespaces(TimePoint deadline);
  // Durable when it returns. Errors: 1407, 1417, 1502.
  absl::Status CreateNamespace(std::string_view name, TimePoint deadline);
  // Durable when it returns. Errors: 1405; 1602 it has queues.
  absl::Status DeleteNamespace(std::string_view name, TimePoint deadline);
  // As driver::RouteAdmin. Durable when they return.
  absl::Status CreateRoute(const Route& route, TimePoint deadline);
  absl::Status DeleteRoute(std::string_view source, std::string_view target,
                           TimePoint deadline);
  absl::StatusOr<std::vector<Route>> ListRoutes(std::string_view source,
                                                TimePoint deadline);
  // Returns: all routes that there are now.
  absl::StatusOr<std::shared_ptr<const RouteTable>> Routes(TimePoint deadline);

  // Finds a group of a queue, or makes it.
  absl::StatusOr<std::shared_ptr<const Group>> OpenGroup(
      const std::shared_ptr<const Queue>& queue, std::string_view name,
      StartPosition start, TimePoint deadline);

  // Errors: 1404 the queue has no such group.
  absl::StatusOr<std::shared_ptr<const Group>> FindGroup(
      const Queue& queue, std::string_view name, TimePoint deadline);
  // Returns: the groups of one queue in the order of their names, those of one
  // consumer each included.
  absl::StatusOr<std::vector<std::shared_ptr<const Group>>> GroupsOf(
      const Queue& queue, TimePoint deadline);
  // Durable when it returns. Errors: 1404.
  absl::Status DeleteGroup(const Queue& queue, std::string_view name,
                           TimePoint deadline);

  // Makes a group for one consumer of this process, which ends it; if the
  // process dies, whoever retires segments does.
  absl::StatusOr<std::shared_ptr<const Group>> OpenPrivateGroup(
      const std::shared_ptr<const Queue>& queue, StartPosition start,
      TimePoint deadline);
  absl::Status EndGroup(const Group& group, TimePoint deadline);
  // Returns: whether an entry is of a private group whose owner is gone.
  bool IsOrphan(const CatalogEntry& entry);
  // Ends those.
  absl::Status EndOrphans(TimePoint deadline);

  // Gives one partition of a group its window.
  absl::Status EnsureWindow(Cursor& cursor, TimePoint deadline);
  // And its table of exceptions.
  absl::Status EnsureExceptions(Cursor& cursor, TimePoint deadline);
  // Allocates what `place` names in ctl, unless it is there. Errors: 1410, 1502.
  absl::Status EnsureArea(Shared<uint64_t>& place, uint64_t bytes,
                          TimePoint deadline);

  // For LogListener, under the append lock.
  void Publish(const RecordHeader& header);
  PartitionState* FindPartition(uint32_t queue_partition);
  // Without a lock. Returns: nullptr where there is no such queue; otherwise one
  // that has its state.
  const CatalogEntry* FindLiveQueue(uint32_t queue) const;
  // Returns: nullptr for an unknown group, or one that has received nothing.
  Cursor* FindCursor(uint32_t group, uint32_t partition);

  // Appends the newest record of everything that lives below `position` again.
  absl::Status Renew(uint64_t position, TimePoint deadline);

  // Gives the table of delayed messages blocks until so many more have room.
  absl::Status MakeDelayRoom(uint32_t needed, TimePoint deadline);
  // The same with the table of prepared messages, for one.
  absl::Status MakePreparedRoom(TimePoint deadline);
  // As above with the table of deduplication ids.
  absl::Status MakeDeduplicationRoom(uint32_t needed, TimePoint deadline);

  CatalogEntry* entry(uint32_t index) const;
  uint32_t count() const { return control_->header().catalog.count.Load(); }
  // Room for one more entry; under the catalog lock or alone.
  absl::Status EnsurePage();

 private:
  class Locked;
  struct LoadedRoute {
    const CatalogEntry* entry = nullptr;
    std::optional<kit::Filter> filter{};
    std::string text{};
  };
  struct Seen {
    uint32_t live = 0;
    uint64_t record = 0;
    friend bool operator==(const Seen&, const Seen&) = default;
  };

  // Reads the newest record of every queue that there is; under the catalog
  // lock, which Refresh would want as well.
  absl::StatusOr<std::vector<QueueRecord>> LiveQueues();
  // As above with namespaces.
  struct LiveNamespace {
    std::string name{};
    uint32_t id = 0;
  };
  absl::StatusOr<std::vector<LiveNamespace>> LiveNamespaces();
  // Under the catalog lock. `created`: which queue wants to know. Errors: 1405
  // the namespace of `queue` is missing.
  absl::Status CheckNamespaceOf(std::string_view queue,
                                std::string_view created);
  // Brings the maps up to date, but for what is damaged.
  absl::Status Refresh(TimePoint deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Load(uint32_t index, TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::string> ReadBody(uint64_t position);
  // Reads the newest record of an entry, which retirement may move meanwhile.
  // `read_at`: where it was found; may be null.
  absl::StatusOr<std::string> ReadRecord(const CatalogEntry& entry,
                                         uint64_t* read_at = nullptr);
  // Lets those that do not read records know what a queue's newest one says,
  // which was read at `position`.
  absl::Status ShareOptions(const Queue& queue, uint64_t position,
                            TimePoint deadline);
  // Errors: 1418 more than this driver can do, or a filter that does not
  // compile.
  static absl::Status CheckLimits(std::string_view operation,
                                  std::string_view name,
                                  const QueueOptions& options);
  // Under the append lock.
  static void MarkChanged(CatalogEntry& queue);
  void PublishRoute(const RecordHeader& header);
  void EndRoutesOf(uint32_t queue);
  absl::Status LoadRoute(const CatalogEntry& from)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lets queues and routes know each other.
  void RefreshRoutes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Under the catalog lock. Errors: 1406; 1418.
  absl::Status CheckRoute(const Route& route, uint32_t source,
                          uint32_t target) const;
  // Under the catalog lock. Errors: 1602 a route ends there.
  absl::Status CheckNoTarget(const Queue& queue);
  // Allocates the state of an entry that has none.
  absl::Status EnsureState(CatalogEntry& entry, uint32_t partitions,
                           const std::vector<uint64_t>* start,
                           TimePoint deadline);
  // Durable when it returns, unless it is of a private group.
  absl::Status AppendRecord(RecordType type, uint32_t queue_id, uint64_t id,
                            uint8_t flags, std::string_view body,
                            TimePoint deadline);
  // Under the catalog lock.
  absl::Status MakeGroup(const Queue& queue, std::string_view name,
                         StartPosition start, uint8_t flags,
                         TimePoint deadline);
  // Returns: nullptr for a group that is not there.
  absl::StatusOr<std::shared_ptr<const Group>> LookUpGroup(
      uint32_t queue, std::string_view name, TimePoint deadline);

  const Environment* const environment_;
  Control* const control_;
  SegmentMap* const segments_;
  const Liveness* const liveness_;
  Log* log_ = nullptr;
  SlotLock lock_;

  internal::Mutex mutex_;
  uint32_t seen_version_ ABSL_GUARDED_BY(mutex_) = ~uint32_t{0};
  // Of a record that was to be read and is damaged.
  absl::Status damage_ ABSL_GUARDED_BY(mutex_){};
  // Of each entry, what it was when it was loaded.
  std::vector<Seen> seen_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<const Queue>, std::less<>> queues_
      ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, std::shared_ptr<const Queue>> queues_by_id_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<uint32_t, std::string>, std::shared_ptr<const Group>>
      groups_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, const CatalogEntry*, std::less<>> namespaces_
      ABSL_GUARDED_BY(mutex_);
  // By source and target.
  std::map<std::pair<uint32_t, uint32_t>, LoadedRoute> loaded_routes_
      ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const RouteTable> routes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CATALOG_H_
