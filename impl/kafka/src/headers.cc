// SPDX-License-Identifier: Apache-2.0

#include "headers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <optional>

#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging::kafka {
namespace {

using driver::MessageAccess;
using internal::Field;

constexpr std::string_view kOwnPrefix = "oms.";
constexpr std::string_view kTypes = "oms.types";

enum class Form : uint8_t { kText, kNumber8, kNumber32, kNumber64 };

struct Name {
  Field field;
  std::string_view header;
  Form form;
};

// The fields that travel as headers; the key is Kafka's key, and the trace has
// the names that everybody gives it.
constexpr std::array<Name, 15> kNames = {{
    {Field::kMessageId, "oms.id", Form::kText},
    {Field::kOriginId, "oms.origin-id", Form::kText},
    {Field::kBornTimestamp, "oms.born", Form::kNumber64},
    {Field::kBornHost, "oms.host", Form::kText},
    {Field::kPriority, "oms.priority", Form::kNumber8},
    {Field::kQos, "oms.qos", Form::kNumber8},
    {Field::kDurability, "oms.durability", Form::kNumber8},
    {Field::kDeduplicationId, "oms.deduplication-id", Form::kText},
    {Field::kCorrelationId, "oms.correlation-id", Form::kText},
    {Field::kReplyTo, "oms.reply-to", Form::kText},
    {Field::kDelay, "oms.delay", Form::kNumber64},
    {Field::kExpireAt, "oms.expire-at", Form::kNumber64},
    {Field::kCompression, "oms.compression", Form::kText},
    {Field::kTraceParent, "traceparent", Form::kText},
    {Field::kTraceState, "tracestate", Form::kText},
}};

bool IsDriverField(Field field) {
  return field == Field::kMessageId || field == Field::kBornTimestamp ||
         field == Field::kBornHost;
}

std::optional<int64_t> NumberIn(std::string_view payload, Form form) {
  const auto read = [payload]<typename T>(T number) -> std::optional<int64_t> {
    if (payload.size() != sizeof(number)) return std::nullopt;
    std::memcpy(&number, payload.data(), sizeof(number));
    return static_cast<int64_t>(number);
  };
  if (form == Form::kNumber8) return read(uint8_t{0});
  if (form == Form::kNumber32) return read(int32_t{0});
  return read(int64_t{0});
}

char LetterOf(ValueType type) {
  constexpr std::string_view kLetters = "?bhilfdsxk";
  return kLetters[static_cast<size_t>(type)];
}

template <typename T>
std::string NumberText(T number) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number);
  return std::string(text.data(), end.ptr);
}

template <typename Number, typename Bits>
std::string FloatText(Number number) {
  if (!std::isnan(number)) return NumberText(number);
  // There are many; a text would make them one.
  return internal::Concat("nan:", std::bit_cast<Bits>(number));
}

template <typename Number, typename Bits>
std::optional<Number> ParseFloat(std::string_view text) {
  if (text.starts_with("nan:")) {
    Bits bits = 0;
    if (!internal::ParseInteger(text.substr(4), bits)) return std::nullopt;
    return std::bit_cast<Number>(bits);
  }
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

std::string TextOf(const Value& value) {
  switch (value.type()) {
    case ValueType::kBool:
      return *value.As<bool>() ? "true" : "false";
    case ValueType::kInt16:
    case ValueType::kInt32:
    case ValueType::kInt64:
      return NumberText(static_cast<int64_t>(internal::ValueAccess::Bits(value)));
    case ValueType::kFloat:
      return FloatText<float, uint32_t>(*value.As<float>());
    case ValueType::kDouble:
      return FloatText<double, uint64_t>(*value.As<double>());
    default:
      return std::string(internal::ValueAccess::View(value));
  }
}

// Puts `text` as the type that `letter` says, or as text where it is none of
// it: somebody on the way may have changed the one and not the other.
void PutTyped(KeyValue& out, std::string_view key, char letter,
              std::string_view text) {
  int64_t number = 0;
  const bool whole = internal::ParseInteger(text, number);
  absl::Status put = absl::UnknownError("");
  if (letter == 'b' && (text == "true" || text == "false")) {
    put = out.Put(key, text == "true");
  } else if (letter == 'h' && whole && number == static_cast<int16_t>(number)) {
    put = out.Put(key, static_cast<int16_t>(number));
  } else if (letter == 'i' && whole && number == static_cast<int32_t>(number)) {
    put = out.Put(key, static_cast<int32_t>(number));
  } else if (letter == 'l' && whole) {
    put = out.Put(key, number);
  } else if (letter == 'f') {
    if (const auto value = ParseFloat<float, uint32_t>(text)) {
      put = out.Put(key, *value);
    }
  } else if (letter == 'd') {
    if (const auto value = ParseFloat<double, uint64_t>(text)) {
      put = out.Put(key, *value);
    }
  } else if (letter == 'k') {
    if (const auto nested = KeyValueView::Parse(text); nested.ok()) {
      put = out.Put(key, *nested);
    }
  }
  if (put.ok()) return;
  if (letter != 'x' && internal::IsUtf8(text)) {
    (void)out.Put(key, text);
  } else {
    (void)out.Put(key, Bytes{text});
  }
}

// Returns: the letter of `name` in "i5:count b4:flag".
char FindType(std::string_view types, std::string_view name) {
  while (!types.empty()) {
    const size_t colon = types.find(':');
    size_t size = 0;
    if (colon == std::string_view::npos || colon < 2 ||
        !internal::ParseInteger(types.substr(1, colon - 1), size) ||
        size > types.size() - colon - 1) {
      return 's';
    }
    if (types.substr(colon + 1, size) == name) return types[0];
    types.remove_prefix(colon + 1 + size);
  }
  return 's';
}

template <typename Add>
void ForEachHeader(const Message& message, const Birth& birth, const Add& add) {
  add("oms.id", birth.message_id);
  if (birth.born_timestamp_ms > 0) {
    add("oms.born", NumberText(birth.born_timestamp_ms));
  }
  if (!birth.host.empty()) add("oms.host", birth.host);
  const std::string_view fields = MessageAccess::Fields(message);
  size_t at = 0;
  while (const auto field = internal::FieldAt(fields, at)) {
    at = field->end;
    if (IsDriverField(field->type)) continue;
    const auto name =
        std::find_if(kNames.begin(), kNames.end(), [&](const Name& one) {
          return one.field == field->type;
        });
    if (name == kNames.end()) continue;
    if (name->form == Form::kText) {
      add(name->header, field->payload);
    } else if (const auto number = NumberIn(field->payload, name->form)) {
      add(name->header, NumberText(*number));
    }
  }
  std::string types;
  for (const auto& [key, value] : message.properties()) {
    if (key == kTombstone || key == kBinaryKey) continue;
    if (internal::ValueAccess::IsView(value)) {
      add(key, internal::ValueAccess::View(value));
    } else {
      add(key, TextOf(value));
    }
    if (value.type() == ValueType::kString) continue;
    types += internal::Concat(LetterOf(value.type()), key.size(), ':', key);
  }
  if (!types.empty()) add(kTypes, types);
}

}  // namespace

