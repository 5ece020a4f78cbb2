// SPDX-License-Identifier: Apache-2.0
//
// What a shared word is called where a schedule is shown.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORD_NAMES_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORD_NAMES_H_

#include <string>

namespace openmessaging::reference::schedules {

// Returns: "ctl.append.lock", "ctl.slot 1.generation"; of what has no name the
// file's number and the offset in it.
std::string NameOfWord(const void* word);

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORD_NAMES_H_
