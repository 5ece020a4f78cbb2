// SPDX-License-Identifier: Apache-2.0
//
// SETTLED records: what a transaction acknowledged for one group in the
// partition that the header names. Its queue offset is the group's number.

#ifndef OPENMESSAGING_REFERENCE_SETTLED_RECORD_H_
#define OPENMESSAGING_REFERENCE_SETTLED_RECORD_H_

#include <cstdint>
#include <cstring>

#include "format.h"

namespace openmessaging::reference {

// The body of the record begins with this.
struct SettledHead {
  uint32_t group = 0;
  uint32_t reserved = 0;
  uint64_t floor = 0;  // As in DeadSource.
};
static_assert(sizeof(SettledHead) == 16);

// Behind it, one for each message.
struct SettledMessage {
  uint64_t offset = 0;
  uint32_t attempts = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(SettledMessage) == 16);

// Calls `visit` with each message that a SETTLED record names, in the form that
// a DEAD record names its one. `record` is as long as its header says.
template <typename Visit>
void ForEachSettled(const RecordHeader& header, const char* record,
                    const Visit& visit) {
  uint64_t at = sizeof(header) + uint64_t{header.fields_bytes};
  const uint64_t end = CommitWord::Length(header.commit);
  SettledHead head;
  if (at + sizeof(head) > end) return;
  std::memcpy(&head, record + at, sizeof(head));
  SettledMessage message;
  for (at += sizeof(head); at + sizeof(message) <= end; at += sizeof(message)) {
    std::memcpy(&message, record + at, sizeof(message));
    visit(DeadSource{head.group, header.queue_partition, message.offset,
                     head.floor, message.attempts, 0});
  }
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SETTLED_RECORD_H_
