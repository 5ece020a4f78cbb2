// SPDX-License-Identifier: Apache-2.0
//
// RepairStore for any two storages.

#ifndef OPENMESSAGING_REFERENCE_REPAIR_STORAGE_H_
#define OPENMESSAGING_REFERENCE_REPAIR_STORAGE_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "env/environment.h"
#include "openmessaging/reference/repair.h"

namespace openmessaging::reference {

// Makes the storage that is written to, an empty one, once there is something
// to write.
using TargetMaker = std::function<absl::StatusOr<std::shared_ptr<Storage>>()>;

// As RepairStore.
absl::StatusOr<RepairReport> RepairStorage(Storage& source,
                                           const TargetMaker& make_target,
                                           const Environment& environment);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_REPAIR_STORAGE_H_
