// SPDX-License-Identifier: Apache-2.0
//
// Opens a store after a power loss and compares what it has with what its
// applications did and were told: the invariants of docs/reliability.md.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_JUDGE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_JUDGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "power/model.h"
#include "power/trace.h"

namespace openmessaging::reference::power {

// What is asked of a state.
struct Terms {
  size_t cut = 0;  // The place of the model's trace.
  uint64_t seed = 0;
  // The drive lied about a flush: anything may be lost, nothing invented.
  bool lied = false;
};

// Returns: what is wrong with the store that opens on `image`; empty: nothing.
std::string Judge(const Model& model, const Image& image, const Terms& terms);

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_JUDGE_H_
