// SPDX-License-Identifier: Apache-2.0
//
// Room in ctl for what queues and groups need there.

#include <algorithm>

#include "catalog_locked.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "prepared_table.h"

namespace openmessaging::reference {

absl::Status Catalog::MakeDelayRoom(uint32_t needed, TimePoint deadline) {
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  const DelayTable table(control_);
  while (table.spare() < needed) {
    const auto block = table.Allocate(*control_);
    if (!block.ok()) return block.status();
    if (auto s = log_->AddDelayBlock(*block, deadline); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Catalog::MakeDeduplicationRoom(uint32_t needed,
                                            TimePoint deadline) {
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  const DeduplicationTable table(control_);
  // Somebody else did.
  if (table.spare() >= needed) return absl::OkStatus();
  for (uint32_t left = table.Growth(); left > 0 || table.spare() < needed;
       left -= std::min(left, 1u)) {
    if (auto s = table.CheckMayGrow(); !s.ok()) {
      return table.spare() >= needed ? absl::OkStatus() : s;
    }
    const auto block = table.Allocate(*control_);
    if (!block.ok()) return block.status();
    if (auto s = log_->AddDeduplicationBlock(*block, deadline); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::Status Catalog::MakePreparedRoom(TimePoint deadline) {
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  const PreparedTable table(control_);
  // Somebody else did.
  if (table.spare() > 0) return absl::OkStatus();
  for (uint32_t left = table.Growth(); left > 0; --left) {
    if (auto s = table.CheckMayGrow(); !s.ok()) {
      return table.spare() > 0 ? absl::OkStatus() : s;
    }
    const auto block = table.Allocate(*control_);
    if (!block.ok()) return block.status();
    if (auto s = log_->AddPreparedBlock(*block, deadline); !s.ok()) return s;
  }
  return absl::OkStatus();
}
absl::Status Catalog::EnsureArea(Shared<uint64_t>& place, uint64_t bytes,
                                 TimePoint deadline) {
  if (place.Load() != 0) return absl::OkStatus();
  const Locked locked(lock_, deadline);
  if (!locked.status().ok()) return locked.status();
  if (place.Load() != 0) return absl::OkStatus();
  const auto offset = control_->Allocate(bytes);
  if (!offset.ok()) return offset.status();
  place.Store(*offset);
  return absl::OkStatus();
}

absl::Status Catalog::EnsureWindow(Cursor& cursor, TimePoint deadline) {
  return EnsureArea(cursor.window,
                    WindowBytes(control_->header().options.window), deadline);
}

absl::Status Catalog::EnsureExceptions(Cursor& cursor, TimePoint deadline) {
  return EnsureArea(cursor.exceptions,
                    ExceptionTable::Bytes(control_->header().options.window),
                    deadline);
}
}  // namespace openmessaging::reference
