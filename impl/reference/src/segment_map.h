// SPDX-License-Identifier: Apache-2.0
//
// The segments of the log, as this process has them mapped.

#ifndef OPENMESSAGING_REFERENCE_SEGMENT_MAP_H_
#define OPENMESSAGING_REFERENCE_SEGMENT_MAP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control.h"
#include "env/environment.h"
#include "format.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::reference {

// One mapped segment. Writers and readers have mappings of their own, so that a
// stray store of the application into a received body faults instead of
// changing the log.
//
// Threads: constant after construction, but for the bytes themselves.
// Lifetime: shared; a received message keeps its segment mapped, even after the
// file was unlinked.
class Segment {
 public:
  // Maps the segment that `entry` describes.
  // Errors: 1404 the file is gone (retired), 1501.
  static absl::StatusOr<std::shared_ptr<Segment>> Open(Storage& storage,
                                                       uint64_t base,
                                                       uint64_t capacity,
                                                       uint32_t epoch,
                                                       uint64_t salt);

  uint64_t base() const { return base_; }
  uint64_t end() const { return base_ + capacity_; }
  uint64_t salt() const { return salt_; }
  uint32_t epoch() const { return epoch_; }
  bool Contains(uint64_t position) const {
    return position >= base_ && position - base_ < capacity_;
  }

  const char* Read(uint64_t position) const {
    return read_->data() + kSegmentHeaderBytes + (position - base_);
  }
  char* Write(uint64_t position) const {
    return write_->data() + kSegmentHeaderBytes + (position - base_);
  }
  SegmentHeader* header() const {
    return reinterpret_cast<SegmentHeader*>(write_->data());
  }
  absl::Status Sync() const { return file_->Sync(); }
  // Brings the writers' pages of [begin, end) in.
  void Touch(uint64_t begin, uint64_t end, bool for_write) const {
    write_->Touch(kSegmentHeaderBytes + (begin - base_),
                  kSegmentHeaderBytes + (end - base_), for_write);
  }

 private:
  Segment(uint64_t base, uint64_t capacity, uint32_t epoch, uint64_t salt)
      : base_(base), capacity_(capacity), salt_(salt), epoch_(epoch) {}

  const uint64_t base_;
  const uint64_t capacity_;
  const uint64_t salt_;
  const uint32_t epoch_;
  std::unique_ptr<File> file_;
  std::unique_ptr<Region> read_;
  std::unique_ptr<Region> write_;
};

// Finds segments by position, mapping them when they are first asked for.
//
// Threads: every method may be called from any thread at any time. None is
// called with a slot lock held unless a repair needs it: mapping is slow.
class SegmentMap {
 public:
  SegmentMap(Storage* storage, ControlHeader* header, SegmentEntry* table)
      : storage_(storage), header_(header), table_(table) {}

  SegmentEntry& entry(uint32_t ordinal) {
    return table_[ordinal % header_->options.max_segments];
  }

  // Told when a segment is mapped although others could be retired. Set before
  // this is shared.
  void set_on_roll(std::function<void()> call) { on_roll_ = std::move(call); }

  // Errors: 1404 no segment has it: retired, or never written; 1501.
  absl::StatusOr<std::shared_ptr<Segment>> Find(uint64_t position);
  absl::StatusOr<std::shared_ptr<Segment>> ByOrdinal(uint32_t ordinal);

  // Returns: the segment if this process has it mapped, else nothing. Makes no
  // system call.
  std::shared_ptr<Segment> IfMapped(uint32_t ordinal);

  // Returns: the entry of the segment that has `position`; nullptr: none has.
  SegmentEntry* EntryOf(uint64_t position);
  // Whether records of a segment that is in the table name files of big/.
  bool NamesBodies(const Segment& segment);

  // Lets go of mappings below `position`; messages keep theirs.
  void Forget(uint64_t position);

 private:
  Storage* const storage_;
  ControlHeader* const header_;
  SegmentEntry* const table_;
  std::function<void()> on_roll_;

  internal::Mutex mutex_;
  // By base.
  std::map<uint64_t, std::shared_ptr<Segment>> mapped_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SEGMENT_MAP_H_
