// SPDX-License-Identifier: Apache-2.0

#include "control_view.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "delivery_word.h"
#include "lanes.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/key_value.h"
#include "prepared_table.h"
#include "slot_lock.h"

namespace openmessaging::reference {
namespace {

using internal::Concat;

// Nobody has more of either; a damaged store may.
constexpr size_t kMaxImageBytes = size_t{4} << 30;
constexpr uint64_t kPlaceMask = (uint64_t{1} << 48) - 1;

std::string ReadAllOf(Storage& storage, std::string_view name) {
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return {};
  auto bytes = (*file)->ReadAll(kMaxImageBytes);
  return bytes.ok() ? *std::move(bytes) : std::string();
}

// Returns: the body of the record at `position` of a segment's file; nothing
// where no such record is.
std::optional<std::string> ReadBody(Storage& storage, const std::string& name,
                                    uint64_t base, uint64_t position) {
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return std::nullopt;
  const auto size = (*file)->Size();
  const uint64_t at = kSegmentHeaderBytes + (position - base);
  RecordHeader header;
  if (!size.ok() || at + sizeof(header) > *size) return std::nullopt;
  const auto region = (*file)->Map(Access::kRead, *size);
  if (!region.ok()) return std::nullopt;
  std::memcpy(&header, (*region)->data() + at, sizeof(header));
  const uint32_t length = CommitWord::Length(header.commit);
  if (header.position != position || length < sizeof(header) ||
      length > *size - at || header.fields_bytes > length - sizeof(header)) {
    return std::nullopt;
  }
  return std::string(
      (*region)->data() + at + sizeof(header) + header.fields_bytes,
      length - sizeof(header) - header.fields_bytes);
}

// What a QUEUE or GROUP record gives; partitions are 0 in the latter.
struct NameRecord {
  std::string name{};
  uint32_t partitions = 0;
  uint32_t lane_partitions = 0;
};

// Reads the record at `position`.
std::optional<NameRecord> ReadNameRecord(
    Storage& storage, const std::vector<InspectSegment>& segments,
    uint64_t position) {
  for (const InspectSegment& segment : segments) {
    if (position < segment.base ||
        position - segment.base >= segment.capacity_bytes) {
      continue;
    }
    const auto body = ReadBody(storage, segment.file, segment.base, position);
    if (!body) continue;
    const auto fields = KeyValueView::Parse(*body);
    if (!fields.ok()) continue;
    const std::string_view name = fields->GetOr("name", "");
    if (name.empty()) continue;
    QueueOptions said;
    said.priorities = fields->GetOr<bool>("priorities", false);
    said.partitions = std::clamp<int32_t>(
        fields->GetOr<int32_t>("partitions", 0), 0,
        static_cast<int32_t>(kMaxPartitionsPerQueue /
                             (said.priorities ? kLanes : 1)));
    return NameRecord{std::string(name), LoggedPartitions(said),
                      static_cast<uint32_t>(said.partitions)};
  }
  return std::nullopt;
}

bool IsAlive(const ByteLocks* locks, uint32_t slot) {
  if (locks == nullptr) return false;
  const auto held = locks->HeldElsewhere(kSlotByte + slot, 1);
  return held.ok() && *held;
}

}  // namespace

ControlView::Image ControlView::Image::Of(std::string_view bytes) {
  Image image;
  image.size = bytes.size();
  image.lines.resize((bytes.size() + kCacheLine - 1) / kCacheLine);
  if (!bytes.empty()) {
    std::memcpy(image.lines.data(), bytes.data(), bytes.size());
  }
  return image;
}

bool ControlView::IsBelievable(const StoreFile& store,
                               const FileIdentity& place,
                               uint64_t boot_hash) const {
  if (Find<ControlHeader>(0) == nullptr) return false;
  const ControlHeader& said = header();
  const uint32_t state = said.state.Load();
  return said.magic == ControlHeader::kMagic &&
         said.format == (uint32_t{kFormatMajor} << 16 | kFormatMinor) &&
         said.uuid == store.uuid && said.boot_hash == boot_hash &&
         said.device == place.device && said.inode == place.inode &&
         (state == static_cast<uint32_t>(ControlState::kLive) ||
          state == static_cast<uint32_t>(ControlState::kClean)) &&
         said.options.window == store.options.window &&
         said.options.slots == store.options.slots &&
         said.options.max_segments > 0 &&
         ctl_.size >= ControlLayout(said.options).end;
}

std::optional<ControlView> ControlView::Read(Storage& storage,
                                             const StoreFile& store,
                                             uint64_t boot_hash) {
  auto file = storage.Open("ctl", Access::kRead);
  if (!file.ok()) return std::nullopt;
  const auto place = (*file)->Identity();
  const auto bytes = (*file)->ReadAll(kMaxImageBytes);
  if (!place.ok() || !bytes.ok()) return std::nullopt;
  ControlView view;
  view.ctl_ = Image::Of(*bytes);
  if (!view.IsBelievable(store, *place, boot_hash)) return std::nullopt;
  // Later than ctl, so that it has every extent that ctl names.
  view.idx_ = Image::Of(ReadAllOf(storage, "idx"));
  return view;
}

void ControlView::AddSegments(InspectReport& report) const {
  const ControlHeader::Catalog& catalog = header().catalog;
  const uint32_t max_segments = header().options.max_segments;
  const uint32_t first = catalog.first_segment.Load();
  const uint32_t count =
      std::min(catalog.end_segment.Load() - first, max_segments);
  for (uint32_t n = 0; n < count; ++n) {
    const uint64_t ordinal = (first + n) % max_segments;
    const auto* const entry =
        Find<SegmentEntry>(header().segments + ordinal * sizeof(SegmentEntry));
    if (entry == nullptr || entry->used.Load() == 0) continue;
    InspectSegment segment;
    segment.base = entry->base.Load();
    segment.capacity_bytes = entry->capacity.Load();
    segment.epoch = entry->epoch.Load();
    segment.file = SegmentName(segment.base, segment.epoch);
    if (report.committed > segment.base) {
      segment.used_bytes =
          std::min(report.committed - segment.base, segment.capacity_bytes);
    }
    report.segments.push_back(std::move(segment));
  }
}

template <typename Visit>
void ControlView::ForEachEntry(uint32_t kind, const Visit& visit) const {
  const ControlHeader::Catalog& catalog = header().catalog;
  uint64_t at = catalog.first_page.Load();
  const CatalogPage* page = Find<CatalogPage>(at);
  const uint32_t count = catalog.count.Load();
  for (uint32_t n = 0; n < count && at != 0 && page != nullptr; ++n) {
    const CatalogEntry& entry = page->entries[n % CatalogPage::kEntries];
    if (entry.kind.Load() == kind && entry.live.Load() != 0) visit(entry);
    if (n % CatalogPage::kEntries == CatalogPage::kEntries - 1) {
      at = page->next.Load();
      page = Find<CatalogPage>(at);
    }
  }
}

std::vector<ControlView::Named> ControlView::NamesOf(
    Storage& storage, uint32_t kind,
    const std::vector<InspectSegment>& segments, bool& complete) const {
  std::vector<Named> named;
  ForEachEntry(kind, [&](const CatalogEntry& entry) {
    auto record = ReadNameRecord(storage, segments, entry.record.Load());
    if (!record) {
      complete = false;
      record = NameRecord{Concat('#', entry.id.Load())};
    }
    named.push_back({&entry, std::move(record->name), record->partitions,
                     record->lane_partitions});
  });
  std::sort(named.begin(), named.end(),
            [](const Named& a, const Named& b) { return a.name < b.name; });
  return named;
}

const PartitionState* ControlView::StateOf(const CatalogEntry& queue,
                                           uint32_t partition) const {
  const uint64_t state = queue.state.Load();
  if (state == 0 || state > ctl_.size) return nullptr;
  return Find<PartitionState>(state + sizeof(QueueState) +
                              sizeof(PartitionState) * partition);
}

const Cursor* ControlView::CursorOf(const CatalogEntry& group,
                                    uint32_t partition) const {
  const uint64_t state = group.state.Load();
  if (state == 0 || state > ctl_.size) return nullptr;
  return Find<Cursor>(state + sizeof(GroupState) + sizeof(Cursor) * partition);
}

ControlView::Floor ControlView::FloorOf(const Cursor& cursor) const {
  const uint64_t window = header().options.window;
  Floor floor;
  floor.settled = cursor.floor.Load();
  floor.next = std::max(cursor.next.Load(), floor.settled);
  const uint64_t at = cursor.window.Load();
  const auto* const words =
      at == 0 ? nullptr
              : Find<Shared<uint64_t>>(at, window * sizeof(uint64_t));
  const auto is_settled = [&](uint64_t offset) {
    const DeliveryWord word(words == nullptr ? 0
                                             : words[offset % window].Load());
    // What moved is among the exceptions.
    return word.Is(offset) && (word.state() == DeliveryState::kSettled ||
                               word.state() == DeliveryState::kMoved);
  };
  // The two were not read at one moment, and cannot be further apart.
  floor.next = std::min(floor.next, floor.settled + window);
  while (floor.settled < floor.next && is_settled(floor.settled)) {
    ++floor.settled;
  }
  for (uint64_t offset = floor.settled; offset < floor.next; ++offset) {
    if (!is_settled(offset)) ++floor.unsettled;
  }
  AddExceptions(cursor, floor);
  return floor;
}

void ControlView::AddExceptions(const Cursor& cursor, Floor& floor) const {
  const uint64_t at = cursor.exceptions.Load();
  if (at == 0 || at > ctl_.size) return;
  const auto* const table = Find<ExceptionTable>(at);
  if (table == nullptr) return;
  const uint32_t used =
      std::min(table->used.Load(), header().options.window);
  for (uint32_t n = 0; n < used; ++n) {
    const auto* const entry = Find<ExceptionEntry>(
        at + sizeof(ExceptionTable) + uint64_t{n} * sizeof(ExceptionEntry));
    if (entry == nullptr) return;
    const uint64_t name = entry->name.Load();
    const DeliveryWord word(entry->word.Load());
    const bool settled =
        word.Is(name - 1) && word.state() == DeliveryState::kSettled;
    if (name == 0 || settled) continue;
    ++floor.unsettled;
    floor.settled = std::min(floor.settled, name - 1);
  }
}

std::optional<uint64_t> ControlView::PositionOf(const PartitionState& state,
                                                uint32_t queue_partition,
                                                uint64_t offset) const {
  const uint64_t extents = idx_.size / kPage;
  uint64_t at = state.first_extent.Load();
  for (uint64_t steps = 0; at != 0 && at < extents && steps < extents;
       ++steps) {
    const auto& extent = *FindIn<IndexExtent>(idx_, at * kPage);
    if (extent.queue_partition.Load() != queue_partition) return std::nullopt;
    const uint64_t first = extent.first_offset.Load();
    if (offset >= first && offset - first < IndexExtent::kEntries) {
      const uint64_t place = extent.entries[offset - first].place.Load();
      if (place == 0) return std::nullopt;
      return (place & kPlaceMask) * kRecordAlignment;
    }
    at = extent.next.Load();
  }
  return std::nullopt;
}

void ControlView::AddGroups(const std::vector<Named>& groups,
                            const InspectPartition& of, uint32_t logged,
                            const CatalogEntry& queue,
                            const PartitionState* state, const ByteLocks* locks,
                            InspectReport& report) const {
  const uint32_t queue_partition = QueuePartition(queue.id.Load(), logged);
  const auto add_pin = [&](const std::string& group, uint64_t offset) {
    if (offset >= of.end) return;
    std::optional<uint64_t> position;
    if (state != nullptr) {
      position = PositionOf(*state, queue_partition, offset);
    }
    report.pins.push_back(
        {of.queue, of.partition, group, offset, position, of.priority});
  };
  bool any = false;
  for (const Named& group : groups) {
    if (group.entry->queue.Load() != queue.id.Load()) continue;
    any = true;
    Floor floor{of.first, of.first, 0};  // It has received nothing yet.
    if (const Cursor* const cursor = CursorOf(*group.entry, logged)) {
      floor = FloorOf(*cursor);
      AddLock(Concat("cursor of ", group.name, " in ", of.queue, " partition ",
                     of.partition),
              cursor->lock, locks, report);
    }
    report.groups.push_back({of.queue, group.name, of.partition, floor.settled,
                             floor.next, floor.unsettled, of.priority});
    add_pin(group.name, std::max(floor.settled, of.first));
  }
  if (!any) add_pin("", of.first);
}

bool ControlView::AddQueues(Storage& storage, const ByteLocks* locks,
                            InspectReport& report) const {
  bool complete = true;
  const auto queues = NamesOf(storage, kQueueKind, report.segments, complete);
  const auto groups = NamesOf(storage, kGroupKind, report.segments, complete);
  for (Named& one :
       NamesOf(storage, kNamespaceKind, report.segments, complete)) {
    report.namespaces.push_back(std::move(one.name));
  }
  for (const Named& queue : queues) {
    for (uint32_t p = 0; p < queue.partitions; ++p) {
      InspectPartition of{queue.name, p};
      if (queue.partitions != queue.lane_partitions) {
        of.partition = p % queue.lane_partitions;
        of.priority = static_cast<int>(kLanes - p / queue.lane_partitions);
      }
      // A queue that nobody has used yet has none.
      const PartitionState* const state = StateOf(*queue.entry, p);
      if (state != nullptr) {
        of.first = state->first_offset.Load();
        of.end = std::max(state->next_offset.Load(), of.first);
      }
      report.partitions.push_back(of);
      AddGroups(groups, of, p, *queue.entry, state, locks, report);
    }
  }
  return complete;
}

void ControlView::AddSlots(const ByteLocks* locks, int64_t now_boot_ns,
                           InspectReport& report) const {
  for (uint32_t n = 0; n < header().options.slots; ++n) {
    const Slot* const slot = FindSlot(n);
    if (slot == nullptr) break;
    if (slot->generation.Load() == 0) continue;  // Nobody ever had it.
    InspectSlot found;
    found.slot = n;
    found.pid = slot->pid.Load();
    found.alive = IsAlive(locks, n);
    found.opened_ago = std::chrono::milliseconds(
        std::max<int64_t>(now_boot_ns - slot->opened_boot_ns.Load(), 0) /
        1000000);
    report.slots.push_back(found);
  }
}

void ControlView::AddLock(const std::string& name, const LockWord& lock,
                          const ByteLocks* locks, InspectReport& report) const {
  const uint32_t word = lock.owner.Load();
  const Owner owner = Owner::FromWord(word);
  if (owner.word() == 0) return;
  const Slot* const slot = FindSlot(owner.slot());
  if (slot == nullptr) return;
  // A later life of the slot is not the owner.
  const bool same_life = slot->generation.Load() == owner.generation();
  report.locks.push_back({name, owner.slot(), same_life ? slot->pid.Load() : 0,
                          same_life && IsAlive(locks, owner.slot())});
}

void ControlView::AddLocks(const ByteLocks* locks,
                           InspectReport& report) const {
  const ControlHeader& said = header();
  AddLock("append", said.append.lock, locks, report);
  AddLock("bodies", said.bodies.lock, locks, report);
  AddLock("flush", said.flush.lock, locks, report);
  AddLock("catalog", said.catalog.lock, locks, report);
  AddLock("prepare", said.catalog.prepare, locks, report);
  AddLock("retire", said.catalog.retire, locks, report);
}

void ControlView::AddHeld(InspectReport& report) const {
  report.delayed = header().delay.count.Load();
  report.undecided = 0;
  uint64_t at = header().prepared.first_block.Load();
  // A copy may be cut, and in a circle.
  for (uint64_t left = ctl_.size / kPage; at != 0 && left > 0; --left) {
    const auto* const block = Find<PreparedBlock>(at);
    if (block == nullptr) return;
    for (uint32_t n = 0; n < PreparedBlock::kEntries; ++n) {
      const bool here = block->sequence[n].Load() != 0;
      if (here && !block->IsDecided(n)) ++report.undecided;
    }
    at = block->next.Load();
  }
}

}  // namespace openmessaging::reference
