// SPDX-License-Identifier: Apache-2.0

#include "held_message.h"

#include <charconv>
#include <cstring>
#include <utility>

#include "checksum.h"
#include "key_hash.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/message_id.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "store.h"

namespace openmessaging::reference {

absl::StatusOr<HeldMessage> ReadHeld(Store& store, uint64_t position,
                                     RecordType type, size_t head_bytes) {
  HeldMessage held;
  held.damaged = true;
  auto found = store.segments().Find(position);
  if (!found.ok()) {
    // Its segment is lost; what was renewed is found anew.
    if (OmsCode(found.status()) == Code::kQueueNotFound) return held;
    return found.status();
  }
  const Segment& segment = **found;
  const char* const record = segment.Read(position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  const uint32_t length = CommitWord::Length(header.commit);
  const bool sound =
      header.position == position && CommitWord::Type(header.commit) == type &&
      length >= sizeof(header) && length <= segment.end() - position &&
      header.fields_bytes <= length - sizeof(header) &&
      header.fields_bytes >= head_bytes &&
      // As where a message is received: what was on a disk is verified.
      (store.volatile_storage() || position >= store.opened_end() ||
       OMS_PLANTED(kHeldUnverified) ||
       (SealOf(header, segment.salt()) == header.header_checksum &&
        ((CommitWord::Flags(header.commit) & kPayloadPending) != 0 ||
         Crc32c(0, record + sizeof(header), length - sizeof(header)) ==
             header.payload_checksum)));
  if (!sound) return held;
  held.head = std::string_view(record + sizeof(header), head_bytes);
  held.fields = std::string_view(record + sizeof(header), header.fields_bytes)
                    .substr(head_bytes);
  held.body = {held.fields.data() + held.fields.size(),
               length - sizeof(header) - header.fields_bytes};
  held.flags = CommitWord::Flags(header.commit) &
               static_cast<uint8_t>(~(kPayloadPending | kMore | kDeduplicated));
  held.key_hash =
      KeyHash(internal::FindField(held.fields, internal::Field::kMessageKey)
                  .value_or(std::string_view()));
  // One that was damaged before says so, and nothing else.
  HeldHead head;
  std::memcpy(&head, held.head.data(), sizeof(head));
  held.damaged = head.damaged != 0;
  held.segment = *std::move(found);
  return held;
}

bool IsAtDisk(Store& store, uint64_t position) {
  const auto segment = store.segments().Find(position);
  if (!segment.ok()) return true;
  const uint64_t word =
      At<Shared<uint64_t>>((*segment)->Write(position), 0).Load();
  return (CommitWord::Flags(word) & kDisk) != 0;
}

std::optional<HeldId> ParseHeldId(std::string_view id, Store& store) {
  // The ids of one store differ behind its own.
  const std::string prefix = MessageId(store.uuid(), 0, 0).ToString();
  const size_t digits = prefix.find('-');
  if (id.substr(0, digits + 1) !=
      std::string_view(prefix).substr(0, digits + 1)) {
    return std::nullopt;
  }
  HeldId named;
  const char* const end = id.data() + id.size();
  const auto epoch =
      std::from_chars(id.data() + digits + 1, end, named.epoch);
  if (epoch.ec != std::errc() || epoch.ptr == end || *epoch.ptr != '-') {
    return std::nullopt;
  }
  const auto sequence = std::from_chars(epoch.ptr + 1, end, named.sequence);
  if (sequence.ec != std::errc() || sequence.ptr != end) return std::nullopt;
  const ControlHeader& header = store.control().header();
  if (named.epoch > header.epoch ||
      named.sequence > header.append.sequence.Load()) {
    return std::nullopt;
  }
  return named;
}

}  // namespace openmessaging::reference
