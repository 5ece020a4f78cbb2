// SPDX-License-Identifier: Apache-2.0

#include "schedules/disk.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "key_hash.h"
#include "openmessaging/status.h"
#include "schedules/memory.h"

namespace openmessaging::reference::schedules {
namespace {

constexpr int64_t kBootNs = 1'000'000'000'000;
constexpr int64_t kWallMs = 1'700'000'000'000;

void Point(Operation operation, const void* object) {
  World::Get().Point(operation, object, 0);
}

class WorldRegion final : public Region {
 public:
  WorldRegion(char* data, size_t size) : Region(data, size) {}
};

class WorldFile final : public reference::File {
 public:
  explicit WorldFile(std::shared_ptr<Disk::File> file)
      : file_(std::move(file)) {}

  absl::StatusOr<uint64_t> Size() const override {
    Point(Operation::kLookFile, file_.get());
    return file_->size;
  }
  absl::StatusOr<FileIdentity> Identity() const override {
    return FileIdentity{7, file_->number + 1};
  }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access /*access*/,
                                              size_t size) override {
    if (size > Memory::kFileBytes) {
      return MakeStatus(Code::kStorageBusy, "map: no address space for ", size,
                        " bytes");
    }
    return std::make_unique<WorldRegion>(bytes(), size);
  }
  absl::Status Grow(uint64_t size) override {
    Point(Operation::kSetFile, file_.get());
    Memory::Get().GrowFile(file_->number, size);
    file_->size = std::max(file_->size, size);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    Point(Operation::kLookFile, file_.get());
    return std::string(bytes(), std::min<uint64_t>(file_->size, limit));
  }
  absl::Status WriteAll(std::string_view bytes_now) override {
    Point(Operation::kSetFile, file_.get());
    Memory::Get().GrowFile(file_->number, bytes_now.size());
    std::memcpy(bytes(), bytes_now.data(), bytes_now.size());
    file_->size = std::max<uint64_t>(file_->size, bytes_now.size());
    return absl::OkStatus();
  }
  // What is stored to the file while it runs may be on the disk or not: it is
  // not. So it counts from its end on, as it was at its beginning.
  absl::Status Sync() override {
    Point(Operation::kFlush, file_.get());
    std::string now(bytes(), file_->size);
    Point(Operation::kFlush, file_.get());
    file_->flushed = std::move(now);
    return absl::OkStatus();
  }

 private:
  char* bytes() const { return Memory::Get().FileBytes(file_->number); }

  const std::shared_ptr<Disk::File> file_;
};

class WorldLocks final : public ByteLocks {
 public:
  WorldLocks(Disk* disk, uint32_t process) : disk_(disk), process_(process) {}
  ~WorldLocks() override {
    std::erase_if(disk_->locks(), [this](const auto& entry) {
      return entry.second.object == this;
    });
  }

  absl::StatusOr<bool> TryLock(uint64_t byte) override {
    Point(Operation::kSetLock, &disk_->locks());
    const auto [at, fresh] =
        disk_->locks().try_emplace(byte, Disk::Holder{this, process_});
    return fresh || at->second.object == this;
  }
  absl::Status Unlock(uint64_t byte) override {
    Point(Operation::kSetLock, &disk_->locks());
    const auto found = disk_->locks().find(byte);
    if (found != disk_->locks().end() && found->second.object == this) {
      disk_->locks().erase(found);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                     uint64_t count) const override {
    Point(Operation::kAskLock, &disk_->locks());
    for (auto at = disk_->locks().lower_bound(first);
         at != disk_->locks().end() && at->first - first < count; ++at) {
      if (at->second.object != this) return true;
    }
    return false;
  }
  void AbandonAfterFork() override {}

 private:
  Disk* const disk_;
  const uint32_t process_;
};

class WorldStorage final : public Storage {
 public:
  WorldStorage(Disk* disk, uint32_t process) : disk_(disk), process_(process) {}

  bool IsVolatile() const override { return !disk_->flushes(); }
  uint64_t MaxBytes() const override { return 0; }
  std::string Describe() const override { return "world"; }

