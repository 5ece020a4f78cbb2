// SPDX-License-Identifier: Apache-2.0
//
// What is declared unsupported is asked for, to see that it is refused at once
// and leaves no trace.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_PROBES_H_
#define OPENMESSAGING_CONFORMANCE_SRC_PROBES_H_

#include <string>
#include <string_view>

#include "context.h"
#include "openmessaging/capability.h"

namespace openmessaging::conformance {

// Asks `queue`, which is declared to be without `capability`, for it.
// Returns: what was seen, for the report; empty where there is no operation
// that could be refused. Throws: Failure where it is not refused with 1600, is
// refused late or has an effect.
std::string ProbeUnsupported(Context& t, std::string_view queue,
                             Capability capability);

// Asks the driver itself, past the library that would refuse.
// Throws: Failure where it can do what it declares that it cannot.
void ProbeUnderClaim(Context& t, std::string_view queue, Capability capability);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_PROBES_H_
