// SPDX-License-Identifier: Apache-2.0
//
// The commands of oms. Each has a source of its own, which declares the command
// line, checks it, and does the work.

#ifndef OPENMESSAGING_TOOLS_OMS_COMMAND_H_
#define OPENMESSAGING_TOOLS_OMS_COMMAND_H_

#include <functional>

#include "CLI/CLI.hpp"

namespace openmessaging::tools {

// What the process ends with. A command that a signal ended adds its number to
// kSignalled, as shells do.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kWrongUsage = 2,
  kIncomplete = 3,  // Done, but for what is listed.
  kSignalled = 128,
};

// What is left to do once the command line has been read. Returns: the exit
// code.
using Work = std::function<int()>;

// Each adds one command to `app`, which sets `work` when it is chosen. A value
// that makes no sense is a CLI::ParseError, like an option that there is not.
void AddQueueCommand(CLI::App& app, Work& work);
void AddNamespaceCommand(CLI::App& app, Work& work);
void AddSendCommand(CLI::App& app, Work& work);
void AddCancelCommand(CLI::App& app, Work& work);
void AddReceiveCommand(CLI::App& app, Work& work);
void AddMoveCommand(CLI::App& app, Work& work);
void AddRouteCommand(CLI::App& app, Work& work);
void AddGroupCommand(CLI::App& app, Work& work);
void AddDeadLetterCommand(CLI::App& app, Work& work);
void AddStatsCommand(CLI::App& app, Work& work);
void AddStreamCommand(CLI::App& app, Work& work);
void AddCapabilitiesCommand(CLI::App& app, Work& work);
void AddCheckCommand(CLI::App& app, Work& work);
void AddRepairCommand(CLI::App& app, Work& work);
void AddInspectCommand(CLI::App& app, Work& work);
void AddFilterCommand(CLI::App& app, Work& work);
void AddCompletionCommand(CLI::App& app, Work& work);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_COMMAND_H_
