// SPDX-License-Identifier: Apache-2.0
//
// Tests of driver/registry.h: who gets a name, and who is found by it.

#include "openmessaging/driver/registry.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "doctest/doctest.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/status.h"

namespace openmessaging::registry_test {
namespace {

// A driver that has a name and nothing else.
class Named final : public driver::Driver {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}

  driver::DriverInfo Info() const override {
    return {.name = name_, .version = "0.1.0", .specification = "1.0.0"};
  }
  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& /*url*/, const Attributes& /*attributes*/,
      driver::TimePoint /*deadline*/) override {
    return MakeStatus(Code::kUnavailable, "connect: there is no broker");
  }

 private:
  const std::string name_;
};

TEST_CASE("OMS-DRV-018: the first driver of a name keeps it") {
  driver::Registry registry;
  const auto first = std::make_shared<Named>("kafka");
  const auto second = std::make_shared<Named>("kafka");

  REQUIRE(registry.Register(first).ok());
  const absl::Status again = registry.Register(second);

  CHECK(OmsCode(again) == Code::kBadParameter);
  CHECK(std::string(again.message()) ==
        "register driver \"kafka\": the name is taken");
  CHECK(registry.Find("kafka").value() == first);
}

TEST_CASE("OMS-DRV-018: a driver whose alias is taken gets no name at all") {
  driver::Registry registry;
  const auto store = std::make_shared<Named>("file");
  REQUIRE(registry.Register(store, {"memory"}).ok());

  const absl::Status other =
      registry.Register(std::make_shared<Named>("ram"), {"cache", "memory"});

  CHECK(OmsCode(other) == Code::kBadParameter);
  CHECK(registry.Find("memory").value() == store);
  CHECK(registry.Find("file").value() == store);
  const auto missing = registry.Find("cache").status();
  CHECK(OmsCode(missing) == Code::kCannotConstruct);
  CHECK(std::string(missing.message()) ==
        "connect \"oms:cache\": no such driver is linked; there are: file, "
        "memory");
}

}  // namespace
}  // namespace openmessaging::registry_test
