// SPDX-License-Identifier: Apache-2.0
//
// SendResult is what a successful send says about one message.

#ifndef OPENMESSAGING_SEND_RESULT_H_
#define OPENMESSAGING_SEND_RESULT_H_

#include <cstdint>

#include "openmessaging/capability.h"
#include "openmessaging/message_id.h"

namespace openmessaging {
inline namespace v0 {

struct SendResult {
  // Never empty; equal at the receiver.
  MessageId message_id{};

  // Where it lies; -1 where the broker does not say. The offset of a delayed
  // message is not known before it is due.
  int32_t partition = -1;
  int64_t offset = -1;

  // What the message asked for and the queue cannot give; always empty unless
  // the access point is lenient.
  CapabilitySet ignored{};

  // Whether a message with this deduplication id was stored before, within the
  // window of its queue. Then this one was not, and all else here is of that
  // one.
  bool duplicate = false;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_SEND_RESULT_H_
