// SPDX-License-Identifier: Apache-2.0
//
// Members says who is in a group: consumers that share it, or one that has it
// for itself.

#ifndef OPENMESSAGING_REFERENCE_MEMBERS_H_
#define OPENMESSAGING_REFERENCE_MEMBERS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "control_file.h"
#include "env/environment.h"
#include "env/storage.h"
#include "openmessaging/internal/mutex.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// A handle with ordinary members in a group holds a byte lock that says so, and
// a word of the group names a consumer that is alone. Both end with a process:
// the kernel frees the one, and of the other it is asked whether its owner
// lives. So nothing has to be counted in ctl, where the dead would stay counted.
//
// Threads: every method may be called from any thread at any time.
class Members {
 public:
  Members(ByteLocks* locks, Control* control, const Liveness* liveness,
          Waiting* waiting);

  // Lets one consumer of this handle in. `alone`: if nobody else is, and then
  // nobody else comes in. Returns: the claim, for Leave; 0 of an ordinary one.
  // Errors: 1408 somebody is in the way; 1410; 1501.
  absl::StatusOr<uint64_t> Join(const Group& group, bool alone,
                                TimePoint deadline);
  void Leave(const Group& group, uint64_t claim);

 private:
  // Under the catalog lock. Errors: 1408, 1501.
  absl::StatusOr<uint64_t> JoinAlone(const Group& group, uint64_t seen);
  absl::Status JoinOthers(const Group& group);
  uint64_t ByteOf(uint32_t group) const;

  ByteLocks* const locks_;
  const Liveness* const liveness_;
  // Two that join at once see each other.
  SlotLock catalog_lock_;

  internal::Mutex mutex_;
  // Ordinary members of this handle, by group.
  absl::flat_hash_map<uint32_t, int> ordinary_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_MEMBERS_H_
