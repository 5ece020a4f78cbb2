// SPDX-License-Identifier: Apache-2.0

#include "transactions.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "bells.h"
#include "catalog.h"
#include "held_message.h"
#include "log.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/message_id.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "routes.h"
#include "sip_hash.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// From one check to the next.
constexpr int64_t kLongestBackoffMs = 60'000;

template <typename Head>
std::string_view BytesOf(const Head& head) {
  return {reinterpret_cast<const char*>(&head), sizeof(head)};
}

absl::Status Unknown(std::string_view id, std::string_view what) {
  return MakeStatus(Code::kQueueNotFound, "resolve transaction \"", id,
                    "\": ", what);
}

// Returns: `fields` with the transaction's id among them.
std::string WithTransactionId(std::string_view fields, std::string_view id) {
  using internal::Field;
  const internal::FieldSpan at =
      internal::LocateField(fields, Field::kTransactionId);
  std::string all(fields.substr(0, at.begin));
  const size_t begin = all.size();
  all.resize(begin + internal::FieldSize(id.size()));
  internal::PutField(all.data() + begin, Field::kTransactionId, id);
  all += fields.substr(at.end);
  return all;
}

std::string TextOf(const HeldId& id, const StoreUuid& store) {
  return MessageId(store, id.epoch, id.sequence).ToString();
}

// Keeps what a check listener sees: it may go from the log meanwhile.
struct CheckedMessage final : internal::MessageHolder {
  CheckedMessage(std::string fields, std::string_view body_bytes,
                 const Store& store, std::string queue_name)
      : internal::MessageHolder([](internal::MessageHolder* holder) {
          delete static_cast<CheckedMessage*>(holder);
        }),
        bytes(std::move(fields)),
        queue(std::move(queue_name)) {
    bytes += body_bytes;
    store_id = store.uuid();
    destination = queue;
    store_host = store.environment().host;
  }

  std::string bytes;
  const std::string queue;
};

// Returns: how long after that many checks the next one comes.
int64_t BackoffMs(const Prepared& prepared) {
  int64_t wait_ms = prepared.check_after_ms;
  const int64_t longest_ms = std::max(wait_ms, kLongestBackoffMs);
  for (uint32_t n = 0; n < prepared.checks && wait_ms < longest_ms; ++n) {
    wait_ms *= 2;
  }
  return std::min(wait_ms, longest_ms);
}

}  // namespace

uint64_t Transactions::GroupOf(std::string_view name) const {
  SipKey key;
  static_assert(sizeof(key) == sizeof(StoreUuid));
  std::memcpy(&key, store_->uuid().data(), sizeof(key));
  return SipHash128(key, name)[0] | 1;
}

absl::Status Transactions::AppendCommit(const Prepared& prepared, uint64_t& end,
                                        TimePoint deadline) {
  const CatalogEntry* const entry =
      store_->catalog().FindLiveQueue(QueueOf(prepared.queue_partition));
  if (entry == nullptr) {
    return MakeStatus(Code::kQueueNotFound, "append: the queue was deleted");
  }
  const auto held = ReadHeld(*store_, prepared.position, RecordType::kPrepare,
                             sizeof(PreparedHead));
  if (!held.ok()) return held.status();
  HeldHead head;
  if (!held->head.empty()) {
    std::memcpy(&head, held->head.data(), sizeof(head));
  }
  head.sequence = prepared.id.sequence;
  head.epoch = prepared.id.epoch;
  // Its receivers are told.
  head.damaged = held->damaged ? 1 : 0;
  const std::string fields = WithTransactionId(
      held->fields, TextOf(prepared.id, store_->uuid()));
  auto* const queue = store_->control().Get<QueueState>(entry->state.Load());
  Append record;
  record.type = RecordType::kCommit;
  record.flags = held->flags;
  if (!store_->volatile_storage() && (record.flags & kDisk) == 0) {
    record.flags |= kPayloadPending;
  }
  record.queue_partition = prepared.queue_partition;
  record.key_hash = held->key_hash;
  record.partition = queue->partition(PartitionOf(prepared.queue_partition));
  record.alive = entry;
  record.undecided = &prepared;
  record.pieces = {BytesOf(head), fields, held->body};
  const auto routes = store_->catalog().Routes(deadline);
  if (!routes.ok()) return routes.status();
  std::vector<Append> unit{record};
  CopyRoom room;
  if (!held->damaged) {
    AddCopies(**routes, {head.sequence, head.epoch, 0, head.store_ms},
              static_cast<uint32_t>(head.sequence), store_->uuid(),
              store_->environment().host, room, unit);
    ShareBodies(room, unit);
  }
  store_->log().AppendAll(unit, store_->environment().clock->WallMs(),
                          deadline);
  end = unit.back().end;
  const absl::Status& status = unit.front().status;
  if (OmsCode(status) == Code::kQueueNotFound && entry->live.Load() != 0) {
    return MakeStatus(Code::kUnavailable,
                      "commit: a queue that the message is routed to was "
                      "deleted meanwhile; nothing was stored, commit it again");
  }
  if (!status.ok()) return status;
  const auto ring = [&](QueueState& of) {
    RingBells(store_->control(), store_->environment(), store_->liveness(),
              of);
  };
  ring(*queue);
  for (const Queue* const target : room.targets) ring(*target->state);
  return status;
}

