// SPDX-License-Identifier: Apache-2.0
//
// What decides of the messages of one queue that are for one group.

#ifndef OPENMESSAGING_REFERENCE_DELIVERY_TERMS_H_
#define OPENMESSAGING_REFERENCE_DELIVERY_TERMS_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "catalog.h"
#include "openmessaging/kit/filter.h"
#include "openmessaging/message.h"
#include "redelivery.h"

namespace openmessaging::reference {

// Constant once made. A queue that is changed has new ones; those before stay
// as long as the binding that they are of, since anybody may still read them.
struct DeliveryTerms {
  RedeliveryPolicy policy{};
  // Null: the queue has none.
  std::shared_ptr<const Queue> dead_letters{};
  // Nothing: all messages are for the group.
  std::optional<kit::Filter> of_queue{};
  std::optional<kit::Filter> of_group{};

  bool choose() const { return of_queue || of_group; }
  bool Matches(const Message& message) const {
    return (!of_queue || of_queue->Matches(message)) &&
           (!of_group || of_group->Matches(message));
  }
};

// Returns: the terms of a queue as it is now, for a group with such a filter.
// Errors: as Catalog::FindQueue.
absl::StatusOr<std::unique_ptr<DeliveryTerms>> TermsOf(
    Catalog& catalog, const Queue& queue,
    const std::optional<kit::Filter>& of_group, TimePoint deadline);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DELIVERY_TERMS_H_
