// SPDX-License-Identifier: Apache-2.0

#include "catalog.h"

#include <cstring>
#include <optional>

#include "openmessaging/key_value.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr uint32_t kQueueKind = 1;
constexpr uint32_t kGroupKind = 2;

absl::Status Damaged(uint64_t position, std::string_view what) {
  return MakeStatus(Code::kDamaged, "read the record at position ", position,
                    ": ", what);
}

void PutOffsets(KeyValue& body, std::string_view key,
                const std::vector<uint64_t>& offsets) {
  if (offsets.empty()) return;
  const std::string_view bytes(reinterpret_cast<const char*>(offsets.data()),
                               offsets.size() * sizeof(uint64_t));
  body.Put(key, Bytes{bytes}).IgnoreError();
}

bool GetOffsets(const KeyValueView& fields, std::string_view key,
                std::vector<uint64_t>& offsets) {
  const std::string_view bytes = fields.GetOr<Bytes>(key, Bytes{}).data;
  if (bytes.size() % sizeof(uint64_t) != 0) return false;
  offsets.resize(bytes.size() / sizeof(uint64_t));
  if (!bytes.empty()) std::memcpy(offsets.data(), bytes.data(), bytes.size());
  return true;
}

absl::Status QueueNotFound(std::string_view name) {
  return MakeStatus(Code::kQueueNotFound, "find queue \"", name,
                    "\": no such queue");
}

}  // namespace

std::string EncodeQueueRecord(std::string_view name, uint32_t partitions,
                              const std::vector<uint64_t>& next) {
  KeyValue body;
  body.Put("name", name).IgnoreError();
  body.Put("partitions", static_cast<int32_t>(partitions)).IgnoreError();
  PutOffsets(body, "next", next);
  return std::string(body.encoded());
}

bool DecodeQueueRecord(std::string_view body, std::string& name,
                       uint32_t& partitions, std::vector<uint64_t>* next) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return false;
  name = fields->GetOr<std::string>("name", "");
  const int32_t count = fields->GetOr<int32_t>("partitions", 0);
  partitions = static_cast<uint32_t>(count);
  return !name.empty() && count >= 1 && count <= kMaxPartitions &&
         (next == nullptr || GetOffsets(*fields, "next", *next));
}

std::string EncodeGroupRecord(std::string_view name,
                              const std::vector<uint64_t>& start) {
  KeyValue body;
  body.Put("name", name).IgnoreError();
  PutOffsets(body, "start", start);
  return std::string(body.encoded());
}

bool DecodeGroupRecord(std::string_view body, std::string& name,
                       std::vector<uint64_t>& start) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return false;
  name = fields->GetOr<std::string>("name", "");
  return !name.empty() && GetOffsets(*fields, "start", start);
}

// Holds the catalog lock. It protects the making of entries only, so an heir
// has nothing to repair: what was appended is published by the log.
class Catalog::Locked {
 public:
  Locked(SlotLock& lock, TimePoint deadline)
      : lock_(lock),
        held_(lock.Acquire(deadline) != SlotLock::Result::kTimeout) {}
  ~Locked() {
    if (held_) lock_.Release();
  }
  absl::Status status() const {
    if (held_) return absl::OkStatus();
    return MakeStatus(Code::kTimeout,
                      "change queues: another process held the catalog's lock "
                      "until the deadline");
  }

 private:
  SlotLock& lock_;
  const bool held_;
};

Catalog::Catalog(const Environment* environment, Control* control,
                 SegmentMap* segments, const Liveness* liveness)
    : environment_(environment),
      control_(control),
      segments_(segments),
      lock_(&control->header().catalog.lock, liveness, environment->waiting) {}

CatalogEntry* Catalog::entry(uint32_t index) const {
  uint64_t page = control_->header().catalog.first_page.Load();
  for (uint32_t n = index / CatalogPage::kEntries; n > 0 && page != 0; --n) {
    page = control_->Get<CatalogPage>(page)->next.Load();
  }
  if (page == 0) return nullptr;
  return &control_->Get<CatalogPage>(page)
              ->entries[index % CatalogPage::kEntries];
}

absl::Status Catalog::EnsurePage() {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  Shared<uint64_t>* link = &catalog.first_page;
  for (uint32_t n = catalog.count.Load() / CatalogPage::kEntries + 1;;) {
    if (link->Load() == 0) {
      const auto page = control_->Allocate(kPage);
      if (!page.ok()) return page.status();
      link->Store(*page);
    }
    if (--n == 0) return absl::OkStatus();
    link = &control_->Get<CatalogPage>(link->Load())->next;
  }
}

