// SPDX-License-Identifier: Apache-2.0
//
// Making segments, ahead of the append that needs them.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "log.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

constexpr char kTemporarySegment[] = "log/next.tmp";
constexpr char kReserveName[] = "reserve";
// Preparing ahead that failed is not tried again at once.
constexpr int64_t kPrepareAgainNs = 100'000'000;

int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

uint64_t Log::NextCapacity(uint64_t last_capacity, uint64_t bytes) const {
  const StoreOptions& options = control_->header().options;
  const uint64_t usual = std::min(options.max_segment_bytes,
                                  std::max(options.first_segment_bytes,
                                           last_capacity * 2));
  return std::max(usual, AlignUp(bytes + 2 * kRecordAlignment, kPage));
}

absl::Status Log::MakeSegment(uint64_t base, uint64_t capacity, uint32_t epoch,
                              const SegmentHeader::Roll* roll) {
  ControlHeader& control = control_->header();
  SegmentHeader header;
  header.uuid = control.uuid;
  header.base = base;
  header.capacity = capacity;
  header.created_ms = static_cast<uint64_t>(environment_->clock->WallMs());
  header.salt = environment_->random->Next();
  header.boot_hash = environment_->clock->BootHash();
  header.epoch = epoch;
  header.checksum = SealOf(header);
  if (roll != nullptr) {
    header.roll = *roll;
    header.roll.checksum = SealOf(header.roll, header.salt);
  }
  auto file = storage_->Create(kTemporarySegment);
  if (!file.ok()) return file.status();
  const auto build = [&]() -> absl::Status {
    if (auto s = (*file)->Grow(kSegmentHeaderBytes + capacity); !s.ok()) {
      return s;
    }
    if (auto s = (*file)->WriteAll(
            {reinterpret_cast<const char*>(&header), sizeof(header)});
        !s.ok()) {
      return s;
    }
    if (OMS_PLANTED(kSegmentUnflushed)) {
      return storage_->Rename(kTemporarySegment, SegmentName(base, epoch));
    }
    if (auto s = (*file)->Sync(); !s.ok()) return s;
    if (auto s = storage_->Rename(kTemporarySegment, SegmentName(base, epoch));
        !s.ok()) {
      return s;
    }
    if (OMS_PLANTED(kSegmentNameUnflushed)) return absl::OkStatus();
    return storage_->SyncDirectory("log");
  };
  if (auto status = build(); !status.ok()) {
    // Its blocks are given back at once: on a full disk they are missed.
    storage_->Remove(kTemporarySegment).IgnoreError();
    return status;
  }
  const uint32_t ordinal = control.catalog.end_segment.Load();
  SegmentEntry& entry = segments_->entry(ordinal);
  entry.base.Store(base);
  entry.capacity.Store(capacity);
  entry.salt.Store(header.salt);
  entry.epoch.Store(epoch);
  entry.used.Store(kSegmentUsed);
  control.catalog.end_segment.Store(ordinal + 1);
  return absl::OkStatus();
}

absl::Status Log::MakeLargestSegment(uint64_t base, uint64_t capacity,
                                     uint64_t least) {
  const uint32_t epoch = control_->header().epoch;
  while (true) {
    absl::Status status = MakeSegment(base, capacity, epoch, nullptr);
    const uint64_t half = AlignUp(capacity / 2, kPage);
    if (OmsCode(status) != Code::kStorageBusy || half < least ||
        half == capacity) {
      return status;
    }
    capacity = half;
  }
}

absl::Status Log::MakeSegmentFromReserve(uint64_t base, uint64_t bytes,
                                         uint32_t epoch,
                                         const SegmentHeader::Roll* roll) {
  ControlHeader& control = control_->header();
  const uint64_t reserve = control.options.reserve_bytes;
  if (storage_->IsVolatile() ||
      !storage_->Open(kReserveName, Access::kRead).ok()) {
    return MakeStatus(Code::kStorageBusy, "append to \"",
                      std::string_view(storage_->Describe()),
                      "\": the disk is full, and so is the reserve");
  }
  // Said before the segment can be seen, so that no message slips in.
  Shared<uint32_t>& reserved = control.catalog.reserved_segment;
  const uint32_t before = reserved.Load();
  reserved.Store(control.catalog.end_segment.Load() + 1);
  absl::Status status = storage_->Remove(kReserveName);
  if (status.ok()) {
    const uint64_t most =
        reserve > 2 * kPage ? reserve - kSegmentHeaderBytes : kPage;
    status = MakeSegment(base, std::max(AlignUp(bytes, kPage), most), epoch,
                         roll);
  }
  if (!status.ok()) {
    reserved.Store(before);
    EnsureReserve().IgnoreError();
  }
  return status;
}

