// SPDX-License-Identifier: Apache-2.0
//
// Groups as a whole: listing, moving and deleting them.

#ifndef OPENMESSAGING_REFERENCE_GROUP_CONTROL_H_
#define OPENMESSAGING_REFERENCE_GROUP_CONTROL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "openmessaging/driver/optional.h"
#include "store.h"

namespace openmessaging::reference {

// The groups of a store's queues. A group may be moved while it has members, in
// any process: they notice with their next Receive, which the bells of the
// queue wake. What is stored is handed out again, from the oldest on; what
// retirement has removed is gone. An offset in front of that, or behind the
// newest, counts as the nearest one.
//
// Threads: every method may be called from any thread at any time.
class ReferenceGroupControl final : public driver::GroupControl {
 public:
  explicit ReferenceGroupControl(std::shared_ptr<Store> store)
      : store_(std::move(store)) {}

  absl::StatusOr<std::vector<std::string>> ListGroups(
      std::string_view queue, TimePoint deadline) noexcept override;
  absl::Status Seek(std::string_view queue, std::string_view group,
                    int32_t partition, int64_t offset,
                    TimePoint deadline) noexcept override;
  absl::Status DeleteGroup(std::string_view queue, std::string_view group,
                           TimePoint deadline) noexcept override;

 private:
  // Errors: 1404, 1601.
  absl::StatusOr<std::shared_ptr<const Queue>> FindQueue(
      std::string_view queue, TimePoint deadline);

  const std::shared_ptr<Store> store_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_GROUP_CONTROL_H_
