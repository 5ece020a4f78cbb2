// SPDX-License-Identifier: Apache-2.0
//
// Which planted bug is found by which run. A bug is a line or a condition that
// is wrong in the way in which real ones are; it counts as found where a run
// that passes without it fails with it. So the table says what the checkers can
// see, and a checker that goes blind turns it red.
//
// A new one: its name in bugs.h, OMS_PLANTED(kName) in a source of the engine
// (not in a header, of which tests have copies of their own), its row in
// table.cc. One that no run finds is either a gap, which wants a test, or no
// bug, since nothing comes of it; then it goes.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_TABLE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_TABLE_H_

#include <span>
#include <string>
#include <string_view>

#include "planted/run.h"

namespace openmessaging::reference::planted {

struct Row {
  // As OMS_PLANTED has it.
  std::string_view bug{};
  // The rule that it breaks, or what it does wrong.
  std::string_view what{};
  Run run{};
  // Whether it is part of the quick form: its run takes a moment.
  bool quick = false;
};

// Returns: a row for each bug, in the order of bugs.h.
std::span<const Row> Table();

}  // namespace openmessaging::reference::planted
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_TABLE_H_
