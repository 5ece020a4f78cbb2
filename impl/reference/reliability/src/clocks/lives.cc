// SPDX-License-Identifier: Apache-2.0
//
// Processes that open, close and die, boots, and what each of them leaves.

#include <algorithm>
#include <chrono>
#include <utility>

#include "check_storage.h"
#include "clocks/world.h"
#include "delay_table.h"
#include "prepared_table.h"

namespace openmessaging::reference::clocks {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMostLiving = 4;
// A disk has room for what so many dead processes had mapped.
constexpr size_t kMostDead = 64;
// What a message takes beside its body.
constexpr uint64_t kHeadBytes = 600;

}  // namespace

Process* World::AnyProcess() {
  return living_[dice_.Below(living_.size())].get();
}

void World::Open() {
  if (living_.size() >= kMostLiving) return;
  if (dead_.size() >= kMostDead && living_.empty()) Boot();
  ProcessTerms terms;
  terms.number = next_process_++;
  terms.knows_boot = knows_boot_;
  terms.housekeeps = !dice_.OneIn(4);
  terms.ack_sync = dice_.OneIn(3);
  for (int64_t& lease_ms : terms.lease_ms) lease_ms = SomeMs(100, 3 * kDayMs);
  auto opened = Process::Open(*disk_, machine_, terms, options_);
  if (!opened.ok()) return FailUnless("open", opened.status());
  const OpenPath path = (*opened)->store().open_path();
  Note("open ", terms.number, " by path ", static_cast<int>(path), ", leases ",
       terms.lease_ms[0], ' ', terms.lease_ms[1], ' ', terms.lease_ms[2],
       terms.housekeeps ? ", housekeeps" : "");
  const OpenPath due = living_.empty() ? next_path_ : OpenPath::kJoined;
  living_.push_back(*std::move(opened));
  if (path != due) {
    return Fail("opened by path ", static_cast<int>(path), ", not by ",
                static_cast<int>(due));
  }
  Process& process = *living_.back();
  if (path == OpenPath::kCreated) MakeQueues(process);
  FailUnless("find the queues", process.FindPartitions());
  if (fine() && (path == OpenPath::kClean || path == OpenPath::kCold)) {
    Recover(path);
  }
  next_path_ = knows_boot_ ? OpenPath::kWarm : OpenPath::kCold;
  may_lose_ = !knows_boot_;
}

void World::MakeQueues(Process& process) {
  Catalog& catalog = process.store().catalog();
  QueueOptions options;
  FailUnless("create", catalog.CreateQueue(kQueueNames[kDead], options,
                                           power::InGoodTime()));
  options.partitions = kPartitions;
  options.retention = milliseconds(retention_ms_);
  FailUnless("create", catalog.CreateQueue(kQueueNames[kBills], options,
                                           power::InGoodTime()));
  options.retention = milliseconds(0);
  options.dead_letter_queue = kQueueNames[kDead];
  options.max_deliveries = max_deliveries_;
  FailUnless("create", catalog.CreateQueue(kQueueNames[kOrders], options,
                                           power::InGoodTime()));
  for (size_t group = 0; group <= kGroups.size(); ++group) {
    FailUnless("bind", process.ReceiverOf(group).status());
  }
}

void World::Recover(OpenPath path) {
  const bool cold = path == OpenPath::kCold;
  for (auto& [number, item] : items_) {
    if (cold && item.stage == Stage::kGone && !item.durable) {
      item.stage = Stage::kUndecided;
      item.may_be_gone = true;
      gone_.erase(number);
      std::erase_if(decided_, [&item = item](const Decided& decided) {
        return decided.transaction_id == item.transaction_id;
      });
    }
    RecoverTimes(item);
    RecoverShares(item, cold);
    if (cold) item.least_checks = 0;
  }
  for (Decided& decided : decided_) {
    if (cold) decided.until_ns = 0;
  }
  Process& process = *living_.back();
  ShortenPartitions(process);
  if (cold) FindLost(process);
}

void World::ShortenPartitions(const Process& process) {
  for (int queue = 0; queue < kDead; ++queue) {
    for (int32_t p = 0; p < kPartitions; ++p) {
      Partition& partition = partitions_[size_t(queue)][size_t(p)];
      partition.next_offset = std::min(partition.next_offset,
                                       process.NextOffset(queue, p));
      const auto end = static_cast<int64_t>(partition.next_offset);
      for (int64_t& newest : partition.newest) {
        newest = std::min(newest, end - 1);
      }
      partition.kept_from =
          std::min(partition.kept_from, partition.next_offset);
      if (queue == kBills) partition.stored_ms.resize(partition.next_offset);
    }
  }
}

