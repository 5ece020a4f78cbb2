// SPDX-License-Identifier: Apache-2.0
//
// A harness out of options: what the command line says of a broker, beside what
// the harness of its driver knows.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_COMMAND_HARNESS_H_
#define OPENMESSAGING_CONFORMANCE_SRC_COMMAND_HARNESS_H_

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "openmessaging/conformance/harness.h"

namespace openmessaging::conformance {

// As typed. Empty or absent: as the driver's harness has it. Times are in
// milliseconds, commands for a shell.
struct HarnessOptions {
  std::string restart_command{};
  // Gets the queue and the body as two more words.
  std::string foreign_command{};
  std::string unreachable{};
  std::vector<std::string> proxies{};  // <listen>=<target>
  // For each Access: a URL, and attributes as <name>=<value> behind it, with
  // blanks between them.
  std::array<std::string, kAccessNames.size()> access{};
  std::optional<int> late_ms{};
  std::optional<int> patience_ms{};
  std::optional<int> half_open_ms{};
};

// Errors: 1418 for a proxy that is no pair of addresses, or an attribute that
// is none.
absl::StatusOr<std::unique_ptr<Harness>> MakeCommandHarness(
    std::unique_ptr<Harness> inner, HarnessOptions options);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_COMMAND_HARNESS_H_
