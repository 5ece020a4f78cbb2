// SPDX-License-Identifier: Apache-2.0
//
// Judges a history: whether what was received is what was sent, whatever was
// killed in between. docs/design/history.md says what each finding means.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_CHECKER_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_CHECKER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "operation.h"
#include "step.h"

namespace openmessaging::conformance::history {

// kLost: sent, and never received by a group.
// kInvented: received, and never sent, rolled back, or its send said no.
// kAltered: received otherwise than it was sent.
// kReordered: of one sender and key, stored in another order than sent; or
//     received by an ordered group while an earlier one was not settled.
// kEarly: received before its delay was over.
// kAgain: received after its group's ack was confirmed.
// kTorn: a part of a transaction was received and a part was not.
// kUndecided: both a commit and a rollback of one message were confirmed.
enum class Flaw {
  kLost,
  kInvented,
  kAltered,
  kReordered,
  kEarly,
  kAgain,
  kTorn,
  kUndecided
};

struct Finding {
  Flaw flaw = Flaw::kLost;
  std::string id{};
  std::string group{};
  std::string text{};
};

// What was promised when the history was made.
struct Terms {
  uint64_t seed = 0;
  Means means{};
  std::set<std::string> groups{};
  // Those that keep the order of keys.
  std::set<std::string> ordered{};
  // An ack that was confirmed holds for good (settle-confirmed).
  bool acks_are_final = true;
  // The end was waited for: what was not received by then is lost.
  bool complete = true;
};

// Returns: every finding, those of one flaw together, in the order of messages.
std::vector<Finding> Check(const std::vector<Operation>& history,
                           const Terms& terms);

const char* NameOf(Flaw flaw);

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_CHECKER_H_
