// SPDX-License-Identifier: Apache-2.0
//
// Lz4Codec compresses bodies with LZ4 on their way out and decompresses them on
// their way in. Link openmessaging::kit_lz4.

#ifndef OPENMESSAGING_KIT_LZ4_CODEC_H_
#define OPENMESSAGING_KIT_LZ4_CODEC_H_

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {

struct Lz4Options {
  // 0 is quick, 3 to 12 are smaller and slower; below 0 is quicker still.
  int level = 0;

  // Smaller bodies are sent as they are.
  size_t min_body_bytes = 128;

  // No larger body is compressed, nor made by decompressing, whatever its
  // sender claims: 1413.
  size_t max_body_bytes = kDefaultMaxBodyBytes;
};

// As ZstdCodec, which is smaller; this one is quicker. The form is LZ4's frame.
//
// Errors, Threads: as ZstdCodec.
// Implements: OMS-CODEC-001 to OMS-CODEC-005.
class Lz4Codec final : public ProducerInterceptor, public ConsumerInterceptor {
 public:
  // The value of the field `compression`.
  static constexpr std::string_view kName = "lz4";

  explicit Lz4Codec(const Lz4Options& options = {}) : options_(options) {}

  absl::Status BeforeSend(Message& message) override;
  absl::Status BeforeReceive(Message& message) override;

 private:
  const Lz4Options options_;
};

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_LZ4_CODEC_H_
