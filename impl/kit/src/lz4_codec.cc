// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/lz4_codec.h"

#include <lz4frame.h>

#include <algorithm>
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
  void operator()(LZ4F_dctx* context) const {
    LZ4F_freeDecompressionContext(context);
  }
};

// Returns: a new one each time: what is left of an unfinished frame survives
// LZ4F_resetDecompressionContext in LZ4 1.9 and spoils the next.
std::unique_ptr<LZ4F_dctx, FreeContext> MakeDecompressor() {
  LZ4F_dctx* context = nullptr;
  LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
  return std::unique_ptr<LZ4F_dctx, FreeContext>(context);
}

std::string Compress(std::string_view body, int level) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.contentSize = body.size();
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  preferences.compressionLevel = level;
  std::string bytes(LZ4F_compressFrameBound(body.size(), &preferences), '\0');
  const size_t size = LZ4F_compressFrame(
      bytes.data(), bytes.size(), body.data(), body.size(), &preferences);
  bytes.resize(LZ4F_isError(size) != 0 || size >= body.size() ? 0 : size);
  return bytes;
}

// Fills `body` from its front, in steps, so that what a frame claims to hold is
// believed only as far as it proves true.
absl::StatusOr<std::string> Decompress(const Message& message,
                                       size_t max_body_bytes) {
  const std::string_view bytes = message.body();
  const auto context = MakeDecompressor();
  if (context == nullptr) return NoMemory(message);
  std::string body;
  size_t made = 0;
  size_t used = 0;
  size_t wanted = 1;
  while (wanted != 0) {
    if (made == body.size()) {
      // One byte more than is allowed shows that there is more.
      if (made > max_body_bytes) {
        return TooLarge("decompress", message, max_body_bytes);
      }
      const size_t step = std::max<size_t>(made, 4 * bytes.size() + 1);
      body.resize(std::min(max_body_bytes + 1, made + step));
    }
    size_t out = body.size() - made;
    size_t in = bytes.size() - used;
    wanted = LZ4F_decompress(context.get(), body.data() + made, &out,
                             bytes.data() + used, &in, nullptr);
    if (LZ4F_isError(wanted) != 0) {
      return Damaged(Lz4Codec::kName, message, LZ4F_getErrorName(wanted));
    }
    if (wanted != 0 && out == 0 && in == 0) {
      return Damaged(Lz4Codec::kName, message, "the body is cut");
    }
    made += out;
    used += in;
  }
  if (made > max_body_bytes) {
    return TooLarge("decompress", message, max_body_bytes);
  }
  if (used != bytes.size()) {
    return Damaged(Lz4Codec::kName, message, "there is more behind the end");
  }
  body.resize(made);
  return body;
}

}  // namespace

absl::Status Lz4Codec::BeforeSend(Message& message) {
  return CompressBody(message, kName, options_, [&](std::string_view body) {
    return Compress(body, options_.level);
  });
}

absl::Status Lz4Codec::BeforeReceive(Message& message) {
  return DecompressBody(message, kName, [&](const Message& compressed) {
    return Decompress(compressed, MostBytes(options_.max_body_bytes));
  });
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
