// SPDX-License-Identifier: Apache-2.0
//
// CheckStore for any storage.

#ifndef OPENMESSAGING_REFERENCE_CHECK_STORAGE_H_
#define OPENMESSAGING_REFERENCE_CHECK_STORAGE_H_

#include <string>

#include "absl/status/statusor.h"
#include "env/environment.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference {

// As CheckStore. `name` is for the text of errors.
absl::StatusOr<CheckReport> CheckStorage(Storage& storage, const Clock& clock,
                                         const std::string& name,
                                         const CheckProgress& progress = {});

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CHECK_STORAGE_H_
