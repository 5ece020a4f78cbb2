// SPDX-License-Identifier: Apache-2.0

#include "routes.h"

#include <algorithm>

#include "key_hash.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/internal/message_holder.h"
#include "openmessaging/message.h"

namespace openmessaging::reference {
namespace {

// A message that is about to enter a queue, for filters to look at.
class Entering {
 public:
  Entering(const Queue& queue, std::string_view fields, int64_t store_ms,
           const StoreUuid& store, std::string_view host)
      : holder_([](internal::MessageHolder* /*holder*/) {}) {
    holder_.store_id = store;
    holder_.destination = queue.name;
    holder_.store_host = host;
    message_ = driver::MessageAccess::Preview(&holder_, fields, {}, store_ms);
  }
  Entering(const Entering&) = delete;
  Entering& operator=(const Entering&) = delete;

  const Message& message() const { return message_; }

 private:
  internal::MessageHolder holder_;
  Message message_;
};

int PriorityIn(std::string_view fields) {
  const int priority =
      internal::FindNumber<uint8_t>(fields, internal::Field::kPriority)
          .value_or(Message::kDefaultPriority);
  return priority >= 1 && priority <= static_cast<int>(kLanes)
             ? priority
             : Message::kDefaultPriority;
}

}  // namespace

void FindTargets(const RouteTable& table, const Queue& source,
                 std::string_view fields, int64_t store_ms,
                 const StoreUuid& store, std::string_view host,
                 std::vector<const Queue*>& targets) {
  targets.clear();
  const Queue* queue = &source;
  // What was found is where to go on.
  for (size_t next = 0; queue != nullptr; ++next) {
    if (const auto routes = table.from.find(queue->id);
        routes != table.from.end()) {
      const Entering entering(*queue, fields, store_ms, store, host);
      for (const RouteTo& route : routes->second.to) {
        const uint32_t id = route.target->id;
        const auto known = [&](const Queue* one) { return one->id == id; };
        if (id == source.id || targets.size() == kMaxCopies ||
            std::any_of(targets.begin(), targets.end(), known) ||
            (route.filter && !route.filter->Matches(entering.message()))) {
          continue;
        }
        targets.push_back(route.target.get());
      }
    }
    queue = next < targets.size() ? targets[next] : nullptr;
  }
}

Append CopyOf(const Append& source, const Queue& target,
              const Placement& placement) {
  const uint32_t width = target.lane_partitions;
  const uint32_t partition = target.InLane(
      placement.key_hash != 0 ? PartitionOfKey(placement.key_hash, width)
                              : placement.turn % width,
      placement.priority);
  Append copy;
  copy.type = RecordType::kRouted;
  copy.flags = (source.flags & static_cast<uint8_t>(~kDeduplicated)) | kMore;
  copy.queue_partition = QueuePartition(target.id, partition);
  copy.key_hash = placement.key_hash;
  copy.partition = target.state->partition(partition);
  copy.alive = target.entry;
  copy.pieces = {std::string_view(), source.pieces[1], source.pieces[2]};
  return copy;
}

void AddCopies(const RouteTable& table, const RoutedHead& head, uint32_t turn,
               const StoreUuid& store, std::string_view host, CopyRoom& room,
               std::vector<Append>& appends) {
  room.targets.clear();
  const size_t source = appends.size() - 1;
  const auto from = table.from.find(QueueOf(appends[source].queue_partition));
  if (from == table.from.end()) return;
  std::string_view fields = appends[source].pieces[1];
  FindTargets(table, *from->second.source, fields, head.store_ms, store, host,
              room.targets);
  if (room.targets.empty()) return;
  const auto asked =
      internal::LocateField(fields, internal::Field::kPartition);
  if (asked.begin != asked.end) {
    // It was for the source's partitions only.
    std::string& kept = room.fields.emplace_back(fields);
    kept.erase(asked.begin, asked.end - asked.begin);
    fields = kept;
  }
  const Placement placement{appends[source].key_hash, PriorityIn(fields), turn};
  appends[source].flags |= kMore;
  for (const Queue* const target : room.targets) {
    Append copy = CopyOf(appends[source], *target, placement);
    copy.pieces[0] = internal::NumberBytes(room.heads.emplace_back(head));
    copy.pieces[1] = fields;
    if (appends.size() > source + 1) {
      room.bodies.emplace_back(appends.size(), source + 1);
    }
    appends.push_back(copy);
  }
  appends.back().flags &= static_cast<uint8_t>(~kMore);
}

void ShareBodies(const CopyRoom& room, std::vector<Append>& appends) {
  for (const auto& [copy, first] : room.bodies) {
    appends[copy].body_of = &appends[first];
  }
}

}  // namespace openmessaging::reference
