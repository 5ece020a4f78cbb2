// SPDX-License-Identifier: Apache-2.0
//
// LogScan reads a log that nobody vouches for: after a crash, after a power
// loss, or offline. It tells a torn tail from damage by a witness.

#ifndef OPENMESSAGING_REFERENCE_SCANNER_H_
#define OPENMESSAGING_REFERENCE_SCANNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "env/environment.h"
#include "format.h"

namespace openmessaging::reference {

// No log reaches further: an index entry holds 48 bits of position / 32.
inline constexpr uint64_t kMaxPosition = uint64_t{1} << 52;

// A segment file as it was found.
struct ScannedSegment {
  std::string name{};
  SegmentHeader header{};
  bool roll_valid = false;
  std::unique_ptr<File> file{};
  std::unique_ptr<Region> region{};
  uint64_t bytes = 0;  // Of records that the file really has.

  const char* At(uint64_t position) const {
    return region->data() + kSegmentHeaderBytes + (position - header.base);
  }
};

// Something that is not as it should be.
struct ScanFinding {
  std::string file{};
  uint64_t position = 0;
  std::string what{};
  bool damage = false;  // Otherwise a note.
  bool of_body = false;  // Of a large body; its record is whole.
};

// Returns: how far a RETIRE record says that the log was retired.
uint64_t RetiredTo(const RecordHeader& header, const char* record);

// What the files say of themselves.
struct ScanOptions {
  // Of this boot; 0 = unknown.
  uint64_t boot_hash = 0;
  // STORE lies where it was created, so that what a process of this boot wrote
  // is in the page cache even where no checksum covers it.
  bool same_place = false;
  // A witness from elsewhere (the checkpoint): everything below was on disk.
  uint64_t witness = 0;
  // ForEach reads large bodies too. Otherwise only those are read that decide
  // where the log ends; whoever receives one of the others will see.
  bool verify_bodies = false;
};

// Reads every segment and finds where the log ends.
//
// Threads: one.
// Lifetime: it uses the storage until ForEach has returned.
class LogScan {
 public:
  // Errors: 1501; 10003 a segment of another format.
  static absl::StatusOr<LogScan> Load(Storage& storage, const StoreUuid& uuid,
                                      const ScanOptions& options);

  // Calls `visit` for each valid record at or behind `from`, in order, up to
  // the accepted end. `payload_ok` is false for one whose body is damaged.
  using Visit = std::function<void(const ScannedSegment& segment,
                                   const RecordHeader& header,
                                   const char* record, bool payload_ok)>;
  void ForEach(uint64_t from, const Visit& visit);

  // The part of the log, oldest first, and what recovery superseded.
  std::vector<ScannedSegment>& segments() { return segments_; }
  std::vector<ScannedSegment>& superseded() { return superseded_; }
  // Damage and notes; complete after ForEach.
  const std::vector<ScanFinding>& findings() const { return findings_; }

  // Where the log ends, its last sequence and epoch, the segment that it ends
  // in; known after Load.
  uint64_t end() const { return end_; }
  uint64_t sequence() const { return sequence_; }
  uint32_t epoch() const { return epoch_; }
  uint64_t witness() const { return witness_; }
  // Bytes behind the end that look like ours: a torn tail.
  bool torn_tail() const { return torn_tail_; }

 private:
  // One step of a walk: a record whose header is valid, or a hole before one.
  struct Step {
    size_t segment = 0;
    uint64_t position = 0;
    bool hole = false;
    RecordHeader header{};
  };

  absl::Status LoadSegment(Storage& storage, const std::string& name,
                           const StoreUuid& uuid);
  void DropSuperseded();
  // Whether a segment goes on where the one before it ends.
  bool Joins(size_t segment) const;
  void CheckJoints();
  // Calls `step` along the log until it returns false.
  void Walk(const std::function<bool(const Step&)>& step) const;
  // Returns: the next position from `position` on that holds a valid header;
  // `limit` if none does.
  uint64_t FindNext(const ScannedSegment& segment, uint64_t position,
                    uint64_t limit) const;
  void FindEnd();
  // What an end is looked for with: below the first position large bodies may be
  // gone, because a RETIRE record at the second says so.
  struct Retirement {
    uint64_t to = 0;
    uint64_t position = 0;
  };
  // Accepts what is good in one go, `retired_to_` believed. Returns: the first
  // step that is not.
  std::optional<Step> AcceptPrefix();
  uint64_t LimitOf(size_t segment) const;
  bool HeaderAt(const ScannedSegment& segment, uint64_t limit,
                uint64_t position, RecordHeader& header) const;
  bool PayloadOk(const ScannedSegment& segment, const RecordHeader& header,
                 uint64_t position) const;
  // Returns: what is wrong with the large body of a record whose payload is as
  // it should be; empty: nothing, or it has none.
  std::string BodyFault(const ScannedSegment& segment,
                        const RecordHeader& header, uint64_t position);
  void Report(size_t segment, uint64_t position, std::string what,
              bool damage);

  Storage* storage_ = nullptr;
  ScanOptions options_;
  // Of a body that could not be read now.
  absl::Status failure_;
  std::vector<ScannedSegment> segments_;
  std::vector<ScannedSegment> superseded_;
  std::vector<ScanFinding> findings_;
  uint64_t end_ = 0;
  uint64_t sequence_ = 0;
  uint32_t epoch_ = 0;
  uint64_t witness_ = 0;
  // Below this all is retired: of it any part may be there still after a power
  // loss, and what is not there is not missing.
  uint64_t retired_to_ = 0;
  bool torn_tail_ = false;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SCANNER_H_
