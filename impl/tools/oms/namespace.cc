// SPDX-License-Identifier: Apache-2.0
//
// oms namespace: creates, deletes and lists namespaces.

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

struct NamespaceArguments {
  std::string url;
  std::string name;
};

int Create(const NamespaceArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status created =
      bus->resource_manager().CreateNamespace(arguments.name);
  if (!created.ok()) return Fail(created);
  return PrintResult(Concat("created ", arguments.name, '\n'));
}

int Delete(const NamespaceArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status deleted =
      bus->resource_manager().DeleteNamespace(arguments.name);
  if (!deleted.ok()) return Fail(deleted);
  return PrintResult(Concat("deleted ", arguments.name, '\n'));
}

int List(const NamespaceArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const auto names = bus->resource_manager().ListNamespaces();
  if (!names.ok()) return Fail(names.status());
  std::string lines;
  for (const std::string& name : *names) lines += name + '\n';
  return PrintResult(lines);
}

void AddName(CLI::App& command, NamespaceArguments& arguments) {
  command
      .add_option("NAMESPACE", arguments.name,
                  "what the names of its queues begin with")
      ->required();
}

void AddCreate(CLI::App& command,
               const std::shared_ptr<NamespaceArguments>& arguments,
               Work& work) {
  CLI::App* const create =
      command.add_subcommand("create", "Create a namespace");
  AddUrl(*create, arguments->url);
  AddName(*create, *arguments);
  create->footer(
      R"(Examples:
  oms namespace create oms:file:/tmp/shop eu
  oms queue create oms:file:/tmp/shop eu://orders)");
  create->callback([arguments, &work] {
    work = [arguments] { return Create(*arguments); };
  });
}

void AddDelete(CLI::App& command,
               const std::shared_ptr<NamespaceArguments>& arguments,
               Work& work) {
  CLI::App* const command_delete =
      command.add_subcommand("delete", "Delete a namespace without queues");
  AddUrl(*command_delete, arguments->url);
  AddName(*command_delete, *arguments);
  command_delete->footer(
      R"(Its queues are deleted one by one before it, with: oms queue delete

Example:
  oms namespace delete oms:file:/tmp/shop eu)");
  command_delete->callback([arguments, &work] {
    work = [arguments] { return Delete(*arguments); };
  });
}

void AddList(CLI::App& command,
             const std::shared_ptr<NamespaceArguments>& arguments, Work& work) {
  CLI::App* const list =
      command.add_subcommand("list", "Print the namespaces, one a line");
  AddUrl(*list, arguments->url);
  list->footer(
      R"(The default namespace has no name and is always there.

Example:
  oms namespace list oms:file:/tmp/shop)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

}  // namespace

void AddNamespaceCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<NamespaceArguments>();
  CLI::App* const command =
      app.add_subcommand("namespace", "Create, delete and list namespaces");
  command->require_subcommand(1);
  command->footer(
      R"(A namespace keeps queues apart: eu://orders and us://orders share nothing.

Examples:
  oms namespace create oms:file:/tmp/shop eu
  oms queue create oms:file:/tmp/shop eu://orders
  oms queue list oms:file:/tmp/shop --namespace eu)");
  AddCreate(*command, arguments, work);
  AddDelete(*command, arguments, work);
  AddList(*command, arguments, work);
}

}  // namespace openmessaging::tools
