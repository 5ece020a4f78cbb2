// SPDX-License-Identifier: Apache-2.0
//
// From a record of the log to the message that is in it.

#ifndef OPENMESSAGING_REFERENCE_MESSAGE_READER_H_
#define OPENMESSAGING_REFERENCE_MESSAGE_READER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "catalog.h"
#include "openmessaging/internal/message_holder.h"
#include "openmessaging/message.h"
#include "segment_map.h"
#include "store.h"

namespace openmessaging::reference {

// Keeps the segment of received messages mapped; one for each queue, segment
// and consumer.
struct SegmentHolder final : internal::MessageHolder {
  SegmentHolder(std::shared_ptr<Segment> segment_in,
                std::shared_ptr<const Queue> queue_in, const Store& store);

  const std::shared_ptr<Segment> segment;
  const std::shared_ptr<const Queue> queue;
  // Of a queue with priorities, the partitions of each lane; else 0.
  const uint32_t lane_partitions;
};

// Keeps a large body mapped, and the segment of its record; one for each message.
struct LargeBodyHolder final : internal::MessageHolder {
  LargeBodyHolder(std::unique_ptr<Region> region_in, SegmentHolder* record_in);

  const std::unique_ptr<Region> region;
  SegmentHolder* const record;
};

// Keeps the bytes of one message where mapped ones may vanish.
struct CopyHolder final : internal::MessageHolder {
  CopyHolder(std::string bytes_in, const SegmentHolder& record);

  const std::string bytes;
  const std::shared_ptr<const Queue> queue;  // Has the name.
};

// One message of a queue: where the index says that it is.
struct MessagePlace {
  uint32_t queue_partition = 0;
  uint64_t offset = 0;
  uint64_t position = 0;
};

// What a message is known by, which its record has from where it came first.
struct MessageIdentity {
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  int64_t store_ms = 0;
};

// Returns: whose record it is; of one that holds a message. `record` is as long
// as its header says.
MessageIdentity IdentityOf(const RecordHeader& header, const char* record);

// Returns: whether a record is of that place and is not damaged.
bool IsReadable(const Store& store, const Segment& segment,
                const MessagePlace& place);

// Returns: whether the time of a message that expires has come. A damaged one
// has not expired: that it is damaged is for its receiver to learn.
bool IsExpired(const Store& store, const Segment& segment,
               const MessagePlace& place);

// Reads a message without a copy: it refers to `holder`, whose segment has the
// position. A record that may have been on a disk since this process could
// know it is verified. A large body has a holder of its own. Where pages are
// guarded it is a copy after all.
// Errors: 1609 the record or its body is damaged, or not of this place; 1404 it
// was retired; 1501 a large body cannot be mapped now, or a page was lost.
absl::StatusOr<Message> ReadMessage(Store& store, SegmentHolder* holder,
                                    const MessagePlace& place,
                                    uint32_t delivery_count);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_MESSAGE_READER_H_
