// SPDX-License-Identifier: Apache-2.0
//
// oms queue: creates queues and lists them.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"
#include "openmessaging/openmessaging.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

struct QueueArguments {
  std::string url;
  std::string queue;
  int64_t partitions = 1;
};

std::string PartitionsText(int32_t partitions) {
  return Concat(partitions, partitions == 1 ? " partition" : " partitions");
}

int Create(const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const QueueOptions options{.partitions =
                                 static_cast<int32_t>(arguments.partitions)};
  ResourceManager manager = bus->resource_manager();
  if (auto status = manager.CreateQueue(arguments.queue, options);
      !status.ok()) {
    return Fail(status);
  }
  const absl::Status printed =
      Print(Concat("created ", arguments.queue, " with ",
                   PartitionsText(options.partitions), '\n'));
  return printed.ok() ? static_cast<int>(kDone) : Fail(printed);
}

// Returns: the queue that was named, or all of them.
absl::StatusOr<std::vector<QueueInfo>> FindQueues(
    const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return bus.status();
  ResourceManager manager = bus->resource_manager();
  if (arguments.queue.empty()) return manager.ListQueues();
  auto queue = manager.DescribeQueue(arguments.queue);
  if (!queue.ok()) return queue.status();
  return std::vector<QueueInfo>{*std::move(queue)};
}

int List(const QueueArguments& arguments) {
  auto queues = FindQueues(arguments);
  if (!queues.ok()) {
    return Fail(WithAdvice(queues.status(), arguments.url, arguments.queue));
  }
  std::sort(
      queues->begin(), queues->end(),
      [](const QueueInfo& a, const QueueInfo& b) { return a.name < b.name; });
  size_t width = 0;
  for (const QueueInfo& queue : *queues) {
    width = std::max(width, queue.name.size());
  }
  std::string lines;
  for (const QueueInfo& queue : *queues) {
    lines += queue.name;
    lines.append(width - queue.name.size() + 2, ' ');
    lines += PartitionsText(queue.options.partitions) + "\n";
  }
  const absl::Status printed = Print(lines);
  return printed.ok() ? static_cast<int>(kDone) : Fail(printed);
}

}  // namespace

void AddQueueCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<QueueArguments>();
  CLI::App* const command =
      app.add_subcommand("queue", "Create queues and list them");
  command->require_subcommand(1);
  command->footer(
      R"(Examples:
  oms queue create oms:file:/tmp/shop orders --partitions 4
  oms queue list oms:file:/tmp/shop)");

  CLI::App* const create = command->add_subcommand("create", "Create a queue");
  AddUrl(*create, arguments->url);
  AddQueue(*create, arguments->queue)->required();
  AddNumber(*create, "--partitions", arguments->partitions, 1, kMaxPartitions,
            "messages of one key share a partition, in order (1)");
  create->footer(
      R"(Example:
  oms queue create oms:file:/tmp/shop orders --partitions 4)");
  create->callback([arguments, &work] {
    work = [arguments] { return Create(*arguments); };
  });

  CLI::App* const list = command->add_subcommand(
      "list", "Print the queues, one a line, with their partitions");
  AddUrl(*list, arguments->url);
  AddQueue(*list, arguments->queue);
  list->footer(
      R"(Example:
  oms queue list oms:file:/tmp/shop)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

}  // namespace openmessaging::tools
