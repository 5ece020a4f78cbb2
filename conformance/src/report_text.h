// SPDX-License-Identifier: Apache-2.0
//
// What reports of several forms say in the same words.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_
#define OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/capability.h"

namespace openmessaging::conformance {

// Returns: "1.234".
std::string Seconds(double seconds);

// One limit that a driver declares.
struct LimitText {
  std::string_view key{};    // max_body_bytes
  std::string_view name{};   // largest body
  std::string_view unit{};   // bytes; empty: a number.
  int64_t value = 0;
};

// Returns: those that are declared.
std::vector<LimitText> LimitTexts(const CapabilityLimits& limits);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_REPORT_TEXT_H_
