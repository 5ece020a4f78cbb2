// SPDX-License-Identifier: Apache-2.0
//
// PushFailure is what no call of a push consumer can return.

#ifndef OPENMESSAGING_PUSH_FAILURE_H_
#define OPENMESSAGING_PUSH_FAILURE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "openmessaging/receipt.h"

namespace openmessaging {
inline namespace v0 {

// Lifetime: a value.
struct PushFailure {
  // kReceive: a receive failed. It is tried again, after 10 ms doubling to 1 s;
  // only 1609 says that a message is damaged and was passed over.
  // kSettle: what a verdict asked for was refused or is not known to have
  // happened; the message may come back.
  enum class Kind : uint8_t { kReceive, kSettle };

  Kind kind = Kind::kReceive;
  absl::Status status{};

  // Of the message; only of kSettle.
  std::string queue{};
  Receipt receipt{};
};

// Is told of failures on the thread that runs callbacks; may call any API.
using PushFailureListener = std::function<void(const PushFailure&)>;

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PUSH_FAILURE_H_
