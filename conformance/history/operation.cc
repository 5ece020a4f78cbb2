// SPDX-License-Identifier: Apache-2.0

#include "operation.h"

#include <array>
#include <utility>

#include "nlohmann/json.hpp"
#include "openmessaging/status.h"

namespace openmessaging::conformance::history {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::array<std::pair<Kind, const char*>, 7> kKinds = {{
    {Kind::kSend, "send"},
    {Kind::kCommit, "commit"},
    {Kind::kRollback, "rollback"},
    {Kind::kReceive, "receive"},
    {Kind::kAck, "ack"},
    {Kind::kNack, "nack"},
    {Kind::kKill, "kill"},
}};

constexpr std::array<std::pair<Result, const char*>, 3> kResults = {{
    {Result::kOk, "ok"},
    {Result::kNo, "no"},
    {Result::kMaybe, "maybe"},
}};

template <typename Names, typename Value>
bool ValueOf(const Names& names, std::string_view name, Value& value) {
  for (const auto& [one, text] : names) {
    if (name == text) {
      value = one;
      return true;
    }
  }
  return false;
}

}  // namespace

std::string_view NameOf(Kind kind) {
  for (const auto& [one, text] : kKinds) {
    if (one == kind) return text;
  }
  return "?";
}

std::string LineOf(const Operation& operation) {
  ordered_json line;
  line["op"] = NameOf(operation.kind);
  line["worker"] = operation.worker;
  line["begin"] = operation.begin_ns;
  line["end"] = operation.end_ns;
  for (const auto& [one, text] : kResults) {
    if (one == operation.result) line["result"] = text;
  }
  if (!operation.id.empty()) line["id"] = operation.id;
  if (!operation.group.empty()) line["group"] = operation.group;
  if (operation.partition >= 0) line["partition"] = operation.partition;
  if (operation.offset >= 0) line["offset"] = operation.offset;
  if (operation.deliveries > 0) line["deliveries"] = operation.deliveries;
  if (operation.altered) line["altered"] = true;
  if (!operation.error.empty()) line["error"] = operation.error;
  // What a broken driver says need not be UTF-8.
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<Operation> ParseLine(std::string_view line) {
  const json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return MakeStatus(Code::kBadParameter, "expected a JSON object");
  }
  Operation operation;
  try {
    if (!ValueOf(kKinds, parsed.at("op").get<std::string>(), operation.kind)) {
      return MakeStatus(Code::kBadParameter, "op is \"",
                        parsed.at("op").get<std::string>(),
                        "\"; expected send, commit, rollback, receive, ack, "
                        "nack or kill");
    }
    if (!ValueOf(kResults, parsed.at("result").get<std::string>(),
                 operation.result)) {
      return MakeStatus(Code::kBadParameter, "result is \"",
                        parsed.at("result").get<std::string>(),
                        "\"; expected ok, no or maybe");
    }
    operation.worker = parsed.at("worker");
    operation.begin_ns = parsed.at("begin");
    operation.end_ns = parsed.at("end");
    operation.id = parsed.value("id", "");
    operation.group = parsed.value("group", "");
    operation.partition = parsed.value("partition", -1);
    operation.offset = parsed.value("offset", int64_t{-1});
    operation.deliveries = parsed.value("deliveries", 0);
    operation.altered = parsed.value("altered", false);
    operation.error = parsed.value("error", "");
  } catch (const json::exception& flaw) {
    return MakeStatus(Code::kBadParameter, std::string_view(flaw.what()));
  }
  return operation;
}

}  // namespace openmessaging::conformance::history
