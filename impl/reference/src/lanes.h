// SPDX-License-Identifier: Apache-2.0
//
// How the log counts the partitions of a queue with priorities.

#ifndef OPENMESSAGING_REFERENCE_LANES_H_
#define OPENMESSAGING_REFERENCE_LANES_H_

#include <cstdint>

#include "openmessaging/queue_info.h"

namespace openmessaging::reference {

// One for each priority, the highest first.
inline constexpr uint32_t kLanes = 10;

// Returns: how many partitions the log counts. In a queue with priorities each
// lane of a partition is one, so that index, windows, retention and all else
// that is kept for a partition serve lanes as they are. Only those who meet
// applications know better (docs/design/priority.md).
inline uint32_t LoggedPartitions(const QueueOptions& options) {
  return static_cast<uint32_t>(options.partitions) *
         (options.priorities ? kLanes : 1);
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_LANES_H_
