// SPDX-License-Identifier: Apache-2.0

#include "message_mapping.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "broker_error.h"
#include "openmessaging/driver/message_access.h"

namespace openmessaging::rabbitmq::rabbitmq_message_mapping_test {

// Writes a message and reads it back, its table encoded as on the wire.
Message ThereAndBack(const Message& message, bool redelivered = false) {
  MessageWriter writer;
  amqp_basic_properties_t properties =
      writer.Write(message, "id-1", "this.host", 1700000000123, 1700000000123);
  std::array<char, 131072> room{};
  size_t size = 0;
  REQUIRE(amqp_encode_table({room.size(), room.data()}, &properties.headers,
                            &size) == AMQP_STATUS_OK);
  amqp_pool_t pool;
  init_amqp_pool(&pool, 4096);
  size_t read = 0;
  REQUIRE(amqp_decode_table({size, room.data()}, &pool, &properties.headers,
                            &read) == AMQP_STATUS_OK);
  Message got =
      ReadMessage("orders", {properties, message.body()}, redelivered);
  empty_amqp_pool(&pool);
  return got;
}

// Properties of some other client.
class Foreign {
 public:
  Foreign& Add(const char* key, uint8_t kind) {
    entries_[static_cast<size_t>(table_.num_entries)] = {};
    entries_[static_cast<size_t>(table_.num_entries)].key =
        amqp_cstring_bytes(key);
    entries_[static_cast<size_t>(table_.num_entries)].value.kind = kind;
    ++table_.num_entries;
    return *this;
  }
  decltype(amqp_field_value_t::value)& last() {
    return entries_[static_cast<size_t>(table_.num_entries - 1)].value.value;
  }
  Message Read(bool redelivered = false) {
    table_.entries = entries_.data();
    properties.headers = table_;
    properties._flags |= AMQP_BASIC_HEADERS_FLAG;
    return ReadMessage("orders", {properties, "body"}, redelivered);
  }

  amqp_basic_properties_t properties{};

 private:
  std::array<amqp_table_entry_t, 16> entries_{};
  amqp_table_t table_{};
};

TEST_CASE("every field of a message comes back") {
  Message message("orders", "42 apples");
  message.SetMessageKey("customer-7")
      .SetCorrelationId("c-1")
      .SetReplyTo("answers")
      .SetDeduplicationId("d-1")
      .SetTraceparent("00-aa-bb-01")
      .SetTracestate("v=1")
      .SetCompression("zstd")
      .SetPriority(9)
      .SetQos(Qos::kAtMostOnce)
      .SetDurability(Durability::kDisk)
      .SetDelay(std::chrono::milliseconds(5))
      .SetExpireAt(std::chrono::milliseconds(1800000000456));

  const Message got = ThereAndBack(message);

  CHECK(got.destination() == "orders");
  CHECK(got.body() == "42 apples");
  CHECK(got.message_id().ToString() == "id-1");
  CHECK(got.message_key() == "customer-7");
  CHECK(got.correlation_id() == "c-1");
  CHECK(got.reply_to() == "answers");
  CHECK(got.deduplication_id() == "d-1");
  CHECK(got.traceparent() == "00-aa-bb-01");
  CHECK(got.tracestate() == "v=1");
  CHECK(got.compression() == "zstd");
  CHECK(got.priority() == 9);
  CHECK(got.qos() == Qos::kAtMostOnce);
  CHECK(got.durability() == Durability::kDisk);
  CHECK(got.delay().count() == 5);
  CHECK(got.expire_at().count() == 1800000000456);
  CHECK(got.born_timestamp().count() == 1700000000123);
  CHECK(got.born_host() == "this.host");
  CHECK(got.delivery_count() == 1);
  CHECK(got.properties().empty());
}

TEST_CASE("ids that AMQP's short strings cannot have come back") {
  const std::string longest(300, 'x');
  Message message("orders", "");
  message.SetCorrelationId(longest).SetReplyTo(longest);
  const Message got = ThereAndBack(message);
  CHECK(got.correlation_id() == longest);
  CHECK(got.reply_to() == longest);
}

TEST_CASE("properties keep their types") {
  KeyValue nested;
  REQUIRE(nested.Put("deep", int16_t{-3}).ok());
  Message message("orders", "");
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, Value>>{
           {"b", true},
           {"s", int16_t{-32768}},
           {"i", std::numeric_limits<int32_t>::min()},
           {"l", std::numeric_limits<int64_t>::max()},
           {"f", 1.5F},
           {"d", -0.1},
           {"text", "grüße"},
           {"empty", ""},
           {"raw", Bytes{std::string_view("\xff\0x", 3)}},
           {"kv", nested}}) {
    REQUIRE(message.SetProperty(key, value).ok());
  }

  const Message got = ThereAndBack(message);

  CHECK(got.properties() == message.properties());
}