std::vector<Header> HeadersOf(const Message& message, const Birth& birth) {
  std::vector<Header> headers;
  ForEachHeader(message, birth,
                [&](std::string_view name, std::string_view value) {
                  headers.push_back({std::string(name), std::string(value)});
                });
  return headers;
}

OwnedHeaders NativeHeaders(const Message& message, const Birth& birth) {
  OwnedHeaders headers(rd_kafka_headers_new(8));
  ForEachHeader(message, birth,
                [&](std::string_view name, std::string_view value) {
                  (void)rd_kafka_header_add(
                      headers.get(), name.data(),
                      static_cast<ssize_t>(name.size()), value.data(),
                      static_cast<ssize_t>(value.size()));
                });
  return headers;
}

void FieldsReader::Put(const Entry& entry) {
  for (size_t i = 0; i < count_; ++i) {
    if (entries_[i].field == entry.field) {
      // The last of a name counts, as in Kafka's own client.
      entries_[i] = entry;
      return;
    }
  }
  entries_[count_++] = entry;
}

void FieldsReader::AddOwn(std::string_view name, std::string_view value) {
  if (name == kTypes) {
    types_ = value;
    return;
  }
  for (const Name& known : kNames) {
    if (known.header != name) continue;
    if (known.form == Form::kText) {
      const bool is_id = known.field == Field::kMessageId ||
                         known.field == Field::kOriginId;
      if (!internal::IsUtf8(value)) return;
      if (is_id && value.size() > MessageId::kMaxTextBytes) return;
      if (known.field == Field::kMessageId) has_id_ = !value.empty();
      PutText(known.field, value);
      return;
    }
    int64_t number = 0;
    if (!internal::ParseInteger(value, number)) return;
    if (known.form == Form::kNumber8) {
      if (number < 0 || number > UINT8_MAX) return;
      const auto byte = static_cast<uint8_t>(number);
      if (known.field == Field::kQos && byte == 1) qos_ = Qos::kAtMostOnce;
      PutNumber(known.field, number, sizeof(byte));
      return;
    }
    if (known.field == Field::kExpireAt) expire_at_ms_ = number;
    if (known.field == Field::kDelay) delay_ms_ = number;
    if (known.field == Field::kBornTimestamp) has_born_ = true;
    PutNumber(known.field, number, sizeof(number));
    return;
  }
}

void FieldsReader::Add(std::string_view name, const void* value, size_t size) {
  const std::string_view text =
      value == nullptr
          ? std::string_view()
          : std::string_view(static_cast<const char*>(value), size);
  if (name.starts_with(kOwnPrefix) && !name.starts_with("oms.dead.")) {
    AddOwn(name, text);
  } else if (name == "traceparent" || name == "tracestate") {
    AddOwn(name, text);
  } else if (!name.empty() && internal::IsUtf8(name)) {
    properties_.push_back({name, text, value == nullptr});
  }
}

