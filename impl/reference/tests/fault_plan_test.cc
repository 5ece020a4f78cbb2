// SPDX-License-Identifier: Apache-2.0

#include "fault_plan.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/attributes.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::fault_plan_test {
namespace {

absl::StatusOr<std::optional<FaultPlan>> Read(std::string_view fault,
                                              std::string_view seed = "") {
  Attributes attributes;
  REQUIRE(attributes.Set("fault", fault).ok());
  if (!seed.empty()) REQUIRE(attributes.Set("fault.seed", seed).ok());
  return ReadFaultPlan(attributes);
}

TEST_CASE("a plan of faults is read from its attributes") {
  const auto plan = Read(
      "drop:0.5,duplicate:1,error:0,unknown:.25,disconnect:0.1,reorder:0.2,"
      "delay:10ms",
      "77");

  REQUIRE(plan.ok());
  REQUIRE(plan->has_value());
  const FaultPlan& read = **plan;
  CHECK(read.Of(Fault::kDrop) == 0.5);
  CHECK(read.Of(Fault::kDuplicate) == 1);
  CHECK(read.Of(Fault::kError) == 0);
  CHECK(read.Of(Fault::kUnknown) == 0.25);
  CHECK(read.Of(Fault::kDisconnect) == 0.1);
  CHECK(read.Of(Fault::kReorder) == 0.2);
  CHECK(read.delay == std::chrono::milliseconds(10));
  CHECK(read.seed == 77);
  CHECK(read.has_wire());
  CHECK_FALSE((*Read("drop:1"))->has_wire());
  CHECK_FALSE(ReadFaultPlan(Attributes())->has_value());
}

TEST_CASE("a part that cannot be read is named with what was expected") {
  struct Case {
    std::string_view fault;
    std::string_view text;
  };
  constexpr std::string_view kNames =
      "is no fault; expected one of error, unknown, disconnect, drop, "
      "duplicate, reorder, delay";
  const std::vector<Case> cases = {
      {"", kNames},
      {"loss:0.1", kNames},
      {"drop:0.1,", kNames},
      {"drop", "\"drop\" has no good probability; expected drop:0.01, from 0 "
               "to 1"},
      {"drop:", "has no good probability"},
      {"drop:1.1", "\"drop:1.1\" has no good probability"},
      {"drop:-1", "has no good probability"},
      {"drop:1e-3", "has no good probability"},
      {"drop:nan", "has no good probability"},
      {"drop:1%", "has no good probability"},
      {"drop:1:2", "has no good probability"},
      {"error:1,drop:0.1,error:0", "\"error:0\" names a fault again; expected "
                                   "each once"},
      {"delay", "\"delay\" has no good time; expected delay:10ms, at most 60s"},
      {"delay:10", "has no good time"},
      {"delay:61s", "has no good time"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.fault);
    const auto plan = Read(one.fault);
    CHECK(OmsCode(plan.status()) == Code::kBadParameter);
    CHECK(std::string(plan.status().message()).find(one.text) !=
          std::string::npos);
  }
  CHECK(OmsCode(Read("drop:1", "x").status()) == Code::kBadParameter);
  Attributes seed_alone;
  REQUIRE(seed_alone.Set("fault.seed", "7").ok());
  CHECK(OmsCode(ReadFaultPlan(seed_alone).status()) == Code::kBadParameter);
}

TEST_CASE("a seed says which calls fail and another one says others") {
  const auto throws = [](std::string_view seed, uint64_t client) {
    FaultDice dice(**Read("error:0.3,drop:0.3", seed), client);
    std::string out;
    for (int i = 0; i < 200; ++i) {
      const auto fault = dice.Throw({Fault::kError, Fault::kDrop});
      out.push_back(!fault ? '.' : *fault == Fault::kError ? 'e' : 'd');
    }
    return out;
  };

  CHECK(throws("7", 0) == throws("7", 0));
  CHECK(throws("7", 0) != throws("8", 0));
  CHECK(throws("7", 0) != throws("7", 1));
}

TEST_CASE("one fault more leaves the others where they were") {
  FaultDice one(**Read("error:0.3"), 0);
  FaultDice two(**Read("error:0.3,drop:0.3"), 0);
  for (int i = 0; i < 200; ++i) {
    const bool error = one.Throw({Fault::kError, Fault::kDrop}).has_value();
    CHECK(error == (two.Throw({Fault::kError, Fault::kDrop}) == Fault::kError));
  }
}

}  // namespace
}  // namespace openmessaging::reference::fault_plan_test
