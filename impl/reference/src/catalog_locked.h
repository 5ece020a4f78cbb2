// SPDX-License-Identifier: Apache-2.0
//
// How the sources of Catalog hold its lock.

#ifndef OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_
#define OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_

#include "catalog.h"
#include "log.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

// Holds the catalog lock. It protects the making of entries, and space in ctl.
class Catalog::Locked {
 public:
  // For space, of which an heir has nothing to repair.
  Locked(SlotLock& lock, TimePoint deadline)
      : lock_(lock),
        held_(lock.Acquire(deadline) != SlotLock::Result::kTimeout) {
    if (held_) return;
    status_ = MakeStatus(
        Code::kTimeout,
        "change queues: another process held the catalog's lock until the "
        "deadline");
  }
  // For entries. What one that died in here had appended is finished first,
  // by each, since whoever had the lock between need not have looked: an entry
  // that is there while the version does not say so would be neither found nor
  // made.
  Locked(Catalog& catalog, TimePoint deadline)
      : Locked(catalog.lock_, deadline) {
    if (held_) status_ = catalog.log_->FinishDead(deadline);
  }
  ~Locked() {
    if (held_) lock_.Release();
  }
  const absl::Status& status() const { return status_; }

 private:
  SlotLock& lock_;
  const bool held_;
  absl::Status status_;
};

absl::Status QueueNotFound(std::string_view name);
absl::Status NamespaceNotFound(std::string_view operation,
                               std::string_view object,
                               std::string_view name_space);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_
