// SPDX-License-Identifier: Apache-2.0

#include "delays.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "bells.h"
#include "catalog.h"
#include "held_message.h"
#include "log.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "routes.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// So long the others leave the work to whoever claimed it.
constexpr int64_t kClaimNs = 20'000'000;
// What could not be brought in is tried again after so long.
constexpr int64_t kAgainNs = 200'000'000;
// How long an append may wait for its lock.
constexpr std::chrono::milliseconds kDeliverPatience{1000};
// Appended together.
constexpr size_t kMaxBatch = 64;

TimePoint Soon() { return std::chrono::steady_clock::now() + kDeliverPatience; }

std::string_view BytesOf(const HeldHead& head) {
  return {reinterpret_cast<const char*>(&head), sizeof(head)};
}

absl::Status NotWaiting(std::string_view queue, const MessageId& id) {
  return MakeStatus(Code::kIllegalState, "cancel \"",
                    std::string_view(id.ToString()), "\" of \"", queue,
                    "\": the message does not wait any more; expected one that "
                    "is neither due nor cancelled");
}

}  // namespace

// What is appended together, and what that refers to.
struct Delays::Batch {
  explicit Batch(size_t most) {
    appends.reserve(most);
    heads.reserve(most);
  }
  std::vector<Append> appends{};
  // Never moved: entries refer to them.
  std::vector<HeldHead> heads{};
  std::vector<std::shared_ptr<Segment>> segments{};
  std::vector<QueueState*> queues{};
  // Of each entry the message that is due; null for a copy.
  std::vector<const Delayed*> sources{};
  CopyRoom room{};
};

Delays::Delays(Store* store)
    : store_(store), next_(&store->control().header().flush.next_due_ns) {}

absl::Status Delays::Load(const Delayed& delayed, Batch& batch) const {
  auto held = ReadHeld(*store_, delayed.position, RecordType::kDelayed,
                       sizeof(HeldHead));
  if (!held.ok()) return held.status();
  HeldHead head;
  if (!held->head.empty()) {
    std::memcpy(&head, held->head.data(), sizeof(head));
  }
  Append append;
  append.flags = held->flags;
  append.pieces[1] = held->fields;
  append.pieces[2] = held->body;
  append.key_hash = held->key_hash;
  head.damaged = held->damaged ? 1 : 0;
  batch.segments.push_back(std::move(held->segment));
  if (!store_->volatile_storage() && (append.flags & kDisk) == 0) {
    append.flags |= kPayloadPending;
  }
  head.sequence = delayed.id.sequence;
  head.epoch = delayed.id.epoch;
  head.due_ms = delayed.due_ms;
  head.due_ns = delayed.due_ns;
  head.boot_hash = store_->environment().clock->BootHash();
  append.queue_partition = delayed.queue_partition;
  append.waiting = &delayed;
  append.pieces[0] = BytesOf(batch.heads.emplace_back(head));
  batch.appends.push_back(append);
  return absl::OkStatus();
}

absl::Status Delays::AppendCancel(const Delayed& delayed, uint64_t& end,
                                  TimePoint deadline) {
  Append record;
  record.type = RecordType::kCancel;
  record.queue_partition = delayed.queue_partition;
  record.waiting = &delayed;
  record.pieces[2] = {reinterpret_cast<const char*>(&delayed.id),
                      sizeof(delayed.id)};
  store_->log().AppendAll({&record, 1},
                          store_->environment().clock->WallMs(), deadline);
  end = record.end;
  return record.status;
}

absl::Status Delays::Drop(const Delayed& delayed, TimePoint deadline) {
  uint64_t end = 0;
  absl::Status status = AppendCancel(delayed, end, deadline);
  // Withdrawn or renewed meanwhile.
  if (OmsCode(status) == Code::kReceiptExpired) return absl::OkStatus();
  return status;
}

void Delays::AddCopies(const RouteTable& routes, Batch& batch) {
  const HeldHead& head = batch.heads.back();
  if (head.damaged != 0) return;
  reference::AddCopies(routes, {head.sequence, head.epoch, 0, head.store_ms},
                       turn_.fetch_add(1, std::memory_order_relaxed),
                       store_->uuid(), store_->environment().host, batch.room,
                       batch.appends);
  for (const Queue* const target : batch.room.targets) {
    batch.queues.push_back(target->state);
    batch.sources.push_back(nullptr);
  }
}

