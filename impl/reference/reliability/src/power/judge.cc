// SPDX-License-Identifier: Apache-2.0

#include "power/judge.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "checkpoint.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "power/session.h"
#include "scanner.h"

namespace openmessaging::reference::power {
namespace {

using internal::Concat;

// What the judge sends itself is numbered from here on, by queue.
constexpr int kFresh = 1'000'000;
// Longer than any delay or lease.
constexpr int64_t kLaterMs = 3'600'000;

// Everything in all queues, as one life of the store shows it.
struct Contents {
  // By queue; empty where it does not exist.
  std::vector<std::vector<Received>> stored{};
  std::vector<bool> exists{};
  // By queue: how often each message is there.
  std::vector<std::map<int, int>> counts{};

  int Count(int queue, int number) const {
    const auto& all = counts[static_cast<size_t>(queue)];
    const auto found = all.find(number);
    return found == all.end() ? 0 : found->second;
  }
};

class Trial {
 public:
  Trial(const Model& model, const Terms& terms)
      : model_(model),
        cut_(terms.cut),
        terms_(terms),
        machine_(Mix(terms.seed, 0x10de)) {
    for (const SettleFact& fact : model_.settled) {
      if (fact.began <= cut_) facts_.push_back(&fact);
    }
  }

  std::string Run(const Image& image) {
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

 private:
  bool fine() const { return failure_.empty(); }
  template <typename... Parts>
  void Fail(const Parts&... parts) {
    if (fine()) failure_ = Concat(parts...);
  }
  bool happened(size_t when) const { return when <= cut_; }
  const std::string& NameOf(int queue) const {
    return model_.queues[static_cast<size_t>(queue)].name;
  }

  // Looks as `oms check` does, before anything is mended.
  void Check(Disk& disk) {
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

  // Returns: whether it was opened.
  bool Live(Disk& disk) {
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

  void LiveAgain(Disk& disk) {
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
             "\" has", std::string_view(Numbers(contents.stored[q])),
             " and not", std::string_view(Numbers(contents_.stored[q])));
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
        Fail("recovered again, group ", g, " is not handed out ", number,
             " but", std::string_view(Numbers(pending[g])), "; before it was",
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

  static std::string Numbers(const std::vector<Received>& all) {
    std::string text;
    for (const Received& one : all) text += Concat(' ', one.number);
    return text;
  }

  Contents Read(Session& session) {
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

  void ReadPartition(Session& session, const QueueFact& queue, int32_t p,
                     std::vector<Received>& into) {
    const absl::Status status = session.ReadAll(queue.name, p, into);
    if (status.ok()) return;
    told_of_damage_ = true;
    if (!terms_.lied || OmsCode(status) != Code::kDamaged) {
      Fail("read \"", std::string_view(queue.name), "\": ", TextOf(status));
    }
  }

  void CheckNotEarly(const Contents& contents) {
    for (size_t q = 0; q < contents.stored.size(); ++q) {
      for (const Received& one : contents.stored[q]) {
        const MessageFact* const fact = FactOf(one.number);
        if (fact != nullptr && fact->kind == Kind::kDelayed &&
            fact->due_ms > machine_.wall_ms) {
          Fail("I10: message ", one.number, " came early");
        }
      }
    }
  }

  void SendFresh(Session& session, const Contents& contents) {
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
  // Whether the newest of a queue may be retired.
  bool MayHaveRetired(int queue) const {
    for (const SettleFact* const fact : facts_) {
      if (model_.groups[static_cast<size_t>(fact->group)].queue == queue) {
        return true;
      }
    }
    return false;
  }

  const MessageFact* FactOf(int number) const {
    if (number < 0 || number >= int(model_.messages.size())) return nullptr;
    return &model_.messages[static_cast<size_t>(number)];
  }

  void DecideRest(Session& session) {
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

  void Receive(Session& session, std::vector<std::vector<Received>>& pending) {
    receivers_.clear();
    pending.assign(model_.groups.size(), {});
    for (size_t g = 0; fine() && g < model_.groups.size(); ++g) {
      const GroupFact& group = model_.groups[g];
      receivers_.emplace_back();
      const QueueFact& queue = model_.queues[static_cast<size_t>(group.queue)];
      if (!session.store()
               ->catalog()
               .FindQueue(queue.name, InGoodTime())
               .ok()) {
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

  bool Settles(const SettleFact& fact, int group, int number) const {
    return fact.group == group && fact.message == number;
  }
  // Whether every group may have settled it, so that it may be retired.
  bool MayBeGone(int queue, int number) const {
    bool any = false;
    for (size_t g = 0; g < model_.groups.size(); ++g) {
      const GroupFact& group = model_.groups[g];
      if (group.queue != queue || !happened(group.made.began)) continue;
      any = true;
      if (std::none_of(facts_.begin(), facts_.end(),
                       [&](const SettleFact* fact) {
                         return Settles(*fact, static_cast<int>(g), number);
                       })) {
        return false;
      }
    }
    return any;
  }

  bool HasRoute(int source, int target) const {
    return std::any_of(model_.routes.begin(), model_.routes.end(),
                       [&](const RouteFact& route) {
                         return route.source == source &&
                                route.target == target &&
                                happened(route.made.began);
                       });
  }
  bool MayBeIn(int queue, int number, const MessageFact& fact) const {
    return queue == fact.queue || HasRoute(fact.queue, queue) ||
           DeadLettersAtMost(queue, number) > 0;
  }
  // How many groups may have moved it there.
  int DeadLettersAtMost(int queue, int number) const {
    std::set<int> groups;
    for (const SettleFact* const fact : facts_) {
      const GroupFact& group = model_.groups[static_cast<size_t>(fact->group)];
      if (fact->message == number && fact->moves &&
          model_.queues[static_cast<size_t>(group.queue)].dead_letters ==
              queue) {
        groups.insert(fact->group);
      }
    }
    return static_cast<int>(groups.size());
  }

  void CheckMessage(int queue, const Received& one, int count) {
    if (one.number >= kFresh) {
      if (count != 1 || (one.number != kFresh + queue &&
                         !HasRoute(one.number - kFresh, queue))) {
        Fail("I2: a fresh message is in the wrong queue or repeated");
      }
      return;
    }
    const MessageFact* const fact = FactOf(one.number);
    if (fact == nullptr || !happened(fact->sent.began) || fact->refused) {
      return Fail("I2: queue \"", std::string_view(NameOf(queue)),
                  "\" offset ", one.offset, ": message ", one.number, " is ",
                  fact != nullptr && fact->refused ? "one that was refused"
                                                   : "one that nobody sent");
    }
    if (one.body != fact->body || one.property != one.number) {
      return Fail("I2: message ", one.number, " of queue \"",
                  std::string_view(NameOf(queue)), "\" was altered");
    }
    if (!MayBeIn(queue, one.number, *fact)) {
      return Fail("I2: message ", one.number, " is in queue \"",
                  std::string_view(NameOf(queue)), "\"");
    }
    const bool own = queue == fact->queue;
    const int most = own || DeadLettersAtMost(queue, one.number) == 0
                         ? 1
                         : DeadLettersAtMost(queue, one.number);
    if (count > most) {
      Fail("I5 I9: message ", one.number, " is ", count, " times in queue \"",
           std::string_view(NameOf(queue)), "\"");
    }
    if (fact->kind == Kind::kPrepared && !happened(fact->committed.began) &&
        (decided_.empty() || !decided_[static_cast<size_t>(one.number)])) {
      Fail("I5: message ", one.number, " was not committed and is there");
    }
    // As durable as the message is.
    if (fact->kind == Kind::kDelayed && fact->disk &&
        happened(fact->cancelled.ended)) {
      Fail("message ", one.number, " was cancelled and is there");
    }
    if (own && fact->kind == Kind::kPlain && happened(fact->sent.ended) &&
        (one.offset != fact->offset || one.id != fact->id ||
         one.partition != fact->partition)) {
      Fail("I4: message ", one.number, " changed its offset from ",
           fact->offset, " to ", one.offset, ", or its id");
    }
  }

  void CheckContents(const Contents& contents) {
    for (size_t q = 0; fine() && q < contents.stored.size(); ++q) {
      const int queue = static_cast<int>(q);
      const Received* before = nullptr;
      int newest = -1;
      for (const Received& one : contents.stored[q]) {
        CheckMessage(queue, one, contents.Count(queue, one.number));
        if (before == nullptr || before->partition != one.partition) {
          newest = -1;
        } else if (one.offset <= before->offset) {
          Fail("I4: offset ", one.offset, " of queue \"",
               std::string_view(NameOf(queue)), "\" follows ", before->offset);
        } else if (!terms_.lied) {
          CheckGap(queue, one.partition, before->offset + 1, one.offset);
        }
        const MessageFact* const fact = FactOf(one.number);
        if (fact != nullptr && fact->queue == queue &&
            fact->kind == Kind::kPlain) {
          if (one.number < newest) Fail("I3: ", one.number, " after ", newest);
          newest = one.number;
        }
        before = &one;
      }
    }
    CheckPrefix(contents);
  }

  // Nothing is missing between two offsets but what may be retired.
  void CheckGap(int queue, int32_t partition, int64_t begin, int64_t end) {
    for (int64_t offset = begin; offset < end; ++offset) {
      bool may = !MayHaveRetired(queue);
      for (size_t n = 0; n < model_.messages.size(); ++n) {
        const MessageFact& fact = model_.messages[n];
        if (fact.queue == queue && fact.partition == partition &&
            fact.offset == offset && happened(fact.sent.began)) {
          may = !MayBeGone(queue, static_cast<int>(n));
        }
      }
      if (may) {
        Fail("I4: queue \"", std::string_view(NameOf(queue)),
             "\" has a hole at offset ", offset);
      }
    }
  }

  // The log is cut at one place: where a message is, those before it are too.
  void CheckPrefix(const Contents& contents) {
    if (told_of_damage_) return;
    // The newest of each boot.
    std::map<int, int> newest;
    for (size_t n = 0; n < model_.messages.size(); ++n) {
      const MessageFact& fact = model_.messages[n];
      if (fact.kind == Kind::kPlain && contents.Count(fact.queue, int(n)) > 0) {
        newest[fact.boot] = static_cast<int>(n);
      }
    }
    for (size_t n = 0; n < model_.messages.size(); ++n) {
      const MessageFact& fact = model_.messages[n];
      const auto found = newest.find(fact.boot);
      if (found == newest.end() || found->second < int(n)) continue;
      if (fact.kind == Kind::kPlain && fact.sent.ended != kNever &&
          contents.Count(fact.queue, int(n)) == 0 &&
          !MayBeGone(fact.queue, int(n))) {
        Fail("I3: message ", found->second, " is there and ", n, " is not");
      }
    }
  }

  void CheckRequired() {
    std::map<int, std::pair<int, int>> units;  // There, and not.
    for (size_t i = 0; fine() && i < model_.messages.size(); ++i) {
      const MessageFact& fact = model_.messages[i];
      const int n = static_cast<int>(i);
      const bool there = contents_.Count(fact.queue, n) > 0;
      const bool sent = happened(fact.sent.ended) && fact.disk;
      bool must = sent;
      if (fact.kind == Kind::kPrepared) {
        must = (happened(fact.committed.ended) && fact.disk) || decided_[i];
      } else if (fact.kind == Kind::kDelayed) {
        must = sent && !happened(fact.cancelled.began);
      }
      if (must && !there && !MayBeGone(fact.queue, n)) {
        Fail("I1: message ", n, " of queue \"",
             std::string_view(NameOf(fact.queue)), "\" is lost");
      }
      for (const RouteFact& route : model_.routes) {
        if (route.source != fact.queue || fact.kind != Kind::kPlain ||
            route.made.ended > fact.sent.began) {
          continue;
        }
        const bool copied = contents_.Count(route.target, n) > 0;
        if ((must || there) && !copied && !MayBeGone(route.target, n)) {
          Fail("I1: message ", n, " was not copied by its route");
        }
        if (copied && !there && !MayBeGone(fact.queue, n)) {
          Fail("I5: message ", n, " was copied and is not there");
        }
      }
      if (fact.unit >= 0 && !MayBeGone(fact.queue, n)) {
        ++(there ? units[fact.unit].first : units[fact.unit].second);
      }
    }
    for (const auto& [unit, parts] : units) {
      if (parts.first > 0 && parts.second > 0) {
        Fail("I5: of unit ", unit, " ", parts.first, " are there and ",
             parts.second, " are not");
      }
      unit_there_[unit] = parts.first > 0;
    }
  }

  void CheckGroup(int g) {
    const GroupFact& group = model_.groups[static_cast<size_t>(g)];
    if (!contents_.exists[static_cast<size_t>(group.queue)]) return;
    std::map<int, int> pending;
    for (const Received& one : pending_[static_cast<size_t>(g)]) {
      ++pending[one.number];
      CheckMessage(group.queue, one, 1);
      if (pending[one.number] > 1) {
        Fail("I8: message ", one.number, " was handed out twice");
      }
      if (contents_.Count(group.queue, one.number) == 0) {
        Fail("I2: message ", one.number, " was handed out and is not stored");
      }
    }
    for (const SettleFact* const fact : facts_) {
      if (fact->group != g || !pending.contains(fact->message)) continue;
      if (happened(fact->durable)) {
        Fail("I6: message ", fact->message,
             " was settled for good and is "
             "handed out to group ",
             g);
      }
      if (fact->unit >= 0 && unit_there_[fact->unit]) {
        Fail("I5: message ", fact->message,
             " was settled by a transaction "
             "that is there");
      }
    }
    for (const auto& [number, count] :
         contents_.counts[static_cast<size_t>(group.queue)]) {
      if (pending.contains(number)) continue;
      bool may = false;
      for (const SettleFact* const fact : facts_) {
        may = may || Settles(*fact, g, number);
      }
      if (!may) {
        Fail("I1: message ", number, " of queue \"",
             std::string_view(NameOf(group.queue)),
             "\" is not handed out to group ", g);
      }
    }
  }

  // What a group moved is there or with the group, and not both.
  void CheckDeadLetters() {
    for (size_t n = 0; fine() && n < model_.messages.size(); ++n) {
      const int number = static_cast<int>(n);
      std::set<int> movers;
      std::set<int> settlers;
      for (const SettleFact* const fact : facts_) {
        if (fact->message != number) continue;
        (fact->moves ? movers : settlers).insert(fact->group);
      }
      if (movers.empty()) continue;
      int least = 0;
      int most = 0;
      for (const int g : movers) {
        const auto& all = pending_[static_cast<size_t>(g)];
        const bool held = std::any_of(
            all.begin(), all.end(),
            [&](const Received& one) { return one.number == number; });
        most += held ? 0 : 1;
        least += held || settlers.contains(g) ? 0 : 1;
      }
      const MessageFact& fact = model_.messages[n];
      if (contents_.Count(fact.queue, number) == 0 &&
          !happened(fact.sent.ended)) {
        continue;
      }
      // It was lost as a whole, if its sender was not told more.
      if (contents_.Count(fact.queue, number) == 0 && !fact.disk) continue;
      const int letters = contents_.Count(0, number);
      // There may be no room to move it.
      if (model_.options.max_bytes != 0) least = 0;
      if (letters < least || letters > most) {
        Fail("I9: message ", number, " is ", letters,
             " times a dead letter; expected ", least, " to ", most);
      }
    }
  }

  // Settles one for good.
  void SettleOne() {
    for (size_t g = 0; fine() && g < pending_.size(); ++g) {
      if (pending_[g].empty() || receivers_[g] == nullptr) continue;
      const absl::Status status = receivers_[g]->Settle(
          pending_[g].front().receipt, driver::Verb::kAck);
      if (!status.ok()) return Fail("acknowledge: ", TextOf(status));
      acked_group_ = static_cast<int>(g);
      acked_ = pending_[g].front().number;
      return;
    }
  }

  const Model& model_;
  const size_t cut_;
  const Terms terms_;
  SimulatedMachine machine_;
  std::string failure_;
  bool told_of_damage_ = false;
  // What began before the cut.
  std::vector<const SettleFact*> facts_;
  Contents contents_;
  std::vector<bool> fresh_;
  std::vector<bool> decided_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::vector<std::vector<Received>> pending_;
  std::map<int, bool> unit_there_;
  int acked_group_ = -1;
  int acked_ = -1;
};

}  // namespace

std::string Judge(const Model& model, const Image& image, const Terms& terms) {
  return Trial(model, terms).Run(image);
}

}  // namespace openmessaging::reference::power
