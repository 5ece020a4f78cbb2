// SPDX-License-Identifier: Apache-2.0

#include "repair_catalog.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "catalog.h"
#include "cursor_image.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/key_value.h"

namespace openmessaging::reference {
namespace {

using internal::Concat;

// Whether a record of this type is of a queue, so that it should have a name.
bool NeedsQueue(RecordType type) {
  return HoldsMessage(type) || type == RecordType::kDelayed ||
         type == RecordType::kPrepare;
}

}  // namespace

RepairCatalog::RepairCatalog(const Salvage& salvage) : salvage_(salvage) {
  if (const auto& checkpoint = salvage.checkpoint()) {
    next_queue_ = checkpoint->next_queue;
    next_group_ = checkpoint->next_group;
  }
  for (const SalvagedRecord& record : salvage.records()) ReadRecord(record);
}

void RepairCatalog::ReadRecord(const SalvagedRecord& record) {
  const RecordHeader& header = record.header;
  const RecordType type = record.type();
  const uint32_t id = QueueOf(header.queue_partition);
  if (NeedsQueue(type)) {
    Queue& queue = queues_[id];
    queue.partitions =
        std::max(queue.partitions, PartitionOf(header.queue_partition) + 1);
    next_queue_ = std::max(next_queue_, id + 1);
  }
  if (HoldsMessage(type)) {
    Partition& partition = partitions_[header.queue_partition];
    partition.offsets[header.offset] = header.position;
    partition.next = std::max(partition.next, header.offset + 1);
    if (type != RecordType::kMoved) {
      partition.in_place[header.offset] = header.position;
    }
  }
  if (!record.fault.empty()) return;
  if (type == RecordType::kDead) {
    sources_[id] = QueueOf(DeadSourceOf(header, record.bytes).queue_partition);
  } else if (type == RecordType::kQueue) {
    Queue& queue = queues_[id];
    queue.known = true;
    queue.gone = (CommitWord::Flags(header.commit) & kGone) != 0;
    next_queue_ = std::max(next_queue_, id + 1);
    if (auto said = DecodeQueueRecord(record.body())) {
      queue.name = std::move(said->name);
      queue.dead_letter_queue = std::move(said->options.dead_letter_queue);
      for (uint32_t p = 0; p < said->next.size(); ++p) {
        Partition& partition = partitions_[QueuePartition(id, p)];
        partition.next = std::max(partition.next, said->next[p]);
      }
    }
  } else if (type == RecordType::kNamespace) {
    next_queue_ = std::max(next_queue_, id + 1);
    const auto name = DecodeNamespaceRecord(record.body());
    if (!name) return;
    if ((CommitWord::Flags(header.commit) & kGone) != 0) {
      namespaces_.erase(*name);
    } else {
      namespaces_.insert(*name);
    }
  } else if (type == RecordType::kGroup) {
    const auto group = static_cast<uint32_t>(header.offset);
    next_group_ = std::max(next_group_, group + 1);
    named_groups_.insert(group);
  } else if (type == RecordType::kAckRange) {
    ImageReader reader(record.body());
    const auto group = reader.Get<uint32_t>();
    next_group_ = std::max(next_group_, group + 1);
    groups_[group] = header.queue_partition;
    reader.Get<uint64_t>();
    ImageReader image(reader.GetBytes());
    image.Get<uint64_t>();
    Partition& partition = partitions_[header.queue_partition];
    partition.next = std::max(partition.next, image.Get<uint64_t>());
  } else if (type == RecordType::kRetire) {
    ReadRetirement(record);
  }
}

void RepairCatalog::ReadRetirement(const SalvagedRecord& record) {
  const auto said = KeyValueView::Parse(record.body());
  if (!said.ok()) return;
  next_queue_ = std::max(
      next_queue_, static_cast<uint32_t>(said->GetOr<int32_t>("queue", 1)));
  next_group_ = std::max(
      next_group_, static_cast<uint32_t>(said->GetOr<int32_t>("group", 1)));
  ImageReader offsets(said->GetOr<Bytes>("offsets", Bytes{}).data);
  while (!offsets.at_end() && offsets.ok()) {
    Partition& partition = partitions_[offsets.Get<uint32_t>()];
    partition.whole_from = offsets.Get<uint64_t>();
    partition.next = std::max(partition.next, partition.whole_from);
  }
}

std::string RepairCatalog::NameOf(uint32_t queue_partition) const {
  const auto found = queues_.find(QueueOf(queue_partition));
  return found == queues_.end() || found->second.gone ? std::string()
                                                      : found->second.name;
}

void RepairCatalog::FindLostOffsets(
    std::vector<RepairFinding>& findings) const {
  const std::vector<RepairFinding> holes = findings;
  for (const auto& [queue_partition, partition] : partitions_) {
    const auto queue = queues_.find(QueueOf(queue_partition));
    if (queue != queues_.end() && queue->second.gone) continue;
    uint64_t expected = partition.whole_from;
    uint64_t position = salvage_.begin();
    const auto lost_until = [&, lane = queue_partition](
                                uint64_t offset, uint64_t next_position) {
      RepairFinding lost;
      lost.loss = true;
      lost.what = "messages are missing";
      lost.queue = NameOf(lane);
      lost.partition = PartitionOf(lane);
      lost.first_offset = expected;
      lost.end_offset = offset;
      lost.position = position;
      lost.file = "log";
      // Where something cannot be read between the neighbours.
      for (const RepairFinding& hole : holes) {
        if (!hole.loss || hole.position < position ||
            hole.position > next_position) {
          continue;
        }
        lost.file = hole.file;
        lost.position = hole.position;
        break;
      }
      findings.push_back(std::move(lost));
    };
    for (auto at = partition.offsets.lower_bound(expected);
         at != partition.offsets.end(); ++at) {
      if (at->first > expected) lost_until(at->first, at->second);
      expected = at->first + 1;
      position = at->second;
    }
    if (partition.next > expected) lost_until(partition.next, UINT64_MAX);
  }
}

std::string RepairCatalog::NewNameOf(uint32_t id,
                                     const std::set<std::string>& taken) const {
  // Its dead letters tell whose dead-letter queue it was.
  if (const auto source = sources_.find(id); source != sources_.end()) {
    const auto found = queues_.find(source->second);
    if (found != queues_.end() && !found->second.dead_letter_queue.empty() &&
        taken.count(found->second.dead_letter_queue) == 0) {
      return found->second.dead_letter_queue;
    }
  }
  std::string name = Concat("repaired.", id);
  while (taken.count(name) != 0) name += ".again";
  return name;
}

absl::Status RepairCatalog::NameQueues(
    RepairTarget& target, std::vector<RepairFinding>& findings) const {
  std::set<std::string> taken;
  for (const auto& [id, queue] : queues_) {
    if (!queue.gone) taken.insert(queue.name);
  }
  uint32_t next = next_queue_;
  const auto add = [&](uint32_t id, const std::string& name,
                       uint32_t partitions) {
    taken.insert(name);
    QueueRecord record;
    record.name = name;
    record.options.partitions = static_cast<int32_t>(partitions);
    return target.Append(RecordType::kQueue, QueuePartition(id, 0), 0,
                         EncodeQueueRecord(record));
  };
  std::set<std::string> spaces = namespaces_;
  for (const auto& [id, queue] : queues_) {
    const size_t colon = queue.name.find("://");
    if (queue.known && !queue.gone && colon != std::string::npos &&
        spaces.insert(queue.name.substr(0, colon)).second) {
      auto s =
          target.Append(RecordType::kNamespace, QueuePartition(next++, 0), 0,
                        EncodeNamespaceRecord(queue.name.substr(0, colon)));
      if (!s.ok()) return s;
    }
    if (queue.known) continue;
    const std::string name = NewNameOf(id, taken);
    if (auto s = add(id, name, queue.partitions); !s.ok()) return s;
    RepairFinding finding;
    finding.file = "log";
    finding.what = Concat("the name and the options of queue number ", id,
                          " are lost; its messages are in \"",
                          std::string_view(name), '"');
    finding.loss = true;
    findings.push_back(std::move(finding));
  }
  // Nobody could receive from a queue whose dead letters have no place.
  for (const auto& [id, queue] : queues_) {
    const std::string& dead = queue.dead_letter_queue;
    if (queue.gone || dead.empty() || taken.count(dead) != 0) continue;
    if (auto s = add(next++, dead, 1); !s.ok()) return s;
    RepairFinding finding;
    finding.file = "log";
    finding.what = "the dead-letter queue is lost, and made anew";
    finding.loss = true;
    finding.queue = dead;
    findings.push_back(std::move(finding));
  }
  return absl::OkStatus();
}

void RepairCatalog::FindLostGroups(std::vector<RepairFinding>& findings) const {
  for (const auto& [group, queue_partition] : groups_) {
    if (named_groups_.count(group) != 0) continue;
    const auto queue = queues_.find(QueueOf(queue_partition));
    if (queue != queues_.end() && queue->second.gone) continue;
    RepairFinding finding;
    finding.file = "log";
    finding.what = Concat("the name of group number ", group,
                          " is lost, and so how far it was");
    finding.loss = true;
    finding.queue = NameOf(queue_partition);
    findings.push_back(std::move(finding));
  }
}

absl::Status RepairCatalog::GiveUpFront(RepairTarget& target) const {
  if (salvage_.begin() <= salvage_.retired_to()) return absl::OkStatus();
  ImageWriter offsets;
  for (const auto& [queue_partition, partition] : partitions_) {
    offsets.Put(queue_partition);
    offsets.Put(partition.in_place.empty() ? partition.next
                                           : partition.in_place.begin()->first);
  }
  KeyValue body;
  body.Put("first", static_cast<int64_t>(salvage_.begin())).IgnoreError();
  body.Put("queue", static_cast<int32_t>(next_queue_)).IgnoreError();
  body.Put("group", static_cast<int32_t>(next_group_)).IgnoreError();
  body.Put("offsets", Bytes{offsets.bytes()}).IgnoreError();
  return target.Append(RecordType::kRetire, 0, 0, body.encoded());
}

absl::Status RepairCatalog::Complete(
    RepairTarget& target, std::vector<RepairFinding>& findings) const {
  if (auto s = NameQueues(target, findings); !s.ok()) return s;
  FindLostGroups(findings);
  return GiveUpFront(target);
}

}  // namespace openmessaging::reference
