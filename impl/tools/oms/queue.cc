// SPDX-License-Identifier: Apache-2.0
//
// oms queue: creates, changes, deletes, describes and lists queues.

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "list_queues.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

struct QueueArguments {
  std::string url;
  std::string queue;
  std::string name_space;  // Of a list; empty: all.
  QueueOptions options;
  QueueUpdate update;
  int64_t partitions = 1;
  int64_t max_deliveries = 0;
  bool json = false;
};

std::string PartitionsText(int32_t partitions) {
  return FormatCount(static_cast<uint64_t>(partitions), "partition");
}

int Create(const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const QueueOptions& options = arguments.options;
  ResourceManager manager = bus->resource_manager();
  const absl::Status created = manager.CreateQueue(arguments.queue, options);
  if (!created.ok()) {
    const std::string name_space(SplitQueueName(arguments.queue).name_space);
    const auto in_it = manager.ListQueues(name_space);
    // The only queue that can be missing is that of dead letters.
    const bool lacks_own =
        OmsCode(in_it.status()) == Code::kNamespaceNotFound;
    return Fail(WithAdvice(
        created, arguments.url,
        lacks_own ? arguments.queue : options.dead_letter_queue));
  }
  return PrintResult(Concat("created ", arguments.queue, " with ",
                            PartitionsText(options.partitions), '\n'));
}

int Update(const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status updated =
      bus->resource_manager().UpdateQueue(arguments.queue, arguments.update);
  if (!updated.ok()) {
    return Fail(WithAdvice(updated, arguments.url, arguments.queue));
  }
  return PrintResult(Concat("updated ", arguments.queue, '\n'));
}

int Delete(const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status deleted =
      bus->resource_manager().DeleteQueue(arguments.queue);
  if (!deleted.ok()) return Fail(deleted);
  return PrintResult(Concat("deleted ", arguments.queue, '\n'));
}

// The offsets of each partition, where the driver tells; else none.
absl::StatusOr<std::vector<StreamRange>> RangesOf(
    const MessagingAccessPoint& bus, const QueueInfo& info) {
  std::vector<StreamRange> ranges;
  const auto capabilities = bus.capabilities(info.name);
  if (!capabilities.ok()) return capabilities.status();
  if (!capabilities->Has(Capability::kStream)) return ranges;
  for (int32_t p = 0; p < info.options.partitions; ++p) {
    auto reader =
        bus.CreateStreamReader(info.name, p, StreamPosition::Earliest());
    if (!reader.ok()) return reader.status();
    const auto range = reader->range();
    if (!range.ok()) return range.status();
    ranges.push_back(*range);
  }
  return ranges;
}

std::string InfoAsJson(const QueueInfo& info,
                       const std::vector<StreamRange>& ranges) {
  const QueueOptions& options = info.options;
  nlohmann::ordered_json object;
  object["queue"] = info.name;
  object["partitions"] = options.partitions;
  object["max_deliveries"] = options.max_deliveries;
  object["dead_letter_queue"] = options.dead_letter_queue;
  object["redelivery_delay_ms"] = options.redelivery_delay.count();
  object["max_redelivery_delay_ms"] = options.max_redelivery_delay.count();
  object["retention_ms"] = options.retention.count();
  object["priorities"] = options.priorities;
  object["deduplication_window_ms"] = options.deduplication_window.count();
  object["filter"] = options.filter;
  if (!ranges.empty()) object["offsets"] = nlohmann::ordered_json::array();
  for (const StreamRange& range : ranges) {
    object["offsets"].push_back({{"first", range.first}, {"end", range.end}});
  }
  return JsonLine(object);
}

std::string InfoAsText(const QueueInfo& info,
                       const std::vector<StreamRange>& ranges) {
  const QueueOptions& options = info.options;
  Table table;
  table.Add({"queue", info.name});
  table.Add({"partitions", Concat(options.partitions)});
  table.Add({"max deliveries", options.max_deliveries == 0
                                   ? "no limit"
                                   : Concat(options.max_deliveries)});
  table.Add({"dead-letter queue", options.dead_letter_queue.empty()
                                      ? "none"
                                      : options.dead_letter_queue});
  table.Add({"redelivery delay", FormatTime(options.redelivery_delay)});
  table.Add({"max redelivery delay", FormatTime(options.max_redelivery_delay)});
  table.Add({"retention", FormatTime(options.retention)});
  table.Add({"priorities", options.priorities ? "yes" : "no"});
  table.Add({"deduplication window",
             options.deduplication_window.count() == 0
                 ? "none"
                 : FormatTime(options.deduplication_window)});
  table.Add({"filter", options.filter.empty() ? "none" : options.filter});
  for (size_t p = 0; p < ranges.size(); ++p) {
    table.Add({Concat("partition ", p),
               Concat("offsets ", ranges[p].first, " to ", ranges[p].end)});
  }
  return table.ToText();
}

