// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/aes_gcm_cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "body_codec.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {
namespace {

// Of an encrypted body: this byte, the nonce, the ciphertext, the tag.
constexpr char kVersion = 1;
constexpr size_t kHeadBytes = 1 + AesGcmCipher::kNonceBytes;
constexpr size_t kExtraBytes = kHeadBytes + AesGcmCipher::kTagBytes;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const {
    EVP_CIPHER_CTX_free(context);
  }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(char* text) {
  return reinterpret_cast<unsigned char*>(text);
}

template <typename... Parts>
absl::Status Failure(Code code, std::string_view operation,
                     const Message& message, const Parts&... parts) {
  return MakeStatus(code, operation, " message of \"",
                    internal::Printable(message.destination()),
                    "\": ", parts...);
}

// What must be the same at both ends: each with its length before it, so that
// no two lists give the same bytes.
std::string AssociatedData(const Message& message, std::string_view queue,
                           std::string_view key_id) {
  std::string data(1, kVersion);
  for (const std::string_view part :
       {queue, key_id, message.compression(), message.message_key(),
        message.correlation_id(), message.reply_to()}) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      data += static_cast<char>(uint64_t{part.size()} >> shift);
    }
    data += part;
  }
  return data;
}

bool FitsOpenSsl(std::string_view text) {
  return text.size() <=
         static_cast<size_t>(std::numeric_limits<int>::max()) - kExtraBytes;
}

// Returns: false where OpenSSL does not work.
bool Encrypt(std::string_view key, std::string_view data, std::string_view body,
             std::string& out) {
  out.assign(body.size() + kExtraBytes, '\0');
  out[0] = kVersion;
  unsigned char* const nonce = Bytes(out.data() + 1);
  unsigned char* const text = Bytes(out.data() + kHeadBytes);
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  return context != nullptr &&
         RAND_bytes(nonce, AesGcmCipher::kNonceBytes) == 1 &&
         EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr,
                            Bytes(key), nonce) == 1 &&
         EVP_EncryptUpdate(context.get(), nullptr, &size, Bytes(data),
                           static_cast<int>(data.size())) == 1 &&
         EVP_EncryptUpdate(context.get(), text, &size, Bytes(body),
                           static_cast<int>(body.size())) == 1 &&
         EVP_EncryptFinal_ex(context.get(), text + size, &size) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG,
                             AesGcmCipher::kTagBytes,
                             text + body.size()) == 1;
}

// Returns: false unless the tag proves every byte.
bool Decrypt(std::string_view key, std::string_view data,
             std::string_view bytes, std::string& out) {
  const std::string_view nonce = bytes.substr(1, AesGcmCipher::kNonceBytes);
  const std::string_view text =
      bytes.substr(kHeadBytes, bytes.size() - kExtraBytes);
  std::string tag(bytes.substr(bytes.size() - AesGcmCipher::kTagBytes));
  // One byte more: there is no pointer to write an empty text to.
  out.assign(text.size() + 1, '\0');
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool proved =
      context != nullptr &&
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key),
                         Bytes(nonce)) == 1 &&
      EVP_DecryptUpdate(context.get(), nullptr, &size, Bytes(data),
                        static_cast<int>(data.size())) == 1 &&
      EVP_DecryptUpdate(context.get(), Bytes(out.data()), &size, Bytes(text),
                        static_cast<int>(text.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG,
                          AesGcmCipher::kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), Bytes(out.data()) + size, &size) == 1;
  if (!proved) OPENSSL_cleanse(out.data(), out.size());
  out.resize(proved ? text.size() : 0);
  return proved;
}

}  // namespace

