// SPDX-License-Identifier: Apache-2.0

#include "damage/image.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "env/table_locks.h"
#include "format.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::damage {
namespace {

namespace fs = std::filesystem;
using internal::Mutex;
using internal::MutexLock;

constexpr uint64_t kDiskBytes = uint64_t{1} << 30;

// The bytes of one file. They are those of the image until somebody maps or
// writes them.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(Content content)
      : content_(std::move(content)), size_(content_->size()) {}
  ~Bytes() {
    if (data_ != nullptr) munmap(data_, reserved_);
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  uint64_t size() const {
    const MutexLock lock(mutex_);
    return size_;
  }
  void Grow(uint64_t size) {
    const MutexLock lock(mutex_);
    size_ = std::max(size_, size);
    if (data_ != nullptr) Open();
  }
  // Returns: the addresses of the file, the same for everybody; nullptr where
  // more are asked for than the first one got.
  char* Map(size_t size) {
    const MutexLock lock(mutex_);
    if (data_ == nullptr) {
      // One page more than anybody may touch.
      const size_t wanted =
          AlignUp(std::max<size_t>({size, size_, 1}), kPageBytes) + kPageBytes;
      void* const data =
          mmap(nullptr, wanted, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (data == MAP_FAILED) return nullptr;
      data_ = static_cast<char*>(data);
      reserved_ = wanted;
      Open();
      if (content_ != nullptr) {
        std::memcpy(data_, content_->data(), content_->size());
      }
      content_.reset();
    }
    return size + kPageBytes <= reserved_ ? data_ : nullptr;
  }
  std::string Read(size_t limit) const {
    const MutexLock lock(mutex_);
    const size_t size = std::min<uint64_t>(size_, limit);
    if (data_ != nullptr) return std::string(data_, size);
    std::string bytes =
        content_ != nullptr ? content_->substr(0, size) : std::string();
    bytes.resize(size);
    return bytes;
  }
  bool Write(std::string_view bytes) {
    const MutexLock lock(mutex_);
    if (data_ != nullptr && bytes.size() + kPageBytes > reserved_) return false;
    size_ = std::max<uint64_t>(size_, bytes.size());
    if (data_ != nullptr) {
      Open();
      std::memcpy(data_, bytes.data(), bytes.size());
      return true;
    }
    std::string all = content_ != nullptr ? *content_ : std::string();
    all.replace(0, bytes.size(), bytes);
    content_ = std::make_shared<const std::string>(std::move(all));
    return true;
  }

 private:
  static constexpr size_t kPageBytes = 4096;

  // Lets the bytes of the file be used, and none behind them: whoever goes there
  // ends as on a file of the machine.
  void Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const size_t open = std::min<size_t>(AlignUp(size_, kPageBytes),
                                         reserved_ - kPageBytes);
    if (open == 0) return;
    REQUIRE(mprotect(data_, open, PROT_READ | PROT_WRITE) == 0);
  }

  mutable Mutex mutex_;
  Content content_ ABSL_GUARDED_BY(mutex_);
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
  char* data_ ABSL_GUARDED_BY(mutex_) = nullptr;
  size_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct Entry {
  std::shared_ptr<Bytes> bytes{};
  FileIdentity identity{};
};

class ImageRegion final : public Region {
 public:
  ImageRegion(std::shared_ptr<Bytes> bytes, char* data, size_t size)
      : Region(data, size), bytes_(std::move(bytes)) {}

 private:
  const std::shared_ptr<Bytes> bytes_;
};

class ImageFile final : public File {
 public:
  explicit ImageFile(Entry entry) : entry_(std::move(entry)) {}

  absl::StatusOr<uint64_t> Size() const override {
    return entry_.bytes->size();
  }
  absl::StatusOr<FileIdentity> Identity() const override {
    return entry_.identity;
  }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access /*access*/,
                                              size_t size) override {
    char* const data = entry_.bytes->Map(size);
    if (data == nullptr) {
      return MakeStatus(Code::kStorageBusy, "map: no addresses for ", size,
                        " bytes");
    }
    return std::make_unique<ImageRegion>(entry_.bytes, data, size);
  }
  absl::Status Grow(uint64_t size) override {
    if (size > kDiskBytes) {
      return MakeStatus(Code::kStorageBusy, "grow to ", size,
                        " bytes: no disk is that large");
    }
    entry_.bytes->Grow(size);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    return entry_.bytes->Read(limit);
  }
  absl::Status WriteAll(std::string_view bytes) override {
    if (entry_.bytes->Write(bytes)) return absl::OkStatus();
    return MakeStatus(Code::kStorageBusy, "write: no addresses");
  }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  const Entry entry_;
};

class ImageStorage final : public Storage {
 public:
  ImageStorage(const Image& image, bool same_place) {
    for (const auto& [name, content] : image.files) {
      Entry entry{std::make_shared<Bytes>(content), NewIdentity()};
      const auto known = image.identities.find(name);
      if (same_place && known != image.identities.end()) {
        entry.identity = known->second;
      }
      files_.emplace(name, std::move(entry));
    }
  }