int Describe(const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const auto info = bus->resource_manager().DescribeQueue(arguments.queue);
  if (!info.ok()) {
    return Fail(WithAdvice(info.status(), arguments.url, arguments.queue));
  }
  const auto ranges = RangesOf(*bus, *info);
  if (!ranges.ok()) return Fail(ranges.status());
  return PrintResult(arguments.json ? InfoAsJson(*info, *ranges)
                                    : InfoAsText(*info, *ranges));
}

// Returns: the queue that was named, or all of them.
absl::StatusOr<std::vector<QueueInfo>> FindQueues(
    const QueueArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return bus.status();
  ResourceManager manager = bus->resource_manager();
  if (arguments.queue.empty()) {
    return ListQueues(manager, arguments.name_space, arguments.url);
  }
  auto queue = manager.DescribeQueue(arguments.queue);
  if (!queue.ok()) return queue.status();
  return std::vector<QueueInfo>{*std::move(queue)};
}

int List(const QueueArguments& arguments) {
  auto queues = FindQueues(arguments);
  if (!queues.ok()) {
    return Fail(WithAdvice(queues.status(), arguments.url, arguments.queue));
  }
  Table table;
  for (const QueueInfo& queue : *queues) {
    table.Add({queue.name, PartitionsText(queue.options.partitions)});
  }
  return PrintResult(table.ToText());
}

// Checks what the options of a new queue say together.
void CheckCreation(const CLI::App& create, QueueArguments& arguments) {
  QueueOptions& options = arguments.options;
  options.partitions = static_cast<int32_t>(arguments.partitions);
  options.max_deliveries = static_cast<int32_t>(arguments.max_deliveries);
  if (options.max_deliveries > 0 && options.dead_letter_queue.empty()) {
    throw CLI::ValidationError(
        "--max-deliveries",
        "there is no --dead-letter; expected both, because nothing is dropped");
  }
  if (options.max_redelivery_delay >= options.redelivery_delay) return;
  if (create.count("--max-redelivery-delay") > 0) {
    throw CLI::ValidationError(
        "--max-redelivery-delay",
        Concat("value is shorter than --redelivery-delay; expected ",
               FormatTime(options.redelivery_delay), " or longer"));
  }
  options.max_redelivery_delay = options.redelivery_delay;
}

// Adds what can be changed of a queue, too. `lowest`: of a number whose option
// is left out where there is no limit.
void AddChangeable(CLI::App& command, QueueArguments& arguments,
                   int64_t lowest) {
  QueueOptions& options = arguments.options;
  AddNumber(command, "--max-deliveries", arguments.max_deliveries, lowest,
            std::numeric_limits<int32_t>::max(),
            "what is not acknowledged after so many moves\n"
            "to the dead-letter queue (no limit)");
  command
      .add_option("--dead-letter", options.dead_letter_queue,
                  "where such messages go, and rejected ones;\n"
                  "a queue that exists")
      ->type_name("QUEUE");
  AddTime(command, "--redelivery-delay", options.redelivery_delay,
          "how long a message that was given back waits,\n"
          "doubling with each delivery (1s)");
  AddTime(command, "--max-redelivery-delay", options.max_redelivery_delay,
          "the longest such wait (1m)");
  AddTime(command, "--retention", options.retention,
          "how long messages are kept at least, even after\n"
          "every group has acknowledged them (0)");
  AddTime(command, "--dedup-window", options.deduplication_window,
          "how long a deduplication id counts: what has one\n"
          "that came before is not stored again (0: not)");
  command
      .add_option("--filter", options.filter,
                  "an SQL condition; what it is not true for is\n"
                  "stored, but not delivered")
      ->type_name("EXPRESSION");
}

void AddCreate(CLI::App& command,
               const std::shared_ptr<QueueArguments>& arguments, Work& work) {
  CLI::App* const create = command.add_subcommand("create", "Create a queue");
  AddUrl(*create, arguments->url);
  AddQueue(*create, arguments->queue)->required();
  AddNumber(*create, "--partitions", arguments->partitions, 1, kMaxPartitions,
            "messages of one key share a partition, in order (1)");
  AddChangeable(*create, *arguments, 1);
  create->add_flag("--priorities", arguments->options.priorities,
                   "deliver by priority, 10 first; such a queue\n"
                   "has no streams and is not sought");
  create->footer(
      R"(Examples:
  oms queue create oms:file:/tmp/shop orders --partitions 4
  oms queue create oms:file:/tmp/shop failed --retention 7d
  oms queue create oms:file:/tmp/shop bills --max-deliveries 5 \
      --dead-letter failed --redelivery-delay 500ms)");
  create->callback([create, arguments, &work] {
    CheckCreation(*create, *arguments);
    work = [arguments] { return Create(*arguments); };
  });
}

