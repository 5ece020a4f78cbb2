// SPDX-License-Identifier: Apache-2.0
//
// The seam between the engine and the machine: storage, clocks, waiting and
// randomness come in here, atomics through shared.h. Tests put a simulator in
// place of the machine and run the same engine. docs/design/engine.md.

#ifndef OPENMESSAGING_REFERENCE_ENV_ENVIRONMENT_H_
#define OPENMESSAGING_REFERENCE_ENV_ENVIRONMENT_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace openmessaging::reference {

using TimePoint = std::chrono::steady_clock::time_point;

// Mapped bytes of a file. The mapping may be longer than the file: bytes behind
// the file's end must not be touched before File::Grow has made them.
class Region {
 public:
  virtual ~Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  char* data() const { return data_; }
  size_t size() const { return size_; }

  // Brings the pages of [begin, end) in ahead of their first use, which is then
  // cheaper. `for_write`: ready to be stored to, which dirties them. Changes no
  // byte, and where the machine cannot, does nothing.
  virtual void Touch(size_t /*begin*/, size_t /*end*/, bool /*for_write*/) {}

 protected:
  Region(char* data, size_t size) : data_(data), size_(size) {}

 private:
  char* const data_;
  const size_t size_;
};

// kPrivate, of a mapping only: what is stored to it is seen by nobody else, and
// the file stays as it is.
enum class Access { kRead, kWrite, kPrivate };

// Which file this is, whatever it is called.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

// One open file. Errors of every method: 1501 with the system's words, 1502
// where the disk is full.
//
// Threads: const methods may run together, Sync too.
class File {
 public:
  virtual ~File() = default;

  virtual absl::StatusOr<uint64_t> Size() const = 0;
  virtual absl::StatusOr<FileIdentity> Identity() const = 0;

  // Maps [0, size). A write mapping is shared with every process.
  virtual absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                                      size_t size) = 0;

  // Makes the file `size` bytes long where it is shorter, with real blocks of
  // zeros: a later store to a mapping cannot run out of space.
  virtual absl::Status Grow(uint64_t size) = 0;

  virtual absl::StatusOr<std::string> ReadAll(size_t limit) const = 0;
  virtual absl::Status WriteAll(std::string_view bytes) = 0;

  // Returns once every byte written so far, mapped ones too, is on stable
  // storage.
  virtual absl::Status Sync() = 0;
};

// Locks on single bytes of one file, owned by this object and freed by the
// kernel when its process dies in any way. Two objects in one process exclude
// each other as two processes do.
class ByteLocks {
 public:
  virtual ~ByteLocks() = default;

  // Returns: whether the byte is locked now.
  virtual absl::StatusOr<bool> TryLock(uint64_t byte) = 0;
  virtual absl::Status Unlock(uint64_t byte) = 0;
  // Returns: whether another object holds any of [first, first + count).
  virtual absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                             uint64_t count) const = 0;
  // Lets go of everything in the child of a fork.
  virtual void AbandonAfterFork() = 0;
};

// The files of one store. Names are relative to its directory and contain at
// most one '/'.
class Storage {
 public:
  Storage() = default;
  // Of one that guards its pages; `lost_pages` lives as long.
  explicit Storage(const std::atomic<bool>* lost_pages)
      : lost_pages_(lost_pages) {}
  virtual ~Storage() = default;

  // True: nothing outlives the process, so nothing is flushed or checksummed.
  virtual bool IsVolatile() const = 0;
  // Longest total of all segments, in bytes; 0 = none.
  virtual uint64_t MaxBytes() const = 0;
  virtual std::string Describe() const = 0;
  // Whether a page that is not there is one of zeros, and does not kill who
  // touches it; and whether that happened: what was read or stored since the
  // last look cannot be trusted then.
  bool GuardsPages() const { return lost_pages_ != nullptr; }
  bool LostPages() const {
    return lost_pages_ != nullptr &&
           lost_pages_->load(std::memory_order_acquire);
  }

  // Errors: 1404 no such file (open only).
  virtual absl::StatusOr<std::unique_ptr<File>> Open(
      std::string_view name, Access access) = 0;
  virtual absl::StatusOr<std::unique_ptr<File>> Create(
      std::string_view name) = 0;
  // As Create, but never opens what is there. Errors: 1406 the name is taken.
  virtual absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) = 0;
  virtual absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) = 0;
  virtual absl::Status MakeDirectory(std::string_view name) = 0;
  virtual absl::Status Rename(std::string_view from, std::string_view to) = 0;
  // Removing what is not there succeeds.
  virtual absl::Status Remove(std::string_view name) = 0;
  // Makes the entries of a directory ("" = the store's own) durable.
  virtual absl::Status SyncDirectory(std::string_view name) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const = 0;

 private:
  // Asked for each message: no virtual call.
  const std::atomic<bool>* const lost_pages_ = nullptr;
};

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since the machine booted, suspension included.
  virtual int64_t BootNs() const = 0;
  // Milliseconds since 1970 UTC, a few milliseconds coarse, and cheap.
  virtual int64_t WallMs() const = 0;
  // As above, exact, and so not as cheap.
  virtual int64_t ExactWallMs() const = 0;
  // Differs between any two boots; 0 where it cannot be known.
  virtual uint64_t BootHash() const = 0;
};

// Sleeps on words that other processes may change.
class Waiting {
 public:
  virtual ~Waiting() = default;
  // Returns when woken, when the word differs, or after `timeout`; also early.
  virtual void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
                    std::chrono::nanoseconds timeout) = 0;
  virtual void WakeAll(const std::atomic<uint32_t>& word) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;
};

// Everything the engine asks of the machine.
//
// Lifetime: borrowed by the stores that use it; the members too.
struct Environment {
  Clock* clock = nullptr;
  Waiting* waiting = nullptr;
  Random* random = nullptr;
  // The name of this machine, for store_host and born_host.
  std::string host{};

  // Returns: the machine itself, for the life of the process.
  static Environment& OfMachine();
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_ENVIRONMENT_H_
