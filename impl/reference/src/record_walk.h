// SPDX-License-Identifier: Apache-2.0
//
// Walking along the records of one segment of a log that is in use.

#ifndef OPENMESSAGING_REFERENCE_RECORD_WALK_H_
#define OPENMESSAGING_REFERENCE_RECORD_WALK_H_

#include <cstdint>
#include <cstring>

#include "format.h"
#include "segment_map.h"

namespace openmessaging::reference {

// Calls `visit(header, record)` for each record in [from, to) of a segment,
// while it returns true. `to` is committed, or where the segment ends.
// `checksums`: whether those of headers are there and looked at.
// Returns: where it stopped: `to`, unless `visit` stopped it or what is there
// is not a record of that place.
template <typename Visit>
uint64_t WalkRecords(const Segment& segment, uint64_t from, uint64_t to,
                     bool checksums, const Visit& visit) {
  uint64_t position = from;
  while (position < to) {
    const char* const record = segment.Read(position);
    RecordHeader header;
    if (to - position < sizeof(header)) break;
    std::memcpy(&header, record, sizeof(header));
    const uint64_t length = CommitWord::Length(header.commit);
    if (header.position != position || length < sizeof(header) ||
        length > to - position ||
        header.fields_bytes > length - sizeof(header) ||
        (checksums &&
         SealOf(header, segment.salt()) != header.header_checksum) ||
        !visit(header, record)) {
      break;
    }
    position += PaddedBytes(length);
  }
  return position;
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_RECORD_WALK_H_