// Takes over what the command line says.
void ReadUpdate(const CLI::App& command, QueueArguments& arguments) {
  const QueueOptions& options = arguments.options;
  QueueUpdate& update = arguments.update;
  bool any = false;
  const auto take = [&](const char* name, auto& change, const auto& value) {
    if (command.count(name) == 0) return;
    change = value;
    any = true;
  };
  take("--max-deliveries", update.max_deliveries,
       static_cast<int32_t>(arguments.max_deliveries));
  take("--dead-letter", update.dead_letter_queue, options.dead_letter_queue);
  take("--redelivery-delay", update.redelivery_delay,
       options.redelivery_delay);
  take("--max-redelivery-delay", update.max_redelivery_delay,
       options.max_redelivery_delay);
  take("--retention", update.retention, options.retention);
  take("--dedup-window", update.deduplication_window,
       options.deduplication_window);
  take("--filter", update.filter, options.filter);
  if (any) return;
  throw CLI::ValidationError(
      "update", "nothing is to be changed; expected one option at least");
}

void AddUpdate(CLI::App& command,
               const std::shared_ptr<QueueArguments>& arguments, Work& work) {
  CLI::App* const update = command.add_subcommand(
      "update", "Change a queue; what is not named stays");
  AddUrl(*update, arguments->url);
  AddQueue(*update, arguments->queue)->required();
  AddChangeable(*update, *arguments, 0);
  update->footer(
      R"(An empty text or 0 takes a filter, a dead-letter queue or a limit away. Its
partitions, and whether it has priorities, a queue keeps for good.

Examples:
  oms queue update oms:file:/tmp/shop orders --filter "price > 100"
  oms queue update oms:file:/tmp/shop orders --filter ""
  oms queue update oms:file:/tmp/shop bills --max-deliveries 3 \
      --dead-letter failed)");
  update->callback([update, arguments, &work] {
    ReadUpdate(*update, *arguments);
    work = [arguments] { return Update(*arguments); };
  });
}

void AddDelete(CLI::App& command,
               const std::shared_ptr<QueueArguments>& arguments, Work& work) {
  CLI::App* const command_delete = command.add_subcommand(
      "delete", "Delete a queue and every message in it");
  AddUrl(*command_delete, arguments->url);
  AddQueue(*command_delete, arguments->queue)->required();
  command_delete->footer(
      R"(It asks nothing and cannot be undone.

Example:
  oms queue delete oms:file:/tmp/shop orders)");
  command_delete->callback([arguments, &work] {
    work = [arguments] { return Delete(*arguments); };
  });
}

void AddDescribe(CLI::App& command,
                 const std::shared_ptr<QueueArguments>& arguments, Work& work) {
  CLI::App* const describe = command.add_subcommand(
      "describe", "Print how a queue was made, and its offsets");
  AddUrl(*describe, arguments->url);
  AddQueue(*describe, arguments->queue)->required();
  describe->add_flag("--json", arguments->json, "print it as one line of JSON");
  describe->footer(
      R"(Examples:
  oms queue describe oms:file:/tmp/shop orders
  oms queue describe oms:file:/tmp/shop orders --json)");
  describe->callback([arguments, &work] {
    work = [arguments] { return Describe(*arguments); };
  });
}

void AddList(CLI::App& command,
             const std::shared_ptr<QueueArguments>& arguments, Work& work) {
  CLI::App* const list = command.add_subcommand(
      "list", "Print the queues, one a line, with their partitions");
  AddUrl(*list, arguments->url);
  CLI::Option* const queue = AddQueue(*list, arguments->queue);
  AddNamespace(*list, arguments->name_space, queue);
  list->footer(
      R"(Examples:
  oms queue list oms:file:/tmp/shop
  oms queue list oms:file:/tmp/shop --namespace eu)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

}  // namespace

void AddQueueCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<QueueArguments>();
  CLI::App* const command = app.add_subcommand(
      "queue", "Create, change, delete, describe and list queues");
  command->require_subcommand(1);
  command->footer(
      R"(Examples:
  oms queue create oms:file:/tmp/shop orders --partitions 4
  oms queue describe oms:file:/tmp/shop orders
  oms queue list oms:file:/tmp/shop)");
  AddCreate(*command, arguments, work);
  AddUpdate(*command, arguments, work);
  AddDelete(*command, arguments, work);
  AddDescribe(*command, arguments, work);
  AddList(*command, arguments, work);
}

}  // namespace openmessaging::tools
