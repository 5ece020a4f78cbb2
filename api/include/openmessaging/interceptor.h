// SPDX-License-Identifier: Apache-2.0
//
// Interceptors see every message that a client sends or receives, and may change
// or refuse it: codecs, encryption, checks of the application's own. Order,
// threads and failures are explained in docs/design/interceptors.md.

#ifndef OPENMESSAGING_INTERCEPTOR_H_
#define OPENMESSAGING_INTERCEPTOR_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {

// Sees what a producer sends; add it with Producer::AddInterceptor(). Each
// message of a Send, a batch, a SendAsync or a SendOneway passes once, however
// often it is sent again.
//
// Threads: any number of calls at once, on the threads that send; AfterSend of
// what nobody waited for also on the connection's thread for callbacks. No lock
// is held; every call of the API may be made.
// Implements: OMS-INTC-001 to OMS-INTC-006.
class ProducerInterceptor {
 public:
  virtual ~ProducerInterceptor() = default;

  // Called in the order of registration, before the message is checked.
  // `message` is a copy for this send, to be changed at will; the application's
  // own is never touched.
  // Errors: the send answers this status and nothing is sent; interceptors
  // behind this one are not called. To throw is to refuse with 1606.
  virtual absl::Status BeforeSend(Message& /*message*/) {
    return absl::OkStatus();
  }

  // Called in reverse order when the outcome is known, if BeforeSend let the
  // message pass. `message`: as it was sent. What it throws is dropped.
  virtual void AfterSend(const Message& /*message*/,
                         const absl::StatusOr<SendResult>& /*result*/) {}
};

// Sees what a consumer or a stream reader receives; add it with
// AddInterceptor(). Each delivery passes once.
//
// Threads: as above; BeforeReceive on the thread that receives, or that runs the
// listener.
// Implements: OMS-INTC-001 to OMS-INTC-003, OMS-INTC-007 to OMS-INTC-010.
class ConsumerInterceptor {
 public:
  virtual ~ConsumerInterceptor() = default;

  // Called in the order of registration, before the application sees the
  // message, which may be changed: only this delivery's copy changes.
  // Errors: the application does not see it. Receive answers this status, or
  // the next one does where other messages came with it; the message is nacked,
  // so that it comes back after the queue's back-off, or goes where its
  // dead-letter rules say. A listener is not called with it, and it counts as
  // Nack. A stream reader skips it. To throw is to fail with 1606.
  virtual absl::Status BeforeReceive(Message& /*message*/) {
    return absl::OkStatus();
  }

  // Called in reverse order when a settlement has its outcome: one that the
  // application asked for, a verdict, or the Nack of a failure above. Not for
  // leases that a push consumer renews. What it throws is dropped.
  virtual void AfterSettle(const driver::Settlement& /*settlement*/,
                           const absl::Status& /*outcome*/) {}
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERCEPTOR_H_
