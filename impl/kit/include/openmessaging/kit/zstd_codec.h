// SPDX-License-Identifier: Apache-2.0
//
// ZstdCodec compresses bodies with Zstandard on their way out and decompresses
// them on their way in. Link openmessaging::kit_zstd.

#ifndef OPENMESSAGING_KIT_ZSTD_CODEC_H_
#define OPENMESSAGING_KIT_ZSTD_CODEC_H_

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {

struct ZstdOptions {
  // 1 is quick, 19 is small; the library cuts what it does not know.
  int level = 3;

  // Smaller bodies are sent as they are.
  size_t min_body_bytes = 128;

  // No larger body is compressed, nor made by decompressing, whatever its
  // sender claims: 1413.
  size_t max_body_bytes = kDefaultMaxBodyBytes;
};

// Add one object to producers and consumers alike. A body that does not shrink
// is sent as it is, and so is one whose field `compression` is set already. Who
// receives sees the body that was sent, and no field; what another codec
// compressed passes untouched. The form is that of RFC 8878, so that programs
// in other languages read it.
//
// Errors: 1413 see max_body_bytes; 1609 the bytes are damaged.
// Threads: any number of calls at once; each thread keeps what the library
// needs.
// Implements: OMS-CODEC-001 to OMS-CODEC-005.
class ZstdCodec final : public ProducerInterceptor, public ConsumerInterceptor {
 public:
  // The value of the field `compression`.
  static constexpr std::string_view kName = "zstd";

  explicit ZstdCodec(const ZstdOptions& options = {}) : options_(options) {}

  absl::Status BeforeSend(Message& message) override;
  absl::Status BeforeReceive(Message& message) override;

 private:
  const ZstdOptions options_;
};

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_ZSTD_CODEC_H_
