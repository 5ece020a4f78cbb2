// SPDX-License-Identifier: Apache-2.0
//
// The names that the driver uses at a broker. A queue of OpenMessaging is a
// queue of the broker with the same name, bound to one exchange; its first
// group consumes from that, and each other group has a queue of its own beside
// it.

#ifndef OPENMESSAGING_RABBITMQ_TOPOLOGY_H_
#define OPENMESSAGING_RABBITMQ_TOPOLOGY_H_

#include <string>
#include <string_view>

namespace openmessaging::rabbitmq {

// Longest name of a queue, an exchange or a header.
inline constexpr size_t kMaxShortBytes = 255;

// A direct exchange: what is sent goes to each queue that is bound with the
// name of its destination.
inline constexpr std::string_view kExchange = "oms";

// Holds the catalog (catalog.h).
inline constexpr std::string_view kCatalogQueue = "oms.catalog";

// Returns: the broker's name of the queue of a group that is not the first.
// Longer ones than the broker takes are cut, and have a digest of the whole.
std::string GroupQueueName(std::string_view queue, std::string_view group);

// Returns: the name of a queue that nothing is ever sent to: each member of the
// group that has `broker_queue` is a consumer of it, so that the broker can
// tell whether an exclusive one is alone.
std::string MembersQueueName(std::string_view broker_queue);

// GroupQueueName the other way round; the group is empty where it is the
// queue's own name.
struct QueueAndGroup {
  std::string_view queue;
  std::string_view group;
};
QueueAndGroup SplitGroupQueueName(std::string_view name);

// Returns: 32 hex digits of a 128-bit digest.
std::string Digest(std::string_view text);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_TOPOLOGY_H_