absl::Status Log::EnsureReserve() {
  const uint64_t bytes = control_->header().options.reserve_bytes;
  if (bytes == 0 || storage_->IsVolatile()) return absl::OkStatus();
  if (OMS_PLANTED(kNoReserve)) return absl::OkStatus();
  if (const auto file = storage_->Open(kReserveName, Access::kRead);
      file.ok()) {
    const auto size = (*file)->Size();
    // One that cannot be looked at is not made anew.
    if (!size.ok()) return size.status();
    if (*size >= bytes) return absl::OkStatus();
  }
  auto file = storage_->Create(kReserveName);
  absl::Status status = file.status();
  if (file.ok()) status = (*file)->Grow(bytes);
  if (status.ok()) return status;
  // Half a reserve would only keep others from what is left.
  if (file.ok()) storage_->Remove(kReserveName).IgnoreError();
  if (OmsCode(status) != Code::kStorageBusy) return status;
  return MakeStatus(Code::kStorageBusy, "append to \"",
                    std::string_view(storage_->Describe()),
                    "\": the disk is full; settle messages or free space");
}

bool Log::HasReserve() const {
  return control_->header().options.reserve_bytes == 0 ||
         storage_->IsVolatile() ||
         storage_->Open(kReserveName, Access::kRead).ok();
}

absl::Status Log::CheckReserve() {
  if (HasReserve()) return absl::OkStatus();
  absl::Status status = RestoreReserve();
  return HasReserve() ? absl::OkStatus() : status;
}

absl::Status Log::RestoreReserve() {
  if (prepare_lock_.Acquire(TimePoint::min()) == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kStorageBusy, "append to \"",
                      std::string_view(storage_->Describe()),
                      "\": there is no reserve, and somebody else is making "
                      "room");
  }
  // Nobody alive is preparing: what stands there is of one who died.
  control_->header().catalog.preparing_bytes.StoreSequential(0);
  absl::Status status = EnsureReserve();
  prepare_lock_.Release();
  return status;
}

void Log::OpenReserve() {
  if (EnsureReserve().ok()) return;
  ControlHeader& control = control_->header();
  control.catalog.reserved_segment.Store(control.append.current.Load() + 1);
}

uint64_t Log::SpareForRenewal() const {
  const ControlHeader& control = control_->header();
  const uint32_t current = control.append.current.Load();
  if (control.catalog.reserved_segment.Load() != current + 1 && HasReserve()) {
    return UINT64_MAX;
  }
  const SegmentEntry& entry = segments_->entry(current);
  const uint64_t used = control.append.tail.Load() - entry.base.Load();
  const uint64_t capacity = entry.capacity.Load();
  return std::min((capacity - std::min(capacity, used)) / 2,
                  control.options.reserve_bytes / 4);
}

uint64_t Log::LimitFor(Purpose purpose) const {
  const StoreOptions& options = control_->header().options;
  const uint64_t limit =
      options.max_bytes != 0 ? options.max_bytes : storage_->MaxBytes();
  if (limit == 0 || OMS_PLANTED(kLimitIgnored) ||
      purpose == Purpose::kRetirement || purpose == Purpose::kDue) {
    return UINT64_MAX;
  }
  return purpose == Purpose::kFacts ? limit + options.reserve_bytes : limit;
}

absl::Status Log::PrepareSegment(uint64_t bytes, Purpose purpose,
                                 TimePoint deadline) {
  const auto prepare = [&]() -> absl::Status {
    if (prepare_lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
      StatusDetail detail = DefaultDetail(Code::kTimeout);
      detail.outcome = Outcome::kNotStored;
      return WithDetail(MakeStatus(Code::kTimeout,
                                   "append: the next segment was not ready at "
                                   "the deadline; nothing was stored"),
                        detail);
    }
    absl::Status status = PrepareLocked(bytes, purpose);
    prepare_lock_.Release();
    return status;
  };
  listener_->BeforePrepare();
  absl::Status status = prepare();
  if (purpose != Purpose::kMessages ||
      OmsCode(status) != Code::kStorageBusy ||
      std::chrono::steady_clock::now() >= deadline) {
    return status;
  }
  // Little may be in the way, and nobody else comes to it in time.
  listener_->MakeRoom(deadline);
  return prepare();
}

