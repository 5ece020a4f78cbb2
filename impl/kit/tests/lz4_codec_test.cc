// SPDX-License-Identifier: Apache-2.0
//
// Lz4Codec, over frames of its own and of others, and through the memory store.

#include "openmessaging/kit/lz4_codec.h"

#include <lz4frame.h>

#include <string>

#include "codec_cases.h"
#include "doctest/doctest.h"

namespace openmessaging::lz4_codec_test {
namespace {

using kit::Lz4Codec;

// Makes a frame, with or without the size of what is in it.
std::string Frame(const std::string& body, bool tells_size) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.contentSize = tells_size ? body.size() : 0;
  std::string bytes(LZ4F_compressFrameBound(body.size(), &preferences), '\0');
  const size_t size = LZ4F_compressFrame(
      bytes.data(), bytes.size(), body.data(), body.size(), &preferences);
  REQUIRE(LZ4F_isError(size) == 0);
  bytes.resize(size);
  return bytes;
}

TEST_CASE("OMS-CODEC-001: nobody sees that a body is compressed") {
  codec_cases::NobodySeesIt<Lz4Codec>();
}

TEST_CASE("OMS-CODEC-001: bodies of every length come back") {
  codec_cases::EveryLengthComesBack<Lz4Codec>();
}

TEST_CASE("OMS-CODEC-002: what does not shrink is sent as it is") {
  codec_cases::BodiesThatDoNotShrinkStay<Lz4Codec>();
}

TEST_CASE("OMS-CODEC-003: what others compressed passes untouched") {
  codec_cases::OthersPassUntouched<Lz4Codec>();
}

TEST_CASE("OMS-CODEC-004: a bomb is refused, whether it says so or not") {
  codec_cases::BombsAreRefused<Lz4Codec>(Frame(std::string(1001, 'x'), true));
  codec_cases::BombsAreRefused<Lz4Codec>(Frame(std::string(50'000'000, 'x'), true));
  codec_cases::BombsAreRefused<Lz4Codec>(Frame(std::string(1001, 'x'), false));
  codec_cases::BombsAreRefused<Lz4Codec>(Frame(std::string(50'000'000, 'x'), false));
}

TEST_CASE("OMS-CODEC-004: a lz4 codec without a bound takes what comes") {
  codec_cases::WhatHasNoBoundComesBack<kit::Lz4Codec>();
}

TEST_CASE("OMS-CODEC-004: a body of the limit passes, one more does not") {
  codec_cases::TheLimitIsExact<Lz4Codec>();
}

TEST_CASE("OMS-CODEC-005: a frame that does not tell its size is read") {
  Lz4Codec codec;
  const std::string body = codec_cases::Compressible(100'000);
  Message message = codec_cases::Sent(Lz4Codec::kName, Frame(body, false));

  CHECK(codec.BeforeReceive(message).ok());
  CHECK(message.body() == body);
}

TEST_CASE("OMS-CODEC-005: damage is told, and no wrong body shown") {
  codec_cases::DamageIsNoticed<Lz4Codec>();
}

}  // namespace
}  // namespace openmessaging::lz4_codec_test
