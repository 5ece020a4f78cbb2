// SPDX-License-Identifier: Apache-2.0
//
// Byte locks between the objects of one process, for storages that have no file
// of the machine's.

#ifndef OPENMESSAGING_REFERENCE_ENV_TABLE_LOCKS_H_
#define OPENMESSAGING_REFERENCE_ENV_TABLE_LOCKS_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "env/environment.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::reference {

// Which object holds which byte.
struct LockTable {
  internal::Mutex mutex{};
  std::map<uint64_t, const void*> owners ABSL_GUARDED_BY(mutex){};
};

class TableLocks final : public ByteLocks {
 public:
  explicit TableLocks(std::shared_ptr<LockTable> table)
      : table_(std::move(table)) {}
  ~TableLocks() override {
    const internal::MutexLock lock(table_->mutex);
    std::erase_if(table_->owners,
                  [this](const auto& entry) { return entry.second == this; });
  }

  absl::StatusOr<bool> TryLock(uint64_t byte) override {
    const internal::MutexLock lock(table_->mutex);
    return table_->owners.try_emplace(byte, this).first->second == this;
  }
  absl::Status Unlock(uint64_t byte) override {
    const internal::MutexLock lock(table_->mutex);
    const auto found = table_->owners.find(byte);
    if (found != table_->owners.end() && found->second == this) {
      table_->owners.erase(found);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                     uint64_t count) const override {
    const internal::MutexLock lock(table_->mutex);
    for (auto at = table_->owners.lower_bound(first);
         at != table_->owners.end() && at->first - first < count; ++at) {
      if (at->second != this) return true;
    }
    return false;
  }
  void AbandonAfterFork() override {}

 private:
  const std::shared_ptr<LockTable> table_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_TABLE_LOCKS_H_
