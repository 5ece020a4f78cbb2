// SPDX-License-Identifier: Apache-2.0

#ifndef OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_
#define OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_

#include <string>

namespace openmessaging::conformance {

// Returns: "1.234".
std::string Seconds(double seconds);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_
