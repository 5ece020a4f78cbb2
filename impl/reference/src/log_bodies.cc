// SPDX-License-Identifier: Apache-2.0
//
// Appending messages whose bodies are large: those are written to files of their
// own before the append lock is taken.

#include <algorithm>
#include <string_view>
#include <vector>

#include "log.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

void Log::AppendApart(std::span<Append> entries, int64_t store_ms,
                      TimePoint deadline, Surrounding* around) {
  std::vector<Apart> apart;
  const std::span<Append> all = entries;
  const absl::Status failure = WriteBodies(entries, apart, deadline);
  // Those that are not tried any more; those before them are.
  for (Append& entry : all.subspan(entries.size())) entry.status = failure;
  AppendHere(entries, store_ms, deadline, around);
  for (Append& entry : all) {
    if (entry.body_of != nullptr) entry.pieces[2] = {};
  }
  for (const Apart& one : apart) {
    one.entry->pieces[2] = {};  // It ends here.
    if (one.entry->status.ok() && !one.entry->duplicate) {
      bodies_->Keep(one.body);
    } else {
      bodies_->Withdraw(one.body);
    }
  }
}

absl::Status Log::WriteBodies(std::span<Append>& entries,
                              std::vector<Apart>& apart, TimePoint deadline) {
  apart.reserve(entries.size());  // Entries view what is in it.
  bool to_disk = false;
  absl::Status status;
  for (size_t n = 0; n < entries.size(); ++n) {
    Append& entry = entries[n];
    if (entry.body_of != nullptr &&
        (entry.body_of->flags & kBodyApart) != 0) {
      entry.flags |= kBodyApart;
      entry.pieces[2] = entry.body_of->pieces[2];
    }
    if (!IsLarge(entry)) continue;
    auto body = WriteBody(entry, deadline);
    if (!body.ok()) {
      status = body.status();
      while (n > 0 && (entries[n - 1].flags & kMore) != 0) --n;
      entries = entries.first(n);
      break;
    }
    if (checksums() && (entry.flags & kPayloadPending) == 0) to_disk = true;
    const Apart& one = apart.emplace_back(Apart{*body, &entry});
    entry.flags |= kBodyApart;
    entry.pieces[2] = {reinterpret_cast<const char*>(&one.body),
                       sizeof(one.body)};
  }
  if (!to_disk) return status;
  // The names of all of them at once.
  if (absl::Status synced = bodies_->SyncNames(); !synced.ok()) {
    entries = entries.first(0);
    for (const Apart& one : apart) {
      one.entry->pieces[2] = {};
      bodies_->Withdraw(one.body);
    }
    apart.clear();
    StatusDetail detail = DetailOf(synced);
    detail.outcome = Outcome::kNotStored;
    return WithDetail(synced, detail);
  }
  return status;
}

absl::StatusOr<LargeBody> Log::WriteBody(const Append& entry,
                                         TimePoint deadline) {
  const bool to_disk = checksums() && (entry.flags & kPayloadPending) == 0;
  const auto write = [&]() -> absl::StatusOr<LargeBody> {
    if (auto s = CheckReserve(); !s.ok()) return s;
    return bodies_->Write(entry.pieces[2], to_disk,
                          LimitFor(Purpose::kMessages), deadline);
  };
  auto body = write();
  if (OmsCode(body.status()) != Code::kStorageBusy) return body;
  listener_->MakeRoom(deadline);
  return write();
}

}  // namespace openmessaging::reference