void World::RecoverTimes(Item& item) {
  if (item.stage != Stage::kWaiting && item.stage != Stage::kUndecided) return;
  const bool waits = item.stage == Stage::kWaiting;
  const int64_t most_ms = waits ? 2 * kMaxDelayMs : kMaxCheckMs;
  const auto left_ns = [&](int64_t due_ms) {
    return kMsNs *
           std::clamp<int64_t>(due_ms - machine_.wall_ms, 0, most_ms);
  };
  const int64_t from_ns = now_ns() + left_ns(item.due_ms);
  // The store writes it down a little later.
  const int64_t by_ns = from_ns + kMsNs + kLateNs;
  if (!waits && item.most_checks > 0) {
    // The log says when it was to be asked about first, or, where it was
    // appended again, at any later time.
    const int64_t latest_ns =
        now_ns() + left_ns(item.latest_due_ms) + kMsNs + kLateNs;
    item.from_ns = now_ns();
    item.by_ns = std::max({item.by_boot == boot_ ? item.by_ns : by_ns, by_ns,
                           latest_ns});
  } else if (item.by_boot == boot_ && knows_boot_ && item.boot == boot_) {
    return;
  } else if (item.by_boot == boot_) {
    // By the wall clock again, or as it was found once in this boot.
    item.from_ns = std::min(item.from_ns, from_ns);
    item.by_ns = std::max(item.by_ns, by_ns);
  } else {
    item.from_ns = from_ns;
    item.by_ns = by_ns;
  }
  if (!waits) item.from_ns -= kMsNs;
  // It stays where it has come to.
  if (item.may_be_there) item.from_ns = now_ns();
  item.by_boot = boot_;
}

void World::RecoverShares(Item& item, bool cold) {
  for (Share& share : item.shares) {
    if (cold) share.least = 0;
    if (share.hold == Hold::kNew) continue;
    if (share.hold == Hold::kOut) AddStale(item, share);
    const bool letter =
        share.letter == Letter::kMust || share.letter == Letter::kMay;
    if (share.hold == Hold::kDone) {
      share.may_return =
          share.may_return || (cold && (share.shaky || letter));
    } else {
      share.hold = Hold::kBack;
      share.by_ns = now_ns() + kDeadOwnerNs;
    }
    // How long it was to wait is not written down.
    share.from_ns = now_ns();
  }
}

bool World::ReadQueue(Process& process, int queue, int32_t partition,
                      std::vector<power::Received>& into) {
  const absl::Status status = process.session().ReadAll(
      kQueueNames[static_cast<size_t>(queue)], partition, into);
  FailUnless("read", status);
  return status.ok();
}

void World::FindLost(Process& process) {
  std::set<int> there;
  for (int queue = 0; queue < kDead; ++queue) {
    for (int32_t p = 0; p < kPartitions; ++p) {
      std::vector<power::Received> all;
      if (!ReadQueue(process, queue, p, all)) return;
      for (const power::Received& one : all) there.insert(one.number);
    }
  }
  for (auto& [number, item] : items_) {
    const bool settled =
        std::all_of(item.shares.begin(), item.shares.end(),
                    [](const Share& one) { return one.hold == Hold::kDone; });
    if (item.stage != Stage::kStored || item.durable ||
        there.contains(number)) {
      continue;
    }
    if (settled || item.expired) {
      item.may_be_gone = true;
      ++PartitionOf(item).doubtful;
      if (item.expired_letter == Letter::kMust) {
        item.expired_letter = Letter::kMay;
      }
      for (Share& share : item.shares) {
        if (share.letter == Letter::kMust) share.letter = Letter::kMay;
      }
      continue;
    }
    if (!may_lose_) {
      Fail("I1: message ", number, " is lost");
    }
    Note("lost ", number);
    item.stage = Stage::kGone;
    item.durable = true;  // For good.
    gone_.insert(number);
    --PartitionOf(item).known;
  }
}

void World::CloseOne() {
  const size_t n = dice_.Below(living_.size());
  Process& process = *living_[n];
  GiveBack(process.terms().number, true);
  const absl::Status status = process.Close();
  Note("close ", process.terms().number, ": ", power::TextOf(status));
  FailUnless("close", status);
  living_.erase(living_.begin() + static_cast<std::ptrdiff_t>(n));
  if (!living_.empty()) return;
  Flushed();
  if (knows_boot_) next_path_ = OpenPath::kClean;
  Check();
}

void World::GiveBack(int owner, bool closes) {
  for (auto& [number, item] : items_) {
    for (Share& share : item.shares) {
      if (share.hold != Hold::kOut || share.owner != owner) continue;
      if (closes) share.hold = Hold::kBack;
      share.owner = -1;
      share.from_ns = std::min(share.from_ns, now_ns());
      share.by_ns = std::min(share.by_ns, now_ns() + kDeadOwnerNs);
    }
  }
}

