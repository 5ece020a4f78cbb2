// SPDX-License-Identifier: Apache-2.0
//
// oms inspect: shows what a directory of the file driver holds and who uses it.

#include "openmessaging/reference/inspect.h"

#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "command.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "output.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using nlohmann::ordered_json;
using reference::InspectReport;

std::string_view Name(InspectReport::State state) {
  switch (state) {
    case InspectReport::State::kInUse:
      return "in use";
    case InspectReport::State::kClosed:
      return "closed";
    case InspectReport::State::kLeft:
      return "left";
  }
  return "";
}

// Returns: "2026-11-24T21:58:00Z".
std::string FormatDate(std::chrono::milliseconds since_1970) {
  const auto seconds = static_cast<std::time_t>(since_1970.count() / 1000);
  std::tm date{};
  gmtime_r(&seconds, &date);
  char text[32];
  const size_t size =
      std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &date);
  return std::string(text, size);
}

std::string PositionText(const std::optional<uint64_t>& position) {
  return position ? Concat(*position) : "unknown";
}

// Adds a title and its rows where there are any; the first is the header.
void AddSection(std::string_view title, const Table& table, std::string& text) {
  if (table.size() > 1) text += Concat('\n', title, '\n', table.ToText());
}

std::string SummaryText(const InspectReport& report) {
  std::string state(Name(report.state));
  if (report.state == InspectReport::State::kLeft) {
    state += " by a crash or a kill; opening it goes on from here";
  }
  Table table;
  table.Add({"store", report.uuid});
  table.Add({"created", FormatDate(report.created)});
  table.Add({"format", report.format});
  table.Add({"state", state});
  if (report.poisoned) {
    table.Add({"", "a flush failed: it answers 1501 until all have closed it"});
  }
  table.Add({"seen in", report.live_state
                            ? "what its processes share"
                            : "the log: this boot has not opened it here"});
  table.Add({"epoch", Concat(report.epoch)});
  table.Add({"log", Concat(report.begin, " to ", report.committed)});
  table.Add({"durable", Concat("to ", report.durable)});
  if (report.bodies != 0) {
    table.Add({"large bodies", Concat(report.bodies, ", ",
                                      FormatBytes(report.body_bytes))});
  }
  if (report.delayed != 0) {
    table.Add({"delayed", Concat(report.delayed, " messages wait")});
  }
  if (report.undecided != 0) {
    table.Add({"prepared", Concat(report.undecided, " messages undecided")});
  }
  return table.ToText();
}

// Returns: a partition, and which lane of it where it has several.
template <typename Item>
std::string PartitionText(const Item& item) {
  if (item.priority == 0) return Concat(item.partition);
  return Concat(item.partition, " priority ", item.priority);
}

template <typename Item>
void AddPriority(const Item& item, ordered_json& object) {
  if (item.priority != 0) object["priority"] = item.priority;
}

void AddStorageText(const InspectReport& report, std::string& text) {
  Table segments;
  segments.Add({"base", "size", "used", "epoch", "file"});
  for (const auto& segment : report.segments) {
    segments.Add({Concat(segment.base), FormatBytes(segment.capacity_bytes),
                  Concat(segment.used_bytes), Concat(segment.epoch),
                  segment.file});
  }
  AddSection("segments", segments, text);
  Table namespaces;
  namespaces.Add({"namespace"});
  for (const std::string& name : report.namespaces) namespaces.Add({name});
  AddSection("namespaces", namespaces, text);
  Table partitions;
  partitions.Add({"queue", "partition", "first", "end"});
  for (const auto& partition : report.partitions) {
    partitions.Add({partition.queue, PartitionText(partition),
                    Concat(partition.first), Concat(partition.end)});
  }
  AddSection("partitions", partitions, text);
}

void AddGroupsText(const InspectReport& report, std::string& text) {
  Table groups;
  groups.Add({"queue", "partition", "group", "floor", "next", "unsettled"});
  for (const auto& group : report.groups) {
    groups.Add({group.queue, PartitionText(group), group.group,
                Concat(group.floor), Concat(group.next),
                Concat(group.unsettled)});
  }
  AddSection("groups", groups, text);
  Table pins;
  pins.Add({"position", "queue", "partition", "offset", "held for"});
  for (const auto& pin : report.pins) {
    pins.Add({PositionText(pin.position), pin.queue, PartitionText(pin),
              Concat(pin.offset),
              pin.group.empty() ? "its first group" : pin.group});
  }
  AddSection("pins", pins, text);
}

void AddProcessesText(const InspectReport& report, std::string& text) {
  Table slots;
  slots.Add({"slot", "pid", "alive", "opened"});
  for (const auto& slot : report.slots) {
    const auto seconds =
        std::chrono::floor<std::chrono::seconds>(slot.opened_ago);
    slots.Add({Concat(slot.slot), Concat(slot.pid), slot.alive ? "yes" : "no",
               seconds.count() == 0 ? "now" : FormatTime(seconds) + " ago"});
  }
  AddSection("slots", slots, text);
  Table locks;
  locks.Add({"lock", "slot", "pid", "alive"});
  for (const auto& lock : report.locks) {
    locks.Add({lock.name, Concat(lock.slot),
               lock.pid == 0 ? "unknown" : Concat(lock.pid),
               lock.alive ? "yes" : "no"});
  }
  AddSection("locks", locks, text);
}

