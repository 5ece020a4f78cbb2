// SPDX-License-Identifier: Apache-2.0
//
// How the sources of Catalog hold its lock.

#ifndef OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_
#define OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_

#include "catalog.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

// Holds the catalog lock. It protects the making of entries only, so an heir
// has nothing to repair: what was appended is published by the log.
class Catalog::Locked {
 public:
  Locked(SlotLock& lock, TimePoint deadline)
      : lock_(lock),
        held_(lock.Acquire(deadline) != SlotLock::Result::kTimeout) {}
  ~Locked() {
    if (held_) lock_.Release();
  }
  absl::Status status() const {
    if (held_) return absl::OkStatus();
    return MakeStatus(Code::kTimeout,
                      "change queues: another process held the catalog's lock "
                      "until the deadline");
  }

 private:
  SlotLock& lock_;
  const bool held_;
};

absl::Status NamespaceNotFound(std::string_view operation,
                               std::string_view object,
                               std::string_view name_space);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CATALOG_LOCKED_H_
