// SPDX-License-Identifier: Apache-2.0
//
// What ctl allocates: tables, queues, groups. The rest is in control_check.cc.

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "catalog.h"
#include "control_check.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "lanes.h"
#include "prepared_table.h"

namespace openmessaging::reference {
namespace {

// Of what an index entry says, the position / 32.
constexpr uint64_t kIndexedMask = (uint64_t{1} << 48) - 1;

}  // namespace

template <typename Block>
bool ControlCheck::CheckTable(const ControlHeader::Table& table) {
  const uint64_t buckets = table.buckets.Load();
  if (buckets != 0 && !Take(buckets, Block::kBuckets * sizeof(uint32_t))) {
    return false;
  }
  uint64_t last = 0;
  for (uint64_t at = table.first_block.Load(); at != 0;) {
    if (buckets == 0 || !Take(at, sizeof(Block))) return false;
    const Block& block = *control_.Get<Block>(at);
    for (uint32_t n = 0; n < Block::kEntries; ++n) {
      if (block.sequence[n].Load() == 0) continue;
      const uint64_t position = block.position[n].Load();
      if (!IsPlace(position) || position >= end_ ||
          block.bytes[n].Load() > end_ - position) {
        return false;
      }
    }
    last = at;
    at = block.next.Load();
  }
  return table.changing.Load() != 0 || table.last_block.Load() == last;
}

std::string_view ControlCheck::CheckTables() {
  if (!CheckTable<DelayBlock>(header_.delay)) {
    return "the table of what is delayed is broken";
  }
  if (!CheckTable<DeduplicationBlock>(header_.deduplication)) {
    return "the table of deduplication ids is broken";
  }
  return CheckTable<PreparedBlock>(header_.prepared)
             ? kSound
             : "the table of what is prepared is broken";
}

std::string_view ControlCheck::CheckBindings() {
  for (uint64_t at = header_.catalog.first_binding_page.Load(); at != 0;
       at = control_.Get<BindingPage>(at)->next.Load()) {
    if (!Take(at, kPage)) return "the pages of bindings are broken";
  }
  return kSound;
}

template <typename Visit>
std::string_view ControlCheck::ForEachEntry(const Visit& visit) {
  uint64_t at = header_.catalog.first_page.Load();
  for (uint32_t left = header_.catalog.count.Load(); left > 0;) {
    if (at == 0) return "the catalog is shorter";
    const CatalogPage& page = *control_.Get<CatalogPage>(at);
    for (const CatalogEntry& entry : page.entries) {
      if (left == 0) break;
      if (const auto fault = visit(entry); !fault.empty()) return fault;
      --left;
    }
    at = page.next.Load();
  }
  return kSound;
}

std::string_view ControlCheck::CheckCatalog() {
  uint64_t pages = 0;
  for (uint64_t at = header_.catalog.first_page.Load(); at != 0;
       at = control_.Get<CatalogPage>(at)->next.Load(), ++pages) {
    if (!Take(at, kPage)) return "the pages of the catalog are broken";
  }
  const uint32_t count = header_.catalog.count.Load();
  if (count > pages * CatalogPage::kEntries) return "the catalog is shorter";
  // Queues before their groups.
  auto fault = ForEachEntry(
      [&](const CatalogEntry& entry) { return CheckEntry(entry); });
  if (!fault.empty()) return fault;
  fault = ForEachEntry([&](const CatalogEntry& entry) {
    return entry.kind.Load() == kGroupKind ? CheckGroup(entry) : kSound;
  });
  if (!fault.empty()) return fault;
  // What comes next takes the entries behind for empty ones; one that is not
  // would be lost.
  uint32_t n = 0;
  for (uint64_t at = header_.catalog.first_page.Load(); at != 0;
       at = control_.Get<CatalogPage>(at)->next.Load()) {
    for (const CatalogEntry& entry : control_.Get<CatalogPage>(at)->entries) {
      if (n++ < count) continue;
      if (entry.state.Load() != 0 || (entry.kind.Load() != 0 && !InFlight())) {
        return "the catalog is longer";
      }
    }
  }
  return kSound;
}

std::string_view ControlCheck::CheckEntry(const CatalogEntry& entry) {
  const uint32_t kind = entry.kind.Load();
  if (kind < kQueueKind || kind > kRouteKind) return "an entry is of no kind";
  const uint32_t id = entry.id.Load();
  const uint32_t next = kind == kGroupKind ? header_.append.next_group.Load()
                                           : header_.append.next_queue.Load();
  if (id == 0 || (id >= next && !InFlight())) {
    return "an entry has a number that is free";
  }
  const bool has_state = entry.state.Load() != 0;
  if (has_state && kind != kQueueKind && kind != kGroupKind) {
    return "an entry has what is not for it";
  }
  if (const auto fault = CheckRecord(entry); !fault.empty()) return fault;
  return kind == kQueueKind && has_state ? CheckQueue(entry) : kSound;
}

bool ControlCheck::MayHaveRecord(uint64_t position) const {
  if (!IsPlace(position) || position >= end_) return false;
  const uint32_t end = header_.catalog.end_segment.Load();
  for (uint32_t n = header_.catalog.first_segment.Load(); n != end; ++n) {
    const uint64_t base = EntryOf(n).base.Load();
    const uint64_t capacity = EntryOf(n).capacity.Load();
    if (position >= base && position - base < capacity) {
      return capacity - (position - base) >= sizeof(RecordHeader);
    }
  }
  return false;
}

std::string_view ControlCheck::CheckRecord(const CatalogEntry& entry) {
  const uint32_t kind = entry.kind.Load();
  if (entry.live.Load() != 0 && !MayHaveRecord(entry.record.Load())) {
    return "an entry has its record nowhere";
  }
  // A damaged one is told by whoever reads it; of what is gone none may be
  // left.
  const auto found = Read(entry.record.Load());
  if (!found) return kSound;
  const RecordHeader& header = found->header;
  const RecordType type = CommitWord::Type(header.commit);
  const uint32_t source = QueueOf(header.queue_partition);
  const auto id = static_cast<uint32_t>(header.offset);
  const uint32_t live = entry.live.Load();
  bool same = false;
  switch (kind) {
    case kQueueKind:
    case kNamespaceKind:
      same = source == entry.id.Load() && source == entry.queue.Load() &&
             type == (kind == kQueueKind ? RecordType::kQueue
                                         : RecordType::kNamespace);
      break;
    case kGroupKind:
      same = type == RecordType::kGroup && id == entry.id.Load() &&
             source == entry.queue.Load() && live <= kLivePrivately;
      break;
    default:
      same = type == RecordType::kRoute && id == entry.id.Load() &&
             source == entry.queue.Load();
  }
  if (!same) return "an entry has the record of another one";
  const bool gone = (CommitWord::Flags(header.commit) & kGone) != 0;
  // With its source a route is gone, too; and of a change that is under way a
  // part may be there.
  if (kind == kRouteKind || InFlight()) return kSound;
  return gone == (live == 0) ? kSound : "an entry is not what its record says";
}

std::string_view ControlCheck::CheckQueue(const CatalogEntry& entry) {
  const uint64_t at = entry.state.Load();
  if (at % kPage != 0 || at >= header_.bump.Load()) {
    return "a queue's state is nowhere";
  }
  auto& state = *control_.Get<QueueState>(at);
  if (state.id != entry.id.Load() || state.partitions == 0 ||
      state.partitions > kMaxPartitionsPerQueue ||
      !Take(at, QueueState::Bytes(state.partitions))) {
    return "a queue's state is another one";
  }
  if (const auto found = Read(entry.record.Load()); found) {
    const uint32_t length = CommitWord::Length(found->header.commit);
    const auto said = DecodeQueueRecord(
        {found->record + sizeof(RecordHeader) + found->header.fields_bytes,
         length - sizeof(RecordHeader) - found->header.fields_bytes});
    if (said && LoggedPartitions(said->options) != state.partitions) {
      return "a queue has other partitions";
    }
  }
  for (uint32_t n = 0; n < kMaxBells; ++n) {
    const bool asleep =
        (state.sleepers[n / 64].Load() >> n % 64 & 1) != 0;
    if (asleep && n >= header_.options.bells) return "a bell is none";
  }
  queues_[state.id] = &state;
  for (uint32_t p = 0; p < state.partitions; ++p) {
    const auto fault = CheckPartition(*state.partition(p),
                                      QueuePartition(state.id, p));
    if (!fault.empty()) return fault;
  }
  return kSound;
}

std::string_view ControlCheck::CheckPartition(const PartitionState& partition,
                                              uint32_t queue_partition) {
  const uint64_t next = partition.next_offset.Load();
  if (next > INT64_MAX || partition.first_offset.Load() > next ||
      partition.whole_from.Load() > next) {
    return "the offsets of a partition contradict each other";
  }
  const uint32_t bump = header_.append.index_bump.Load();
  const uint32_t first = partition.first_extent.Load();
  const uint32_t last = partition.last_extent.Load();
  if (first >= bump || last >= bump || (last != 0 && first == 0)) {
    return "a partition has no such extent";
  }
  for (const uint32_t number : {first, last}) {
    if (number != 0 && control_.extent(number).queue_partition.Load() !=
                           queue_partition) {
      return "an extent is another partition's";
    }
  }
  if (last == 0 || InFlight()) return kSound;
  const IndexExtent& extent = control_.extent(last);
  const uint64_t begin = extent.first_offset.Load();
  if (next < begin) return "the offsets of a partition contradict its index";
  if (next - begin >= IndexExtent::kEntries) return kSound;
  // A message that has the next one would be forgotten.
  const uint64_t place = extent.entries[next - begin].place.Load();
  const uint64_t position = (place & kIndexedMask) * kRecordAlignment;
  const auto found = place == 0 ? std::nullopt : Read(position);
  return found && found->header.offset == next &&
                 found->header.queue_partition == queue_partition
             ? "a message has the next offset of its partition"
             : kSound;
}

std::string_view ControlCheck::CheckGroup(const CatalogEntry& entry) {
  const uint64_t at = entry.state.Load();
  if (at == 0) return kSound;
  if (at % kPage != 0 || at >= header_.bump.Load()) {
    return "a group's state is nowhere";
  }
  auto& state = *control_.Get<GroupState>(at);
  const auto queue = queues_.find(entry.queue.Load());
  QueueState* const of = queue == queues_.end() ? nullptr : queue->second;
  if (state.id != entry.id.Load() || state.queue != entry.queue.Load() ||
      state.partitions == 0 || state.partitions > kMaxPartitionsPerQueue ||
      (of != nullptr && of->partitions != state.partitions) ||
      !Take(at, GroupState::Bytes(state.partitions))) {
    return "a group's state is another one";
  }
  for (uint32_t p = 0; p < state.partitions; ++p) {
    const auto fault = CheckCursor(
        *state.cursor(p), of == nullptr ? nullptr : of->partition(p));
    if (!fault.empty()) return fault;
  }
  return kSound;
}

std::string_view ControlCheck::CheckCursor(const Cursor& cursor,
                                           const PartitionState* partition) {
  const uint32_t window = header_.options.window;
  if (IsFuture(cursor.lock)) return "a lock has an owner that was not yet";
  const uint64_t at = cursor.window.Load();
  if (at != 0 && !Take(at, WindowBytes(window))) return "a window is nowhere";
  const uint64_t exceptions = cursor.exceptions.Load();
  if (exceptions != 0 && !Take(exceptions, ExceptionTable::Bytes(window))) {
    return "a table of exceptions is nowhere";
  }
  // A move that is under way stores one after the other.
  if (InFlight()) return kSound;
  const uint64_t next = cursor.next.Load();
  const uint64_t floor = cursor.floor.Load();
  if (floor > next || next - floor > (at == 0 ? 0 : window) ||
      (partition != nullptr && next > partition->next_offset.Load())) {
    return "a group is where it cannot be";
  }
  return kSound;
}

void ControlCheck::Renew() const {
  for (ControlHeader::Table* const table :
       {&header_.delay, &header_.deduplication, &header_.prepared}) {
    table->next_look_ns.Store(0);
    // An heir makes links and counts anew.
    table->changing.Store(1);
  }
  header_.flush.next_due_ns.Store(header_.delay.first_block.Load() != 0);
  header_.catalog.next_retire_ns.Store(0);
  header_.catalog.preparing_bytes.Store(0);
  uint64_t page = header_.catalog.first_page.Load();
  for (uint32_t n = 0; n < header_.catalog.count.Load(); ++n) {
    const uint32_t place = n % CatalogPage::kEntries;
    if (n != 0 && place == 0) {
      page = control_.Get<CatalogPage>(page)->next.Load();
    }
    const CatalogEntry& entry = control_.Get<CatalogPage>(page)->entries[place];
    if (entry.kind.Load() != kGroupKind || entry.state.Load() == 0) continue;
    auto& group = *control_.Get<GroupState>(entry.state.Load());
    for (uint32_t p = 0; p < group.partitions; ++p) {
      Cursor& cursor = *group.cursor(p);
      cursor.next_scan_ns.Store(0);
      cursor.stalled.Store(0);
      cursor.freed.FetchAdd(1);
    }
  }
}

}  // namespace openmessaging::reference
