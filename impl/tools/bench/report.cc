// SPDX-License-Identifier: Apache-2.0

#include "report.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using Json = nlohmann::ordered_json;

// Fewer calls have no such percentile: it would be their maximum.
constexpr size_t kLeastForP99 = 100;
constexpr size_t kLeastForP999 = 1000;

std::string Number(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

// Returns: three digits that count.
std::string ThreeDigits(double value) {
  return Number(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

// Returns: "1.23 M".
std::string Scaled(double value) {
  constexpr std::array<std::string_view, 4> kUnits = {"", " k", " M", " G"};
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return Concat(ThreeDigits(value), kUnits[unit]);
}

std::string Time(int64_t ns) {
  constexpr std::array<std::string_view, 4> kUnits = {" ns", " us", " ms",
                                                      " s"};
  if (ns < 1000) return Concat(ns, " ns");
  auto value = static_cast<double>(ns);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return Concat(ThreeDigits(value), kUnits[unit]);
}

std::string Size(size_t bytes) {
  if (bytes >= 1024 && bytes % 1024 == 0) return Concat(bytes / 1024, " KiB");
  return Concat(bytes, " B");
}

// Ends with `text` at column `width` of what is appended.
void Right(std::string& line, std::string_view text, size_t width) {
  line.append(width - std::min(width, text.size()), ' ');
  line += text;
}
void Left(std::string& line, std::string_view text, size_t width) {
  line += text;
  line.append(width - std::min(width, text.size()), ' ');
}

std::string How(const Case& one) {
  std::string how(NameIn(kDurabilityNames, one.durability));
  if (one.operation == Operation::kSenders) {
    how += Concat(", ", one.senders, " wait");
  } else if (one.wait != Wait::kNone) {
    how += Concat(", ", NameIn(kWaitNames, one.wait));
  } else if (one.durability == Durability::kDisk) {
    how += Concat(", ", NameIn(kOperationNames, one.operation));
  }
  return how;
}

double LoadOrZero(double load) { return load < 0 ? 0 : load; }

Json LatencyJson(const Latency& latency) {
  Json json;
  const bool any = latency.count > 0;
  json["samples"] = latency.count;
  json["p50_ns"] = any ? Json(latency.p50_ns) : Json();
  json["p99_ns"] = any ? Json(latency.p99_ns) : Json();
  json["p99_9_ns"] = any ? Json(latency.p99_9_ns) : Json();
  json["max_ns"] = any ? Json(latency.max_ns) : Json();
  return json;
}

Json ResultJson(const Result& result, std::string_view driver) {
  const Case& of = result.of;
  Json json;
  json["name"] = of.Name();
  json["operation"] = NameIn(kOperationNames, of.operation);
  json["place"] = NameIn(kPlaceNames, of.place);
  json["size_bytes"] = of.size_bytes;
  json["batch"] = of.batch;
  json["durability"] = NameIn(kDurabilityNames, of.durability);
  json["wait"] =
      of.wait == Wait::kNone ? Json() : Json(NameIn(kWaitNames, of.wait));
  json["senders"] = of.senders;
  json["messages"] = result.messages;
  json["messages_per_second"] = result.per_second;
  json["body_bytes_per_second"] =
      result.per_second * static_cast<double>(of.size_bytes);
  json["latency"] = LatencyJson(result.latency);
  const bool time = result.limit.p50_ns > 0;
  json["limit"] = {
      {"yardstick", result.limit.name},
      {"messages_per_second", time ? Json() : Json(result.limit.per_second)},
      {"p50_ns", time ? Json(result.limit.p50_ns) : Json()},
      {"ratio", result.Ratio()}};
  const auto judged = Judge(result, driver);
  json["goal"] = judged ? Json{{"text", judged->goal.text},
                               {"ratio", judged->ratio},
                               {"met", judged->met()}}
                        : Json();
  return json;
}

std::string JudgedText(const Judged& judged) {
  return Concat("goal: ", judged.goal.text, "; reached ",
                ThreeDigits(judged.ratio * 100), " %, ",
                judged.met() ? "met" : "not met");
}

}  // namespace

std::optional<Judged> Judge(const Result& result, std::string_view driver) {
  auto goal = GoalOf(result.of, driver);
  if (!goal) return std::nullopt;
  Judged judged;
  if (goal->per_second > 0) {
    judged.ratio = result.per_second / goal->per_second;
  } else if (result.limit.p50_ns > 0) {
    judged.ratio = goal->of_limit / result.Ratio();
  } else {
    judged.ratio = result.Ratio() / goal->of_limit;
  }
  judged.goal = *std::move(goal);
  return judged;
}

std::string HeadText(const Findings& findings) {
  std::string text =
      Concat("oms-bench " OMS_VERSION ", ", findings.quick ? "quick" : "full",
             " run, ", ::sysconf(_SC_NPROCESSORS_ONLN), " processors, load ",
             ThreeDigits(LoadOrZero(findings.load_before)), '\n',
             internal::Printable(findings.url), '\n');
#ifndef NDEBUG
  text += "This is no release build: its figures mean nothing.\n";
#endif
  if (findings.load_before > 0.5) {
    text +=
        "The machine is busy: believe ratios to the limits only, and those of "
        "long waits not at all.\n";
  }
  return text;
}

std::string GroupText(std::string_view title) {
  std::string text = Concat('\n', title, '\n');
  std::string head = "  ";
  Left(head, "size", 9);
  Right(head, "batch", 5);
  head += "  ";
  Left(head, "how", 14);
  for (const std::string_view column :
       {"msg/s", "MB/s", "p50", "p99", "p99.9"}) {
    Right(head, column, 9);
  }
  Right(head, "limit", 11);
  Right(head, "ratio", 9);
  return Concat(text, head, '\n');
}

std::string RowText(const Result& result, std::string_view driver) {
  const Case& of = result.of;
  const Latency& latency = result.latency;
  std::string row = "  ";
  Left(row, Size(of.size_bytes), 9);
  Right(row, Concat(of.batch), 5);
  row += "  ";
  Left(row, How(of), 14);
  Right(row, Scaled(result.per_second), 9);
  Right(
      row,
      ThreeDigits(result.per_second * static_cast<double>(of.size_bytes) / 1e6),
      9);
  Right(row, latency.count > 0 ? Time(latency.p50_ns) : "-", 9);
  Right(row, latency.count >= kLeastForP99 ? Time(latency.p99_ns) : "-", 9);
  Right(row, latency.count >= kLeastForP999 ? Time(latency.p99_9_ns) : "-", 9);
  const bool time = result.limit.p50_ns > 0;
  Right(row, time ? Time(result.limit.p50_ns) : Scaled(result.limit.per_second),
        11);
  Right(row, Concat(ThreeDigits(result.Ratio()), time ? " x" : "  "), 9);
  row.erase(row.find_last_not_of(' ') + 1);
  row.push_back('\n');
  if (const auto judged = Judge(result, driver)) {
    row += Concat("      ", JudgedText(*judged), '\n');
  }
  return row;
}

std::string YardstickText(const std::deque<Measured>& measured) {
  std::string text = "\nlimits of this machine, measured in this run\n  ";
  Left(text, "", 58);
  for (const std::string_view column : {"per s", "p50", "p99", "p99.9"}) {
    Right(text, column, 10);
  }
  text.push_back('\n');
  for (const Measured& one : measured) {
    std::string row = "  ";
    Left(row, one.text, 58);
    Right(row, Scaled(one.per_second), 10);
    const Latency& latency = one.latency;
    if (latency.count > 0) Right(row, Time(latency.p50_ns), 10);
    if (latency.count >= kLeastForP99) Right(row, Time(latency.p99_ns), 10);
    if (latency.count >= kLeastForP999) {
      Right(row, Time(latency.p99_9_ns), 10);
    }
    text += Concat(row, '\n');
  }
  return text;
}

std::string SummaryText(const Findings& findings) {
  std::string text;
  for (const Result& result : findings.results) {
    const auto judged = Judge(result, findings.driver);
    if (!judged) continue;
    if (text.empty()) text = "\ngoals\n";
    text +=
        Concat("  ", result.of.Name(), "\n      ", JudgedText(*judged), '\n');
  }
  std::map<std::string, size_t> reasons;
  for (const auto& skipped : findings.skipped) ++reasons[skipped.reason];
  if (!reasons.empty()) text += "\nnot measured\n";
  for (const auto& [reason, count] : reasons) {
    text +=
        Concat("  ", count, count == 1 ? " case: " : " cases: ", reason, '\n');
  }
  text += Concat("\nload at the end ",
                 ThreeDigits(LoadOrZero(findings.load_after)), '\n');
  return text;
}

std::string JsonText(const Findings& findings,
                     const std::deque<Measured>& measured) {
  Json json;
  json["format"] = 1;
  json["program"] = "oms-bench";
  json["version"] = OMS_VERSION;
#ifdef NDEBUG
  json["optimised"] = true;
#else
  json["optimised"] = false;
#endif
  json["url"] = findings.url;
  json["driver"] = findings.driver;
  json["quick"] = findings.quick;
  json["complete"] = findings.complete;
  json["started_ms"] = findings.started_ms;
  json["machine"] = {{"processors", ::sysconf(_SC_NPROCESSORS_ONLN)},
                     {"page_bytes", ::sysconf(_SC_PAGESIZE)},
                     {"load_before", findings.load_before},
                     {"load_after", findings.load_after}};
  json["yardsticks"] = Json::array();
  for (const Measured& one : measured) {
    json["yardsticks"].push_back({{"name", one.name},
                                  {"text", one.text},
                                  {"per_second", one.per_second},
                                  {"latency", LatencyJson(one.latency)}});
  }
  json["results"] = Json::array();
  for (const Result& result : findings.results) {
    json["results"].push_back(ResultJson(result, findings.driver));
  }
  json["skipped"] = Json::array();
  for (const auto& skipped : findings.skipped) {
    json["skipped"].push_back(
        {{"name", skipped.name}, {"reason", skipped.reason}});
  }
  json["failed"] = Json::array();
  for (const auto& failed : findings.failed) {
    const absl::string_view text = failed.status.message();
    json["failed"].push_back(
        {{"name", failed.name},
         {"code", static_cast<int>(OmsCode(failed.status))},
         {"text", std::string(text.data(), text.size())}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace openmessaging::tools
