// SPDX-License-Identifier: Apache-2.0
//
// oms stats: prints how full queues are and how far their groups.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "list_queues.h"
#include "live_screen.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "signals.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int64_t kMostSeconds = 86'400;

struct StatsArguments {
  std::string url;
  std::string queue;
  std::string name_space;  // Where no queue is named; empty: all.
  bool json = false;
  // 0: once.
  std::chrono::seconds watch{0};
};

// Returns: what one look finds, in the order of the queues' names.
absl::StatusOr<std::vector<QueueStats>> Look(const StatsArguments& arguments,
                                             ResourceManager& manager) {
  std::vector<std::string> names = {arguments.queue};
  if (arguments.queue.empty()) {
    const auto queues =
        ListQueues(manager, arguments.name_space, arguments.url);
    if (!queues.ok()) return queues.status();
    names.clear();
    for (const QueueInfo& queue : *queues) names.push_back(queue.name);
  }
  std::vector<QueueStats> all;
  for (const std::string& name : names) {
    auto stats = manager.Stats(name);
    // Deleted since the names were asked for.
    const Code code = OmsCode(stats.status());
    if (arguments.queue.empty() && (code == Code::kQueueNotFound ||
                                    code == Code::kNamespaceNotFound)) {
      continue;
    }
    if (!stats.ok()) return stats.status();
    all.push_back(*std::move(stats));
  }
  return all;
}

std::string NumberText(std::optional<int64_t> number) {
  return number ? Concat(*number) : "-";
}

// A size that people take in at a glance: "980", "1.2KiB", "64.0MiB".
std::string SizeText(std::optional<int64_t> bytes) {
  if (!bytes) return "-";
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (*bytes < 1024) return Concat(*bytes);
  int64_t tenths = *bytes * 10 / 1024;
  size_t unit = 0;
  while (tenths >= 10240 && unit + 1 < std::size(kUnits)) {
    tenths /= 1024;
    ++unit;
  }
  return Concat(tenths / 10, '.', tenths % 10, kUnits[unit]);
}

// An age in its largest unit, rounded down: "950ms", "59s", "3h".
std::string AgeText(std::optional<milliseconds> age) {
  if (!age) return "-";
  struct Unit {
    milliseconds time;
    const char* name;
  };
  constexpr Unit kUnits[] = {{std::chrono::hours(24), "d"},
                             {std::chrono::hours(1), "h"},
                             {std::chrono::minutes(1), "m"},
                             {std::chrono::seconds(1), "s"}};
  for (const Unit& unit : kUnits) {
    if (*age >= unit.time) return Concat(*age / unit.time, unit.name);
  }
  return Concat(age->count(), "ms");
}

std::string AsText(const std::vector<QueueStats>& all) {
  Table table;
  table.Add({"queue", "depth", "bytes", "oldest", "prepared", "group", "lag", "leased",
             "backing off", "exceptions", "oldest", "hand-out"});
  for (const QueueStats& queue : all) {
    Table::Row row = {queue.queue, Concat(queue.depth), SizeText(queue.bytes),
                      AgeText(queue.oldest_age), NumberText(queue.prepared)};
    for (const GroupStats& group : queue.groups) {
      for (std::string& cell : Table::Row{
               group.group, Concat(group.lag), NumberText(group.leased),
               NumberText(group.backing_off), NumberText(group.exceptions),
               AgeText(group.oldest_age),
               group.stopped ? "stopped" : "goes on"}) {
        row.push_back(std::move(cell));
      }
      table.Add(std::move(row));
      // The queue is said once.
      row = {"", "", "", "", ""};
    }
    if (queue.groups.empty()) table.Add(std::move(row));
  }
  return table.ToText();
}

nlohmann::ordered_json MsOrNull(std::optional<milliseconds> time) {
  if (!time) return nullptr;
  return time->count();
}

nlohmann::ordered_json NumberOrNull(std::optional<int64_t> number) {
  if (!number) return nullptr;
  return *number;
}

