// SPDX-License-Identifier: Apache-2.0
//
// What a producer works with while it sends.

#ifndef OPENMESSAGING_REFERENCE_PRODUCER_SCRATCH_H_
#define OPENMESSAGING_REFERENCE_PRODUCER_SCRATCH_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "openmessaging/status.h"
#include "producer.h"
#include "routes.h"

namespace openmessaging::reference {

// What one Send works with; kept by each thread, so that it need not allocate.
struct ReferenceProducer::Scratch {
  struct Item {
    const Queue* queue = nullptr;  // Kept by what the send works with.
    // In the batch; of a copy, which is no message of it, among `routed`.
    size_t index = 0;
    const Queue* target = nullptr;  // Of a copy.
    std::array<char, 2 + sizeof(int64_t)> born{};  // The field.
    bool has_born = false;
    HeldHead delay{};  // Of one that is delayed.

    const Queue& place() const { return target != nullptr ? *target : *queue; }
  };
  std::vector<Append> appends{};
  std::vector<Item> items{};
  // The queue of the last message, also of the send before if that was by the
  // same producer; and the others of this batch.
  std::shared_ptr<const Queue> queue{};
  uint64_t queue_of = 0;
  std::vector<std::shared_ptr<const Queue>> other_queues{};
  std::vector<Undurable> undurable{};
  // Of the messages with an id that counts, and which entry is whose.
  std::vector<Deduplication> deduplications{};
  std::vector<size_t> deduplicated{};
  // Where a message is routed: the table of this batch, the targets of the one
  // that is planned, the heads of all copies.
  std::shared_ptr<const RouteTable> routes{};
  std::vector<const Queue*> targets{};
  std::vector<RoutedHead> routed{};
  // Whose receivers were woken.
  std::vector<const QueueState*> rung{};
  // Pointers, so that views stay good while it grows.
  std::vector<std::unique_ptr<std::string>> rebuilt{};
  PreparedHead prepared{};  // Of one that is prepared.
  bool in_use = false;
  bool together = false;  // In a transaction.
  bool prepares = false;  // What is planned enters its queue later.
  bool delayed = false;   // Something is.
  bool incomplete = false;  // Complete has something to do.
  // When delays and windows of this batch begin, however long it is; 0: none
  // did.
  int64_t now_ns = 0;
  int64_t now_ms = 0;

  static Scratch& OfThread() {
    static thread_local Scratch scratch;
    return scratch;
  }
  // Returns: what no other producer has that the scratch of a thread may know.
  // The two stand together, since libraries that both have this driver share
  // both of them or none.
  static uint64_t NextProducer() {
    static std::atomic<uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  void LookAtClock(const Clock& clock) {
    if (now_ns != 0) return;
    now_ns = clock.BootNs();
    now_ms = clock.ExactWallMs();
  }
  std::string_view Keep(std::string text) {
    return *rebuilt.emplace_back(std::make_unique<std::string>(std::move(text)));
  }
  void Clear() {
    appends.clear();
    items.clear();
    undurable.clear();
    deduplications.clear();
    deduplicated.clear();
    if (routes != nullptr) {
      routes.reset();
      routed.clear();
      rung.clear();
    }
    delayed = false;
    incomplete = false;
    now_ns = 0;
    rebuilt.clear();
    other_queues.clear();
  }
};

// Its routes were looked at before; the next look finds none to it.
inline absl::Status TargetGone(std::string_view queue) {
  return MakeStatus(Code::kUnavailable, "send to \"", queue,
                    "\": a queue that it is routed to was deleted meanwhile; "
                    "nothing was stored, send it again");
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_PRODUCER_SCRATCH_H_
