// SPDX-License-Identifier: Apache-2.0
//
// Holds json.h against spec/message.schema.json. The validator knows what that
// schema uses of JSON Schema 2020-12, and fails on what it does not know.

#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <regex>
#include <set>
#include <string>
#include <string_view>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/json.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message.h"

namespace openmessaging::json_schema_test {
namespace {

using driver::MessageAccess;
using internal::Field;
using nlohmann::json;
using std::chrono::milliseconds;

class Schema {
 public:
  explicit Schema(const std::string& path) {
    std::ifstream file(path);
    root_ = json::parse(file, nullptr, false);
  }

  bool readable() const { return root_.is_object(); }

  // Returns: what is wrong with `text`; empty where it is valid.
  std::string Flaw(std::string_view text) const {
    const json value = json::parse(text, nullptr, false);
    if (value.is_discarded()) return "no JSON";
    return Flaw(root_, value, "message");
  }

 private:
  std::string Flaw(const json& rules, const json& value,
                   const std::string& where) const {
    for (const auto& [rule, wanted] : rules.items()) {
      const std::string flaw = FlawBy(rule, wanted, rules, value, where);
      if (!flaw.empty()) return flaw;
    }
    return "";
  }

  std::string FlawBy(const std::string& rule, const json& wanted,
                     const json& rules, const json& value,
                     const std::string& where) const {
    static const std::set<std::string> kNotes = {
        "$schema", "$id", "$defs", "title", "description", "contentEncoding"};
    const std::string no = where + " is against " + rule;
    if (kNotes.contains(rule)) return "";
    if (rule == "$ref") {
      return Flaw(root_.at(json::json_pointer(
                      wanted.get<std::string>().substr(1))),
                  value, where);
    }
    if (rule == "type") return IsOf(wanted, value) ? "" : no;
    if (rule == "const") return value == wanted ? "" : no;
    if (rule == "enum") {
      for (const json& one : wanted) {
        if (value == one) return "";
      }
      return no;
    }
    if (rule == "anyOf" || rule == "oneOf" || rule == "allOf") {
      size_t valid = 0;
      for (const json& one : wanted) valid += Flaw(one, value, where).empty();
      const bool ok = rule == "anyOf"   ? valid > 0
                      : rule == "oneOf" ? valid == 1
                                        : valid == wanted.size();
      return ok ? "" : no;
    }
    if (rule == "not") return Flaw(wanted, value, where).empty() ? no : "";
    if (value.is_object()) return FlawOfObject(rule, wanted, rules, value, where);
    if (value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      if (rule == "pattern") {
        return std::regex_search(text, std::regex(wanted.get<std::string>()))
                   ? ""
                   : no;
      }
      if (rule == "minLength") return text.size() >= wanted ? "" : no;
      if (rule == "maxLength") return text.size() <= wanted ? "" : no;
    }
    if (value.is_number()) {
      if (rule == "minimum") return value >= wanted ? "" : no;
      if (rule == "maximum") return value <= wanted ? "" : no;
    }
    static const std::set<std::string> kOfOtherKinds = {
        "properties", "additionalProperties", "required",  "propertyNames",
        "minimum",    "maxProperties",        "maximum",   "pattern",
        "minLength",  "maxLength"};
    return kOfOtherKinds.contains(rule) ? "" : "the test does not know " + rule;
  }

  std::string FlawOfObject(const std::string& rule, const json& wanted,
                           const json& rules, const json& value,
                           const std::string& where) const {
    const std::string no = where + " is against " + rule;
    if (rule == "required") {
      for (const json& key : wanted) {
        if (!value.contains(key.get<std::string>())) return no;
      }
    } else if (rule == "maxProperties") {
      if (value.size() > wanted) return no;
    } else if (rule == "propertyNames") {
      for (const auto& [key, one] : value.items()) {
        if (std::string flaw = Flaw(wanted, key, where); !flaw.empty()) {
          return flaw;
        }
      }
    } else if (rule == "properties" || rule == "additionalProperties") {
      const json named = rules.value("properties", json::object());
      for (const auto& [key, one] : value.items()) {
        std::string flaw;
        if (rule == "properties" && wanted.contains(key)) {
          flaw = Flaw(wanted.at(key), one, where + "." + key);
        } else if (rule == "additionalProperties" && !named.contains(key)) {
          if (wanted == false) return no + ": " + key;
          flaw = Flaw(wanted, one, where + "." + key);
        }
        if (!flaw.empty()) return flaw;
      }
    } else {
      return "the test does not know " + rule;
    }
    return "";
  }

