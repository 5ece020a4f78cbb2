// SPDX-License-Identifier: Apache-2.0

#include "large_bodies.h"

#include <chrono>
#include <utility>

#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

// Names that are taken already, by a life of this slot that had the same
// generation or by somebody who should not be there, before giving up.
constexpr int kNameTries = 16;

// How long a removal waits for somebody who makes or removes a file. Whoever
// keeps that lock longer was stopped; what is left then goes later.
constexpr std::chrono::seconds kBodyPatience{2};

absl::Status NotStored(const absl::Status& status) {
  StatusDetail detail = DetailOf(status);
  detail.outcome = Outcome::kNotStored;
  return WithDetail(status, detail);
}

// Errors: as LargeBodies::Map.
absl::StatusOr<std::unique_ptr<File>> OpenBody(Storage& storage,
                                               const LargeBody& body,
                                               Access access) {
  const std::string name = BodyName(body);
  auto file = storage.Open(name, access);
  if (!file.ok()) return file.status();
  const auto size = (*file)->Size();
  if (!size.ok()) return size.status();
  if (*size != body.bytes) {
    return MakeStatus(Code::kDamaged, "open \"", std::string_view(name),
                      "\": the file has ", *size, " bytes; its name says ",
                      body.bytes);
  }
  return file;
}

uint32_t ChecksumOf(const Region& region, const LargeBody& body) {
  return Crc32c(0, region.data(), body.bytes);
}

}  // namespace

absl::Status CheckBody(Storage& storage, const LargeBody& body,
                       BodyCheck check) {
  auto file = OpenBody(storage, body, Access::kRead);
  if (OmsCode(file.status()) == Code::kQueueNotFound) {
    return MakeStatus(Code::kDamaged, "open \"",
                      std::string_view(BodyName(body)),
                      "\": the file is missing");
  }
  if (!file.ok()) return file.status();
  if (check == BodyCheck::kPresent) return absl::OkStatus();
  auto region = (*file)->Map(Access::kRead, body.bytes);
  if (!region.ok()) return region.status();
  if (ChecksumOf(**region, body) == body.checksum) return absl::OkStatus();
  return MakeStatus(Code::kDamaged, "read \"", std::string_view(BodyName(body)),
                    "\": the checksum of the body is wrong");
}

LargeBodies::LargeBodies(Storage* storage, Control* control,
                         const Liveness* liveness, Waiting* waiting)
    : storage_(storage),
      control_(control),
      liveness_(liveness),
      lock_(&control->header().bodies.lock, liveness, waiting) {}

absl::Status LargeBodies::Lock(TimePoint deadline) {
  const SlotLock::Result result = lock_.Acquire(deadline);
  if (result == SlotLock::Result::kTimeout) {
    return NotStored(MakeStatus(
        Code::kTimeout,
        "write a large body: another process held the lock of big/ until the "
        "deadline; nothing was stored"));
  }
  if (result == SlotLock::Result::kAcquired) return absl::OkStatus();
  // The dead owner may have made or removed a file that it did not count.
  absl::Status status = RecountLocked();
  if (!status.ok()) lock_.Release();
  return status;
}

absl::Status LargeBodies::RecountLocked() {
  const auto all = List();
  if (!all.ok()) return all.status();
  uint64_t bytes = 0;
  for (const LargeBody& body : *all) bytes += body.bytes;
  control_->header().bodies.bytes.StoreSequential(bytes);
  return absl::OkStatus();
}

absl::Status LargeBodies::Recount() {
  if (auto s = Lock(TimePoint::max()); !s.ok()) return s;
  absl::Status status = RecountLocked();
  lock_.Release();
  return status;
}

uint64_t LargeBodies::StoredBytes() const {
  const ControlHeader& header = control_->header();
  const SegmentEntry* const table = control_->segments();
  uint64_t total = header.bodies.bytes.LoadSequential() +
                   header.catalog.preparing_bytes.LoadSequential();
  const uint32_t end = header.catalog.end_segment.Load();
  for (uint32_t n = header.catalog.first_segment.Load(); n != end; ++n) {
    total += table[n % header.options.max_segments].capacity.Load();
  }
  return total;
}

uint64_t LargeBodies::Begin() {
  const internal::MutexLock lock(mutex_);
  const uint64_t number = next_number_++;
  const uint64_t from = control_->header().committed.end.Load();
  if (under_way_.empty()) {
    Slot& slot = control_->slots()[liveness_->self().slot()];
    slot.body_from.Store(from);
    slot.body_number.Store(number + 1);
  }
  under_way_[number] = from;
  return number;
}

void LargeBodies::End(uint64_t number) {
  const internal::MutexLock lock(mutex_);
  under_way_.erase(number);
  Slot& slot = control_->slots()[liveness_->self().slot()];
  if (under_way_.empty()) {
    slot.body_number.Store(0);
    return;
  }
  // In this order: at no time is a body among those in doubt whose record lies
  // below where it is looked for.
  slot.body_number.Store(under_way_.begin()->first + 1);
  slot.body_from.Store(under_way_.begin()->second);
}

