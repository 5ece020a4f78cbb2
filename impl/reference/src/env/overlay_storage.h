// SPDX-License-Identifier: Apache-2.0
//
// A storage on which a store can be opened without anybody noticing.

#ifndef OPENMESSAGING_REFERENCE_ENV_OVERLAY_STORAGE_H_
#define OPENMESSAGING_REFERENCE_ENV_OVERLAY_STORAGE_H_

#include <memory>

#include "env/environment.h"

namespace openmessaging::reference {

// Returns: a storage that shows the files of `below` and keeps every change to
// itself, in memory: what is stored to a mapping, made, renamed or removed.
// Locks are its own. ctl and idx below are hidden, so that a store is rebuilt
// from its log. Nothing of it outlives it.
std::shared_ptr<Storage> OpenOverlay(std::shared_ptr<Storage> below);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_OVERLAY_STORAGE_H_
