// SPDX-License-Identifier: Apache-2.0
//
// Transactions decides what becomes of prepared messages, hands them out for
// checks, and keeps them where the log is retired. docs/design/transactions.md.

#ifndef OPENMESSAGING_REFERENCE_TRANSACTIONS_H_
#define OPENMESSAGING_REFERENCE_TRANSACTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "env/environment.h"
#include "openmessaging/message.h"
#include "prepared_table.h"

namespace openmessaging::reference {

class Store;
struct Queue;

// Threads: every method may be called from any thread at any time, with no lock
// held.
class Transactions {
 public:
  explicit Transactions(Store* store) : store_(store) {}

  // Returns: what names a group in records; never 0.
  uint64_t GroupOf(std::string_view name) const;

  // Decides, or finds that the same was decided. Durable when it returns if the
  // message is. Errors: 1418 that is no decision; 1404 this store gave out no
  // such id, or its message was not prepared, or its outcome is forgotten, or
  // its queue is gone; 1605 the opposite was decided; as an append's.
  absl::Status Resolve(std::string_view transaction_id, PreparedState decision,
                       TimePoint deadline);

  // Takes a message of a group that is due for a check, and counts that. What
  // has been checked often enough is rolled back. Returns: nothing where none is
  // due. Errors: as an append's.
  absl::StatusOr<std::optional<Message>> TakeCheck(uint64_t group,
                                                   TimePoint deadline);

  // Appends what is undecided or remembered from below `position` again.
  // Errors: as an append's.
  absl::Status Renew(uint64_t position, TimePoint deadline);

 private:
  // Returns: 1604 where it was decided or appended again meanwhile.
  absl::Status AppendDecision(const Prepared& prepared, PreparedState decision,
                              uint64_t& end, TimePoint deadline);
  absl::Status AppendCommit(const Prepared& prepared, uint64_t& end,
                            TimePoint deadline);
  absl::Status AppendRollback(const Prepared& prepared, uint64_t& end,
                              TimePoint deadline);
  // Rolls back what nobody can decide otherwise any more.
  absl::Status Drop(const Prepared& prepared, TimePoint deadline);
  absl::Status RenewMessage(const Prepared& prepared, TimePoint deadline);
  // Returns: what a check listener gets; nothing where it is damaged.
  absl::StatusOr<std::optional<Message>> Show(const Prepared& prepared,
                                              const Queue& queue);

  Store* const store_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_TRANSACTIONS_H_
