// SPDX-License-Identifier: Apache-2.0

#include "power/disk.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "env/shared.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

thread_local void (*shared_word_hook)(const void* word, size_t bytes,
                                      SharedOperation operation) = nullptr;

namespace power {
namespace {

// Addresses of one file. The engine asks for more where files grow, and uses
// what a file has.
constexpr size_t kAddresses = size_t{16} << 20;

// Addresses are used again: to map and unmap some for each file of each state
// would cost more than the rest of it.
struct Pool {
  std::vector<char*> free{};
  ~Pool() {
    for (char* const data : free) munmap(data, kAddresses);
  }
};
thread_local Pool pool;

char* TakeAddresses() {
  if (!pool.free.empty()) {
    char* const data = pool.free.back();
    pool.free.pop_back();
    return data;
  }
  void* const data = mmap(nullptr, kAddresses, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) std::abort();
  return static_cast<char*>(data);
}

absl::Status Missing(std::string_view name) {
  return MakeStatus(Code::kQueueNotFound, "open \"", name,
                    "\": no such file on the simulated disk");
}
absl::Status Death() {
  return MakeStatus(Code::kStorageError, "use storage: its process is dead");
}

class SharedRegion final : public Region {
 public:
  SharedRegion(std::shared_ptr<Inode> inode, size_t size)
      : Region(inode->data, size), inode_(std::move(inode)) {}

 private:
  const std::shared_ptr<Inode> inode_;
};

thread_local Disk* watching = nullptr;
thread_local std::function<void()> watched_then;

}  // namespace

Inode::Inode(uint32_t n) : data(TakeAddresses()), number(n) {}

Inode::~Inode() {
  std::memset(data, 0, size);
  pool.free.push_back(data);
}

WatchWords::WatchWords(Disk* disk, std::function<void()> then) {
  watching = disk;
  watched_then = std::move(then);
  shared_word_hook = [](const void*, size_t, SharedOperation) {
    watching->Look(false);
    if (watched_then) watched_then();
  };
}
WatchWords::~WatchWords() {
  shared_word_hook = nullptr;
  watching = nullptr;
  watched_then = nullptr;
}

// One open file.
class Disk::OpenFile final : public File {
 public:
  OpenFile(Disk* disk, std::shared_ptr<bool> alive,
           std::shared_ptr<Inode> inode)
      : disk_(disk), alive_(std::move(alive)), inode_(std::move(inode)) {}

  absl::StatusOr<uint64_t> Size() const override { return inode_->size; }
  absl::StatusOr<FileIdentity> Identity() const override {
    return FileIdentity{1, uint64_t{inode_->number} + 1};
  }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                              size_t size) override {
    if (!*alive_) return Death();
    if (access == Access::kWrite && !inode_->mapped) {
      inode_->mapped = true;
      disk_->watched_.push_back(inode_);
    }
    return std::make_unique<SharedRegion>(inode_, size);
  }
  absl::Status Grow(uint64_t size) override {
    if (!*alive_) return Death();
    if (size > kAddresses) {
      return MakeStatus(Code::kStorageBusy, "grow: the simulated disk is full");
    }
    disk_->Look(true);
    if (size > inode_->size) disk_->Resize(*inode_, size);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    if (!*alive_) return Death();
    return std::string(inode_->data, std::min<uint64_t>(limit, inode_->size));
  }
  absl::Status WriteAll(std::string_view bytes) override {
    if (!*alive_) return Death();
    disk_->Look(true);
    if (bytes.size() > inode_->size) disk_->Resize(*inode_, bytes.size());
    std::memcpy(inode_->data, bytes.data(), bytes.size());
    disk_->LookAt(*inode_);
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    if (!*alive_) return Death();
    disk_->Look(true);
    disk_->Flush(*inode_);
    return absl::OkStatus();
  }

 private:
  Disk* const disk_;
  const std::shared_ptr<bool> alive_;
  const std::shared_ptr<Inode> inode_;
};

class Disk::Locks final : public ByteLocks {
 public:
  Locks(Disk* disk, std::shared_ptr<bool> alive)
      : disk_(disk), alive_(std::move(alive)) {}
  // The process may be dead, and the disk gone.
  ~Locks() override {
    if (*alive_) {
      std::erase_if(disk_->locks_,
                    [this](const auto& lock) { return lock.second == this; });
    }
  }

