// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/conformance/report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string_view>

#include "openmessaging/internal/json_text.h"
#include "openmessaging/internal/text.h"
#include "report_text.h"

namespace openmessaging::conformance {
namespace {

using internal::AppendJsonString;
using internal::Concat;
using internal::JsonObjectWriter;

// The worse one of two tests is that of their requirement. "Not applicable"
// beside a pass says less than the pass.
int Weight(Result result) {
  constexpr std::array<Result, 6> kOrder = {
      Result::kNotApplicable, Result::kPass,  Result::kNotRun,
      Result::kExcluded,      Result::kError, Result::kFail};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), result) -
                          kOrder.begin());
}

void AppendSeconds(JsonObjectWriter& object, double seconds) {
  object.Key("seconds") += Seconds(seconds);
}

void AppendTest(std::string& out, const TestReport& test) {
  JsonObjectWriter object(out);
  object.Text("title", test.info.title);
  object.Text("result", Name(test.result));
  object.Text("message", test.message);
  AppendSeconds(object, test.seconds);
}

void AppendRequirement(std::string& out, const RequirementReport& one) {
  JsonObjectWriter object(out);
  object.Text("id", one.id);
  object.Text("level", Name(one.level));
  object.Text("result", Name(one.result));
  object.Text("message", one.message);
  AppendSeconds(object, one.seconds);
  std::string& list = object.Key("tests");
  list += '[';
  for (const TestReport* const test : one.tests) {
    if (list.back() != '[') list += ',';
    AppendTest(list, *test);
  }
  list += ']';
}

void AppendSummary(std::string& out, const Report& report) {
  JsonObjectWriter object(out);
  for (size_t i = 0; i < kResultNames.size(); ++i) {
    object.Integer(kResultNames[i], static_cast<int64_t>(
                                        report.Count(static_cast<Result>(i))));
  }
  AppendSeconds(object, report.seconds);
  object.Key("whole") += report.whole ? "true" : "false";
  object.Key("conformant") += report.conformant() ? "true" : "false";
  std::string& list = object.Key("untested");
  list += '[';
  for (const Capability capability : report.Untested()) {
    if (list.back() != '[') list += ',';
    AppendJsonString(list, Name(capability));
  }
  list += ']';
}

void AppendCapabilities(std::string& out, const Report& report) {
  JsonObjectWriter all(out);
  for (const CapabilityReport& one : report.capabilities) {
    JsonObjectWriter object(all.Key(Name(one.capability)));
    object.Text("declared", Name(one.declared));
    object.Integer("tests", static_cast<int64_t>(one.tests));
  }
}

// Returns: text for XML 1.0, which has no way to say most control characters.
std::string Xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c >= ' ' || c == '\n' || c == '\t') {
      out += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      out += '?';
    } else {
      out += c;
    }
  }
  return out;
}

void AppendCase(std::string& out, const TestReport& test) {
  out += Concat("  <testcase classname=\"", std::string_view(Xml(test.info.id)),
                "\" name=\"", std::string_view(Xml(test.info.title)),
                "\" time=\"", std::string_view(Seconds(test.seconds)), "\"");
  const std::string message = Xml(test.message);
  switch (test.result) {
    case Result::kPass:
      out += "/>\n";
      return;
    case Result::kFail:
      out += Concat(">\n    <failure message=\"", std::string_view(message),
                    "\"/>\n  </testcase>\n");
      return;
    case Result::kError:
      out += Concat(">\n    <error message=\"", std::string_view(message),
                    "\"/>\n  </testcase>\n");
      return;
    default:
      out += Concat(">\n    <skipped message=\"", Name(test.result), ": ",
                    std::string_view(message), "\"/>\n  </testcase>\n");
  }
}

// Cuts a line for a terminal of 80 columns.
std::string Cut(std::string text, size_t columns) {
  if (text.size() > columns) text = text.substr(0, columns - 3) + "...";
  return text;
}

// Returns: what a test of it lacked; nothing where there is no test of it.
std::string WhyUntested(const Report& report, Capability capability) {
  for (const TestReport& test : report.tests) {
    if (test.info.gate == capability && test.result == Result::kNotRun) {
      return ": " + test.message;
    }
  }
  return {};
}

}  // namespace

std::string Seconds(double seconds) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.3f", seconds);
  return text.data();
}

