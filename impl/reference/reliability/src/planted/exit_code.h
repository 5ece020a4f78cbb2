// SPDX-License-Identifier: Apache-2.0
//
// How a program with planted bugs ends where it could not be tried. No test
// ends so.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_EXIT_CODE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_EXIT_CODE_H_

namespace openmessaging::reference::planted {

inline constexpr int kNoSuchBug = 97;
inline constexpr int kNotStarted = 98;

}  // namespace openmessaging::reference::planted
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_EXIT_CODE_H_
