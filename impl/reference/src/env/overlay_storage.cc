// SPDX-License-Identifier: Apache-2.0

#include "env/overlay_storage.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "env/storage.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using internal::Mutex;
using internal::MutexLock;

// A file below. A mapping to write is private, and so needs no flush.
class LowerFile final : public File {
 public:
  explicit LowerFile(std::unique_ptr<File> file) : file_(std::move(file)) {}

  absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }
  absl::StatusOr<FileIdentity> Identity() const override {
    return file_->Identity();
  }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                              size_t size) override {
    return file_->Map(access == Access::kWrite ? Access::kPrivate : access,
                      size);
  }
  absl::Status Grow(uint64_t size) override {
    const auto have = file_->Size();
    if (!have.ok()) return have.status();
    return size <= *have ? absl::OkStatus() : Refusal("grow");
  }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    return file_->ReadAll(limit);
  }
  absl::Status WriteAll(std::string_view /*bytes*/) override {
    return Refusal("write");
  }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  static absl::Status Refusal(std::string_view operation) {
    return MakeStatus(Code::kForbidden, operation,
                      " a file of a store that is only looked at");
  }

  const std::unique_ptr<File> file_;
};

class OverlayStorage final : public Storage {
 public:
  explicit OverlayStorage(std::shared_ptr<Storage> below)
      : below_(std::move(below)),
        // No other storage of this process has that name.
        own_(OpenMemory(internal::Concat(
            "overlay of ", std::string_view(below_->Describe()), " #",
            reinterpret_cast<uintptr_t>(this)))),
        hidden_{"ctl", "idx"} {}

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return 0; }
  std::string Describe() const override { return below_->Describe(); }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access access) override {
    auto own = own_->Open(name, access);
    if (own.ok() || IsHidden(name)) return own;
    auto file = below_->Open(name, Access::kRead);
    if (!file.ok()) return file.status();
    return std::make_unique<LowerFile>(*std::move(file));
  }
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override {
    return own_->Create(name);
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    return own_->CreateNew(name);
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override {
    return own_->OpenLocks(name);
  }
  absl::Status MakeDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    if (own_->Open(from, Access::kRead).ok()) return own_->Rename(from, to);
    // Where a file below would go to is nobody's business.
    return Remove(from);
  }
  absl::Status Remove(std::string_view name) override {
    const MutexLock lock(mutex_);
    hidden_.insert(std::string(name));
    return own_->Remove(name);
  }
  absl::Status SyncDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    auto names = below_->List(directory);
    if (!names.ok()) return names.status();
    const std::string folder =
        directory.empty() ? "" : std::string(directory) + "/";
    std::erase_if(*names, [&](const std::string& name) {
      return IsHidden(folder + name);
    });
    const auto own = own_->List(directory);
    if (!own.ok()) return own.status();
    for (const std::string& name : *own) {
      if (std::find(names->begin(), names->end(), name) == names->end()) {
        names->push_back(name);
      }
    }
    return names;
  }

 private:
  bool IsHidden(std::string_view name) const {
    const MutexLock lock(mutex_);
    return hidden_.find(name) != hidden_.end();
  }

  const std::shared_ptr<Storage> below_;
  const std::shared_ptr<Storage> own_;
  mutable Mutex mutex_;
  std::set<std::string, std::less<>> hidden_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<Storage> OpenOverlay(std::shared_ptr<Storage> below) {
  return std::make_shared<OverlayStorage>(std::move(below));
}

}  // namespace openmessaging::reference
