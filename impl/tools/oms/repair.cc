// SPDX-License-Identifier: Apache-2.0
//
// oms repair: saves what can be read of a damaged directory of the file driver
// into a new one.

#include "openmessaging/reference/repair.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "command.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

int Repair(const std::string& source, const std::string& target) {
  const absl::StatusOr<reference::RepairReport> report =
      reference::RepairStore(source, target);
  if (!report.ok()) return Fail(report.status());
  if (const auto printed = Print(report->ToText()); !printed.ok()) {
    return Fail(printed);
  }
  return report->has_losses() ? kIncomplete : kDone;
}

}  // namespace

void AddRepairCommand(CLI::App& app, Work& work) {
  struct Places {
    std::string source{};
    std::string target{};
  };
  const auto places = std::make_shared<Places>();
  CLI::App* const command = app.add_subcommand(
      "repair", "Salvage a damaged directory into a new one");
  command
      ->add_option("SOURCE", places->source,
                   "a directory of the file driver that nobody uses")
      ->required();
  command
      ->add_option("TARGET", places->target, "where to; it is missing or empty")
      ->required();
  command->footer(
      R"(SOURCE is not changed. Messages keep their queues, offsets, ids and times,
groups their positions. Each thing that could not be saved is listed, with
its file and position. Ends with 0 when all was saved, with 3 when something
is lost, and with 1 when nothing could be done.

Example:
  oms repair /tmp/shop /tmp/shop-repaired)");
  command->callback([places, &work] {
    work = [places] { return Repair(places->source, places->target); };
  });
}

}  // namespace openmessaging::tools