void FieldsReader::ReadProperties(const Record& record) {
  for (const Property& property : properties_) {
    if (all_.size() >= kMaxProperties) break;
    PutTyped(all_, property.name,
             types_.empty() ? 's' : FindType(types_, property.name),
             property.value);
  }
  if (!record.has_body) (void)all_.Put(kTombstone, true);
  if (record.key == nullptr) return;
  const std::string_view key(static_cast<const char*>(record.key),
                             record.key_size);
  if (internal::IsUtf8(key)) {
    PutText(Field::kMessageKey, key);
  } else {
    (void)all_.Put(kBinaryKey, Bytes{key});
  }
}

size_t FieldsReader::Finish(const Record& record) {
  if (!has_id_) {
    // Of a foreign message: what nobody else's can be.
    uint64_t hash = 14695981039346656037U;
    for (const std::string_view text : {record.cluster, record.topic}) {
      for (const char c : text) {
        hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
      }
      hash = (hash ^ 0xff) * 1099511628211U;
    }
    foreign_id_ = "kafka-";
    internal::AppendHex(foreign_id_, internal::NumberBytes(hash));
    foreign_id_ += internal::Concat('-', record.partition, '-', record.offset);
    PutText(Field::kMessageId, foreign_id_);
  }
  if (!has_born_ && !record.broker_time && record.timestamp_ms > 0) {
    PutNumber(Field::kBornTimestamp, record.timestamp_ms,
              sizeof(record.timestamp_ms));
  }
  ReadProperties(record);
  if (!all_.empty()) PutText(Field::kProperties, all_.encoded());
  std::sort(entries_.begin(),
            entries_.begin() + static_cast<std::ptrdiff_t>(count_),
            [](const Entry& a, const Entry& b) { return a.field < b.field; });
  size_t bytes = 0;
  for (size_t i = 0; i < count_; ++i) {
    bytes += internal::FieldSize(entries_[i].payload().size());
  }
  return bytes;
}

char* FieldsReader::Write(char* out) const {
  for (size_t i = 0; i < count_; ++i) {
    out += internal::PutField(out, entries_[i].field, entries_[i].payload());
  }
  return out;
}

namespace {

// Keeps what a received message is a view of: its texts, and librdkafka's
// buffer or a copy of the body.
struct RecordHolder : driver::MessageHolder {
  RecordHolder() : MessageHolder(&RecordHolder::Free) {}
  static void Free(driver::MessageHolder* holder) {
    auto* const self = static_cast<RecordHolder*>(holder);
    self->~RecordHolder();
    ::operator delete(self);
  }
  char* data() { return reinterpret_cast<char*>(this + 1); }

  // The message goes before the handle.
  std::shared_ptr<Handle> handle;
  OwnedMessage record;
};

// One message of a fetch keeps all of it, up to a megabyte.
constexpr size_t kCopiedBodyBytes = 1024;

}  // namespace

Received Receive(OwnedMessage message, const std::shared_ptr<Handle>& handle,
                 std::string_view cluster) {
  Record record;
  record.topic = rd_kafka_topic_name(message->rkt);
  record.partition = message->partition;
  record.offset = message->offset;
  record.key = message->key;
  record.key_size = message->key_len;
  record.has_body = message->payload != nullptr;
  record.cluster = cluster;
  rd_kafka_timestamp_type_t type;
  record.timestamp_ms = rd_kafka_message_timestamp(message.get(), &type);
  record.broker_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
  FieldsReader reader;
  // They are several blocks of memory each, which go at once and not with the
  // message: the next one finds them free.
  rd_kafka_headers_t* detached = nullptr;
  (void)rd_kafka_message_detach_headers(message.get(), &detached);
  const OwnedHeaders headers(detached);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (size_t i = 0;
       headers != nullptr &&
       rd_kafka_header_get_all(headers.get(), i, &name, &value, &size) ==
           RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    reader.Add(name, value, size);
  }
  const size_t field_bytes = reader.Finish(record);
  const std::string_view body(static_cast<const char*>(message->payload),
                              message->payload == nullptr ? 0 : message->len);
  const bool copied = body.size() < kCopiedBodyBytes;
  const size_t room =
      field_bytes + record.topic.size() + (copied ? body.size() : 0);
  void* const memory = ::operator new(sizeof(RecordHolder) + room);
  auto* const holder = new (memory) RecordHolder();
  char* at = reader.Write(holder->data());
  if (copied && !body.empty()) std::memcpy(at, body.data(), body.size());
  if (copied) at += body.size();
  std::memcpy(at, record.topic.data(), record.topic.size());
  holder->destination = {at, record.topic.size()};
  if (!copied) {
    holder->body = body.data();
    holder->handle = handle;
    holder->record = std::move(message);
  }
  Received received;
  received.qos = reader.qos();
  received.expire_at_ms = reader.expire_at_ms();
  received.delay_ms = reader.delay_ms();
  received.message =
      MessageAccess::Preview(holder, {holder->data(), field_bytes}, body,
                             FieldsReader::StoreTime(record));
  MessageAccess::SetDelivery(
      received.message,
      {.partition = record.partition,
       .offset = record.offset,
       .store_timestamp_ms = FieldsReader::StoreTime(record),
       .delivery_count = 0});
  return received;
}

}  // namespace openmessaging::kafka
