// SPDX-License-Identifier: Apache-2.0
//
// oms group: lists, moves and deletes the groups of a queue.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "position.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

struct GroupArguments {
  std::string url;
  std::string queue;
  std::string group;
  StreamPosition to = StreamPosition::Earliest();
  std::string to_text;
  int64_t partition = -1;  // All of them.
};

int FailIn(const GroupArguments& arguments, const absl::Status& status) {
  // A group that is missing needs no queue to be made.
  const bool group_is_missing =
      status.message().find(": no such group") != std::string::npos;
  return Fail(group_is_missing
                  ? status
                  : WithAdvice(status, arguments.url, arguments.queue));
}

int List(const GroupArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const auto groups = bus->resource_manager().ListGroups(arguments.queue);
  if (!groups.ok()) return FailIn(arguments, groups.status());
  std::string lines;
  for (const std::string& group : *groups) lines += group + '\n';
  return PrintResult(lines);
}

int Seek(const GroupArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  std::optional<int32_t> partition;
  if (arguments.partition >= 0) {
    partition = static_cast<int32_t>(arguments.partition);
  }
  const absl::Status moved = bus->resource_manager().SeekGroup(
      arguments.queue, arguments.group, arguments.to, partition);
  if (!moved.ok()) return FailIn(arguments, moved);
  return PrintResult(
      partition ? Concat("moved ", arguments.group, " in partition ",
                         *partition, " to ", arguments.to_text, '\n')
                : Concat("moved ", arguments.group, " to ", arguments.to_text,
                         '\n'));
}

int Delete(const GroupArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status deleted = bus->resource_manager().DeleteGroup(
      arguments.queue, arguments.group);
  if (!deleted.ok()) return FailIn(arguments, deleted);
  return PrintResult(Concat("deleted ", arguments.group, '\n'));
}

void AddGroup(CLI::App& command, GroupArguments& arguments) {
  command.add_option("GROUP", arguments.group, "the name of the group")
      ->required();
}

void AddList(CLI::App& command,
             const std::shared_ptr<GroupArguments>& arguments, Work& work) {
  CLI::App* const list = command.add_subcommand(
      "list", "Print the groups of a queue, one a line");
  AddUrl(*list, arguments->url);
  AddQueue(*list, arguments->queue)->required();
  list->footer(
      R"(oms stats says how far each of them is.

Example:
  oms group list oms:file:/tmp/shop orders)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

void AddSeek(CLI::App& command,
             const std::shared_ptr<GroupArguments>& arguments, Work& work) {
  CLI::App* const seek = command.add_subcommand(
      "seek", "Move a group back or forward, for all its members");
  AddUrl(*seek, arguments->url);
  AddQueue(*seek, arguments->queue)->required();
  AddGroup(*seek, *arguments);
  seek->add_option_function<std::string>(
          "--to",
          [arguments](const std::string& text) {
            arguments->to = ParsePosition("--to", text);
            arguments->to_text = text;
          },
          "earliest, latest, an offset, a time, or how long ago")
      ->type_name("WHERE")
      ->required();
  AddNumber(*seek, "--partition", arguments->partition, 0, kMaxPartitions - 1,
            "in this partition only (all)");
  seek->footer(
      R"(What is stored from there on is received again, also what was acknowledged,
and what lies before is not. Members that live notice at once; what they hold
they cannot acknowledge any more. A queue without a retention time keeps
acknowledged messages for a while only.

Examples:
  oms group seek oms:file:/tmp/shop orders billing --to earliest
  oms group seek oms:file:/tmp/shop orders billing --to 10m
  oms group seek oms:file:/tmp/shop orders billing --to 42 --partition 0
  oms group seek oms:file:/tmp/shop orders billing --to 2026-11-24T21:58:00Z)");
  seek->callback(
      [arguments, &work] { work = [arguments] { return Seek(*arguments); }; });
}

void AddDelete(CLI::App& command,
               const std::shared_ptr<GroupArguments>& arguments, Work& work) {
  CLI::App* const command_delete = command.add_subcommand(
      "delete", "Delete a group, which then keeps no message any more");
  AddUrl(*command_delete, arguments->url);
  AddQueue(*command_delete, arguments->queue)->required();
  AddGroup(*command_delete, *arguments);
  command_delete->footer(
      R"(It asks nothing and cannot be undone. Members that live get an error from
their next receive. Who joins it later begins a new group.

Example:
  oms group delete oms:file:/tmp/shop orders billing)");
  command_delete->callback([arguments, &work] {
    work = [arguments] { return Delete(*arguments); };
  });
}

}  // namespace

void AddGroupCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<GroupArguments>();
  CLI::App* const command =
      app.add_subcommand("group", "List, move and delete groups of a queue");
  command->require_subcommand(1);
  command->footer(
      R"(Examples:
  oms group list oms:file:/tmp/shop orders
  oms group seek oms:file:/tmp/shop orders billing --to earliest
  oms group delete oms:file:/tmp/shop orders billing)");
  AddList(*command, arguments, work);
  AddSeek(*command, arguments, work);
  AddDelete(*command, arguments, work);
}

}  // namespace openmessaging::tools
