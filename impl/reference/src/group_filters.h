// SPDX-License-Identifier: Apache-2.0
//
// GroupFilters knows with which filter the living consumers of a group have
// bound its queue, so that those that live at one time have the same.

#ifndef OPENMESSAGING_REFERENCE_GROUP_FILTERS_H_
#define OPENMESSAGING_REFERENCE_GROUP_FILTERS_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "control_file.h"
#include "env/environment.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// A list in ctl with one entry for each binding of any process. An entry whose
// process is gone is free. Only binding looks at it, never a hand-out.
//
// Threads: every method may be called from any thread at any time.
class GroupFilters {
 public:
  GroupFilters(const Environment* environment, Control* control,
               const Liveness* liveness, Catalog* catalog)
      : control_(control),
        liveness_(liveness),
        catalog_(catalog),
        lock_(&control->header().catalog.bindings, liveness,
              environment->waiting) {}

  // Enters a consumer of this process. `filter`: in its one form, empty for
  // none. Returns: its entry, for Leave().
  // Errors: 1408 a living member has another filter; 1410, 1502.
  absl::StatusOr<BindingEntry*> Enter(const Group& group,
                                      std::string_view filter,
                                      TimePoint deadline);
  void Leave(BindingEntry* entry) const { entry->owner.Store(0); }

 private:
  bool IsAlive(const BindingEntry& entry) const {
    const uint32_t owner = entry.owner.Load();
    return owner != 0 && liveness_->IsAlive(Owner::FromWord(owner));
  }
  // Finds a free entry under the lock. Errors: 1408, as Enter; 1502.
  absl::StatusOr<BindingEntry*> FindRoom(const Group& group, uint64_t filter,
                                         TimePoint deadline);
  // Returns: an entry whose process is gone; nullptr where all live.
  BindingEntry* FindDead();

  Control* const control_;
  const Liveness* const liveness_;
  Catalog* const catalog_;
  SlotLock lock_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_GROUP_FILTERS_H_
