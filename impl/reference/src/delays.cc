// SPDX-License-Identifier: Apache-2.0

#include "delays.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "bells.h"
#include "catalog.h"
#include "key_hash.h"
#include "log.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/status.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// So long the others leave the work to whoever claimed it.
constexpr int64_t kClaimNs = 20'000'000;
// What could not be brought in is tried again after so long.
constexpr int64_t kAgainNs = 200'000'000;
// How long an append may wait for its lock.
constexpr std::chrono::milliseconds kPatience{1000};
// Appended together.
constexpr size_t kMaxBatch = 64;

TimePoint Soon() { return std::chrono::steady_clock::now() + kPatience; }

std::string_view BytesOf(const DelayHead& head) {
  return {reinterpret_cast<const char*>(&head), sizeof(head)};
}

absl::Status NotWaiting(std::string_view queue, const MessageId& id) {
  return MakeStatus(Code::kIllegalState, "cancel \"",
                    std::string_view(id.ToString()), "\" of \"", queue,
                    "\": the message does not wait any more; expected one that "
                    "is neither due nor cancelled");
}

// Returns: what an id of this store names; nothing for any other.
std::optional<DelayId> Parse(const MessageId& id, const StoreUuid& store) {
  const std::string text = id.ToString();
  // The ids of one store differ behind its own.
  const std::string prefix = MessageId(store, 0, 0).ToString();
  const size_t digits = prefix.find('-');
  if (text.compare(0, digits + 1, prefix, 0, digits + 1) != 0) {
    return std::nullopt;
  }
  const char* const end = text.data() + text.size();
  DelayId named;
  const auto epoch =
      std::from_chars(text.data() + digits + 1, end, named.epoch);
  if (epoch.ec != std::errc() || epoch.ptr == end || *epoch.ptr != '-') {
    return std::nullopt;
  }
  const auto sequence = std::from_chars(epoch.ptr + 1, end, named.sequence);
  if (sequence.ec != std::errc() || sequence.ptr != end) return std::nullopt;
  return named;
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
  std::vector<DelayHead> heads{};
  std::vector<std::shared_ptr<Segment>> segments{};
  std::vector<QueueState*> queues{};
  std::vector<const Delayed*> sources{};
};

Delays::Delays(Store* store)
    : store_(store), next_(&store->control().header().flush.next_due_ns) {}

absl::Status Delays::Load(const Delayed& delayed, Batch& batch) const {
  auto found = store_->segments().Find(delayed.position);
  DelayHead head;
  Append append;
  if (found.ok()) {
    const Segment& segment = **found;
    const char* const record = segment.Read(delayed.position);
    RecordHeader header;
    std::memcpy(&header, record, sizeof(header));
    const uint32_t length = CommitWord::Length(header.commit);
    const bool sound =
        header.position == delayed.position &&
        CommitWord::Type(header.commit) == RecordType::kDelayed &&
        length >= sizeof(header) &&
        length <= segment.end() - delayed.position &&
        header.fields_bytes <= length - sizeof(header) &&
        header.fields_bytes >= sizeof(head) &&
        // As where a message is received: what was on a disk is verified.
        (store_->volatile_storage() ||
         delayed.position >= store_->opened_end() ||
         (SealOf(header, segment.salt()) == header.header_checksum &&
          ((CommitWord::Flags(header.commit) & kPayloadPending) != 0 ||
           Crc32c(0, record + sizeof(header), length - sizeof(header)) ==
               header.payload_checksum)));
    if (sound) {
      head = DelayHeadOf(header, record);
      const std::string_view fields = MessageFields(header, record);
      append.flags = CommitWord::Flags(header.commit) &
                     static_cast<uint8_t>(
                         ~(kPayloadPending | kMore | kDeduplicated));
      append.pieces[1] = fields;
      append.pieces[2] = {
          fields.data() + fields.size(),
          length - sizeof(header) - header.fields_bytes};
      append.key_hash = KeyHash(
          internal::FindField(fields, internal::Field::kMessageKey)
              .value_or(std::string_view()));
      batch.segments.push_back(*std::move(found));
    } else {
      head.damaged = 1;
    }
  } else if (OmsCode(found.status()) == Code::kQueueNotFound) {
    head.damaged = 1;  // Its segment is lost; what was renewed is found anew.
  } else {
    return found.status();
  }
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

bool Delays::BringIn(std::span<const Delayed> due) {
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
  }
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
    if (status.ok() || code == Code::kReceiptExpired) continue;
    all = code == Code::kQueueNotFound &&
          Drop(*batch.sources[n], Soon()).ok() && all;
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
  const auto named = Parse(id, store_->uuid());
  const ControlHeader& header = store_->control().header();
  if (!named || named->epoch > header.epoch ||
      named->sequence > header.append.sequence.Load()) {
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
    const auto segment = store_->segments().Find(delayed.position);
    bool disk = true;
    if (segment.ok()) {
      const uint64_t word = At<Shared<uint64_t>>(
          (*segment)->Write(delayed.position), 0).Load();
      disk = (CommitWord::Flags(word) & kDisk) != 0;
    }
    uint64_t end = 0;
    absl::Status status = AppendCancel(delayed, end, deadline);
    // Appended again meanwhile, or due: which of them the next look tells.
    if (OmsCode(status) == Code::kReceiptExpired) continue;
    if (!status.ok() || !disk) return status;
    return store_->log().WaitDurable(end, deadline);
  }
}

absl::Status Delays::Renew(uint64_t position, TimePoint deadline) {
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
