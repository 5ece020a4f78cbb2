// SPDX-License-Identifier: Apache-2.0
//
// BrokerVersion is what a cluster speaks, and what follows for queues.

#ifndef OPENMESSAGING_KAFKA_BROKER_VERSION_H_
#define OPENMESSAGING_KAFKA_BROKER_VERSION_H_

#include <compare>
#include <optional>
#include <string_view>

#include "cluster.h"
#include "native.h"
#include "openmessaging/capability.h"
#include "openmessaging/queue_info.h"

namespace openmessaging::kafka {

struct BrokerVersion {
  int major = 0;
  int minor = 0;

  auto operator<=>(const BrokerVersion&) const = default;
};

// Of brokers that do not say, because whoever asks may not know their settings:
// the one that is tested.
inline constexpr BrokerVersion kAssumedVersion{3, 9};

// Since then a transaction that acknowledges is refused where its consumer has
// lost the partition (KIP-447).
inline constexpr BrokerVersion kFencesGroups{2, 5};

// Reads the setting inter.broker.protocol.version: `3.9-IV0`, `2.4`, `0.11.0`.
// Returns: 0.0 for what is none.
BrokerVersion ParseVersion(std::string_view text);

// Asks one broker. One that has no such setting any more is 4.0 or newer.
// Blocks: up to `deadline`. Returns: nothing where it does not say.
std::optional<BrokerVersion> AskVersion(Cluster& cluster, TimePoint deadline);

// Returns: what a queue of these options can do on such brokers.
Capabilities CapabilitiesFor(const QueueOptions& options,
                             BrokerVersion version);

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_BROKER_VERSION_H_
