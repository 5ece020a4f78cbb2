// SPDX-License-Identifier: Apache-2.0
//
// One run of a test program with a planted bug, or without.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_RUN_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_RUN_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::reference::planted {

// A part of a test program that has planted bugs.
struct Run {
  // For people: "step: send".
  std::string name{};
  // In the folder of this program.
  std::string program{};
  std::vector<std::string> arguments{};
  // NAME=value.
  std::vector<std::string> environment{};
};

struct Outcome {
  enum class End { kPassed, kFailed, kDied, kHung, kRefused };

  End end = End::kPassed;
  int signal = 0;      // Of kDied.
  uint64_t cases = 0;  // That ran, as the program says; of kPassed.
  std::chrono::milliseconds took{};
  std::string output{};

  // Returns: "a check failed", "signal 11", ...
  std::string Text() const;
};

// Runs it, for `limit` at most, in a place of its own that is removed with all
// that it left. `bug`: none where it is empty.
// Blocks: up to `limit`.
Outcome Execute(const Run& run, std::string_view bug,
                std::chrono::milliseconds limit);

// Returns: where the programs lie, with a slash at the end.
std::string ProgramFolder();

}  // namespace openmessaging::reference::planted
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_RUN_H_
