// SPDX-License-Identifier: Apache-2.0
//
// What a message is on Kafka, and a record here: docs/kafka.md.

#include "headers.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "openmessaging/driver/message_access.h"

namespace openmessaging::kafka::kafka_headers_test {
namespace {

// Returns: the message that a receiver builds of these headers.
Message Read(const std::vector<Header>& headers, Record record = {}) {
  FieldsReader reader;
  for (const Header& header : headers) {
    reader.Add(header.name, header.value.data(), header.value.size());
  }
  if (record.topic.empty()) record.topic = "orders";
  // A message of nothing but these fields.
  struct Holder : driver::MessageHolder {
    Holder() : MessageHolder([](driver::MessageHolder* self) {
        delete static_cast<Holder*>(self);
      }) {}
    std::string fields;
  };
  auto* const holder = new Holder();
  holder->fields.resize(reader.Finish(record));
  reader.Write(holder->fields.data());
  return driver::MessageAccess::Preview(holder, holder->fields, {},
                                        FieldsReader::StoreTime(record));
}

Birth AnyBirth() {
  return {.message_id = "id-7", .born_timestamp_ms = 1700000000123,
          .host = "there"};
}

std::string ValueOf(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return "(absent)";
}

TEST_CASE("header fields travel under the names of the table") {
  Message message("orders", "body");
  message.SetMessageKey("key")
      .SetCorrelationId("c")
      .SetReplyTo("replies")
      .SetCompression("zstd")
      .SetTraceparent("00-1-2-01")
      .SetTracestate("v=1")
      .SetQos(Qos::kAtMostOnce)
      .SetDelay(milliseconds(1500))
      .SetExpireAt(milliseconds(1800000000000));

  const auto headers = HeadersOf(message, AnyBirth());

  CHECK(ValueOf(headers, "oms.id") == "id-7");
  CHECK(ValueOf(headers, "oms.born") == "1700000000123");
  CHECK(ValueOf(headers, "oms.host") == "there");
  CHECK(ValueOf(headers, "oms.correlation-id") == "c");
  CHECK(ValueOf(headers, "oms.reply-to") == "replies");
  CHECK(ValueOf(headers, "oms.compression") == "zstd");
  CHECK(ValueOf(headers, "traceparent") == "00-1-2-01");
  CHECK(ValueOf(headers, "tracestate") == "v=1");
  CHECK(ValueOf(headers, "oms.qos") == "1");
  CHECK(ValueOf(headers, "oms.delay") == "1500");
  CHECK(ValueOf(headers, "oms.expire-at") == "1800000000000");
  // Kafka's own key is the place of the key.
  for (const Header& header : headers) CHECK(header.value != "key");

  const Message got = Read(headers, {.key = "key", .key_size = 3});
  CHECK(got.message_id().ToString() == "id-7");
  CHECK(got.origin_id() == got.message_id());
  CHECK(got.born_timestamp() == milliseconds(1700000000123));
  CHECK(got.born_host() == "there");
  CHECK(got.message_key() == "key");
  CHECK(got.correlation_id() == "c");
  CHECK(got.reply_to() == "replies");
  CHECK(got.compression() == "zstd");
  CHECK(got.traceparent() == "00-1-2-01");
  CHECK(got.tracestate() == "v=1");
  CHECK(got.qos() == Qos::kAtMostOnce);
  CHECK(got.delay() == milliseconds(1500));
  CHECK(got.expire_at() == milliseconds(1800000000000));
}

TEST_CASE("properties keep their types and read as text elsewhere") {
  KeyValue nested;
  REQUIRE(nested.Put("deep", int64_t{1}).ok());
  KeyValue all;
  REQUIRE(all.Put("bool", true).ok());
  REQUIRE(all.Put("int16", std::numeric_limits<int16_t>::min()).ok());
  REQUIRE(all.Put("int32", std::numeric_limits<int32_t>::max()).ok());
  REQUIRE(all.Put("int64", std::numeric_limits<int64_t>::min()).ok());
  REQUIRE(all.Put("float", 0.1F).ok());
  REQUIRE(all.Put("double", -0.0).ok());
  REQUIRE(all.Put("nan", std::numeric_limits<double>::quiet_NaN()).ok());
  REQUIRE(all.Put("infinity", -std::numeric_limits<float>::infinity()).ok());
  REQUIRE(all.Put("string", "text").ok());
  REQUIRE(all.Put("empty", "").ok());
  REQUIRE(all.Put("a b:c\n", 7).ok());
  REQUIRE(all.Put("bytes", Bytes{std::string_view("\0\xff", 2)}).ok());
  REQUIRE(all.Put("nested", nested).ok());
  Message message("orders", "x");
  message.SetProperties(all);

  const auto headers = HeadersOf(message, AnyBirth());

  CHECK(ValueOf(headers, "int32") == "2147483647");
  CHECK(ValueOf(headers, "bool") == "true");
  CHECK(ValueOf(headers, "string") == "text");
  CHECK(Read(headers).properties() == all.view());
}

TEST_CASE("what only drivers set is not taken over from a received message") {
  Message message("orders", "x");
  driver::MessageAccess::SetField(message, internal::Field::kMessageId, "old");
  driver::MessageAccess::SetField(message, internal::Field::kBornHost, "old");
  driver::MessageAccess::SetField(message, internal::Field::kOriginId, "first");

  const auto headers = HeadersOf(message, AnyBirth());

  CHECK(ValueOf(headers, "oms.id") == "id-7");
  CHECK(ValueOf(headers, "oms.host") == "there");
  CHECK(ValueOf(headers, "oms.origin-id") == "first");
  for (const Header& header : headers) CHECK(header.value != "old");
}

TEST_CASE("a foreign record has an id, its time, and its headers as properties") {
  const std::vector<Header> headers = {
      {"app", "first"}, {"app", "last"}, {"raw", "\xff\xfe"}, {"", "nameless"},
      {"oms.unknown", "x"}};
  Record record{.topic = "orders", .partition = 3, .offset = 12};
  record.timestamp_ms = 1600000000000;
  record.key = "\xff\x00";
  record.key_size = 2;
  record.cluster = "c1";

  const Message got = Read(headers, record);

  CHECK_FALSE(got.message_id().empty());
  CHECK(got.message_id().ToString().ends_with("-3-12"));
  CHECK(got.born_timestamp() == milliseconds(1600000000000));
  CHECK(got.store_timestamp() == milliseconds(0));
  CHECK(got.message_key().empty());
  CHECK(got.properties().GetOr("app", "") == "last");
  CHECK(got.properties().Get<Bytes>("raw")->data == "\xff\xfe");
  CHECK(got.properties().Get<Bytes>(kBinaryKey)->data ==
        std::string_view("\xff\x00", 2));
  CHECK(got.properties().size() == 3);

  record.cluster = "c2";
  CHECK(Read(headers, record).message_id() != got.message_id());
  record.broker_time = true;
  CHECK(Read(headers, record).store_timestamp() == milliseconds(1600000000000));
}

TEST_CASE("an absent body is a property and not only an empty body") {
  CHECK(Read({}, {.has_body = false}).properties().GetOr<bool>(kTombstone,
                                                               false));
  CHECK(Read({}).properties().empty());
  Message message("orders", "");
  REQUIRE(message.SetProperty(kTombstone, true).ok());
  CHECK(ValueOf(HeadersOf(message, AnyBirth()), kTombstone) == "(absent)");
}

TEST_CASE("headers that somebody changed harm nothing") {
  // The types say int32, and the values do not.
  const Message got = Read({{"n", "seven"}, {"big", "99999999999"},
                            {"oms.types", "i1:ni3:big"}, {"oms.born", "later"},
                            {"oms.qos", "900"}, {"oms.id", "\xff"}});

  CHECK(got.properties().GetOr("n", "") == "seven");
  CHECK(got.properties().GetOr("big", "") == "99999999999");
  CHECK(got.qos() == Qos::kAtLeastOnce);
  CHECK_FALSE(got.message_id().empty());
  for (const char* const types : {"i", "i:", "i9:n", "i99999999999999999999:n",
                                  ":", "i-1:n"}) {
    CHECK(Read({{"n", "7"}, {"oms.types", types}}).properties().GetOr("n", "") ==
          "7");
  }
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_headers_test
