// SPDX-License-Identifier: Apache-2.0
//
// ProducerOptions say how a producer behaves; see producer.h.

#ifndef OPENMESSAGING_PRODUCER_OPTIONS_H_
#define OPENMESSAGING_PRODUCER_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {

// kBlock: waits up to the send timeout for room, then fails with 1607.
// kFail: fails with 1607 at once.
enum class InFlightPolicy : uint8_t { kBlock, kFail };

// Fixed for the life of a producer. What is not set here is as the attribute
// of the access point says that stands beside it, and else as safe to ship.
// Implements: OMS-MAP-009, 013.
struct ProducerOptions {
  // Longest time one Send may wait, retries included. Zero means one attempt
  // that waits for nothing. `producer.send-timeout`, else operation.timeout.
  std::optional<std::chrono::milliseconds> send_timeout{};

  // Largest body accepted, in bytes, at most kMaxBodyBytes. Checked before the
  // driver is called. `producer.max-body`, else 4 MiB.
  std::optional<size_t> max_body_bytes{};

  // Start with the first Send; otherwise Send answers 1602 before Start.
  bool autostart = true;

  // How much may be with the driver that was sent with SendAsync or SendOneway
  // and has no outcome yet, at most 1,000,000 messages and 64 GiB. A larger
  // message goes when nothing else is in flight.
  // `producer.max-in-flight-messages`, else 10,000;
  // `producer.max-in-flight-bytes`, else 64 MiB.
  std::optional<size_t> max_in_flight_messages{};
  std::optional<size_t> max_in_flight_bytes{};

  // What SendAsync does at these limits.
  InFlightPolicy at_in_flight_limit = InFlightPolicy::kBlock;

  // The producer group, whose members answer for each other's undecided
  // transactions; empty: none.
  std::string group{};

  // Who is asked what became of a message that was prepared and not decided, of
  // any member of the group; from the start on, so start a producer that only
  // answers. Needed to prepare, and needs a group. Kept as long as the producer.
  CheckListener check{};

  // From preparing a message to its first check, 1 ms to a day. The next ones
  // come after twice as long each, as the broker can, up to a minute.
  std::chrono::milliseconds check_after{6000};

  // So often somebody is asked about one message, 1 to 10,000; if it is not
  // decided when one more would come, it is rolled back.
  int32_t max_checks = 15;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PRODUCER_OPTIONS_H_
