// SPDX-License-Identifier: Apache-2.0
//
// What a message in a dead-letter queue says of its death. The names are
// properties of the message, beside those that its sender gave it; its origin
// id, key, body and the rest of its header are as they were.

#ifndef OPENMESSAGING_DEAD_LETTER_H_
#define OPENMESSAGING_DEAD_LETTER_H_

#include <string_view>

namespace openmessaging {
inline namespace v0 {

// All begin with this. A message that is sent on may still have them, and they
// mean its last death: the next one writes them anew.
inline constexpr std::string_view kDeadPrefix = "oms.dead.";

// Where it was: the queue's name (string), its partition there (int32) and its
// offset (int64), and the group that could not do with it (string).
inline constexpr std::string_view kDeadQueue = "oms.dead.queue";
inline constexpr std::string_view kDeadPartition = "oms.dead.partition";
inline constexpr std::string_view kDeadOffset = "oms.dead.offset";
inline constexpr std::string_view kDeadGroup = "oms.dead.group";

// How often that group got it (int32).
inline constexpr std::string_view kDeadDeliveries = "oms.dead.deliveries";

// Why (string): one of those below. An expired message moves once, for the group
// that found it so, however many others have not settled it.
inline constexpr std::string_view kDeadReason = "oms.dead.reason";
inline constexpr std::string_view kDeadRejected = "rejected";
inline constexpr std::string_view kDeadMaxDeliveries = "max-deliveries";
inline constexpr std::string_view kDeadExpired = "expired";

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DEAD_LETTER_H_
