// SPDX-License-Identifier: Apache-2.0

#include "message_reader.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

absl::Status Verify(const Store& store, const Segment& segment,
                    std::string_view queue, const RecordHeader& header,
                    const char* record, const MessagePlace& place) {
  const auto damaged = [&](std::string_view what) {
    return MakeStatus(Code::kDamaged, "receive from \"", queue,
                      "\": the message at ", "offset ", place.offset,
                      " (position ", place.position, ") is damaged: ", what,
                      "; it is skipped");
  };
  const uint32_t length = CommitWord::Length(header.commit);
  if (header.position != place.position || header.offset != place.offset ||
      header.queue_partition != place.queue_partition ||
      !HoldsMessage(CommitWord::Type(header.commit)) ||
      length < sizeof(header) || length > segment.end() - place.position ||
      header.fields_bytes > length - sizeof(header) ||
      (CommitWord::Type(header.commit) == RecordType::kDue &&
       header.fields_bytes < sizeof(DelayHead))) {
    return damaged("its header is not one of this place");
  }
  if (CommitWord::Type(header.commit) == RecordType::kDue &&
      DelayHeadOf(header, record).damaged != 0) {
    return damaged("it was so when it was due");
  }
  // What was appended since this process came is in the page cache as it was
  // written; what lay there before may have been on a disk meanwhile.
  if (place.position >= store.opened_end() || store.volatile_storage()) {
    return absl::OkStatus();
  }
  if (SealOf(header, segment.salt()) != header.header_checksum) {
    return damaged("the checksum of its header is wrong");
  }
  if ((CommitWord::Flags(header.commit) & kPayloadPending) == 0 &&
      Crc32c(0, record + sizeof(header), length - sizeof(header)) !=
          header.payload_checksum) {
    return damaged("the checksum of its body is wrong");
  }
  return absl::OkStatus();
}

}  // namespace

SegmentHolder::SegmentHolder(std::shared_ptr<Segment> segment_in,
                             std::shared_ptr<const Queue> queue_in,
                             const Store& store)
    : internal::MessageHolder([](internal::MessageHolder* holder) {
        delete static_cast<SegmentHolder*>(holder);
      }),
      segment(std::move(segment_in)),
      queue(std::move(queue_in)) {
  store_id = store.uuid();
  destination = queue->name;
  store_host = store.environment().host;
}

bool IsExpired(const Store& store, const Segment& segment,
               const MessagePlace& place) {
  const char* const record = segment.Read(place.position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  const uint32_t length = CommitWord::Length(header.commit);
  if (length < sizeof(header) || length > segment.end() - place.position ||
      header.fields_bytes > length - sizeof(header)) {
    return false;
  }
  const auto expire_ms = internal::FindNumber<int64_t>(
      MessageFields(header, record), internal::Field::kExpireAt);
  return expire_ms &&
         *expire_ms <= store.environment().clock->ExactWallMs() &&
         Verify(store, segment, {}, header, record, place).ok();
}

absl::StatusOr<Message> ReadMessage(const Store& store, SegmentHolder* holder,
                                    const MessagePlace& place,
                                    uint32_t delivery_count) {
  const char* const record = holder->segment->Read(place.position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  if (auto s = Verify(store, *holder->segment, holder->queue->name, header,
                      record, place);
      !s.ok()) {
    return s;
  }
  const std::string_view fields = MessageFields(header, record);
  const std::string_view body(
      fields.data() + fields.size(),
      CommitWord::Length(header.commit) - sizeof(header) -
          header.fields_bytes);
  driver::DeliveryHeader delivery;
  delivery.partition =
      static_cast<int32_t>(PartitionOf(place.queue_partition));
  delivery.offset = static_cast<int64_t>(place.offset);
  delivery.store_timestamp_ms = header.store_ms;
  delivery.delivery_count = static_cast<int32_t>(delivery_count);
  uint32_t epoch = header.epoch;
  uint64_t sequence = header.sequence;
  if (CommitWord::Type(header.commit) == RecordType::kDue) {
    // It is the message that came earlier.
    const DelayHead head = DelayHeadOf(header, record);
    epoch = head.epoch;
    sequence = head.sequence;
    delivery.store_timestamp_ms = head.store_ms;
  }
  holder->Ref();
  return driver::MessageAccess::View(holder, fields, body, epoch, sequence,
                                     delivery);
}

}  // namespace openmessaging::reference
