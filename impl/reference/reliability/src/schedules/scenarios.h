// SPDX-License-Identifier: Apache-2.0
//
// The scenarios that are explored. Each is a few calls of the engine by two or
// three processes, and the rule that holds whatever the schedule.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_SCENARIOS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_SCENARIOS_H_

#include <vector>

#include "schedules/explorer.h"

namespace openmessaging::reference::schedules {

std::vector<ScenarioKind> LockScenarios();
std::vector<ScenarioKind> AppendScenarios();
std::vector<ScenarioKind> GroupScenarios();
std::vector<ScenarioKind> UnitScenarios();
std::vector<ScenarioKind> LifeScenarios();

// Returns: all of them.
std::vector<ScenarioKind> AllScenarios();

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_SCENARIOS_H_
