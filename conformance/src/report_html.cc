// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/conformance/report.h"
#include "openmessaging/internal/text.h"
#include "report_text.h"

namespace openmessaging::conformance {
namespace report_html {
namespace {

using internal::Concat;

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--fg:#1c2024;--bg:#fff;--soft:#f3f5f7;
--line:#dde2e7;--muted:#5b6670;--pass:#1a7f37;--fail:#c0262d;--error:#9a4b00;
--other:#6a7480}
@media(prefers-color-scheme:dark){:root{--fg:#e6e9ec;--bg:#14171a;
--soft:#1e2327;--line:#343b42;--muted:#9aa5af;--pass:#4cc46a;--fail:#ff7b72;
--error:#f0a04b;--other:#8b96a1}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.2rem;background:var(--bg);
color:var(--fg);font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.45rem;margin:0 0 .2rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .2rem}h3 span{font-weight:400}
p{margin:.3rem 0}.muted{color:var(--muted)}code{overflow-wrap:anywhere}
.verdict{font-size:1.25rem;font-weight:650;border-left:.35rem solid;
padding:.2rem .8rem;margin:1rem 0}
.pass{color:var(--pass)}.fail{color:var(--fail)}.error{color:var(--error)}
.not-applicable,.excluded,.not-run{color:var(--other)}
.counts{display:grid;grid-template-columns:repeat(6,1fr);
gap:.5rem;margin:.7rem 0}
.counts div{background:var(--soft);border-radius:.5rem;padding:.4rem .8rem;
font-size:.85rem}.counts b{display:block;font-size:1.35rem;line-height:1.2}
.counts .zero{color:var(--muted);opacity:.75}
.bar{display:flex;height:.55rem;border-radius:.3rem;overflow:hidden;
background:var(--soft);gap:1px}.bar i{background:currentColor;min-width:2px}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.32rem .6rem .32rem 0;
border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--muted);font-weight:500;font-size:.85rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;
white-space:nowrap;padding-right:0}
td.id{white-space:nowrap;font:.85rem/1.7 ui-monospace,monospace;width:8.5rem}
td.r{width:8rem;white-space:nowrap;font-size:.9rem}td.s{width:4rem}
.r::before{content:"\25cf";margin-right:.35rem}
.two{columns:2 22rem;column-gap:2.5rem}.two table{break-inside:auto}
.two tr{break-inside:avoid}
details{margin:.15rem 0}summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);
border-radius:.4rem;padding:.5rem .6rem;margin:.3rem 0;
font:.82rem/1.4 ui-monospace,monospace}
.time{display:grid;grid-template-columns:8.5rem 1fr 4rem;gap:.15rem .6rem;
align-items:center;font-size:.9rem}.time code{font-size:.85rem}
.time i{display:block;height:.6rem;border-radius:.2rem;background:var(--other);
min-width:2px}.time b{font-weight:400;text-align:right;
font-variant-numeric:tabular-nums}
@media(max-width:40rem){body{padding:.8rem}h2{margin-top:1.6rem}
.q tr{display:grid;grid-template-columns:1fr auto;padding:.3rem 0;
border-bottom:1px solid var(--line)}.q td{border:0;padding:.05rem 0}
.q th,.q .s{display:none}.q td.id,.q td.r{width:auto}
.q td.what{grid-column:1/3;grid-row:2}
.counts{grid-template-columns:repeat(3,1fr)}.counts div{padding:.3rem .55rem}}
@media print{:root{color-scheme:light;--fg:#000;--bg:#fff;--soft:#f3f5f7;
--line:#ccc;--muted:#444;--pass:#1a7f37;--fail:#c0262d;--error:#9a4b00;
--other:#555}body{max-width:none;padding:0;font-size:10pt}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details>*{display:block}summary{list-style:none}tr,pre{break-inside:avoid}
h2,h3{break-after:avoid}.verdict{font-size:13pt}}
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

std::string_view Verdict(const Report& report) {
  if (!report.conformant()) return "Not conformant";
  return report.whole ? "Conformant" : "Passed what was run";
}

void AppendHead(std::string& out, const Report& report) {
  out += Concat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,"
      "initial-scale=1\">\n<title>OpenMessaging conformance: ",
      std::string_view(Escaped(report.driver)), "</title>\n<style>", kStyle,
      "</style></head><body>\n<h1>OpenMessaging conformance</h1>\n");
  out += Concat("<p>", std::string_view(Escaped(report.driver)), " at <code>",
                std::string_view(Escaped(report.url)), "</code>");
  if (!report.broker.empty()) {
    out += Concat(", ", std::string_view(Escaped(report.broker)));
  }
  out += Concat("</p>\n<p class=\"verdict ",
                report.conformant() ? "pass" : "fail", "\">",
                Verdict(report), "</p>\n");
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
    const size_t count = report.Count(static_cast<Result>(i));
    out += Concat("<div class=\"", count == 0 ? "zero" : kResultNames[i],
                  "\"><b>", count, "</b>", kResultNames[i], "</div>");
  }
  out += Concat("</div>\n<p class=\"muted\">", report.tests.size(),
                " tests of ", Requirements(report).size(),
                " requirements in ", std::string_view(Seconds(report.seconds)),
                " s, seed ", report.seed, "</p>\n");
}

