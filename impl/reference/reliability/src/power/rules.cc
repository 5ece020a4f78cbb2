// SPDX-License-Identifier: Apache-2.0
//
// What a store must have and must not have after a power loss.

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "power/trial.h"

namespace openmessaging::reference::power {

void Trial::CheckNotEarly(const Contents& contents) {
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

bool Trial::MayHaveRetired(int queue) const {
  for (const SettleFact* const fact : facts_) {
    if (model_.groups[static_cast<size_t>(fact->group)].queue == queue) {
      return true;
    }
  }
  return false;
}

bool Trial::MayBeGone(int queue, int number) const {
  bool any = false;
  for (size_t g = 0; g < model_.groups.size(); ++g) {
    const GroupFact& group = model_.groups[g];
    if (group.queue != queue || !happened(group.made.began)) continue;
    any = true;
    if (static_cast<int>(g) == acked_group_ && number == acked_) continue;
    if (std::none_of(facts_.begin(), facts_.end(), [&](const SettleFact* fact) {
          return Settles(*fact, static_cast<int>(g), number);
        })) {
      return false;
    }
  }
  return any;
}

bool Trial::HasRoute(int source, int target) const {
  return std::any_of(
      model_.routes.begin(), model_.routes.end(), [&](const RouteFact& route) {
        return route.source == source && route.target == target &&
               happened(route.made.began);
      });
}

int Trial::DeadLettersAtMost(int queue, int number) const {
  std::set<int> groups;
  for (const SettleFact* const fact : facts_) {
    const GroupFact& group = model_.groups[static_cast<size_t>(fact->group)];
    if (fact->message == number && fact->moves &&
        model_.queues[static_cast<size_t>(group.queue)].dead_letters == queue) {
      groups.insert(fact->group);
    }
  }
  return static_cast<int>(groups.size());
}

void Trial::CheckMessage(int queue, const Received& one, int count) {
  if (one.number >= kFresh) {
    if (count != 1 || (one.number != kFresh + queue &&
                       !HasRoute(one.number - kFresh, queue))) {
      Fail("I2: a fresh message is in the wrong queue or repeated");
    }
    return;
  }
  const MessageFact* const fact = FactOf(one.number);
  if (fact == nullptr || !happened(fact->sent.began) || fact->refused) {
    return Fail("I2: queue \"", std::string_view(NameOf(queue)), "\" offset ",
                one.offset, ": message ", one.number, " is ",
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
  // As durable as the message is, and no more than the drive lets it be.
  if (!terms_.lied && fact->kind == Kind::kDelayed && fact->disk &&
      happened(fact->cancelled.ended)) {
    Fail("message ", one.number, " was cancelled and is there");
  }
  if (own && fact->kind == Kind::kPlain && happened(fact->sent.ended) &&
      (one.offset != fact->offset || one.id != fact->id ||
       one.partition != fact->partition)) {
    Fail("I4: message ", one.number, " changed its offset from ", fact->offset,
         " to ", one.offset, ", or its id");
  }
}

void Trial::CheckContents(const Contents& contents) {
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

void Trial::CheckGap(int queue, int32_t partition, int64_t begin, int64_t end) {
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

void Trial::CheckPrefix(const Contents& contents) {
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

void Trial::CheckRequired() {
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

void Trial::CheckGroup(int g) {
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

void Trial::CheckDeadLetters() {
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

}  // namespace openmessaging::reference::power
