// SPDX-License-Identifier: Apache-2.0
//
// What the suite must know of the reference driver, and an example of a
// harness. A file store has no broker: it restarts when its last process has
// closed it, and the suite's is the only one.

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "openmessaging/conformance/harness.h"

namespace openmessaging::conformance {
namespace {

class FileHarness final : public Harness {
 public:
  bool CanRestart() const override { return true; }
  absl::Status Restart() override { return absl::OkStatus(); }
  std::string UnreachableUrl() const override {
    return "oms:file:/dev/null/store";
  }
};

const bool kFileKnown = RegisterHarness(
    "file", [](const Url&) { return std::make_unique<FileHarness>(); });

}  // namespace
}  // namespace openmessaging::conformance
