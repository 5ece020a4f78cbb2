// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/cloud_events.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::cloud_events_test {
namespace {

CloudEvent Whole() {
  CloudEvent event;
  event.id = "A234-1234-1234";
  event.source = "https://github.com/cloudevents?a=%20#x";
  event.type = "com.example.Order.created";
  event.datacontenttype = "application/json; charset=utf-8";
  event.dataschema = "urn:example:order";
  event.subject = "Größe \"42\"";
  event.time = "2026-11-25T17:31:00.123+01:00";
  event.extensions["text"] = std::string("some");
  event.extensions["empty"] = std::string();
  event.extensions["count"] = int32_t{-7};
  event.extensions["most"] = int32_t{2147483647};
  event.extensions["yes"] = true;
  event.extensions["digits"] = std::string("7");
  event.data = R"({"b":1,"a":[true,null,"x"]})";
  return event;
}

CloudEvent Least() {
  CloudEvent event;
  event.id = "1";
  event.source = "/shop";
  event.type = "t";
  return event;
}

void ExpectBad(const absl::Status& status, std::string_view text) {
  CAPTURE(text);
  CHECK(OmsCode(status) == Code::kBadParameter);
  INFO(std::string(status.message()));
  CHECK(std::string(status.message()).find(text) != std::string::npos);
}

CloudEvent Read(const Message& message) {
  const auto event = CloudEventOf(message);
  if (!event.ok()) FAIL(std::string(event.status().message()));
  return *event;
}

TEST_CASE("OMS-CE-002: binary mode has the properties of the Kafka binding") {
  const auto message = ToBinaryMessage(Whole(), "orders");
  REQUIRE(message.ok());
  const KeyValueView properties = message->properties();

  CHECK(message->destination() == "orders");
  CHECK(message->body() == Whole().data);
  CHECK(properties.GetOr("ce_specversion", "") == "1.0");
  CHECK(properties.GetOr("ce_id", "") == "A234-1234-1234");
  CHECK(properties.GetOr("ce_type", "") == "com.example.Order.created");
  CHECK(properties.GetOr("ce_text", "") == "some");
  CHECK(properties.GetOr<int32_t>("ce_count", 0) == -7);
  CHECK(properties.GetOr("content-type", "") ==
        "application/json; charset=utf-8");
  CHECK_FALSE(properties.Contains("ce_datacontenttype"));
}

TEST_CASE("OMS-CE-003: structured mode is the JSON format") {
  CloudEvent event = Least();
  event.extensions["count"] = int32_t{3};
  event.data = R"({"a":1})";
  const auto message = ToStructuredMessage(event, "orders");
  REQUIRE(message.ok());

  CHECK(message->properties().GetOr("content-type", "") ==
        "application/cloudevents+json; charset=UTF-8");
  CHECK(message->body() ==
        R"({"specversion":"1.0","id":"1","source":"/shop","type":"t",)"
        R"("count":3,"data":{"a":1}})");
}

TEST_CASE("OMS-CE-004: events come back exactly in both modes") {
  std::vector<CloudEvent> events = {Whole(), Least()};
  const std::string deep(100'000, '[');
  for (const std::string_view type :
       {"", "application/json", "application/x+json", "text/plain",
        "application/octet-stream"}) {
    for (const std::string& data :
         {std::string("text"), std::string("{\"a\": 1 }"), std::string("1.50"),
          std::string("{\"a\":1,\"a\":2}"), std::string("\"x\""),
          std::string("null"), std::string("\0\xff\x01", 3),
          std::string("18446744073709551616"), std::string("1e400"), deep}) {
      events.push_back(Least());
      events.back().datacontenttype = type;
      events.back().data = data;
    }
  }
  for (const CloudEvent& event : events) {
    CAPTURE(event.datacontenttype);
    CAPTURE(event.data.substr(0, 30));
    const auto binary = ToBinaryMessage(event, "orders");
    const auto structured = ToStructuredMessage(event, "orders");
    REQUIRE(binary.ok());
    REQUIRE(structured.ok());
    CHECK(Read(*binary) == event);
    CHECK(Read(*structured) == event);
  }
}

TEST_CASE("OMS-CE-004: what others write is read") {
  Message message("orders", R"({
      "specversion" : "1.0", "type" : "t", "source" : "/s", "id" : "1",
      "comexampleext" : null, "ext" : "kept",
      "data" : { "a" : [ 1, 2 ] } })");
  REQUIRE(message
              .SetProperty("content-type", "Application/CloudEvents+JSON ; x=y")
              .ok());
  const CloudEvent event = Read(message);
  CHECK(event.data == R"({"a":[1,2]})");
  CHECK(event.extensions.size() == 1);
  CHECK(event.extensions.at("ext") == CloudEvent::Extension("kept"));

  Message text("orders", R"({"specversion":"1.0","type":"t","source":"s",
      "id":"1","datacontenttype":"text/xml","data":"<a/>"})");
  REQUIRE(text.SetProperty("content-type", "application/cloudevents+json")
              .ok());
  CHECK(Read(text).data == "<a/>");
}

TEST_CASE("OMS-CE-004: what is no event is refused") {
  ExpectBad(CloudEventOf(Message("orders", "x")).status(),
            "the message is none; expected the property ce_specversion");

  const auto json = [](std::string_view body) {
    Message message("orders", body);
    REQUIRE(
        message.SetProperty("content-type", "application/cloudevents+json")
            .ok());
    return CloudEventOf(message).status();
  };
  ExpectBad(json(""), "no JSON object");
  ExpectBad(json("[]"), "no JSON object");
  ExpectBad(json("{"), "no JSON object");
  ExpectBad(json(std::string(1'000'000, '[')), "no JSON object");
  ExpectBad(json("{}"), "\"specversion\" is absent");
  const auto with = [&](std::string_view more) {
    return json(R"({"specversion":"1.0","type":"t","source":"/s","id":"1",)" +
                std::string(more) + "}");
  };
  CHECK(with(R"("x":1)").ok());
  ExpectBad(with(R"("x":1.5)"), "\"x\" is neither text, boolean nor integer");
  ExpectBad(with(R"("x":2147483648)"), "is neither text");
  ExpectBad(with(R"("x":-2147483649)"), "is neither text");
  ExpectBad(with(R"("x":{})"), "is neither text");
  ExpectBad(with(R"("X":1)"), "\"X\" is no name of an extension");
  ExpectBad(with(R"("subject":7)"), "\"subject\" is no text");
  ExpectBad(with(R"("subject":"")"), "\"subject\" is empty");
  ExpectBad(with(R"("data_base64":"!")"), "is no base64");
  ExpectBad(with(R"("data_base64":7)"), "is no base64");
  ExpectBad(with(R"("data":1,"data_base64":"AA==")"), "stands beside data");
  ExpectBad(json(R"({"specversion":"0.3","type":"t","source":"/s","id":"1"})"),
            "\"specversion\" is another one; expected 1.0");
  ExpectBad(json(R"({"specversion":"1.0","source":"/s","id":"1"})"),
            "\"type\" is absent");

  Message batch("orders", "[]");
  REQUIRE(batch
              .SetProperty("content-type",
                           "application/cloudevents-batch+json")
              .ok());
  ExpectBad(CloudEventOf(batch).status(), "is not supported");

  auto binary = ToBinaryMessage(Least(), "orders");
  REQUIRE(binary.ok());
  REQUIRE(binary->SetProperty("ce_share", 0.5).ok());
  ExpectBad(CloudEventOf(*binary).status(), "\"share\" is neither text");
}

TEST_CASE("OMS-CE-001: attributes that cannot be are refused") {
  CHECK(CheckCloudEvent(Whole()).ok());
  CHECK(CheckCloudEvent(Least()).ok());
  const auto expect = [](std::string CloudEvent::*member,
                         std::string_view value, std::string_view text) {
    CAPTURE(value);
    CloudEvent event = Least();
    event.*member = value;
    ExpectBad(CheckCloudEvent(event), text);
    CHECK_FALSE(ToBinaryMessage(event, "orders").ok());
    CHECK_FALSE(ToStructuredMessage(event, "orders").ok());
  };
  expect(&CloudEvent::id, "", "\"id\" is absent; expected text that is not");
  expect(&CloudEvent::source, "", "\"source\" is absent");
  expect(&CloudEvent::type, "", "\"type\" is absent");
  expect(&CloudEvent::id, "\xff", "\"id\" is no text");
  expect(&CloudEvent::subject, "a\nb", "\"subject\" is no text");
  expect(&CloudEvent::subject, "a\xc2\x85", "\"subject\" is no text");
  expect(&CloudEvent::source, "a b", "\"source\" is no URI reference");
  expect(&CloudEvent::source, "a%2", "\"source\" is no URI reference");
  expect(&CloudEvent::dataschema, "/relative", "is no absolute URI");
  expect(&CloudEvent::dataschema, "1a:b", "is no absolute URI");
  expect(&CloudEvent::datacontenttype, "json", "is no media type");
  expect(&CloudEvent::datacontenttype, "a/b/c", "is no media type");
  expect(&CloudEvent::datacontenttype, "application/cloudevents+json",
         "is that of an event");
  for (const std::string_view time :
       {"now", "2026-11-25", "2026-11-25T01:02:03", "2026-13-25T01:02:03Z",
        "2026-02-29T01:02:03Z", "2026-11-25T24:02:03Z",
        "2026-11-25T01:02:03.Z", "2026-11-25T01:02:03+1:00",
        "2026-11-25T01:02:03Zx"}) {
    expect(&CloudEvent::time, time, "\"time\" is no time");
  }
  CloudEvent leap = Least();
  leap.time = "2028-02-29t23:59:60-00:30";
  CHECK(CheckCloudEvent(leap).ok());
  for (const std::string_view name :
       {"", "Upper", "with-hyphen", "data", "id", "specversion"}) {
    CloudEvent event = Least();
    event.extensions[std::string(name)] = true;
    ExpectBad(CheckCloudEvent(event), "is no name of an extension");
  }
  CloudEvent event = Least();
  event.extensions["x"] = std::string("a\x01");
  ExpectBad(CheckCloudEvent(event), "\"x\" is no text");
}

}  // namespace
}  // namespace openmessaging::cloud_events_test
