// SPDX-License-Identifier: Apache-2.0
//
// The header fields of a message by the names that a filter uses, which are
// those of the JSON form.

#ifndef OPENMESSAGING_KIT_HEADER_NAME_H_
#define OPENMESSAGING_KIT_HEADER_NAME_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "filter_value.h"
#include "openmessaging/message.h"

namespace openmessaging::inline v0::kit {

enum class HeaderName : uint8_t {
  kBornHost,
  kBornTimestamp,
  kCompression,
  kCorrelationId,
  kDeduplicationId,
  kDelay,
  kDeliveryCount,
  kDestination,
  kDurability,
  kExpireAt,
  kMessageId,
  kMessageKey,
  kOffset,
  kOriginId,
  kPartition,
  kPriority,
  kQos,
  kReplyTo,
  kStoreHost,
  kStoreTimestamp,
  kTraceParent,
  kTraceState,
  kTransactionId,
  kVersion
};

// Returns: nothing where there is no such field.
std::optional<HeaderName> FindHeaderName(std::string_view name);

// Room for the ids of a message, which are not text before somebody asks.
struct IdTexts {
  std::array<char, MessageId::kMaxPrintedBytes> message_id;
  std::array<char, MessageId::kMaxPrintedBytes> origin_id;
};

// Reads a field. What is not set is null, except that the priority is then 5
// and the quality of service 0. Times and delays are milliseconds, the
// durability is "volatile", "process" or "disk".
// Lifetime: text is a view of the message or of `ids`.
FilterValue ReadHeader(const Message& message, HeaderName name, IdTexts& ids);

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_HEADER_NAME_H_