bool Delays::BringIn(std::span<const Delayed> due) {
  const auto routes = store_->catalog().Routes(Soon());
  if (!routes.ok()) return false;
  Batch batch(due.size());
  bool all = true;
  for (const Delayed& delayed : due) {
    const CatalogEntry* const entry =
        store_->catalog().FindLiveQueue(QueueOf(delayed.queue_partition));
    if (entry == nullptr) {
      all = Drop(delayed, Soon()).ok() && all;
      continue;
    }
    if (!Load(delayed, batch).ok()) return false;
    auto* const queue =
        store_->control().Get<QueueState>(entry->state.Load());
    Append& append = batch.appends.back();
    append.type = RecordType::kDue;
    append.partition = queue->partition(PartitionOf(delayed.queue_partition));
    append.alive = entry;
    batch.queues.push_back(queue);
    batch.sources.push_back(&delayed);
    AddCopies(**routes, batch);
  }
  ShareBodies(batch.room, batch.appends);
  store_->log().AppendAll(batch.appends,
                          store_->environment().clock->WallMs(), Soon());
  const QueueState* rung = nullptr;
  for (size_t n = 0; n < batch.appends.size(); ++n) {
    const absl::Status& status = batch.appends[n].status;
    const Code code = OmsCode(status);
    if (status.ok() && batch.queues[n] != rung) {
      rung = batch.queues[n];
      RingBells(store_->control(), store_->environment(), store_->liveness(),
                *batch.queues[n]);
    }
    // Somebody else brought it in, withdrew it, or appended it again; in the
    // last case the next look finds it.
    if (status.ok() || code == Code::kReceiptExpired ||
        batch.sources[n] == nullptr) {
      continue;
    }
    // What was deleted may be what it is routed to: then it is tried again.
    const Delayed& source = *batch.sources[n];
    all = code == Code::kQueueNotFound &&
          store_->catalog().FindLiveQueue(QueueOf(source.queue_partition)) ==
              nullptr &&
          Drop(source, Soon()).ok() && all;
  }
  return all;
}

void Delays::BringInDue(int64_t now_ns) {
  Clock& clock = *store_->environment().clock;
  int64_t claim = next_->Load();
  if (claim == 0 || claim > now_ns ||
      !next_->CompareExchange(claim, now_ns + kClaimNs)) {
    return;
  }
  claim = now_ns + kClaimNs;
  const DelayTable table(&store_->control());
  std::vector<Delayed> due = table.All(now_ns, UINT64_MAX);
  std::sort(due.begin(), due.end(), [](const Delayed& a, const Delayed& b) {
    return std::pair(a.due_ns, a.id.sequence) <
           std::pair(b.due_ns, b.id.sequence);
  });
  bool all = true;
  std::span<const Delayed> left = due;
  while (all && !left.empty()) {
    const size_t count = std::min(left.size(), kMaxBatch);
    all = BringIn(left.first(count));
    left = left.subspan(count);
    // Goes on without the claim where somebody sent what is due earlier.
    const int64_t later = clock.BootNs() + kClaimNs;
    if (next_->CompareExchange(claim, later)) claim = later;
  }
  const int64_t not_before = all ? 0 : clock.BootNs() + kAgainNs;
  while (true) {
    const int64_t earliest = std::max(table.EarliestNs(), not_before);
    const int64_t next = earliest == INT64_MAX ? 0 : earliest;
    if (next == claim) return;
    int64_t expected = claim;
    // A sender has lowered it, or somebody took the work over.
    if (!next_->CompareExchange(expected, next)) return;
    // Once more: a sender who took a place before saw the claim, and left it.
    claim = next;
  }
}

absl::Status Delays::Cancel(const Queue& queue, const MessageId& id,
                            TimePoint deadline) {
  const std::string_view name = queue.name;
  const auto named = ParseHeldId(id.ToString(), *store_);
  if (!named) {
    return MakeStatus(Code::kQueueNotFound, "cancel \"",
                      std::string_view(id.ToString()), "\" of \"", name,
                      "\": this store gave out no such id");
  }
  while (true) {
    const auto found = store_->log().FindDelayed(*named, deadline);
    if (!found.ok()) return found.status();
    if (!*found) return NotWaiting(name, id);
    const Delayed& delayed = **found;
    if (QueueOf(delayed.queue_partition) != queue.id) {
      return MakeStatus(Code::kQueueNotFound, "cancel \"",
                        std::string_view(id.ToString()), "\" of \"", name,
                        "\": the message is of another queue");
    }
    const bool disk = IsAtDisk(*store_, delayed.position);
    uint64_t end = 0;
    absl::Status status = AppendCancel(delayed, end, deadline);
    // Appended again meanwhile, or due: which of them the next look tells.
    if (OmsCode(status) == Code::kReceiptExpired) continue;
    if (!status.ok() || !disk) return status;
    return store_->log().WaitDurable(end, deadline);
  }
}

absl::Status Delays::Renew(uint64_t position, TimePoint deadline) {
  if (OMS_PLANTED(kDelaysNotRenewed)) return absl::OkStatus();
  const std::vector<Delayed> all =
      DelayTable(&store_->control()).All(INT64_MAX, position);
  for (const Delayed& delayed : all) {
    const CatalogEntry* const entry =
        store_->catalog().FindLiveQueue(QueueOf(delayed.queue_partition));
    if (entry == nullptr) {
      if (auto s = Drop(delayed, deadline); !s.ok()) return s;
      continue;
    }
    Batch batch(1);
    if (auto s = Load(delayed, batch); !s.ok()) return s;
    Append& append = batch.appends[0];
    // It could not be told any more that it is damaged: so it is due.
    const bool damaged = batch.heads[0].damaged != 0;
    append.type = damaged ? RecordType::kDue : RecordType::kDelayed;
    append.offset = UINT64_MAX;
    if (damaged) {
      append.partition =
          store_->catalog().FindPartition(delayed.queue_partition);
    }
    store_->log().AppendAll(batch.appends,
                            store_->environment().clock->WallMs(), deadline);
    if (!append.status.ok() &&
        OmsCode(append.status) != Code::kReceiptExpired) {
      return append.status;
    }
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
