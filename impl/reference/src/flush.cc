// SPDX-License-Identifier: Apache-2.0
//
// Flushing: one leader for all processes, everybody else waits for its bell.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "log.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "record_walk.h"

namespace openmessaging::reference {
namespace {

// A follower looks again that often: its leader may have died.
constexpr std::chrono::nanoseconds kFlushLook{10'000'000};
// So does a leader that waits for an appender to finish.
constexpr std::chrono::nanoseconds kLookSoon{100'000};

// What is to be flushed is in the log already: no error of a flush may say that
// it was not stored, or that the same may be sent again.
absl::Status OfFlush(const absl::Status& status) {
  if (OutcomeOf(status) != Outcome::kNotStored) return status;
  return MakeStatus(Code::kStorageError, "flush: ",
                    std::string_view(status.message().data(),
                                     status.message().size()));
}

}  // namespace

absl::Status Log::WaitDurable(uint64_t position, TimePoint deadline) {
  if (storage_->IsVolatile()) return absl::OkStatus();
  ControlHeader::Flush& flush = control_->header().flush;
  while (durable() < position) {
    if (poisoned()) return PoisonedError();
    uint32_t rings = flush.bell.Load();
    const auto led = TryFlush();
    if (OMS_PLANTED(kFlushBellReadLate)) rings = flush.bell.Load();
    if (!led.ok()) return led.status();
    if (durable() >= position) continue;
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) {
      return MakeStatus(Code::kFlushTimeout,
                        "flush: the message is stored, but another process's "
                        "flush did not end before the deadline");
    }
    // Led here and still short: the record is visible, but its appender is not
    // done with it.
    if (*led) rings = flush.bell.Load();
    flush.waiters.FetchAdd(1);
    environment_->waiting->Wait(
        flush.bell.word(), rings,
        std::min<std::chrono::nanoseconds>(*led ? kLookSoon : kFlushLook,
                                           deadline - now));
    flush.waiters.FetchAdd(~uint32_t{0});
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Log::TryFlush() {
  if (storage_->IsVolatile()) return true;
  // An heir has nothing to repair: it flushes again.
  if (flush_lock_.TryAcquire() == SlotLock::Result::kTimeout) return false;
  absl::Status status = Lead();
  flush_lock_.Release();
  ControlHeader::Flush& flush = control_->header().flush;
  if (!OMS_PLANTED(kFlushBellUnrung)) flush.bell.FetchAdd(1);
  if (flush.waiters.Load() != 0 && !OMS_PLANTED(kFollowersSleepOn)) {
    environment_->waiting->WakeAll(flush.bell.word());
  }
  if (!status.ok()) return OfFlush(status);
  return true;
}

absl::Status Log::Lead() {
  if (poisoned()) return PoisonedError();
  // What a dead appender left whole is visible already, and is flushed too.
  Heal();
  if (!OMS_PLANTED(kSettledUnflushed)) listener_->BeforeFlush();
  ControlHeader& header = control_->header();
  const uint64_t to = committed();
  // Descriptors first, then durable: what this process flushes from there on
  // it can also see fail.
  std::vector<std::shared_ptr<Segment>>& segments = flushing_;
  segments.clear();
  for (uint32_t n = header.catalog.first_segment.Load();
       n != header.catalog.end_segment.Load(); ++n) {
    SegmentEntry& entry = segments_->entry(n);
    const uint64_t base = entry.base.Load();
    if (base + entry.capacity.Load() <= durable() || base >= to) continue;
    auto segment = segments_->ByOrdinal(n);
    if (!segment.ok()) return segment.status();
    segments.push_back(std::move(*segment));
  }
  const uint64_t from = durable();
  if (OMS_PLANTED(kDurableFirst)) header.flush.durable.Store(to);
  // The bodies first: a record that is complete names one that is on disk.
  lost_bodies_.clear();
  for (const std::shared_ptr<Segment>& segment : segments) {
    if (segment->end() <= from) continue;
    if (auto s = FlushBodies(*segment, std::max(from, segment->base()),
                             std::min(to, segment->end()));
        !s.ok()) {
      return s;
    }
  }
  for (const std::shared_ptr<Segment>& segment : segments) {
    if (segment->end() <= from) continue;
    if (OMS_PLANTED(kOnlyTailFlushed) && segment != segments.back()) continue;
    absl::Status status =
        FillChecksums(*segment, std::max(from, segment->base()),
                      std::min(to, segment->end()));
    if (status.ok() && !OMS_PLANTED(kFlushDropped)) status = segment->Sync();
    if (OMS_PLANTED(kFlushErrorIgnored)) status = absl::OkStatus();
    if (!status.ok()) {
      if (!OMS_PLANTED(kPoisonUnsaid)) header.poisoned.Store(1);
      return status;
    }
  }
  if (poisoned()) return PoisonedError();
  if (to > from) header.flush.durable.Store(to);
  header.flush.flushes.FetchAdd(1);
  segments.clear();
  return absl::OkStatus();
}

absl::Status Log::FlushBodies(const Segment& segment, uint64_t from,
                              uint64_t to) {
  if (!segments_->NamesBodies(segment)) return absl::OkStatus();
  if (OMS_PLANTED(kBodiesUnflushed)) return absl::OkStatus();
  bool any = false;
  absl::Status status;
  bool flush_failed = false;
  WalkRecords(segment, from, to, false, [&](const RecordHeader& header,
                                            const char* record) {
    if ((CommitWord::Flags(header.commit) & kPayloadPending) == 0) return true;
    auto body = LargeBodyOf(header, record);
    if (!body) return true;
    status = bodies_->Sync(*body, flush_failed);
    const Code code = OmsCode(status);
    if (code == Code::kQueueNotFound || code == Code::kDamaged) {
      lost_bodies_.push_back(header.position);
      status = absl::OkStatus();
      return true;
    }
    if (!status.ok()) return false;
    SetBodyChecksum(header, segment.Write(header.position), body->checksum);
    any = true;
    return true;
  });
  if (status.ok() && any && !OMS_PLANTED(kBodyNamesUnflushed)) {
    status = bodies_->SyncNames();
    flush_failed = !status.ok();
  }
  if (flush_failed) control_->header().poisoned.Store(1);
  return status;
}

absl::Status Log::FillChecksums(const Segment& segment, uint64_t from,
                                uint64_t to) {
  uint64_t position = from;
  while (position < to) {
    char* const record = segment.Write(position);
    auto& commit = At<Shared<uint64_t>>(record, 0);
    const uint64_t word = commit.Load();
    if (word == 0) break;  // The end of a segment that was rolled.
    const uint32_t length = CommitWord::Length(word);
    if (length < sizeof(RecordHeader) || length > segment.end() - position) {
      return MakeStatus(Code::kDamaged, "flush: the record at position ",
                        position, " has the impossible length ", length);
    }
    const bool lost =
        !lost_bodies_.empty() &&
        std::find(lost_bodies_.begin(), lost_bodies_.end(), position) !=
            lost_bodies_.end();
    if ((word & CommitWord::kPendingBit) != 0 && !lost &&
        !OMS_PLANTED(kPendingStays)) {
      const uint32_t crc = Crc32c(0, record + sizeof(RecordHeader),
                                  length - sizeof(RecordHeader));
      At<Shared<uint32_t>>(record, offsetof(RecordHeader, payload_checksum))
          .StoreRelaxed(OMS_PLANTED(kFlushSumsWrong) ? ~crc : crc);
      commit.Store(word & ~CommitWord::kPendingBit);
    }
    position += PaddedBytes(length);
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
