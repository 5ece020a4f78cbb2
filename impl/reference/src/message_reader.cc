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

absl::Status DamagedMessage(std::string_view queue, const MessagePlace& place,
                            std::string_view what) {
  return MakeStatus(Code::kDamaged, "receive from \"", queue,
                    "\": the message at ", "offset ", place.offset,
                    " (position ", place.position, ") is damaged: ", what,
                    "; it is skipped");
}

// What was appended since this process came is in the page cache as it was
// written; what lay there before may have been on a disk meanwhile.
bool MayBeChanged(const Store& store, const MessagePlace& place) {
  return place.position < store.opened_end() && !store.volatile_storage();
}

absl::Status Verify(const Store& store, const Segment& segment,
                    std::string_view queue, const RecordHeader& header,
                    const char* record, const MessagePlace& place) {
  const auto damaged = [&](std::string_view what) {
    return DamagedMessage(queue, place, what);
  };
  const uint32_t length = CommitWord::Length(header.commit);
  if (header.position != place.position || header.offset != place.offset ||
      header.queue_partition != place.queue_partition ||
      !HoldsMessage(CommitWord::Type(header.commit)) ||
      length < sizeof(header) || length > segment.end() - place.position ||
      header.fields_bytes > length - sizeof(header) ||
      (WasHeld(CommitWord::Type(header.commit)) &&
       header.fields_bytes < sizeof(HeldHead)) ||
      (CommitWord::Type(header.commit) == RecordType::kRouted &&
       header.fields_bytes < sizeof(RoutedHead)) ||
      (CommitWord::Type(header.commit) == RecordType::kMoved &&
       header.fields_bytes < sizeof(MovedHead))) {
    return damaged("its header is not one of this place");
  }
  if (WasHeld(CommitWord::Type(header.commit)) &&
      HeldHeadOf(header, record).damaged != 0) {
    return damaged("it was so when it entered its queue");
  }
  if (CommitWord::Type(header.commit) == RecordType::kMoved &&
      MovedHeadOf(header, record).damaged != 0) {
    return damaged("it was so when its segment was given back");
  }
  if (!MayBeChanged(store, place)) return absl::OkStatus();
  if (SealOf(header, segment.salt()) != header.header_checksum) {
    return damaged("the checksum of its header is wrong");
  }
  if ((CommitWord::Flags(header.commit) & kPayloadPending) != 0) {
    // Nobody makes a record durable without its checksum.
    if (place.position >= store.opened_durable()) return absl::OkStatus();
    return damaged("no checksum covers its body");
  }
  if (Crc32c(0, record + sizeof(header), length - sizeof(header)) !=
      header.payload_checksum) {
    return damaged("the checksum of its body is wrong");
  }
  return absl::OkStatus();
}

// Errors: as ReadMessage.
absl::StatusOr<std::unique_ptr<Region>> MapBody(Store& store,
                                                const SegmentHolder& holder,
                                                const RecordHeader& header,
                                                const char* record,
                                                const MessagePlace& place) {
  const auto body = LargeBodyOf(header, record);
  if (!body || body->bytes == 0 || body->bytes > UINT32_MAX) {
    return DamagedMessage(holder.queue->name, place,
                          "it does not name its body");
  }
  auto region = store.bodies().Map(*body);
  const Code code = OmsCode(region.status());
  if (code == Code::kQueueNotFound) {
    if (place.position <
        store.control().header().catalog.bodies_from.Load()) {
      return region;
    }
    return DamagedMessage(holder.queue->name, place,
                          "the file of its body is missing");
  }
  if (code == Code::kDamaged) {
    return DamagedMessage(holder.queue->name, place,
                          "the file of its body was cut");
  }
  if (!region.ok()) return region;
  const bool pending =
      (CommitWord::Flags(header.commit) & kPayloadPending) != 0;
  if (MayBeChanged(store, place) && !pending &&
      Crc32c(0, (*region)->data(), body->bytes) != body->checksum) {
    return DamagedMessage(holder.queue->name, place,
                          "the checksum of its body is wrong");
  }
  return region;
}

Message CopyOf(const SegmentHolder& record, std::string_view fields,
               std::string_view body, const MessageIdentity& identity,
               const driver::DeliveryHeader& delivery) {
  std::string bytes;
  bytes.reserve(fields.size() + body.size());
  bytes.append(fields);
  bytes.append(body);
  auto* const holder = new CopyHolder(std::move(bytes), record);
  const std::string_view copy = holder->bytes;
  return driver::MessageAccess::View(
      holder, copy.substr(0, fields.size()), copy.substr(fields.size()),
      identity.epoch, identity.sequence, delivery);
}