absl::Status Transactions::AppendRollback(const Prepared& prepared,
                                          uint64_t& end, TimePoint deadline) {
  Append record;
  record.type = RecordType::kRollback;
  // Who is told that again waits for it.
  if (IsAtDisk(*store_, prepared.position)) record.flags |= kDisk;
  record.queue_partition = prepared.queue_partition;
  record.undecided = &prepared;
  record.pieces[2] = BytesOf(prepared.id);
  store_->log().AppendAll({&record, 1}, store_->environment().clock->WallMs(),
                          deadline);
  end = record.end;
  return record.status;
}

absl::Status Transactions::AppendDecision(const Prepared& prepared,
                                          PreparedState decision, uint64_t& end,
                                          TimePoint deadline) {
  return decision == PreparedState::kCommitted
             ? AppendCommit(prepared, end, deadline)
             : AppendRollback(prepared, end, deadline);
}

absl::Status Transactions::Drop(const Prepared& prepared, TimePoint deadline) {
  uint64_t end = 0;
  absl::Status status = AppendRollback(prepared, end, deadline);
  // Decided or renewed meanwhile.
  if (OmsCode(status) == Code::kReceiptExpired) return absl::OkStatus();
  return status;
}

absl::Status Transactions::Resolve(std::string_view transaction_id,
                                   PreparedState decision,
                                   TimePoint deadline) {
  const auto named = ParseHeldId(transaction_id, *store_);
  if (!named) {
    return Unknown(transaction_id, "this store gave out no such id");
  }
  while (true) {
    const auto found = store_->log().FindPrepared(*named, deadline);
    if (!found.ok()) return found.status();
    if (!*found) {
      return Unknown(transaction_id,
                     "nothing of that id was prepared, or its outcome is not "
                     "remembered any more");
    }
    const Prepared& prepared = **found;
    const bool disk = IsAtDisk(*store_, prepared.position);
    if (prepared.state == decision) {
      if (!disk) return absl::OkStatus();
      return store_->log().WaitDurable(prepared.position + prepared.bytes,
                                       deadline);
    }
    if (prepared.state != PreparedState::kUndecided) {
      return MakeStatus(Code::kTransactionConflict, "resolve transaction \"",
                        transaction_id, "\": it was ",
                        prepared.state == PreparedState::kCommitted
                            ? "committed"
                            : "rolled back",
                        " before; the first decision counts");
    }
    uint64_t end = 0;
    absl::Status status = AppendDecision(prepared, decision, end, deadline);
    // Decided or appended again meanwhile: which, the next look tells.
    if (OmsCode(status) == Code::kReceiptExpired) continue;
    if (OmsCode(status) == Code::kQueueNotFound) {
      Drop(prepared, deadline).IgnoreError();
      return Unknown(transaction_id, "its queue was deleted");
    }
    const bool awaited = disk && !OMS_PLANTED(kDecisionNotAwaited);
    if (!status.ok() || !awaited) return status;
    return store_->log().WaitDurable(end, deadline);
  }
}

absl::StatusOr<std::optional<Message>> Transactions::Show(
    const Prepared& prepared, const Queue& queue) {
  const auto held = ReadHeld(*store_, prepared.position, RecordType::kPrepare,
                             sizeof(PreparedHead));
  if (!held.ok()) return held.status();
  // Nobody can say anything of it.
  if (held->damaged) return std::optional<Message>();
  HeldHead head;
  std::memcpy(&head, held->head.data(), sizeof(head));
  std::string fields = WithTransactionId(held->fields,
                                         TextOf(prepared.id, store_->uuid()));
  const size_t fields_bytes = fields.size();
  driver::DeliveryHeader delivery;
  delivery.partition = static_cast<int32_t>(
      queue.Shown(PartitionOf(prepared.queue_partition)));
  delivery.store_timestamp_ms = head.store_ms;
  delivery.delivery_count = 0;
  auto* const holder = new CheckedMessage(std::move(fields), held->body, *store_,
                                          queue.name);
  const std::string_view bytes = holder->bytes;
  return std::optional<Message>(driver::MessageAccess::View(
      holder, bytes.substr(0, fields_bytes), bytes.substr(fields_bytes),
      prepared.id.epoch, prepared.id.sequence, delivery));
}