absl::StatusOr<std::unique_ptr<File>> LargeBodies::CreateLocked(
    LargeBody& body, uint64_t limit) {
  Shared<uint64_t>& total = control_->header().bodies.bytes;
  // Counted before the segments are, as their maker does it the other way
  // round: together they never pass the limit.
  total.FetchAdd(body.bytes);
  absl::StatusOr<std::unique_ptr<File>> file;
  if (StoredBytes() > limit) {
    file = MakeStatus(Code::kStorageBusy, "append to \"",
                      std::string_view(storage_->Describe()),
                      "\": the store is full at ", limit,
                      " bytes; settle messages first (max-bytes)");
  } else {
    file = storage_->CreateNew(BodyName(body));
  }
  if (!file.ok()) total.FetchAdd(0 - body.bytes);
  return file;
}

absl::StatusOr<std::unique_ptr<File>> LargeBodies::Create(LargeBody& body,
                                                          uint64_t limit,
                                                          TimePoint deadline) {
  for (int n = 1;; ++n) {
    body.number = Begin();
    absl::StatusOr<std::unique_ptr<File>> file =
        absl::UnknownError("not tried");
    if (auto s = Lock(deadline); s.ok()) {
      file = CreateLocked(body, limit);
      lock_.Release();
    } else {
      file = std::move(s);
    }
    if (file.ok()) return file;
    End(body.number);
    if (OmsCode(file.status()) != Code::kQueueExists || n == kNameTries) {
      return file;
    }
  }
}

absl::StatusOr<LargeBody> LargeBodies::Write(std::string_view bytes,
                                             bool to_disk, uint64_t limit,
                                             TimePoint deadline) {
  LargeBody body;
  body.bytes = bytes.size();
  body.epoch = control_->header().epoch;
  body.owner = liveness_->self().word();
  auto file = Create(body, limit, deadline);
  if (!file.ok()) return NotStored(file.status());
  absl::Status status = (*file)->WriteAll(bytes);
  if (status.ok() && to_disk) {
    body.checksum = Crc32c(bytes);
    if (!OMS_PLANTED(kBodyUnflushed)) status = (*file)->Sync();
  }
  if (!status.ok()) {
    // Closed first, so that its blocks are free when the name is gone.
    file->reset();
    Withdraw(body);
    return NotStored(status);
  }
  return body;
}

void LargeBodies::Keep(const LargeBody& body) { End(body.number); }

void LargeBodies::Withdraw(const LargeBody& body) {
  if (OMS_PLANTED(kBodyLeftBehind)) return End(body.number);
  // What cannot be removed stays under way: it goes after this handle's end.
  if (Remove({body}).ok()) End(body.number);
}

absl::StatusOr<std::unique_ptr<Region>> LargeBodies::Map(
    const LargeBody& body) const {
  auto file = OpenBody(*storage_, body, Access::kRead);
  if (!file.ok()) return file.status();
  return (*file)->Map(Access::kRead, body.bytes);
}

absl::Status LargeBodies::Sync(LargeBody& body, bool& flush_failed) const {
  auto file = OpenBody(*storage_, body, Access::kWrite);
  if (!file.ok()) return file.status();
  auto region = (*file)->Map(Access::kRead, body.bytes);
  if (!region.ok()) return region.status();
  body.checksum = ChecksumOf(**region, body);
  absl::Status status = (*file)->Sync();
  flush_failed = !status.ok();
  return status;
}

absl::StatusOr<std::vector<LargeBody>> LargeBodies::List() const {
  const auto names = storage_->List("big");
  if (!names.ok()) return names.status();
  std::vector<LargeBody> all;
  for (const std::string& name : *names) {
    if (const auto body = ParseBodyName(name)) all.push_back(*body);
  }
  return all;
}

absl::Status LargeBodies::Remove(const std::vector<LargeBody>& bodies) {
  if (bodies.empty()) return absl::OkStatus();
  if (auto s = Lock(std::chrono::steady_clock::now() + kBodyPatience);
      !s.ok()) {
    return s;
  }
  absl::Status status;
  control_->header().bodies.removed.Store(1);
  for (const LargeBody& body : bodies) {
    status.Update(storage_->Remove(BodyName(body)));
  }
  // Some may have been gone before.
  status.Update(RecountLocked());
  lock_.Release();
  return status;
}

absl::Status LargeBodies::SyncRemovals() {
  Shared<uint32_t>& removed = control_->header().bodies.removed;
  if (removed.Exchange(0) == 0) return absl::OkStatus();
  absl::Status status = storage_->SyncDirectory("big");
  if (!status.ok()) removed.Store(1);
  return status;
}

}  // namespace openmessaging::reference
