// SPDX-License-Identifier: Apache-2.0

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_CONSUMER_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_CONSUMER_H_

#include <cstdint>
#include <memory>
#include <span>

#include "mutants.h"
#include "openmessaging/driver/consumer.h"

namespace openmessaging::conformance {

// Hands on what a consumer tells of its sources, unless the fault is not to.
// `events` outlives it.
class MutantEvents final : public driver::ConsumerEvents {
 public:
  MutantEvents(driver::ConsumerEvents& events, Mutant mutant)
      : events_(events), mutant_(mutant) {}
  void Revoking(std::span<const uint64_t> sources,
                driver::TimePoint deadline) override {
    if (!IsSilent()) events_.Revoking(sources, deadline);
  }
  void Lost(std::span<const uint64_t> sources) override {
    if (!IsSilent()) events_.Lost(sources);
  }

 private:
  // A consumer that leaks outlives whom it would tell.
  bool IsSilent() const {
    return mutant_ == Mutant::kUnbindIsSilent ||
           mutant_ == Mutant::kLeaksOnClose;
  }

  driver::ConsumerEvents& events_;
  const Mutant mutant_;
};

// A consumer with the faults that are of receiving and settling.
// `events` is what the inner one was made with; it ends with the consumer.
std::unique_ptr<driver::Consumer> MakeMutantConsumer(
    std::unique_ptr<driver::Consumer> inner,
    std::unique_ptr<MutantEvents> events, Mutant mutant);

// Returns: the options that a consumer with the fault really gets.
driver::ConsumerOptions ChangedOptions(driver::ConsumerOptions options,
                                       Mutant mutant);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_CONSUMER_H_
