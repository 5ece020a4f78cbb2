// SPDX-License-Identifier: Apache-2.0

#include "evacuation.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "deduplication_table.h"
#include "delay_table.h"
#include "message_reader.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "prepared_table.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// Below that the log is short enough.
constexpr uint32_t kLeastSegments = 3;
// Appended together.
constexpr size_t kMovedBatch = 64;
constexpr uint64_t kMovedBatchBytes = uint64_t{256} << 10;
// In one look, so that others find the retire lock free and the housekeeper goes
// on with the rest of its work.
constexpr uint64_t kEvacuationBytes = uint64_t{16} << 20;
constexpr std::chrono::milliseconds kEvacuationTime{100};
// Of more messages in a row some so many are measured.
constexpr uint64_t kMeasured = 4096;

// The flags of a record that say something of its message.
constexpr uint8_t kMovedFlags = kDisk | kOnce | kExpires | kBodyApart;

uint8_t RecordFlagsOf(uint16_t index_flags) {
  return static_cast<uint8_t>(
      ((index_flags & kIndexDisk) != 0 ? kDisk : 0) |
      ((index_flags & kIndexExpires) != 0 ? kExpires : 0) |
      ((index_flags & kIndexOnce) != 0 ? kOnce : 0));
}

}  // namespace

// What is appended together, and what that refers to.
struct Evacuation::Batch {
  Batch() {
    appends.reserve(kMovedBatch);
    heads.reserve(kMovedBatch);
  }
  bool full() const {
    return appends.size() == kMovedBatch || bytes >= kMovedBatchBytes;
  }

  std::vector<Append> appends{};
  // Never moved: entries refer to them.
  std::vector<MovedHead> heads{};
  std::vector<std::shared_ptr<Segment>> segments{};
  uint64_t bytes = 0;
  // Of all batches.
  uint64_t all_bytes = 0;
};

uint64_t Evacuation::BytesAt(uint64_t position) const {
  const auto segment = store_->segments().Find(position);
  if (!segment.ok()) return 0;
  RecordHeader header;
  std::memcpy(&header, (*segment)->Read(position), sizeof(header));
  if (header.position != position) return 0;
  return PaddedBytes(CommitWord::Length(header.commit));
}

std::vector<uint64_t> Evacuation::LiveBytes(uint32_t first,
                                            uint32_t current) const {
  SegmentMap& segments = store_->segments();
  const Control& control = store_->control();
  const int64_t now_ns = store_->environment().clock->BootNs();
  const uint64_t below = segments.entry(current).base.Load();
  std::vector<uint64_t> bases;
  for (uint32_t n = first; n != current; ++n) {
    bases.push_back(segments.entry(n).base.Load());
  }
  std::vector<uint64_t> bytes(bases.size());
  const auto add = [&](uint64_t position, uint64_t again) {
    const auto behind = std::upper_bound(bases.begin(), bases.end(), position);
    if (behind == bases.begin()) return;
    bytes[static_cast<size_t>(behind - bases.begin()) - 1] += again;
  };
  for (const NeededMessages& needed : FindNeeded(*store_)) {
    const uint64_t dense =
        std::max(needed.from, needed.partition->whole_from.Load());
    const uint64_t stride =
        1 + (std::max(needed.end, dense) - dense) / kMeasured;
    needed.ForEachBelow(
        control, below, stride,
        [&](uint64_t offset, const std::optional<IndexHit>& hit) {
          if (hit) {
            add(hit->position, BytesAt(hit->position) *
                                   (offset >= dense ? stride : 1));
          }
          return true;
        });
  }
  for (const Delayed& delayed : DelayTable(&control).All(INT64_MAX, below)) {
    add(delayed.position, delayed.bytes);
  }
  for (const Deduplicated& fact :
       DeduplicationTable(&control).All(now_ns, below)) {
    add(fact.position, sizeof(DeduplicatedImage));
  }
  for (const Prepared& said : PreparedTable(&control).All(now_ns, below)) {
    add(said.position, said.state == PreparedState::kUndecided
                           ? said.bytes
                           : sizeof(OutcomeImage));
  }
  return bytes;
}

bool Evacuation::Pays(uint32_t first, uint32_t current) const {
  if (current - first < kLeastSegments) return false;
  const std::vector<uint64_t> bytes = LiveBytes(first, current);
  if (bytes[0] > store_->log().SpareForRenewal()) return false;
  uint64_t live = 0;
  uint64_t all = 0;
  for (uint32_t n = first; n != current; ++n) {
    live += bytes[n - first];
    all += store_->segments().entry(n).capacity.Load();
    if (live <= all / 4) return true;
  }
  return false;
}

