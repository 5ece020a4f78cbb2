// SPDX-License-Identifier: Apache-2.0

#include "checker.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "openmessaging/internal/text.h"

namespace openmessaging::conformance::history {
namespace {

using internal::Concat;

// What the history says of one message.
struct Sent {
  MessageName name{};
  Step step{};
  const Operation* send = nullptr;  // nullptr: no line tells of it.
  const Operation* commit = nullptr;
  const Operation* rollback = nullptr;

  Result result() const {
    return send == nullptr ? Result::kMaybe : send->result;
  }
  // Of whom the order is promised.
  bool in_order() const {
    return step.manner != Manner::kDelayed && step.manner != Manner::kPrepared;
  }
  bool MayCome() const {
    if (result() == Result::kNo) return false;
    return step.manner != Manner::kPrepared || step.commits;
  }
  bool MustCome() const {
    if (step.manner == Manner::kPrepared) {
      return commit != nullptr && commit->result == Result::kOk;
    }
    return send != nullptr && send->result == Result::kOk;
  }
};

// What one group did with one message.
struct Taken {
  std::vector<const Operation*> receives{};
  std::vector<const Operation*> acks{};
};

int64_t Milliseconds(int64_t ns) { return ns / 1'000'000; }

class Judge {
 public:
  Judge(const std::vector<Operation>& history, const Terms& terms)
      : terms_(terms) {
    for (const Operation& one : history) Note(one);
  }

  std::vector<Finding> Judged() {
    for (auto& [id, sent] : sent_) LookAtMessage(id, sent);
    for (const std::string& group : terms_.groups) {
      LookAtGroup(group);
      LookForTorn(group);
    }
    LookAtStoredOrder();
    for (const std::string& group : terms_.ordered) LookAtOrderOf(group);
    std::stable_sort(
        findings_.begin(), findings_.end(),
        [](const Finding& a, const Finding& b) { return a.flaw < b.flaw; });
    return std::move(findings_);
  }

 private:
  void Note(const Operation& one) {
    if (one.kind == Kind::kKill) {
      kills_.emplace(one.worker, one.end_ns);
      return;
    }
    const auto name = MessageName::Parse(one.id);
    switch (one.kind) {
      case Kind::kSend:
        if (!name) return Add(Flaw::kInvented, one, "its id is no message's");
        At(*name).send = &one;
        last_step_[name->sender] =
            std::max(last_step_[name->sender], name->step);
        return;
      case Kind::kCommit:
        if (name) At(*name).commit = &one;
        return;
      case Kind::kRollback:
        if (name) At(*name).rollback = &one;
        return;
      case Kind::kReceive:
        taken_[one.group][one.id].receives.push_back(&one);
        return;
      case Kind::kAck:
        taken_[one.group][one.id].acks.push_back(&one);
        return;
      default:
        return;
    }
  }

  Sent& At(const MessageName& name) {
    Sent& sent = sent_[name.Text()];
    if (sent.name.sender.empty()) {
      sent.name = name;
      sent.step = StepOf(name, terms_.means, terms_.seed);
    }
    return sent;
  }

  void Add(Flaw flaw, const Operation& where, std::string text) {
    findings_.push_back({flaw, where.id, where.group, std::move(text)});
  }

  // Returns: what is known of a message that was received; nothing where nobody
  // can have sent it. A sender that was killed may have been at its next step,
  // or in the middle of telling what became of the messages of its last one.
  std::optional<Sent> Known(const std::string& id) const {
    if (const auto found = sent_.find(id); found != sent_.end()) {
      return found->second;
    }
    const auto name = MessageName::Parse(id);
    if (!name || !kills_.contains(name->sender)) return std::nullopt;
    const auto last = last_step_.find(name->sender);
    const int64_t next = last == last_step_.end() ? 1 : last->second + 1;
    Sent sent;
    sent.name = *name;
    sent.step = StepOf(*name, terms_.means, terms_.seed);
    if ((name->step != next && name->step != next - 1) ||
        name->index >= sent.step.messages) {
      return std::nullopt;
    }
    return sent;
  }

  void LookAtMessage(const std::string& id, const Sent& sent) {
    if (sent.commit != nullptr && sent.rollback != nullptr &&
        sent.commit->result == Result::kOk &&
        sent.rollback->result == Result::kOk) {
      Add(Flaw::kUndecided, *sent.commit,
          "its commit and its rollback were both confirmed");
    }
    if (!terms_.complete || !sent.MustCome()) return;
    for (const std::string& group : terms_.groups) {
      const auto of_group = taken_.find(group);
      const bool came =
          of_group != taken_.end() && of_group->second.contains(id);
      if (!came) {
        findings_.push_back({Flaw::kLost, id, group,
                             Concat("sent by ", sent.name.sender,
                                    ", and the group never received it")});
      }
    }
  }

  void LookAtGroup(const std::string& group) {
    for (const auto& [id, taken] : taken_[group]) {
      if (taken.receives.empty()) continue;
      const Operation& first = **std::min_element(
          taken.receives.begin(), taken.receives.end(),
          [](const auto* a, const auto* b) { return a->end_ns < b->end_ns; });
      const auto sent = Known(id);
      if (!sent) {
        Add(Flaw::kInvented, first, "nobody sent it");
        continue;
      }
      if (!sent->MayCome()) {
        Add(Flaw::kInvented, first,
            sent->result() == Result::kNo
                ? "its sender was told that it is not stored"
                : "its sender rolls it back");
      }
      LookAtDeliveries(*sent, first, taken);
    }
  }

