// SPDX-License-Identifier: Apache-2.0

#include "power/judge.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "checkpoint.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "power/trial.h"
#include "scanner.h"

namespace openmessaging::reference::power {
namespace {

using internal::Concat;

// Longer than any delay or lease.
constexpr int64_t kLaterMs = 3'600'000;

}  // namespace

std::string Trial::Run(const Image& image) {
  machine_.wall_ms = model_.WallAt(cut_);
  machine_.Boot();
  Disk disk(image, nullptr);
  if (Live(disk) && fine() && !terms_.lied) {
    machine_.Boot();
    Disk again(disk.AfterPowerLoss(terms_.seed % 2 == 0), nullptr);
    LiveAgain(again);
  }
  return std::move(failure_);
}

void Trial::Check(Disk& disk) {
  const auto process = disk.Run();
  const auto store = ReadStoreFromOutside(*process, "check", "it");
  // A store that was being made.
  if (!store.ok() || !process->List("log").ok()) return process->Kill();
  const auto checkpoint = ReadCheckpoint(*process, store->uuid);
  ScanOptions options;
  options.boot_hash = machine_.boot_hash;
  options.same_place = true;
  options.witness = checkpoint ? checkpoint->end : 0;
  options.verify_bodies = true;
  auto scan = LogScan::Load(*process, store->uuid, options);
  if (!scan.ok()) {
    Fail("check: ", TextOf(scan.status()));
    return process->Kill();
  }
  uint64_t retired_to = 0;
  scan->ForEach(0, [&](const ScannedSegment&, const RecordHeader& header,
                       const char* record, bool ok) {
    if (ok && CommitWord::Type(header.commit) == RecordType::kRetire) {
      retired_to = std::max(retired_to, RetiredTo(header, record));
    }
  });
  for (const ScanFinding& finding : scan->findings()) {
    if (!finding.damage) continue;
    if (finding.of_body && finding.position < retired_to) continue;
    told_of_damage_ = true;
    if (terms_.lied) continue;
    Fail("check reports damage: ", std::string_view(finding.file), " at ",
         finding.position, ": ", std::string_view(finding.what));
  }
  if (!scan->segments().empty() &&
      scan->segments().front().header.base > retired_to) {
    told_of_damage_ = true;
    if (!terms_.lied) Fail("check: the first segments are missing");
  }
  process->Kill();
}

bool Trial::Live(Disk& disk) {
  Check(disk);
  auto session = Session::Open(disk, machine_, model_.options);
  if (!session.ok()) {
    // Whoever says why has told of the loss.
    if (!terms_.lied) Fail("open: ", TextOf(session.status()));
    return false;
  }
  const OpenPath path = (*session)->store()->open_path();
  if (path != OpenPath::kCold && path != OpenPath::kCreated) {
    Fail("opened by the wrong path after a power loss");
  }
  if ((*session)->store()->opened_end() < model_.DurableAt(cut_) &&
      !terms_.lied) {
    Fail("I1: the log ends at ", (*session)->store()->opened_end(),
         " and was durable to ", model_.DurableAt(cut_));
  }
  Contents early = Read(**session);
  if (!fine()) return true;
  if (terms_.lied) {
    CheckContents(early);
    return true;
  }
  CheckNotEarly(early);
  SendFresh(**session, early);
  machine_.Advance(kLaterMs);
  DecideRest(**session);
  if (!fine()) return true;
  Receive(**session, pending_);
  contents_ = Read(**session);
  if (!fine()) return true;
  CheckContents(contents_);
  CheckRequired();
  for (size_t n = 0; fine() && n < model_.groups.size(); ++n) {
    CheckGroup(static_cast<int>(n));
  }
  CheckDeadLetters();
  SettleOne();
  receivers_.clear();
  (*session)->Kill();
  return true;
}

void Trial::LiveAgain(Disk& disk) {
  auto session = Session::Open(disk, machine_, model_.options);
  if (!session.ok()) return Fail("open again: ", TextOf(session.status()));
  std::vector<std::vector<Received>> pending;
  Receive(**session, pending);
  const Contents contents = Read(**session);
  if (!fine()) return;
  for (size_t q = 0; q < model_.queues.size(); ++q) {
    if (contents.exists[q] != contents_.exists[q]) {
      Fail("recovered again, queue \"", std::string_view(NameOf(int(q))),
           "\" differs");
    }
    // What had its last delivery may have moved meanwhile.
    if (q == 0) continue;
    std::map<int, int> expected = contents_.counts[q];
    std::erase_if(expected, [&](const auto& one) {
      return contents.Count(int(q), one.first) == 0 &&
             MayBeGone(int(q), one.first);
    });
    if (contents.counts[q] != expected) {
      Fail("recovered again, queue \"", std::string_view(NameOf(int(q))),
           "\" has", std::string_view(Numbers(contents.stored[q])), " and not",
           std::string_view(Numbers(contents_.stored[q])));
    }
  }
  for (size_t g = 0; fine() && g < pending.size(); ++g) {
    std::set<int> before;
    for (const Received& one : pending_[g]) before.insert(one.number);
    for (const Received& one : pending[g]) {
      if (before.erase(one.number) == 0) {
        Fail("recovered again, group ", g, " is handed out ", one.number,
             " once more");
      }
    }
    for (const int number : before) {
      if (static_cast<int>(g) == acked_group_ && number == acked_) continue;
      if (contents.Count(0, number) > 0) continue;
      // It had its last delivery, and there is no room to move it.
      if (model_.options.max_bytes != 0 &&
          contents.Count(model_.groups[g].queue, number) > 0 &&
          DeadLettersAtMost(0, number) > 0) {
        continue;
      }
      Fail("recovered again, group ", g, " is not handed out ", number, " but",
           std::string_view(Numbers(pending[g])), "; before it was",
           std::string_view(Numbers(pending_[g])), "; stored are",
           std::string_view(
               Numbers(contents.stored[size_t(model_.groups[g].queue)])));
    }
    if (static_cast<int>(g) == acked_group_) {
      for (const Received& one : pending[g]) {
        if (one.number == acked_) {
          Fail("I6: ", acked_,
               " was acknowledged with ack.sync and is "
               "handed out again");
        }
      }
    }
  }
  receivers_.clear();
  (*session)->Kill();
}

Contents Trial::Read(Session& session) {
  Contents contents;
  contents.counts.resize(model_.queues.size());
  contents.stored.resize(model_.queues.size());
  contents.exists.resize(model_.queues.size());
  for (size_t q = 0; q < model_.queues.size(); ++q) {
    const QueueFact& queue = model_.queues[q];
    if (!happened(queue.made.began)) continue;
    const auto found =
        session.store()->catalog().FindQueue(queue.name, InGoodTime());
    if (!found.ok()) {
      if (happened(queue.made.ended) && !terms_.lied) {
        Fail("I1: queue \"", std::string_view(queue.name),
             "\" is gone: ", TextOf(found.status()));
      }
      continue;
    }
    contents.exists[q] = true;
    for (uint32_t p = 0; p < queue.partitions; ++p) {
      ReadPartition(session, queue, static_cast<int32_t>(p),
                    contents.stored[q]);
    }
    for (const Received& one : contents.stored[q]) {
      ++contents.counts[q][one.number];
    }
  }
  return contents;
}

void Trial::ReadPartition(Session& session, const QueueFact& queue, int32_t p,
                          std::vector<Received>& into) {
  const absl::Status status = session.ReadAll(queue.name, p, into);
  if (status.ok()) return;
  told_of_damage_ = true;
  if (!terms_.lied || OmsCode(status) != Code::kDamaged) {
    Fail("read \"", std::string_view(queue.name), "\": ", TextOf(status));
  }
}

void Trial::SendFresh(Session& session, const Contents& contents) {
  std::set<std::string> known;
  for (const MessageFact& fact : model_.messages) {
    if (happened(fact.sent.ended)) known.insert(fact.id.ToString());
  }
  fresh_.assign(model_.queues.size(), false);
  for (size_t q = 0; fine() && q < model_.queues.size(); ++q) {
    if (!contents.exists[q]) continue;
    const int number = kFresh + static_cast<int>(q);
    const std::string body = BodyOf(number, 40);
    Message message(model_.queues[q].name, body);
    message.SetDurability(Durability::kDisk).SetPartition(0);
    if (auto s = message.SetProperty("n", int64_t{number}); !s.ok()) {
      return Fail("set a property: ", TextOf(s));
    }
    const auto results = session.Send({&message, 1});
    if (!results[0].ok()) {
      if (OmsCode(results[0].status()) == Code::kStorageBusy &&
          model_.options.max_bytes != 0) {
        continue;
      }
      return Fail("send after the recovery: ", TextOf(results[0].status()));
    }
    fresh_[q] = true;
    if (!known.insert(results[0]->message_id.ToString()).second) {
      Fail("I4: message id ",
           std::string_view(results[0]->message_id.ToString()),
           " is used again");
    }
    int64_t end = 0;
    for (const Received& one : contents.stored[q]) {
      if (one.partition == 0) end = std::max(end, one.offset + 1);
    }
    // The copy of a fresh one came before it.
    if (results[0]->offset > end && q > 0 && HasRoute(1, int(q))) ++end;
    if (results[0]->offset < end ||
        (end > 0 && results[0]->offset != end && !MayHaveRetired(int(q)))) {
      Fail("I4: queue \"", std::string_view(NameOf(int(q))),
           "\" goes on at offset ", results[0]->offset, " and not ", end);
    }
  }
}

void Trial::DecideRest(Session& session) {
  decided_.assign(model_.messages.size(), false);
  for (size_t n = 0; fine() && n < model_.messages.size(); ++n) {
    const MessageFact& fact = model_.messages[n];
    if (fact.kind != Kind::kPrepared || !happened(fact.sent.ended) ||
        !fact.disk) {
      continue;
    }
    const bool committed = happened(fact.committed.began);
    const bool rolled_back = happened(fact.rolled_back.began);
    const bool commit = committed || (!rolled_back && n % 2 == 0);
    const auto resolve = [&](bool yes) {
      return session.store()->transactions().Resolve(
          fact.transaction_id,
          yes ? PreparedState::kCommitted : PreparedState::kRolledBack,
          InGoodTime());
    };
    // Before it is decided once more, which would make up for a loss.
    const bool for_good =
        happened((commit ? fact.committed : fact.rolled_back).ended);
    if (for_good && resolve(!commit).ok()) {
      Fail("I5: message ", n, " was ", commit ? "committed" : "rolled back",
           " for good, and can be decided otherwise");
    }
    const absl::Status status = resolve(commit);
    // An outcome is forgotten after a while.
    const bool forgotten =
        (committed || rolled_back) && OmsCode(status) == Code::kQueueNotFound;
    if (!status.ok() && !forgotten &&
        (OmsCode(status) != Code::kStorageBusy ||
         model_.options.max_bytes == 0)) {
      Fail("I5: message ", n, " cannot be ",
           commit ? "committed" : "rolled back", ": ", TextOf(status));
    }
    decided_[n] = status.ok() && commit;
    if (status.ok() && resolve(!commit).ok()) {
      Fail("I5: message ", n, " was decided in both ways");
    }
  }
}

void Trial::Receive(Session& session,
                    std::vector<std::vector<Received>>& pending) {
  receivers_.clear();
  pending.assign(model_.groups.size(), {});
  for (size_t g = 0; fine() && g < model_.groups.size(); ++g) {
    const GroupFact& group = model_.groups[g];
    receivers_.emplace_back();
    const QueueFact& queue = model_.queues[static_cast<size_t>(group.queue)];
    if (!session.store()->catalog().FindQueue(queue.name, InGoodTime()).ok()) {
      continue;
    }
    auto receiver =
        std::make_unique<Receiver>(session.store(), group.name, true);
    absl::Status status = receiver->Bind(queue.name);
    if (status.ok()) status = receiver->Take(1000, pending[g]);
    if (!status.ok()) {
      Fail("receive from \"", std::string_view(queue.name),
           "\": ", TextOf(status));
    }
    receivers_.back() = std::move(receiver);
  }
}

void Trial::SettleOne() {
  for (size_t g = 0; fine() && g < pending_.size(); ++g) {
    if (pending_[g].empty() || receivers_[g] == nullptr) continue;
    const absl::Status status =
        receivers_[g]->Settle(pending_[g].front().receipt, driver::Verb::kAck);
    if (!status.ok()) return Fail("acknowledge: ", TextOf(status));
    acked_group_ = static_cast<int>(g);
    acked_ = pending_[g].front().number;
    return;
  }
}

std::string Judge(const Model& model, const Image& image, const Terms& terms) {
  return Trial(model, terms).Run(image);
}

}  // namespace openmessaging::reference::power
