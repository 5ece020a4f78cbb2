// SPDX-License-Identifier: Apache-2.0
//
// One state and its judgement; judge.cc is the course of it, rules.cc what is
// asked.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRIAL_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRIAL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "openmessaging/internal/text.h"
#include "power/disk.h"
#include "power/judge.h"
#include "power/model.h"
#include "power/session.h"

namespace openmessaging::reference::power {

// What the judge sends itself is numbered from here on, by queue.
inline constexpr int kFresh = 1'000'000;

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

// Threads: one.
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

  // Returns: what is wrong; empty: nothing. Once.
  std::string Run(const Image& image);

 private:
  bool fine() const { return failure_.empty(); }
  template <typename... Parts>
  void Fail(const Parts&... parts) {
    if (fine()) failure_ = internal::Concat(parts...);
  }
  bool happened(size_t when) const { return when <= cut_; }
  const std::string& NameOf(int queue) const {
    return model_.queues[static_cast<size_t>(queue)].name;
  }

  // Looks as `oms check` does, before anything is mended.
  void Check(Disk& disk);

  // Returns: whether it was opened.
  bool Live(Disk& disk);

  void LiveAgain(Disk& disk);

  static std::string Numbers(const std::vector<Received>& all) {
    std::string text;
    for (const Received& one : all) text += internal::Concat(' ', one.number);
    return text;
  }

  Contents Read(Session& session);

  void ReadPartition(Session& session, const QueueFact& queue, int32_t p,
                     std::vector<Received>& into);

  void CheckNotEarly(const Contents& contents);

  void SendFresh(Session& session, const Contents& contents);
  // Whether the newest of a queue may be retired.
  bool MayHaveRetired(int queue) const;

  const MessageFact* FactOf(int number) const {
    if (number < 0 || number >= int(model_.messages.size())) return nullptr;
    return &model_.messages[static_cast<size_t>(number)];
  }

  void DecideRest(Session& session);

  void Receive(Session& session, std::vector<std::vector<Received>>& pending);

  bool Settles(const SettleFact& fact, int group, int number) const {
    return fact.group == group && fact.message == number;
  }
  // Whether every group may have settled it, so that it may be retired.
  bool MayBeGone(int queue, int number) const;

  bool HasRoute(int source, int target) const;
  bool MayBeIn(int queue, int number, const MessageFact& fact) const {
    return queue == fact.queue || HasRoute(fact.queue, queue) ||
           DeadLettersAtMost(queue, number) > 0;
  }
  // How many groups may have moved it there.
  int DeadLettersAtMost(int queue, int number) const;

  void CheckMessage(int queue, const Received& one, int count);

  void CheckContents(const Contents& contents);

  // Nothing is missing between two offsets but what may be retired.
  void CheckGap(int queue, int32_t partition, int64_t begin, int64_t end);

  // The log is cut at one place: where a message is, those before it are too.
  void CheckPrefix(const Contents& contents);

  void CheckRequired();

  void CheckGroup(int g);

  // What a group moved is there or with the group, and not both.
  void CheckDeadLetters();

  // Settles one for good.
  void SettleOne();

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

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRIAL_H_
