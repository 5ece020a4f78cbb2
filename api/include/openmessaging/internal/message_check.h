// SPDX-License-Identifier: Apache-2.0
//
// What is checked of a message before a driver sees it: sizes, values, and what
// it asks of its queue.

#ifndef OPENMESSAGING_INTERNAL_MESSAGE_CHECK_H_
#define OPENMESSAGING_INTERNAL_MESSAGE_CHECK_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/internal/key_value_codec.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/key_value.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Fields that only drivers and the library set: whatever a sender left in them,
// for example by sending on what it received, does not reach the driver. The
// origin is kept: it names the message wherever it travels.
inline constexpr std::array kDriverFields = {
    Field::kVersion,  Field::kMessageId, Field::kBornTimestamp,
    Field::kBornHost, Field::kStoreHost, Field::kTransactionId};

// The fields that ask for an ability of the queue.
struct FieldDemand {
  Field field;
  Capability capability;
};
inline constexpr std::array kFieldDemands = {
    FieldDemand{Field::kPriority, Capability::kPriority},
    FieldDemand{Field::kQos, Capability::kExactlyOnce},
    FieldDemand{Field::kDurability, Capability::kDurable},
    FieldDemand{Field::kDeduplicationId, Capability::kDeduplication},
    FieldDemand{Field::kPartition, Capability::kExplicitPartition},
    FieldDemand{Field::kDelay, Capability::kDelay},
    FieldDemand{Field::kExpireAt, Capability::kExpiry},
};

// What one look over the fields of a message found.
struct MessageScan {
  // What it asks for: fields that are not set, or set to what they mean when
  // they are not, ask for nothing.
  CapabilitySet demands{};
  std::chrono::milliseconds delay{0};
  size_t properties_bytes = 0;
  size_t properties = 0;
  bool has_driver_fields = false;
};

// Makes the errors of a send: `send to "<queue>": ...`.
template <typename... Parts>
absl::Status SendError(Code code, std::string_view destination,
                       const Parts&... parts) {
  return MakeStatus(code, "send to \"", Printable(destination),
                    "\": ", parts...);
}

// Checks encoded properties, and notes their size. Linear, and only for
// messages that have some.
inline absl::Status ScanProperties(std::string_view destination,
                                   std::string_view encoded,
                                   MessageScan& scan) {
  if (encoded.size() > kMaxPropertiesBytes) {
    return SendError(Code::kAttributesTooLarge, destination, "properties are ",
                     encoded.size(), " bytes; limit is ", kMaxPropertiesBytes,
                     " (OMS-PROD-006)");
  }
  const KeyValueFlaw flaw = FindFlaw(encoded);
  if (flaw.too_deep) {
    return SendError(Code::kAttributesTooLarge, destination,
                     "properties are nested too deep; limit is ",
                     kMaxPropertiesDepth, " levels (OMS-PROD-006)");
  }
  if (flaw.what != nullptr) {
    return SendError(Code::kBadParameter, destination,
                     "properties are damaged: ", flaw.what, " at byte ",
                     flaw.offset, "; expected a valid KeyValue (OMS-PROD-006)");
  }
  const size_t size = encoded.size();
  size_t count = 0;
  while (const auto entry = TakeEntry(encoded)) {
    ++count;
    // A dead letter may be sent on as it is.
    if (entry->key.starts_with(kReservedPrefix) &&
        !entry->key.starts_with(kDeadPrefix)) {
      return SendError(Code::kBadParameter, destination, "property \"",
                       Printable(entry->key),
                       "\" is reserved; expected a key "
                       "that does not start with ",
                       kReservedPrefix, " (OMS-PROD-006)");
    }
  }
  if (count > kMaxProperties) {
    return SendError(Code::kAttributesTooLarge, destination, "there are ",
                     count, " properties; limit is ", kMaxProperties,
                     " (OMS-PROD-006)");
  }
  scan.properties_bytes = size;
  scan.properties = count;
  return absl::OkStatus();
}