void Catalog::Publish(const RecordHeader& header) {
  ControlHeader& control = control_->header();
  const bool queue = CommitWord::Type(header.commit) == RecordType::kQueue;
  const uint32_t kind = queue ? kQueueKind : kGroupKind;
  const uint32_t id = queue ? QueueOf(header.queue_partition)
                            : static_cast<uint32_t>(header.offset);
  Shared<uint32_t>& next =
      queue ? control.append.next_queue : control.append.next_group;
  const uint32_t total = count();
  CatalogEntry* target = nullptr;
  // Ids grow, so a new one needs no search; a repeat may lie at the end.
  for (uint32_t n = id < next.Load() ? total : 0; n-- > 0;) {
    CatalogEntry* const candidate = entry(n);
    if (candidate->kind.Load() == kind && candidate->id.Load() == id) {
      target = candidate;
      break;
    }
  }
  const bool fresh = target == nullptr;
  if (fresh) target = entry(total);
  if (target == nullptr) return;  // The creator made room; a heir can't fail.
  target->record.Store(header.position);
  target->id.Store(id);
  target->queue.Store(QueueOf(header.queue_partition));
  target->kind.Store(kind);
  target->live.Store((CommitWord::Flags(header.commit) & kGone) == 0 ? 1 : 0);
  // In this order, so that an heir who repeats it finds the entry.
  if (next.Load() <= id) next.Store(id + 1);
  if (fresh) control.catalog.count.Store(total + 1);
  control.catalog.version.FetchAdd(1);
}

PartitionState* Catalog::FindPartition(uint32_t queue_partition) {
  for (uint32_t n = count(); n-- > 0;) {
    const CatalogEntry* const candidate = entry(n);
    if (candidate->kind.Load() != kQueueKind ||
        candidate->id.Load() != QueueOf(queue_partition)) {
      continue;
    }
    const uint64_t offset = candidate->state.Load();
    if (offset == 0) return nullptr;
    auto* const state = control_->Get<QueueState>(offset);
    const uint32_t partition = PartitionOf(queue_partition);
    return partition < state->partitions ? state->partition(partition)
                                         : nullptr;
  }
  return nullptr;
}

