// SPDX-License-Identifier: Apache-2.0
//
// When the files of big/ go: with the last segment that names them, and those
// that nobody names.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "planted.h"
#include "record_walk.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// How long an append that a dead process began is waited for.
constexpr std::chrono::seconds kEndOfAppends{1};
// How long a sender that finds no room moves what is in the way.
constexpr std::chrono::seconds kMoveForRoom{1};

}  // namespace

bool Store::ForEachBody(uint32_t ordinal, bool shared,
                        const std::function<void(const LargeBody&)>& visit) {
  const ControlHeader& header = control_->header();
  const auto segment = segments_->ByOrdinal(ordinal);
  if (!segment.ok()) return false;
  uint64_t end = (*segment)->end();
  if (ordinal == header.append.current.Load()) {
    end = std::min(end, std::max(header.committed.end.Load(),
                                 (*segment)->base()));
  } else {
    const auto next = segments_->ByOrdinal(ordinal + 1);
    if (!next.ok()) return false;
    const uint64_t said = (*next)->header()->roll.previous_end;
    if (said < (*segment)->base() || said > end) return false;
    end = said;
  }
  const bool checksums = log_->checksums();
  return WalkRecords(
             **segment, (*segment)->base(), end, checksums,
             [&](const RecordHeader& record, const char* bytes) {
               const uint8_t flags = CommitWord::Flags(record.commit);
               const bool shares = SharesBody(CommitWord::Type(record.commit));
               if ((flags & kBodyApart) == 0 || (shared && !shares)) {
                 return true;
               }
               const uint64_t payload =
                   CommitWord::Length(record.commit) - sizeof(record);
               if (checksums && (flags & kPayloadPending) == 0 &&
                   Crc32c(0, bytes + sizeof(record), payload) !=
                       record.payload_checksum) {
                 return false;
               }
               const auto body = LargeBodyOf(record, bytes);
               if (body) visit(*body);
               return body.has_value();
             }) == end;
}

bool Store::RetireBodies(uint32_t first, uint32_t keep, TimePoint deadline) {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  const auto has = [&](uint32_t ordinal, uint32_t what) {
    return (segments_->entry(ordinal).used.Load() & what) != 0;
  };
  bool any = false;
  for (uint32_t n = first; n != keep; ++n) any = any || has(n, kNamesBodies);
  if (!any) return true;
  // A new group may be handed a message that goes, and reject it. From here on
  // that is refused; what was appended before is seen below.
  catalog.bodies_from.StoreSequential(segments_->entry(keep).base.Load());
  if (!log_->AwaitAppends(deadline)) return false;
  // Where something is damaged, rather keep a body for ever than lose one.
  std::vector<LargeBody> going;
  for (uint32_t n = first; n != keep; ++n) {
    if (!has(n, kNamesBodies)) continue;
    ForEachBody(n, false,
                [&](const LargeBody& body) { going.push_back(body); });
  }
  absl::flat_hash_set<std::string> staying;
  const uint32_t current = control_->header().append.current.Load();
  for (uint32_t n = keep; n != current + 1; ++n) {
    if (OMS_PLANTED(kSharedBodyRemoved)) break;
    if (!has(n, kSharesBodies)) continue;
    if (!ForEachBody(n, true, [&](const LargeBody& body) {
          staying.insert(BodyName(body));
        })) {
      return true;
    }
  }
  // Copies of a message name one file, all in the same segment.
  absl::flat_hash_set<std::string> named;
  std::erase_if(going, [&](const LargeBody& body) {
    const std::string name = BodyName(body);
    return staying.contains(name) || !named.insert(name).second;
  });
  // A segment that is gone while its bodies come back after a power loss would
  // leave them for ever.
  return bodies_->Remove(going).ok() && bodies_->SyncRemovals().ok();
}

void Store::RemoveLeftovers() {
  if (predecessor_.number != 0) {
    RemoveLeftoversOf(liveness_->self().slot(), predecessor_);
    predecessor_ = {};
  }
  for (uint32_t n = 0; n < store_file_.options.slots; ++n) {
    const Slot& slot = control_->slots()[n];
    if (slot.body_number.Load() == 0 || n == liveness_->self().slot()) continue;
    const auto held = locks_->HeldElsewhere(kSlotByte + n, 1);
    if (held.ok() && !*held) RemoveLeftoversOf(n, LeftBodies::Of(slot));
  }
}

void Store::RemoveLeftoversOf(uint32_t slot, const LeftBodies& left) {
  const ControlHeader& header = control_->header();
  const auto all = bodies_->List();
  if (!all.ok()) return;
  std::vector<LargeBody> unnamed;
  for (const LargeBody& body : *all) {
    if (body.epoch == header.epoch &&
        body.owner == Owner(slot, left.generation).word() &&
        body.number + 1 >= left.number) {
      unnamed.push_back(body);
    }
  }
  if (!unnamed.empty()) {
    // It may have died with its record written and not finished.
    if (!log_->AwaitAppends(std::chrono::steady_clock::now() +
                            kEndOfAppends)) {
      return;
    }
    absl::flat_hash_set<std::string> named;
    const uint32_t current = header.append.current.Load();
    for (uint32_t n = header.catalog.first_segment.Load(); n != current + 1;
         ++n) {
      const SegmentEntry& entry = segments_->entry(n);
      if ((entry.used.Load() & kNamesBodies) == 0 ||
          entry.base.Load() + entry.capacity.Load() <= left.from) {
        continue;
      }
      if (!ForEachBody(n, false, [&](const LargeBody& body) {
            named.insert(BodyName(body));
          })) {
        return;
      }
    }
    std::erase_if(unnamed, [&](const LargeBody& body) {
      return named.contains(BodyName(body));
    });
    if (!bodies_->Remove(unnamed).ok()) return;
  }
  if (slot != liveness_->self().slot()) {
    control_->slots()[slot].body_number.Store(0);
  }
}

absl::Status Store::RemoveUnnamed() {
  auto all = bodies_->List();
  if (!all.ok()) return all.status();
  std::erase_if(*all, [&](const LargeBody& body) {
    return named_bodies_->contains(BodyName(body));
  });
  return bodies_->Remove(*all);
}

void Store::MakeRoom(TimePoint deadline) {
  log_->RestoreReserve().IgnoreError();
  const TimePoint until =
      std::min(deadline, std::chrono::steady_clock::now() + kMoveForRoom);
  while (RetireOldest(true) && std::chrono::steady_clock::now() < until) {
  }
  const uint64_t tail = control_->header().append.tail.Load();
  if (LowestNeeded(tail) >= tail) {
    log_->RollForRoom(deadline);
    Retire();
  }
  const internal::MutexLock lock(gate_mutex_);
  const auto locked = locks_->TryLock(kGateByte);
  // Whoever has it looks himself.
  if (!locked.ok() || !*locked) return;
  RemoveLeftovers();
  locks_->Unlock(kGateByte).IgnoreError();
}

}  // namespace openmessaging::reference