// What a reader has to act on, before the long tables.
void AppendProblems(std::string& out, const Report& report) {
  bool any = false;
  const auto begin = [&] {
    if (!any) out += "<h2>What is wrong</h2>\n";
    any = true;
  };
  // Many are a list first.
  constexpr size_t kMostOpen = 5;
  const bool open = report.Count(Result::kFail) +
                        report.Count(Result::kError) <= kMostOpen;
  for (const TestReport& test : report.tests) {
    if (test.result != Result::kFail && test.result != Result::kError) continue;
    begin();
    out += Concat("<details", open ? " open" : "", "><summary><b class=\"",
                  Name(test.result), "\">",
                  std::string_view(Escaped(test.info.id)), "</b> ",
                  std::string_view(Escaped(test.info.title)),
                  "</summary><pre>", std::string_view(Escaped(test.message)),
                  "</pre></details>\n");
  }
  for (const Capability capability : report.Untested()) {
    begin();
    out += Concat("<p><b class=\"fail\">", Name(capability),
                  "</b> is declared, and no test of it was run: the run is "
                  "incomplete</p>\n");
  }
}

void AppendRequirement(std::string& out, const RequirementReport& one) {
  out += Concat("<tr><td class=\"id\">", std::string_view(Escaped(one.id)),
                "<td class=\"what\">");
  for (const TestReport* const test : one.tests) {
    const std::string title = Escaped(test->info.title);
    if (test->message.empty()) {
      out += Concat("<div>", std::string_view(title), "</div>");
    } else {
      out += Concat("<details><summary>", std::string_view(title),
                    "</summary><pre>",
                    std::string_view(Escaped(test->message)),
                    "</pre></details>");
    }
  }
  out += Concat("<td class=\"r ", Name(one.result), "\">", Name(one.result),
                "<td class=\"n s\">", std::string_view(Seconds(one.seconds)),
                "</tr>\n");
}

// One table for each level.
void AppendRequirementTables(std::string& out, const Report& report) {
  const std::vector<RequirementReport> all = Requirements(report);
  out += "<h2>Requirements</h2>\n";
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    const auto level = static_cast<Level>(i);
    size_t passed = 0;
    size_t total = 0;
    std::string rows;
    for (const RequirementReport& one : all) {
      if (one.level != level) continue;
      ++total;
      if (one.result == Result::kPass) ++passed;
      AppendRequirement(rows, one);
    }
    if (total == 0) continue;
    out += Concat("<h3>", kLevelNames[i], " <span class=\"muted\">", passed,
                  " of ", total, " pass</span></h3>\n<table class=\"q\"><tr>"
                  "<th>id<th>what<th>result<th class=\"n\">s</tr>\n",
                  std::string_view(rows), "</table>\n");
  }
}

void AppendTiming(std::string& out, const Report& report) {
  constexpr size_t kShown = 12;
  std::vector<RequirementReport> all = Requirements(report);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.seconds > b.seconds;
  });
  if (all.size() > kShown) all.resize(kShown);
  if (all.empty() || all[0].seconds <= 0) return;
  out += "<h2>Where the time went</h2>\n<div class=\"time\">\n";
  for (const RequirementReport& one : all) {
    const double share = 100 * one.seconds / all[0].seconds;
    out += Concat("<code>", std::string_view(Escaped(one.id)),
                  "</code><span><i style=\"width:",
                  static_cast<int>(share), "%\"></i></span><b>",
                  std::string_view(Seconds(one.seconds)), " s</b>\n");
  }
  out += "</div>\n";
}

// Returns: "64 MiB", "366 days", "1024".
std::string Readable(const LimitText& limit) {
  struct Step {
    std::string_view unit;
    int64_t size;
    std::string_view name;
  };
  constexpr std::array<Step, 6> kSteps = {{{"ms", 86400000, "days"},
                                           {"ms", 3600000, "h"},
                                           {"ms", 60000, "min"},
                                           {"ms", 1000, "s"},
                                           {"bytes", 1 << 20, "MiB"},
                                           {"bytes", 1 << 10, "KiB"}}};
  for (const Step& step : kSteps) {
    if (step.unit == limit.unit && limit.value >= step.size &&
        limit.value % step.size == 0) {
      return Concat(limit.value / step.size, " ", step.name);
    }
  }
  return limit.unit.empty() ? Concat(limit.value)
                            : Concat(limit.value, " ", limit.unit);
}

void AppendLimits(std::string& out, const CapabilityLimits& limits) {
  const std::vector<LimitText> all = LimitTexts(limits);
  out += "<h3>Limits</h3>\n";
  if (all.empty()) {
    out += "<p class=\"muted\">none but the library's own</p>\n";
    return;
  }
  out += "<div class=\"two\"><table>\n";
  for (const LimitText& one : all) {
    out += Concat("<tr><td>", one.name, "<td class=\"n\">",
                  std::string_view(Readable(one)), "</tr>\n");
  }
  out += "</table></div>\n";
}

void AppendCapabilities(std::string& out, const Report& report) {
  if (report.capabilities.empty()) return;
  out += "<h2>Capabilities</h2>\n<div class=\"two\"><table><tr><th>"
         "capability<th>declared<th class=\"n\">tests run</tr>\n";
  for (const CapabilityReport& one : report.capabilities) {
    const bool absent = one.declared == Support::kUnsupported;
    const bool untested = !absent && one.tests == 0;
    out += Concat("<tr><td>", Name(one.capability), "<td class=\"",
                  absent ? "muted" : "", "\">", Name(one.declared),
                  "<td class=\"n ",
                  untested ? "fail" : (absent ? "muted" : ""), "\">",
                  untested ? "none" : std::to_string(one.tests), "</tr>\n");
  }
  out += "</table></div>\n";
  AppendLimits(out, report.limits);
}

}  // namespace
}  // namespace report_html

std::string ToHtml(const Report& report) {
  std::string out;
  report_html::AppendHead(out, report);
  report_html::AppendCounts(out, report);
  report_html::AppendProblems(out, report);
  report_html::AppendCapabilities(out, report);
  report_html::AppendRequirementTables(out, report);
  report_html::AppendTiming(out, report);
  return out + "</body></html>\n";
}

}  // namespace openmessaging::conformance
