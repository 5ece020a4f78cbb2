// SPDX-License-Identifier: Apache-2.0
//
// What those who look at a store from outside, without opening it, begin with.

#ifndef OPENMESSAGING_REFERENCE_OUTSIDE_H_
#define OPENMESSAGING_REFERENCE_OUTSIDE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "env/environment.h"
#include "format.h"

namespace openmessaging::reference {

// Reads STORE; its checksum is the caller's business. `operation` and
// `directory` are for the text of errors.
// Errors: 1418 here is no store, 10003 one of another format, 1501.
absl::StatusOr<StoreFile> ReadStoreFromOutside(Storage& storage,
                                               std::string_view operation,
                                               const std::string& directory);

// Returns: whether the checksum of STORE is right.
bool IsSound(const StoreFile& store);

// Opens the locks to ask about, where the store has any; opening them otherwise
// would make the file. Returns: nullptr where it has none.
std::unique_ptr<ByteLocks> LocksFromOutside(Storage& storage);

// Returns: whether some process has the store open.
bool InUse(const ByteLocks* locks, const StoreFile& store);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_OUTSIDE_H_
