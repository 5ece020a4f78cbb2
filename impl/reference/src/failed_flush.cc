// SPDX-License-Identifier: Apache-2.0
//
// After a failed flush nobody knows what is on the disk, and the machine does:
// it takes the pages for written, so that another flush of the same file
// succeeds without writing them. What was not durable is therefore written
// again, elsewhere, before a recovery believes it.

#include <algorithm>
#include <string>
#include <string_view>

#include "large_bodies.h"
#include "planted.h"
#include "scanner.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// Returns once a new file of that name has these bytes on the disk.
absl::Status WriteAnew(Storage& storage, std::string_view folder,
                       const std::string& name, std::string_view bytes) {
  const std::string temporary = std::string(folder) + "/next.tmp";
  auto file = storage.Create(temporary);
  if (!file.ok()) return file.status();
  absl::Status status = (*file)->WriteAll(bytes);
  if (status.ok()) status = (*file)->Sync();
  if (status.ok()) status = storage.Rename(temporary, name);
  if (!status.ok()) {
    storage.Remove(temporary).IgnoreError();
    return status;
  }
  return storage.SyncDirectory(folder);
}

// The bodies of records that do not say yet that theirs is on the disk.
absl::Status RewriteBodies(Storage& storage, LogScan& scan, uint64_t from) {
  absl::Status status;
  scan.ForEach(from, [&](const ScannedSegment&, const RecordHeader& header,
                         const char* record, bool payload_ok) {
    if (!status.ok() || !payload_ok ||
        (CommitWord::Flags(header.commit) & kPayloadPending) == 0) {
      return;
    }
    const auto body = LargeBodyOf(header, record);
    if (!body) return;
    const std::string name = BodyName(*body);
    auto file = storage.Open(name, Access::kRead);
    // Retired, or lost: the scan looks at that.
    if (OmsCode(file.status()) == Code::kQueueNotFound) return;
    status = file.status();
    if (!status.ok()) return;
    const auto bytes = (*file)->ReadAll(body->bytes);
    status = bytes.status();
    if (status.ok()) status = WriteAnew(storage, "big", name, *bytes);
  });
  return status;
}

// The header of what is at and behind `base` of a segment.
SegmentHeader HeaderFrom(const ScannedSegment& segment, uint64_t base,
                         uint64_t capacity, uint32_t epoch, uint64_t durable) {
  SegmentHeader header = segment.header;
  header.base = base;
  header.capacity = capacity;
  header.epoch = epoch;
  header.checksum = SealOf(header);
  if (base == segment.header.base) return header;
  header.roll = {};
  header.roll.previous_end = base;
  header.roll.durable = durable;
  header.roll.checksum = SealOf(header.roll, header.salt);
  return header;
}

}  // namespace

std::optional<uint64_t> Store::FailedFlushFrom() const {
  if (control_ == nullptr) return std::nullopt;
  if (OMS_PLANTED(kFailedFlushBelieved)) return std::nullopt;
  const ControlHeader& old = control_->header();
  const auto place = control_->ctl().file().Identity();
  const bool ours = old.magic == ControlHeader::kMagic &&
                    old.uuid == store_file_.uuid && place.ok() &&
                    *place == FileIdentity{old.device, old.inode};
  // In another boot the page cache holds what the disk has.
  if (!ours || old.boot_hash != environment_->clock->BootHash() ||
      old.poisoned.Load() == 0) {
    return std::nullopt;
  }
  return old.flush.durable.Load();
}

absl::Status Store::RewriteFrom(LogScan& scan, uint64_t from) {
  if (auto s = RewriteBodies(*storage_, scan, from); !s.ok()) return s;
  uint32_t epoch = scan.epoch();
  for (const ScannedSegment& segment : scan.segments()) {
    epoch = std::max(epoch, segment.header.epoch);
  }
  for (const ScannedSegment& segment : scan.superseded()) {
    epoch = std::max(epoch, segment.header.epoch);
  }
  ++epoch;
  // The newest first: a copy takes the place of all that has a lower epoch and
  // is at or behind it, so that each of them leaves a whole log.
  for (size_t n = scan.segments().size(); n-- > 0;) {
    const ScannedSegment& segment = scan.segments()[n];
    const uint64_t base = std::max(from, segment.header.base);
    const bool last = scan.end() - segment.header.base <= segment.bytes;
    const uint64_t end =
        last ? scan.end() : segment.header.base + segment.bytes;
    if (segment.header.base >= scan.end() || base >= end) continue;
    const SegmentHeader header =
        HeaderFrom(segment, base, end - base, epoch, from);
    std::string bytes(kSegmentHeaderBytes, '\0');
    bytes.replace(0, sizeof(header), reinterpret_cast<const char*>(&header),
                  sizeof(header));
    bytes.append(segment.At(base), end - base);
    if (auto s = WriteAnew(*storage_, "log", SegmentName(base, epoch), bytes);
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
