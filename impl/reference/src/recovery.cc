// SPDX-License-Identifier: Apache-2.0
//
// Opening a store that nobody has open and whose ctl cannot be believed: from
// the checkpoint where it still stands, else from the log. Every step may be
// cut by a kill and is then repeated from the start.

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "openmessaging/status.h"
#include "planted.h"
#include "scanner.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

constexpr uint64_t kFirstIndexExtents = 8;

// The header of a segment as its file has it. Returns: nothing if it cannot be
// read or is not whole.
std::optional<SegmentHeader> ReadSegmentHeader(Storage& storage,
                                               const std::string& name) {
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return std::nullopt;
  const auto size = (*file)->Size();
  const auto bytes = (*file)->ReadAll(sizeof(SegmentHeader));
  if (!size.ok() || !bytes.ok() || bytes->size() != sizeof(SegmentHeader)) {
    return std::nullopt;
  }
  SegmentHeader header;
  std::memcpy(&header, bytes->data(), sizeof(header));
  if (header.magic != SegmentHeader::kMagic || header.incompatible != 0 ||
      header.major != kFormatMajor || SealOf(header) != header.checksum ||
      *size != kSegmentHeaderBytes + header.capacity) {
    return std::nullopt;
  }
  return header;
}

bool IsZero(std::string_view bytes) {
  // Each byte equals the one before it, and the first is zero.
  return bytes.empty() ||
         (bytes[0] == '\0' &&
          std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Whether a segment's file holds nothing but its header.
bool IsBlank(Storage& storage, const std::string& name) {
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return false;
  const auto size = (*file)->Size();
  if (!size.ok() || *size < kSegmentHeaderBytes) return false;
  auto region = (*file)->Map(Access::kRead, *size);
  return region.ok() && IsZero({(*region)->data() + kSegmentHeaderBytes,
                                *size - kSegmentHeaderBytes});
}

// Whether the log is as the checkpoint left it: the same segments, and nothing
// of ours behind the end.
bool LogMatches(Storage& storage, const StoreUuid& uuid,
                const Checkpoint& checkpoint, bool same_life) {
  const auto names = storage.List("log");
  if (!names.ok()) return false;
  size_t found = 0;
  uint64_t base = 0;
  uint32_t epoch = 0;
  for (const std::string& name : *names) {
    if (ParseSegmentName(name, base, epoch)) ++found;
  }
  if (OMS_PLANTED(kLogBehindIgnored)) return true;
  if (found != checkpoint.segments.size()) return false;
  for (size_t n = 0; n < checkpoint.segments.size(); ++n) {
    const Checkpoint::SegmentPart& part = checkpoint.segments[n];
    const auto header =
        ReadSegmentHeader(storage, SegmentName(part.base, part.epoch));
    if (!header || header->uuid != uuid || header->salt != part.salt ||
        header->capacity < part.capacity) {
      return false;
    }
    // A roll behind the end would be an append after the close.
    if (n > checkpoint.current &&
        SealOf(header->roll, header->salt) == header->roll.checksum) {
      return false;
    }
  }
  const Checkpoint::SegmentPart& last = checkpoint.segments[checkpoint.current];
  if (checkpoint.end < last.base || checkpoint.end - last.base > last.capacity) {
    return false;
  }
  auto file = storage.Open(SegmentName(last.base, last.epoch), Access::kRead);
  if (!file.ok()) return false;
  const uint64_t at = kSegmentHeaderBytes + (checkpoint.end - last.base);
  auto region =
      (*file)->Map(Access::kRead, kSegmentHeaderBytes + last.capacity);
  if (!region.ok()) return false;
  // After a crash all of it, because a damaged first record must not hide those
  // behind it.
  const uint64_t rest = (*region)->size() - at;
  return IsZero({(*region)->data() + at,
                 same_life ? std::min<uint64_t>(rest, sizeof(RecordHeader))
                           : rest});
}

// Returns: the size of a file; 0 where there is none that can be read.
uint64_t BytesOfFile(Storage& storage, const char* name) {
  const auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return 0;
  return (*file)->Size().value_or(0);
}

}  // namespace

absl::Status Store::CreateControl(std::unique_ptr<GrowingFile> idx,
                                  size_t segments) {
  // Each recovery adds a segment, whatever the limit for appends is.
  StoreOptions options = store_file_.options;
  options.max_segments =
      std::max(options.max_segments, static_cast<uint32_t>(segments) + 1) +
      kReservedSegments;
  const ControlLayout layout(options);
  const uint64_t old_bytes = BytesOfFile(*storage_, "ctl");
  // A new inode: whoever still maps the old ctl must not reach the new one.
  if (auto s = storage_->Remove("ctl"); !s.ok()) return s;
  // In the old one's room while that is there to be had: on a full disk groups
  // could not receive what they had received before.
  const uint64_t bytes = std::max(layout.end, old_bytes);
  auto ctl = GrowingFile::Create(*storage_, "ctl", bytes);
  if (!ctl.ok()) ctl = GrowingFile::Create(*storage_, "ctl", layout.end);
  if (!ctl.ok()) return ctl.status();
  const auto got_bytes = (*ctl)->file().Size();
  if (!got_bytes.ok()) return got_bytes.status();
  const auto place = (*ctl)->file().Identity();
  if (!place.ok()) return place.status();
  if (idx == nullptr) {
    if (auto s = storage_->Remove("idx"); !s.ok()) return s;
    auto fresh = GrowingFile::Create(*storage_, "idx",
                                     kFirstIndexExtents * kPage);
    if (!fresh.ok()) return fresh.status();
    idx = *std::move(fresh);
  }
  const auto index_bytes = idx->file().Size();
  if (!index_bytes.ok()) return index_bytes.status();
  control_ = std::make_unique<Control>(*std::move(ctl), std::move(idx));
  ControlHeader& header = control_->header();
  header.magic = ControlHeader::kMagic;
  header.format = uint32_t{kFormatMajor} << 16 | kFormatMinor;
  header.uuid = store_file_.uuid;
  header.boot_hash = environment_->clock->BootHash();
  header.device = place->device;
  header.inode = place->inode;
  header.options = options;
  header.slots = layout.slots;
  header.bells = layout.bells;
  header.segments = layout.segments;
  header.bump.Store(layout.end);
  // The old one may have been made where more addresses could be had.
  header.size.Store(std::min(*got_bytes, control_->ctl().limit()));
  header.append.index_bump.Store(1);
  header.append.next_queue.Store(1);
  header.append.next_group.Store(1);
  header.catalog.index_extents.Store(*index_bytes / kPage);
  if (auto s = TakeSlot(); !s.ok()) return s;
  Assemble();
  return absl::OkStatus();
}

bool Store::WasClosedCleanly() const {
  if (control_ == nullptr) return false;
  const ControlHeader& old = control_->header();
  const auto place = control_->ctl().file().Identity();
  return old.magic == ControlHeader::kMagic && old.uuid == store_file_.uuid &&
         old.state.Load() == static_cast<uint32_t>(ControlState::kClean) &&
         old.boot_hash == environment_->clock->BootHash() &&
         old.boot_hash != 0 && same_place_ &&
         place.ok() && *place == FileIdentity{old.device, old.inode};
}

absl::Status Store::Rebuild() {
  const bool same_life = WasClosedCleanly();
  const std::optional<uint64_t> failed_flush = FailedFlushFrom();
  control_.reset();
  const auto checkpoint = ReadCheckpoint(*storage_, store_file_.uuid);
  auto idx = GrowingFile::Open(*storage_, "idx");
  if (!failed_flush && checkpoint && idx.ok() &&
      IndexMatches(**idx, *checkpoint) &&
      LogMatches(*storage_, store_file_.uuid, *checkpoint, same_life)) {
    auto status =
        RebuildFromCheckpoint(*checkpoint, *std::move(idx), same_life);
    // The log says the same, and more slowly.
    if (OmsCode(status) != Code::kDamaged) return status;
  }
  return RebuildFromLog(checkpoint ? &*checkpoint : nullptr, failed_flush);
}

void Store::ShortenLastSegment(uint64_t end) {
  const uint32_t count = control_->header().catalog.end_segment.Load();
  if (count == 0) return;
  SegmentEntry& last = segments_->entry(count - 1);
  last.capacity.Store(std::min(last.capacity.Load(), end - last.base.Load()));
}

void Store::AddSegment(uint64_t base, uint64_t capacity, uint64_t salt,
                       uint32_t epoch, uint32_t used) {
  ShortenLastSegment(base);
  ControlHeader::Catalog& catalog = control_->header().catalog;
  const uint32_t ordinal = catalog.end_segment.Load();
  SegmentEntry& entry = segments_->entry(ordinal);
  entry.base.Store(base);
  entry.capacity.Store(capacity);
  entry.salt.Store(salt);
  entry.epoch.Store(epoch);
  entry.used.Store(used);
  catalog.end_segment.Store(ordinal + 1);
}

absl::Status Store::RebuildFromCheckpoint(const Checkpoint& checkpoint,
                                          std::unique_ptr<GrowingFile> idx,
                                          bool same_life) {
  if (auto s = CreateControl(std::move(idx), checkpoint.segments.size());
      !s.ok()) {
    return s;
  }
  ControlHeader& header = control_->header();
  // As in RebuildFromLog.
  header.epoch = checkpoint.epoch + (same_life ? 1 : 2);
  if (OMS_PLANTED(kEpochKept)) header.epoch = checkpoint.epoch;
  LogEnd log{checkpoint.end, checkpoint.sequence, {}, {}};
  for (const Checkpoint::SegmentPart& part : checkpoint.segments) {
    AddSegment(part.base, part.capacity, part.salt, part.epoch, part.used);
    (part.base < checkpoint.end ? log.within : log.beyond)
        .push_back(SegmentName(part.base, part.epoch));
  }
  if (auto s = RestoreCheckpoint(*control_, *catalog_, checkpoint); !s.ok()) {
    return s;
  }
  if (auto s = RestoreDelays(*control_, *environment_->clock,
                             checkpoint.delays);
      !s.ok()) {
    return s;
  }
  if (auto s = RestoreDeduplications(*control_, *environment_->clock,
                                     checkpoint.deduplications);
      !s.ok()) {
    return s;
  }
  if (auto s = RestorePrepared(*control_, *environment_->clock,
                               checkpoint.prepared);
      !s.ok()) {
    return s;
  }
  if (!same_life) {
    open_path_ = OpenPath::kCold;
    return StartSegment(log);
  }
  // Go on where the last process stopped.
  header.append.current.Store(checkpoint.current);
  header.append.large_bytes.Store(checkpoint.large_bytes);
  header.append.chain.Store(checkpoint.chain);
  header.append.tail.Store(checkpoint.end);
  header.append.sequence.Store(checkpoint.sequence);
  header.committed.end.Store(checkpoint.end);
  header.flush.durable.Store(checkpoint.end);
  header.state.Store(static_cast<uint32_t>(ControlState::kLive));
  open_path_ = OpenPath::kClean;
  return absl::OkStatus();
}

absl::Status Store::RebuildFromLog(const Checkpoint* checkpoint,
                                   std::optional<uint64_t> failed_flush) {
  ScanOptions options;
  options.boot_hash = environment_->clock->BootHash();
  options.same_place = same_place_;
  options.witness = checkpoint != nullptr ? checkpoint->end : 0;
  auto scan = LogScan::Load(*storage_, store_file_.uuid, options);
  if (!scan.ok()) return scan.status();
  if (failed_flush && *failed_flush < scan->end()) {
    // While ctl still says so: a kill here is followed by the same again.
    if (auto s = RewriteFrom(*scan, *failed_flush); !s.ok()) return s;
    scan = LogScan::Load(*storage_, store_file_.uuid, options);
    if (!scan.ok()) return scan.status();
  }
  if (scan->segments().empty() && checkpoint != nullptr) {
    // To begin anew would hide the loss, and use offsets again.
    return MakeStatus(Code::kDamaged, "open store \"",
                      std::string_view(Describe()),
                      "\": every segment of its log is missing; restore them, "
                      "or use a new directory");
  }
  if (auto s = CreateControl(nullptr, scan->segments().size()); !s.ok()) {
    return s;
  }
  ControlHeader& header = control_->header();
  uint32_t epoch = checkpoint != nullptr ? checkpoint->epoch : 0;
  epoch = std::max(epoch, scan->epoch());
  LogEnd log{scan->end(), scan->sequence(), {}, {}};
  for (const ScannedSegment& segment : scan->segments()) {
    epoch = std::max(epoch, segment.header.epoch);
    // As long as the file really is.
    AddSegment(segment.header.base, segment.bytes,
               segment.header.salt, segment.header.epoch, kSegmentUsed);
    (segment.header.base < scan->end() ? log.within : log.beyond)
        .push_back(segment.name);
  }
  for (const ScannedSegment& segment : scan->superseded()) {
    epoch = std::max(epoch, segment.header.epoch);
    log.beyond.push_back(segment.name);
  }
  // One more than the next: a life that went on after a clean close may have
  // used that, and a power loss taken every trace of it.
  header.epoch = epoch == 0 ? 1 : epoch + 2;
  if (OMS_PLANTED(kEpochReused)) header.epoch = std::max(1u, epoch);
  // A checkpoint that no longer stands may still know more than the log does
  // of what was retired.
  if (checkpoint != nullptr) {
    header.append.next_queue.Store(checkpoint->next_queue);
    header.append.next_group.Store(checkpoint->next_group);
    log.sequence = std::max(log.sequence, checkpoint->sequence);
  }
  header.append.sequence.Store(log.sequence);
  if (auto s = Replay(*scan); !s.ok()) return s;
  if (open_path_ != OpenPath::kCreated) open_path_ = OpenPath::kCold;
  return StartSegment(log);
}

absl::Status Store::StartSegment(const LogEnd& log) {
  ControlHeader& header = control_->header();
  // The prefix that this recovery accepts must not change when the power goes
  // before the new segment names its end.
  for (const std::string& name : log.within) {
    if (OMS_PLANTED(kRecoveredUnflushed)) break;
    auto file = storage_->Open(name, Access::kWrite);
    if (!file.ok()) return file.status();
    if (auto s = (*file)->Sync(); !s.ok()) {
      // The next opening must not flush the same file once more.
      uint64_t base = 0;
      uint32_t epoch = 0;
      ParseSegmentName(name.substr(4), base, epoch);
      header.flush.durable.Store(base);
      header.poisoned.Store(1);
      return s;
    }
  }
  // Segments at or beyond the end hold nothing of the log any more.
  while (header.catalog.end_segment.Load() > 0) {
    const uint32_t last = header.catalog.end_segment.Load() - 1;
    if (segments_->entry(last).base.Load() < log.end) break;
    header.catalog.end_segment.Store(last);
  }
  const uint32_t ordinal = header.catalog.end_segment.Load();
  ShortenLastSegment(log.end);
  SegmentHeader::Roll roll;
  roll.previous_end = log.end;
  roll.previous_sequence = log.sequence;
  roll.durable = log.end;
  auto made = log_->MakeSegment(
      log.end, store_file_.options.first_segment_bytes, header.epoch,
      OMS_PLANTED(kEndUnsaid) ? nullptr : &roll);
  if (OmsCode(made) == Code::kStorageBusy) {
    made = log_->MakeSegmentFromReserve(log.end, kPage, header.epoch, &roll);
  }
  if (!made.ok()) return made;
  header.append.current.Store(ordinal);
  header.append.chain.Store((log.end / kRecordAlignment) << 32);
  header.append.tail.Store(log.end);
  header.append.sequence.Store(log.sequence);
  header.committed.end.Store(log.end);
  header.flush.durable.Store(log.end);
  // Only now: the new segment's header says that these are not of the log.
  for (const std::string& name : log.beyond) {
    // Most were prepared and never used.
    if (IsBlank(*storage_, name)) {
      if (auto s = storage_->Remove(name); !s.ok()) return s;
      continue;
    }
    if (auto s = storage_->Rename(name, "quarantine/" + name.substr(4));
        !s.ok()) {
      return s;
    }
  }
  if (auto s = storage_->SyncDirectory("log"); !s.ok()) return s;
  // What replay has mapped is longer than the table says now.
  segments_->Forget(UINT64_MAX);
  header.state.Store(static_cast<uint32_t>(ControlState::kLive));
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