absl::StatusOr<std::optional<Message>> Transactions::TakeCheck(
    uint64_t group, TimePoint deadline) {
  const PreparedTable table(&store_->control());
  if (table.count() == 0) return std::optional<Message>();
  Clock& clock = *store_->environment().clock;
  if (table.IsUntidy(clock.BootNs())) store_->log().ForgetOutcomes(deadline);
  while (true) {
    const int64_t now_ns = clock.BootNs();
    const auto due = table.FindDue(group, now_ns);
    if (!due) return std::optional<Message>();
    const auto queues = store_->catalog().Queues(deadline);
    if (!queues.ok()) return queues.status();
    const auto queue = std::find_if(
        queues->begin(), queues->end(), [&](const auto& one) {
          return one->id == QueueOf(due->queue_partition);
        });
    if (queue == queues->end() || due->checks >= due->max_checks) {
      if (auto s = Drop(*due, deadline); !s.ok()) return s;
      continue;
    }
    const int64_t wait_ms = BackoffMs(*due);
    const auto counted = store_->log().CountCheck(
        *due, now_ns + wait_ms * 1'000'000, clock.ExactWallMs() + wait_ms,
        deadline);
    if (!counted.ok()) return counted.status();
    if (!*counted) continue;  // Somebody else has it.
    auto shown = Show(*due, **queue);
    if (!shown.ok() || *shown) return shown;
  }
}

absl::Status Transactions::RenewMessage(const Prepared& prepared,
                                        TimePoint deadline) {
  const auto held = ReadHeld(*store_, prepared.position, RecordType::kPrepare,
                             sizeof(PreparedHead));
  if (!held.ok()) return held.status();
  PreparedHead head;
  if (!held->head.empty()) {
    std::memcpy(&head, held->head.data(), sizeof(head));
  }
  head.held.sequence = prepared.id.sequence;
  head.held.epoch = prepared.id.epoch;
  head.held.damaged = held->damaged ? 1 : 0;
  head.held.due_ms = prepared.time_ms;
  head.held.due_ns = prepared.time_ns;
  head.held.boot_hash = store_->environment().clock->BootHash();
  head.group = prepared.group;
  head.check_after_ms = prepared.check_after_ms;
  head.checks = static_cast<uint16_t>(prepared.checks);
  head.max_checks = static_cast<uint16_t>(prepared.max_checks);
  Append record;
  record.type = RecordType::kPrepare;
  record.flags = held->flags;
  if (!store_->volatile_storage() && (record.flags & kDisk) == 0) {
    record.flags |= kPayloadPending;
  }
  record.queue_partition = prepared.queue_partition;
  record.undecided = &prepared;
  record.offset = UINT64_MAX;
  record.pieces = {BytesOf(head), held->fields, held->body};
  store_->log().AppendAll({&record, 1}, store_->environment().clock->WallMs(),
                          deadline);
  // Decided meanwhile.
  if (OmsCode(record.status) == Code::kReceiptExpired) return absl::OkStatus();
  return record.status;
}

absl::Status Transactions::Renew(uint64_t position, TimePoint deadline) {
  if (OMS_PLANTED(kPreparedNotRenewed)) return absl::OkStatus();
  // Of one OUTCOMES record.
  constexpr size_t kRenewedBytes = 32 * sizeof(OutcomeImage);
  std::string outcomes;
  const auto append = [&] {
    if (outcomes.empty()) return absl::OkStatus();
    Append record;
    record.type = RecordType::kOutcomes;
    record.pieces[2] = outcomes;
    store_->log().AppendAll({&record, 1},
                            store_->environment().clock->WallMs(), deadline);
    outcomes.clear();
    return record.status;
  };
  const int64_t now_ns = store_->environment().clock->BootNs();
  for (const Prepared& prepared :
       PreparedTable(&store_->control()).All(now_ns, position)) {
    absl::Status status;
    if (prepared.state != PreparedState::kUndecided) {
      OutcomeImage image;
      image.id = prepared.id;
      image.state = prepared.state;
      image.end_ms = prepared.time_ms;
      image.end_ns = prepared.time_ns;
      image.boot_hash = store_->control().header().boot_hash;
      outcomes += BytesOf(image);
      if (outcomes.size() >= kRenewedBytes) status = append();
    } else if (store_->catalog().FindLiveQueue(
                   QueueOf(prepared.queue_partition)) == nullptr) {
      status = Drop(prepared, deadline);
    } else {
      status = RenewMessage(prepared, deadline);
    }
    if (!status.ok()) return status;
  }
  return append();
}

}  // namespace openmessaging::reference
