// SPDX-License-Identifier: Apache-2.0

#include "prepared_table.h"

#include <algorithm>
#include <utility>

#include "cursor_image.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "written_time.h"

namespace openmessaging::reference {
namespace {

// How often outcomes that are over are looked for while there is room.
constexpr int64_t kTidyNs = 60'000'000'000;

}  // namespace

Prepared PreparedOf(const RecordHeader& header, const char* record,
                    const Clock& clock) {
  PreparedHead head;
  if (header.fields_bytes >= sizeof(head)) {
    std::memcpy(&head, record + sizeof(header), sizeof(head));
  }
  Prepared prepared;
  prepared.id = HeldIdOf(head.held, header);
  prepared.queue_partition = header.queue_partition;
  prepared.bytes = PaddedBytes(header);
  prepared.position = header.position;
  prepared.time_ms = head.held.due_ms;
  prepared.time_ns = BootTimeOf(
      {head.held.due_ns, head.held.due_ms, head.held.boot_hash}, kMaxCheckMs,
      clock);
  prepared.group = head.group;
  prepared.check_after_ms = head.check_after_ms;
  prepared.checks = head.checks;
  prepared.max_checks = head.max_checks;
  return prepared;
}

Prepared DecisionOf(const RecordHeader& header, const char* record,
                    const Clock& clock) {
  const bool committed =
      CommitWord::Type(header.commit) == RecordType::kCommit;
  Prepared decided;
  decided.id = committed ? HeldIdOf(HeldHeadOf(header, record), header)
                         : NamedIn(header, record);
  decided.state =
      committed ? PreparedState::kCommitted : PreparedState::kRolledBack;
  decided.queue_partition = header.queue_partition;
  decided.bytes = PaddedBytes(header);
  decided.position = header.position;
  decided.time_ms = header.store_ms + kOutcomeMs;
  decided.time_ns = BootTimeOf({0, decided.time_ms, 0}, kOutcomeMs, clock);
  return decided;
}

Prepared RememberedOf(const OutcomeImage& image, const RecordHeader& header,
                   const Clock& clock) {
  Prepared decided;
  decided.id = image.id;
  decided.state = image.state;
  decided.bytes = PaddedBytes(header);
  decided.position = header.position;
  decided.time_ms = image.end_ms;
  decided.time_ns = BootTimeOf({image.end_ns, image.end_ms, image.boot_hash},
                               kOutcomeMs, clock);
  return decided;
}

PreparedTable::Place PreparedTable::FindPlace(const HeldId& id) const {
  if (id.sequence == 0) return {};
  return BlockTable::Find(
      Mix64(id.sequence), [&](const PreparedBlock& block, uint32_t n) {
        return block.sequence[n].Load() == id.sequence &&
               block.epoch[n].Load() == id.epoch;
      });
}

Prepared PreparedTable::Read(const Place& place) {
  const auto& [block, n, link] = place;
  Prepared prepared;
  prepared.id.epoch = block->epoch[n].Load();
  prepared.state = static_cast<PreparedState>(block->state[n].Load());
  prepared.queue_partition = block->queue_partition[n].Load();
  prepared.bytes = block->bytes[n].Load();
  prepared.position = block->position[n].Load();
  prepared.time_ns = block->time_ns[n].Load();
  prepared.time_ms = block->time_ms[n].Load();
  prepared.group = block->group[n].Load();
  prepared.check_after_ms = block->check_after_ms[n].Load();
  prepared.checks = block->checks[n].Load();
  prepared.max_checks = block->max_checks[n].Load();
  // Last, so that whoever finds it unchanged has read one entry.
  prepared.id.sequence = block->sequence[n].Load();
  return prepared;
}

void PreparedTable::Write(const Place& place, const Prepared& prepared) {
  const auto& [block, n, link] = place;
  block->epoch[n].Store(prepared.id.epoch);
  block->queue_partition[n].Store(prepared.queue_partition);
  block->bytes[n].Store(prepared.bytes);
  block->position[n].Store(prepared.position);
  block->time_ns[n].Store(prepared.time_ns);
  block->time_ms[n].Store(prepared.time_ms);
  block->group[n].Store(prepared.group);
  block->check_after_ms[n].Store(prepared.check_after_ms);
  block->checks[n].Store(prepared.checks);
  block->max_checks[n].Store(prepared.max_checks);
  block->state[n].Store(static_cast<uint32_t>(prepared.state));
}

std::optional<Prepared> PreparedTable::Find(const HeldId& id,
                                            int64_t now_ns) const {
  const Place place = FindPlace(id);
  if (place.block == nullptr) return std::nullopt;
  const Prepared found = Read(place);
  if (found.state != PreparedState::kUndecided && found.time_ns <= now_ns) {
    return std::nullopt;
  }
  return found;
}

bool PreparedTable::IsUndecided(const Prepared& prepared) const {
  const Place place = FindPlace(prepared.id);
  return place.block != nullptr && !place.block->IsDecided(place.index) &&
         place.block->position[place.index].Load() == prepared.position;
}

void PreparedTable::Put(const Prepared& prepared) {
  const Changing changing(*this);
  Place place = FindPlace(prepared.id);
  const bool known = place.block != nullptr;
  if (known && prepared.state == PreparedState::kUndecided) {
    if (place.block->IsDecided(place.index)) return;
    // Appended again, and as often asked about as before. When it is due the
    // table knows better than a record, whose boot may be unknown.
    place.block->bytes[place.index].Store(prepared.bytes);
    place.block->position[place.index].Store(prepared.position);
    return;
  }
  if (!known) place = Take();
  if (place.block == nullptr) return;
  Write(place, prepared);
  if (!known) return Enter(place, prepared.id.sequence);
  // It may have been the earliest, or is.
  FindEarliest(*place.block);
}

bool PreparedTable::CountCheck(const Prepared& seen, int64_t next_ns,
                               int64_t next_ms) {
  if (!IsUndecided(seen)) return false;
  const auto [block, n, link] = FindPlace(seen.id);
  if (block->checks[n].Load() != seen.checks && !OMS_PLANTED(kCheckedTwice)) {
    return false;
  }
  const Changing changing(*this);
  block->time_ms[n].Store(next_ms);
  block->time_ns[n].Store(next_ns);
  block->checks[n].Store(seen.checks + 1);
  FindEarliest(*block);
  return true;
}

void PreparedTable::Forget(int64_t now_ns, int64_t over_ns) const {
  Sweep(now_ns, INT64_MAX, [&](const Place& place) {
    return place.block->IsDecided(place.index) &&
           place.block->time_ns[place.index].Load() <= over_ns;
  });
}

void PreparedTable::MakeRoom(int64_t now_ns) {
  if (spare() != 0) return;
  constexpr int64_t kEarlierNs = (kOutcomeMs - kShortOutcomeMs) * 1'000'000;
  Forget(now_ns, IsFull() ? now_ns + kEarlierNs : now_ns);
}

bool PreparedTable::IsUntidy(int64_t now_ns) const {
  return count() != 0 && now_ns >= header().next_look_ns.Load() + kTidyNs;
}

void PreparedTable::ForgetOver(int64_t now_ns) {
  if (IsUntidy(now_ns)) Forget(now_ns, now_ns);
}

absl::Status PreparedTable::CheckMayGrow() const {
  if (!IsFull()) return absl::OkStatus();
  return MakeStatus(Code::kStorageBusy, "prepare: the store knows ", count(),
                    " prepared messages and outcomes, as many as it can; "
                    "expected some to be decided, and a while to pass");
}

std::vector<Prepared> PreparedTable::All(int64_t now_ns,
                                         uint64_t below) const {
  std::vector<Prepared> all;
  ForEach(INT64_MAX, [&](const Place& place) {
    const uint64_t sequence = place.block->sequence[place.index].Load();
    const Prepared prepared = Read(place);
    const bool over = prepared.state != PreparedState::kUndecided &&
                      prepared.time_ns <= now_ns;
    if (sequence != 0 && prepared.id.sequence == sequence && !over &&
        prepared.position < below) {
      all.push_back(prepared);
    }
  });
  return all;
}

std::optional<Prepared> PreparedTable::FindDue(uint64_t group,
                                               int64_t now_ns) const {
  std::optional<Prepared> first;
  ForEach(now_ns, [&](const Place& place) {
    const uint64_t sequence = place.block->sequence[place.index].Load();
    const Prepared prepared = Read(place);
    if (sequence == 0 || prepared.id.sequence != sequence ||
        prepared.state != PreparedState::kUndecided ||
        prepared.group != group || prepared.time_ns > now_ns) {
      return;
    }
    // A recovery finds them in any order.
    if (!first || std::pair(prepared.time_ns, prepared.id.sequence) <
                      std::pair(first->time_ns, first->id.sequence)) {
      first = prepared;
    }
  });
  return first;
}

std::string PreparedTable::Image(int64_t now_ns) const {
  ImageWriter image;
  image.Put(control().header().boot_hash);
  for (const Prepared& prepared : All(now_ns, UINT64_MAX)) {
    image.Put(prepared.id.sequence);
    image.Put(prepared.id.epoch);
    image.Put(prepared.state);
    image.Put(prepared.queue_partition);
    image.Put(prepared.bytes);
    image.Put(prepared.position);
    image.Put(prepared.time_ns);
    image.Put(prepared.time_ms);
    image.Put(prepared.group);
    image.Put(prepared.check_after_ms);
    image.Put(prepared.checks);
    image.Put(prepared.max_checks);
  }
  return std::move(image.bytes());
}

absl::Status RestorePrepared(Control& control, const Clock& clock,
                             std::string_view image) {
  PreparedTable table(&control);
  ImageReader reader(image);
  const auto boot_hash = reader.Get<uint64_t>();
  while (!reader.at_end() && reader.ok()) {
    Prepared prepared;
    prepared.id.sequence = reader.Get<uint64_t>();
    prepared.id.epoch = reader.Get<uint32_t>();
    prepared.state = reader.Get<PreparedState>();
    prepared.queue_partition = reader.Get<uint32_t>();
    prepared.bytes = reader.Get<uint32_t>();
    prepared.position = reader.Get<uint64_t>();
    prepared.time_ns = reader.Get<int64_t>();
    prepared.time_ms = reader.Get<int64_t>();
    prepared.group = reader.Get<uint64_t>();
    prepared.check_after_ms = reader.Get<uint32_t>();
    prepared.checks = reader.Get<uint32_t>();
    prepared.max_checks = reader.Get<uint32_t>();
    if (!reader.ok()) break;
    prepared.time_ns = BootTimeOf({prepared.time_ns, prepared.time_ms,
                                   boot_hash},
                                  kMaxCheckMs, clock);
    if (auto s = table.Restore(control, prepared); !s.ok()) return s;
  }
  if (reader.ok()) return absl::OkStatus();
  return MakeStatus(Code::kDamaged, "open store: the checkpoint makes no sense");
}

absl::Status PreparedTable::Restore(Control& control,
                                    const Prepared& prepared) {
  if (spare() == 0) {
    const auto block = Allocate(control);
    if (!block.ok()) return block.status();
    AddBlock(*block);
  }
  Put(prepared);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