std::string AsText(const InspectReport& report) {
  std::string text = SummaryText(report);
  AddStorageText(report, text);
  AddGroupsText(report, text);
  AddProcessesText(report, text);
  return text;
}

// Returns: a list with one object for each of `items`.
template <typename Items, typename Convert>
ordered_json ListOf(const Items& items, const Convert& convert) {
  ordered_json list = ordered_json::array();
  for (const auto& item : items) list.push_back(convert(item));
  return list;
}

void AddStorageJson(const InspectReport& report, ordered_json& object) {
  object["segments"] = ListOf(report.segments, [](const auto& segment) {
    return ordered_json{{"base", segment.base},
                        {"size", segment.capacity_bytes},
                        {"used", segment.used_bytes},
                        {"epoch", segment.epoch},
                        {"file", segment.file}};
  });
  object["namespaces"] = report.namespaces;
  object["partitions"] = ListOf(report.partitions, [](const auto& partition) {
    ordered_json one{{"queue", partition.queue},
                     {"partition", partition.partition},
                     {"first", partition.first},
                     {"end", partition.end}};
    AddPriority(partition, one);
    return one;
  });
}

void AddGroupsJson(const InspectReport& report, ordered_json& object) {
  object["groups"] = ListOf(report.groups, [](const auto& group) {
    ordered_json one{{"queue", group.queue}, {"partition", group.partition},
                     {"group", group.group}, {"floor", group.floor},
                     {"next", group.next},   {"unsettled", group.unsettled}};
    AddPriority(group, one);
    return one;
  });
  object["pins"] = ListOf(report.pins, [](const auto& pin) {
    ordered_json one{{"position", nullptr},
                     {"queue", pin.queue},
                     {"partition", pin.partition},
                     {"offset", pin.offset},
                     {"group", nullptr}};
    if (pin.position) one["position"] = *pin.position;
    if (!pin.group.empty()) one["group"] = pin.group;
    AddPriority(pin, one);
    return one;
  });
}

void AddProcessesJson(const InspectReport& report, ordered_json& object) {
  object["slots"] = ListOf(report.slots, [](const auto& slot) {
    return ordered_json{{"slot", slot.slot},
                        {"pid", slot.pid},
                        {"alive", slot.alive},
                        {"opened_ago_ms", slot.opened_ago.count()}};
  });
  object["locks"] = ListOf(report.locks, [](const auto& lock) {
    return ordered_json{{"lock", lock.name},
                        {"slot", lock.slot},
                        {"pid", lock.pid},
                        {"alive", lock.alive}};
  });
}

std::string AsJson(const InspectReport& report) {
  ordered_json object;
  object["store"] = report.uuid;
  object["created_ms"] = report.created.count();
  object["format"] = report.format;
  object["state"] = Name(report.state);
  object["poisoned"] = report.poisoned;
  object["live_state"] = report.live_state;
  object["epoch"] = report.epoch;
  object["begin"] = report.begin;
  object["committed"] = report.committed;
  object["durable"] = report.durable;
  object["large_bodies"] = report.bodies;
  object["large_body_bytes"] = report.body_bytes;
  object["delayed"] = report.delayed;
  object["undecided"] = report.undecided;
  AddStorageJson(report, object);
  AddGroupsJson(report, object);
  AddProcessesJson(report, object);
  return JsonLine(object);
}

struct InspectOptions {
  std::string directory;
  bool json = false;
};

int Inspect(const InspectOptions& options) {
  const absl::StatusOr<InspectReport> report =
      reference::InspectStore(options.directory);
  if (!report.ok()) return Fail(report.status());
  return PrintResult(options.json ? AsJson(*report) : AsText(*report));
}

}  // namespace

void AddInspectCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* const command = app.add_subcommand(
      "inspect", "Show what a directory holds and who uses it");
  command
      ->add_option("DIR", options->directory, "a directory of the file driver")
      ->required();
  command->add_flag("--json", options->json, "print it as one line of JSON");
  command->footer(
      R"(Reads only, and does not disturb programs that use the directory.
  segments  the files of the log: where each begins, its epoch, its bytes
  groups    below floor all is settled; from next on nothing was handed out
  pins      the oldest message that each group still needs: no segment from
            there on can go
  slots     processes that have it open, or had it
  locks     who holds one at this moment

Examples:
  oms inspect /tmp/shop
  oms inspect /tmp/shop --json)");
  command->callback(
      [options, &work] { work = [options] { return Inspect(*options); }; });
}

}  // namespace openmessaging::tools
