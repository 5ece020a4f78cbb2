// SPDX-License-Identifier: Apache-2.0

#include "delay_table.h"

#include <algorithm>

#include "cursor_image.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "written_time.h"

namespace openmessaging::reference {
Delayed DelayedOf(const RecordHeader& header, const char* record) {
  const HeldHead head = HeldHeadOf(header, record);
  Delayed delayed;
  delayed.id = HeldIdOf(head, header);
  delayed.queue_partition = header.queue_partition;
  delayed.bytes = PaddedBytes(header);
  delayed.position = header.position;
  delayed.due_ns = head.due_ns;
  delayed.due_ms = head.due_ms;
  return delayed;
}

int64_t DueNsOf(const HeldHead& head, const Clock& clock) {
  return BootTimeOf({head.due_ns, head.due_ms, head.boot_hash},
                    2 * kMaxDelayMs, clock);
}

DelayTable::Place DelayTable::FindPlace(const HeldId& id) const {
  if (id.sequence == 0) return {};
  return BlockTable::Find(
      Mix64(id.sequence), [&](const DelayBlock& block, uint32_t n) {
        return block.sequence[n].Load() == id.sequence &&
               block.epoch[n].Load() == id.epoch;
      });
}

Delayed DelayTable::Read(const Place& place) {
  const auto& [block, n, link] = place;
  Delayed delayed;
  delayed.id.epoch = block->epoch[n].Load();
  delayed.queue_partition = block->queue_partition[n].Load();
  delayed.bytes = block->bytes[n].Load();
  delayed.position = block->position[n].Load();
  delayed.due_ns = block->due_ns[n].Load();
  delayed.due_ms = block->due_ms[n].Load();
  // Last, so that whoever finds it unchanged has read one entry.
  delayed.id.sequence = block->sequence[n].Load();
  return delayed;
}

std::optional<Delayed> DelayTable::Find(const HeldId& id) const {
  const Place place = FindPlace(id);
  if (place.block == nullptr) return std::nullopt;
  return Read(place);
}

void DelayTable::LowerNextDue(int64_t due_ns) const {
  Shared<int64_t>& next = control().header().flush.next_due_ns;
  int64_t old = next.LoadSequential();
  while ((old == 0 || due_ns < old) && !next.CompareExchange(old, due_ns)) {
  }
}

void DelayTable::Put(const Delayed& delayed) {
  const Changing changing(*this);
  Place place = FindPlace(delayed.id);
  if (place.block != nullptr) {
    place.block->position[place.index].Store(delayed.position);
    return;
  }
  place = Take();
  if (place.block == nullptr) return;
  const auto& [block, n, link] = place;
  block->position[n].Store(delayed.position);
  block->due_ns[n].Store(delayed.due_ns);
  block->due_ms[n].Store(delayed.due_ms);
  block->epoch[n].Store(delayed.id.epoch);
  block->queue_partition[n].Store(delayed.queue_partition);
  block->bytes[n].Store(delayed.bytes);
  // Whoever looks for the earliest writes the next due time first, and then
  // looks again; here it is the other way round.
  Enter(place, delayed.id.sequence);
  LowerNextDue(delayed.due_ns);
}

void DelayTable::Remove(const HeldId& id) {
  const Place place = FindPlace(id);
  if (place.block == nullptr) return;
  const Changing changing(*this);
  Leave(place);
  if (place.block->TimeOf(place.index) <= place.block->earliest_ns.Load()) {
    FindEarliest(*place.block);
  }
}

void DelayTable::Mend() {
  if (!MendBlocks()) return;
  if (const int64_t earliest_ns = EarliestNs(); earliest_ns != INT64_MAX) {
    LowerNextDue(earliest_ns);
  }
  header().changing.Store(0);
}

absl::StatusOr<uint64_t> DelayTable::Allocate(Control& control) const {
  if (count() + spare() >= kMaxDelayed) {
    return MakeStatus(Code::kStorageBusy, "send: ", count(),
                      " delayed messages wait already; the limit is ",
                      kMaxDelayed);
  }
  return BlockTable::Allocate(control);
}

std::vector<Delayed> DelayTable::All(int64_t due_ns, uint64_t below) const {
  std::vector<Delayed> all;
  ForEach(due_ns, [&](const Place& place) {
    const uint64_t sequence = place.block->sequence[place.index].Load();
    const Delayed delayed = Read(place);
    if (sequence != 0 && delayed.id.sequence == sequence &&
        (delayed.due_ns <= due_ns || OMS_PLANTED(kDueEarly)) &&
        delayed.position < below) {
      all.push_back(delayed);
    }
  });
  return all;
}

std::string DelayTable::Image() const {
  ImageWriter image;
  image.Put(control().header().boot_hash);
  for (const Delayed& delayed : All(INT64_MAX, UINT64_MAX)) {
    if (OMS_PLANTED(kDelaysNotKept)) break;
    image.Put(delayed.id.sequence);
    image.Put(delayed.id.epoch);
    image.Put(delayed.queue_partition);
    image.Put(delayed.bytes);
    image.Put(delayed.position);
    image.Put(delayed.due_ns);
    image.Put(delayed.due_ms);
  }
  return std::move(image.bytes());
}

absl::Status RestoreDelays(Control& control, const Clock& clock,
                           std::string_view image) {
  DelayTable table(&control);
  ImageReader reader(image);
  HeldHead head;
  head.boot_hash = reader.Get<uint64_t>();
  while (!reader.at_end() && reader.ok()) {
    Delayed delayed;
    delayed.id.sequence = reader.Get<uint64_t>();
    delayed.id.epoch = reader.Get<uint32_t>();
    delayed.queue_partition = reader.Get<uint32_t>();
    delayed.bytes = reader.Get<uint32_t>();
    delayed.position = reader.Get<uint64_t>();
    head.due_ns = reader.Get<int64_t>();
    head.due_ms = delayed.due_ms = reader.Get<int64_t>();
    delayed.due_ns = DueNsOf(head, clock);
    if (auto s = table.Restore(control, delayed); !s.ok()) return s;
  }
  if (reader.ok()) return absl::OkStatus();
  return MakeStatus(Code::kDamaged, "open store: the checkpoint makes no sense");
}

absl::Status DelayTable::Restore(Control& control, const Delayed& delayed) {
  if (spare() == 0) {
    const auto block = Allocate(control);
    if (!block.ok()) return block.status();
    AddBlock(*block);
  }
  Put(delayed);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
