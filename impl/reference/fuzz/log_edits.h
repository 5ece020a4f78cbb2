// SPDX-License-Identifier: Apache-2.0
//
// Changes to segments and their records as the fuzzer's bytes say, most of them
// with checksums made right, so that whoever reads them believes them.

#ifndef OPENMESSAGING_REFERENCE_FUZZ_LOG_EDITS_H_
#define OPENMESSAGING_REFERENCE_FUZZ_LOG_EDITS_H_

#include "hostile_files.h"
#include "input.h"

namespace openmessaging::reference {

// Changes one thing of the log.
void EditLog(fuzz::Input& input, HostileFiles& files);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FUZZ_LOG_EDITS_H_
