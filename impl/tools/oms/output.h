// SPDX-License-Identifier: Apache-2.0
//
// What oms prints: results on the standard output, written at once, and errors
// on the standard error, one line each.

#ifndef OPENMESSAGING_TOOLS_OMS_OUTPUT_H_
#define OPENMESSAGING_TOOLS_OMS_OUTPUT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "nlohmann/json_fwd.hpp"

namespace openmessaging::tools {

// Writes all of `text` to the standard output. Nothing is held back: when it
// returns, the kernel has every byte.
// Blocks: until the reader of a pipe has made room.
// Errors: 1606 nobody reads it any more, or its disk is full.
absl::Status Print(std::string_view text);

// Prints what a command found. Returns: the exit code.
int PrintResult(std::string_view text);

// Returns: `object` as one line. What is not UTF-8 is replaced.
std::string JsonLine(const nlohmann::ordered_json& object);

// Writes all of `text` to the standard error, as it is.
void PrintToError(std::string_view text);

// Prints `oms: <where><text of status> (OMS <code>)` as one line, whatever the
// text holds.
void PrintError(const absl::Status& status, std::string_view where = {});

// Prints an error. Returns: kFailed, for the caller to return.
int Fail(const absl::Status& status);

// Return: an error that says what to do next where this program knows it. The
// first is for whatever takes the name of a queue.
absl::Status WithAdvice(absl::Status status, std::string_view url,
                        std::string_view queue);
absl::Status WithNamespaceAdvice(absl::Status status, std::string_view url,
                                 std::string_view name_space);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_OUTPUT_H_
