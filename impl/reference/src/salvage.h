// SPDX-License-Identifier: Apache-2.0
//
// Salvage reads a log of which anything may be damaged: it goes on behind each
// damage with the next record that is whole, and says what is missing between.

#ifndef OPENMESSAGING_REFERENCE_SALVAGE_H_
#define OPENMESSAGING_REFERENCE_SALVAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint.h"
#include "env/environment.h"
#include "format.h"
#include "openmessaging/reference/repair.h"

namespace openmessaging::reference {

// A segment whose records can be told from anything else.
struct SalvagedSegment {
  std::string name{};
  SegmentHeader header{};
  bool roll_valid = false;
  uint64_t bytes = 0;  // Of records that the file really has.
  std::unique_ptr<File> file{};
  std::unique_ptr<Region> region{};

  const char* At(uint64_t position) const {
    return region->data() + kSegmentHeaderBytes + (position - header.base);
  }
};

struct SalvagedRecord {
  size_t segment = 0;
  RecordHeader header{};
  const char* bytes = nullptr;  // As long as the header says.
  // What is wrong with its payload or its large body; empty: nothing. The
  // header is whole in any case.
  std::string fault{};

  RecordType type() const { return CommitWord::Type(header.commit); }
  std::string_view body() const {
    return {bytes + sizeof(header) + header.fields_bytes,
            CommitWord::Length(header.commit) - sizeof(header) -
                header.fields_bytes};
  }
};

// Threads: one.
// Lifetime: the storage must outlive it; records point into its segments.
class Salvage {
 public:
  // Errors: 1609 nothing in it can be read; 10003; 1501.
  static absl::StatusOr<Salvage> Read(Storage& storage, const Clock& clock);

  const StoreFile& store() const { return store_; }
  const std::optional<Checkpoint>& checkpoint() const { return checkpoint_; }
  const std::vector<SalvagedSegment>& segments() const { return segments_; }
  const std::vector<SalvagedRecord>& records() const { return records_; }
  std::vector<RepairFinding>& findings() { return findings_; }
  // Where the first segment begins, and how far the log was retired.
  uint64_t begin() const { return segments_.front().header.base; }
  uint64_t retired_to() const { return retired_to_; }

 private:
  struct Candidate;

  absl::Status ReadStore(Storage& storage);
  absl::Status LoadSegments(Storage& storage);
  absl::StatusOr<std::optional<SalvagedSegment>> LoadOne(
      Storage& storage, const std::string& name);
  // Finds out what a segment whose header is damaged must have had in it.
  bool RestoreHeader(SalvagedSegment& segment);
  // The same where the header is whole, but another segment's.
  void RestoreExchanged(SalvagedSegment& segment);
  void ChooseStore();
  void PlaceSegments();
  void ReadRecords(Storage& storage, const Clock& clock);
  void ReadSegment(size_t number, uint64_t& sequence, uint32_t& epoch);
  bool HeaderAt(const SalvagedSegment& segment, uint64_t limit,
                uint64_t position, RecordHeader& header) const;
  uint64_t LimitOf(size_t number) const;
  void FindWitness();
  void JudgePayloads(Storage& storage, const Clock& clock);
  // Takes back a unit that never ended, and says what is missing at the end.
  void EndLog();
  void Note(std::string file, uint64_t position, std::string what, bool loss);

  StoreFile store_{};
  bool store_sound_ = false;
  bool same_place_ = false;
  std::optional<Checkpoint> checkpoint_{};
  std::vector<SalvagedSegment> segments_{};
  std::vector<SalvagedRecord> records_{};
  std::vector<RepairFinding> findings_{};
  uint64_t witness_ = 0;
  uint64_t retired_to_ = 0;
};

// Returns: a salt with which the headers of records in [begin, end) have their
// checksums; nothing where they do not agree on one. `base` is the position of
// the first byte.
std::optional<uint64_t> FindSalt(const char* begin, const char* end,
                                 uint64_t base);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SALVAGE_H_
