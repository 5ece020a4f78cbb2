// SPDX-License-Identifier: Apache-2.0
//
// A directory whose flushes a test can hold and fail, and whose disk has as
// little room as the test says.

#ifndef OPENMESSAGING_REFERENCE_TESTS_FAULTY_STORAGE_H_
#define OPENMESSAGING_REFERENCE_TESTS_FAULTY_STORAGE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "env/environment.h"
#include "env/storage.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::testing {

// It flushes nothing, which only a power loss could tell.
//
// Threads: every method may be called from any thread at any time, but the
// hooks are set before anybody else has this.
class FaultyStorage final : public Storage {
 public:
  explicit FaultyStorage(const std::string& path) : faults_(new Faults()) {
    auto base = OpenDirectory(path, DirectoryOptions{});
    REQUIRE(base.ok());
    base_ = *std::move(base);
    // What is there takes room as well.
    for (const char* const below : {"", "log", "big"}) {
      const auto names = base_->List(below);
      if (!names.ok()) continue;
      for (const std::string& file : *names) {
        const std::string name =
            *below == 0 ? file : std::string(below) + "/" + file;
        const auto opened = base_->Open(name, Access::kRead);
        if (opened.ok()) faults_->Grow(name, (*opened)->Size().value());
      }
    }
  }

  // Called before a file is flushed, with its name; an error is the flush's.
  void set_before_sync(std::function<absl::Status(std::string_view)> hook) {
    faults_->before_sync = std::move(hook);
  }
  // As above, of a directory.
  void set_before_sync_directory(
      std::function<absl::Status(std::string_view)> hook) {
    before_sync_directory_ = std::move(hook);
  }
  // Called when a file is made.
  void set_before_create(std::function<void(std::string_view)> hook) {
    before_create_ = std::move(hook);
  }

  // The disk has so many bytes from now on.
  void set_room(uint64_t bytes) {
    const internal::MutexLock lock(faults_->mutex);
    faults_->room = bytes;
  }
  uint64_t used() const {
    const internal::MutexLock lock(faults_->mutex);
    return faults_->Used();
  }
  bool Has(const std::string& name) const {
    return base_->Open(name, Access::kRead).ok();
  }

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return base_->MaxBytes(); }
  std::string Describe() const override { return base_->Describe(); }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access access) override {
    return Wrap(base_->Open(name, access), name);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override {
    if (before_create_) before_create_(name);
    Forget(name);
    return Wrap(base_->Create(name), name);
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    if (before_create_) before_create_(name);
    return Wrap(base_->CreateNew(name), name);
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override {
    return base_->OpenLocks(name);
  }
  absl::Status MakeDirectory(std::string_view name) override {
    return base_->MakeDirectory(name);
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    {
      const internal::MutexLock lock(faults_->mutex);
      auto node = faults_->sizes.extract(std::string(from));
      if (!node.empty()) {
        node.key() = std::string(to);
        faults_->sizes.insert(std::move(node));
      }
    }
    return base_->Rename(from, to);
  }
  absl::Status Remove(std::string_view name) override {
    Forget(name);
    return base_->Remove(name);
  }
  absl::Status SyncDirectory(std::string_view name) override {
    return before_sync_directory_ ? before_sync_directory_(name)
                                  : absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    return base_->List(directory);
  }

 private:
  struct Faults {
    std::function<absl::Status(std::string_view)> before_sync{};
    mutable internal::Mutex mutex;
    uint64_t room ABSL_GUARDED_BY(mutex) = UINT64_MAX;
    std::map<std::string, uint64_t> sizes ABSL_GUARDED_BY(mutex);

    uint64_t Used() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      uint64_t bytes = 0;
      for (const auto& [name, size] : sizes) bytes += size;
      return bytes;
    }
    // Returns: whether the file may be `size` bytes long.
    bool Grow(const std::string& name, uint64_t size) {
      const internal::MutexLock lock(mutex);
      uint64_t& now = sizes[name];
      const uint64_t more = size > now ? size - now : 0;
      if (Used() + more > room) return false;
      now += more;
      return true;
    }
  };

  class FaultyFile final : public File {
   public:
    FaultyFile(std::unique_ptr<File> base, std::string_view name,
               std::shared_ptr<Faults> faults)
        : base_(std::move(base)), name_(name), faults_(std::move(faults)) {}

    absl::StatusOr<uint64_t> Size() const override { return base_->Size(); }
    absl::StatusOr<FileIdentity> Identity() const override {
      return base_->Identity();
    }
    absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                                size_t size) override {
      return base_->Map(access, size);
    }
    absl::Status Grow(uint64_t size) override {
      if (!faults_->Grow(name_, size)) {
        return MakeStatus(Code::kStorageBusy, "grow \"", std::string_view(name_),
                          "\": No space left on device");
      }
      return base_->Grow(size);
    }
    absl::StatusOr<std::string> ReadAll(size_t limit) const override {
      return base_->ReadAll(limit);
    }
    absl::Status WriteAll(std::string_view bytes) override {
      if (!faults_->Grow(name_, bytes.size())) {
        return MakeStatus(Code::kStorageBusy, "write \"",
                          std::string_view(name_),
                          "\": No space left on device");
      }
      return base_->WriteAll(bytes);
    }
    absl::Status Sync() override {
      return faults_->before_sync ? faults_->before_sync(name_)
                                  : absl::OkStatus();
    }

   private:
    const std::unique_ptr<File> base_;
    const std::string name_;
    const std::shared_ptr<Faults> faults_;
  };

  absl::StatusOr<std::unique_ptr<File>> Wrap(
      absl::StatusOr<std::unique_ptr<File>> file, std::string_view name) {
    if (!file.ok()) return file.status();
    return std::make_unique<FaultyFile>(*std::move(file), name, faults_);
  }
  void Forget(std::string_view name) {
    const internal::MutexLock lock(faults_->mutex);
    faults_->sizes.erase(std::string(name));
  }

  std::unique_ptr<Storage> base_;
  std::function<absl::Status(std::string_view)> before_sync_directory_;
  std::function<void(std::string_view)> before_create_;
  const std::shared_ptr<Faults> faults_;
};

// A door that flushes go through.
//
// Threads: every method may be called from any thread at any time.
class FlushDoor {
 public:
  // Holds whoever flushes from now on.
  void Shut() {
    const internal::MutexLock lock(mutex_);
    shut_ = true;
  }
  void Open() {
    const internal::MutexLock lock(mutex_);
    shut_ = false;
    changed_.NotifyAll();
  }
  // Every flush from now on fails.
  void Break() {
    const internal::MutexLock lock(mutex_);
    broken_ = true;
  }
  // Returns once somebody is held.
  void AwaitHeld() {
    const internal::MutexLock lock(mutex_);
    while (held_ == 0) changed_.Wait(mutex_);
  }
  absl::Status Pass() {
    const internal::MutexLock lock(mutex_);
    ++held_;
    changed_.NotifyAll();
    while (shut_) changed_.Wait(mutex_);
    --held_;
    if (!broken_) return absl::OkStatus();
    return MakeStatus(Code::kStorageError, "flush: Input/output error");
  }

 private:
  internal::Mutex mutex_;
  internal::Condition changed_;
  bool shut_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace openmessaging::reference::testing
#endif  // OPENMESSAGING_REFERENCE_TESTS_FAULTY_STORAGE_H_
