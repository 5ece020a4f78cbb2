// SPDX-License-Identifier: Apache-2.0
//
// Delays brings delayed messages into their queues when they are due, withdraws
// them, and keeps them where the log is retired. docs/design/delay.md.

#ifndef OPENMESSAGING_REFERENCE_DELAYS_H_
#define OPENMESSAGING_REFERENCE_DELAYS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "control_file.h"
#include "delay_table.h"
#include "env/environment.h"
#include "openmessaging/message_id.h"
#include "segment_map.h"

namespace openmessaging::reference {

class Store;
struct Queue;
struct RouteTable;

// Whoever sees that something is due claims the work for a moment, by the time
// in ctl; if that process dies or stops, the next one takes it up when the
// moment has passed. Two at once do no harm: the log takes a message that still
// waits, and no other.
//
// Threads: every method may be called from any thread at any time, with no lock
// held.
class Delays {
 public:
  explicit Delays(Store* store);

  // Returns: the boot time at which something may be due; 0: nothing waits.
  int64_t next_ns() const { return next_->Load(); }
  bool IsDue(int64_t now_ns) const {
    const int64_t next = next_ns();
    return next != 0 && next <= now_ns;
  }
  // Brings in what is due, unless somebody else is doing it.
  void Work(int64_t now_ns) {
    if (IsDue(now_ns)) BringInDue(now_ns);
  }

  // Withdraws a message of `queue`. Durable when it returns if the message is.
  // Errors: 1404 this store gave out no such id, or of another queue; 1602 the
  // message is due or withdrawn, or never waited; as an append's.
  absl::Status Cancel(const Queue& queue, const MessageId& id,
                      TimePoint deadline);

  // Appends what waits below `position` again. Errors: as an append's.
  absl::Status Renew(uint64_t position, TimePoint deadline);

 private:
  struct Batch;

  void BringInDue(int64_t now_ns);
  // Returns: whether everything of it is in its queue, or was withdrawn.
  bool BringIn(std::span<const Delayed> due);
  // Adds the copies of the message that was added last, for which routes are.
  void AddCopies(const RouteTable& routes, Batch& batch);
  // Reads what a message's record holds into an entry of `batch`.
  absl::Status Load(const Delayed& delayed, Batch& batch) const;
  // Forgets a message whose queue is gone.
  absl::Status Drop(const Delayed& delayed, TimePoint deadline);
  absl::Status AppendCancel(const Delayed& delayed, uint64_t& end,
                            TimePoint deadline);

  Store* const store_;
  Shared<int64_t>* const next_;
  // Of copies without a key.
  std::atomic<uint32_t> turn_{0};
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DELAYS_H_
