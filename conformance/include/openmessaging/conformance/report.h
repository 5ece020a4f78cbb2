// SPDX-License-Identifier: Apache-2.0
//
// A report as text for a terminal, JSON, JUnit's XML, or one page of HTML.

#ifndef OPENMESSAGING_CONFORMANCE_REPORT_H_
#define OPENMESSAGING_CONFORMANCE_REPORT_H_

#include <string>
#include <vector>

#include "openmessaging/conformance/suite.h"

namespace openmessaging::conformance {

// One requirement, of which there may be several tests: the worst result of
// them, with its message.
struct RequirementReport {
  std::string id{};
  Level level = Level::kCore;
  Result result = Result::kNotApplicable;
  std::string message{};
  double seconds = 0;
  std::vector<const TestReport*> tests{};
};

// Returns: the requirements in the order of their first tests.
// Lifetime: of `report`.
std::vector<RequirementReport> Requirements(const Report& report);

// Returns: a summary that fits one screen of 80 columns and 24 lines: what
// failed, as far as there is room, and counts.
std::string ToText(const Report& report);

// The schema is conformance/schema/report.schema.json.
std::string ToJson(const Report& report);
// One test case for each test; what is not applicable, excluded or not run is
// "skipped". The schema is conformance/schema/junit.xsd.
std::string ToJUnit(const Report& report);
// Needs nothing beside itself.
std::string ToHtml(const Report& report);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_REPORT_H_
