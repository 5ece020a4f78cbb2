// SPDX-License-Identifier: Apache-2.0

#include "group_terms.h"

#include "checksum.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr uint64_t kOrdered = uint64_t{1} << 63;

// One word for the terms: FNV-1a of the filter, mixed, and a bit for the order.
// The filter's part is 0 where there is none.
uint64_t WordOf(const BindingTerms& terms) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : terms.filter) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  const uint64_t filter = terms.filter.empty() ? 0 : Mix64(hash) | 1;
  return (filter & ~kOrdered) | (terms.ordered ? kOrdered : 0);
}

absl::Status Differs(const Group& group, uint64_t theirs, uint64_t ours) {
  if ((theirs ^ ours) & ~kOrdered) {
    return MakeStatus(
        Code::kConsumerExists, "bind \"", std::string_view(group.queue->name),
        "\": group \"", std::string_view(group.name),
        "\" has a member with another filter, or with none; expected the same "
        "in all that live (filter)");
  }
  return MakeStatus(
      Code::kIllegalState, "bind \"", std::string_view(group.queue->name),
      "\": the consumers of group \"", std::string_view(group.name),
      ours & kOrdered ? "\" do not keep the order of keys; expected one that "
                        "does not, either (ordered)"
                      : "\" keep the order of keys; expected one that does, "
                        "too (ordered)");
}

}  // namespace

absl::StatusOr<BindingEntry*> GroupTerms::FindRoom(const Group& group,
                                                     uint64_t terms,
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
                 entry.terms.Load() != terms && IsAlive(entry)) {
        return Differs(group, entry.terms.Load(), terms);
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

BindingEntry* GroupTerms::FindDead() {
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

absl::StatusOr<BindingEntry*> GroupTerms::Enter(const Group& group,
                                                  const BindingTerms& terms,
                                                  TimePoint deadline) {
  // Of an owner that died in here nothing is left to repair: an entry counts
  // from the store of its owner on.
  if (lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kTimeout, "bind \"",
                      std::string_view(group.queue->name),
                      "\": another process held the lock of bindings until the "
                      "deadline");
  }
  const uint64_t word = WordOf(terms);
  const auto room = FindRoom(group, word, deadline);
  if (room.ok()) {
    (*room)->owner.Store(0);
    (*room)->group.Store(group.id);
    (*room)->terms.Store(word);
    (*room)->owner.Store(liveness_->self().word());
  }
  lock_.Release();
  return room;
}

}  // namespace openmessaging::reference
