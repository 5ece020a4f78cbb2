// SPDX-License-Identifier: Apache-2.0
//
// Finding messages of one partition by when they were stored.

#ifndef OPENMESSAGING_REFERENCE_STORE_TIME_H_
#define OPENMESSAGING_REFERENCE_STORE_TIME_H_

#include <cstdint>

#include "control.h"
#include "control_file.h"
#include "segment_map.h"

namespace openmessaging::reference {

// Returns: the first offset of [first_offset, end) whose message was stored
// later than `since_ms`; `end` if none was. Store times grow along a partition
// but where somebody set the clock back, and there what it finds may lie in
// front of an older message.
uint64_t FirstStoredAt(const Control& control, SegmentMap& segments,
                       PartitionState& partition, uint32_t queue_partition,
                       uint64_t end, int64_t since_ms);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_STORE_TIME_H_
