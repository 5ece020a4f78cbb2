// SPDX-License-Identifier: Apache-2.0
//
// Where messages go beside the queue that they enter. docs/design/routing.md.

#ifndef OPENMESSAGING_REFERENCE_ROUTES_H_
#define OPENMESSAGING_REFERENCE_ROUTES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "catalog.h"
#include "format.h"
#include "log.h"
#include "openmessaging/kit/filter.h"

namespace openmessaging::reference {

// Copies of one message, at most: queues that can be reached from one.
inline constexpr size_t kMaxCopies = 64;

// One route of those that begin at a queue.
struct RouteTo {
  std::shared_ptr<const Queue> target{};
  std::optional<kit::Filter> filter{};
  std::string text{};  // Of the filter, as it was set.
};

// Those that begin at a queue, in the order of their targets' names.
struct RoutesFrom {
  std::shared_ptr<const Queue> source{};
  std::vector<RouteTo> to{};
};

// All routes, as a process sees them at one time. Constant once made.
struct RouteTable {
  absl::flat_hash_map<uint32_t, RoutesFrom> from{};  // By the source's id.
};

// Finds every queue that a message enters beside `source`, each once, however
// many ways lead there; a filter sees the message as it enters the queue at
// which its route begins. `fields`: as a receiver has them. `targets`: what it
// holds goes; good as long as the table. Allocates nothing while it has room.
void FindTargets(const RouteTable& table, const Queue& source,
                 std::string_view fields, int64_t store_ms,
                 const StoreUuid& store, std::string_view host,
                 std::vector<const Queue*>& targets);

// What decides where in its queue a message lies.
struct Placement {
  uint32_t key_hash = 0;
  int priority = 0;
  uint32_t turn = 0;  // Of messages without a key.
};

// Returns: an entry for the copy of `source` in `target`, with the source's body,
// flags and fields, but without a head. Both are in one unit, where the source
// stands first; the last one has no kMore.
Append CopyOf(const Append& source, const Queue& target,
              const Placement& placement);

// What copies refer to until they are appended.
struct CopyRoom {
  std::vector<const Queue*> targets{};  // Of the last message.
  std::deque<RoutedHead> heads{};
  std::deque<std::string> fields{};
  // Entries whose body is another one's, and which one's.
  std::vector<std::pair<size_t, size_t>> bodies{};
};

// Adds the copies of the last entry of `appends`, one unit with it, for which
// routes of its queue are. It holds a message that came before, whose id and time
// `head` says, with its body in its record; what is large the copies share.
// `turn`: of messages without a key.
void AddCopies(const RouteTable& table, const RoutedHead& head, uint32_t turn,
               const StoreUuid& store, std::string_view host, CopyRoom& room,
               std::vector<Append>& appends);
// Once no entry moves any more.
void ShareBodies(const CopyRoom& room, std::vector<Append>& appends);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ROUTES_H_
