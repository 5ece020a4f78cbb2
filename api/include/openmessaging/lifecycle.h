// SPDX-License-Identifier: Apache-2.0
//
// The states that every client (Producer, PullConsumer) goes through. The
// rules are in spec/producer.md and spec/consumer.md.

#ifndef OPENMESSAGING_LIFECYCLE_H_
#define OPENMESSAGING_LIFECYCLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace openmessaging {
inline namespace v0 {

// A client goes through them in this order and never back, but for one step: a
// start that failed leaves it initialized, so that it can be tried again.
enum class LifecycleState : uint8_t {
  kInitialized,
  kStarting,
  kStarted,
  kStopping,  // Refuses calls; those in progress are still running.
  kStopped,
};

// Implements: OMS-FMT-001.
inline constexpr std::string_view Name(LifecycleState state) {
  constexpr std::array<std::string_view, 5> kNames = {
      "initialized", "starting", "started", "stopping", "stopped"};
  return kNames[static_cast<size_t>(state)];
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_LIFECYCLE_H_
