// SPDX-License-Identifier: Apache-2.0
//
// FaultPlan is what the attributes fault and fault.seed of a memory store say:
// which faults, how often, and from which random numbers.

#ifndef OPENMESSAGING_REFERENCE_FAULT_PLAN_H_
#define OPENMESSAGING_REFERENCE_FAULT_PLAN_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::reference {

inline constexpr std::string_view kFaultAttribute = "fault";
inline constexpr std::string_view kFaultSeedAttribute = "fault.seed";

// Those with a probability, in the order in which they are tried.
enum class Fault : uint8_t {
  kError,
  kUnknown,
  kDisconnect,
  kDrop,
  kDuplicate,
  kReorder,
};
inline constexpr std::array<std::string_view, 6> kFaultNames = {
    "error", "unknown", "disconnect", "drop", "duplicate", "reorder"};

// A value. `fault=drop:0.01,delay:10ms` is one.
struct FaultPlan {
  double Of(Fault fault) const {
    return probabilities[static_cast<size_t>(fault)];
  }
  // Whether messages wait somewhere before they are stored.
  bool has_wire() const {
    return delay.count() > 0 || Of(Fault::kReorder) > 0;
  }

  std::array<double, kFaultNames.size()> probabilities{};
  std::chrono::milliseconds delay{0};
  uint64_t seed = 1;
};

// Returns: nothing where the attributes ask for no faults.
// Errors: 1418 names the part that is wrong and what was expected.
absl::StatusOr<std::optional<FaultPlan>> ReadFaultPlan(
    const Attributes& attributes);

// Throws the dice of one client. The same seed and calls give the same faults.
//
// Threads: every method from any thread.
class FaultDice {
 public:
  // `client` tells those of one connection apart.
  FaultDice(const FaultPlan& plan, uint64_t client);

  // Returns: the first fault of `among` that hits.
  std::optional<Fault> Throw(std::initializer_list<Fault> among);
  // Returns: whether something with the probability one half happens.
  bool Half();
  // Returns: up to the plan's delay.
  std::chrono::microseconds Delay();

 private:
  double Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FaultPlan plan_;
  internal::Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FAULT_PLAN_H_
