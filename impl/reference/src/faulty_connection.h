// SPDX-License-Identifier: Apache-2.0
//
// A connection that misbehaves as its plan says, around one that does not: the
// faulty broker for users' own tests. What each fault means is in
// docs/faulty-broker.md.

#ifndef OPENMESSAGING_REFERENCE_FAULTY_CONNECTION_H_
#define OPENMESSAGING_REFERENCE_FAULTY_CONNECTION_H_

#include <memory>

#include "fault_plan.h"
#include "openmessaging/driver/connection.h"

namespace openmessaging::reference {

// `inner` must complete what it is asked; it is never asked to break a promise.
std::unique_ptr<driver::Connection> MakeFaultyConnection(
    std::unique_ptr<driver::Connection> inner, const FaultPlan& plan);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FAULTY_CONNECTION_H_
