// SPDX-License-Identifier: Apache-2.0
//
// JSON text, read: a tree that keeps numbers as they were written and refuses
// what the JSON form of a message never has (lists, null, a key twice).

#ifndef OPENMESSAGING_INTERNAL_JSON_TREE_H_
#define OPENMESSAGING_INTERNAL_JSON_TREE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

enum class JsonKind : uint8_t { kBool, kInteger, kReal, kString, kObject };

// Returns: "an integer", …, for error texts.
constexpr std::string_view JsonKindName(JsonKind kind) {
  switch (kind) {
    case JsonKind::kBool:
      return "a boolean";
    case JsonKind::kInteger:
      return "an integer";
    case JsonKind::kReal:
      return "a number with a fraction or an exponent";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kObject:
      return "an object";
  }
  return "unknown";
}

struct JsonNode {
  JsonKind kind = JsonKind::kObject;
  bool boolean = false;
  int64_t integer = 0;
  // A string; of a real number, the digits as they were written.
  std::string text{};
  // Of an object, in the order of the text.
  std::vector<std::pair<std::string, JsonNode>> members{};

  const JsonNode* Find(std::string_view key) const {
    for (const auto& [name, node] : members) {
      if (name == key) return &node;
    }
    return nullptr;
  }
};

// Takes nlohmann's events. The tree is built without recursion, so that depth
// costs no stack; more than kMaxDepth levels are refused.
class JsonTreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  static constexpr size_t kMaxDepth = 64;
  static constexpr size_t kMaxMembers = kMaxProperties;

  // Returns: what was wrong; OK where the text was good.
  const absl::Status& status() const { return status_; }
  JsonNode TakeRoot() { return std::move(root_); }

  bool null() override {
    return Refuse("null is no value; expected the key to be absent");
  }
  bool boolean(bool value) override {
    JsonNode node;
    node.kind = JsonKind::kBool;
    node.boolean = value;
    return Add(std::move(node));
  }
  bool number_integer(number_integer_t value) override {
    JsonNode node;
    node.kind = JsonKind::kInteger;
    node.integer = value;
    return Add(std::move(node));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return RefuseLargeInteger();
    return number_integer(static_cast<number_integer_t>(value));
  }
  bool number_float(number_float_t, const string_t& written) override {
    if (written.find_first_of(".eE") == std::string::npos) {
      return RefuseLargeInteger();
    }
    JsonNode node;
    node.kind = JsonKind::kReal;
    node.text = written;
    return Add(std::move(node));
  }
  bool string(string_t& value) override {
    JsonNode node;
    node.kind = JsonKind::kString;
    node.text = std::move(value);
    return Add(std::move(node));
  }
  bool binary(binary_t&) override { return Refuse("binary data"); }
  bool start_array(size_t) override {
    return Refuse("a list is no value; expected text, a number or an object");
  }
  bool end_array() override { return true; }

  bool start_object(size_t) override {
    if (open_.size() == kMaxDepth) {
      return Refuse(
          Code::kAttributesTooLarge,
          Concat("objects nest too deep; limit is ", kMaxDepth, " levels"));
    }
    if (open_.empty()) {
      open_.push_back(&root_);
      return true;
    }
    open_.back()->members.emplace_back(std::move(key_), JsonNode{});
    open_.push_back(&open_.back()->members.back().second);
    return true;
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    if (open_.back()->Find(key_) != nullptr) {
      return Refuse("the key stands twice; expected it once");
    }
    if (open_.back()->members.size() == kMaxMembers) {
      return Refuse(
          Code::kAttributesTooLarge,
          Concat("the object has too many keys; limit is ", kMaxMembers));
    }
    return true;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_ = MakeStatus(Code::kBadParameter,
                         "parse message: the text is not JSON at byte ",
                         position, "; expected one object (OMS-JSON-005)");
    return false;
  }

 private:
  bool Add(JsonNode node) {
    if (open_.empty()) {
      status_ = MakeStatus(Code::kBadParameter, "parse message: the text is ",
                           JsonKindName(node.kind),
                           "; expected one object (OMS-JSON-005)");
      return false;
    }
    open_.back()->members.emplace_back(std::move(key_), std::move(node));
    return true;
  }

  bool Refuse(std::string_view what) {
    return Refuse(Code::kBadParameter, what);
  }
  bool Refuse(Code code, std::string_view what) {
    const std::string where =
        open_.empty() ? "" : Concat(" \"", Printable(key_), '"');
    status_ =
        MakeStatus(code, "parse message", where, ": ", what, " (OMS-JSON-005)");
    return false;
  }
  bool RefuseLargeInteger() {
    return Refuse(
        "the integer does not fit in 64 bits; expected int64, or a "
        "double with a fraction or an exponent");
  }

  JsonNode root_;
  // The objects that have begun. A pointer to the last member of an object is
  // good until that member has ended: only then is another one added.
  std::vector<JsonNode*> open_;
  std::string key_;
  absl::Status status_;
};

// Errors: 1418 not one JSON object, a list, null, a key twice, an integer over
// 64 bits; 1411 nested too deep or too many keys.
inline absl::StatusOr<JsonNode> ParseJsonTree(std::string_view text) {
  JsonTreeBuilder builder;
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (!builder.status().ok()) return builder.status();
  return builder.TakeRoot();
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_JSON_TREE_H_
