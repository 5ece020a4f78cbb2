// SPDX-License-Identifier: Apache-2.0

#include "delivery_terms.h"

#include <utility>

namespace openmessaging::reference {

absl::StatusOr<std::unique_ptr<DeliveryTerms>> TermsOf(
    Catalog& catalog, const Queue& queue,
    const std::optional<kit::Filter>& of_group, TimePoint deadline) {
  auto terms = std::make_unique<DeliveryTerms>();
  terms->policy = RedeliveryPolicy::Of(queue.options);
  terms->of_queue = queue.filter;
  terms->of_group = of_group;
  if (const auto& dead = queue.options.dead_letter_queue; !dead.empty()) {
    auto letters = catalog.FindQueue(dead, deadline);
    if (!letters.ok()) return letters.status();
    terms->dead_letters = *std::move(letters);
  }
  return terms;
}

}  // namespace openmessaging::reference
