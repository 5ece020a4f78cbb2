// SPDX-License-Identifier: Apache-2.0
//
// ControlCheck decides whether a ctl that nobody uses any more can be what a
// crash left. Its numbers are offsets, counts and links; a wrong one would lead
// anybody who follows it out of the file, round in circles, or over records.

#ifndef OPENMESSAGING_REFERENCE_CONTROL_CHECK_H_
#define OPENMESSAGING_REFERENCE_CONTROL_CHECK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "control_file.h"
#include "env/environment.h"
#include "format.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// Holds ctl against itself, against the segments that it names, and against the
// index. A page of it belongs to one thing at most, which bounds every chain;
// the log says where it ends and what its last sequence is. It reads what it
// needs of the log: headers, and the records of the catalog.
//
// What cannot be told: words of single messages (whether one is settled),
// times, and counts that only decide what is done when. Of those that say when to look
// the next time, Renew makes "at once".
//
// Threads: one, while nobody has the store open.
class ControlCheck {
 public:
  // `control` fits its files (Store::CheckControl).
  ControlCheck(Storage* storage, Control* control, const StoreFile* store)
      : storage_(*storage),
        control_(*control),
        header_(control->header()),
        store_(*store) {}

  // Returns: what cannot be as it is; empty: nothing.
  std::string_view FindFault();
  // Of a call that failed meanwhile: then nothing is known.
  const absl::Status& failure() const { return failure_; }

  // Lets whoever repairs make anew what follows from the rest.
  void Renew() const;

 private:
  static constexpr std::string_view kSound{};

  struct LogFile {
    uint64_t base = 0;
    uint64_t capacity = 0;
    SegmentHeader header{};
    std::unique_ptr<File> file{};
    std::unique_ptr<Region> region{};

    bool Has(uint64_t position) const {
      return position >= base && position - base < capacity;
    }
    const char* At(uint64_t position) const {
      return region->data() + kSegmentHeaderBytes + (position - base);
    }
    uint64_t Room(uint64_t position) const {
      return base + capacity - position;
    }
  };
  struct Found {
    RecordHeader header{};
    const char* record = nullptr;  // As long as the header says.
  };

  std::string_view CheckHeader();
  std::string_view CheckLocks() const;
  std::string_view CheckSegments();
  std::string_view CheckSegment(uint32_t ordinal);
  std::string_view CheckTail();
  std::string_view CheckClaim(const LogFile& current, uint64_t last_sequence);
  std::string_view CheckCommitted(const LogFile& current) const;
  std::string_view CheckDurable();
  std::string_view CheckTables();
  std::string_view CheckBindings();
  std::string_view CheckIndex() const;
  std::string_view CheckCatalog();
  std::string_view CheckEntry(const CatalogEntry& entry);
  bool MayHaveRecord(uint64_t position) const;
  std::string_view CheckRecord(const CatalogEntry& entry);
  std::string_view CheckQueue(const CatalogEntry& entry);
  std::string_view CheckPartition(const PartitionState& partition,
                                  uint32_t queue_partition);
  std::string_view CheckGroup(const CatalogEntry& entry);
  std::string_view CheckCursor(const Cursor& cursor,
                               const PartitionState* partition);
  template <typename Block>
  bool CheckTable(const ControlHeader::Table& table);
  template <typename Visit>
  std::string_view ForEachEntry(const Visit& visit);

  static bool IsZero(std::string_view bytes);
  static bool IsPlace(uint64_t position);
  // Takes the pages of [offset, offset + bytes) for one thing. Returns: whether
  // they are there, and nobody's.
  bool Take(uint64_t offset, uint64_t bytes);
  bool IsFuture(const LockWord& lock) const;
  const SegmentEntry& EntryOf(uint32_t ordinal) const {
    return control_.segments()[ordinal % header_.options.max_segments];
  }
  // Returns: the segment; nullptr where its file cannot be mapped.
  const LogFile* Open(uint32_t ordinal);
  void Note(const absl::Status& failure);
  // Returns: a record that is whole; nothing where none is.
  std::optional<Found> Read(uint64_t position);
  std::optional<Found> ReadIn(const LogFile& file, uint64_t position) const;
  // Returns: the record in front of `end`; nothing where none is.
  std::optional<Found> ReadLast(const LogFile& file, uint64_t end) const;
  bool InFlight() const { return header_.append.intent_end.Load() != 0; }

  Storage& storage_;
  Control& control_;
  ControlHeader& header_;
  const StoreFile& store_;
  absl::Status failure_{};
  // Of ctl, those that are something's.
  std::vector<bool> taken_{};
  std::map<uint32_t, LogFile> open_{};
  // Where the log ends, an append that is under way included.
  uint64_t end_ = 0;
  // Queues by id, those that have their state.
  std::map<uint32_t, QueueState*> queues_{};
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CONTROL_CHECK_H_
