// SPDX-License-Identifier: Apache-2.0
//
// GroupTerms knows on which terms the living consumers of a group have bound
// its queue, so that those that live at one time have the same.

#ifndef OPENMESSAGING_REFERENCE_GROUP_TERMS_H_
#define OPENMESSAGING_REFERENCE_GROUP_TERMS_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "control_file.h"
#include "env/environment.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// What all consumers of a group must have in common.
struct BindingTerms {
  std::string_view filter{};  // In its one form; empty: none.
  bool ordered = false;       // They keep the order of keys.
};

// A list in ctl with one entry for each binding of any process. An entry whose
// process is gone is free. Only binding looks at it, never a hand-out.
//
// Threads: every method may be called from any thread at any time.
class GroupTerms {
 public:
  GroupTerms(const Environment* environment, Control* control,
             const Liveness* liveness, Catalog* catalog)
      : control_(control),
        liveness_(liveness),
        catalog_(catalog),
        lock_(&control->header().catalog.bindings, liveness,
              environment->waiting) {}

  // Enters a consumer of this process. Returns: its entry, for Leave().
  // Errors: 1408 a living member has another filter; 1602 it keeps the order
  // of keys and this one does not, or the other way round; 1410, 1502.
  absl::StatusOr<BindingEntry*> Enter(const Group& group,
                                      const BindingTerms& terms,
                                      TimePoint deadline);
  void Leave(BindingEntry* entry) const { entry->owner.Store(0); }

 private:
  bool IsAlive(const BindingEntry& entry) const {
    const uint32_t owner = entry.owner.Load();
    return owner != 0 && liveness_->IsAlive(Owner::FromWord(owner));
  }
  // Finds a free entry under the lock. Errors: as Enter, but 1410.
  absl::StatusOr<BindingEntry*> FindRoom(const Group& group, uint64_t terms,
                                         TimePoint deadline);
  // Returns: an entry whose process is gone; nullptr where all live.
  BindingEntry* FindDead();

  Control* const control_;
  const Liveness* const liveness_;
  Catalog* const catalog_;
  SlotLock lock_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_GROUP_TERMS_H_