  absl::StatusOr<bool> TryLock(uint64_t byte) override {
    if (!*alive_) return Death();
    return disk_->locks_.try_emplace(byte, this).first->second == this;
  }
  absl::Status Unlock(uint64_t byte) override {
    if (!*alive_) return Death();
    const auto found = disk_->locks_.find(byte);
    if (found != disk_->locks_.end() && found->second == this) {
      disk_->locks_.erase(found);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                     uint64_t count) const override {
    if (!*alive_) return Death();
    for (auto at = disk_->locks_.lower_bound(first);
         at != disk_->locks_.end() && at->first - first < count; ++at) {
      if (at->second != this) return true;
    }
    return false;
  }
  void AbandonAfterFork() override {}
  bool IsOf(const std::shared_ptr<bool>& process) const {
    return alive_ == process;
  }

 private:
  Disk* const disk_;
  const std::shared_ptr<bool> alive_;
};

Disk::Disk(const Image& image, Trace* trace) : trace_(trace) {
  for (const std::string& directory : image.directories) {
    entries_[directory] = nullptr;
  }
  for (const Image::File& from : image.files) {
    auto inode = std::make_shared<Inode>(next_inode_++);
    inode->size = from.size;
    inode->derived = from.name == "ctl" || from.name == "idx";
    std::memcpy(inode->data, from.base.data(),
                std::min<uint64_t>(from.base.size(), from.size));
    for (const Image::Patch& patch : from.patches) {
      const uint64_t at = uint64_t{patch.sector} * kSectorBytes;
      if (at >= from.size) continue;
      const uint64_t bytes = std::min<uint64_t>(kSectorBytes, from.size - at);
      if (patch.bytes != nullptr) {
        std::memcpy(inode->data + at, patch.bytes, bytes);
      } else {
        std::memset(inode->data + at, 0, bytes);
      }
    }
    inode->flushed.assign(inode->data, from.size);
    if (trace_ != nullptr) {
      inode->told = inode->flushed;
      inode->told.resize((from.size + kSectorBytes - 1) / kSectorBytes *
                         kSectorBytes);
    }
    entries_[from.name] = std::move(inode);
  }
  flushed_entries_ = entries_;
}

std::shared_ptr<Disk::Process> Disk::Run() {
  return std::make_shared<Process>(this);
}

void Disk::LookAt(Inode& inode) {
  if (trace_ == nullptr) return;
  const uint64_t end =
      (inode.size + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  if (inode.told.size() < end) inode.told.resize(end);
  for (uint64_t at = 0; at < end; at += kSectorBytes) {
    if (std::memcmp(inode.data + at, inode.told.data() + at, kSectorBytes) ==
        0) {
      continue;
    }
    std::memcpy(inode.told.data() + at, inode.data + at, kSectorBytes);
    const uint64_t hash = HashOf(inode.data + at);
    trace_->Add({Change::kSector,
                 inode.derived,
                 inode.number,
                 static_cast<uint32_t>(at / kSectorBytes),
                 hash,
                 hash == 0 ? nullptr : inode.data + at,
                 {},
                 {}});
  }
}

void Disk::Look(bool all) {
  if (trace_ == nullptr) return;
  std::erase_if(watched_, [](const auto& one) { return one.use_count() == 1; });
  for (const auto& inode : watched_) {
    if (all || !inode->derived) LookAt(*inode);
  }
}

void Disk::Resize(Inode& inode, uint64_t size) {
  inode.size = size;
  Tell({Change::kSize, inode.derived, inode.number, 0, size, nullptr, {}, {}});
}

void Disk::Empty(Inode& inode) {
  std::memset(inode.data, 0, inode.size);
  LookAt(inode);
  Resize(inode, 0);
}

void Disk::Flush(Inode& inode) {
  inode.flushed.assign(inode.data, inode.size);
  Tell({Change::kFlush, inode.derived, inode.number, 0, 0, nullptr, {}, {}});
}

void Disk::FlushAll() {
  Look(true);
  for (const auto& [name, inode] : entries_) {
    if (inode != nullptr) Flush(*inode);
  }
  flushed_entries_ = entries_;
  for (const char* const directory : {"", "log", "big", "ckpt", "quarantine"}) {
    Tell({Change::kFlushDirectory, false, 0, 0, 0, nullptr, directory, {}});
  }
}

Image Disk::AfterPowerLoss(bool everything) const {
  Image image;
  for (const auto& [name, inode] : everything ? entries_ : flushed_entries_) {
    if (inode == nullptr) {
      image.directories.push_back(name);
      continue;
    }
    Image::File& file = image.files.emplace_back();
    file.name = name;
    file.base = everything ? std::string_view(inode->data, inode->size)
                           : std::string_view(inode->flushed);
    file.size = file.base.size();
  }
  return image;
}

std::shared_ptr<Inode> Disk::Find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second;
}

bool Disk::HasDirectoryOf(std::string_view name) const {
  const std::string_view directory = DirectoryOf(name);
  return directory.empty() || entries_.contains(directory);
}

std::shared_ptr<Inode> Disk::Make(std::string_view name) {
  auto inode = std::make_shared<Inode>(next_inode_++);
  inode->derived = name == "ctl" || name == "idx";
  entries_[std::string(name)] = inode;
  Tell({Change::kCreate,
        inode->derived,
        inode->number,
        0,
        0,
        nullptr,
        name,
        {}});
  return inode;
}

void Disk::Process::Kill() {
  if (!*alive_) return;
  *alive_ = false;
  std::erase_if(disk_->locks_, [this](const auto& lock) {
    return lock.second->IsOf(alive_);
  });
}

std::unique_ptr<File> Disk::Process::Handle(
    std::shared_ptr<Inode> inode) const {
  return std::make_unique<OpenFile>(disk_, alive_, std::move(inode));
}

absl::StatusOr<std::unique_ptr<File>> Disk::Process::Open(std::string_view name,
                                                          Access /*access*/) {
  if (!*alive_) return Death();
  auto inode = disk_->Find(name);
  if (inode == nullptr) return Missing(name);
  return Handle(std::move(inode));
}

absl::StatusOr<std::unique_ptr<File>> Disk::Process::Create(
    std::string_view name) {
  if (!*alive_) return Death();
  if (!disk_->HasDirectoryOf(name)) return Missing(name);
  disk_->Look(true);
  auto inode = disk_->Find(name);
  if (inode != nullptr) {
    disk_->Empty(*inode);
  } else {
    inode = disk_->Make(name);
  }
  return Handle(std::move(inode));
}

absl::StatusOr<std::unique_ptr<File>> Disk::Process::CreateNew(
    std::string_view name) {
  if (!*alive_) return Death();
  if (!disk_->HasDirectoryOf(name)) return Missing(name);
  disk_->Look(true);
  if (disk_->Find(name) != nullptr) {
    return MakeStatus(Code::kQueueExists, "open \"", name,
                      "\": the name is taken");
  }
  return Handle(disk_->Make(name));
}

absl::StatusOr<std::unique_ptr<ByteLocks>> Disk::Process::OpenLocks(
    std::string_view /*name*/) {
  if (!*alive_) return Death();
  return std::make_unique<Locks>(disk_, alive_);
}

absl::Status Disk::Process::MakeDirectory(std::string_view name) {
  if (!*alive_) return Death();
  if (disk_->entries_.contains(name)) return absl::OkStatus();
  disk_->entries_[std::string(name)] = nullptr;
  disk_->Tell({Change::kCreate, false, kDirectory, 0, 0, nullptr, name, {}});
  return absl::OkStatus();
}

absl::Status Disk::Process::Rename(std::string_view from, std::string_view to) {
  if (!*alive_) return Death();
  disk_->Look(true);
  const auto inode = disk_->Find(from);
  if (inode == nullptr || !disk_->HasDirectoryOf(to)) return Missing(from);
  disk_->entries_.erase(disk_->entries_.find(from));
  disk_->entries_[std::string(to)] = inode;
  disk_->Tell({Change::kRename, inode->derived, inode->number, 0, 0, nullptr,
               from, to});
  return absl::OkStatus();
}

absl::Status Disk::Process::Remove(std::string_view name) {
  if (!*alive_) return Death();
  disk_->Look(true);
  const auto found = disk_->entries_.find(name);
  if (found == disk_->entries_.end()) return absl::OkStatus();
  disk_->Tell(
      {Change::kRemove, false, found->second->number, 0, 0, nullptr, name, {}});
  disk_->entries_.erase(found);
  return absl::OkStatus();
}

absl::Status Disk::Process::SyncDirectory(std::string_view name) {
  if (!*alive_) return Death();
  disk_->Look(true);
  const auto is_in = [name](const auto& entry) {
    return DirectoryOf(entry.first) == name;
  };
  std::erase_if(disk_->flushed_entries_, is_in);
  for (const auto& entry : disk_->entries_) {
    if (is_in(entry)) disk_->flushed_entries_.insert(entry);
  }
  disk_->Tell({Change::kFlushDirectory, false, 0, 0, 0, nullptr, name, {}});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Disk::Process::List(
    std::string_view directory) const {
  if (!*alive_) return Death();
  if (!directory.empty() && !disk_->entries_.contains(directory)) {
    return Missing(directory);
  }
  std::vector<std::string> names;
  for (const auto& [name, inode] : disk_->entries_) {
    if (DirectoryOf(name) == directory) {
      names.push_back(directory.empty() ? name
                                        : name.substr(directory.size() + 1));
    }
  }
  return names;
}

}  // namespace power
}  // namespace openmessaging::reference
