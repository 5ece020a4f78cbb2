// SPDX-License-Identifier: Apache-2.0
//
// A disk in memory that knows what a power loss may leave of it: what was
// flushed, and what was stored since. The engine runs on it through the storage
// seam. docs/design/power-loss.md.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_DISK_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_DISK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "env/environment.h"
#include "power/trace.h"

namespace openmessaging::reference::power {

// What lies under a name, however often it is renamed.
class Inode {
 public:
  explicit Inode(uint32_t n);
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  // As long as any mapping may be; zero behind `size`.
  char* const data;
  const uint32_t number;
  uint64_t size = 0;
  // What a power loss leaves where nothing more is said.
  std::string flushed{};
  // What the trace was told.
  std::string told{};
  // Of ctl and idx: derived, and large.
  bool derived = false;
  bool mapped = false;
};

using Entries = std::map<std::string, std::shared_ptr<Inode>, std::less<>>;

// Threads: one.
// Lifetime: outlives the storages on it, not what they opened.
class Disk {
 public:
  // An empty one. `trace`: is told of every change; may be null.
  explicit Disk(Trace* trace) : trace_(trace) {}
  // What a power loss left; all of it counts as flushed.
  Disk(const Image& image, Trace* trace);

  // The files as one process sees them. Kill() lets its locks go, and fails
  // every later call.
  class Process;
  std::shared_ptr<Process> Run();

  // Tells the trace what was stored to mappings since the last time. `all`: ctl
  // and idx as well.
  void Look(bool all);
  // As after a sync(1): nothing is left that a power loss could take.
  void FlushAll();

  // What a power loss leaves now: all that was ever stored, or nothing but what
  // was flushed. Lifetime: as long as this disk is not used.
  Image AfterPowerLoss(bool everything) const;

 private:
  friend class Process;
  class OpenFile;
  class Locks;

  std::shared_ptr<Inode> Find(std::string_view name) const;
  std::shared_ptr<Inode> Make(std::string_view name);
  bool HasDirectoryOf(std::string_view name) const;
  void Resize(Inode& inode, uint64_t size);
  void Empty(Inode& inode);
  void Flush(Inode& inode);
  void LookAt(Inode& inode);
  void Tell(const Event& event) {
    if (trace_ != nullptr) trace_->Add(event);
  }

  Trace* const trace_;
  uint32_t next_inode_ = 0;
  Entries entries_;
  Entries flushed_entries_;
  // A directory is an entry of "" without a file.
  std::vector<std::shared_ptr<Inode>> watched_;
  std::map<uint64_t, const Locks*> locks_;
};

class Disk::Process final : public Storage {
 public:
  explicit Process(Disk* disk) : disk_(disk), alive_(new bool(true)) {}

  void Kill();

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return 0; }
  std::string Describe() const override { return "the simulated disk"; }
  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override;
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override;
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override;
  absl::Status MakeDirectory(std::string_view name) override;
  absl::Status Rename(std::string_view from, std::string_view to) override;
  absl::Status Remove(std::string_view name) override;
  absl::Status SyncDirectory(std::string_view name) override;
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override;

 private:
  std::unique_ptr<File> Handle(std::shared_ptr<Inode> inode) const;

  Disk* const disk_;
  const std::shared_ptr<bool> alive_;
};

// Lets a disk look at each operation on a shared word of this thread at what was
// stored since the last one, and calls `then`. One at a time.
class WatchWords {
 public:
  explicit WatchWords(Disk* disk, std::function<void()> then = {});
  ~WatchWords();
  WatchWords(const WatchWords&) = delete;
  WatchWords& operator=(const WatchWords&) = delete;
};

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_DISK_H_
