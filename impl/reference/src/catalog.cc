// SPDX-License-Identifier: Apache-2.0

#include "catalog.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "catalog_locked.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "routes.h"

namespace openmessaging::reference {
namespace {

absl::Status DamagedRecord(uint64_t position, std::string_view what) {
  return MakeStatus(Code::kDamaged, "read the record at position ", position,
                    ": ", what);
}

uint32_t KindOf(RecordType type) {
  if (type == RecordType::kQueue) return kQueueKind;
  return type == RecordType::kGroup ? kGroupKind : kNamespaceKind;
}
RecordType RecordOf(uint32_t kind) {
  if (kind == kQueueKind) return RecordType::kQueue;
  if (kind == kRouteKind) return RecordType::kRoute;
  return kind == kGroupKind ? RecordType::kGroup : RecordType::kNamespace;
}

}  // namespace

absl::Status QueueNotFound(std::string_view name) {
  return MakeStatus(Code::kQueueNotFound, "find queue \"", name,
                    "\": no such queue");
}

Catalog::Catalog(const Environment* environment, Control* control,
                 SegmentMap* segments, const Liveness* liveness)
    : environment_(environment),
      control_(control),
      segments_(segments),
      liveness_(liveness),
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
  if (CommitWord::Type(header.commit) == RecordType::kRoute) {
    PublishRoute(header);
    return;
  }
  ControlHeader& control = control_->header();
  const uint32_t kind = KindOf(CommitWord::Type(header.commit));
  const bool group = kind == kGroupKind;
  const bool queue = kind == kQueueKind;
  const uint32_t id = group ? static_cast<uint32_t>(header.offset)
                            : QueueOf(header.queue_partition);
  Shared<uint32_t>& next =
      group ? control.append.next_group : control.append.next_queue;
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
  target->id.Store(id);
  target->queue.Store(QueueOf(header.queue_partition));
  target->kind.Store(kind);
  const uint8_t flags = CommitWord::Flags(header.commit);
  if ((flags & kGone) != 0) {
    target->live.Store(0);
    if (queue) EndRoutesOf(id);
  } else if (!queue) {
    target->live.Store((flags & kPrivateGroup) != 0 ? kLivePrivately : kLive);
  } else if (fresh || target->record.Load() != header.position) {
    MarkChanged(*target);
  }
  // Behind what says that it changed: who looks between looks again.
  target->record.Store(header.position);
  // In this order, so that an heir who repeats it finds the entry.
  if (next.Load() <= id && !OMS_PLANTED(kNumberReused)) next.Store(id + 1);
  if (fresh) control.catalog.count.Store(total + 1);
  if (OMS_PLANTED(kChangeUntold)) return;
  control.catalog.version.FetchAdd(1);
}

void Catalog::MarkChanged(CatalogEntry& queue) {
  const uint32_t next = queue.live.Load() + 1;
  queue.live.Store(next == 0 ? 1 : next);
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

const CatalogEntry* Catalog::FindLiveQueue(uint32_t queue) const {
  uint32_t left = count();
  for (uint64_t page = control_->header().catalog.first_page.Load();
       page != 0 && left > 0;
       page = control_->Get<CatalogPage>(page)->next.Load()) {
    for (const CatalogEntry& candidate :
         control_->Get<CatalogPage>(page)->entries) {
      if (left-- == 0) break;
      if (candidate.kind.Load() != kQueueKind || candidate.id.Load() != queue) {
        continue;
      }
      const bool here =
          candidate.live.Load() != 0 && candidate.state.Load() != 0;
      return here ? &candidate : nullptr;
    }
  }
  return nullptr;
}

Cursor* Catalog::FindCursor(uint32_t group, uint32_t partition) {
  for (uint32_t n = count(); n-- > 0;) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kGroupKind || candidate.id.Load() != group) {
      continue;
    }
    const uint64_t offset = candidate.state.Load();
    if (offset == 0) return nullptr;
    auto* const state = control_->Get<GroupState>(offset);
    return partition < state->partitions ? state->cursor(partition) : nullptr;
  }
  return nullptr;
}

