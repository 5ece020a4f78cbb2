// SPDX-License-Identifier: Apache-2.0
//
// Abilities that not every broker has. A connection that has one returns it
// from Query(); what it does not return is unsupported.

#ifndef OPENMESSAGING_DRIVER_OPTIONAL_H_
#define OPENMESSAGING_DRIVER_OPTIONAL_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_stats.h"
#include "openmessaging/route.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

// Makes and lists queues. Names are checked already.
class Admin {
 public:
  static constexpr std::string_view kInterface = "openmessaging.Admin/0";

  // An option that the broker cannot give is refused, never left out.
  // Errors: 1405 no such namespace, 1406 it exists, 1415 partitions, 1416
  // queues over the limit; 1600 an option.
  virtual absl::Status CreateQueue(std::string_view queue,
                                   const QueueOptions& options,
                                   TimePoint deadline) = 0;
  // Errors: 1404. Returns once sends answer 1404 too.
  virtual absl::Status DeleteQueue(std::string_view queue,
                                   TimePoint deadline) = 0;
  // Errors: 1405.
  virtual absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, TimePoint deadline) = 0;
  // Errors: 1404.
  virtual absl::StatusOr<QueueInfo> DescribeQueue(std::string_view queue,
                                                  TimePoint deadline) = 0;

 protected:
  ~Admin() = default;
};

// Makes and lists namespaces. Names are checked already, and are never empty:
// the default namespace is always there. Whatever takes the name of a queue
// answers 1405 where its namespace is not there, instead of 1404.
class NamespaceControl {
 public:
  static constexpr std::string_view kInterface =
      "openmessaging.NamespaceControl/0";

  // Errors: 1407 it exists, 1417 namespaces over the limit.
  virtual absl::Status CreateNamespace(std::string_view name_space,
                                       TimePoint deadline) = 0;
  // Errors: 1405; 1602 it has queues: none is deleted with it.
  virtual absl::Status DeleteNamespace(std::string_view name_space,
                                       TimePoint deadline) = 0;
  // Returns: all but the default one.
  virtual absl::StatusOr<std::vector<std::string>> ListNamespaces(
      TimePoint deadline) = 0;

 protected:
  ~NamespaceControl() = default;
};

// Changes queues that there are. Names are checked already, and so is each
// value by itself.
class QueueUpdater {
 public:
  static constexpr std::string_view kInterface = "openmessaging.QueueUpdater/0";

  // All of it or nothing; it lasts, and counts in every process, once this
  // returns. What goes together is for the driver to check with what the queue
  // has (internal/queue_check.h does). Errors: 1404; 1418 an option that cannot
  // be changed, or not to that; 1600 one that the broker does not have.
  virtual absl::Status UpdateQueue(std::string_view queue,
                                   const QueueUpdate& update,
                                   TimePoint deadline) = 0;

 protected:
  ~QueueUpdater() = default;
};

// Makes and lists routes. Names are checked already.
class RouteAdmin {
 public:
  static constexpr std::string_view kInterface = "openmessaging.RouteAdmin/0";

  // Counts for what enters the source once this returns, in every process.
  // Errors: 1404 no such queue; 1406 there is a route from the one to the other;
  // 1418 a filter that does not compile, a loop, or too many targets.
  virtual absl::Status CreateRoute(const Route& route, TimePoint deadline) = 0;
  // Errors: 1404 no such queue, or no route between them.
  virtual absl::Status DeleteRoute(std::string_view source,
                                   std::string_view target,
                                   TimePoint deadline) = 0;
  // Returns: those that begin at `source`, or all where it is empty, in the
  // order of their names. Errors: 1404.
  virtual absl::StatusOr<std::vector<Route>> ListRoutes(
      std::string_view source, TimePoint deadline) = 0;

 protected:
  ~RouteAdmin() = default;
};

// One position in one partition.
//
// Threads: Interrupt from any thread, the rest is serialised by the portable
// layer.
class StreamReader {
 public:
  virtual ~StreamReader() = default;

  // Delivers up to `max` messages from the position on, with empty receipts,
  // and moves it behind them. Waits for the first until `deadline`, as
  // Consumer::Receive does. Where the position is behind the end, that message
  // is waited for; where it was deleted, the oldest that is left comes next.
  virtual absl::Status Read(size_t max, TimePoint deadline,
                            DeliverySink& sink) = 0;
  virtual absl::Status Seek(int64_t offset, TimePoint deadline) = 0;
  // Ends the Read in progress, or else the next one. Sticky until then.
  virtual void Interrupt() = 0;
};

// Reads partitions by position; no group is touched, nothing is settled.
class StreamSource {
 public:
  static constexpr std::string_view kInterface = "openmessaging.StreamSource/0";

  // The offsets that can be read: first inclusive, end exclusive.
  struct Range {
    int64_t first = 0;
    int64_t end = 0;
  };

  // Errors: 1404.
  virtual absl::StatusOr<int32_t> PartitionsOf(std::string_view queue,
                                               TimePoint deadline) = 0;
  virtual absl::StatusOr<Range> RangeOf(std::string_view queue,
                                        int32_t partition,
                                        TimePoint deadline) = 0;
  // Returns: the offset of the first message not older than the time, the end
  // where there is none.
  virtual absl::StatusOr<int64_t> OffsetAt(
      std::string_view queue, int32_t partition,
      std::chrono::milliseconds since_1970_utc, TimePoint deadline) = 0;
  virtual absl::StatusOr<std::unique_ptr<StreamReader>> Open(
      std::string_view queue, int32_t partition, int64_t offset,
      TimePoint deadline) = 0;

 protected:
  ~StreamSource() = default;
};

