// SPDX-License-Identifier: Apache-2.0
//
// Settling deliveries of a group together with what is appended: a transaction.

#include "group_window.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {

absl::Status GroupWindow::BeginUnit(TimePoint deadline) {
  if (auto locked = Lock("settle", cursor_->floor.Load(), deadline);
      !locked.ok()) {
    return locked;
  }
  // After a power loss what is settled far behind the last floor that the log
  // tells would be forgotten.
  if (cursor_->unlogged.Load() != 0) {
    if (auto logged = log_->LogCursor(deadline); !logged.ok()) {
      lock_.Release();
      return logged;
    }
    cursor_->unlogged.Store(0);
  }
  cursor_->seeking.Store(1);
  return absl::OkStatus();
}

void GroupWindow::EndUnit() {
  cursor_->seeking.Store(0);
  lock_.Release();
}

absl::StatusOr<std::optional<GroupWindow::Aside>> GroupWindow::SetAside(
    uint64_t offset, DeliveryWord receipt) {
  const auto settled = [&] {
    return MakeStatus(Code::kTransactionConflict, "settle offset ", offset,
                      ": the message is settled already; expected one that is "
                      "still with its receiver");
  };
  if (receipt.Is(offset) && receipt.state() == DeliveryState::kSettled) {
    return std::nullopt;
  }
  const DeliveryPlace place = FindHeld(offset, receipt);
  if (!place) {
    absl::Status refused = Refusal(offset, receipt);
    return refused.ok() ? settled() : refused;
  }
  const Aside aside{offset, place, receipt, place.due->Load()};
  // A look comes within 50 ms while anything is leased; it finds it due.
  place.due->Store(environment_->clock->BootNs());
  uint64_t expected = receipt.bits();
  if (place.word->CompareExchange(
          expected,
          receipt.WithState(DeliveryState::kReturned, offset).bits())) {
    return aside;
  }
  place.due->Store(aside.lease_end_ns);
  return settled();  // Acknowledged in the last moment.
}

void GroupWindow::PutBack(const Aside& aside) {
  if (OMS_PLANTED(kAsideForgotten)) return;
  uint64_t expected =
      aside.receipt.WithState(DeliveryState::kReturned, aside.offset).bits();
  aside.place.word->CompareExchange(expected, aside.receipt.bits());
  aside.place.due->Store(aside.lease_end_ns);
}

}  // namespace openmessaging::reference