  Image Snapshot() const {
    const MutexLock lock(mutex_);
    Image image;
    for (const auto& [name, entry] : files_) {
      image.Set(name, entry.bytes->Read(SIZE_MAX));
      image.identities[name] = entry.identity;
    }
    return image;
  }

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return kDiskBytes; }
  std::string Describe() const override { return "image"; }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access /*access*/) override {
    const MutexLock lock(mutex_);
    const auto found = files_.find(name);
    if (found == files_.end()) return Missing("open", name);
    return std::make_unique<ImageFile>(found->second);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override {
    const MutexLock lock(mutex_);
    Entry entry{std::make_shared<Bytes>(), NewIdentity()};
    files_.insert_or_assign(std::string(name), entry);
    return std::make_unique<ImageFile>(std::move(entry));
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    {
      const MutexLock lock(mutex_);
      if (files_.find(name) != files_.end()) {
        return MakeStatus(Code::kQueueExists, "open \"", name,
                          "\": the name is taken");
      }
    }
    return Create(name);
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override {
    // As a directory does.
    const auto file = Open(name, Access::kRead);
    if (!file.ok() && !Create(name).ok()) return file.status();
    return std::make_unique<TableLocks>(locks_);
  }
  absl::Status MakeDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    const MutexLock lock(mutex_);
    auto node = files_.extract(std::string(from));
    if (node.empty()) return Missing("rename", from);
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
    std::set<std::string> names;
    const std::string prefix =
        directory.empty() ? "" : std::string(directory) + "/";
    for (const auto& [name, entry] : files_) {
      if (!name.starts_with(prefix)) continue;
      const std::string rest = name.substr(prefix.size());
      names.insert(rest.substr(0, rest.find('/')));
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

 private:
  static absl::Status Missing(std::string_view operation,
                              std::string_view name) {
    return MakeStatus(Code::kQueueNotFound, operation, " \"", name,
                      "\": no such file in the image");
  }
  FileIdentity NewIdentity() { return {0xda3a6e, next_inode_++}; }

  const std::shared_ptr<LockTable> locks_ = std::make_shared<LockTable>();
  mutable Mutex mutex_;
  uint64_t next_inode_ = 1;
  std::map<std::string, Entry, std::less<>> files_ ABSL_GUARDED_BY(mutex_);
};

std::string ReadBytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

Image ReadImage(const std::string& directory) {
  Image image;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    const std::string name =
        fs::relative(entry.path(), directory).generic_string();
    image.Set(name, ReadBytes(entry.path()));
    struct stat status {};
    REQUIRE(::stat(entry.path().c_str(), &status) == 0);
    image.identities[name] = {static_cast<uint64_t>(status.st_dev),
                              static_cast<uint64_t>(status.st_ino)};
  }
  return image;
}

void WriteImage(const Image& image, const std::string& directory) {
  for (const char* const name : {"log", "big", "ckpt", "quarantine"}) {
    const fs::path path = fs::path(directory) / name;
    fs::create_directory(path);
    fs::permissions(path, fs::perms::owner_all);
  }
  for (const auto& [name, content] : image.files) {
    const fs::path path = fs::path(directory) / name;
    std::ofstream out(path, std::ios::binary);
    out.write(content->data(), static_cast<std::streamsize>(content->size()));
    REQUIRE(out.good());
    out.close();
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  }
}

std::shared_ptr<Storage> OpenImage(const Image& image, bool same_place) {
  return std::make_shared<ImageStorage>(image, same_place);
}

Image ImageOf(const Storage& storage) {
  return static_cast<const ImageStorage&>(storage).Snapshot();
}

}  // namespace openmessaging::reference::damage