absl::StatusOr<Message> ReadMapped(Store& store, SegmentHolder* holder,
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
  uint32_t partition = PartitionOf(place.queue_partition);
  if (holder->lane_partitions != 0) partition %= holder->lane_partitions;
  delivery.partition = static_cast<int32_t>(partition);
  delivery.offset = static_cast<int64_t>(place.offset);
  delivery.delivery_count = static_cast<int32_t>(delivery_count);
  const MessageIdentity identity = IdentityOf(header, record);
  delivery.store_timestamp_ms = identity.store_ms;
  std::unique_ptr<Region> region;
  std::string_view apart = body;
  if ((CommitWord::Flags(header.commit) & kBodyApart) != 0) {
    auto mapped = MapBody(store, *holder, header, record, place);
    if (!mapped.ok()) return mapped.status();
    region = *std::move(mapped);
    apart = {region->data(), region->size()};
  }
  if (store.guards_pages()) {
    return CopyOf(*holder, fields, apart, identity, delivery);
  }
  if (region != nullptr) {
    return driver::MessageAccess::View(
        new LargeBodyHolder(std::move(region), holder), fields, apart,
        identity.epoch, identity.sequence, delivery);
  }
  holder->Ref();
  return driver::MessageAccess::View(holder, fields, body, identity.epoch,
                                     identity.sequence, delivery);
}

}  // namespace

SegmentHolder::SegmentHolder(std::shared_ptr<Segment> segment_in,
                             std::shared_ptr<const Queue> queue_in,
                             const Store& store)
    : internal::MessageHolder([](internal::MessageHolder* holder) {
        delete static_cast<SegmentHolder*>(holder);
      }),
      segment(std::move(segment_in)),
      queue(std::move(queue_in)),
      lane_partitions(queue->has_priorities() ? queue->lane_partitions : 0) {
  store_id = store.uuid();
  destination = queue->name;
  store_host = store.environment().host;
}

LargeBodyHolder::LargeBodyHolder(std::unique_ptr<Region> region_in,
                                 SegmentHolder* record_in)
    : internal::MessageHolder([](internal::MessageHolder* holder) {
        auto* const mine = static_cast<LargeBodyHolder*>(holder);
        mine->record->Unref();
        delete mine;
      }),
      region(std::move(region_in)),
      record(record_in) {
  record->Ref();
  store_id = record->store_id;
  destination = record->destination;
  store_host = record->store_host;
  body = region->data();
}

CopyHolder::CopyHolder(std::string bytes_in, const SegmentHolder& record)
    : internal::MessageHolder([](internal::MessageHolder* holder) {
        delete static_cast<CopyHolder*>(holder);
      }),
      bytes(std::move(bytes_in)),
      queue(record.queue) {
  store_id = record.store_id;
  destination = queue->name;
  store_host = record.store_host;
}

MessageIdentity IdentityOf(const RecordHeader& header, const char* record) {
  MessageIdentity identity{header.sequence, header.epoch, header.store_ms};
  switch (CommitWord::Type(header.commit)) {
    case RecordType::kCommit:
    case RecordType::kDue: {
      // It is the message that came earlier.
      const HeldHead head = HeldHeadOf(header, record);
      return {head.sequence, head.epoch, head.store_ms};
    }
    case RecordType::kRouted: {
      // It is the message that entered another queue.
      const RoutedHead head = RoutedHeadOf(header, record);
      identity.sequence = head.sequence;
      identity.epoch = head.epoch;
      if (head.store_ms != 0) identity.store_ms = head.store_ms;
      return identity;
    }
    case RecordType::kMoved: {
      const MovedHead head = MovedHeadOf(header, record);
      return {head.sequence, head.epoch, head.store_ms};
    }
    default:
      return identity;
  }
}

bool IsReadable(const Store& store, const Segment& segment,
                const MessagePlace& place) {
  const char* const record = segment.Read(place.position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  return Verify(store, segment, {}, header, record, place).ok();
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

absl::StatusOr<Message> ReadMessage(Store& store, SegmentHolder* holder,
                                    const MessagePlace& place,
                                    uint32_t delivery_count) {
  auto message = ReadMapped(store, holder, place, delivery_count);
  // What is not there is not damaged: it may be again.
  if (auto s = store.CheckPages(); !s.ok()) return s;
  return message;
}

}  // namespace openmessaging::reference
