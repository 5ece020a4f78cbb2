// SPDX-License-Identifier: Apache-2.0
//
// Storage in this process: files are anonymous mappings, locks are a table. The
// engine on it is the same one, every access point a "process" of its own.

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "env/pages.h"
#include "env/storage.h"
#include "env/table_locks.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using internal::Mutex;
using internal::MutexLock;

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

// Address space of one file; memory is taken as it is touched.
class Bytes {
 public:
  ~Bytes() {
    if (data_ != nullptr) munmap(data_, reserved_);
  }

  // Reserves on first use; later callers get the same addresses.
  char* Reserve(size_t size) {
    const MutexLock lock(mutex_);
    if (data_ == nullptr) {
      size = std::max<size_t>(size, size_);
      void* const data =
          mmap(nullptr, size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (data == MAP_FAILED) return nullptr;
      // All of it will be used: fewer and larger faults. What only reserves
      // room to grow would take memory that it never needs.
      if (size == size_) madvise(data, size, MADV_HUGEPAGE);
      data_ = static_cast<char*>(data);
      reserved_ = size;
    }
    return size <= reserved_ ? data_ : nullptr;
  }
  uint64_t size() const {
    const MutexLock lock(mutex_);
    return size_;
  }
  void set_size(uint64_t size) {
    const MutexLock lock(mutex_);
    size_ = std::max(size_, size);
  }

 private:
  mutable Mutex mutex_;
  char* data_ ABSL_GUARDED_BY(mutex_) = nullptr;
  size_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
};

class MemoryRegion final : public Region {
 public:
  MemoryRegion(std::shared_ptr<Bytes> bytes, char* data, size_t size)
      : Region(data, size), bytes_(std::move(bytes)) {}
  // Read from, it would be a page of zeros that the first store replaces.
  void Touch(size_t begin, size_t end, bool for_write) override {
    if (for_write) TouchPages(data(), begin, end, true);
  }

 private:
  const std::shared_ptr<Bytes> bytes_;
};

class MemoryFile final : public File {
 public:
  explicit MemoryFile(std::shared_ptr<Bytes> bytes)
      : bytes_(std::move(bytes)) {}

  absl::StatusOr<uint64_t> Size() const override { return bytes_->size(); }
  absl::StatusOr<FileIdentity> Identity() const override {
    return FileIdentity{0, reinterpret_cast<uint64_t>(bytes_.get())};
  }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access /*access*/,
                                              size_t size) override {
    char* const data = bytes_->Reserve(size);
    if (data == nullptr) {
      return MakeStatus(Code::kStorageBusy,
                        "map memory: no address space for ", size, " bytes");
    }
    return std::make_unique<MemoryRegion>(bytes_, data, size);
  }
  absl::Status Grow(uint64_t size) override {
    bytes_->set_size(size);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    const size_t size = std::min<uint64_t>(bytes_->size(), limit);
    if (size == 0) return std::string();
    return std::string(bytes_->Reserve(size), size);
  }
  absl::Status WriteAll(std::string_view bytes) override {
    char* const data = bytes_->Reserve(bytes.size());
    if (data == nullptr) {
      return MakeStatus(Code::kStorageBusy, "write memory: it is smaller than ",
                        bytes.size(), " bytes");
    }
    std::memcpy(data, bytes.data(), bytes.size());
    bytes_->set_size(bytes.size());
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<Bytes> bytes_;
};

class MemoryStorage final : public Storage {
 public:
  explicit MemoryStorage(std::string name) : name_(std::move(name)) {}

  bool IsVolatile() const override { return true; }
  uint64_t MaxBytes() const override { return kMaxBytes; }
  std::string Describe() const override { return "memory://" + name_; }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access /*access*/) override {
    const MutexLock lock(mutex_);
    const auto found = files_.find(name);
    if (found == files_.end()) {
      return MakeStatus(Code::kQueueNotFound, "open \"", name,
                        "\": no such file in memory");
    }
    return std::make_unique<MemoryFile>(found->second);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(
      std::string_view name) override {
    const MutexLock lock(mutex_);
    auto bytes = std::make_shared<Bytes>();
    files_.insert_or_assign(std::string(name), bytes);
    return std::make_unique<MemoryFile>(std::move(bytes));
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    const MutexLock lock(mutex_);
    const auto [made, fresh] = files_.try_emplace(std::string(name), nullptr);
    if (!fresh) {
      return MakeStatus(Code::kQueueExists, "open \"", name,
                        "\": the name is taken");
    }
    made->second = std::make_shared<Bytes>();
    return std::make_unique<MemoryFile>(made->second);
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view /*name*/) override {
    return std::make_unique<TableLocks>(locks_);
  }
  absl::Status MakeDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    const MutexLock lock(mutex_);
    auto node = files_.extract(std::string(from));
    if (node.empty()) {
      return MakeStatus(Code::kQueueNotFound, "rename \"", from,
                        "\": no such file in memory");
    }
    files_.erase(std::string(to));
    node.key() = std::string(to);
    files_.insert(std::move(node));
    return absl::OkStatus();
  }
  absl::Status Remove(std::string_view name) override {
    const MutexLock lock(mutex_);
    files_.erase(std::string(name));
    return absl::OkStatus();
  }
  absl::Status SyncDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    const MutexLock lock(mutex_);
    const std::string prefix =
        directory.empty() ? "" : std::string(directory) + "/";
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) {
      if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    }
    return names;
  }

 private:
  const std::string name_;
  const std::shared_ptr<LockTable> locks_ = std::make_shared<LockTable>();
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<Bytes>, std::less<>> files_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<Storage> OpenMemory(const std::string& name) {
  static auto* const mutex = new Mutex();
  static auto* const stores =
      new std::map<std::string, std::weak_ptr<Storage>>();
  const MutexLock lock(*mutex);
  std::weak_ptr<Storage>& entry = (*stores)[name];
  std::shared_ptr<Storage> storage = entry.lock();
  if (storage == nullptr) {
    storage = std::make_shared<MemoryStorage>(name);
    entry = storage;
  }
  return storage;
}

}  // namespace openmessaging::reference
