// SPDX-License-Identifier: Apache-2.0
//
// Catalog is what the broker cannot tell over AMQP: which queues there are, how
// they were made, and which groups they have. It is one message of text in a
// queue of its own.

#ifndef OPENMESSAGING_RABBITMQ_CATALOG_H_
#define OPENMESSAGING_RABBITMQ_CATALOG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "config.h"

namespace openmessaging::rabbitmq {

// One queue of OpenMessaging.
struct CatalogQueue {
  QueueType type = QueueType::kQuorum;
  // The group that consumes from the queue of the same name; empty: none yet.
  std::string first_group{};
  // Those that have a queue of their own, in the order of their making.
  std::vector<std::string> groups{};
  int32_t max_deliveries = 0;
  std::string dead_letter_queue{};
  bool priorities = false;
  // It and its groups are bound for what was delayed (delay_line.h).
  bool delays = false;

  friend bool operator==(const CatalogQueue&, const CatalogQueue&) = default;
};

// The broker's queue that a consumer receives from.
struct GroupQueue {
  std::string name{};
  // Where its dead letters go; empty: it has none.
  std::string dead_letter_queue{};
  int32_t max_deliveries = 0;
  bool delays = false;
};

// Threads: a value.
struct Catalog {
  // Grows with each change.
  uint64_t version = 0;
  std::map<std::string, CatalogQueue, std::less<>> queues{};

  friend bool operator==(const Catalog&, const Catalog&) = default;
};

// The text has a line for the whole, and one for each queue:
//   oms-catalog 1 17
//   queue orders type=quorum first=billing groups=audit,web limit=3 dead=graves delays=on
std::string ToText(const Catalog& catalog);

// Errors: 1609 it is not such text.
absl::StatusOr<Catalog> ParseCatalog(std::string_view text);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_CATALOG_H_
