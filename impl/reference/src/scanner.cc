// SPDX-License-Identifier: Apache-2.0

#include "scanner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "large_bodies.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "sound_header.h"

namespace openmessaging::reference {
uint64_t RetiredTo(const RecordHeader& header, const char* record) {
  const auto body = KeyValueView::Parse(
      {record + sizeof(header),
       CommitWord::Length(header.commit) - sizeof(header)});
  if (!body.ok()) return 0;
  return static_cast<uint64_t>(body->GetOr<int64_t>("first", 0));
}

absl::StatusOr<LogScan> LogScan::Load(Storage& storage, const StoreUuid& uuid,
                                      const ScanOptions& options) {
  LogScan scan;
  scan.options_ = options;
  scan.storage_ = &storage;
  const auto names = storage.List("log");
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    uint64_t base = 0;
    uint32_t epoch = 0;
    if (!ParseSegmentName(name, base, epoch)) continue;
    const absl::Status status = scan.LoadSegment(storage, "log/" + name, uuid);
    if (!status.ok() && OmsCode(status) != Code::kQueueNotFound) return status;
  }
  std::sort(scan.segments_.begin(), scan.segments_.end(),
            [](const ScannedSegment& a, const ScannedSegment& b) {
              return std::pair(a.header.base, a.header.epoch) <
                     std::pair(b.header.base, b.header.epoch);
            });
  scan.DropSuperseded();
  scan.FindEnd();
  if (!scan.failure_.ok()) return scan.failure_;
  return scan;
}

absl::Status LogScan::LoadSegment(Storage& storage, const std::string& name,
                                  const StoreUuid& uuid) {
  ScannedSegment segment;
  segment.name = name;
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return file.status();
  segment.file = std::move(*file);
  const auto size = segment.file->Size();
  if (!size.ok()) return size.status();
  const auto refuse = [&](std::string what) {
    findings_.push_back({name, 0, std::move(what), true});
    return absl::OkStatus();
  };
  if (*size < kSegmentHeaderBytes) {
    return refuse("the file is shorter than a segment header");
  }
  auto region = segment.file->Map(Access::kRead, *size);
  if (!region.ok()) return region.status();
  segment.region = std::move(*region);
  std::memcpy(&segment.header, segment.region->data(), sizeof(SegmentHeader));
  const SegmentHeader& header = segment.header;
  if (header.magic != SegmentHeader::kMagic) {
    return refuse("it does not begin as a segment does");
  }
  // Before what it says of its format: STORE decides for all files.
  if (SealOf(header) != header.checksum) {
    return refuse("the checksum of its header is wrong");
  }
  if (header.major != kFormatMajor || header.incompatible != 0) {
    return MakeStatus(Code::kIncompatibleVersion, "open segment \"",
                      std::string_view(name), "\": its format is ",
                      header.major, ".", header.minor,
                      "; this library reads format ", kFormatMajor);
  }
  if (header.uuid != uuid && !OMS_PLANTED(kStrangerAccepted)) {
    return refuse("it belongs to another store");
  }
  if (name != SegmentName(header.base, header.epoch)) {
    return refuse("its header belongs to another segment");
  }
  if (header.base % kRecordAlignment != 0 || header.base > kMaxPosition ||
      header.capacity > kMaxPosition) {
    return refuse("its header names an impossible place");
  }
  segment.bytes = std::min(*size - kSegmentHeaderBytes, header.capacity);
  if (segment.bytes < header.capacity) {
    findings_.push_back({name, header.base + segment.bytes,
                         "the file was cut short", true});
  }
  segment.roll_valid = SealOf(header.roll, header.salt) == header.roll.checksum;
  segments_.push_back(std::move(segment));
  return absl::OkStatus();
}

void LogScan::DropSuperseded() {
  if (OMS_PLANTED(kSupersededKept)) return;
  std::vector<ScannedSegment> kept;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const SegmentHeader& mine = segments_[i].header;
    // A recovery based its segment at the end that it accepted: older epochs
    // at or beyond it are not part of the log.
    const bool dropped = std::any_of(
        segments_.begin(), segments_.end(), [&](const ScannedSegment& other) {
          return other.region != nullptr && other.header.epoch > mine.epoch &&
                 other.header.base <= mine.base;
        });
    if (dropped) {
      superseded_.push_back(ScannedSegment{segments_[i].name, mine});
    }
  }
  std::erase_if(segments_, [&](const ScannedSegment& segment) {
    return std::any_of(superseded_.begin(), superseded_.end(),
                       [&](const ScannedSegment& other) {
                         return other.name == segment.name;
                       });
  });
}

uint64_t LogScan::LimitOf(size_t segment) const {
  const ScannedSegment& mine = segments_[segment];
  const uint64_t end = mine.header.base + mine.bytes;
  if (segment + 1 == segments_.size()) return end;
  return std::min(end, segments_[segment + 1].header.base);
}

