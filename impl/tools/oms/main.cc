// SPDX-License-Identifier: Apache-2.0
//
// oms: OpenMessaging at the terminal.

#include <cctype>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "arguments.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

constexpr const char* kExamples =
    R"(A URL says where the queues are: oms:file:/dir or oms:file:dir for a
directory on this machine, which many processes may share.

Exit codes: 0 done, 1 failed, 2 wrong usage. An error is one line with its
OpenMessaging code, such as (OMS 1404): no such queue.

Examples:
  oms queue create oms:file:/tmp/shop orders
  oms send oms:file:/tmp/shop orders '42 apples'
  oms receive oms:file:/tmp/shop orders)";

// Returns: the command that the command line got as far as.
const CLI::App& FindChosen(const CLI::App& app) {
  const CLI::App* chosen = &app;
  while (!chosen->get_subcommands().empty()) {
    chosen = chosen->get_subcommands().front();
  }
  return *chosen;
}

// Returns: what CLI11 has against the command line, as errors look here.
std::string UsageText(const CLI::App& chosen, const CLI::ParseError& error) {
  if (chosen.get_require_subcommand_min() > 0) {
    std::vector<std::string> names;
    for (const CLI::App* const command : chosen.get_subcommands({})) {
      names.push_back(command->get_name());
    }
    const std::vector<std::string> rest = chosen.remaining();
    return internal::Concat(
        rest.empty() ? "there is no command"
                     : internal::Concat("\"", internal::Printable(rest.front()),
                                        "\" is no command"),
        "; expected ", JoinChoices(names));
  }
  std::string text = error.what();
  const auto at = [&text](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  if (text.size() > 1 && std::islower(at(1)) != 0) {
    text[0] = static_cast<char>(std::tolower(at(0)));
  }
  return text;
}

int FailUsage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& chosen = FindChosen(app);
  std::string name = chosen.get_name();
  for (const CLI::App* parent = chosen.get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    name.insert(0, parent->get_name() + " ");
  }
  PrintError(MakeStatus(Code::kBadParameter, UsageText(chosen, error),
                        "; see: ", name, " --help"));
  return kWrongUsage;
}

int Main(int argc, char** argv) {
  // A reader that went away is an error of the write, not the end of us.
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app("OpenMessaging: send and receive messages by URL", "oms");
  app.set_version_flag(
      "--version",
      internal::Concat("oms " OMS_VERSION ", OpenMessaging specification ",
                       kSpecificationVersion),
      "print the version and end");
  app.require_subcommand(1);
  app.footer(kExamples);
  Work work;
  AddQueueCommand(app, work);
  AddNamespaceCommand(app, work);
  AddRouteCommand(app, work);
  AddSendCommand(app, work);
  AddCancelCommand(app, work);
  AddReceiveCommand(app, work);
  AddMoveCommand(app, work);
  AddStreamCommand(app, work);
  AddGroupCommand(app, work);
  AddDeadLetterCommand(app, work);
  AddStatsCommand(app, work);
  AddCapabilitiesCommand(app, work);
  AddCheckCommand(app, work);
  AddRepairCommand(app, work);
  AddInspectCommand(app, work);
  AddFilterCommand(app, work);
  AddCompletionCommand(app, work);
  UsePlainHelp(app);
  if (argc <= 1) {
    std::fputs(app.help().c_str(), stderr);
    return kWrongUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and the version end the parsing too, and are no failure.
    if (error.get_exit_code() != 0) return FailUsage(app, error);
    app.exit(error);
    return kDone;
  }
  return work();
}

}  // namespace
}  // namespace openmessaging::tools

int main(int argc, char** argv) {
  return openmessaging::tools::Main(argc, argv);
}