absl::StatusOr<std::string> Catalog::ReadBody(uint64_t position) {
  const auto segment = segments_->Find(position);
  if (!segment.ok()) return segment.status();
  const char* const record = (*segment)->Read(position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  const uint32_t length = CommitWord::Length(header.commit);
  if (header.position != position || length < sizeof(header) ||
      length > (*segment)->end() - position ||
      header.fields_bytes > length - sizeof(header)) {
    return Damaged(position, "its header is not one of this place");
  }
  return std::string(record + sizeof(header) + header.fields_bytes,
                     length - sizeof(header) - header.fields_bytes);
}

absl::StatusOr<std::string> Catalog::ReadRecord(const CatalogEntry& entry) {
  while (true) {
    const uint64_t position = entry.record.Load();
    auto body = ReadBody(position);
    if (body.ok() || entry.record.Load() == position) return body;
  }
}

absl::Status Catalog::EnsureState(CatalogEntry& entry, uint32_t partitions,
                                  const std::vector<uint64_t>* start,
                                  TimePoint deadline) {
  if (entry.state.Load() != 0) return absl::OkStatus();
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  if (entry.state.Load() != 0) return absl::OkStatus();
  const bool queue = entry.kind.Load() == kQueueKind;
  const auto offset =
      control_->Allocate(queue ? QueueState::Bytes(partitions)
                               : GroupState::Bytes(partitions));
  if (!offset.ok()) return offset.status();
  if (queue) {
    auto* const state = control_->Get<QueueState>(*offset);
    state->id = entry.id.Load();
    state->partitions = partitions;
  } else {
    auto* const state = control_->Get<GroupState>(*offset);
    state->id = entry.id.Load();
    state->queue = entry.queue.Load();
    state->partitions = partitions;
    for (uint32_t p = 0; p < partitions; ++p) {
      Cursor& cursor = *state->cursor(p);
      const uint64_t first = p < start->size() ? (*start)[p] : 0;
      cursor.next.Store(first);
      cursor.floor.Store(first);
      cursor.next_scan_ns.Store(INT64_MAX);
    }
  }
  entry.state.Store(*offset);
  return absl::OkStatus();
}

absl::Status Catalog::EnsureWindow(Cursor& cursor, TimePoint deadline) {
  if (cursor.window.Load() != 0) return absl::OkStatus();
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  if (cursor.window.Load() != 0) return absl::OkStatus();
  const auto offset =
      control_->Allocate(WindowBytes(control_->header().options.window));
  if (!offset.ok()) return offset.status();
  cursor.window.Store(*offset);
  return absl::OkStatus();
}

absl::Status Catalog::Load(uint32_t index, TimePoint deadline) {
  CatalogEntry& from = *entry(index);
  if (from.live.Load() == 0) return absl::OkStatus();
  const auto body = ReadRecord(from);
  if (!body.ok()) return body.status();
  if (from.kind.Load() == kQueueKind) {
    auto queue = std::make_shared<Queue>();
    if (!DecodeQueueRecord(*body, queue->name, queue->partitions)) {
      return Damaged(from.record.Load(), "it does not describe a queue");
    }
    if (auto s = EnsureState(from, queue->partitions, nullptr, deadline);
        !s.ok()) {
      return s;
    }
    queue->id = from.id.Load();
    queue->entry = &from;
    queue->state = control_->Get<QueueState>(from.state.Load());
    queues_by_id_[queue->id] = queue;
    queues_[queue->name] = std::move(queue);
    return absl::OkStatus();
  }
  const auto queue = queues_by_id_.find(from.queue.Load());
  if (queue == queues_by_id_.end()) return absl::OkStatus();
  auto group = std::make_shared<Group>();
  std::vector<uint64_t> start;
  if (!DecodeGroupRecord(*body, group->name, start)) {
    return Damaged(from.record.Load(), "it does not describe a group");
  }
  if (auto s = EnsureState(from, queue->second->partitions, &start, deadline);
      !s.ok()) {
    return s;
  }
  group->id = from.id.Load();
  group->queue = queue->second;
  group->entry = &from;
  group->state = control_->Get<GroupState>(from.state.Load());
  groups_[{group->queue->id, group->name}] = std::move(group);
  return absl::OkStatus();
}

absl::Status Catalog::Refresh(TimePoint deadline) {
  const uint32_t current = version();
  if (current == seen_version_) return absl::OkStatus();
  const uint32_t total = count();
  for (; seen_count_ < total; ++seen_count_) {
    if (auto s = Load(seen_count_, deadline); !s.ok()) return s;
  }
  std::erase_if(queues_, [](const auto& e) { return !e.second->live(); });
  std::erase_if(queues_by_id_, [](const auto& e) { return !e.second->live(); });
  std::erase_if(groups_, [](const auto& e) { return !e.second->live(); });
  seen_version_ = current;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Queue>> Catalog::FindQueue(
    std::string_view name, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  const auto found = queues_.find(name);
  if (found == queues_.end()) return QueueNotFound(name);
  return found->second;
}

absl::StatusOr<std::vector<std::shared_ptr<const Queue>>> Catalog::Queues(
    TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<std::shared_ptr<const Queue>> all;
  for (const auto& [name, queue] : queues_) all.push_back(queue);
  return all;
}

absl::StatusOr<std::vector<std::shared_ptr<const Group>>> Catalog::Groups(
    TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<std::shared_ptr<const Group>> all;
  for (const auto& [name, group] : groups_) all.push_back(group);
  return all;
}

absl::Status Catalog::AppendRecord(RecordType type, uint32_t queue_id,
                                   uint64_t id, uint8_t flags,
                                   std::string_view body, TimePoint deadline) {
  Append record;
  record.type = type;
  record.flags = flags;
  record.queue_partition = QueuePartition(queue_id, 0);
  record.offset = id;
  record.pieces[2] = body;
  log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
  if (!record.status.ok()) return record.status;
  return log_->WaitDurable(record.end, deadline);
}

absl::Status Catalog::CreateQueue(std::string_view name,
                                  const QueueOptions& options,
                                  TimePoint deadline) {
  if (options.partitions < 1 || options.partitions > kMaxPartitions) {
    return MakeStatus(options.partitions < 1 ? Code::kBadParameter
                                             : Code::kTooManyPartitions,
                      "create queue \"", name, "\": ", options.partitions,
                      " partitions; expected 1 to ", kMaxPartitions);
  }
  const auto partitions = static_cast<uint32_t>(options.partitions);
  {
    const Locked locked(lock_, deadline);
    if (!locked.status().ok()) return locked.status();
    // Refresh would want the lock for states that are not made yet, so names
    // are compared in the records.
    int32_t live = 0;
    for (uint32_t n = 0; n < count(); ++n) {
      const CatalogEntry& candidate = *entry(n);
      if (candidate.kind.Load() != kQueueKind || candidate.live.Load() == 0) {
        continue;
      }
      ++live;
      const auto body = ReadRecord(candidate);
      std::string taken;
      uint32_t ignored = 0;
      if (body.ok() && DecodeQueueRecord(*body, taken, ignored) &&
          taken == name) {
        return MakeStatus(Code::kQueueExists, "create queue \"", name,
                          "\": it exists already");
      }
    }
    if (live >= kMaxQueues) {
      return MakeStatus(Code::kTooManyQueues, "create queue \"", name,
                        "\": the store has ", kMaxQueues, " queues, which is "
                        "the limit; delete one");
    }
    const uint32_t id = control_->header().append.next_queue.Load();
    if (id > static_cast<uint32_t>(kMaxQueueId)) {
      return MakeStatus(Code::kTooManyQueues, "create queue \"", name,
                        "\": the store has used all its ", kMaxQueueId,
                        " queue numbers");
    }
    if (auto s = EnsurePage(); !s.ok()) return s;
    if (auto s = AppendRecord(RecordType::kQueue, id, 0, 0,
                              EncodeQueueRecord(name, partitions, {}), deadline);
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::Status Catalog::DeleteQueue(std::string_view name, TimePoint deadline) {
  const auto queue = FindQueue(name, deadline);
  if (!queue.ok()) return queue.status();
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  if (!(*queue)->live()) return QueueNotFound(name);
  return AppendRecord(RecordType::kQueue, (*queue)->id, 0, kGone,
                      EncodeQueueRecord(name, (*queue)->partitions, {}), deadline);
}

absl::StatusOr<std::shared_ptr<const Group>> Catalog::OpenGroup(
    const std::shared_ptr<const Queue>& queue, std::string_view name,
    StartPosition start, TimePoint deadline) {
  const std::pair<uint32_t, std::string> key(queue->id, name);
  const auto find = [&]() -> absl::StatusOr<std::shared_ptr<const Group>> {
    const internal::MutexLock lock(mutex_);
    if (auto s = Refresh(deadline); !s.ok()) return s;
    const auto found = groups_.find(key);
    if (found != groups_.end()) return found->second;
    return std::shared_ptr<const Group>();
  };
  auto group = find();
  if (!group.ok() || *group != nullptr) return group;
  {
    const Locked locked(lock_, deadline);
    if (!locked.status().ok()) return locked.status();
    // Somebody may have made it while this waited.
    bool exists = false;
    for (uint32_t n = count(); n-- > 0 && !exists;) {
      const CatalogEntry& candidate = *entry(n);
      if (candidate.kind.Load() != kGroupKind ||
          candidate.queue.Load() != queue->id || candidate.live.Load() == 0) {
        continue;
      }
      const auto body = ReadRecord(candidate);
      std::string taken;
      std::vector<uint64_t> ignored;
      exists = body.ok() && DecodeGroupRecord(*body, taken, ignored) &&
               taken == name;
    }
    if (!exists) {
      if (!queue->live()) return QueueNotFound(queue->name);
      std::vector<uint64_t> first(queue->partitions);
      for (uint32_t p = 0; p < queue->partitions; ++p) {
        const PartitionState& partition = *queue->state->partition(p);
        first[p] = start == StartPosition::kLatest
                       ? partition.next_offset.Load()
                       : partition.first_offset.Load();
      }
      if (auto s = EnsurePage(); !s.ok()) return s;
      const uint32_t id = control_->header().append.next_group.Load();
      if (auto s = AppendRecord(RecordType::kGroup, queue->id, id, 0,
                                EncodeGroupRecord(name, first), deadline);
          !s.ok()) {
        return s;
      }
    }
  }
  group = find();
  if (group.ok() && *group == nullptr) return QueueNotFound(queue->name);
  return group;
}

absl::Status Catalog::Renew(uint64_t position, TimePoint deadline) {
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& old = *entry(n);
    if (old.live.Load() == 0 || old.record.Load() >= position) continue;
    auto body = ReadRecord(old);
    if (!body.ok()) return body.status();
    const bool queue = old.kind.Load() == kQueueKind;
    const uint64_t state = old.state.Load();
    std::string name;
    std::vector<uint64_t> offsets;
    uint32_t partitions = 0;
    if (queue && DecodeQueueRecord(*body, name, partitions, &offsets)) {
      if (state != 0) {
        auto* const offsets_now = control_->Get<QueueState>(state);
        offsets.resize(partitions);
        for (uint32_t p = 0; p < partitions; ++p) {
          offsets[p] = offsets_now->partition(p)->next_offset.Load();
        }
      }
      *body = EncodeQueueRecord(name, partitions, offsets);
    } else if (!queue && DecodeGroupRecord(*body, name, offsets)) {
      if (state != 0) {
        auto* const cursors = control_->Get<GroupState>(state);
        for (uint32_t p = 0; p < offsets.size() && p < cursors->partitions;
             ++p) {
          offsets[p] = cursors->cursor(p)->floor.Load();
        }
      }
      *body = EncodeGroupRecord(name, offsets);
    }
    Append record;
    // A deletion meanwhile must not be undone.
    record.alive = &old;
    record.type = queue ? RecordType::kQueue : RecordType::kGroup;
    record.queue_partition = QueuePartition(old.queue.Load(), 0);
    record.offset = queue ? 0 : old.id.Load();
    record.pieces[2] = *body;
    log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
    if (!record.status.ok() && old.live.Load() != 0) return record.status;
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