void World::Kill(size_t n) {
  ++counts_.crashes;
  Note("kill ", living_[n]->terms().number);
  GiveBack(living_[n]->terms().number, false);
  living_[n]->Kill();
  dead_.push_back(std::move(living_[n]));
  living_.erase(living_.begin() + static_cast<std::ptrdiff_t>(n));
}

void World::KillOne() {
  Kill(dice_.Below(living_.size()));
  if (living_.empty()) Check();
}

void World::KillAll() {
  while (!living_.empty()) Kill(living_.size() - 1);
  Check();
  if (!dice_.OneIn(3)) return;
  const auto hand = disk_->Run();
  FailUnless("remove ctl", hand->Remove("ctl"));
  hand->Kill();
  Note("ctl is lost");
  next_path_ = OpenPath::kCold;
  may_lose_ = !knows_boot_;
}

void World::Boot() {
  while (!living_.empty()) Kill(living_.size() - 1);
  ++counts_.boots;
  const bool everything = !loses_power_ || dice_.OneIn(2);
  auto disk = std::make_unique<power::Disk>(
      disk_->AfterPowerLoss(everything), nullptr);
  // Nothing of what was mapped is left.
  dead_.clear();
  disk_ = std::move(disk);
  const int64_t off_ms = SomeMs(1000, kDayMs);
  machine_.wall_ms += off_ms;
  machine_.Boot();
  ++boot_;
  Note("boot ", boot_, " after ", off_ms, " ms",
       everything ? "" : ", the power was lost");
  counts_.simulated_ms += off_ms;
  NoticeTime();
  next_path_ = OpenPath::kCold;
  may_lose_ = true;
  Check();
}

void World::Look() { CheckStored(*AnyProcess()); }

void World::Check() {
  const auto hand = disk_->Run();
  const ProcessClock clock(&machine_, knows_boot_);
  const auto report = CheckStorage(*hand, clock, "it");
  hand->Kill();
  if (!report.ok()) return FailUnless("check", report.status());
  if (report->damaged()) Fail("check: ", report->ToText());
}

void World::Finish() {
  counts_.turns++;
  loops_ = false;
  if (living_.empty()) Open();
  // Whoever has a message gives it back, and all of it is taken once more.
  for (int round = 0; fine() && round < 100; ++round) {
    bool left = false;
    Housekeep();
    for (size_t g = 0; g < kGroups.size() && fine(); ++g) {
      Receive(*AnyProcess(), g, SIZE_MAX);
    }
    for (auto& [number, item] : items_) {
      if (item.stage == Stage::kUndecided && fine()) Resolve(item, true);
      for (size_t g = 0; g < kGroups.size(); ++g) {
        if (kGroups[g].queue != item.queue) continue;
        if (item.shares[kGroups[g].share].hold == Hold::kOut && fine()) {
          SettleShare(item, g, driver::Verb::kAck);
        }
      }
      left = left || item.stage == Stage::kStored;
    }
    Bury();
    Flush();
    Forget();
    if (!left) break;
    Pass(dice_.OneIn(2) ? 2000 : kDayMs);
  }
  for (const auto& [number, item] : items_) {
    if (item.stage == Stage::kStored && fine()) {
      Fail("I1: message ", number, " never came");
    }
  }
  if (fine()) CheckStored(*AnyProcess());
  if (fine()) CheckDisk();
  while (fine() && !living_.empty()) CloseOne();
}

void World::CheckDisk() {
  // What is retired is given back a part at a time.
  for (int n = 0; n < 50; ++n) {
    MoveTo(now_ns() + 1000 * kMsNs);
    Housekeep();
  }
  uint64_t live = 0;
  for (const auto& [number, item] : items_) {
    live += item.body_bytes + kHeadBytes;
  }
  for (const Partition& partition : partitions_[kBills]) {
    const auto& stored_ms = partition.stored_ms;
    const auto first = std::find_if(
        stored_ms.begin(), stored_ms.end(),
        [&](int64_t ms) { return ms > machine_.wall_ms - retention_ms_; });
    live += static_cast<uint64_t>(stored_ms.end() - first) *
            (kMostBodyBytes + kHeadBytes);
  }
  const auto hand = disk_->Run();
  uint64_t used = 0;
  const auto names = hand->List("log");
  if (!names.ok()) return FailUnless("list", names.status());
  for (const std::string& name : *names) {
    const auto file = hand->Open("log/" + name, Access::kRead);
    if (!file.ok()) return FailUnless("open", file.status());
    used += (*file)->Size().value();
  }
  hand->Kill();
  const uint64_t most =
      4 * live + 3 * (options_.max_segment_bytes + kSegmentHeaderBytes) +
      options_.reserve_bytes;
  Note("the log has ", used, " bytes for ", live);
  if (used > most) {
    Fail("I19: the log has ", used, " bytes where ", live, " live");
  }
}

}  // namespace openmessaging::reference::clocks
