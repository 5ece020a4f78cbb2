// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/zstd_codec.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "body_codec.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// Making one costs more than most bodies.
ZSTD_CCtx* CompressorOfThread() {
  static thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(
      ZSTD_createCCtx());
  return context.get();
}

ZSTD_DCtx* DecompressorOfThread() {
  static thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(
      ZSTD_createDCtx());
  return context.get();
}

std::string Compress(std::string_view body, int level) {
  ZSTD_CCtx* const context = CompressorOfThread();
  if (context == nullptr) return {};  // No memory: it goes as it is.
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  // No room for what would not be smaller.
  std::string bytes(body.size() - 1, '\0');
  const size_t size = ZSTD_compress2(context, bytes.data(), bytes.size(),
                                     body.data(), body.size());
  bytes.resize(ZSTD_isError(size) != 0 ? 0 : size);
  return bytes;
}

// Fills `body` from its front, in steps, so that what a frame claims to hold is
// believed only as far as it proves true.
absl::StatusOr<std::string> Decompress(const Message& message,
                                       size_t max_body_bytes) {
  const std::string_view bytes = message.body();
  const unsigned long long claimed =
      ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) {
    return Damaged(ZstdCodec::kName, message, "the body is not compressed");
  }
  if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed > max_body_bytes) {
    return TooLarge("decompress", message, max_body_bytes);
  }
  ZSTD_DCtx* const context = DecompressorOfThread();
  if (context == nullptr) return NoMemory(message);
  ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters);
  // A frame may not make it keep more than the largest body needs, or the 8 MiB
  // that RFC 8878 asks for.
  ZSTD_DCtx_setParameter(
      context, ZSTD_d_windowLogMax,
      std::clamp(static_cast<int>(std::bit_width(max_body_bytes)), 23, 27));

  std::string body;
  size_t made = 0;
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  size_t left = 1;
  while (left != 0) {
    if (made == body.size()) {
      // One byte more than is allowed shows that there is more.
      if (made > max_body_bytes) {
        return TooLarge("decompress", message, max_body_bytes);
      }
      const size_t step = std::max<size_t>(made, 4 * bytes.size());
      body.resize(std::min(max_body_bytes + 1, made + step));
    }
    ZSTD_outBuffer out{body.data(), body.size(), made};
    const size_t read = in.pos;
    left = ZSTD_decompressStream(context, &out, &in);
    if (ZSTD_isError(left) != 0) {
      return Damaged(ZstdCodec::kName, message, ZSTD_getErrorName(left));
    }
    if (left != 0 && out.pos == made && in.pos == read) {
      return Damaged(ZstdCodec::kName, message, "the body is cut");
    }
    made = out.pos;
  }
  if (made > max_body_bytes) {
    return TooLarge("decompress", message, max_body_bytes);
  }
  if (in.pos != bytes.size()) {
    return Damaged(ZstdCodec::kName, message, "there is more behind the end");
  }
  body.resize(made);
  return body;
}

}  // namespace

absl::Status ZstdCodec::BeforeSend(Message& message) {
  return CompressBody(message, kName, options_, [&](std::string_view body) {
    return Compress(body, options_.level);
  });
}

absl::Status ZstdCodec::BeforeReceive(Message& message) {
  return DecompressBody(message, kName, [&](const Message& compressed) {
    return Decompress(compressed, MostBytes(options_.max_body_bytes));
  });
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