// Asks for one producer of a group. Closed before its connection is.
//
// Threads: Interrupt from any thread, the rest is serialised by the portable
// layer.
class CheckSource {
 public:
  virtual ~CheckSource() = default;

  // Takes a prepared message of the group that is due for a check, and counts
  // that; the message has its transaction id. Waits for one until `deadline`.
  // Who takes it has until the next check to decide; calls of several members
  // never share one check. Returns: nothing at the deadline, and when
  // interrupted.
  virtual absl::StatusOr<std::optional<Message>> Take(TimePoint deadline) = 0;
  // Ends the Take in progress, or else the next one. Sticky until then.
  virtual void Interrupt() = 0;
};

// How a message is prepared. `group` is checked and not empty.
struct PrepareOptions {
  std::string_view group{};
  // From preparing to the first check; later ones may come more and more
  // seldom.
  std::chrono::milliseconds check_after{0};
  // One that nobody decided after so many, and the time for one more, is rolled
  // back.
  int32_t max_checks = 0;
};

// Prepared messages and their checks. An id is good in every process.
class TransactionSource {
 public:
  static constexpr std::string_view kInterface =
      "openmessaging.TransactionSource/0";

  enum class Decision : uint8_t { kCommit, kRollback };

  struct Prepared {
    std::string transaction_id{};
    MessageId message_id{};  // As the receiver will see it.
  };

  // Stores the message invisibly. Checked as for Producer::Send; it has neither
  // a delay nor a deduplication id. Blocks up to the deadline.
  // Errors: as Producer::Send; it says not stored or unknown (WithDetail).
  virtual absl::StatusOr<Prepared> Prepare(const Message& message,
                                           const PrepareOptions& options,
                                           const CallContext& context) = 0;
  // Decides, unless the same was decided before. Errors: 1605 the opposite was;
  // 1404 there is no such transaction, or none that is remembered; 1410 unknown.
  virtual absl::Status Resolve(std::string_view transaction_id,
                               Decision decision, TimePoint deadline) = 0;
  virtual absl::StatusOr<std::unique_ptr<CheckSource>> OpenChecks(
      std::string_view producer_group, TimePoint deadline) = 0;

 protected:
  ~TransactionSource() = default;
};

// Sends and acknowledgements that take effect together.
//
// Threads: may be called concurrently.
class LocalTransactions {
 public:
  static constexpr std::string_view kInterface =
      "openmessaging.LocalTransactions/0";

  // Stores all of `sends` and acknowledges all of `settlements`, or does
  // nothing, whoever dies meanwhile. Nobody receives a message of it before.
  // Blocks up to the deadline.
  //
  // Already checked: of messages what Producer::Send says, of receipts what
  // Consumer::Settle says; that the queues declare tx-local; that there is
  // something to do. Each verb is kAck. The receipts may be of any consumer of
  // this connection, also of one that was closed; one may come twice.
  // Returns: one result for each message, in their order.
  // Errors: 1604 a message was given back or handed out again; 1605 one is
  // settled already; 1602 receipts that the broker cannot settle apart from
  // earlier ones; 1418 too much for one transaction, or what none can have; else
  // as Send and Settle. Unless the outcome is said to be stored or unknown,
  // nothing was done.
  // Implements: OMS-TX-009.
  virtual absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends, std::span<const Settlement> settlements,
      const CallContext& context) = 0;

 protected:
  ~LocalTransactions() = default;
};

// Lists, moves and ends groups as a whole. Names are checked already.
class GroupControl {
 public:
  static constexpr std::string_view kInterface = "openmessaging.GroupControl/0";

  // Returns: the groups that have bound the queue, whether or not anybody is a
  // member now; not those of broadcast consumers. Errors: 1404.
  virtual absl::StatusOr<std::vector<std::string>> ListGroups(
      std::string_view queue, TimePoint deadline) = 0;

  // Everything below `offset` counts as settled, all else as new, also what was
  // handed out, settled or given back: for every member, and for good once this
  // returns. An offset that is not stored counts as the nearest that is, or as
  // the end. Members learn of it through ConsumerEvents::Lost; a receipt of an
  // earlier delivery answers 1604.
  // Errors: 1404 no such queue, or no such group, unless the broker makes it;
  // 1602 the group has members, where the broker moves only idle ones.
  virtual absl::Status Seek(std::string_view queue, std::string_view group,
                            int32_t partition, int64_t offset,
                            TimePoint deadline) = 0;

  // Ends the group; what it had settled is forgotten. A member's next Receive
  // answers 1602 until it has unbound the queue. Errors: 1404; 1602 the group
  // has members, where the broker deletes only idle ones.
  virtual absl::Status DeleteGroup(std::string_view queue,
                                   std::string_view group,
                                   TimePoint deadline) = 0;

 protected:
  ~GroupControl() = default;
};

// Tells how full queues are and how far their groups. Names are checked
// already.
class StatsSource {
 public:
  static constexpr std::string_view kInterface = "openmessaging.StatsSource/0";

  // What was sent and settled before the call is counted, though it may lag by
  // one flush. Groups come in the order of their names. Errors: 1404.
  virtual absl::StatusOr<QueueStats> StatsOf(std::string_view queue,
                                             TimePoint deadline) = 0;

 protected:
  ~StatsSource() = default;
};

// Withdraws a delayed message that is not due yet.
class DelayControl {
 public:
  static constexpr std::string_view kInterface = "openmessaging.DelayControl/0";

  // Errors: 1404 no such message, or one of another process where the broker
  // wants more than its id; 1602 delivered or due already.
  virtual absl::Status Cancel(std::string_view queue, const MessageId& id,
                              TimePoint deadline) = 0;

 protected:
  ~DelayControl() = default;
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_OPTIONAL_H_
