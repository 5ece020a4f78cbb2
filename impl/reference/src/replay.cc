// SPDX-License-Identifier: Apache-2.0
//
// Replaying the log into a fresh ctl and idx.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cursor_image.h"
#include "deduplication_table.h"
#include "key_hash.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "scanner.h"
#include "settled_record.h"
#include "store.h"

namespace openmessaging::reference {

namespace {

// `record` is as long as its header says.
void IndexMessage(IndexWriter& index, PartitionState& partition,
                  const RecordHeader& header, const char* record) {
  const uint16_t flags = IndexFlagsOf(CommitWord::Flags(header.commit));
  const uint32_t key_hash =
      KeyHash(internal::FindField(MessageFields(header, record),
                                  internal::Field::kMessageKey)
                  .value_or(std::string_view()));
  if (CommitWord::Type(header.commit) == RecordType::kMoved) {
    index.Move(partition, header.queue_partition, header.offset,
               header.position, flags, key_hash);
  } else {
    index.Put(partition, header.queue_partition, header.offset,
              header.position, flags, key_hash);
  }
}

}  // namespace

// Queues and namespaces first, then groups and routes, then the rest: retirement
// appends a queue's record again behind messages and groups of it that stay where
// they are.
absl::Status Store::ReplayCatalog(
    LogScan& scan,
    absl::flat_hash_map<uint32_t, std::vector<uint64_t>>& next_offsets,
    uint64_t& retired_to) {
  std::vector<RecordHeader> queues;
  std::vector<RecordHeader> groups;
  std::vector<RecordHeader> routes;
  scan.ForEach(0, [&](const ScannedSegment& /*segment*/,
                      const RecordHeader& header, const char* record,
                      bool payload_ok) {
    const std::string_view body(
        record + sizeof(header) + header.fields_bytes,
        CommitWord::Length(header.commit) - sizeof(header) -
            header.fields_bytes);
    const RecordType type = CommitWord::Type(header.commit);
    // What lost its payload is there all the same, under a number that nobody
    // else may get.
    if (type == RecordType::kGroup) groups.push_back(header);
    // Their numbers are of one series, which Publish finds in order.
    if (type == RecordType::kQueue || type == RecordType::kNamespace) {
      queues.push_back(header);
    }
    if (type == RecordType::kRoute) routes.push_back(header);
    if (!payload_ok) return;
    if (type == RecordType::kRetire) {
      retired_to = std::max(retired_to, RetiredTo(header, record));
    }
    if (type != RecordType::kQueue) return;
    auto said = DecodeQueueRecord(body);
    if (said && !said->next.empty()) {
      said->next.resize(LoggedPartitions(said->options));
      next_offsets[QueueOf(header.queue_partition)] = std::move(said->next);
    }
  });
  for (const auto* const headers : {&queues, &groups, &routes}) {
    for (const RecordHeader& header : *headers) {
      if (auto s = catalog_->EnsurePage(); !s.ok()) return s;
      catalog_->Publish(header);
    }
  }
  // Gives each entry its state.
  return catalog_->Queues(TimePoint::max()).status();
}

absl::Status Store::FillChecksum(const RecordHeader& header) {
  auto segment = segments_->Find(header.position);
  if (!segment.ok()) return segment.status();
  char* const record = (*segment)->Write(header.position);
  if (auto body = LargeBodyOf(header, record)) {
    bool flush_failed = false;
    const absl::Status synced = bodies_->Sync(*body, flush_failed);
    // Retired, so that nobody will miss it; else it stays damaged.
    if (OmsCode(synced) == Code::kQueueNotFound ||
        OmsCode(synced) == Code::kDamaged) {
      return absl::OkStatus();
    }
    if (!synced.ok()) return synced;
    SetBodyChecksum(header, record, body->checksum);
  }
  At<Shared<uint32_t>>(record, offsetof(RecordHeader, payload_checksum))
      .StoreRelaxed(Crc32c(0, record + sizeof(header),
                           CommitWord::Length(header.commit) -
                               sizeof(header)));
  At<Shared<uint64_t>>(record, 0)
      .Store(header.commit & ~CommitWord::kPendingBit);
  return absl::OkStatus();
}

absl::Status Store::Replay(LogScan& scan) {
  absl::flat_hash_map<uint32_t, std::vector<uint64_t>> next_offsets;
  uint64_t retired_to = 0;
  if (auto s = ReplayCatalog(scan, next_offsets, retired_to); !s.ok()) return s;
  absl::flat_hash_map<uint32_t, PartitionState*> partitions;
  const auto partition_of = [&](uint32_t queue_partition) {
    auto [found, fresh] = partitions.try_emplace(queue_partition, nullptr);
    if (fresh) found->second = catalog_->FindPartition(queue_partition);
    return found->second;
  };
  struct History {
    // The image of the highest number.
    uint64_t number = 0;
    std::string image{};
    CursorChanges changes{};
  };
  // Of each cursor, put in place when all messages are known.
  absl::flat_hash_map<uint64_t, History> histories;
  const auto history_of = [&](uint32_t group,
                              uint32_t queue_partition) -> History& {
    return histories[uint64_t{group} << 10 | PartitionOf(queue_partition)];
  };
  IndexWriter index(control_.get());
  // What waits at the end.
  absl::flat_hash_map<uint64_t, Delayed> delayed;
  // What is prepared at the end, or decided.
  absl::flat_hash_map<uint64_t, Prepared> prepared;
  const auto note = [&](const Prepared& said) {
    Prepared& newest = prepared[said.id.sequence];
    if (newest.state == PreparedState::kUndecided ||
        said.state != PreparedState::kUndecided) {
      if (OMS_PLANTED(kOutcomeNotReplayed) && newest.id.sequence != 0) return;
      newest = said;
    }
  };
  // The newest message of each deduplication id.
  absl::flat_hash_map<Hash128, Deduplicated> deduplicated;
  const auto remember = [&](const Deduplicated& fact) {
    Deduplicated& newest = deduplicated[fact.key];
    if (OMS_PLANTED(kIdNotReplayed)) return;
    if (newest.sequence <= fact.sequence) newest = fact;
  };
  absl::flat_hash_set<std::string> bodies;
  absl::Status failure;
  scan.ForEach(0, [&](const ScannedSegment& /*segment*/,
                         const RecordHeader& header, const char* record,
                         bool payload_ok) {
    if (!failure.ok()) return;
    const std::string_view fields(record + sizeof(header),
                                  header.fields_bytes);
    const std::string_view body(
        fields.data() + fields.size(),
        CommitWord::Length(header.commit) - sizeof(header) - fields.size());
    const RecordType type = CommitWord::Type(header.commit);
    if (const auto large = LargeBodyOf(header, record); large && payload_ok) {
      bodies.insert(BodyName(*large));
      if (SegmentEntry* const entry = segments_->EntryOf(header.position)) {
        entry->used.FetchOr(
            kNamesBodies | (SharesBody(type) ? kSharesBodies : 0));
      }
    }
    // What this recovery believes it makes durable, and then nothing may be
    // without its checksum.
    if ((CommitWord::Flags(header.commit) & kPayloadPending) != 0 &&
        payload_ok && !(failure = FillChecksum(header)).ok()) {
      return;
    }
    if (type == RecordType::kDead && payload_ok) {
      const DeadSource source = DeadSourceOf(header, record);
      if (OMS_PLANTED(kDeadNotReplayed)) return;
      history_of(source.group, source.queue_partition).changes.AddDead(source);
      PartitionState* const from = partition_of(source.queue_partition);
      if (source.expired != 0 && from != nullptr) {
        index.Bury(*from, source.queue_partition, source.offset);
      }
    }
    if (type == RecordType::kSettled && payload_ok &&
        !OMS_PLANTED(kSettledNotReplayed)) {
      ForEachSettled(header, record, [&](const DeadSource& source) {
        history_of(source.group, source.queue_partition)
            .changes.AddDead(source);
      });
    }
    if (type == RecordType::kDelayed && payload_ok) {
      const Delayed waits = DelayedOf(header, record);
      delayed[waits.id.sequence] = waits;
      delayed[waits.id.sequence].due_ns =
          DueNsOf(HeldHeadOf(header, record), *environment_->clock);
    } else if (type == RecordType::kDue && payload_ok &&
               !OMS_PLANTED(kDueNotReplayed)) {
      delayed.erase(HeldIdOf(HeldHeadOf(header, record), header).sequence);
    } else if (type == RecordType::kCancel && payload_ok) {
      if (OMS_PLANTED(kCancelNotReplayed)) return;
      delayed.erase(NamedIn(header, record).sequence);
    } else if (type == RecordType::kPrepare && payload_ok) {
      note(PreparedOf(header, record, *environment_->clock));
    } else if ((type == RecordType::kCommit || type == RecordType::kRollback) &&
               payload_ok) {
      note(DecisionOf(header, record, *environment_->clock));
    } else if (type == RecordType::kOutcomes && payload_ok) {
      ForEachOutcome(header, record, [&](const OutcomeImage& image) {
        note(RememberedOf(image, header, *environment_->clock));
      });
    }
    if ((type == RecordType::kMessage || type == RecordType::kDelayed) &&
        (CommitWord::Flags(header.commit) & kDeduplicated) != 0 &&
        payload_ok) {
      if (const int64_t window_ms =
              DeduplicationMs(QueueOf(header.queue_partition));
          window_ms != 0) {
        remember(DeduplicatedOf(header, record, store_file_.uuid, window_ms,
                                *environment_->clock));
      }
    } else if (type == RecordType::kDeduplication && payload_ok) {
      ForEachDeduplicated(
          header, record, [&](const DeduplicatedImage& image) {
            Deduplicated fact = DeduplicatedOf(image, *environment_->clock);
            fact.position = header.position;
            fact.bytes = PaddedBytes(header);
            remember(fact);
          });
    }
    if (HoldsMessage(type)) {
      PartitionState* const partition = partition_of(header.queue_partition);
      if (partition == nullptr) {
        // Its queue was deleted, or what tells of it is damaged; then its number
        // must not become another's.
        Shared<uint32_t>& next = control_->header().append.next_queue;
        next.Store(
            std::max(next.Load(), QueueOf(header.queue_partition) + 1));
        return;
      }
      if (index.Spare() < 2) {
        const uint64_t room = control_->header().catalog.index_extents.Load();
        failure = control_->GrowIndex(room + 2 + room / 8);
        if (!failure.ok()) return;
      }
      // What was retired is not there, though its segment may be.
      if (header.position >= retired_to) {
        IndexMessage(index, *partition, header, record);
      }
      if (type == RecordType::kMoved && payload_ok &&
          MovedHeadOf(header, record).buried != 0) {
        index.Bury(*partition, header.queue_partition, header.offset);
      }
      partition->next_offset.Store(
          std::max(partition->next_offset.Load(), header.offset + 1));
    } else if (type == RecordType::kAckRange && payload_ok) {
      ImageReader reader(body);
      const auto group = reader.Get<uint32_t>();
      const auto number = reader.Get<uint64_t>();
      const std::string_view bytes = reader.GetBytes();
      if (!reader.ok()) return;
      History& history = history_of(group, header.queue_partition);
      if (number < history.number && !OMS_PLANTED(kOldImageWins)) return;
      history.number = number;
      history.image = std::string(bytes);
    } else if (type == RecordType::kSeek && payload_ok) {
      // Counts and moves were appended under the same lock as this, so all that
      // was read of them is older.
      const SeekTarget target = SeekTargetOf(header, record);
      History& history = history_of(target.group, header.queue_partition);
      if (target.number < history.number || OMS_PLANTED(kSeekNotReplayed)) {
        return;
      }
      ImageWriter image;
      image.Put(target.offset);
      image.Put(target.offset);
      history = {target.number, std::move(image.bytes()), {}};
    } else if (type == RecordType::kDelivered && payload_ok) {
      ImageReader reader(body);
      const auto group = reader.Get<uint32_t>();
      history_of(group, header.queue_partition).changes.AddDelivered(reader);
    } else if (type == RecordType::kRetire && payload_ok) {
      const auto said = KeyValueView::Parse(body);
      if (!said.ok()) return;
      // What is missing behind where the newest RETIRE says is lost, not
      // retired.
      ImageReader offsets(said->GetOr<Bytes>("offsets", Bytes{}).data);
      while (!offsets.at_end() && offsets.ok()) {
        const auto queue_partition = offsets.Get<uint32_t>();
        const auto first = offsets.Get<uint64_t>();
        PartitionState* const partition = partition_of(queue_partition);
        if (!offsets.ok() || partition == nullptr) continue;
        partition->whole_from.Store(first);
        partition->next_offset.Store(
            std::max(partition->next_offset.Load(), first));
      }
      ControlHeader::Append& append = control_->header().append;
      append.next_queue.Store(
          std::max(append.next_queue.Load(),
                   static_cast<uint32_t>(said->GetOr<int32_t>("queue", 1))));
      append.next_group.Store(
          std::max(append.next_group.Load(),
                   static_cast<uint32_t>(said->GetOr<int32_t>("group", 1))));
    }
  });
  if (!failure.ok()) return failure;
  if (!bodies.empty()) {
    if (auto s = bodies_->SyncNames(); !s.ok()) return s;
  }
  // A floor counts on an image that the log has. Where something is damaged it
  // may have been that one: then rather a repeat than a loss. And what names a
  // body may be what is damaged: then none is removed.
  if (std::any_of(
          scan.findings().begin(), scan.findings().end(),
          [](const ScanFinding& finding) { return finding.damage; })) {
    for (auto& [cursor, history] : histories) history.changes.floor = 0;
  } else {
    named_bodies_ = std::move(bodies);
  }
  // An offset is never used again, even where no message tells of it any more.
  for (const auto& [queue, next] : next_offsets) {
    for (uint32_t p = 0; p < next.size(); ++p) {
      PartitionState* const partition = partition_of(QueuePartition(queue, p));
      if (partition == nullptr) continue;
      partition->next_offset.Store(
          std::max(partition->next_offset.Load(), next[p]));
    }
  }
  // Where a partition begins: with what stayed of what was retired.
  for (const auto& [queue_partition, partition] : partitions) {
    if (partition == nullptr) continue;
    const uint64_t whole = partition->whole_from.Load();
    partition->first_offset.Store(
        IndexReader(control_.get(), partition, queue_partition).Next(0, whole));
  }
  for (const auto& [sequence, waits] : delayed) {
    // Its queue was deleted.
    if (partition_of(waits.queue_partition) == nullptr) continue;
    auto s = DelayTable(control_.get()).Restore(*control_, waits);
    if (!s.ok()) return s;
  }
  const int64_t now_ns = environment_->clock->BootNs();
  for (const auto& [sequence, said] : prepared) {
    const bool needless = said.state == PreparedState::kUndecided
                              ? partition_of(said.queue_partition) == nullptr
                              : said.time_ns <= now_ns;
    if (needless || sequence == 0) continue;
    auto s = PreparedTable(control_.get()).Restore(*control_, said);
    if (!s.ok()) return s;
  }
  for (const auto& [key, fact] : deduplicated) {
    if (fact.end_ns <= now_ns ||
        partition_of(fact.queue_partition) == nullptr) {
      continue;
    }
    auto s = DeduplicationTable(control_.get()).Restore(*control_, fact);
    if (!s.ok()) return s;
  }
  const auto groups = catalog_->Groups(TimePoint::max());
  if (!groups.ok()) return groups.status();
  for (const auto& group : *groups) {
    for (uint32_t p = 0; p < group->state->partitions; ++p) {
      const auto found = histories.find(uint64_t{group->id} << 10 | p);
      if (found == histories.end()) continue;
      const History& history = found->second;
      Cursor& cursor = *group->state->cursor(p);
      cursor.images.Store(history.number);
      if (auto s = RestoreCursor(*control_, *catalog_,
                                 *group->queue->state->partition(p), cursor,
                                 history.image, history.changes);
          !s.ok()) {
        return s;
      }
    }
    // No group is ahead of the log, or behind what is stored.
    for (uint32_t p = 0; p < group->state->partitions; ++p) {
      Cursor& cursor = *group->state->cursor(p);
      const PartitionState& partition = *group->queue->state->partition(p);
      const uint64_t first = partition.first_offset.Load();
      const uint64_t end = partition.next_offset.Load();
      if (cursor.floor.Load() < first) {
        cursor.floor.Store(first);
        cursor.next.Store(std::max(cursor.next.Load(), first));
      }
      if (cursor.next.Load() > end) {
        cursor.next.Store(end);
        cursor.floor.Store(std::min(cursor.floor.Load(), end));
      }
      if (!OMS_PLANTED(kOnceAgain)) cursor.once_from.Store(end);
    }
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