bool LogScan::HeaderAt(const ScannedSegment& segment, uint64_t limit,
                       uint64_t position, RecordHeader& header) const {
  return ReadSoundHeader(segment.At(position), limit - position, position,
                         segment.header.salt, header);
}

uint64_t LogScan::FindNext(const ScannedSegment& segment, uint64_t position,
                           uint64_t limit) const {
  RecordHeader header;
  for (; position < limit && limit - position >= sizeof(RecordHeader);
       position += kRecordAlignment) {
    uint64_t own = 0;
    std::memcpy(&own, segment.At(position) + offsetof(RecordHeader, position),
                sizeof(own));
    if (own == position && HeaderAt(segment, limit, position, header)) {
      return position;
    }
  }
  return limit;
}

void LogScan::Walk(const std::function<bool(const Step&)>& step) const {
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  bool after_hole = true;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const ScannedSegment& segment = segments_[i];
    const uint64_t limit = LimitOf(i);
    const bool joined = i + 1 < segments_.size() && segments_[i + 1].roll_valid;
    uint64_t position = segment.header.base;
    after_hole = after_hole || !Joins(i);
    // A recovery may have left out numbers that were lost with their records.
    if (segment.roll_valid) {
      sequence = std::max(sequence, segment.header.roll.previous_sequence);
    }
    while (position < limit) {
      Step next{i, position, false, {}};
      RecordHeader& header = next.header;
      // A ghost of an earlier life fits its place, but not its predecessor.
      const bool valid =
          HeaderAt(segment, limit, position, header) &&
          header.epoch >= epoch &&
          (after_hole ? header.sequence > sequence
                      : header.sequence == sequence + 1);
      if (valid) {
        if (!step(next)) return;
        sequence = header.sequence;
        epoch = header.epoch;
        after_hole = false;
        position += PaddedBytes(header);
        continue;
      }
      const uint64_t joint =
          joined ? segments_[i + 1].header.roll.previous_end : 0;
      if (joined && position == joint) break;
      const uint64_t found =
          FindNext(segment, position + kRecordAlignment, limit);
      // The unused rest of the last segment is no hole.
      if (found == limit && i + 1 == segments_.size()) return;
      if (found == limit && !joined) {
        // Prepared, but the log never rolled into it.
        const ScannedSegment& after = segments_[i + 1];
        if (FindNext(after, after.header.base, LimitOf(i + 1)) ==
            LimitOf(i + 1)) {
          return;
        }
      }
      next.hole = true;
      if (!step(next)) return;
      after_hole = true;
      position = found;
    }
  }
}

bool LogScan::PayloadOk(const ScannedSegment& segment,
                        const RecordHeader& header, uint64_t position) const {
  if (OMS_PLANTED(kPayloadUnverified)) return true;
  if ((CommitWord::Flags(header.commit) & kPayloadPending) != 0) {
    return options_.same_place && options_.boot_hash != 0 &&
           (segment.header.boot_hash == options_.boot_hash ||
            OMS_PLANTED(kPendingBelieved)) &&
           position >= witness_;
  }
  return Crc32c(0, segment.At(position) + sizeof(RecordHeader),
                CommitWord::Length(header.commit) - sizeof(RecordHeader)) ==
         header.payload_checksum;
}

std::string LogScan::BodyFault(const ScannedSegment& segment,
                               const RecordHeader& header, uint64_t position) {
  const uint8_t flags = CommitWord::Flags(header.commit);
  if ((flags & kBodyApart) == 0 || OMS_PLANTED(kBodyUnverified)) return {};
  const auto body = LargeBodyOf(header, segment.At(position));
  if (!body) return "the record does not name its body";
  const bool pending = (flags & kPayloadPending) != 0;
  absl::Status status =
      CheckBody(*storage_, *body,
                pending ? BodyCheck::kPresent : BodyCheck::kComplete);
  if (status.ok()) return {};
  if (OmsCode(status) != Code::kDamaged) failure_.Update(status);
  return std::string(status.message().data(), status.message().size());
}

std::optional<LogScan::Step> LogScan::AcceptPrefix() {
  std::optional<Step> torn;
  // Where a unit begins that has not ended yet.
  std::optional<Step> open;
  end_ = segments_.empty() ? 0 : segments_.front().header.base;
  sequence_ = 0;
  epoch_ = 0;
  Walk([&](const Step& step) {
    const ScannedSegment& segment = segments_[step.segment];
    // Below the witness it is damage, and the log goes on behind it.
    const bool good =
        step.position < witness_ || OMS_PLANTED(kTornTailAccepted) ||
        (!step.hole && PayloadOk(segment, step.header, step.position) &&
         (step.position < retired_to_ ||
          BodyFault(segment, step.header, step.position).empty()));
    if (!good) {
      torn = step;
      return false;
    }
    if (step.hole) return true;
    // Of a unit all is below the witness, or nothing.
    if ((CommitWord::Flags(step.header.commit) & kMore) != 0 &&
        step.position >= witness_ && !OMS_PLANTED(kHalfUnitAccepted)) {
      if (!open) open = step;
      return true;
    }
    open.reset();
    sequence_ = step.header.sequence;
    epoch_ = step.header.epoch;
    end_ = step.position + PaddedBytes(step.header);
    return true;
  });
  // What there is of it goes with what is not.
  return open ? open : torn;
}

