// SPDX-License-Identifier: Apache-2.0

#include "message_mapping.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "broker_error.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/message_id.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

using driver::Field;
using driver::MessageAccess;

// Headers of the driver's own. No property of an application begins so.
constexpr std::string_view kPrefix = "oms.";
constexpr std::string_view kBorn = "oms.born";
constexpr std::string_view kExpireAt = "oms.expire-at";
constexpr std::string_view kDelay = "oms.delay";
constexpr std::string_view kQos = "oms.qos";
// How often it was delivered before it was given back for later, which makes it
// a new message to its queue.
constexpr std::string_view kDeliveries = "oms.deliveries";
constexpr std::string_view kDurability = "oms.durability";
constexpr std::string_view kCorrelationId = "oms.correlation-id";
constexpr std::string_view kReplyTo = "oms.reply-to";
// All properties in one, where a table cannot have them.
constexpr std::string_view kProperties = "oms.properties";

constexpr std::string_view kBrokerPrefix = "x-";
constexpr std::string_view kDeliveryCount = "x-delivery-count";

// Fields that are text and have a header.
struct TextHeader {
  Field field;
  std::string_view header;
};
constexpr std::array<TextHeader, 10> kTextHeaders = {{
    {Field::kVersion, "oms.version"},
    {Field::kOriginId, "oms.origin-id"},
    {Field::kBornHost, "oms.born-host"},
    {Field::kStoreHost, "oms.store-host"},
    {Field::kDeduplicationId, "oms.deduplication-id"},
    {Field::kMessageKey, "oms.message-key"},
    {Field::kTransactionId, "oms.transaction-id"},
    {Field::kCompression, "oms.compression"},
    {Field::kTraceParent, "traceparent"},
    {Field::kTraceState, "tracestate"},
}};

// More entries than the fields of one message can make.
constexpr int kMostFields = 24;

// Whether a property can have a header of its own name: others mean something
// to the broker or to this driver.
bool IsFree(std::string_view key) {
  if (key.starts_with(kDeadPrefix)) return true;
  return !key.starts_with(kPrefix) && !key.starts_with(kBrokerPrefix) &&
         key != "CC" && key != "BCC" && key != "traceparent" &&
         key != "tracestate";
}

bool FitsHeaders(KeyValueView properties) {
  return FitsTable(properties) &&
         std::all_of(properties.begin(), properties.end(),
                     [](const auto& entry) { return IsFree(entry.key); });
}

// Whether a header that came is no property.
bool IsOurs(std::string_view key) { return !IsFree(key); }

int64_t NumberOf(const amqp_field_value_t& field, int64_t fallback) {
  switch (field.kind) {
    case AMQP_FIELD_KIND_I8:
      return field.value.i8;
    case AMQP_FIELD_KIND_U8:
      return field.value.u8;
    case AMQP_FIELD_KIND_I16:
      return field.value.i16;
    case AMQP_FIELD_KIND_U16:
      return field.value.u16;
    case AMQP_FIELD_KIND_I32:
      return field.value.i32;
    case AMQP_FIELD_KIND_U32:
      return field.value.u32;
    case AMQP_FIELD_KIND_I64:
      return field.value.i64;
    default:
      return fallback;
  }
}

std::string_view TextOf(const amqp_field_value_t* field) {
  if (field == nullptr || (field->kind != AMQP_FIELD_KIND_UTF8 &&
                           field->kind != AMQP_FIELD_KIND_BYTES)) {
    return {};
  }
  const std::string_view text = View(field->value.bytes);
  return internal::IsUtf8(text) ? text : std::string_view();
}

// What one message that came says of itself.
class Reader {
 public:
  explicit Reader(const amqp_basic_properties_t& properties)
      : properties_(properties) {
    if (Has(AMQP_BASIC_HEADERS_FLAG)) headers_ = properties.headers;
  }

  void Read(Message& message, bool redelivered) const {
    // The properties first: what is set later is small.
    ReadProperties(message);
    ReadIds(message);
    for (const auto& [field, header] : kTextHeaders) {
      SetText(message, field, TextOf(FindEntry(headers_, header)));
    }
    ReadNumbers(message);
    MessageAccess::SetDelivery(message,
                               {.store_timestamp_ms = StoredAt(),
                                .delivery_count = DeliveryCount(redelivered)});
  }

