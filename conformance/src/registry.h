// SPDX-License-Identifier: Apache-2.0
//
// How a test enters the suite:
//
//   OMS_CONFORMANCE_TEST("OMS-PROD-003", kCore, kAlways, "a batch ...") {
//     ... t.NewQueue() ... Require(...) ...
//   }

#ifndef OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_
#define OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "openmessaging/capability.h"
#include "openmessaging/conformance/suite.h"

namespace openmessaging::conformance {

class Context;

// What a test wants of the harness.
enum class Wants : uint8_t { kNothing, kRestart, kProxy, kForeignClient };

// A test returns when its requirement holds and throws Failure when not; it
// must not outlive its clients.
struct Test {
  TestInfo info{};
  Wants wants = Wants::kNothing;
  void (*body)(Context&) = nullptr;
};

// The gate of what every driver must do.
inline constexpr std::optional<Capability> kAlways = std::nullopt;

// Returns: all tests; those of one file in its order.
std::vector<Test>& AllTests();

struct Registration {
  explicit Registration(Test test) { AllTests().push_back(std::move(test)); }
};

}  // namespace openmessaging::conformance

#define OMS_CONFORMANCE_JOIN_(a, b) a##b
#define OMS_CONFORMANCE_JOIN(a, b) OMS_CONFORMANCE_JOIN_(a, b)
#define OMS_CONFORMANCE_REGISTER_(n, id, level, gate, wants, title) \
  static void OMS_CONFORMANCE_JOIN(Test, n)(Context & t);           \
  static const Registration OMS_CONFORMANCE_JOIN(                   \
      kTest, n)({{id, Level::level, gate, title},                   \
                 Wants::wants,                                      \
                 &OMS_CONFORMANCE_JOIN(Test, n)});                  \
  static void OMS_CONFORMANCE_JOIN(Test, n)([[maybe_unused]] Context & t)
#define OMS_CONFORMANCE_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, kNothing, title)
#define OMS_CONFORMANCE_RESTART_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, kRestart, title)
// Its clients connect through t.proxy(), which is healed before and after.
#define OMS_CONFORMANCE_FAULT_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, kProxy, title)
#define OMS_CONFORMANCE_FOREIGN_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, kForeignClient, title)
// Names a requirement that no test of its own shows, but the run as a whole.
#define OMS_CONFORMANCE_JUDGED_TEST(id) id

#endif  // OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_
