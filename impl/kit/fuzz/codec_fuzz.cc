// SPDX-License-Identifier: Apache-2.0
//
// Compressed bodies: of any bytes, and frames that were made and then changed.
// Nothing is made beyond the bound, whatever a frame claims; what the codec
// made comes back.

#include <string>
#include <string_view>

#include "input.h"
#include "openmessaging/kit/lz4_codec.h"
#include "openmessaging/kit/zstd_codec.h"
#include "openmessaging/status.h"

namespace openmessaging::fuzz {
namespace {

constexpr size_t kMaxBodyBytes = size_t{32} << 10;

// A body of runs, which shrink: a bomb where they are long.
std::string MakeBody(Input& input) {
  std::string body;
  for (size_t n = input.Pick(16); n > 0; --n) {
    const std::string_view part = input.TakeText(15);
    for (size_t times = size_t{1} << input.Pick(13); times > 0; --times) {
      if (body.size() > 2 * kMaxBodyBytes) return body;
      body += part;
    }
  }
  return body;
}

template <typename Codec, typename Options>
void CheckFrame(std::string_view frame) {
  Options options;
  options.max_body_bytes = kMaxBodyBytes;
  Codec codec(options);
  Message message("orders", frame);
  message.SetCompression(Codec::kName);
  const absl::Status status = codec.BeforeReceive(message);
  if (status.ok()) {
    Expect(message.body().size() <= kMaxBodyBytes, "a body over the bound");
    Expect(message.compression().empty(), "it says that it is compressed");
    return;
  }
  const Code code = OmsCode(status);
  Expect(code == Code::kDamaged || code == Code::kBodyTooLarge, "another code");
}

template <typename Codec, typename Options>
void Check(Input& input) {
  const bool made = input.Pick(2) == 1;
  if (!made) return CheckFrame<Codec, Options>(input.TakeRest());
  // A sender whose bound is another.
  Options options;
  options.max_body_bytes = 4 * kMaxBodyBytes;
  options.min_body_bytes = 1;
  Codec codec(options);
  const std::string body = MakeBody(input);
  Message message("orders", body);
  Expect(codec.BeforeSend(message).ok(), "a body is not compressed");
  std::string frame(message.body());
  if (message.compression().empty()) {
    Expect(frame == body, "another body");
    return;
  }
  Expect(codec.BeforeReceive(message).ok() && message.body() == body,
         "another body comes back");
  // Some bytes of the frame are others: lengths and flags are in front.
  while (!input.empty()) {
    const size_t at = input.Pick(2) == 0 ? input.Pick(20) : input.Number<2>();
    frame[at % frame.size()] = static_cast<char>(input.Byte());
  }
  if (input.Pick(4) == 1) frame.resize(frame.size() / 2);
  CheckFrame<Codec, Options>(frame);
}

}  // namespace
}  // namespace openmessaging::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging;
  fuzz::Input input(data, size);
  if (input.Pick(2) == 0) {
    fuzz::Check<kit::ZstdCodec, kit::ZstdOptions>(input);
  } else {
    fuzz::Check<kit::Lz4Codec, kit::Lz4Options>(input);
  }
  return 0;
}
