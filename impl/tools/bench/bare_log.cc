// SPDX-License-Identifier: Apache-2.0

#include "bare_log.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

absl::Status DiskError(std::string_view operation) {
  return MakeStatus(Code::kStorageError, operation,
                    " \"yardstick\": ", std::string_view(std::strerror(errno)),
                    "; expected a file that can be written and flushed");
}

absl::Status WriteAll(int fd, std::string_view bytes, size_t offset) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return DiskError("write");
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status Flush(int fd) {
  while (::fdatasync(fd) != 0) {
    if (errno != EINTR) return DiskError("flush");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BareLog::WriteAndFlush(std::string_view bytes,
                                    size_t offset) const {
  if (auto status = WriteAll(fd_, bytes, offset); !status.ok()) return status;
  return Flush(fd_);
}

absl::Status BareLog::Append(std::string_view record) {
  const internal::MutexLock lock(mutex_);
  gathered_.append(record);
  const uint64_t mine = ++appended_;
  while (durable_ < mine && failure_.ok()) {
    if (flushing_) {
      flushed_.Wait(mutex_);
      continue;
    }
    flushing_ = true;
    flushed_bytes_.swap(gathered_);
    gathered_.clear();
    const uint64_t last = appended_;
    if (offset_ + flushed_bytes_.size() > file_bytes_) offset_ = 0;
    mutex_.Unlock();
    absl::Status status = WriteAndFlush(flushed_bytes_, offset_);
    offset_ += flushed_bytes_.size();
    mutex_.Lock();
    flushing_ = false;
    durable_ = last;
    failure_ = std::move(status);
    flushed_.NotifyAll();
  }
  return failure_;
}

absl::Status FillWithZeros(int fd, size_t bytes) {
  // Page by page: the page cache would keep what a larger write brings in one
  // piece, and each flush write all of it.
  const std::string zeros(4096, '\0');
  for (size_t offset = 0; offset < bytes; offset += zeros.size()) {
    const size_t count = std::min(zeros.size(), bytes - offset);
    if (auto status = WriteAll(fd, {zeros.data(), count}, offset);
        !status.ok()) {
      return status;
    }
  }
  return Flush(fd);
}

}  // namespace openmessaging::tools
