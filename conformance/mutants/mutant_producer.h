// SPDX-License-Identifier: Apache-2.0

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_PRODUCER_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_PRODUCER_H_

#include <memory>

#include "mutants.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/producer.h"

namespace openmessaging::conformance {

// A producer with the faults that are of sending. `connection` made `inner` and
// outlives it.
std::unique_ptr<driver::Producer> MakeMutantProducer(
    driver::Connection& connection, std::unique_ptr<driver::Producer> inner,
    Mutant mutant);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_PRODUCER_H_
