// SPDX-License-Identifier: Apache-2.0
//
// Reading one partition: from hand-outs to messages.

#include <algorithm>
#include <cstring>
#include <utility>

#include "consumer.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

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

BoundPartition::BoundPartition(Store* store, std::shared_ptr<const Queue> queue,
                               std::shared_ptr<const Group> group,
                               uint32_t partition)
    : store_(store),
      queue_(std::move(queue)),
      group_(std::move(group)),
      queue_partition_(QueuePartition(queue_->id, partition)),
      state_(queue_->state->partition(partition)),
      cursor_(group_->state->cursor(partition)) {}

BoundPartition::~BoundPartition() {
  if (holder_ != nullptr) holder_->Unref();
}

absl::StatusOr<bool> BoundPartition::EnsureWindow(TimePoint deadline) {
  if (window() != nullptr) return true;
  const bool used = cursor_->window.Load() != 0;
  if (!used && state_->next_offset.Load() <= cursor_->next.Load()) return false;
  if (auto s = store_->catalog().EnsureWindow(*cursor_, deadline); !s.ok()) {
    return s;
  }
  held_.resize(store_->control().header().options.window);
  window_.emplace(&store_->control(), &store_->environment(),
                  &store_->liveness(), state_, queue_partition_, cursor_);
  ready_.store(&*window_, std::memory_order_release);
  return true;
}

bool BoundPartition::MayHave(int64_t now_ns) {
  if (const GroupWindow* const ready = window()) return ready->MayHave(now_ns);
  return cursor_->window.Load() != 0 ||
         state_->next_offset.LoadSequential() > cursor_->next.Load();
}

int64_t BoundPartition::NextLookNs() const {
  return window() != nullptr ? cursor_->next_scan_ns.Load() : INT64_MAX;
}

absl::Status BoundPartition::UseSegment(uint64_t position) {
  if (holder_ != nullptr && holder_->segment->Contains(position)) {
    return absl::OkStatus();
  }
  auto segment = store_->segments().Find(position);
  if (!segment.ok()) return segment.status();
  if (holder_ != nullptr) holder_->Unref();
  holder_ = new SegmentHolder(*std::move(segment), queue_, *store_);
  return absl::OkStatus();
}

absl::Status BoundPartition::Verify(const RecordHeader& header,
                                    const char* record,
                                    const HandOut& out) const {
  const auto damaged = [&](std::string_view what) {
    return MakeStatus(Code::kDamaged, "receive from \"",
                      std::string_view(queue_->name), "\": the message at ",
                      "offset ", out.offset, " (position ", out.position,
                      ") is damaged: ", what, "; it is skipped");
  };
  const uint32_t length = CommitWord::Length(header.commit);
  const Segment& segment = *holder_->segment;
  if (header.position != out.position || header.offset != out.offset ||
      header.queue_partition != queue_partition_ ||
      CommitWord::Type(header.commit) != RecordType::kMessage ||
      length < sizeof(header) || length > segment.end() - out.position ||
      header.fields_bytes > length - sizeof(header)) {
    return damaged("its header is not one of this place");
  }
  // What was appended since this process came is in the page cache as it was
  // written; what lay there before may have been on a disk meanwhile.
  if (out.position >= store_->opened_end() || store_->volatile_storage()) {
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

absl::StatusOr<Message> BoundPartition::Load(const HandOut& out) {
  if (auto s = UseSegment(out.position); !s.ok()) return s;
  const char* const record = holder_->segment->Read(out.position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  if (auto s = Verify(header, record, out); !s.ok()) return s;
  const std::string_view fields(record + sizeof(header), header.fields_bytes);
  const std::string_view body(
      fields.data() + fields.size(),
      CommitWord::Length(header.commit) - sizeof(header) - fields.size());
  driver::DeliveryHeader delivery;
  delivery.partition = static_cast<int32_t>(PartitionOf(queue_partition_));
  delivery.offset = static_cast<int64_t>(out.offset);
  delivery.store_timestamp_ms = header.store_ms;
  delivery.delivery_count = static_cast<int32_t>(out.word.attempts());
  holder_->Ref();
  return driver::MessageAccess::View(holder_, fields, body, header.epoch,
                                     header.sequence, delivery);
}

void BoundPartition::Remember(const HandOut& out) {
  held_[out.offset % held_.size()] = out.word.bits();
}

void BoundPartition::ReturnHeld() {
  if (window() == nullptr) return;
  const uint64_t next = cursor_->next.Load();
  for (uint64_t offset = cursor_->floor.Load(); offset < next; ++offset) {
    const DeliveryWord word(held_[offset % held_.size()]);
    if (word.Is(offset)) window_->Return(offset, word);
  }
}

}  // namespace openmessaging::reference
