// SPDX-License-Identifier: Apache-2.0
//
// Reading a file that the command line names.

#ifndef OPENMESSAGING_TOOLS_OMS_READ_FILE_H_
#define OPENMESSAGING_TOOLS_OMS_READ_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace openmessaging::tools {

// Reads all of a file, "-" being the standard input; of one over `max_bytes` as
// much as shows that it is.
// Errors: 1418 it cannot be read; names `argument`, which asked for it.
absl::StatusOr<std::string> ReadFile(const std::string& name, size_t max_bytes,
                                     std::string_view argument);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_READ_FILE_H_
