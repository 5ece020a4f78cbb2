// SPDX-License-Identifier: Apache-2.0
//
// oms check: tells whether a directory of the file driver is sound. Knows a
// driver by more than a URL, as oms inspect alone does too.

#include "openmessaging/reference/check.h"

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "command.h"
#include "output.h"
#include "progress.h"

namespace openmessaging::tools {
namespace {

int Check(const std::string& directory) {
  Progress progress;
  const absl::StatusOr<reference::CheckReport> report = reference::CheckStore(
      directory, [&progress](uint64_t done_bytes, uint64_t total_bytes) {
        if (!progress.IsDue()) return;
        progress.Show(
            ProgressText("checking", done_bytes, total_bytes, "bytes"));
      });
  progress.Erase();
  if (!report.ok()) return Fail(report.status());
  std::string text = report->ToText();
  if (!text.empty() && text.back() != '\n') text.push_back('\n');
  if (const auto printed = Print(text); !printed.ok()) return Fail(printed);
  return report->damaged() ? kFailed : kDone;
}

}  // namespace

void AddCheckCommand(CLI::App& app, Work& work) {
  const auto directory = std::make_shared<std::string>();
  CLI::App* const command = app.add_subcommand(
      "check", "Verify the files of a directory, in use or not");
  command->add_option("DIR", *directory, "a directory of the file driver")
      ->required();
  command->footer(
      R"(Reads only, and does not disturb programs that use the directory. Ends
with 0 when it is sound (what a crash cut off is sound, and noted), and with
1 when it is damaged, naming each file and position.

Example:
  oms check /tmp/shop)");
  command->callback(
      [directory, &work] { work = [directory] { return Check(*directory); }; });
}

}  // namespace openmessaging::tools
