// SPDX-License-Identifier: Apache-2.0
//
// What the applications of a world do.

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "clocks/world.h"
#include "delays.h"
#include "openmessaging/status.h"
#include "redelivery.h"
#include "transactions.h"

namespace openmessaging::reference::clocks {
namespace {

using std::chrono::milliseconds;

// What may be under way at a time.
constexpr size_t kMostItems = 150;
constexpr size_t kMostStale = 64;
// The longest that a store waits before it asks again, but for the first time.
constexpr int64_t kLongestCheckMs = 60'000;

// Returns: how long a store waits after so many checks.
int64_t CheckWaitMs(int64_t check_after_ms, int32_t checks) {
  const int64_t longest_ms = std::max(check_after_ms, kLongestCheckMs);
  int64_t wait_ms = check_after_ms;
  for (int32_t n = 0; n < checks && wait_ms < longest_ms; ++n) wait_ms *= 2;
  return std::min(wait_ms, longest_ms);
}

// Whether a receipt is no good any more.
bool IsRefused(const absl::Status& status) {
  const Code code = OmsCode(status);
  return code == Code::kReceiptExpired || code == Code::kReceiptInvalid;
}

}  // namespace

void World::Send() {
  if (items_.size() > kMostItems) return Settle();
  const uint64_t kind = dice_.Below(10);
  SendOne(kind < 5   ? Kind::kPlain
          : kind < 8 ? Kind::kDelayed
                     : Kind::kPrepared);
}

void World::SendOne(Kind kind) {
  Process& process = *AnyProcess();
  Item item;
  item.number = next_number_++;
  item.kind = kind;
  item.queue = dice_.OneIn(3) ? kBills : kOrders;
  item.partition = static_cast<int32_t>(dice_.Below(kPartitions));
  item.body_bytes = dice_.Below(dice_.OneIn(4) ? kMostBodyBytes : 100);
  item.disk = kind != Kind::kPlain || !dice_.OneIn(3);
  item.durable = item.disk;
  item.boot = boot_;
  item.by_boot = boot_;
  item.shares.resize(item.queue == kOrders ? 2 : 1);
  Message message(kQueueNames[static_cast<size_t>(item.queue)],
                  power::BodyOf(item.number, item.body_bytes));
  message.SetPartition(item.partition);
  message.SetDurability(item.disk ? Durability::kDisk : Durability::kProcess);
  if (item.queue == kOrders && dice_.OneIn(4)) {
    item.expire_ms = machine_.wall_ms + SomeMs(1, 30 * kDayMs);
    message.SetExpireAt(milliseconds(item.expire_ms));
  }
  if (kind == Kind::kPrepared) return Prepare(item, message);
  int64_t delay_ms = 0;
  if (kind == Kind::kDelayed) {
    delay_ms = SomeMs(1, dice_.OneIn(8) ? 90 * kDayMs : kDayMs);
    message.SetDelay(milliseconds(delay_ms));
    item.stage = Stage::kWaiting;
    item.from_ns = now_ns() + delay_ms * kMsNs;
    item.by_ns = item.from_ns + kLateNs;
    item.due_ms = machine_.wall_ms + delay_ms;
  }
  const auto result = process.session().Send({&message, 1})[0];
  Note("send ", item.number, " to ",
       kQueueNames[static_cast<size_t>(item.queue)], " ", item.partition,
       " delay ", delay_ms, " expires ", item.expire_ms,
       item.disk ? "" : " in memory");
  if (!result.ok()) return FailUnless("send", result.status());
  ++counts_.sent;
  item.id = result->message_id;
  item.offset = result->offset;
  if (kind == Kind::kPlain) {
    Partition& partition = PartitionOf(item);
    if (result->offset != static_cast<int64_t>(
                              process.NextOffset(item.queue, item.partition)) -
                              1) {
      Fail("I4: message ", item.number, " has offset ", result->offset);
    }
    ++partition.known;
  }
  if (item.disk) Flushed();
  items_.emplace(item.number, std::move(item));
}

void World::Prepare(Item& item, const Message& message) {
  item.stage = Stage::kUndecided;
  item.check_after_ms = SomeMs(100, 12 * kHourMs);
  item.max_checks = static_cast<int32_t>(1 + dice_.Below(6));
  item.from_ns = now_ns() + item.check_after_ms * kMsNs;
  item.by_ns = item.from_ns + kLateNs;
  item.due_ms = machine_.wall_ms + item.check_after_ms;
  item.latest_due_ms = item.due_ms;
  driver::CallContext context;
  context.deadline = power::InGoodTime();
  const auto prepared = AnyProcess()->session().transactions().Prepare(
      message, {"sellers", milliseconds(item.check_after_ms), item.max_checks},
      context);
  Note("prepare ", item.number, " for ",
       kQueueNames[static_cast<size_t>(item.queue)], " ", item.partition,
       " check after ", item.check_after_ms, " at most ", item.max_checks,
       " expires ", item.expire_ms);
  if (!prepared.ok()) return FailUnless("prepare", prepared.status());
  item.transaction_id = prepared->transaction_id;
  item.id = prepared->message_id;
  Flushed();
  items_.emplace(item.number, std::move(item));
}

void World::Flush() {
  FailUnless("flush", AnyProcess()->Flush());
  Note("flush");
  Flushed();
}

void World::Flushed() {
  for (auto& [number, item] : items_) {
    item.durable = true;
    // The flush leader writes what was settled first.
    for (Share& share : item.shares) share.shaky = false;
  }
}

Item* World::Pick(Stage stage) {
  std::vector<Item*> all;
  for (auto& [number, item] : items_) {
    if (item.stage == stage) all.push_back(&item);
  }
  return all.empty() ? nullptr : all[dice_.Below(all.size())];
}

void World::Cancel() {
  Item* const item = Pick(Stage::kWaiting);
  if (item == nullptr) return;
  Store& store = AnyProcess()->store();
  const auto queue = store.catalog().FindQueue(
      kQueueNames[static_cast<size_t>(item->queue)], power::InGoodTime());
  if (!queue.ok()) return FailUnless("find a queue", queue.status());
  const absl::Status status =
      store.delays().Cancel(**queue, item->id, power::InGoodTime());
  Note("cancel ", item->number, ": ", power::TextOf(status));
  if (status.ok()) {
    item->stage = Stage::kGone;
    gone_.insert(item->number);
    Flushed();
  } else if (OmsCode(status) != Code::kIllegalState) {
    FailUnless("cancel", status);
  } else if (now_ns() < item->from_ns) {
    Fail("I10: message ", item->number, " does not wait, and is not due");
  }
}

void World::Decide() {
  Item* const item = Pick(Stage::kUndecided);
  if (item != nullptr) Resolve(*item, !dice_.OneIn(3));
}

void World::Resolve(Item& item, bool commit) {
  const absl::Status status = AnyProcess()->store().transactions().Resolve(
      item.transaction_id,
      commit ? PreparedState::kCommitted : PreparedState::kRolledBack,
      power::InGoodTime());
  Note(commit ? "commit " : "roll back ", item.number, ": ",
       power::TextOf(status));
  if (item.may_be_gone &&
      (OmsCode(status) == Code::kTransactionConflict ||
       OmsCode(status) == Code::kQueueNotFound)) {
    return EndTransaction(item, false);
  }
  if (!status.ok()) return FailUnless("I5: decide", status);
  item.may_be_gone = false;
  EndTransaction(item, commit);
  if (commit) ++PartitionOf(item).known;
  Flushed();
}

void World::EndTransaction(Item& item, bool committed) {
  item.stage = committed ? Stage::kStored : Stage::kGone;
  if (!committed) gone_.insert(item.number);
  // One that may be gone may have ended at any time before.
  decided_.push_back({item.transaction_id, committed,
                      item.may_be_gone ? 0 : now_ns() + kHourMs * kMsNs});
  if (decided_.size() > kMostStale) decided_.erase(decided_.begin());
}

void World::DecideAgain() {
  if (decided_.empty()) return;
  const Decided& decided = decided_[dice_.Below(decided_.size())];
  const bool commit = dice_.OneIn(2);
  const absl::Status status = AnyProcess()->store().transactions().Resolve(
      decided.transaction_id,
      commit ? PreparedState::kCommitted : PreparedState::kRolledBack,
      power::InGoodTime());
  Note("decide again: ", power::TextOf(status));
  if (OmsCode(status) == Code::kQueueNotFound) {
    if (now_ns() < decided.until_ns) Fail("I5: a decision was forgotten");
  } else if (commit == decided.committed) {
    FailUnless("I5: decide the same again", status);
  } else if (OmsCode(status) != Code::kTransactionConflict) {
    Fail("I5: the opposite of a decision was taken: ", power::TextOf(status));
  }
}

void World::RunChecks() {
  Process& process = *AnyProcess();
  for (size_t n = 0; n <= kMostItems && fine(); ++n) {
    auto taken = process.checks().Take(std::chrono::steady_clock::now());
    if (!taken.ok()) return FailUnless("take a check", taken.status());
    if (!*taken) break;
    Checked(**taken);
  }
  // Whoever is due now had its last check before.
  for (auto& [number, item] : items_) {
    if (item.stage != Stage::kUndecided || item.from_ns > now_ns()) continue;
    if (item.by_ns > now_ns()) {
      if (item.most_checks >= item.max_checks) item.may_be_gone = true;
      continue;
    }
    if (item.most_checks < item.max_checks && !item.may_be_gone) {
      Fail("I5: message ", number, " is undecided, and nobody is asked");
    }
    Note("rolled back ", number);
    EndTransaction(item, false);
    item.durable = false;
  }
}

void World::Checked(const Message& message) {
  ++counts_.checks;
  Item* const item = Find(power::NumberOf(message.body()));
  if (item == nullptr || item->transaction_id != message.transaction_id() ||
      message.body() != power::BodyOf(item->number, item->body_bytes)) {
    return Fail("I5: asked about message ", power::NumberOf(message.body()),
                ", which nobody prepared");
  }
  Note("asked about ", item->number);
  if (item->stage != Stage::kUndecided) {
    return Fail("I5: asked about message ", item->number, ", which is decided");
  }
  if (now_ns() < item->from_ns || item->least_checks >= item->max_checks) {
    Fail("I5: asked about message ", item->number, " too early or too often");
  }
  const int64_t wait_ms = CheckWaitMs(item->check_after_ms, item->most_checks);
  const int64_t least_ms =
      CheckWaitMs(item->check_after_ms, item->least_checks);
  item->may_be_gone = false;
  ++item->least_checks;
  ++item->most_checks;
  item->from_ns = now_ns() + least_ms * kMsNs;
  item->by_ns = now_ns() + wait_ms * kMsNs + kLateNs;
  item->due_ms = machine_.wall_ms + wait_ms;
  item->latest_due_ms = std::max(item->latest_due_ms, item->due_ms);
  if (dice_.OneIn(3)) Resolve(*item, dice_.OneIn(2));
}

void World::ReceiveSome() {
  const size_t group = dice_.Below(kGroups.size());
  Receive(*AnyProcess(), group,
          dice_.OneIn(2) ? SIZE_MAX : 1 + dice_.Below(8));
}

void World::Receive(Process& process, size_t group, size_t most) {
  const auto receiver = process.ReceiverOf(group);
  if (!receiver.ok()) return FailUnless("bind", receiver.status());
  std::vector<power::Received> all;
  const uint64_t looks = process.looks();
  const absl::Status status = (*receiver)->Take(most, all);
  counts_.most_looks =
      std::max(counts_.most_looks, process.looks() - looks);
  Note("receive by ", process.terms().number, " for ", kGroups[group].name,
       " of ", kQueueNames[static_cast<size_t>(kGroups[group].queue)], ": ",
       all.size());
  FailUnless("receive", status);
  Enter();
  for (power::Received& one : all) Delivered(group, process, one);
  // Whoever got less than he asked for left nothing behind.
  if (fine() && all.size() < most) CheckOverdue(group);
}

void World::Settle() {
  std::vector<std::pair<Item*, size_t>> all;
  for (auto& [number, item] : items_) {
    for (size_t g = 0; g < kGroups.size(); ++g) {
      if (kGroups[g].queue == item.queue &&
          item.shares[kGroups[g].share].hold == Hold::kOut) {
        all.emplace_back(&item, g);
      }
    }
  }
  if (all.empty()) return;
  const auto [item, group] = all[dice_.Below(all.size())];
  const uint64_t verb = dice_.Below(12);
  SettleShare(*item, group,
              verb == 0   ? driver::Verb::kNack
              : verb == 1 ? driver::Verb::kNackDelay
              : verb == 2 ? driver::Verb::kExtend
              : verb == 3 && item->queue == kOrders ? driver::Verb::kReject
                                                    : driver::Verb::kAck);
}

void World::SettleShare(Item& item, size_t group, driver::Verb verb) {
  Share& share = item.shares[kGroups[group].share];
  Process* process = AnyProcess();
  for (auto& one : living_) {
    if (one->terms().number == share.owner) process = one.get();
  }
  const auto receiver = process->ReceiverOf(group);
  if (!receiver.ok()) return FailUnless("bind", receiver.status());
  const int64_t for_ms = SomeMs(1, kDayMs);
  const absl::Status status =
      (*receiver)->Settle(share.receipt, verb, milliseconds(for_ms));
  Note("settle ", item.number, " of ", kGroups[group].name, " by verb ",
       static_cast<int>(verb), " for ", for_ms, ": ", power::TextOf(status));
  // A dead one's lease is over, however long it was to be.
  if (verb == driver::Verb::kExtend && share.owner < 0) {
    if (!IsRefused(status)) Fail("I7: the lease of a dead process is extended");
    return;
  }
  const bool over = now_ns() >= share.from_ns;
  // It may have moved to the dead letters as soon as its lease was over.
  const bool may_move = over && item.queue == kOrders &&
                        (share.most >= max_deliveries_ || item.expired);
  if (!status.ok()) {
    if (!IsRefused(status) || !may_move) FailUnless("I8: settle", status);
    return;
  }
  if (verb != driver::Verb::kExtend) AddStale(item, share);
  // What has moved counts as settled, whatever else is asked.
  if (may_move && verb != driver::Verb::kExtend) MayMove(item, share);
  Settled(share, verb, for_ms);
  if (verb == driver::Verb::kAck && (*receiver)->ack_sync()) Flushed();
}

void World::Settled(Share& share, driver::Verb verb, int64_t for_ms) {
  switch (verb) {
    case driver::Verb::kAck:
      share.hold = Hold::kDone;
      share.shaky = true;
      return;
    case driver::Verb::kReject:
      share.hold = Hold::kDone;
      share.shaky = true;
      share.rejected = true;
      if (share.letter == Letter::kNot) share.letter = Letter::kMust;
      return;
    case driver::Verb::kExtend:
      share.from_ns = now_ns() + for_ms * kMsNs;
      share.by_ns = share.from_ns + kLeaseOverNs;
      return;
    default:
      break;
  }
  const int64_t wait_ns =
      verb == driver::Verb::kNackDelay
          ? for_ms * kMsNs
          : RedeliveryPolicy::Of(QueueOptions()).BackoffNs(
                static_cast<uint32_t>(share.most));
  share.hold = Hold::kBack;
  share.by_ns = now_ns() + wait_ns + kDeadOwnerNs;
  share.from_ns = share.letter == Letter::kMay ? now_ns() : now_ns() + wait_ns;
}

void World::AddStale(const Item& item, const Share& share) {
  for (size_t g = 0; g < kGroups.size(); ++g) {
    if (kGroups[g].queue == item.queue &&
        &share == &item.shares[kGroups[g].share]) {
      stale_.push_back({item.number, static_cast<int>(g), share.receipt});
    }
  }
  if (stale_.size() > kMostStale) stale_.erase(stale_.begin());
}

void World::SettleStale() {
  if (stale_.empty()) return;
  std::vector<StaleReceipt> out;
  for (const StaleReceipt& one : stale_) {
    const Item* const item = Find(one.number);
    const GroupFact& fact = kGroups[static_cast<size_t>(one.group)];
    if (item != nullptr && item->shares[fact.share].hold == Hold::kOut) {
      out.push_back(one);
    }
  }
  // Rather one whose message somebody else has by now.
  const auto& all = out.empty() || dice_.OneIn(4) ? stale_ : out;
  const StaleReceipt stale = all[dice_.Below(all.size())];
  const auto group = static_cast<size_t>(stale.group);
  const auto receiver = AnyProcess()->ReceiverOf(group);
  if (!receiver.ok()) return FailUnless("bind", receiver.status());
  const absl::Status status =
      (*receiver)->Settle(stale.receipt, driver::Verb::kAck);
  Note("settle ", stale.number, " of ", kGroups[group].name,
       " by an old receipt: ", power::TextOf(status));
  if (!status.ok() && !IsRefused(status)) FailUnless("settle", status);
  const Item* const item = Find(stale.number);
  if (!status.ok() || item == nullptr) return;
  const Share& share = item->shares[kGroups[group].share];
  if (share.hold != Hold::kDone && !item->expired &&
      share.most < max_deliveries_) {
    Fail("I8: an old receipt settled message ", stale.number);
  }
}

void World::Bury() {
  const auto receiver = AnyProcess()->ReceiverOf(kGroups.size());
  if (!receiver.ok()) return FailUnless("bind", receiver.status());
  std::vector<power::Received> all;
  FailUnless("receive", (*receiver)->Take(SIZE_MAX, all));
  Note("bury ", all.size());
  for (const power::Received& one : all) {
    CheckLetter(one);
    FailUnless("ack", (*receiver)->Settle(one.receipt, driver::Verb::kAck));
  }
  counts_.dead_letters += all.size();
  if (!all.empty()) Flushed();
  for (auto& [number, item] : items_) {
    for (Share& share : item.shares) {
      if (share.letter == Letter::kMust && !share.may_return) {
        Fail("I9: message ", number, " is no dead letter, and should be one");
      }
      if (share.letter == Letter::kMay) share.letter = Letter::kNot;
    }
    const bool settled =
        std::none_of(item.shares.begin(), item.shares.end(),
                     [](const Share& one) { return one.may_return; });
    if (item.expired_letter == Letter::kMust && settled) {
      Fail("I11: message ", number, " has expired, and is no dead letter");
    }
    if (item.expired_letter == Letter::kMay) {
      item.expired_letter = Letter::kNot;
    }
  }
}

}  // namespace openmessaging::reference::clocks
