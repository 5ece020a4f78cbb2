// SPDX-License-Identifier: Apache-2.0
//
// ControlFile is ctl as this process has it mapped, and idx beside it.

#ifndef OPENMESSAGING_REFERENCE_CONTROL_FILE_H_
#define OPENMESSAGING_REFERENCE_CONTROL_FILE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control.h"
#include "env/environment.h"

namespace openmessaging::reference {

// A file that grows while it is mapped: address space is reserved once, so
// that pointers into it stay good.
//
// Threads: Grow under a lock of the caller's; the rest from any thread.
class GrowingFile {
 public:
  // Maps a file with room to grow; a new one begins with `first_bytes` zeros.
  static absl::StatusOr<std::unique_ptr<GrowingFile>> Create(
      Storage& storage, const char* name, uint64_t first_bytes);
  static absl::StatusOr<std::unique_ptr<GrowingFile>> Open(Storage& storage,
                                                           const char* name);

  char* data() const { return region_->data(); }
  uint64_t limit() const { return region_->size(); }
  // Errors: 1502 the disk is full, or the reserved addresses are.
  absl::Status Grow(uint64_t bytes);
  File& file() const { return *file_; }

 private:
  GrowingFile(std::unique_ptr<File> file, std::unique_ptr<Region> region)
      : file_(std::move(file)), region_(std::move(region)) {}
  static absl::StatusOr<std::unique_ptr<GrowingFile>> Map(
      std::unique_ptr<File> file);

  const std::unique_ptr<File> file_;
  const std::unique_ptr<Region> region_;
};

// Typed access to ctl and idx.
class Control {
 public:
  Control(std::unique_ptr<GrowingFile> ctl, std::unique_ptr<GrowingFile> idx)
      : ctl_(std::move(ctl)), idx_(std::move(idx)) {}

  ControlHeader& header() const { return At<ControlHeader>(ctl_->data(), 0); }
  Slot* slots() const { return &At<Slot>(ctl_->data(), header().slots); }
  Bell& bell(uint32_t index) const {
    return (&At<Bell>(ctl_->data(), header().bells))[index];
  }
  SegmentEntry* segments() const {
    return &At<SegmentEntry>(ctl_->data(), header().segments);
  }
  template <typename T>
  T* Get(uint64_t offset) const {
    return &At<T>(ctl_->data(), offset);
  }

  // Takes zeroed bytes of ctl, page-aligned, growing the file. Call it under
  // the catalog lock. Errors: 1502.
  absl::StatusOr<uint64_t> Allocate(uint64_t bytes);

  IndexExtent& extent(uint32_t number) const {
    return At<IndexExtent>(idx_->data(), uint64_t{number} * kPage);
  }
  // Gives idx room for `extents` in all. Call it under the prepare lock.
  absl::Status GrowIndex(uint64_t extents);

  GrowingFile& ctl() const { return *ctl_; }
  GrowingFile& idx() const { return *idx_; }

 private:
  const std::unique_ptr<GrowingFile> ctl_;
  const std::unique_ptr<GrowingFile> idx_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CONTROL_FILE_H_
