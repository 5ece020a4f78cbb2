// SPDX-License-Identifier: Apache-2.0
//
// The files of big/: bodies that are too large to be copied into the log under
// its lock. docs/design/engine.md, "Large bodies", has the rules.

#ifndef OPENMESSAGING_REFERENCE_LARGE_BODIES_H_
#define OPENMESSAGING_REFERENCE_LARGE_BODIES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control_file.h"
#include "env/environment.h"
#include "format.h"
#include "openmessaging/internal/mutex.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// How a large body is looked at.
enum class BodyCheck {
  kPresent,   // The file is there, as long as it should be.
  kComplete,  // And its bytes have their checksum.
};

// Returns: what is wrong with the file of a body; OK if nothing is.
// Errors: 1609 it is missing, cut short or changed; 1501 it cannot be read.
absl::Status CheckBody(Storage& storage, const LargeBody& body,
                       BodyCheck check);

// Writes, maps and removes large bodies for one handle.
//
// A body is written to its file with no lock held, and then named by a record.
// Until that is certain it is under way, which this handle's slot says in ctl;
// so whoever comes after its death finds what no record names.
// Invariants:
//   (1) a record that is visible names a file that is complete in the page
//       cache; one that is not pending names a file that is on disk;
//   (2) header().bodies.bytes is the sum that the names of all files say,
//       except while somebody holds the lock.
//
// Threads: every method may be called from any thread at any time.
class LargeBodies {
 public:
  LargeBodies(Storage* storage, Control* control, const Liveness* liveness,
              Waiting* waiting);

  // Writes a body; it is under way until Keep or Withdraw.
  // `to_disk`: flushes it; the directory, which all of a batch share, is left
  // to SyncNames. `limit`: of the log and all bodies together.
  // Errors: 1502 no room, 1410 the lock was not free in time, 1501; nothing is
  // left behind.
  absl::StatusOr<LargeBody> Write(std::string_view body, bool to_disk,
                                  uint64_t limit, TimePoint deadline);
  absl::Status SyncNames() { return storage_->SyncDirectory("big"); }

  // A record names it now.
  void Keep(const LargeBody& body);
  // No record will.
  void Withdraw(const LargeBody& body);

  // Errors: 1404 the file is not there; 1609 it is not as long as its name
  // says; 1501 it cannot be mapped now.
  absl::StatusOr<std::unique_ptr<Region>> Map(const LargeBody& body) const;
  // Brings what a record names to the disk, but for its name, and adds the
  // checksum. Errors: as Map; `flush_failed` tells a flush that did.
  absl::Status Sync(LargeBody& body, bool& flush_failed) const;

  // What all of them take.
  uint64_t bytes() const { return control_->header().bodies.bytes.Load(); }
  // What the log and all of them take, with a segment that is being made.
  uint64_t StoredBytes() const;

  // Returns: every file there is.
  absl::StatusOr<std::vector<LargeBody>> List() const;
  // Removes those of `bodies` that are there.
  absl::Status Remove(const std::vector<LargeBody>& bodies);
  // Makes removals durable, if there were any.
  absl::Status SyncRemovals();
  // Counts again what is there; with nobody else alive.
  absl::Status Recount();

 private:
  absl::Status Lock(TimePoint deadline);
  absl::Status RecountLocked();
  absl::StatusOr<std::unique_ptr<File>> Create(LargeBody& body, uint64_t limit,
                                               TimePoint deadline);
  absl::StatusOr<std::unique_ptr<File>> CreateLocked(LargeBody& body,
                                                     uint64_t limit);
  uint64_t Begin();
  void End(uint64_t number);

  Storage* const storage_;
  Control* const control_;
  const Liveness* const liveness_;
  SlotLock lock_;

  internal::Mutex mutex_;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  // Number to where the log ended when it was begun.
  std::map<uint64_t, uint64_t> under_way_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_LARGE_BODIES_H_
