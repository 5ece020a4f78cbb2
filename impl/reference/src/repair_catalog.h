// SPDX-License-Identifier: Apache-2.0
//
// RepairCatalog knows which queues, groups and offsets the records that were
// saved speak of, and so what is missing among them.

#ifndef OPENMESSAGING_REFERENCE_REPAIR_CATALOG_H_
#define OPENMESSAGING_REFERENCE_REPAIR_CATALOG_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/reference/repair.h"
#include "repair_target.h"
#include "salvage.h"

namespace openmessaging::reference {

// Threads: one.
class RepairCatalog {
 public:
  explicit RepairCatalog(const Salvage& salvage);

  // Returns: the name of a queue; empty where it is lost or was deleted.
  std::string NameOf(uint32_t queue_partition) const;

  // Adds the offsets that no record has and none says that they were retired.
  void FindLostOffsets(std::vector<RepairFinding>& findings) const;

  // Appends what the log needs to stand by itself: a name for each queue that
  // lost its own, and that what is missing at the front was given up.
  // Errors: as RepairTarget's.
  absl::Status Complete(RepairTarget& target,
                        std::vector<RepairFinding>& findings) const;

 private:
  struct Queue {
    std::string name{};
    std::string dead_letter_queue{};
    bool known = false;  // A record says that it lives, or lived.
    bool gone = false;
    uint32_t partitions = 0;  // As far as records name them.
  };
  struct Partition {
    // Where each offset has a record: its position.
    std::map<uint64_t, uint64_t> offsets{};
    // From there on none is missing.
    uint64_t whole_from = 0;
    uint64_t next = 0;
    // Of records that lie where they first were.
    std::map<uint64_t, uint64_t> in_place{};
  };

  void ReadRecord(const SalvagedRecord& record);
  void ReadRetirement(const SalvagedRecord& record);
  absl::Status NameQueues(RepairTarget& target,
                          std::vector<RepairFinding>& findings) const;
  // Returns: what a queue that lost its name is called from now on.
  std::string NewNameOf(uint32_t id, const std::set<std::string>& taken) const;
  void FindLostGroups(std::vector<RepairFinding>& findings) const;
  absl::Status GiveUpFront(RepairTarget& target) const;

  const Salvage& salvage_;
  std::map<uint32_t, Queue> queues_;
  std::map<uint32_t, Partition> partitions_;
  std::set<std::string> namespaces_;
  // Of a queue with dead letters, a queue that they come from.
  std::map<uint32_t, uint32_t> sources_;
  // By id, the queue of each group that is spoken of, and which have names.
  std::map<uint32_t, uint32_t> groups_;
  std::set<uint32_t> named_groups_;
  uint32_t next_queue_ = 1;
  uint32_t next_group_ = 1;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_REPAIR_CATALOG_H_