 private:
  bool Has(amqp_flags_t flag) const { return (properties_._flags & flag) != 0; }
  std::string_view Property(amqp_flags_t flag, amqp_bytes_t bytes) const {
    if (!Has(flag)) return {};
    const std::string_view text = View(bytes);
    return internal::IsUtf8(text) ? text : std::string_view();
  }
  int64_t Number(std::string_view header, int64_t fallback) const {
    const amqp_field_value_t* const field = FindEntry(headers_, header);
    return field == nullptr ? fallback : NumberOf(*field, fallback);
  }
  static void SetText(Message& message, Field field, std::string_view text) {
    if (!text.empty()) MessageAccess::SetField(message, field, text);
  }

  int64_t BornAt() const {
    const int64_t seconds =
        Has(AMQP_BASIC_TIMESTAMP_FLAG)
            ? static_cast<int64_t>(std::min<uint64_t>(
                  properties_.timestamp,
                  std::numeric_limits<int64_t>::max() / 1000))
            : 0;
    return Number(kBorn, seconds * 1000);
  }
  // Brokers with the timestamp interceptor say it.
  int64_t StoredAt() const { return Number("timestamp_in_ms", BornAt()); }

  int32_t DeliveryCount(bool redelivered) const {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max() - 1;
    const int64_t earlier = Number(kDeliveryCount, redelivered ? 1 : 0);
    const int64_t here =
        std::clamp<int64_t>(earlier, redelivered ? 1 : 0, kMost);
    const int64_t before = std::clamp<int64_t>(Number(kDeliveries, 0), 0, kMost);
    return static_cast<int32_t>(std::min(here + before, kMost)) + 1;
  }

  void ReadIds(Message& message) const {
    const std::string_view id = IdOf(properties_);
    SetText(
        message, Field::kMessageId,
        id.size() <= MessageId::kMaxTextBytes ? std::string(id) : Digest(id));
    const std::string_view correlation =
        Property(AMQP_BASIC_CORRELATION_ID_FLAG, properties_.correlation_id);
    SetText(message, Field::kCorrelationId,
            correlation.empty() ? TextOf(FindEntry(headers_, kCorrelationId))
                                : correlation);
    const std::string_view reply_to =
        Property(AMQP_BASIC_REPLY_TO_FLAG, properties_.reply_to);
    SetText(
        message, Field::kReplyTo,
        reply_to.empty() ? TextOf(FindEntry(headers_, kReplyTo)) : reply_to);
  }

  void ReadNumbers(Message& message) const {
    if (const int64_t born = BornAt(); born > 0) {
      MessageAccess::SetField(message, Field::kBornTimestamp,
                              internal::NumberBytes(born));
    }
    // What asks for nothing can be sent on to a queue without priorities.
    if (Has(AMQP_BASIC_PRIORITY_FLAG) &&
        properties_.priority != Message::kDefaultPriority) {
      message.SetPriority(properties_.priority);
    }
    if (const int64_t qos = Number(kQos, 0); qos == 1 || qos == 2) {
      message.SetQos(static_cast<Qos>(qos));
    }
    if (const int64_t level = Number(kDurability, 0); level > 0 && level <= 3) {
      message.SetDurability(static_cast<Durability>(level));
    }
    if (const int64_t delay = Number(kDelay, 0); delay > 0) {
      message.SetDelay(std::chrono::milliseconds(delay));
    }
    if (const int64_t at = Number(kExpireAt, 0); at > 0) {
      message.SetExpireAt(std::chrono::milliseconds(at));
    }
  }

  void ReadProperties(Message& message) const {
    KeyValue all;
    const amqp_field_value_t* const whole = FindEntry(headers_, kProperties);
    if (whole != nullptr && whole->kind == AMQP_FIELD_KIND_BYTES) {
      const auto parsed = KeyValueView::Parse(View(whole->value.bytes));
      if (parsed.ok()) all = KeyValue(*parsed);
    }
    ReadTable(headers_, IsOurs, all);
    Add(all, "amqp.content-type",
        Property(AMQP_BASIC_CONTENT_TYPE_FLAG, properties_.content_type));
    Add(all, "amqp.content-encoding",
        Property(AMQP_BASIC_CONTENT_ENCODING_FLAG,
                 properties_.content_encoding));
    Add(all, "amqp.type", Property(AMQP_BASIC_TYPE_FLAG, properties_.type));
    Add(all, "amqp.app-id",
        Property(AMQP_BASIC_APP_ID_FLAG, properties_.app_id));
    Add(all, "amqp.user-id",
        Property(AMQP_BASIC_USER_ID_FLAG, properties_.user_id));
    if (!all.empty()) message.SetProperties(all);
  }
  static void Add(KeyValue& all, std::string_view key, std::string_view text) {
    if (!text.empty()) (void)all.Put(key, text);
  }