bool Evacuation::Add(const NeededMessages& needed, uint64_t offset,
                     const IndexHit& hit, Batch& batch) const {
  IndexReader index(&store_->control(), needed.partition,
                    needed.queue_partition);
  Append append;
  append.type = RecordType::kMoved;
  append.queue_partition = needed.queue_partition;
  append.partition = needed.partition;
  append.alive = needed.queue;
  append.offset = offset;
  append.key_hash = hit.key_hash;
  append.source_position = hit.position;
  append.guard = index.Place(offset);
  if (append.guard == nullptr) return true;  // Buried a moment ago.
  append.guarded = append.guard->Load();
  MovedHead head;
  head.from = hit.position;
  const bool buried = (append.guarded & kBuriedBit) != 0;
  head.buried = buried && !OMS_PLANTED(kMovedUnburied) ? 1 : 0;
  auto segment = store_->segments().Find(hit.position);
  if (!segment.ok() && OmsCode(segment.status()) != Code::kQueueNotFound) {
    return false;
  }
  if (segment.ok() &&
      IsReadable(*store_, **segment,
                 {needed.queue_partition, offset, hit.position})) {
    const char* const record = (*segment)->Read(hit.position);
    RecordHeader header;
    std::memcpy(&header, record, sizeof(header));
    const uint8_t flags = CommitWord::Flags(header.commit);
    const MessageIdentity identity = IdentityOf(header, record);
    head.sequence = identity.sequence;
    head.epoch = identity.epoch;
    head.store_ms = identity.store_ms;
    append.store_ms = header.store_ms;
    append.flags = flags & kMovedFlags;
    // As pending as the source is: who flushes completes either.
    if ((flags & kBodyApart) != 0) append.flags |= flags & kPayloadPending;
    append.pieces[1] = MessageFields(header, record);
    append.pieces[2] = {
        record + sizeof(header) + header.fields_bytes,
        CommitWord::Length(header.commit) - sizeof(header) -
            header.fields_bytes};
    batch.segments.push_back(*std::move(segment));
  } else {
    // It could not be told any more that there was one.
    head.damaged = 1;
    append.flags = RecordFlagsOf(hit.flags);
  }
  if (!store_->volatile_storage() && (append.flags & kDisk) == 0) {
    append.flags |= kPayloadPending;
  }
  const MovedHead& kept = batch.heads.emplace_back(head);
  append.pieces[0] = {reinterpret_cast<const char*>(&kept), sizeof(kept)};
  batch.bytes += PaddedBytes(append.bytes());
  batch.appends.push_back(append);
  return true;
}

bool Evacuation::Flush(Batch& batch, TimePoint deadline) const {
  store_->log().AppendAll(batch.appends,
                          store_->environment().clock->WallMs(), deadline);
  bool all = true;
  for (const Append& append : batch.appends) {
    // Its queue was deleted, or it expired and moved to the dead-letter queue.
    const Code code = OmsCode(append.status);
    // Or its body was given back, when a retirement that failed found it settled.
    all = all && (append.status.ok() || code == Code::kQueueNotFound ||
                  code == Code::kReceiptExpired || code == Code::kDamaged);
  }
  batch.all_bytes += batch.bytes;
  batch.bytes = 0;
  batch.appends.clear();
  batch.heads.clear();
  batch.segments.clear();
  return all;
}

Evacuation::Progress Evacuation::Run(uint64_t boundary, TimePoint deadline) {
  const TimePoint until = std::chrono::steady_clock::now() + kEvacuationTime;
  Batch batch;
  Progress progress = Progress::kDone;
  for (const NeededMessages& needed : FindNeeded(*store_)) {
    needed.ForEachBelow(
        store_->control(), boundary, 1,
        [&](uint64_t offset, const std::optional<IndexHit>& hit) {
          // A message whose place is unknown may lie anywhere.
          if (!hit || !Add(needed, offset, *hit, batch) ||
              (batch.full() && !Flush(batch, deadline))) {
            progress = Progress::kFailed;
          } else if (batch.appends.empty() &&
                     (batch.all_bytes >= kEvacuationBytes ||
                      std::chrono::steady_clock::now() >= until)) {
            progress = Progress::kPartly;
          }
          return progress == Progress::kDone;
        });
    if (progress != Progress::kDone) break;
  }
  if (!batch.appends.empty() && !Flush(batch, deadline)) {
    progress = Progress::kFailed;
  }
  return progress;
}

}  // namespace openmessaging::reference
