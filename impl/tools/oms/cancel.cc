// SPDX-License-Identifier: Apache-2.0
//
// oms cancel: withdraws a delayed message.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

struct CancelOptions {
  std::string url;
  std::string queue;
  std::string id;
};

int Cancel(const CancelOptions& options) {
  const auto id = MessageId::FromText(options.id);
  if (!id) {
    return Fail(MakeStatus(Code::kBadParameter, "cancel \"",
                           internal::Printable(options.id),
                           "\": that is no id of a message; expected what "
                           "\"oms send\" printed (ID)"));
  }
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return Fail(bus.status());
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return Fail(producer.status());
  const absl::Status cancelled =
      producer->CancelDelayed(options.queue, *id);
  if (!cancelled.ok()) return Fail(cancelled);
  return PrintResult(Concat("cancelled ", options.id, '\n'));
}

}  // namespace

void AddCancelCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<CancelOptions>();
  CLI::App* const command = app.add_subcommand(
      "cancel", "Withdraw a message that was sent with --delay");
  AddUrl(*command, options->url);
  AddQueue(*command, options->queue)->required();
  command
      ->add_option("ID", options->id, "of the message, as \"oms send\" printed it")
      ->required();
  command->footer(
      R"(A message that is due already cannot be cancelled: that fails with 1602.

Example:
  id=$(oms send oms:file:/tmp/shop orders 'are you there?' --delay 10m)
  oms cancel oms:file:/tmp/shop orders "$id")");
  command->callback([options, &work] {
    work = [options] { return Cancel(*options); };
  });
}

}  // namespace openmessaging::tools