  const amqp_basic_properties_t& properties_;
  amqp_table_t headers_{};
};

}  // namespace

void MessageWriter::AddHeader(std::string_view key, const Value& value) {
  WriteEntry(key, value, arena_, entries_[count_++]);
}

void MessageWriter::AddFields(const Message& message) {
  for (const auto& [field, header] : kTextHeaders) {
    const auto text =
        internal::FindField(MessageAccess::Fields(message), field);
    if (text && !text->empty()) AddHeader(header, *text);
  }
  const auto add_number = [this](std::string_view key, int64_t number) {
    if (number != 0) AddHeader(key, number);
  };
  add_number(kQos, static_cast<int64_t>(message.qos()));
  add_number(kDurability, static_cast<int64_t>(message.durability()));
  add_number(kDelay, message.delay().count());
  add_number(kExpireAt, message.expire_at().count());
}

void MessageWriter::AddProperties(KeyValueView properties) {
  if (!FitsHeaders(properties)) {
    AddHeader(kProperties, Bytes{properties.encoded()});
    return;
  }
  for (const auto& [key, value] : properties) AddHeader(key, value);
}

const amqp_basic_properties_t& MessageWriter::Write(const Message& message,
                                                    std::string_view id,
                                                    std::string_view born_host,
                                                    int64_t born_ms,
                                                    int64_t now_ms,
                                                    int32_t deliveries) {
  arena_.Clear();
  const KeyValueView own = message.properties();
  entries_ = arena_.Entries(kMostFields + own.size());
  count_ = 0;
  properties_ = {};
  const auto set = [this](amqp_flags_t flag, amqp_bytes_t& place,
                          std::string_view text) {
    if (text.empty()) return;
    place = ToBytes(text);
    properties_._flags |= flag;
  };
  const auto set_or_add = [&](amqp_flags_t flag, amqp_bytes_t& place,
                              std::string_view header, std::string_view text) {
    if (text.size() <= kMaxShortBytes) return set(flag, place, text);
    AddHeader(header, text);
  };

  set(AMQP_BASIC_MESSAGE_ID_FLAG, properties_.message_id, id);
  set_or_add(AMQP_BASIC_CORRELATION_ID_FLAG, properties_.correlation_id,
             kCorrelationId, message.correlation_id());
  set_or_add(AMQP_BASIC_REPLY_TO_FLAG, properties_.reply_to, kReplyTo,
             message.reply_to());
  properties_._flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
  properties_.delivery_mode =
      message.durability() == Durability::kVolatile ? 1 : 2;
  // Always: a broker takes none for the lowest, and OpenMessaging for 5.
  properties_._flags |= AMQP_BASIC_PRIORITY_FLAG;
  properties_.priority = static_cast<uint8_t>(message.priority());
  if (born_ms > 0) {
    properties_._flags |= AMQP_BASIC_TIMESTAMP_FLAG;
    properties_.timestamp = static_cast<uint64_t>(born_ms / 1000);
    AddHeader(kBorn, born_ms);
  }
  if (const int64_t end = message.expire_at().count(); end > 0) {
    // The broker takes 32 bits; what lives longer is judged by the receiver.
    constexpr int64_t kLongest = std::numeric_limits<uint32_t>::max();
    expiration_ =
        std::to_string(std::clamp<int64_t>(end - now_ms, 0, kLongest));
    set(AMQP_BASIC_EXPIRATION_FLAG, properties_.expiration, expiration_);
  }
  if (message.born_host().empty() && !born_host.empty()) {
    AddHeader("oms.born-host", born_host);
  }
  if (deliveries > 0) AddHeader(kDeliveries, int64_t{deliveries});
  AddFields(message);
  AddProperties(own);
  properties_._flags |= AMQP_BASIC_HEADERS_FLAG;
  properties_.headers = {count_, entries_};
  return properties_;
}

Message ReadMessage(std::string_view destination, const Content& content,
                    bool redelivered) {
  Message message;
  if (content.owned_body != nullptr) {
    auto* const body = new std::string(std::move(*content.owned_body));
    message = Message::Borrow(
        destination, *body,
        [](void* context) { delete static_cast<std::string*>(context); }, body);
  } else {
    message = Message(destination, content.body);
  }
  Reader(content.properties).Read(message, redelivered);
  return message;
}

std::string_view IdOf(const amqp_basic_properties_t& properties) {
  if ((properties._flags & AMQP_BASIC_MESSAGE_ID_FLAG) == 0) return {};
  const std::string_view id = View(properties.message_id);
  return internal::IsUtf8(id) ? id : std::string_view();
}

}  // namespace openmessaging::rabbitmq
