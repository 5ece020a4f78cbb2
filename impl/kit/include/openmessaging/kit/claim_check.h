// SPDX-License-Identifier: Apache-2.0
//
// ClaimCheck keeps large bodies out of the broker: they go to a directory of
// blobs, and the message takes a claim along that the receiver redeems. Link
// openmessaging::kit_claim_check. docs/design/claim-check.md says who removes
// blobs, and when.

#ifndef OPENMESSAGING_KIT_CLAIM_CHECK_H_
#define OPENMESSAGING_KIT_CLAIM_CHECK_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {

struct ClaimCheckOptions {
  // Of the blobs; made where it is missing. Senders and receivers reach it by
  // the path that each of them has here.
  std::string directory{};

  // Longer bodies become blobs, in bytes.
  size_t max_inline_bytes = size_t{256} << 10;

  // The longest body, in bytes: what a broker limits is the claim, so this may
  // be more than any broker takes.
  size_t max_body_bytes = size_t{1} << 30;
};

// Add one object to producers and consumers alike: the last at the sender and
// the first at the receiver, so that what others made of the body is what lies
// in the blob. A blob is on stable storage, whole, before its message is sent.
//
// Errors:
//   kInvalidArgument   1413: a body over max_body_bytes
//   kResourceExhausted 1502: the directory has no room; nothing was sent
//   kDataLoss          1609: the blob is gone, or not what was sent; or the
//                      claim names no blob. No byte of it is shown
//   kDataLoss          1501: the blob cannot be written, or not be read now
// Threads: any number of calls at once, in any number of processes.
// Implements: OMS-CLAIM-001 to OMS-CLAIM-006.
class ClaimCheck final : public ProducerInterceptor,
                         public ConsumerInterceptor {
 public:
  // Names the blob; the receiver's application does not see it.
  static constexpr std::string_view kClaimProperty = "claim.blob";

  // Errors: 1418: no directory is named; 1403: it is somebody else's, or others
  // may write there; 1501.
  static absl::StatusOr<std::shared_ptr<ClaimCheck>> Create(
      ClaimCheckOptions options);

  absl::Status BeforeSend(Message& message) override;
  // Removes the blob of a message that is certainly not stored.
  void AfterSend(const Message& message,
                 const absl::StatusOr<SendResult>& result) override;
  absl::Status BeforeReceive(Message& message) override;

  // Removes the blobs that are older, also half-written ones that a dead sender
  // left. A blob is not removed by who received it, since another group may not
  // have: choose more than the longest time that a message waits.
  // Returns: how many went. Errors: 1501.
  absl::StatusOr<size_t> RemoveOlderThan(std::chrono::seconds age);

 private:
  explicit ClaimCheck(ClaimCheckOptions options);

  const ClaimCheckOptions options_;
};

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_CLAIM_CHECK_H_
