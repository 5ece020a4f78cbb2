// SPDX-License-Identifier: Apache-2.0

#include "salvage.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "large_bodies.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "scanner.h"
#include "sound_header.h"

namespace openmessaging::reference {
namespace {

using internal::Concat;

absl::Status OtherFormat(std::string_view file, uint16_t major) {
  return MakeStatus(Code::kIncompatibleVersion, "repair: the format of \"",
                    file, "\" is ", major, "; this library reads format ",
                    kFormatMajor);
}

bool HasPayloadOf(const RecordHeader& header, const char* bytes) {
  return Crc32c(0, bytes + sizeof(header),
                CommitWord::Length(header.commit) - sizeof(header)) ==
         header.payload_checksum;
}

}  // namespace

void Salvage::Note(std::string file, uint64_t position, std::string what,
                   bool loss) {
  RepairFinding finding;
  finding.file = std::move(file);
  finding.position = position;
  finding.what = std::move(what);
  finding.loss = loss;
  findings_.push_back(std::move(finding));
}

absl::StatusOr<Salvage> Salvage::Read(Storage& storage, const Clock& clock) {
  Salvage salvage;
  if (auto s = salvage.ReadStore(storage); !s.ok()) return s;
  if (auto s = salvage.LoadSegments(storage); !s.ok()) return s;
  if (salvage.segments_.empty()) {
    return MakeStatus(Code::kDamaged, "repair \"",
                      std::string_view(storage.Describe()),
                      "\": it has no segment that could be read; nothing can "
                      "be saved");
  }
  salvage.ReadRecords(storage, clock);
  if (salvage.records_.empty()) {
    return MakeStatus(Code::kDamaged, "repair \"",
                      std::string_view(storage.Describe()),
                      "\": its log has no record that is whole; nothing can "
                      "be saved");
  }
  return salvage;
}

absl::Status Salvage::ReadStore(Storage& storage) {
  auto file = storage.Open("STORE", Access::kRead);
  if (!file.ok()) {
    if (OmsCode(file.status()) != Code::kQueueNotFound) return file.status();
    Note("STORE", 0,
         "the file is missing: the target has the options of a new store",
         true);
    return absl::OkStatus();
  }
  const auto bytes = (*file)->ReadAll(sizeof(StoreFile));
  if (!bytes.ok()) return bytes.status();
  StoreFile read;
  read.magic = 0;
  std::memcpy(&read, bytes->data(), std::min(bytes->size(), sizeof(read)));
  if (bytes->size() < sizeof(read) || !IsSound(read)) {
    Note("STORE", 0, "it is damaged: the target has the options of a new store",
         true);
    return absl::OkStatus();
  }
  if (!IsOurFormat(read.major, read.minor, read.incompatible)) {
    return OtherFormat("STORE", read.major);
  }
  store_ = read;
  store_sound_ = true;
  const auto place = (*file)->Identity();
  same_place_ = place.ok() && *place == FileIdentity{read.device, read.inode};
  return absl::OkStatus();
}

absl::StatusOr<std::optional<SalvagedSegment>> Salvage::LoadOne(
    Storage& storage, const std::string& name) {
  SalvagedSegment segment;
  segment.name = name;
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return file.status();
  const auto size = (*file)->Size();
  if (!size.ok()) return size.status();
  if (*size <= kSegmentHeaderBytes) {
    Note(name, 0, "the file is shorter than a segment header", true);
    return std::nullopt;
  }
  auto region = (*file)->Map(Access::kRead, *size);
  if (!region.ok()) return region.status();
  segment.file = std::move(*file);
  segment.region = std::move(*region);
  segment.bytes = *size - kSegmentHeaderBytes;
  SegmentHeader& header = segment.header;
  std::memcpy(&header, segment.region->data(), sizeof(header));
  const bool whole = header.magic == SegmentHeader::kMagic &&
                     SealOf(header) == header.checksum &&
                     header.base % kRecordAlignment == 0 &&
                     header.base <= kMaxPosition &&
                     header.capacity <= kMaxPosition;
  if (whole && (header.major != kFormatMajor || header.incompatible != 0)) {
    return OtherFormat(name, header.major);
  }
  if (!whole) {
    header.checksum = 0;  // To be restored.
    return segment;
  }
  if (segment.bytes < header.capacity) {
    Note(name, header.base + segment.bytes, "the file was cut short", false);
  }
  segment.bytes = std::min(segment.bytes, header.capacity);
  segment.roll_valid = SealOf(header.roll, header.salt) == header.roll.checksum;
  return segment;
}

bool Salvage::RestoreHeader(SalvagedSegment& segment) {
  SegmentHeader& header = segment.header;
  uint64_t base = 0;
  uint32_t epoch = 0;
  if (!ParseSegmentName(segment.name.substr(4), base, epoch) ||
      base % kRecordAlignment != 0 || base > kMaxPosition) {
    return false;
  }
  const char* const records = segment.region->data() + kSegmentHeaderBytes;
  const auto salt = FindSalt(records, records + segment.bytes, base);
  if (!salt) return false;
  const SegmentHeader::Roll roll = header.roll;
  const uint64_t read_salt = header.salt;
  header = SegmentHeader();
  segment.roll_valid = false;
  header.uuid = store_.uuid;
  header.base = base;
  header.epoch = epoch;
  header.capacity = segment.bytes;
  header.salt = *salt;
  // The one that is there may be right, and then so may be what it vouches for.
  if (static_cast<uint32_t>(read_salt ^ read_salt >> 32) ==
      static_cast<uint32_t>(*salt)) {
    header.salt = read_salt;
    header.roll = roll;
    segment.roll_valid = SealOf(roll, read_salt) == roll.checksum;
  }
  header.checksum = SealOf(header);
  return true;
}

void Salvage::RestoreExchanged(SalvagedSegment& segment) {
  const SegmentHeader& said = segment.header;
  if (segment.name == SegmentName(said.base, said.epoch)) return;
  const uint64_t said_bytes = std::exchange(
      segment.bytes, segment.region->size() - kSegmentHeaderBytes);
  // Where it is the name that is wrong, no record is in its place by it.
  if (RestoreHeader(segment)) {
    Note(segment.name, segment.header.base,
         "its header is that of another segment, and was found out from its "
         "records",
         false);
  } else {
    segment.bytes = said_bytes;
  }
}

// A store is what most of its segments say, where STORE says nothing of use.
void Salvage::ChooseStore() {
  std::map<StoreUuid, size_t> counts;
  uint64_t created_ms = 0;
  for (const SalvagedSegment& segment : segments_) {
    if (segment.header.checksum == 0) continue;
    ++counts[segment.header.uuid];
    created_ms = created_ms == 0
                     ? segment.header.created_ms
                     : std::min(created_ms, segment.header.created_ms);
  }
  if (counts.empty() || (store_sound_ && counts.count(store_.uuid) != 0)) {
    return;
  }
  const auto most = std::max_element(
      counts.begin(), counts.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (store_sound_) {
    Note("STORE", 0, "it is of another store than the segments", true);
    store_ = StoreFile();
    store_sound_ = same_place_ = false;
  }
  store_.uuid = most->first;
  store_.created_ms = created_ms;
}

absl::Status Salvage::LoadSegments(Storage& storage) {
  const auto names = storage.List("log");
  if (!names.ok()) {
    if (OmsCode(names.status()) == Code::kQueueNotFound) {
      return absl::OkStatus();
    }
    return names.status();
  }
  for (const std::string& name : *names) {
    uint64_t base = 0;
    uint32_t epoch = 0;
    if (!ParseSegmentName(name, base, epoch)) continue;
    auto segment = LoadOne(storage, "log/" + name);
    if (!segment.ok()) {
      if (OmsCode(segment.status()) == Code::kIncompatibleVersion) {
        return segment.status();
      }
      Note("log/" + name, 0,
           Concat("it cannot be read: ",
                  std::string_view(segment.status().message().data(),
                                   segment.status().message().size())),
           true);
      continue;
    }
    if (*segment) segments_.push_back(**std::move(segment));
  }
  ChooseStore();
  checkpoint_ = ReadCheckpoint(storage, store_.uuid);
  PlaceSegments();
  return absl::OkStatus();
}

void Salvage::PlaceSegments() {
  std::erase_if(segments_, [this](SalvagedSegment& segment) {
    if (segment.header.checksum == 0) {
      if (!RestoreHeader(segment)) {
        // A segment that was never used has nothing to lose.
        Note(segment.name, 0,
             "its header is damaged, and no record in it is whole", true);
        return true;
      }
      Note(segment.name, segment.header.base,
           "its header is damaged, and was found out from its records", false);
      return false;
    }
    if (segment.header.uuid != store_.uuid) {
      Note(segment.name, 0, "it belongs to another store", true);
      return true;
    }
    RestoreExchanged(segment);
    return false;
  });
  // Where two claim one place, the one with the right name has it.
  std::sort(segments_.begin(), segments_.end(),
            [](const SalvagedSegment& a, const SalvagedSegment& b) {
              const auto key = [](const SalvagedSegment& one) {
                const SegmentHeader& header = one.header;
                return std::tuple(
                    header.base, header.epoch,
                    one.name != SegmentName(header.base, header.epoch));
              };
              return key(a) < key(b);
            });
  std::vector<bool> goes(segments_.size());
  for (size_t i = 0; i < segments_.size(); ++i) {
    const SegmentHeader& mine = segments_[i].header;
    if (i > 0 && segments_[i - 1].header.base == mine.base &&
        segments_[i - 1].header.epoch == mine.epoch) {
      Note(segments_[i].name, mine.base, "it is there twice", false);
      goes[i] = true;
    } else if (segments_[i].name != SegmentName(mine.base, mine.epoch)) {
      Note(segments_[i].name, mine.base, "it had the name of another segment",
           false);
    }
    // As LogScan: a recovery took its place.
    goes[i] = goes[i] || std::any_of(segments_.begin(), segments_.end(),
                                     [&](const SalvagedSegment& other) {
                                       return other.header.epoch > mine.epoch &&
                                              other.header.base <= mine.base;
                                     });
  }
  size_t at = 0;
  std::erase_if(segments_, [&](const SalvagedSegment&) { return goes[at++]; });
}

uint64_t Salvage::LimitOf(size_t number) const {
  const SalvagedSegment& mine = segments_[number];
  const uint64_t end = mine.header.base + mine.bytes;
  if (number + 1 == segments_.size()) return end;
  return std::min(end, segments_[number + 1].header.base);
}

bool Salvage::HeaderAt(const SalvagedSegment& segment, uint64_t limit,
                       uint64_t position, RecordHeader& header) const {
  return ReadSoundHeader(segment.At(position), limit - position, position,
                         segment.header.salt, header);
}

void Salvage::ReadSegment(size_t number, uint64_t& sequence, uint32_t& epoch) {
  const SalvagedSegment& segment = segments_[number];
  const uint64_t limit = LimitOf(number);
  const SegmentHeader::Roll* const next_roll =
      number + 1 < segments_.size() && segments_[number + 1].roll_valid
          ? &segments_[number + 1].header.roll
          : nullptr;
  uint64_t position = segment.header.base;
  // Where what cannot be read begins.
  constexpr uint64_t kNone = UINT64_MAX;
  uint64_t hole = kNone;
  while (limit - position >= sizeof(RecordHeader)) {
    if (next_roll != nullptr && position == next_roll->previous_end &&
        hole == kNone) {
      return;
    }
    SalvagedRecord record{number, {}, nullptr, {}};
    if (!HeaderAt(segment, limit, position, record.header) ||
        record.header.sequence <= sequence || record.header.epoch < epoch) {
      hole = std::min(hole, position);
      position += kRecordAlignment;
      continue;
    }
    if (hole != kNone) {
      const uint64_t missing = record.header.sequence - sequence - 1;
      Note(segment.name, hole,
           Concat("no whole record up to position ", position, "; ", missing,
                  missing == 1 ? " record is" : " records are", " missing"),
           true);
      hole = kNone;
    }
    record.bytes = segment.At(position);
    sequence = record.header.sequence;
    epoch = record.header.epoch;
    position += PaddedBytes(record.header);
    records_.push_back(std::move(record));
    if (position >= limit) break;
  }
  // Is the rest unused, or was something there?
  if (next_roll == nullptr) return;
  const uint64_t end = std::min(hole, position);
  if (next_roll->previous_sequence > sequence &&
      next_roll->previous_end > end) {
    Note(segment.name, end,
         Concat("no whole record up to position ", next_roll->previous_end,
                ", where the next segment begins"),
         true);
  }
}

void Salvage::ReadRecords(Storage& storage, const Clock& clock) {
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  for (size_t n = 0; n < segments_.size(); ++n) {
    const SegmentHeader& mine = segments_[n].header;
    if (n > 0) {
      const SegmentHeader& before = segments_[n - 1].header;
      const bool joins =
          mine.base <= before.base + before.capacity ||
          (segments_[n].roll_valid && mine.roll.previous_end == mine.base);
      if (!joins) {
        Note(segments_[n].name, before.base + before.capacity,
             Concat("segments up to position ", mine.base, " are missing"),
             true);
      }
    }
    // Numbers that a recovery left out are not lost.
    if (segments_[n].roll_valid && n > 0 &&
        mine.roll.previous_end == mine.base) {
      sequence = std::max(sequence, mine.roll.previous_sequence);
    }
    ReadSegment(n, sequence, epoch);
  }
  FindWitness();
  if (begin() > retired_to_) {
    Note(segments_.front().name, begin(),
         "segments before this one are missing, and no record says that they "
         "were retired",
         true);
  }
  JudgePayloads(storage, clock);
  if (!records_.empty()) EndLog();
}

void Salvage::FindWitness() {
  if (checkpoint_) witness_ = checkpoint_->end;
  for (const SalvagedSegment& segment : segments_) {
    if (segment.roll_valid) {
      witness_ = std::max(witness_, segment.header.roll.durable);
    }
  }
  for (const SalvagedRecord& record : records_) {
    const RecordHeader& header = record.header;
    if (header.durable_floor != kNoFloor &&
        header.durable_floor <= header.position / kRecordAlignment) {
      witness_ = std::max(
          witness_, header.position - header.durable_floor * kRecordAlignment);
    }
    if (record.type() == RecordType::kRetire &&
        HasPayloadOf(header, record.bytes)) {
      retired_to_ = std::max(retired_to_, RetiredTo(header, record.bytes));
    }
  }
}

void Salvage::JudgePayloads(Storage& storage, const Clock& clock) {
  const uint64_t boot = clock.BootHash();
  for (SalvagedRecord& record : records_) {
    const RecordHeader& header = record.header;
    const bool pending =
        (CommitWord::Flags(header.commit) & kPayloadPending) != 0;
    if (CommitWord::Length(header.commit) == sizeof(header)) {
      // It has none.
    } else if (pending) {
      const bool believed = same_place_ && boot != 0 &&
                            header.position >= witness_ &&
                            segments_[record.segment].header.boot_hash == boot;
      if (!believed) record.fault = "its body was never flushed";
    } else if (!HasPayloadOf(header, record.bytes)) {
      record.fault = "the checksum of its body is wrong";
    }
    if (!record.fault.empty() || header.position < retired_to_ ||
        (CommitWord::Flags(header.commit) & kBodyApart) == 0) {
      continue;
    }
    const auto body = LargeBodyOf(header, record.bytes);
    if (!body) {
      record.fault = "it does not name its body";
      continue;
    }
    const absl::Status status = CheckBody(
        storage, *body, pending ? BodyCheck::kPresent : BodyCheck::kComplete);
    if (!status.ok()) {
      record.fault =
          std::string(status.message().data(), status.message().size());
    }
  }
}

void Salvage::EndLog() {
  // A unit that never ended was never stored.
  while (!records_.empty() && records_.back().header.position >= witness_ &&
         ((CommitWord::Flags(records_.back().header.commit) & kMore) != 0 ||
          !records_.back().fault.empty())) {
    const SalvagedRecord& last = records_.back();
    Note(segments_[last.segment].name, last.header.position,
         "a torn tail: this was never acknowledged as stored", false);
    records_.pop_back();
  }
  if (records_.empty()) return;
  const SalvagedRecord& last = records_.back();
  const uint64_t end = last.header.position + PaddedBytes(last.header);
  if (witness_ > end) {
    Note(segments_[last.segment].name, end,
         Concat("the log ends here, but was on disk up to position ", witness_),
         true);
  }
}

}  // namespace openmessaging::reference
