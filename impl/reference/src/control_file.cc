// SPDX-License-Identifier: Apache-2.0

#include "control_file.h"

#include <utility>

#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

// Address space, not memory. Where it is short, less is asked for.
constexpr uint64_t kReserve = uint64_t{16} << 30;
constexpr uint64_t kLeastReservedBytes = uint64_t{64} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<GrowingFile>> GrowingFile::Map(
    std::unique_ptr<File> file) {
  for (uint64_t size = kReserve;; size /= 2) {
    auto region = file->Map(Access::kWrite, size);
    if (region.ok()) {
      return std::unique_ptr<GrowingFile>(
          new GrowingFile(std::move(file), std::move(*region)));
    }
    if (size <= kLeastReservedBytes) return region.status();
  }
}

absl::StatusOr<std::unique_ptr<GrowingFile>> GrowingFile::Create(
    Storage& storage, const char* name, uint64_t first_bytes) {
  auto file = storage.Create(name);
  if (!file.ok()) return file.status();
  if (auto status = (*file)->Grow(first_bytes); !status.ok()) return status;
  return Map(std::move(*file));
}

absl::StatusOr<std::unique_ptr<GrowingFile>> GrowingFile::Open(
    Storage& storage, const char* name) {
  auto file = storage.Open(name, Access::kWrite);
  if (!file.ok()) return file.status();
  return Map(std::move(*file));
}

absl::Status GrowingFile::Grow(uint64_t bytes) {
  if (bytes > limit()) {
    return MakeStatus(Code::kStorageBusy, "grow a mapped file to ", bytes,
                      " bytes: only ", limit(), " bytes of addresses are "
                      "reserved for it");
  }
  return file_->Grow(bytes);
}

absl::StatusOr<uint64_t> Control::Allocate(uint64_t bytes) {
  ControlHeader& control = header();
  const uint64_t begin = control.bump.Load();
  const uint64_t end = begin + AlignUp(bytes, kPage);
  if (end > control.size.Load()) {
    // An eighth more, so that many small queues do not grow it one by one.
    const uint64_t size = AlignUp(end + end / 8, kPage);
    if (auto status = ctl_->Grow(size); !status.ok()) return status;
    control.size.Store(size);
  }
  control.bump.Store(end);
  return begin;
}

absl::Status Control::GrowIndex(uint64_t extents) {
  Shared<uint64_t>& room = header().catalog.index_extents;
  if (extents <= room.Load()) return absl::OkStatus();
  if (auto status = idx_->Grow(extents * kPage); !status.ok()) return status;
  room.Store(extents);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