absl::Status Log::PrepareLocked(uint64_t bytes, Purpose purpose) {
  ControlHeader& control = control_->header();
  ControlHeader::Catalog& catalog = control.catalog;
  // What stands there is of a preparer who died.
  catalog.preparing_bytes.StoreSequential(0);
  const uint32_t last = catalog.end_segment.Load() - 1;
  SegmentEntry& entry = segments_->entry(last);
  const uint64_t capacity = entry.capacity.Load();
  const bool messages = purpose == Purpose::kMessages;
  if (last != control.append.current.Load() &&
      PaddedBytes(bytes) <= capacity - kRecordAlignment &&
      !(messages && catalog.reserved_segment.Load() == last + 1)) {
    return absl::OkStatus();
  }
  const auto full = [&](auto... why) {
    return MakeStatus(Code::kStorageBusy, "append to \"",
                      std::string_view(storage_->Describe()), "\": ", why...);
  };
  const uint32_t segments =
      control.options.max_segments - (messages ? kReservedSegments : 0);
  if (last + 1 - catalog.first_segment.Load() >= segments) {
    return full("the store has its ", segments,
                " segments; settle messages or make it larger");
  }
  // Large bodies are written meanwhile: both say what they want before they look
  // how much there is.
  const uint64_t total = bodies_->StoredBytes();
  const uint64_t limit = LimitFor(Purpose::kMessages);
  const uint64_t room = limit - std::min(limit, total);
  const uint64_t least = AlignUp(bytes + 2 * kRecordAlignment, kPage);
  // One that large bodies complete has little in it: its successor needs less.
  uint64_t next = NextCapacity(IsLaden(2) ? capacity / 4 : capacity, bytes);
  if (next > room && room >= NextCapacity(0, bytes)) {
    next = room - room % kPage;
  }
  const bool beyond = next > room;
  if (beyond) {
    next = std::max(least, AlignUp(control.options.reserve_bytes, kPage));
    if (messages || LimitFor(purpose) - std::min(LimitFor(purpose), total) <
                        next) {
      return full("the store is full at ", limit,
                  " bytes; settle messages first (max-bytes)");
    }
    catalog.reserved_segment.Store(last + 2);
  }
  // Whoever settles needs the reserve before messages get new room.
  if (messages) {
    if (auto s = EnsureReserve(); !s.ok()) return s;
  }
  const uint64_t end = entry.base.Load() + capacity;
  catalog.preparing_bytes.StoreSequential(next);
  if (messages && bodies_->StoredBytes() > limit) {
    catalog.preparing_bytes.StoreSequential(0);
    return full("the store is full at ", limit,
                " bytes; settle messages first (max-bytes)");
  }
  const uint32_t before = catalog.reserved_segment.Load();
  // Without a reserve this is all that retirement will find.
  if (!messages && !HasReserve()) catalog.reserved_segment.Store(last + 2);
  absl::Status status = MakeLargestSegment(
      end, next, messages ? NextCapacity(0, bytes) : least);
  if (!messages && OmsCode(status) == Code::kStorageBusy) {
    status = MakeSegmentFromReserve(end, least, control.epoch, nullptr);
  }
  if (!messages && !status.ok()) catalog.reserved_segment.Store(before);
  catalog.preparing_bytes.StoreSequential(0);
  return status;
}

bool Log::SegmentIsDue() const {
  const ControlHeader& control = control_->header();
  const uint32_t current = control.append.current.Load();
  if (current + 1 != control.catalog.end_segment.Load()) return false;
  const SegmentEntry& entry = segments_->entry(current);
  const uint64_t used = control.append.tail.Load() - entry.base.Load();
  const uint64_t capacity = entry.capacity.Load();
  // The first segment waits longer, so that a small store stays one segment.
  if ((used < capacity / 2 && !IsLaden(2)) || used > capacity) return false;
  return SteadyNs() >= prepare_not_before_ns_.load(std::memory_order_relaxed);
}

void Log::PrepareAhead() {
  // A failure is the next append's to report, if it still needs the segment.
  if (!PrepareSegment(0, Purpose::kMessages, TimePoint::min()).ok()) {
    prepare_not_before_ns_.store(SteadyNs() + kPrepareAgainNs,
                                 std::memory_order_relaxed);
  }
}

void Log::LookAhead() {
  const bool pages =
      appended_bytes_.load(std::memory_order_relaxed) >=
      touch_due_bytes_.load(std::memory_order_relaxed);
  const bool segment = SegmentIsDue();
  if ((!pages && !segment) || listener_->WorkIsAhead()) return;
  // Touching costs the same whoever does it: a sender gains nothing.
  if (pages) touch_due_bytes_.store(UINT64_MAX, std::memory_order_relaxed);
  if (segment) PrepareAhead();
}

void Log::WorkAhead() {
  if (SegmentIsDue()) PrepareAhead();
  TouchAhead();
}

void Log::TouchAhead() {
  const uint64_t appended = appended_bytes_.load(std::memory_order_relaxed);
  if (appended < touch_due_bytes_.load(std::memory_order_relaxed)) return;
  ControlHeader& control = control_->header();
  const uint64_t tail = control.append.tail.Load();
  const uint64_t from = std::max(tail, touched_to_.load());
  const uint64_t to = tail + kTouchBytes;
  // A flush writes every page that is dirty, used or not: where flushes are
  // frequent, the first store to a page must stay the one that dirties it.
  const uint64_t flushes = control.flush.flushes.Load();
  const bool for_write =
      storage_->IsVolatile() || touched_at_flushes_.exchange(flushes) == flushes;
  const uint32_t end_segment = control.catalog.end_segment.Load();
  for (uint32_t n = control.append.current.Load(); n != end_segment; ++n) {
    const auto segment = segments_->ByOrdinal(n);
    if (!segment.ok()) break;
    const uint64_t begin = std::max(from, (*segment)->base());
    const uint64_t end = std::min(to, (*segment)->end());
    if (begin < end) (*segment)->Touch(begin, end, for_write);
  }
  touched_to_.store(to);
  touch_due_bytes_.store(appended + kTouchBytes / 2,
                         std::memory_order_relaxed);
}

}  // namespace openmessaging::reference