TEST_CASE("properties that a table cannot have come back all the same") {
  for (const char* const key : {"x-mine", "CC", "traceparent"}) {
    Message message("orders", "");
    REQUIRE(message.SetProperty(key, "mine").ok());
    REQUIRE(message.SetProperty("other", 7).ok());
    CHECK(ThereAndBack(message).properties() == message.properties());
    CHECK(ThereAndBack(message).traceparent().empty());
  }
  Message message("orders", "");
  REQUIRE(message.SetProperty(std::string(256, 'k'), 1).ok());
  REQUIRE(message.SetProperty("nan", std::nan("")).ok());
  CHECK(ThereAndBack(message).properties() == message.properties());
}

TEST_CASE("a volatile message is not persistent and expires in time") {
  MessageWriter writer;
  Message message("orders", "");
  message.SetDurability(Durability::kVolatile)
      .SetExpireAt(std::chrono::milliseconds(1500));
  const auto& properties = writer.Write(message, "id", "h", 1, 1000);
  CHECK(properties.delivery_mode == 1);
  CHECK(View(properties.expiration) == "500");
  CHECK(View(writer.Write(message, "id", "h", 1, 9999).expiration) == "0");
  const Message plain("orders", "");
  CHECK(writer.Write(plain, "id", "h", 1, 1).delivery_mode == 2);
}

TEST_CASE("the delivery count is the queue's and else what redelivered says") {
  CHECK(ThereAndBack(Message("orders", ""), true).delivery_count() == 2);
  Foreign counted;
  counted.Add("x-delivery-count", AMQP_FIELD_KIND_I64).last().i64 = 4;
  CHECK(counted.Read(true).delivery_count() == 5);
  Foreign damaged;
  damaged.Add("x-delivery-count", AMQP_FIELD_KIND_I64).last().i64 = -7;
  CHECK(damaged.Read().delivery_count() == 1);
}

TEST_CASE("a message of another client can be read") {
  Foreign foreign;
  foreign.properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                              AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG;
  foreign.properties.content_type = amqp_cstring_bytes("text/plain");
  foreign.properties.type = amqp_cstring_bytes("greeting");
  foreign.properties.timestamp = 1700000000;
  foreign.Add("i8", AMQP_FIELD_KIND_I8).last().i8 = -5;
  foreign.Add("u16", AMQP_FIELD_KIND_U16).last().u16 = 65535;
  foreign.Add("u32", AMQP_FIELD_KIND_U32).last().u32 = 4294967295U;
  foreign.Add("u64", AMQP_FIELD_KIND_U64).last().u64 = UINT64_MAX;
  foreign.Add("time", AMQP_FIELD_KIND_TIMESTAMP).last().u64 = 12;
  foreign.Add("price", AMQP_FIELD_KIND_DECIMAL).last().decimal = {2, 5};
  foreign.Add("void", AMQP_FIELD_KIND_VOID);
  foreign.Add("latin", AMQP_FIELD_KIND_UTF8).last().bytes =
      amqp_cstring_bytes("\xe9");
  std::array<amqp_field_value_t, 1> items{};
  items[0].kind = AMQP_FIELD_KIND_BOOLEAN;
  items[0].value.boolean = 1;
  foreign.Add("list", AMQP_FIELD_KIND_ARRAY).last().array = {1, items.data()};

  const Message got = foreign.Read();

  const KeyValueView all = got.properties();
  CHECK(got.message_id().empty());
  CHECK(got.born_timestamp().count() == 1700000000000);
  CHECK(all.GetOr("amqp.content-type", "") == "text/plain");
  CHECK(all.GetOr("amqp.type", "") == "greeting");
  CHECK(all.GetOr<int16_t>("i8", 0) == -5);
  CHECK(all.GetOr<int32_t>("u16", 0) == 65535);
  CHECK(all.GetOr<int64_t>("u32", 0) == 4294967295);
  CHECK(all.GetOr("u64", "") == "18446744073709551615");
  CHECK(all.GetOr<int64_t>("time", 0) == 12);
  CHECK(all.GetOr("price", "") == "0.05");
  CHECK(!all.Contains("void"));
  CHECK(all.GetOr<Bytes>("latin", {}).data == "\xe9");
  CHECK(all.GetOr<KeyValueView>("list", {}).GetOr("0", false));
}

TEST_CASE("deliveries before it was given back for later count") {
  const Message message("orders", "body");
  MessageWriter writer;
  const auto& properties = writer.Write(message, "id", "h", 1, 1, 3);
  const auto read = [&](bool redelivered) {
    return ReadMessage("orders", {properties, "body"}, redelivered);
  };
  CHECK(read(false).delivery_count() == 4);
  CHECK(read(true).delivery_count() == 5);
  CHECK(read(false).properties().empty());
}

TEST_CASE("a body of several frames is taken and not copied") {
  std::string body(100000, 'm');
  const char* const bytes = body.data();
  const amqp_basic_properties_t none{};
  const Message got = ReadMessage("orders", {none, body, &body}, false);
  CHECK(got.body().size() == 100000);
  CHECK(got.body().data() == bytes);
}

}  // namespace openmessaging::rabbitmq::rabbitmq_message_mapping_test
