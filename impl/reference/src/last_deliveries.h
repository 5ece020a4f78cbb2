// SPDX-License-Identifier: Apache-2.0
//
// Messages that had their last delivery move to the dead-letter queue when a
// member of their group looks, and where none does, by this.

#ifndef OPENMESSAGING_REFERENCE_LAST_DELIVERIES_H_
#define OPENMESSAGING_REFERENCE_LAST_DELIVERIES_H_

namespace openmessaging::reference {

class Store;

// Looks at every group whose queue has max_deliveries, and moves what had that
// many and was given back, or whose lease is over. Those that are not exhausted
// stay for the members. What cannot be moved now is tried by the next look.
//
// Threads: any; others may do the same.
void MoveLastDeliveries(Store& store);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_LAST_DELIVERIES_H_
