// SPDX-License-Identifier: Apache-2.0
//
// How a queue is made, and what is known of one.

#ifndef OPENMESSAGING_QUEUE_INFO_H_
#define OPENMESSAGING_QUEUE_INFO_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace openmessaging {
inline namespace v0 {

// What is chosen when a queue is created; ResourceManager::UpdateQueue() changes
// most of it.
struct QueueOptions {
  // 1 to kMaxPartitions (1415). Messages of one key share one.
  int32_t partitions = 1;

  // After so many deliveries a message that is not acknowledged moves to
  // dead_letter_queue. 0: it is delivered again for ever. A limit without a
  // dead-letter queue is refused (1418), because nothing is ever dropped.
  int32_t max_deliveries = 0;

  // Where messages go that are rejected or were delivered too often: another
  // queue, which exists, and cannot be deleted while this one does. Empty:
  // nowhere; then Reject answers 1600. dead_letter.h names what they carry.
  std::string dead_letter_queue{};

  // How long a message that was given back without a delay waits: the first
  // time, doubling with each delivery up to the longest, which is not shorter.
  std::chrono::milliseconds redelivery_delay{1000};
  std::chrono::milliseconds max_redelivery_delay{60000};

  // How long a message is kept at least, even after every group has settled it.
  std::chrono::milliseconds retention{0};

  // Whether what is stored is delivered by its priority, the highest first, and
  // what has the same in the order of sending. A queue without refuses messages
  // that set one (OMS-PROD-011). Refused where the broker has no such queues
  // (1600), or not with so many partitions (1415).
  bool priorities = false;

  // How long a deduplication id counts: a message with one that came within the
  // window before is not stored again, and its send answers what the first one
  // did. 0: ids do not count, and a message that sets one is refused
  // (OMS-PROD-011). Refused where the broker has no such queues (1600), or not
  // with so long a window (1418).
  std::chrono::milliseconds deduplication_window{0};

  // An SQL condition (docs/design/filter.md): what it is not true for is stored,
  // but delivered to no group. Empty: everything is delivered. Refused where it
  // is none (1418) or the broker has no filters (1600).
  std::string filter{};
};

// What is to be changed of a queue; what is not set stays as it is.
struct QueueUpdate {
  // A broker that cannot change these refuses (1418) any but the present value.
  std::optional<int32_t> partitions{};
  std::optional<bool> priorities{};

  // Counts from the next look at a message on, also for those that were
  // delivered before.
  std::optional<int32_t> max_deliveries{};
  std::optional<std::string> dead_letter_queue{};  // Empty: none any more.
  std::optional<std::chrono::milliseconds> redelivery_delay{};
  std::optional<std::chrono::milliseconds> max_redelivery_delay{};

  std::optional<std::chrono::milliseconds> retention{};

  // Counts for what is sent from then on.
  std::optional<std::chrono::milliseconds> deduplication_window{};

  // Counts for what is delivered from then on: what an earlier filter kept from
  // a group does not come back by itself. Empty: no filter any more.
  std::optional<std::string> filter{};
};

// Returns: `options` with what `update` sets.
// Implements: OMS-RES-009.
inline QueueOptions Updated(QueueOptions options, const QueueUpdate& update) {
  const auto set = [](auto& option, const auto& change) {
    if (change) option = *change;
  };
  set(options.partitions, update.partitions);
  set(options.priorities, update.priorities);
  set(options.max_deliveries, update.max_deliveries);
  set(options.dead_letter_queue, update.dead_letter_queue);
  set(options.redelivery_delay, update.redelivery_delay);
  set(options.max_redelivery_delay, update.max_redelivery_delay);
  set(options.retention, update.retention);
  set(options.deduplication_window, update.deduplication_window);
  set(options.filter, update.filter);
  return options;
}

struct QueueInfo {
  std::string name{};
  QueueOptions options{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_QUEUE_INFO_H_
