// SPDX-License-Identifier: Apache-2.0
//
// The header of a record, read from bytes that may be damaged.

#ifndef OPENMESSAGING_REFERENCE_SOUND_HEADER_H_
#define OPENMESSAGING_REFERENCE_SOUND_HEADER_H_

#include <cstdint>
#include <cstring>

#include "format.h"

namespace openmessaging::reference {

// Copies into `header` what would be that of a record at `position`, whose
// bytes are `record` and go on for `room`. `salt`: that of the segment.
// Returns: whether it is whole, of this place, and within the room.
inline bool ReadSoundHeader(const char* record, uint64_t room,
                            uint64_t position, uint64_t salt,
                            RecordHeader& header) {
  if (room < sizeof(header)) return false;
  std::memcpy(&header, record, sizeof(header));
  if (header.commit == 0 || header.position != position) return false;
  const uint32_t length = CommitWord::Length(header.commit);
  const auto type = static_cast<uint8_t>(CommitWord::Type(header.commit));
  return length >= sizeof(header) && length <= room && type >= 1 &&
         type <= kLastRecordType &&
         header.fields_bytes <= length - sizeof(header) &&
         SealOf(header, salt) == header.header_checksum;
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SOUND_HEADER_H_
