// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a prepared message, and who is asked; see prepared_message.h.

#ifndef OPENMESSAGING_TRANSACTION_H_
#define OPENMESSAGING_TRANSACTION_H_

#include <cstdint>
#include <functional>

#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {

// kUnknown: not decided yet; ask again.
// kCommit: the message enters its queue.
// kRollback: it never does.
enum class TransactionState : uint8_t { kUnknown, kCommit, kRollback };

// Is asked what became of a message that was prepared and not decided. It may be
// one of another producer of the group, of another process, or of a life of this
// one that ended. The message is as the queue would get it, behind the
// interceptors of whoever prepared it, with its transaction_id().
//
// May call any API. One that throws has answered kUnknown.
// Threads: one call at a time for each producer, on a thread of the library's.
using CheckListener = std::function<TransactionState(const Message& message)>;

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_TRANSACTION_H_
