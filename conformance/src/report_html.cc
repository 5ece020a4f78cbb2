// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <string>
#include <string_view>

#include "openmessaging/conformance/report.h"
#include "openmessaging/internal/text.h"
#include "report_text.h"

namespace openmessaging::conformance {
namespace {

using internal::Concat;

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--fg:#1c2024;--bg:#fff;--soft:#f1f3f5;
--line:#d8dde2;--muted:#5b6670;--pass:#1a7f37;--fail:#c0262d;--error:#9a4b00;
--other:#5b6670}
@media(prefers-color-scheme:dark){:root{--fg:#e6e9ec;--bg:#14171a;
--soft:#1e2327;--line:#343b42;--muted:#9aa5af;--pass:#4cc46a;--fail:#ff7b72;
--error:#f0a04b;--other:#9aa5af}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--bg);
color:var(--fg);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.muted{color:var(--muted)}
.verdict{font-size:1.15rem;font-weight:600}
.pass{color:var(--pass)}.fail{color:var(--fail)}.error{color:var(--error)}
.not-applicable,.excluded,.not-run{color:var(--other)}
.counts{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0;padding:0}
.counts div{background:var(--soft);border-radius:.5rem;padding:.4rem .8rem;
min-width:6.5rem}.counts b{display:block;font-size:1.4rem}
.bar{display:flex;height:.6rem;border-radius:.3rem;overflow:hidden;
background:var(--soft)}.bar i{background:currentColor}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top}th{color:var(--muted);font-weight:500}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.id{white-space:nowrap;font-family:ui-monospace,monospace;font-size:.9em}
summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere;
background:var(--soft);border-radius:.4rem;padding:.5rem;margin:.4rem 0;
font-size:.85em}
@media(max-width:40rem){td,th{padding:.3rem .25rem}body{padding:.6rem}
.t{display:none}}
@media print{body{max-width:none}details>*{display:block}}
)";

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string Tag(Result result) {
  return Concat("<span class=\"", Name(result), "\">", Name(result), "</span>");
}

void AppendHead(std::string& out, const Report& report) {
  out += Concat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,"
      "initial-scale=1\">\n<title>OpenMessaging conformance: ",
      std::string_view(Escaped(report.driver)), "</title>\n<style>", kStyle,
      "</style></head><body>\n<h1>OpenMessaging conformance</h1>\n");
  out += Concat("<p>", std::string_view(Escaped(report.driver)), " at <code>",
                std::string_view(Escaped(report.url)), "</code></p>\n");
  const bool good = report.conformant();
  out += Concat("<p class=\"verdict ", good ? "pass" : "fail", "\">",
                good ? (report.whole ? "Conformant" : "Passed what was run")
                     : "Not conformant",
                "</p>\n<p class=\"muted\">",
                std::string_view(Seconds(report.seconds)), " s, seed ",
                report.seed, "</p>\n");
}

void AppendCounts(std::string& out, const Report& report) {
  out += "<div class=\"bar\">";
  for (size_t i = 0; i < kResultNames.size(); ++i) {
    const size_t count = report.Count(static_cast<Result>(i));
    if (count == 0) continue;
    out += Concat("<i class=\"", kResultNames[i], "\" style=\"flex:", count,
                  "\"></i>");
  }
  out += "</div>\n<div class=\"counts\">";
  for (size_t i = 0; i < kResultNames.size(); ++i) {
    out += Concat("<div class=\"", kResultNames[i], "\"><b>",
                  report.Count(static_cast<Result>(i)), "</b>",
                  kResultNames[i], "</div>");
  }
  out += "</div>\n";
}

void AppendRequirementTable(std::string& out, const Report& report) {
  out += "<h2>Requirements</h2>\n<div class=\"wide\"><table><tr><th>id"
         "<th>what<th>result<th class=\"t\">s</tr>\n";
  for (const RequirementReport& one : Requirements(report)) {
    out += Concat("<tr><td class=\"id\">", std::string_view(Escaped(one.id)),
                  "<td>");
    for (const TestReport* const test : one.tests) {
      const std::string title = Escaped(test->info.title);
      if (test->message.empty()) {
        out += Concat("<div>", std::string_view(title), "</div>");
      } else {
        out += Concat(test->result == Result::kFail ? "<details open>"
                                                    : "<details>",
                      "<summary>", std::string_view(title), "</summary><pre>",
                      std::string_view(Escaped(test->message)),
                      "</pre></details>");
      }
    }
    out += Concat("<div class=\"muted\">", Name(one.level), "</div><td>",
                  std::string_view(Tag(one.result)), "<td class=\"n t\">",
                  std::string_view(Seconds(one.seconds)), "</tr>\n");
  }
  out += "</table></div>\n";
}

template <typename T>
void AppendLimit(std::string& out, std::string_view name, const T& limit,
                 std::string_view unit) {
  if (!limit) return;
  out += Concat("<tr><td>", name, "<td class=\"n\">", *limit, " ", unit,
                "</tr>\n");
}

void AppendCapabilityTable(std::string& out, const Report& report) {
  if (report.capabilities.empty()) return;
  out += "<h2>Capabilities</h2>\n<div class=\"wide\"><table><tr><th>"
         "capability<th>declared<th>tests run</tr>\n";
  for (const CapabilityReport& one : report.capabilities) {
    const bool untested =
        one.declared != Support::kUnsupported && one.tests == 0;
    out += Concat("<tr><td>", Name(one.capability), "<td class=\"",
                  one.declared == Support::kUnsupported ? "muted" : "", "\">",
                  Name(one.declared), "<td class=\"n ",
                  untested ? "fail" : "", "\">", one.tests, "</tr>\n");
  }
  out += "</table></div>\n<h2>Limits</h2>\n<table>\n";
  const CapabilityLimits& limits = report.limits;
  const auto count = [](const std::optional<std::chrono::milliseconds>& time) {
    return time ? std::optional<int64_t>(time->count()) : std::nullopt;
  };
  AppendLimit(out, "largest body", limits.max_body_bytes, "bytes");
  AppendLimit(out, "largest properties", limits.max_properties_bytes, "bytes");
  AppendLimit(out, "most properties", limits.max_properties, "");
  AppendLimit(out, "largest batch", limits.max_batch_messages, "messages");
  AppendLimit(out, "most partitions", limits.max_partitions, "");
  AppendLimit(out, "longest delay", count(limits.max_delay), "ms");
  AppendLimit(out, "shortest lease", count(limits.min_lease), "ms");
  AppendLimit(out, "longest lease", count(limits.max_lease), "ms");
  out += "</table>\n";
}

}  // namespace

std::string ToHtml(const Report& report) {
  std::string out;
  AppendHead(out, report);
  AppendCounts(out, report);
  AppendRequirementTable(out, report);
  AppendCapabilityTable(out, report);
  return out + "</body></html>\n";
}

}  // namespace openmessaging::conformance
