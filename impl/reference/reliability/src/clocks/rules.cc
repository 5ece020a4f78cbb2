// SPDX-License-Identifier: Apache-2.0
//
// What must and what may be in a world.

#include <algorithm>
#include <utility>

#include "clocks/world.h"
#include "openmessaging/dead_letter.h"

namespace openmessaging::reference::clocks {

Item* World::Find(int number) {
  const auto found = items_.find(number);
  return found == items_.end() ? nullptr : &found->second;
}

void World::MayExpire(Item& item) {
  if (item.expired_letter == Letter::kNot) item.expired_letter = Letter::kMay;
}

void World::MayMove(Item& item, Share& share) {
  share.letter = Letter::kMay;
  if (item.expired) MayExpire(item);
}

void World::EnterItem(Item& item) {
  if (item.stage != Stage::kWaiting) return;
  item.stage = Stage::kStored;
  ++PartitionOf(item).known;
}

void World::CheckContent(const Item& item, int queue,
                         const power::Received& one) {
  if (one.body != power::BodyOf(item.number, item.body_bytes) ||
      one.id != item.id) {
    Fail("I2: message ", item.number, " is altered");
  }
  if (queue != item.queue || one.partition != item.partition) {
    Fail("I2: message ", item.number, " is in another queue");
  }
  if (item.stage == Stage::kUndecided) {
    Fail("I5: message ", item.number, " is undecided, and is there");
  }
  if (item.stage == Stage::kGone) {
    Fail("message ", item.number, " was withdrawn, and is there");
  }
  if (item.stage == Stage::kWaiting && now_ns() < item.from_ns) {
    Fail("I10: message ", item.number, " comes ",
         (item.from_ns - now_ns()) / kMsNs, " ms early");
  }
  if (item.expire_ms != 0 && item.expire_ms <= machine_.wall_ms) {
    Fail("I11: message ", item.number, " has expired, and is there");
  }
  if (item.offset >= 0 && item.offset != one.offset) {
    Fail("I4: message ", item.number, " was at offset ", item.offset,
         " and is at ", one.offset);
  }
}

void World::Delivered(size_t group, Process& process, power::Received& one) {
  ++counts_.received;
  Note("got ", one.number, " at ", one.partition, ":", one.offset, " for ",
       kGroups[group].name, ", time ", one.count);
  Item* const found = Find(one.number);
  if (found == nullptr) {
    return Fail("I6: message ", one.number,
                " was settled or never sent, and is received");
  }
  Item& item = *found;
  const GroupFact& fact = kGroups[group];
  CheckContent(item, fact.queue, one);
  Share& share = item.shares[fact.share];
  CheckShare(item, share, fact, one);
  if (item.kind == Kind::kDelayed && share.hold == Hold::kNew) {
    ++counts_.delayed;
  }
  EnterItem(item);
  item.offset = one.offset;
  int64_t& newest = PartitionOf(item).newest[group];
  // What had expired was passed over; a recovery may forget that, and a clock
  // that is set back that it had expired.
  if (share.hold == Hold::kNew && one.offset <= newest && !item.expired) {
    Fail("I3: offset ", one.offset, " comes after ", newest);
  }
  newest = std::max(newest, one.offset);
  if (share.hold == Hold::kOut) AddStale(item, share);
  // Its dead letter was lost with the power, and it has not expired any more.
  if (share.may_return && item.expired_letter == Letter::kMust) {
    item.expired_letter = Letter::kMay;
  }
  share.hold = Hold::kOut;
  share.letter = Letter::kNot;
  share.may_return = false;
  share.shaky = false;
  share.owner = process.terms().number;
  share.from_ns = now_ns() + process.terms().lease_ms[group] * kMsNs;
  share.by_ns = share.from_ns + kLeaseOverNs;
  share.least = share.most = one.count;
  share.receipt = one.receipt;
}

void World::CheckShare(const Item& item, const Share& share,
                       const GroupFact& group, const power::Received& one) {
  if (share.hold == Hold::kDone && !share.may_return) {
    Fail("I6: message ", item.number, " was settled and comes again");
  }
  if (share.letter == Letter::kSeen) {
    Fail("I9: message ", item.number, " is a dead letter and comes again");
  }
  if (share.hold == Hold::kOut && now_ns() < share.from_ns) {
    Fail("I8: message ", item.number, " comes while another has it for ",
         (share.from_ns - now_ns()) / kMsNs, " ms more");
  }
  if (share.hold == Hold::kBack && now_ns() < share.from_ns) {
    Fail("I10: message ", item.number, " was given back and comes ",
         (share.from_ns - now_ns()) / kMsNs, " ms early");
  }
  if (one.count < share.least + 1 || one.count > share.most + 1) {
    Fail("I9: message ", item.number, " comes for the ", one.count,
         "th time, and came ", share.least, " to ", share.most, " times");
  }
  if (group.queue == kOrders && one.count > max_deliveries_) {
    Fail("I9: message ", item.number, " comes more than ", max_deliveries_,
         " times");
  }
}

void World::CheckOverdue(size_t group) {
  const GroupFact& fact = kGroups[group];
  for (auto& [number, item] : items_) {
    if (item.queue != fact.queue || !fine()) continue;
    if (item.stage == Stage::kWaiting && item.by_ns <= now_ns()) {
      const bool unseen = item.expired;
      if (!unseen) Fail("I10: message ", number, " is due and does not come");
      EnterItem(item);
      ++PartitionOf(item).doubtful;
    }
    if (item.stage == Stage::kStored) {
      Overdue(item, item.shares[fact.share], fact);
    }
  }
}

void World::Overdue(Item& item, Share& share, const GroupFact& group) {
  const bool moves = group.queue == kOrders;
  if (share.hold == Hold::kDone) {
    // It did not come again, so that it is settled for good.
    if (!share.may_return) return;
    share.may_return = false;
    if (item.expired && moves) MayExpire(item);
    if (moves && (share.rejected || share.most >= max_deliveries_)) {
      if (share.letter == Letter::kNot || item.expired) {
        share.letter = Letter::kMay;
      }
    }
    return;
  }
  if (share.by_ns > now_ns()) return;
  const bool exhausted = moves && share.most >= max_deliveries_;
  if (item.expired) {
    ++counts_.expired;
    share.hold = Hold::kDone;
    share.shaky = true;
    if (!moves) return;
    const bool sure = item.expire_ms <= machine_.wall_ms && !exhausted &&
                      !item.may_be_gone;
    if (item.expired_letter != Letter::kSeen) {
      item.expired_letter = sure ? Letter::kMust : Letter::kMay;
    }
    if (exhausted) share.letter = Letter::kMay;
    return;
  }
  if (exhausted) {
    share.hold = Hold::kDone;
    share.shaky = true;
    share.letter = Letter::kMust;
    return;
  }
  Fail(share.hold == Hold::kNew ? "I1" : "I7", ": message ", item.number,
       " does not come to group ", group.name, "; it came ", share.most,
       " times");
}

void World::CheckLetter(const power::Received& one) {
  Note("letter ", one.number, " of ", one.group, ": ", one.reason);
  Item* const item = Find(one.number);
  if (item == nullptr || item->queue != kOrders) {
    return Fail("I9: message ", one.number, " is a dead letter, and was ",
                "settled or never sent");
  }
  if (one.body != power::BodyOf(item->number, item->body_bytes)) {
    Fail("I2: dead letter ", one.number, " is altered");
  }
  const size_t g = one.group == kGroups[0].name ? 0 : 1;
  Share& share = item->shares[kGroups[g].share];
  if (item->stage == Stage::kWaiting) EnterItem(*item);
  if (one.reason == kDeadExpired) {
    if (!item->expired) Fail("I11: message ", one.number, " moved too early");
    if (item->expired_letter == Letter::kSeen) {
      Fail("I9: message ", one.number, " moved twice when it had expired");
    }
    item->expired_letter = Letter::kSeen;
    if (share.letter != Letter::kSeen) share.letter = Letter::kNot;
    share.hold = Hold::kDone;
    return;
  }
  const bool rejected = one.reason == kDeadRejected;
  if (rejected ? !share.rejected : share.most < max_deliveries_) {
    Fail("I9: message ", one.number, " is a dead letter without a reason");
  }
  if (share.letter == Letter::kSeen) {
    Fail("I9: message ", one.number, " is a dead letter twice");
  }
  if (share.hold == Hold::kDone && share.letter == Letter::kNot &&
      !share.may_return) {
    Fail("I6: message ", one.number, " was settled and is a dead letter");
  }
  if (share.hold != Hold::kDone && now_ns() < share.from_ns) {
    Fail("I9: message ", one.number, " moved while somebody had it");
  }
  share.letter = Letter::kSeen;
  share.hold = Hold::kDone;
  share.may_return = false;
}

void World::Enter() {
  if (living_.empty()) return;
  const Process& process = *living_.front();
  for (int queue = 0; queue < kDead; ++queue) {
    for (int32_t p = 0; p < kPartitions; ++p) {
      Partition& partition = partitions_[size_t(queue)][size_t(p)];
      const uint64_t next = process.NextOffset(queue, p);
      for (; partition.next_offset < next; ++partition.next_offset) {
        if (queue == kBills) partition.stored_ms.push_back(machine_.wall_ms);
      }
    }
  }
}

void World::CheckEntered(bool housekept) {
  if (living_.empty()) return;
  std::array<std::array<int64_t, kPartitions>, 2> certain{};
  std::array<std::array<int64_t, kPartitions>, 2> possible{};
  for (auto& [number, item] : items_) {
    if (item.stage != Stage::kWaiting) continue;
    item.may_be_there = item.may_be_there || item.from_ns <= now_ns();
    if (!item.may_be_there) continue;
    const auto queue = static_cast<size_t>(item.queue);
    const auto p = static_cast<size_t>(item.partition);
    ++possible[queue][p];
    if (housekept && item.by_ns <= now_ns()) ++certain[queue][p];
  }
  for (size_t queue = 0; queue < kDead; ++queue) {
    for (size_t p = 0; p < kPartitions; ++p) {
      const Partition& partition = partitions_[queue][p];
      const int64_t more =
          static_cast<int64_t>(partition.next_offset) - partition.known;
      if (more < certain[queue][p] - partition.doubtful) {
        Fail("I10: ", certain[queue][p], " messages are due in queue ",
             kQueueNames[queue], ", and ", more, " came");
      }
      if (more > possible[queue][p] + partition.doubtful) {
        Fail("I10: ", more, " messages came to queue ", kQueueNames[queue],
             ", and ", possible[queue][p], " may be due");
      }
    }
  }
}

void World::CheckStored(Process& process) {
  Note("look at all that is stored");
  std::set<int> there;
  for (int queue = 0; queue < kDead && fine(); ++queue) {
    for (int32_t p = 0; p < kPartitions; ++p) {
      std::vector<power::Received> all;
      if (!ReadQueue(process, queue, p, all)) return;
      Enter();
      int64_t next = -1;
      for (const power::Received& one : all) {
        there.insert(one.number);
        if (one.offset <= next) Fail("I4: offset ", one.offset, " comes twice");
        next = one.offset;
        Item* const item = Find(one.number);
        if (item != nullptr) {
          CheckContent(*item, queue, one);
          EnterItem(*item);
          item->offset = one.offset;
        } else if (one.number < 0 || one.number >= next_number_ ||
                   gone_.contains(one.number) ||
                   one.body != power::BodyOf(one.number, one.body.size())) {
          Fail("I2: message ", one.number, " is stored, and should not be");
        }
      }
      const Partition& partition = partitions_[size_t(queue)][size_t(p)];
      if (queue == kBills && retention_ms_ > 0 &&
          all.size() < partition.next_offset - partition.kept_from) {
        Fail("I19: of queue bills ", all.size(), " messages are left, and ",
             "all from ", partition.kept_from, " to ", partition.next_offset,
             " are to be kept");
      }
    }
  }
  for (const auto& [number, item] : items_) {
    const bool needed = std::any_of(
        item.shares.begin(), item.shares.end(), [](const Share& share) {
          return share.hold != Hold::kDone && share.most == 0;
        });
    if (item.stage == Stage::kStored && needed && !item.expired &&
        !there.contains(number)) {
      Fail("I1: message ", number, " is not stored any more");
    }
  }
}

void World::Forget() {
  std::erase_if(items_, [](const auto& entry) {
    const Item& item = entry.second;
    if (item.stage == Stage::kGone) return item.durable;
    if (item.stage != Stage::kStored ||
        item.expired_letter == Letter::kMust ||
        item.expired_letter == Letter::kMay) {
      return false;
    }
    return std::all_of(item.shares.begin(), item.shares.end(),
                       [](const Share& share) {
                         return share.hold == Hold::kDone && !share.shaky &&
                                !share.may_return &&
                                share.letter != Letter::kMay &&
                                share.letter != Letter::kMust;
                       });
  });
}

}  // namespace openmessaging::reference::clocks
