// SPDX-License-Identifier: Apache-2.0

#include "header_name.h"

#include <algorithm>
#include <iterator>

namespace openmessaging::inline v0::kit {
namespace {

// In the order of HeaderName, which is that of the alphabet.
constexpr std::string_view kNames[] = {"born_host",
                                       "born_timestamp",
                                       "compression",
                                       "correlation_id",
                                       "deduplication_id",
                                       "delay",
                                       "delivery_count",
                                       "destination",
                                       "durability",
                                       "expire_at",
                                       "message_id",
                                       "message_key",
                                       "offset",
                                       "origin_id",
                                       "partition",
                                       "priority",
                                       "qos",
                                       "reply_to",
                                       "store_host",
                                       "store_timestamp",
                                       "traceparent",
                                       "tracestate",
                                       "transaction_id",
                                       "version"};
static_assert(std::size(kNames) ==
              size_t{1} + static_cast<size_t>(HeaderName::kVersion));
static_assert(std::is_sorted(std::begin(kNames), std::end(kNames)));

FilterValue TextOrNull(std::string_view text) {
  return text.empty() ? FilterValue() : FilterValue::OfText(text);
}
FilterValue NumberOrNull(int64_t number, int64_t absent) {
  return number == absent ? FilterValue() : FilterValue::OfExact(number);
}

FilterValue DurabilityOf(const Message& message) {
  switch (message.durability()) {
    case Durability::kVolatile:
      return FilterValue::OfText("volatile");
    case Durability::kProcess:
      return FilterValue::OfText("process");
    case Durability::kDisk:
      return FilterValue::OfText("disk");
    default:
      return FilterValue();
  }
}

FilterValue PartitionOf(const Message& message) {
  return NumberOrNull(message.delivery_count() > 0
                          ? message.partition()
                          : message.requested_partition(),
                      -1);
}

}  // namespace

std::optional<HeaderName> FindHeaderName(std::string_view name) {
  const auto* const found =
      std::lower_bound(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames) || *found != name) return std::nullopt;
  return static_cast<HeaderName>(found - std::begin(kNames));
}

FilterValue ReadHeader(const Message& message, HeaderName name, IdTexts& ids) {
  switch (name) {
    case HeaderName::kBornHost:
      return TextOrNull(message.born_host());
    case HeaderName::kBornTimestamp:
      return NumberOrNull(message.born_timestamp().count(), 0);
    case HeaderName::kCompression:
      return TextOrNull(message.compression());
    case HeaderName::kCorrelationId:
      return TextOrNull(message.correlation_id());
    case HeaderName::kDeduplicationId:
      return TextOrNull(message.deduplication_id());
    case HeaderName::kDelay:
      return NumberOrNull(message.delay().count(), 0);
    case HeaderName::kDeliveryCount:
      return NumberOrNull(message.delivery_count(), 0);
    case HeaderName::kDestination:
      return TextOrNull(message.destination());
    case HeaderName::kDurability:
      return DurabilityOf(message);
    case HeaderName::kExpireAt:
      return NumberOrNull(message.expire_at().count(), 0);
    case HeaderName::kMessageId:
      return TextOrNull(message.message_id().Print(ids.message_id));
    case HeaderName::kMessageKey:
      return TextOrNull(message.message_key());
    case HeaderName::kOffset:
      return NumberOrNull(message.offset(), -1);
    case HeaderName::kOriginId:
      return TextOrNull(message.origin_id().Print(ids.origin_id));
    case HeaderName::kPartition:
      return PartitionOf(message);
    case HeaderName::kPriority:
      return FilterValue::OfExact(message.priority());
    case HeaderName::kQos:
      return FilterValue::OfExact(static_cast<int64_t>(message.qos()));
    case HeaderName::kReplyTo:
      return TextOrNull(message.reply_to());
    case HeaderName::kStoreHost:
      return TextOrNull(message.store_host());
    case HeaderName::kStoreTimestamp:
      return NumberOrNull(message.store_timestamp().count(), 0);
    case HeaderName::kTraceParent:
      return TextOrNull(message.traceparent());
    case HeaderName::kTraceState:
      return TextOrNull(message.tracestate());
    case HeaderName::kTransactionId:
      return TextOrNull(message.transaction_id());
    case HeaderName::kVersion:
      return TextOrNull(message.version());
  }
  return FilterValue();
}

}  // namespace openmessaging::inline v0::kit