  void LookAtDeliveries(const Sent& sent, const Operation& first,
                        const Taken& taken) {
    for (const Operation* const receive : taken.receives) {
      if (receive->altered) {
        Add(Flaw::kAltered, *receive, "its body or key is not what was sent");
        break;
      }
    }
    if (sent.send != nullptr && sent.in_order() && sent.send->offset >= 0 &&
        first.offset >= 0 &&
        (first.offset != sent.send->offset ||
         first.partition != sent.send->partition)) {
      Add(Flaw::kAltered, first,
          Concat("stored in partition ", sent.send->partition, " at ",
                 sent.send->offset, ", received from partition ",
                 first.partition, " at ", first.offset));
    }
    if (sent.step.manner == Manner::kDelayed && sent.send != nullptr) {
      const int64_t due_ns =
          sent.send->begin_ns + sent.step.delay.count() * 1'000'000;
      if (first.end_ns < due_ns) {
        Add(Flaw::kEarly, first,
            Concat("received ", Milliseconds(due_ns - first.end_ns),
                   " ms before it was due"));
      }
    }
    if (!terms_.acks_are_final) return;
    int64_t acked_ns = INT64_MAX;
    for (const Operation* const ack : taken.acks) {
      if (ack->result == Result::kOk)
        acked_ns = std::min(acked_ns, ack->end_ns);
    }
    for (const Operation* const receive : taken.receives) {
      if (receive->begin_ns > acked_ns) {
        Add(Flaw::kAgain, *receive,
            Concat("received by ", receive->worker, " ",
                   Milliseconds(receive->begin_ns - acked_ns),
                   " ms after its ack was confirmed"));
        break;
      }
    }
  }

  void LookForTorn(const std::string& group) {
    if (!terms_.complete) return;
    std::map<std::pair<std::string, int64_t>, int64_t> parts;
    for (const auto& [id, taken] : taken_[group]) {
      const auto sent = Known(id);
      if (sent && !taken.receives.empty() &&
          sent->step.manner == Manner::kTogether) {
        ++parts[{sent->name.sender, sent->name.step}];
      }
    }
    for (const auto& [where, count] : parts) {
      const MessageName name{where.first, where.second, 0};
      const Step step = StepOf(name, terms_.means, terms_.seed);
      if (count == step.messages) continue;
      findings_.push_back({Flaw::kTorn, name.Text(), group,
                           Concat("received ", count, " of the ", step.messages,
                                  " messages of one transaction")});
    }
  }

  // Everything of one sender and key whose order is promised, in that order.
  using Line = std::vector<const Sent*>;
  std::map<std::pair<std::string, std::string>, Line> Lines() const {
    std::map<std::pair<std::string, std::string>, Line> lines;
    for (const auto& [id, sent] : sent_) {
      if (sent.send != nullptr && sent.in_order() &&
          sent.send->result == Result::kOk) {
        lines[{sent.name.sender, sent.step.key}].push_back(&sent);
      }
    }
    for (auto& [whose, line] : lines) {
      std::sort(line.begin(), line.end(),
                [](const Sent* a, const Sent* b) { return a->name < b->name; });
    }
    return lines;
  }

  void LookAtStoredOrder() {
    for (const auto& [whose, line] : Lines()) {
      for (size_t n = 1; n < line.size(); ++n) {
        const Operation& before = *line[n - 1]->send;
        const Operation& after = *line[n]->send;
        if (before.offset < 0 || after.offset < 0) continue;
        if (before.partition != after.partition) {
          Add(Flaw::kReordered, after,
              Concat("in partition ", after.partition, ", and ", before.id,
                     " of the same key in partition ", before.partition));
        } else if (before.offset >= after.offset) {
          Add(Flaw::kReordered, after,
              Concat("stored at ", after.offset, ", behind it ", before.id,
                     " at ", before.offset, ", which was sent before"));
        }
      }
    }
  }

  // Whether `taken` was perhaps settled before `ns`: an ack began, or whoever
  // had it was killed and could not tell.
  bool MaySettleBefore(const Taken& taken, int64_t ns) const {
    const bool acked = std::any_of(
        taken.acks.begin(), taken.acks.end(), [ns](const Operation* ack) {
          return ack->result != Result::kNo && ack->begin_ns < ns;
        });
    return acked || std::any_of(taken.receives.begin(), taken.receives.end(),
                                [this](const Operation* receive) {
                                  return kills_.contains(receive->worker);
                                });
  }

  void LookAtOrderOf(const std::string& group) {
    const auto& of_group = taken_[group];
    for (const auto& [whose, line] : Lines()) {
      for (size_t n = 1; n < line.size(); ++n) {
        const auto before = of_group.find(line[n - 1]->send->id);
        const auto after = of_group.find(line[n]->send->id);
        if (after == of_group.end() || after->second.receives.empty()) continue;
        const Operation& received = **std::min_element(
            after->second.receives.begin(), after->second.receives.end(),
            [](const auto* a, const auto* b) { return a->end_ns < b->end_ns; });
        // One that never came is lost, which is told already.
        if (before == of_group.end()) continue;
        if (!MaySettleBefore(before->second, received.end_ns)) {
          Add(Flaw::kReordered, received,
              Concat("received while ", line[n - 1]->send->id,
                     " of the same key was not settled"));
        }
      }
    }
  }

  const Terms& terms_;
  std::map<std::string, Sent> sent_;
  std::map<std::string, int64_t> last_step_;
  std::map<std::string, int64_t> kills_;
  std::map<std::string, std::map<std::string, Taken>> taken_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Check(const std::vector<Operation>& history,
                           const Terms& terms) {
  return Judge(history, terms).Judged();
}

const char* NameOf(Flaw flaw) {
  static constexpr std::array<const char*, 8> kNames = {
      "lost",  "invented", "altered", "reordered",
      "early", "again",    "torn",    "undecided"};
  return kNames[static_cast<size_t>(flaw)];
}

}  // namespace openmessaging::conformance::history
