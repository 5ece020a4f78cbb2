// SPDX-License-Identifier: Apache-2.0

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "planted/bugs.h"
#include "planted/exit_code.h"

namespace openmessaging::reference {
namespace {

// Before main, and in each process anew: whoever is executed by a test reads
// the same environment.
PlantedBug BugOfEnvironment() {
  const char* const name = std::getenv("OMS_PLANTED");
  if (name == nullptr) return PlantedBug::kNone;
#define OMS_PLANTED_IF_NAMED(bug) \
  if (std::string_view(#bug).substr(1) == name) return PlantedBug::bug;
  OMS_PLANTED_BUGS(OMS_PLANTED_IF_NAMED)
#undef OMS_PLANTED_IF_NAMED
  std::fprintf(stderr,
               "OMS_PLANTED is \"%s\"; expected the name of a planted bug\n",
               name);
  std::_Exit(planted::kNoSuchBug);
}

}  // namespace

const PlantedBug planted_bug = BugOfEnvironment();

}  // namespace openmessaging::reference