absl::StatusOr<std::string> Catalog::ReadBody(uint64_t position) {
  const auto segment = segments_->Find(position);
  if (!segment.ok()) return segment.status();
  // Whoever fills the payload's checksum in stores it before the flag goes.
  const uint64_t commit =
      At<Shared<uint64_t>>((*segment)->Write(position), 0).Load();
  const char* const record = (*segment)->Read(position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  header.commit = commit;
  const uint32_t length = CommitWord::Length(commit);
  if (header.position != position || length < sizeof(header) ||
      length > (*segment)->end() - position ||
      header.fields_bytes > length - sizeof(header)) {
    return DamagedRecord(position, "its header is not one of this place");
  }
  if (log_ != nullptr && log_->checksums()) {
    if (SealOf(header, (*segment)->salt()) != header.header_checksum) {
      return DamagedRecord(position, "the checksum of its header is wrong");
    }
    if ((CommitWord::Flags(commit) & kPayloadPending) == 0 &&
        Crc32c(0, record + sizeof(header), length - sizeof(header)) !=
            header.payload_checksum) {
      return DamagedRecord(position, "the checksum of its body is wrong");
    }
  }
  return std::string(record + sizeof(header) + header.fields_bytes,
                     length - sizeof(header) - header.fields_bytes);
}

absl::StatusOr<std::string> Catalog::ReadRecord(const CatalogEntry& entry,
                                                uint64_t* read_at) {
  while (true) {
    const uint64_t position = entry.record.Load();
    auto body = ReadBody(position);
    if (read_at != nullptr) *read_at = position;
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

absl::Status Catalog::Load(uint32_t index, TimePoint deadline) {
  CatalogEntry& from = *entry(index);
  // Before its record is read: what changes meanwhile is looked at again.
  const uint32_t revision = from.live.Load();
  if (revision == 0) return absl::OkStatus();
  if (from.kind.Load() == kRouteKind) return LoadRoute(from);
  uint64_t position = 0;
  const auto body = ReadRecord(from, &position);
  if (!body.ok()) return body.status();
  if (from.kind.Load() == kQueueKind) {
    auto record = DecodeQueueRecord(*body);
    if (!record) return DamagedRecord(position, "it does not describe a queue");
    auto queue = std::make_shared<Queue>();
    queue->revision = revision;
    if (const std::string& filter = record->options.filter; !filter.empty()) {
      auto compiled = kit::Filter::Compile(filter);
      if (!compiled.ok()) return DamagedRecord(position, "its filter is none");
      queue->filter = *std::move(compiled);
    }
    queue->name = std::move(record->name);
    queue->partitions = LoggedPartitions(record->options);
    queue->lane_partitions = static_cast<uint32_t>(record->options.partitions);
    queue->options = std::move(record->options);
    if (auto s = EnsureState(from, queue->partitions, nullptr, deadline);
        !s.ok()) {
      return s;
    }
    queue->id = from.id.Load();
    queue->entry = &from;
    queue->state = control_->Get<QueueState>(from.state.Load());
    if (auto s = ShareOptions(*queue, position, deadline); !s.ok()) return s;
    queues_by_id_[queue->id] = queue;
    queues_[queue->name] = std::move(queue);
    return absl::OkStatus();
  }
  if (from.kind.Load() == kNamespaceKind) {
    auto name = DecodeNamespaceRecord(*body);
    if (!name) {
      return DamagedRecord(from.record.Load(),
                           "it does not describe a namespace");
    }
    namespaces_[*std::move(name)] = &from;
    return absl::OkStatus();
  }
  const auto queue = queues_by_id_.find(from.queue.Load());
  if (queue == queues_by_id_.end()) return absl::OkStatus();
  auto group = std::make_shared<Group>();
  std::vector<uint64_t> start;
  if (!DecodeGroupRecord(*body, group->name, start)) {
    return DamagedRecord(position, "it does not describe a group");
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
  seen_.resize(total);
  for (uint32_t n = 0; n < total; ++n) {
    const CatalogEntry& from = *entry(n);
    const Seen now{from.live.Load(), from.record.Load()};
    // A group is the same as long as it lives.
    if (seen_[n] == now ||
        (seen_[n].live != 0 && from.kind.Load() == kGroupKind)) {
      continue;
    }
    // What is damaged is of one queue, group, namespace or route; the others
    // are as they were.
    if (auto s = Load(n, deadline); OmsCode(s) == Code::kDamaged) {
      damage_ = s;
    } else if (!s.ok()) {
      return s;
    }
    seen_[n] = now;
  }
  std::erase_if(queues_, [](const auto& e) { return !e.second->live(); });
  std::erase_if(queues_by_id_, [](const auto& e) { return !e.second->live(); });
  std::erase_if(groups_, [](const auto& e) { return !e.second->live(); });
  std::erase_if(namespaces_,
                [](const auto& e) { return e.second->live.Load() == 0; });
  RefreshRoutes();
  seen_version_ = current;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Queue>> Catalog::FindQueue(
    std::string_view name, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  const auto found = queues_.find(name);
  if (found != queues_.end()) return found->second;
  const std::string_view name_space = SplitQueueName(name).name_space;
  // It may be the one that is damaged, and must not be made anew beside it.
  if (!damage_.ok()) return damage_;
  if (!name_space.empty() && !namespaces_.contains(name_space)) {
    return NamespaceNotFound("find queue", name, name_space);
  }
  return QueueNotFound(name);
}

bool Catalog::HasDamage(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  return !Refresh(deadline).ok() || !damage_.ok();
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
  if (!record.status.ok() || (flags & kPrivateGroup) != 0 ||
      OMS_PLANTED(kQueueNotAwaited)) {
    return record.status;
  }
  return log_->WaitDurable(record.end, deadline);
}

absl::StatusOr<std::vector<QueueRecord>> Catalog::LiveQueues() {
  std::vector<QueueRecord> all;
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kQueueKind || candidate.live.Load() == 0) {
      continue;
    }
    const auto body = ReadRecord(candidate);
    if (!body.ok()) return body.status();
    auto record = DecodeQueueRecord(*body);
    if (!record) {
      return DamagedRecord(candidate.record.Load(),
                           "it does not describe a queue");
    }
    all.push_back(*std::move(record));
  }
  return all;
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
  if (LoggedPartitions(options) > kMaxPartitionsPerQueue) {
    return MakeStatus(Code::kTooManyPartitions, "create queue \"", name,
                      "\": ", options.partitions, " partitions; expected 1 to ",
                      kMaxPartitionsPerQueue / kLanes,
                      " in a queue with priorities");
  }
  if (auto s = CheckLimits("create", name, options); !s.ok()) return s;
  const std::string_view dead = options.dead_letter_queue;
  if (dead == name || (dead.empty() && options.max_deliveries > 0)) {
    return MakeStatus(Code::kBadParameter, "create queue \"", name,
                      "\": its dead_letter_queue is \"", dead,
                      "\"; expected another queue");
  }
  {
    const Locked locked(*this, deadline);
    if (!locked.status().ok()) return locked.status();
    for (const std::string_view named : {name, dead}) {
      if (auto s = CheckNamespaceOf(named, name); !s.ok()) return s;
    }
    const auto queues = LiveQueues();
    if (!queues.ok()) return queues.status();
    const auto has = [&](std::string_view wanted) {
      return std::any_of(
          queues->begin(), queues->end(),
          [&](const QueueRecord& queue) { return queue.name == wanted; });
    };
    if (has(name) && !OMS_PLANTED(kQueueMadeTwice)) {
      return MakeStatus(Code::kQueueExists, "create queue \"", name,
                        "\": it exists already");
    }
    // So there is no ring of them either.
    if (!dead.empty() && !has(dead)) {
      return MakeStatus(Code::kQueueNotFound, "create queue \"", name,
                        "\": there is no queue \"", dead,
                        "\"; create the dead-letter queue first");
    }
    if (queues->size() >= static_cast<size_t>(kMaxQueues)) {
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
                              EncodeQueueRecord({std::string(name), options}),
                              deadline);
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::Status Catalog::DeleteQueue(std::string_view name, TimePoint deadline) {
  const auto queue = FindQueue(name, deadline);
  if (!queue.ok()) return queue.status();
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  if (!(*queue)->live()) return QueueNotFound(name);
  const auto others = LiveQueues();
  if (!others.ok()) return others.status();
  for (const QueueRecord& other : *others) {
    if (other.options.dead_letter_queue != name) continue;
    return MakeStatus(Code::kIllegalState, "delete queue \"", name,
                      "\": queue \"", std::string_view(other.name),
                      "\" sends its dead letters there; delete that one first");
  }
  if (auto s = CheckNoTarget(**queue); !s.ok()) return s;
  return AppendRecord(
      RecordType::kQueue, (*queue)->id, 0, kGone,
      EncodeQueueRecord({std::string(name), (*queue)->options}), deadline);
}

absl::Status Catalog::Renew(uint64_t position, TimePoint deadline) {
  if (OMS_PLANTED(kCatalogNotRenewed)) return absl::OkStatus();
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& old = *entry(n);
    if (old.live.Load() == 0 || old.record.Load() >= position) continue;
    uint64_t read_at = 0;
    auto body = ReadRecord(old, &read_at);
    if (!body.ok()) return body.status();
    const uint32_t kind = old.kind.Load();
    const uint64_t state = old.state.Load();
    std::string name;
    std::vector<uint64_t> offsets;
    auto said =
        kind == kQueueKind ? DecodeQueueRecord(*body) : std::nullopt;
    if (said) {
      if (state != 0) said->next = NextOffsets(*control_->Get<QueueState>(state));
      *body = EncodeQueueRecord(*said);
    } else if (kind == kGroupKind && DecodeGroupRecord(*body, name, offsets)) {
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
    // Neither a deletion nor a change meanwhile must be undone.
    record.alive = &old;
    record.guard = &old.record;
    record.guarded = read_at;
    record.type = RecordOf(kind);
    if (kind == kGroupKind && old.live.Load() == kLivePrivately) {
      record.flags = kPrivateGroup;
    }
    record.queue_partition = QueuePartition(old.queue.Load(), 0);
    record.offset =
        kind == kGroupKind || kind == kRouteKind ? old.id.Load() : 0;
    record.pieces[2] = *body;
    log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
    // What was changed has a newer record.
    if (!record.status.ok() && old.live.Load() != 0 &&
        OmsCode(record.status) != Code::kReceiptExpired) {
      return record.status;
    }
  }
  return absl::OkStatus();
}

std::vector<uint64_t> NextOffsets(QueueState& state) {
  std::vector<uint64_t> next(state.partitions);
  for (uint32_t p = 0; p < state.partitions; ++p) {
    next[p] = state.partition(p)->next_offset.Load();
  }
  return next;
}

}  // namespace openmessaging::reference
