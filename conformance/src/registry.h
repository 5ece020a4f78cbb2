// SPDX-License-Identifier: Apache-2.0
//
// How a test enters the suite:
//
//   OMS_CONFORMANCE_TEST("OMS-PROD-003", kCore, kAlways, "a batch ...") {
//     ... t.NewQueue() ... Require(...) ...
//   }

#ifndef OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_
#define OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_

#include <optional>
#include <vector>

#include "openmessaging/capability.h"
#include "openmessaging/conformance/suite.h"

namespace openmessaging::conformance {

class Context;

// A test returns when its requirement holds and throws Failure when not; it
// must not outlive its clients.
struct Test {
  TestInfo info{};
  bool restarts = false;  // Needs Harness::Restart.
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
#define OMS_CONFORMANCE_REGISTER_(n, id, level, gate, restarts, title)        \
  static void OMS_CONFORMANCE_JOIN(Test, n)(Context & t);                     \
  static const Registration OMS_CONFORMANCE_JOIN(kTest, n)(                   \
      {{id, Level::level, gate, title}, restarts,                             \
       &OMS_CONFORMANCE_JOIN(Test, n)});                                      \
  static void OMS_CONFORMANCE_JOIN(Test, n)([[maybe_unused]] Context & t)
#define OMS_CONFORMANCE_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, false, title)
#define OMS_CONFORMANCE_RESTART_TEST(id, level, gate, title) \
  OMS_CONFORMANCE_REGISTER_(__COUNTER__, id, level, gate, true, title)
// Names a requirement that no test of its own shows, but the run as a whole.
#define OMS_CONFORMANCE_JUDGED_TEST(id) id

#endif  // OPENMESSAGING_CONFORMANCE_SRC_REGISTRY_H_
