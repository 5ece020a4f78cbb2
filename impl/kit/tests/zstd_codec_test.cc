// SPDX-License-Identifier: Apache-2.0
//
// ZstdCodec, over frames of its own and of others, and through the memory store.

#include "openmessaging/kit/zstd_codec.h"

#include <zstd.h>

#include <string>

#include "codec_cases.h"
#include "doctest/doctest.h"

namespace openmessaging::zstd_codec_test {
namespace {

using kit::ZstdCodec;

// Makes a frame, with or without the size of what is in it.
std::string Frame(const std::string& body, bool tells_size) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, tells_size ? 1 : 0);
  std::string bytes(ZSTD_compressBound(body.size()), '\0');
  const size_t size = ZSTD_compress2(context, bytes.data(), bytes.size(),
                                     body.data(), body.size());
  ZSTD_freeCCtx(context);
  REQUIRE(ZSTD_isError(size) == 0);
  bytes.resize(size);
  const auto told = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  CHECK((told == body.size()) == tells_size);
  return bytes;
}

TEST_CASE("OMS-CODEC-001: nobody sees that a body is compressed") {
  codec_cases::NobodySeesIt<ZstdCodec>();
}

TEST_CASE("OMS-CODEC-001: bodies of every length come back") {
  codec_cases::EveryLengthComesBack<ZstdCodec>();
}

TEST_CASE("OMS-CODEC-002: what does not shrink is sent as it is") {
  codec_cases::BodiesThatDoNotShrinkStay<ZstdCodec>();
}

TEST_CASE("OMS-CODEC-003: what others compressed passes untouched") {
  codec_cases::OthersPassUntouched<ZstdCodec>();
}

TEST_CASE("OMS-CODEC-004: a bomb is refused, whether it says so or not") {
  codec_cases::BombsAreRefused<ZstdCodec>(Frame(std::string(1001, 'x'), true));
  codec_cases::BombsAreRefused<ZstdCodec>(Frame(std::string(50'000'000, 'x'), true));
  codec_cases::BombsAreRefused<ZstdCodec>(Frame(std::string(1001, 'x'), false));
  codec_cases::BombsAreRefused<ZstdCodec>(Frame(std::string(50'000'000, 'x'), false));
}

TEST_CASE("OMS-CODEC-004: a zstd codec without a bound takes what comes") {
  codec_cases::WhatHasNoBoundComesBack<kit::ZstdCodec>();
}

TEST_CASE("OMS-CODEC-004: a body of the limit passes, one more does not") {
  codec_cases::TheLimitIsExact<ZstdCodec>();
}

TEST_CASE("OMS-CODEC-005: a frame that does not tell its size is read") {
  ZstdCodec codec;
  const std::string body = codec_cases::Compressible(100'000);
  Message message = codec_cases::Sent(ZstdCodec::kName, Frame(body, false));

  CHECK(codec.BeforeReceive(message).ok());
  CHECK(message.body() == body);
}

TEST_CASE("OMS-CODEC-005: damage is told, and no wrong body shown") {
  codec_cases::DamageIsNoticed<ZstdCodec>();
}

}  // namespace
}  // namespace openmessaging::zstd_codec_test
