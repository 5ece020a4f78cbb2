// SPDX-License-Identifier: Apache-2.0
//
// What the codecs have in common: which bodies they touch, and their errors.

#ifndef OPENMESSAGING_KIT_BODY_CODEC_H_
#define OPENMESSAGING_KIT_BODY_CODEC_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {

// Gives a message another body. Where it was stored, which a received message
// knows of its queue, stays as it was.
inline void ReplaceBody(Message& message, std::string_view body) {
  const std::string born_host(message.born_host());
  const std::string store_host(message.store_host());
  message.SetBody(body);
  if (message.store_host() != store_host) {
    driver::MessageAccess::SetField(message, driver::Field::kStoreHost,
                                    store_host);
  }
  if (message.born_host() != born_host) {
    driver::MessageAccess::SetField(message, driver::Field::kBornHost,
                                    born_host);
  }
}

// Returns: the bound within what any message may have, so that it can be added
// to.
inline size_t MostBytes(size_t max_body_bytes) {
  return std::min(max_body_bytes, kMaxBodyBytes);
}

// `operation` is "compress" or "decompress".
inline absl::Status TooLarge(std::string_view operation, const Message& message,
                             size_t max_body_bytes) {
  return MakeStatus(Code::kBodyTooLarge, operation, " message of \"",
                    internal::Printable(message.destination()),
                    "\": the body is larger than ", max_body_bytes,
                    " bytes; expected at most that (max_body_bytes, "
                    "OMS-CODEC-004)");
}

inline absl::Status Damaged(std::string_view codec, const Message& message,
                            std::string_view what) {
  return MakeStatus(Code::kDamaged, "decompress message of \"",
                    internal::Printable(message.destination()),
                    "\": ", what, "; expected one whole frame of ", codec,
                    " (OMS-CODEC-005)");
}

inline absl::Status NoMemory(const Message& message) {
  return MakeStatus(Code::kBrokerError, "decompress message of \"",
                    internal::Printable(message.destination()),
                    "\": there is no memory; expected some (OMS-CODEC-005)");
}

// `compress(body)`: returns the bytes, or nothing where they are no fewer.
template <typename Options, typename Compress>
absl::Status CompressBody(Message& message, std::string_view codec,
                          const Options& options, Compress compress) {
  const std::string_view body = message.body();
  if (body.size() < options.min_body_bytes || body.empty() ||
      !message.compression().empty()) {
    return absl::OkStatus();
  }
  if (body.size() > options.max_body_bytes) {
    return TooLarge("compress", message, options.max_body_bytes);
  }
  const std::string bytes = compress(body);
  if (bytes.empty()) return absl::OkStatus();
  message.SetBody(bytes);
  message.SetCompression(codec);
  return absl::OkStatus();
}

// `decompress(message)`: returns the body.
template <typename Decompress>
absl::Status DecompressBody(Message& message, std::string_view codec,
                            Decompress decompress) {
  if (message.compression() != codec) return absl::OkStatus();
  const absl::StatusOr<std::string> body = decompress(message);
  if (!body.ok()) return body.status();
  ReplaceBody(message, *body);
  message.SetCompression({});
  return absl::OkStatus();
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_BODY_CODEC_H_