std::vector<LimitText> LimitTexts(const CapabilityLimits& limits) {
  std::vector<LimitText> all;
  const auto add = [&](std::string_view key, std::string_view name,
                       const auto& limit, std::string_view unit = "") {
    if (!limit) return;
    if constexpr (requires { limit->count(); }) {
      all.push_back({key, name, "ms", limit->count()});
    } else {
      all.push_back({key, name, unit, static_cast<int64_t>(*limit)});
    }
  };
  add("max_body_bytes", "largest body", limits.max_body_bytes, "bytes");
  add("max_properties_bytes", "largest properties",
      limits.max_properties_bytes, "bytes");
  add("max_properties", "most properties", limits.max_properties);
  add("max_batch_messages", "largest batch", limits.max_batch_messages,
      "messages");
  add("max_partitions", "most partitions", limits.max_partitions);
  add("max_queues", "most queues", limits.max_queues);
  add("max_namespaces", "most namespaces", limits.max_namespaces);
  add("priority_levels", "levels of priority", limits.priority_levels);
  add("max_delay_ms", "longest delay", limits.max_delay);
  add("max_deduplication_window_ms", "longest deduplication window",
      limits.max_deduplication_window);
  add("min_lease_ms", "shortest lease", limits.min_lease);
  add("max_lease_ms", "longest lease", limits.max_lease);
  return all;
}

std::vector<RequirementReport> Requirements(const Report& report) {
  std::vector<RequirementReport> all;
  std::map<std::string_view, size_t> places;
  for (const TestReport& test : report.tests) {
    const auto [place, is_new] = places.emplace(test.info.id, all.size());
    if (is_new) {
      all.emplace_back();
      all.back().id = test.info.id;
      all.back().level = test.info.level;
    }
    RequirementReport& one = all[place->second];
    one.seconds += test.seconds;
    if (one.tests.empty() || Weight(test.result) > Weight(one.result)) {
      one.result = test.result;
      one.message = test.message;
    }
    one.tests.push_back(&test);
  }
  return all;
}

std::string ToText(const Report& report) {
  constexpr size_t kLines = 15;
  constexpr size_t kColumns = 79;
  std::string out;
  size_t lines = 0;
  size_t hidden = 0;
  for (const TestReport& test : report.tests) {
    if (test.result != Result::kFail && test.result != Result::kError) continue;
    if (lines + 2 > kLines) {
      ++hidden;
      continue;
    }
    out += Cut(Concat(Name(test.result), "  ", std::string_view(test.info.id),
                      "  ", std::string_view(test.info.title)),
               kColumns) +
           "\n" + Cut("      " + test.message, kColumns) + "\n";
    lines += 2;
  }
  if (hidden > 0) {
    out += Concat("... and ", hidden, " more; --html FILE has them all\n");
  }
  for (const Capability capability : report.Untested()) {
    if (++lines > kLines + 3) break;
    out += Cut(Concat("untested  ", Name(capability), " is declared",
                      std::string_view(WhyUntested(report, capability))),
               kColumns) +
           "\n";
  }
  out += Concat(report.Count(Result::kPass), " passed, ",
                report.Count(Result::kFail), " failed, ",
                report.Count(Result::kError), " errors, ",
                report.Count(Result::kNotApplicable), " not applicable, ",
                report.Count(Result::kExcluded), " excluded, ",
                report.Count(Result::kNotRun), " not run\n");
  out += Concat(std::string_view(report.driver),
                report.conformant()
                    ? (report.whole ? " is conformant" : " passed what was run")
                    : " is not conformant",
                "; ", std::string_view(Seconds(report.seconds)), " s, seed ",
                report.seed, "\n");
  return out;
}

std::string ToJson(const Report& report) {
  std::string out;
  {
    JsonObjectWriter object(out);
    object.Text("driver", report.driver);
    object.Text("broker", report.broker);
    object.Text("url", report.url);
    object.Integer("seed", static_cast<int64_t>(report.seed));
    AppendSummary(object.Key("summary"), report);
    std::string& list = object.Key("requirements");
    list += '[';
    for (const RequirementReport& one : Requirements(report)) {
      if (list.back() != '[') list += ',';
      list += '\n';
      AppendRequirement(list, one);
    }
    list += ']';
    AppendCapabilities(object.Key("capabilities"), report);
    JsonObjectWriter limits(object.Key("limits"));
    for (const LimitText& limit : LimitTexts(report.limits)) {
      limits.Integer(limit.key, limit.value);
    }
  }
  return out + "\n";
}

std::string ToJUnit(const Report& report) {
  const size_t skipped = report.Count(Result::kNotApplicable) +
                         report.Count(Result::kExcluded) +
                         report.Count(Result::kNotRun);
  std::string out = Concat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"",
      std::string_view(Xml(report.driver)), "\" tests=\"", report.tests.size(),
      "\" failures=\"", report.Count(Result::kFail), "\" errors=\"",
      report.Count(Result::kError), "\" skipped=\"", skipped, "\" time=\"",
      std::string_view(Seconds(report.seconds)), "\">\n");
  for (const TestReport& test : report.tests) AppendCase(out, test);
  return out + "</testsuite>\n";
}

}  // namespace openmessaging::conformance
