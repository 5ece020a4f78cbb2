// SPDX-License-Identifier: Apache-2.0
//
// What a local transaction sends: one unit, with what it acknowledges.

#include <algorithm>
#include <vector>

#include "openmessaging/status.h"
#include "producer.h"
#include "producer_scratch.h"

namespace openmessaging::reference {

absl::Status ReferenceProducer::MakeUnit(std::span<const Append> others,
                                         Scratch& scratch) const {
  for (size_t n = 0; n < scratch.deduplications.size(); ++n) {
    for (size_t k = 0; k < n; ++k) {
      if (scratch.deduplications[k].fact.key ==
          scratch.deduplications[n].fact.key) {
        return MakeStatus(Code::kBadParameter, "commit: messages ",
                          scratch.items[scratch.deduplicated[k]].index + 1,
                          " and ",
                          scratch.items[scratch.deduplicated[n]].index + 1,
                          " have one deduplication id; expected an id for each "
                          "message of a transaction");
      }
    }
  }
  std::vector<Append>& all = scratch.appends;
  // Copies refer to the entries of their sources.
  all.reserve(all.size() + others.size());
  Complete(scratch);
  for (const size_t n : scratch.deduplicated) all[n].drops_out = true;
  all.insert(all.end(), others.begin(), others.end());
  if (all.size() > kMaxUnit) {
    return MakeStatus(Code::kBadParameter, "commit: the transaction has ",
                      all.size(), " records; limit is ", kMaxUnit,
                      ", one for each message and each copy by a route, and "
                      "for each group in each partition where something is "
                      "acknowledged");
  }
  const bool disk = std::any_of(all.begin(), all.end(), [](const Append& one) {
    return (one.flags & kDisk) != 0;
  });
  uint64_t bytes = 0;
  for (Append& one : all) {
    if (!store_->volatile_storage()) {
      one.flags &= static_cast<uint8_t>(~(kDisk | kPayloadPending));
      one.flags |= disk ? kDisk : kPayloadPending;
    }
    bytes += one.bytes();
    if ((one.type == RecordType::kMessage ||
         one.type == RecordType::kRouted) &&
        store_->log().HasOwnFile(one.pieces[2])) {
      bytes -= one.pieces[2].size();
    }
  }
  if (bytes > kMaxUnitBytes) {
    return MakeStatus(Code::kBadParameter, "commit: the transaction has ",
                      bytes, " bytes without large bodies; limit is ",
                      kMaxUnitBytes);
  }
  return absl::OkStatus();
}

const Queue* ReferenceProducer::WithoutTarget(const Scratch& scratch) {
  const Queue* found = nullptr;
  for (size_t n = 0; n < scratch.items.size(); ++n) {
    const Scratch::Item& item = scratch.items[n];
    if (item.target == nullptr) {
      if (!item.queue->live()) return nullptr;
    } else if (!item.target->live()) {
      found = scratch.items[SourceOf(scratch, n)].queue;
    }
  }
  return found;
}

absl::Status ReferenceProducer::AppendUnit(Scratch& scratch, int64_t store_ms,
                                           TimePoint deadline,
                                           Surrounding& around) {
  std::vector<Append>& all = scratch.appends;
  std::vector<Append> unit;
  unit.reserve(all.size());
  std::vector<size_t> places(all.size());
  while (true) {
    // What came before with its id is there already: the rest is tried alone.
    unit.clear();
    for (size_t n = 0; n < all.size(); ++n) {
      const Append& one = all[n];
      if (one.duplicate) continue;
      places[n] = unit.size();
      Append& again = unit.emplace_back(one);
      again.flags |= kMore;
      again.status = absl::OkStatus();
      if (one.body_of != nullptr) {
        again.body_of = &unit[places[SourceOf(scratch, n)]];
      }
    }
    if (unit.empty()) return absl::OkStatus();
    unit.back().flags &= static_cast<uint8_t>(~kMore);
    store_->log().AppendUnit(unit, store_ms, deadline, around);
    bool dropped = false;
    for (size_t n = 0; n < all.size(); ++n) {
      Append& one = all[n];
      if (one.duplicate) continue;
      const Append& result = unit[places[n]];
      dropped = dropped || result.duplicate;
      one.status = result.duplicate ? absl::OkStatus() : result.status;
      one.duplicate = result.duplicate;
      one.epoch = result.epoch;
      one.queue_partition = result.queue_partition;
      one.sequence = result.sequence;
      one.offset = result.offset;
      one.end = result.end;
      // The copies of a message that came before were stored with it.
      if (one.body_of != nullptr && all[SourceOf(scratch, n)].duplicate) {
        one.duplicate = true;
      }
    }
    if (!dropped) return unit.back().status;
  }
}

absl::StatusOr<std::vector<SendResult>> ReferenceProducer::SendTogether(
    std::span<const Message> batch, std::span<const Append> others,
    const driver::CallContext& context, Surrounding& around) {
  Scratch scratch;
  scratch.together = true;
  const int64_t store_ms = store_->environment().clock->WallMs();
  for (size_t i = 0; i < batch.size(); ++i) {
    const size_t planned = scratch.items.size();
    if (auto s = Plan(batch[i], context, store_ms, scratch); !s.ok()) return s;
    scratch.items[planned].index = i;
  }
  if (auto s = MakeUnit(others, scratch); !s.ok()) return s;
  if (absl::Status s =
          AppendUnit(scratch, store_ms, context.deadline, around);
      !s.ok()) {
    if (OmsCode(s) == Code::kQueueNotFound) {
      if (const Queue* const source = WithoutTarget(scratch)) {
        s = TargetGone(source->name);
      }
    }
    // Nothing of a unit is stored, whatever ended it.
    StatusDetail detail = DetailOf(s);
    detail.outcome = Outcome::kNotStored;
    return WithDetail(s, detail);
  }
  if (scratch.delayed && store_->housekeeper() != nullptr) {
    store_->housekeeper()->Nudge();
  }
  uint64_t disk_end = 0;
  for (const Append& append : scratch.appends) {
    if ((append.flags & kDisk) != 0) disk_end = std::max(disk_end, append.end);
  }
  absl::Status flushed;
  if (disk_end != 0) {
    flushed = store_->log().WaitDurable(disk_end, context.deadline);
  }
  std::vector<SendResult> results;
  const QueueState* rung = nullptr;
  for (size_t n = 0; n < scratch.items.size(); ++n) {
    RingFor(scratch, n, rung);
    if (scratch.items[n].target == nullptr) {
      results.push_back(ResultOf(scratch, n));
    }
  }
  if (!flushed.ok()) return flushed;
  return results;
}

}  // namespace openmessaging::reference