// Checks one field that is a number, and notes what it asks for.
// Returns: a phrase that says what is wrong; nullptr when all is well.
inline const char* ScanNumber(const FieldSpan& field, MessageScan& scan) {
  const bool is_byte = field.type == Field::kPriority ||
                       field.type == Field::kQos ||
                       field.type == Field::kDurability;
  const size_t size = is_byte ? 1 : field.type == Field::kPartition ? 4 : 8;
  if (field.payload.size() != size) {
    return "a header field has a wrong size; expected one that a setter wrote";
  }
  int64_t value = 0;
  if (is_byte) {
    value = static_cast<uint8_t>(field.payload[0]);
  } else if (size == 4) {
    int32_t narrow = 0;
    std::memcpy(&narrow, field.payload.data(), sizeof(narrow));
    value = narrow;
  } else {
    std::memcpy(&value, field.payload.data(), sizeof(value));
  }
  switch (field.type) {
    case Field::kPriority:
      if (value >= 1 && value <= 10 && value != Message::kDefaultPriority) {
        scan.demands.Add(Capability::kPriority);
      }
      break;
    case Field::kQos:
      if (value > 2) return "qos is none of the known; expected 0, 1 or 2";
      if (value == 2) scan.demands.Add(Capability::kExactlyOnce);
      break;
    case Field::kDurability:
      if (value > 3) return "durability is none of the known; expected 0 to 3";
      if (value > 1) scan.demands.Add(Capability::kDurable);
      break;
    case Field::kPartition:
      if (value < -1) return "partition is negative; expected 0 or more";
      if (value >= 0) scan.demands.Add(Capability::kExplicitPartition);
      break;
    case Field::kDelay:
      if (value < 0) return "delay is negative; expected 0 or more";
      if (value > 0) scan.demands.Add(Capability::kDelay);
      scan.delay = std::chrono::milliseconds(value);
      break;
    default:
      if (value < 0) return "expiry is before 1970; expected 0 or later";
      if (value > 0) scan.demands.Add(Capability::kExpiry);
      break;
  }
  return nullptr;
}

// Looks once over the fields: sizes, values, and what they ask for.
// Errors: 1411, 1412, 1418.
inline absl::StatusOr<MessageScan> ScanMessage(const Message& message) {
  const std::string_view fields = driver::MessageAccess::Fields(message);
  MessageScan scan;
  const char* wrong = nullptr;
  size_t at = 0;
  size_t header_bytes = fields.size();
  while (const auto field = FieldAt(fields, at)) {
    at = field->end;
    switch (field->type) {
      case Field::kDestination:
        break;  // Checked once for each connection: ConnectionCore::FactsOf.
      case Field::kVersion:
      case Field::kMessageId:
      case Field::kBornTimestamp:
      case Field::kBornHost:
      case Field::kStoreHost:
      case Field::kTransactionId:
        scan.has_driver_fields = true;
        break;
      case Field::kPriority:
      case Field::kQos:
      case Field::kDurability:
      case Field::kPartition:
      case Field::kDelay:
      case Field::kExpireAt:
        wrong = ScanNumber(*field, scan);
        break;
      case Field::kProperties: {
        header_bytes -= field->end - field->begin;
        absl::Status status =
            ScanProperties(message.destination(), field->payload, scan);
        if (!status.ok()) return status;
        break;
      }
      case Field::kDeduplicationId:
        scan.demands.Add(Capability::kDeduplication);
        [[fallthrough]];
      case Field::kOriginId:
      case Field::kMessageKey:
      case Field::kCorrelationId:
      case Field::kReplyTo:
      case Field::kCompression:
      case Field::kTraceParent:
      case Field::kTraceState:
        if (!IsUtf8(field->payload)) {
          wrong = "a header field is not UTF-8; expected UTF-8 text";
        }
        break;
    }
    if (wrong != nullptr) {
      return SendError(Code::kBadParameter, message.destination(), wrong,
                       " (OMS-PROD-013)");
    }
  }
  if (at != fields.size()) {
    return SendError(Code::kBadParameter, message.destination(),
                     "header fields are damaged at byte ", at,
                     "; expected fields that setters wrote (OMS-PROD-013)");
  }
  if (header_bytes > kMaxHeaderBytes) {
    return SendError(Code::kHeaderTooLarge, message.destination(),
                     "header fields are ", header_bytes, " bytes; limit is ",
                     kMaxHeaderBytes, " (OMS-PROD-006)");
  }
  return scan;
}