std::string AsJson(const std::vector<QueueStats>& all) {
  std::string lines;
  for (const QueueStats& queue : all) {
    nlohmann::ordered_json object;
    object["queue"] = queue.queue;
    object["depth"] = queue.depth;
    object["bytes"] = NumberOrNull(queue.bytes);
    object["oldest_ms"] = MsOrNull(queue.oldest_age);
    object["prepared"] = NumberOrNull(queue.prepared);
    object["groups"] = nlohmann::ordered_json::array();
    for (const GroupStats& group : queue.groups) {
      object["groups"].push_back(
          {{"group", group.group},
           {"lag", group.lag},
           {"leased", NumberOrNull(group.leased)},
           {"backing_off", NumberOrNull(group.backing_off)},
           {"exceptions", NumberOrNull(group.exceptions)},
           {"oldest_ms", MsOrNull(group.oldest_age)},
           {"stopped", group.stopped}});
    }
    lines += JsonLine(object);
  }
  return lines;
}

// Waits for the next look. Returns: false where the user asks for the end.
bool WaitUntil(steady_clock::time_point until) {
  while (EndedBy() == 0 && steady_clock::now() < until) {
    std::this_thread::sleep_for(
        std::min<steady_clock::duration>(kSignalCheck,
                                         until - steady_clock::now()));
  }
  return EndedBy() == 0;
}

int Watch(const StatsArguments& arguments, ResourceManager& manager) {
  WatchSignals();
  absl::Status failure;
  {
    LiveScreen screen;
    auto next = steady_clock::now();
    do {
      const auto all = Look(arguments, manager);
      failure = all.status();
      if (failure.ok()) {
        failure = arguments.json ? Print(AsJson(*all))
                                 : screen.Show(AsText(*all));
      }
      next += arguments.watch;
    } while (failure.ok() && WaitUntil(next));
  }
  // The terminal is as it was.
  if (!failure.ok()) {
    return Fail(WithAdvice(failure, arguments.url, arguments.queue));
  }
  return kSignalled + EndedBy();
}

int PrintStats(const StatsArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  ResourceManager manager = bus->resource_manager();
  if (arguments.watch.count() > 0) return Watch(arguments, manager);
  const auto all = Look(arguments, manager);
  if (!all.ok()) {
    return Fail(WithAdvice(all.status(), arguments.url, arguments.queue));
  }
  return PrintResult(arguments.json ? AsJson(*all) : AsText(*all));
}

std::chrono::seconds ParseSeconds(const std::string& text) {
  int64_t seconds = 0;
  if (internal::ParseInteger(text, seconds) && seconds >= 1 &&
      seconds <= kMostSeconds) {
    return std::chrono::seconds(seconds);
  }
  throw CLI::ValidationError(
      "--watch", Concat("value is \"", internal::Printable(text),
                        "\"; expected 1 to ", kMostSeconds, " seconds"));
}

}  // namespace

void AddStatsCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<StatsArguments>();
  CLI::App* const command = app.add_subcommand(
      "stats", "Print how full queues are and how far their groups");
  AddUrl(*command, arguments->url);
  AddNamespace(*command, arguments->name_space,
               AddQueue(*command, arguments->queue));
  command->add_flag("--json", arguments->json,
                    "print a line of JSON for each queue");
  command
      ->add_option_function<std::string>(
          "--watch",
          [arguments](const std::string& text) {
            arguments->watch = ParseSeconds(text);
          },
          "print it again and again, until interrupted (2)")
      ->type_name("[SECONDS]")
      ->expected(0, 1)
      ->default_str("2");
  command->footer(
      R"(depth: what some group has not acknowledged yet; lag: what this one has not.
Of these leased are with a receiver, backing off wait until they are due again,
exceptions were overtaken by far. Hand-out stops where too much is
unacknowledged, until some of it is. A dash: there is none, or the driver does
not tell, perhaps because counting would take long.

Examples:
  oms stats oms:file:/tmp/shop
  oms stats oms:file:/tmp/shop orders --json
  oms stats oms:file:/tmp/shop --watch 5)");
  command->callback([arguments, &work] {
    work = [arguments] { return PrintStats(*arguments); };
  });
}

}  // namespace openmessaging::tools
