// SPDX-License-Identifier: Apache-2.0
//
// The two storages that ship.

#ifndef OPENMESSAGING_REFERENCE_ENV_STORAGE_H_
#define OPENMESSAGING_REFERENCE_ENV_STORAGE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "env/environment.h"

namespace openmessaging::reference {

struct DirectoryOptions {
  // Makes the directory where it is missing; its parent must exist.
  bool create = true;
  // Only looks: nothing is made or written.
  bool read_only = false;
  // Watches mapped pages with a handler of SIGBUS (page_guard.h).
  bool guard_pages = false;
};

// Opens a directory of the local machine (store.md's rules of trust: owned by
// this user, not writable by others, no links followed, no network file
// system).
// Errors: 1404 missing, 1418 not a directory, 1403 trust, 1501.
absl::StatusOr<std::unique_ptr<Storage>> OpenDirectory(
    const std::string& path, const DirectoryOptions& options);

// Returns: the storage of that name in this process, which lives as long as
// somebody holds it.
std::shared_ptr<Storage> OpenMemory(const std::string& name);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_STORAGE_H_
