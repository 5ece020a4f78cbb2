// SPDX-License-Identifier: Apache-2.0
//
// AesGcmCipher encrypts bodies with AES-256-GCM on their way out and decrypts
// them on their way in. Link openmessaging::kit_aes_gcm. What is protected, and
// what is not, is in docs/design/encryption.md.

#ifndef OPENMESSAGING_KIT_AES_GCM_CIPHER_H_
#define OPENMESSAGING_KIT_AES_GCM_CIPHER_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {

struct AesGcmOptions {
  // Each of 32 bytes, by its id. Old ones stay here while messages that they
  // encrypted may come.
  std::map<std::string, std::string> keys{};

  // The one to encrypt with; empty: only decrypt. One key is good for 2^32
  // messages, as its nonces are random.
  std::string key_id{};

  // Refuse to receive what is not encrypted: who can write to the queue could
  // otherwise pass anything off as plain text.
  bool require_encryption = true;

  // A message counts as encrypted for the queue that it was sent to. Name that
  // queue here to receive it from another: from the dead letters, or a route.
  std::string sent_to{};
};

// Add one object to producers and consumers alike: behind a codec at the
// sender, before it at the receiver. The key's id is in the property
// `encryption.key`, which the receiver does not see.
//
// Errors:
//   kPermissionDenied   1403: no key of that id; the body is not encrypted
//   kDataLoss           1609: key, body, queue, key id, compression, message
//                       key, correlation id or reply-to are not those of the
//                       sender. No byte of such a body is shown
//   kFailedPrecondition 1602: to send without key_id
// Threads: any number of calls at once.
// Implements: OMS-CRYPT-001 to OMS-CRYPT-006.
class AesGcmCipher final : public ProducerInterceptor,
                           public ConsumerInterceptor {
 public:
  static constexpr std::string_view kKeyProperty = "encryption.key";
  static constexpr size_t kKeyBytes = 32;
  static constexpr size_t kNonceBytes = 12;
  static constexpr size_t kTagBytes = 16;

  // Errors: 1418: a key that is not of 32 bytes, or has no id; no key `key_id`.
  static absl::StatusOr<std::shared_ptr<AesGcmCipher>> Create(
      AesGcmOptions options);

  // Overwrites the keys.
  ~AesGcmCipher() override;
  AesGcmCipher(const AesGcmCipher&) = delete;
  AesGcmCipher& operator=(const AesGcmCipher&) = delete;

  absl::Status BeforeSend(Message& message) override;
  absl::Status BeforeReceive(Message& message) override;

 private:
  explicit AesGcmCipher(AesGcmOptions options);

  AesGcmOptions options_;
};

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_AES_GCM_CIPHER_H_