absl::StatusOr<std::shared_ptr<AesGcmCipher>> AesGcmCipher::Create(
    AesGcmOptions options) {
  // Takes the keys first, so that they are overwritten in any case.
  const std::shared_ptr<AesGcmCipher> cipher(
      new AesGcmCipher(std::move(options)));
  const AesGcmOptions& taken = cipher->options_;
  for (const auto& [id, key] : taken.keys) {
    if (id.empty() || key.size() != kKeyBytes) {
      return MakeStatus(Code::kBadParameter, "create cipher: key \"",
                        internal::Printable(id), "\" is ", key.size(),
                        " bytes long; expected an id and ", kKeyBytes,
                        " bytes (OMS-CRYPT-001)");
    }
  }
  if (!taken.key_id.empty() && !taken.keys.contains(taken.key_id)) {
    return MakeStatus(Code::kBadParameter, "create cipher: there is no key \"",
                      internal::Printable(taken.key_id),
                      "\"; expected one of `keys` (key_id, OMS-CRYPT-001)");
  }
  return cipher;
}

AesGcmCipher::AesGcmCipher(AesGcmOptions options)
    : options_(std::move(options)) {}

AesGcmCipher::~AesGcmCipher() {
  for (auto& [id, key] : options_.keys) {
    OPENSSL_cleanse(key.data(), key.size());
  }
}

absl::Status AesGcmCipher::BeforeSend(Message& message) {
  if (options_.key_id.empty()) {
    return Failure(Code::kIllegalState, "encrypt", message,
                   "there is no key to encrypt with; expected one (key_id, "
                   "OMS-CRYPT-002)");
  }
  if (message.properties().Contains(kKeyProperty)) {
    return Failure(Code::kBadParameter, "encrypt", message, "property \"",
                   kKeyProperty,
                   "\" is set; expected a message that is not encrypted yet "
                   "(OMS-CRYPT-002)");
  }
  const std::string data =
      AssociatedData(message, message.destination(), options_.key_id);
  std::string body;
  if (!FitsOpenSsl(message.body()) ||
      !Encrypt(options_.keys.at(options_.key_id), data, message.body(), body)) {
    return Failure(Code::kBrokerError, "encrypt", message,
                   "OpenSSL failed, the message was not sent; expected "
                   "AES-256-GCM and random numbers (OMS-CRYPT-002)");
  }
  message.SetBody(body);
  return message.SetProperty(kKeyProperty, options_.key_id);
}

absl::Status AesGcmCipher::BeforeReceive(Message& message) {
  const auto id = message.properties().Get<std::string_view>(kKeyProperty);
  if (!id.ok()) {
    if (!options_.require_encryption &&
        !message.properties().Contains(kKeyProperty)) {
      return absl::OkStatus();
    }
    return Failure(Code::kForbidden, "decrypt", message,
                   "the body is not encrypted; expected one that is "
                   "(require_encryption, OMS-CRYPT-005)");
  }
  const auto key = options_.keys.find(std::string(*id));
  if (key == options_.keys.end()) {
    return Failure(Code::kForbidden, "decrypt", message, "key \"",
                   internal::Printable(*id),
                   "\" is not known; expected one of `keys` (OMS-CRYPT-004)");
  }
  const std::string_view queue = options_.sent_to.empty()
                                     ? message.destination()
                                     : std::string_view(options_.sent_to);
  const std::string_view bytes = message.body();
  std::string body;
  if (bytes.size() < kExtraBytes || bytes[0] != kVersion ||
      !FitsOpenSsl(bytes) ||
      !Decrypt(key->second, AssociatedData(message, queue, *id), bytes, body)) {
    return Failure(Code::kDamaged, "decrypt", message,
                   "the body, or a field that goes with it, is not what was "
                   "encrypted with key \"",
                   internal::Printable(*id), "\" for queue \"",
                   internal::Printable(queue),
                   "\"; expected the same key, bytes and queue "
                   "(OMS-CRYPT-004)");
  }
  KeyValue properties(message.properties());
  properties.Remove(kKeyProperty);
  ReplaceBody(message, body);
  message.SetProperties(properties.view());
  return absl::OkStatus();
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
