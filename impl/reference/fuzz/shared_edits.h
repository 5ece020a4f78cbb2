// SPDX-License-Identifier: Apache-2.0
//
// Changes to the files that living processes share, as the fuzzer's bytes say.

#ifndef OPENMESSAGING_REFERENCE_FUZZ_SHARED_EDITS_H_
#define OPENMESSAGING_REFERENCE_FUZZ_SHARED_EDITS_H_

#include <string>

#include "input.h"

namespace openmessaging::reference {

// Changes one thing of the crashed sample's ctl, or of its idx.
void EditControl(fuzz::Input& input, std::string& ctl);
void EditIndex(fuzz::Input& input, std::string& idx);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FUZZ_SHARED_EDITS_H_
