// SPDX-License-Identifier: Apache-2.0
//
// What a history has a line for: one thing that a worker of the workload did,
// or that was done to it.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_OPERATION_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_OPERATION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace openmessaging::conformance::history {

enum class Kind { kSend, kCommit, kRollback, kReceive, kAck, kNack, kKill };

// Done, certainly not done, or perhaps.
enum class Result { kOk, kNo, kMaybe };

// Times are nanoseconds of the system's steady clock, which the processes of a
// machine share: when the call began and when it had returned.
struct Operation {
  Kind kind = Kind::kSend;
  std::string worker{};  // `sender-2.0`: its name and its life.
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  Result result = Result::kOk;
  std::string group{};  // Of whoever receives.
  std::string id{};     // Of the message: see step.h.
  int32_t partition = -1;
  int64_t offset = -1;
  int32_t deliveries = 0;
  bool altered = false;  // What was received is not what was sent.
  std::string error{};   // The text of a failure.
};

// Returns: the line, a JSON object, without its end.
std::string LineOf(const Operation& operation);

// Errors: 1418 the line is no operation; says what is wrong.
absl::StatusOr<Operation> ParseLine(std::string_view line);

std::string_view NameOf(Kind kind);

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_OPERATION_H_
