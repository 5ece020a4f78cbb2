// SPDX-License-Identifier: Apache-2.0
//
// A short life of a store, chosen by a seed and recorded.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_WORKLOAD_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_WORKLOAD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "power/model.h"
#include "power/session.h"
#include "power/trace.h"

namespace openmessaging::reference::power {

// What most of a workload is about.
enum class Theme : uint8_t {
  kMixed,
  kSettlement,
  kRetention,
  kTransactions,
  kDelays,
  kLargeBodies,
  kFull,
  kLives,   // Opened and closed again and again.
  kKilled,  // The same, and often without ctl while the machine goes on.
};
inline constexpr int kThemes = 9;

struct Recording {
  Trace trace{};
  Model model{};
  // What went wrong with no power lost at all; empty: nothing.
  std::string failure{};
};

// Returns: what a workload of this seed does to an empty disk.
std::unique_ptr<Recording> Record(Theme theme, uint64_t seed);

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_WORKLOAD_H_
