// SPDX-License-Identifier: Apache-2.0
//
// What a sender does, step by step. Everything about a message follows from its
// id, so that one of a sender that was killed before it could tell of it is
// judged like any other.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_STEP_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_STEP_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace openmessaging::conformance::history {

// One message: the `index`th of step `step`, which counts from 1, of a sender
// in one of its lives.
struct MessageName {
  std::string sender{};  // `sender-2.0`
  int64_t step = 0;
  int64_t index = 0;

  // `sender-2.0/17/3`
  std::string Text() const;
  static std::optional<MessageName> Parse(std::string_view text);

  // The order of sending, of one sender.
  friend bool operator<(const MessageName& a, const MessageName& b) {
    return a.step != b.step ? a.step < b.step : a.index < b.index;
  }
};

// kTogether: in one local transaction.
enum class Manner { kPlain, kBatch, kDelayed, kPrepared, kTogether };

// What the driver can, so that a step that needs more is a plain one.
struct Means {
  bool delay = false;
  bool prepare = false;
  bool transact = false;

  // For a command line, and back.
  std::string Text() const;
  static Means Parse(std::string_view text);
};

struct Step {
  Manner manner = Manner::kPlain;
  int64_t messages = 1;
  std::string key{};  // Of all of them.
  std::chrono::milliseconds delay{0};
  bool commits = true;  // What is prepared.
};

// Most messages of one step.
inline constexpr int64_t kMaxStep = 8;

// Returns: what that step is; the same for every message of it, in every
// process.
Step StepOf(const MessageName& name, const Means& means, uint64_t seed);

// Returns: the body of a message, 40 to some 2,000 bytes, all values among
// them.
std::string BodyOf(const MessageName& name, uint64_t seed);

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_STEP_H_