void LogScan::FindEnd() {
  witness_ = options_.witness;
  for (const ScannedSegment& segment : segments_) {
    if (segment.roll_valid) {
      witness_ = std::max(witness_, segment.header.roll.durable);
    }
  }
  std::vector<Retirement> retirements;
  Walk([&](const Step& step) {
    if (step.hole) return true;
    if (step.header.durable_floor != kNoFloor && !OMS_PLANTED(kNoWitness) &&
        step.header.durable_floor <= step.position / kRecordAlignment) {
      witness_ = std::max(
          witness_,
          step.position - step.header.durable_floor * kRecordAlignment);
    }
    if (CommitWord::Type(step.header.commit) == RecordType::kRetire &&
        PayloadOk(segments_[step.segment], step.header, step.position)) {
      const char* const record = segments_[step.segment].At(step.position);
      retirements.push_back({RetiredTo(step.header, record), step.position});
    }
    return true;
  });
  // A RETIRE record counts where it is itself accepted.
  std::optional<Step> torn;
  while (true) {
    retired_to_ = 0;
    for (const Retirement& one : retirements) {
      retired_to_ = std::max(retired_to_, one.to);
    }
    torn = AcceptPrefix();
    if (std::erase_if(retirements, [&](const Retirement& one) {
          return one.position >= end_;
        }) == 0) {
      break;
    }
  }
  torn_tail_ = torn.has_value();
  if (torn) {
    Report(torn->segment, torn->position,
           "a torn tail: what follows was never acknowledged as stored", false);
  }
  if (segments_.empty()) return;
  // A damaged last record below the witness: the log reaches to the witness.
  if (end_ < witness_) {
    for (size_t i = segments_.size(); i-- > 0;) {
      if (segments_[i].header.base > witness_) continue;
      Report(i, end_, "the log ends here, but was durable further on", true);
      end_ = std::min(AlignUp(witness_, kRecordAlignment),
                      segments_[i].header.base + segments_[i].header.capacity);
      break;
    }
  } else if (!torn_tail_) {
    // A record that was being written leaves no valid header.
    for (size_t i = segments_.size(); i-- > 0;) {
      ScannedSegment& last = segments_[i];
      if (last.header.base > end_ || end_ >= last.header.base + last.bytes) {
        continue;
      }
      // Of a file that was cut there may be less than a word.
      uint64_t commit = 0;
      std::memcpy(&commit, last.At(end_),
                  std::min<uint64_t>(sizeof(commit),
                                     last.header.base + last.bytes - end_));
      if (commit != 0) {
        torn_tail_ = true;
        Report(i, end_, "a torn tail: a record that was never completed",
               false);
      }
      break;
    }
  }
  CheckJoints();
}

bool LogScan::Joins(size_t segment) const {
  if (segment == 0) return true;
  const SegmentHeader& before = segments_[segment - 1].header;
  const SegmentHeader& mine = segments_[segment].header;
  return mine.base == before.base + before.capacity ||
         (segments_[segment].roll_valid &&
          mine.roll.previous_end == mine.base);
}

void LogScan::CheckJoints() {
  for (size_t i = 1; i < segments_.size(); ++i) {
    if (!Joins(i) && segments_[i].header.base > retired_to_) {
      Report(i, segments_[i].header.base, "a segment before this one is missing", true);
    }
  }
}

void LogScan::Report(size_t segment, uint64_t position, std::string what,
                     bool damage) {
  findings_.push_back(
      {segments_[segment].name, position, std::move(what), damage});
}

void LogScan::ForEach(uint64_t from, const Visit& visit) {
  Walk([&](const Step& step) {
    if (step.position >= end_) return false;
    if (step.hole) {
      if (OMS_PLANTED(kHoleUntold)) return true;
      // Of several segments that were retired some may be there still.
      if (step.position >= retired_to_) {
        Report(step.segment, step.position,
               "no valid record where one was durable", true);
      }
      return true;
    }
    if (step.position < from) return true;
    const ScannedSegment& segment = segments_[step.segment];
    const bool ok = PayloadOk(segment, step.header, step.position);
    if (!ok) {
      Report(step.segment, step.position,
             "the checksum of the record's body is wrong", true);
    } else if (options_.verify_bodies) {
      std::string fault = BodyFault(segment, step.header, step.position);
      if (!fault.empty()) {
        Report(step.segment, step.position, std::move(fault), true);
        findings_.back().of_body = true;
      }
    }
    visit(segment, step.header, segment.At(step.position), ok);
    return true;
  });
}

}  // namespace openmessaging::reference