  absl::StatusOr<std::unique_ptr<reference::File>> Open(
      std::string_view name, Access /*access*/) override {
    Point(Operation::kLookFile, disk_);
    const auto found = disk_->files().find(name);
    if (found == disk_->files().end()) {
      return MakeStatus(Code::kQueueNotFound, "open \"", name,
                        "\": no such file");
    }
    return std::make_unique<WorldFile>(found->second);
  }
  absl::StatusOr<std::unique_ptr<reference::File>> Create(
      std::string_view name) override {
    Point(Operation::kSetFile, disk_);
    auto file = disk_->NewFile();
    disk_->files().insert_or_assign(std::string(name), file);
    return std::make_unique<WorldFile>(std::move(file));
  }
  absl::StatusOr<std::unique_ptr<reference::File>> CreateNew(
      std::string_view name) override {
    Point(Operation::kSetFile, disk_);
    if (disk_->files().contains(name)) {
      return MakeStatus(Code::kQueueExists, "open \"", name,
                        "\": the name is taken");
    }
    auto file = disk_->NewFile();
    disk_->files().emplace(name, file);
    return std::make_unique<WorldFile>(std::move(file));
  }
  // Whoever opens a store does so under a mutex that real processes do not
  // share: nothing to choose here.
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view /*name*/) override {
    return std::make_unique<WorldLocks>(disk_, process_);
  }
  absl::Status MakeDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    Point(Operation::kSetFile, disk_);
    auto node = disk_->files().extract(std::string(from));
    if (node.empty()) {
      return MakeStatus(Code::kQueueNotFound, "rename \"", from,
                        "\": no such file");
    }
    disk_->files().erase(std::string(to));
    node.key() = std::string(to);
    disk_->files().insert(std::move(node));
    return absl::OkStatus();
  }
  absl::Status Remove(std::string_view name) override {
    Point(Operation::kSetFile, disk_);
    disk_->files().erase(std::string(name));
    return absl::OkStatus();
  }
  absl::Status SyncDirectory(std::string_view /*name*/) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    Point(Operation::kLookFile, disk_);
    const std::string prefix =
        directory.empty() ? "" : std::string(directory) + "/";
    std::vector<std::string> names;
    for (const auto& [name, file] : disk_->files()) {
      if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    }
    return names;
  }

 private:
  Disk* const disk_;
  const uint32_t process_;
};

class WorldClock final : public Clock {
 public:
  int64_t BootNs() const override { return kBootNs + Look(); }
  int64_t WallMs() const override { return kWallMs + Look() / 1'000'000; }
  int64_t ExactWallMs() const override { return WallMs(); }
  uint64_t BootHash() const override { return 0x5eed; }

 private:
  static int64_t Look() {
    World& world = World::Get();
    world.Point(Operation::kLoad, world.clock(), sizeof(int64_t));
    return world.now_ns();
  }
};

class WorldWaiting final : public Waiting {
 public:
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
            std::chrono::nanoseconds timeout) override {
    World::Get().Wait(word, expected, timeout);
  }
  void WakeAll(const std::atomic<uint32_t>& word) override {
    World::Get().WakeAll(word);
  }
};

class WorldRandom final : public Random {
 public:
  uint64_t Next() override { return Mix64(++state_); }

 private:
  uint64_t state_ = 0x0517;
};

}  // namespace

void Disk::FreeLocks(uint32_t process) {
  std::erase_if(locks_, [process](const auto& entry) {
    return entry.second.process == process;
  });
}

std::shared_ptr<Storage> Disk::Of(uint32_t process) {
  return std::make_shared<WorldStorage>(this, process);
}

std::shared_ptr<Disk::File> Disk::NewFile() {
  auto file = std::make_shared<File>();
  file->number = Memory::Get().NewFile();
  return file;
}

void Disk::Put(const std::string& name, std::string_view bytes) {
  auto file = NewFile();
  Memory& memory = Memory::Get();
  memory.GrowFile(file->number, bytes.size());
  std::memcpy(memory.FileBytes(file->number), bytes.data(), bytes.size());
  file->size = bytes.size();
  files_.insert_or_assign(name, std::move(file));
}

bool Disk::HasFlushed(std::string_view bytes) const {
  for (const auto& [name, file] : files_) {
    if (file->flushed.find(bytes) != std::string::npos) return true;
  }
  return false;
}

Environment* OpenMachine() {
  return new Environment{new WorldClock(), new WorldWaiting(),
                         new WorldRandom(), "world.example"};
}

}  // namespace openmessaging::reference::schedules