  static bool IsOf(const json& type, const json& value) {
    if (type == "object") return value.is_object();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "number") return value.is_number();
    return type == "integer" && value.is_number_integer();
  }

  json root_;
};

const Schema& MessageSchema() {
  static const Schema schema(OPENMESSAGING_MESSAGE_SCHEMA);
  return schema;
}

TEST_CASE("OMS-JSON-006: every field and type is valid under the schema") {
  REQUIRE(MessageSchema().readable());
  KeyValue inner;
  REQUIRE(inner.Put("deep", int64_t{1}).ok());
  KeyValue properties;
  REQUIRE(properties.Put("bool", true).ok());
  REQUIRE(properties.Put("int16", int16_t{-32768}).ok());
  REQUIRE(properties.Put("int32", int32_t{7}).ok());
  REQUIRE(properties.Put("int64", std::numeric_limits<int64_t>::min()).ok());
  REQUIRE(properties.Put("float", 0.5F).ok());
  REQUIRE(properties.Put("nan", std::nanf("")).ok());
  REQUIRE(properties.Put("double", 1e300).ok());
  REQUIRE(properties.Put("infinity", -HUGE_VAL).ok());
  REQUIRE(properties.Put("string", "\xC3\xA9").ok());
  REQUIRE(properties.Put("bytes", Bytes{"\xFF\x00\x01"}).ok());
  REQUIRE(properties.Put("inner", inner).ok());
  Message message("orders", "42");
  message.SetPriority(7)
      .SetQos(Qos::kExactlyOnce)
      .SetDurability(Durability::kDisk)
      .SetDeduplicationId("once")
      .SetMessageKey("\xFF")
      .SetCorrelationId("c")
      .SetReplyTo("answers")
      .SetCompression("zstd")
      .SetTraceparent("00-x")
      .SetTracestate("a=b")
      .SetDelay(milliseconds(5))
      .SetExpireAt(milliseconds(1700000000000))
      .SetProperties(properties);
  for (const Field field : {Field::kVersion, Field::kMessageId,
                            Field::kOriginId, Field::kBornHost,
                            Field::kStoreHost, Field::kTransactionId}) {
    MessageAccess::SetField(message, field, "text");
  }
  MessageAccess::SetField(message, Field::kBornTimestamp,
                          internal::NumberBytes(int64_t{1}));
  MessageAccess::SetDelivery(message, {.partition = 3,
                                       .offset = 9,
                                       .store_timestamp_ms = 2,
                                       .delivery_count = 1});

  const std::string text = ToJson(message);

  CAPTURE(text);
  CHECK(MessageSchema().Flaw(text) == "");
  CHECK(MessageSchema().Flaw(ToJson(Message("q", "\xFF"))) == "");
  CHECK(MessageSchema().Flaw(ToJson(Message())) == "");
}

TEST_CASE("OMS-JSON-006: what cannot be read is not valid either") {
  for (const std::string_view text :
       {R"({"body":"x"})", R"({"destination":"q","unknown":1})",
        R"({"destination":5})", R"({"destination":"q","priority":11})",
        R"({"destination":"q","priority":2.5})",
        R"({"destination":"q","qos":"0"})",
        R"({"destination":"q","durability":"default"})",
        R"({"destination":"q","body":"x","body_base64":"eA=="})",
        R"({"destination":"q","body_base64":"eA"})",
        R"({"destination":"q","delay":null})",
        R"({"destination":"q","properties":[]})",
        R"({"destination":"q","properties":{"a":null}})",
        R"({"destination":"q","properties":{"":1}})",
        R"({"destination":"q","properties":{"a":{"type":"int16","value":40000}}})",
        R"({"destination":"q","properties":{"a":{"type":"byte","value":1}}})",
        R"({"destination":"q","properties":{"a":{"type":"int32"}}})",
        R"({"destination":"q","properties":{"a":{"type":"bytes","value":"?"}}})",
        "[]", "5"}) {
    CAPTURE(text);
    CHECK_FALSE(FromJson(text).ok());
    CHECK(MessageSchema().Flaw(text) != "");
  }
}

}  // namespace
}  // namespace openmessaging::json_schema_test
