// SPDX-License-Identifier: Apache-2.0

#include "group_filters.h"

#include "checksum.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

// FNV-1a, mixed. 0 for none.
uint64_t FilterHash(std::string_view filter) {
  if (filter.empty()) return 0;
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : filter) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return Mix64(hash) | 1;
}

}  // namespace

absl::StatusOr<BindingEntry*> GroupFilters::FindRoom(const Group& group,
                                                     uint64_t filter,
                                                     TimePoint deadline) {
  BindingEntry* room = nullptr;
  Shared<uint64_t>* place = &control_->header().catalog.first_binding_page;
  for (; place->Load() != 0;
       place = &control_->Get<BindingPage>(place->Load())->next) {
    for (BindingEntry& entry :
         control_->Get<BindingPage>(place->Load())->entries) {
      if (entry.owner.Load() == 0) {
        if (room == nullptr) room = &entry;
      } else if (entry.group.Load() == group.id &&
                 entry.filter.Load() != filter && IsAlive(entry)) {
        return MakeStatus(
            Code::kConsumerExists, "bind \"",
            std::string_view(group.queue->name), "\": group \"",
            std::string_view(group.name),
            "\" has a member with another filter, or with none; expected the "
            "same in all that live (filter)");
      }
    }
  }
  if (room == nullptr) room = FindDead();
  if (room != nullptr) return room;
  if (auto made = catalog_->EnsureArea(*place, sizeof(BindingPage), deadline);
      !made.ok()) {
    return made;
  }
  return control_->Get<BindingPage>(place->Load())->entries.data();
}

BindingEntry* GroupFilters::FindDead() {
  uint32_t alive = 0;  // Asked of once, as most entries are of few processes.
  for (uint64_t page = control_->header().catalog.first_binding_page.Load();
       page != 0; page = control_->Get<BindingPage>(page)->next.Load()) {
    for (BindingEntry& entry : control_->Get<BindingPage>(page)->entries) {
      const uint32_t owner = entry.owner.Load();
      if (owner == alive) continue;
      if (!IsAlive(entry)) return &entry;
      alive = owner;
    }
  }
  return nullptr;
}

absl::StatusOr<BindingEntry*> GroupFilters::Enter(const Group& group,
                                                  std::string_view filter,
                                                  TimePoint deadline) {
  // Of an owner that died in here nothing is left to repair: an entry counts
  // from the store of its owner on.
  if (lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kTimeout, "bind \"",
                      std::string_view(group.queue->name),
                      "\": another process held the filters' lock until the "
                      "deadline");
  }
  const uint64_t hash = FilterHash(filter);
  const auto room = FindRoom(group, hash, deadline);
  if (room.ok()) {
    (*room)->owner.Store(0);
    (*room)->group.Store(group.id);
    (*room)->filter.Store(hash);
    (*room)->owner.Store(liveness_->self().word());
  }
  lock_.Release();
  return room;
}

}  // namespace openmessaging::reference