// Checks sizes against the limits of the client and of the queue.
// Errors: 1411, 1413.
inline absl::Status CheckSizes(const Message& message, const MessageScan& scan,
                               size_t max_body_bytes,
                               const CapabilityLimits& limits) {
  const size_t body_bytes = message.body().size();
  const auto too_large = [&](Code code, const auto&... parts) {
    return SendError(code, message.destination(), parts...);
  };
  if (body_bytes > max_body_bytes) {
    return too_large(Code::kBodyTooLarge, "body is ", body_bytes,
                     " bytes; limit is ", max_body_bytes,
                     " (max_body_bytes, OMS-PROD-005)");
  }
  if (limits.max_body_bytes && body_bytes > *limits.max_body_bytes) {
    return too_large(Code::kBodyTooLarge, "body is ", body_bytes,
                     " bytes; limit is ", *limits.max_body_bytes,
                     " (limit of the queue, OMS-PROD-005)");
  }
  if (limits.max_properties_bytes &&
      scan.properties_bytes > *limits.max_properties_bytes) {
    return too_large(Code::kAttributesTooLarge, "properties are ",
                     scan.properties_bytes, " bytes; limit is ",
                     *limits.max_properties_bytes,
                     " (limit of the queue, OMS-PROD-006)");
  }
  if (limits.max_properties && scan.properties > *limits.max_properties) {
    return too_large(Code::kAttributesTooLarge, "there are ", scan.properties,
                     " properties; limit is ", *limits.max_properties,
                     " (limit of the queue, OMS-PROD-006)");
  }
  return absl::OkStatus();
}

// Compares what a message asks for with what its queue can give.
// Returns: what must be left out; always empty unless `lenient`.
// Errors: 1600 where not lenient; 1418 a delay over the queue's limit.
inline absl::StatusOr<CapabilitySet> CheckDemands(
    const Message& message, const MessageScan& scan,
    const Capabilities& capabilities, bool lenient) {
  CapabilitySet ignored;
  if (scan.demands.empty()) return ignored;
  for (const FieldDemand& demand : kFieldDemands) {
    if (!scan.demands.Contains(demand.capability) ||
        capabilities.Has(demand.capability)) {
      continue;
    }
    if (!lenient) {
      return SendError(Code::kUnsupported, message.destination(),
                       "the queue does not support ", Name(demand.capability),
                       "; expected a message that does not ask for it, or a "
                       "lenient access point (OMS-PROD-011)");
    }
    ignored.Add(demand.capability);
  }
  const auto max_delay = capabilities.limits().max_delay;
  if (max_delay && scan.delay > *max_delay &&
      capabilities.Has(Capability::kDelay)) {
    return SendError(Code::kBadParameter, message.destination(), "delay is ",
                     scan.delay.count(), " ms; limit is ", max_delay->count(),
                     " ms (limit of the queue, OMS-PROD-013)");
  }
  return ignored;
}

// The refusal of a queue that takes no part in local transactions.
inline absl::Status NoLocalTransactions(std::string_view queue) {
  return MakeStatus(Code::kUnsupported, "transact with \"", Printable(queue),
                    "\": the queue does not support ",
                    Name(Capability::kTransactionLocal),
                    "; expected queues that do");
}

// Returns: a copy for the driver, without what only drivers set and without
// what the queue would have to ignore.
inline Message StripMessage(const Message& message, CapabilitySet ignored) {
  Message copy(message);
  for (const Field field : kDriverFields) {
    driver::MessageAccess::SetField(copy, field, {});
  }
  for (const FieldDemand& demand : kFieldDemands) {
    if (ignored.Contains(demand.capability)) {
      driver::MessageAccess::SetField(copy, demand.field, {});
    }
  }
  return copy;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_MESSAGE_CHECK_H_
