// SPDX-License-Identifier: Apache-2.0
//
// Tests of the patterns of LIKE, beside a matcher that tries everything.

#include "like_pattern.h"

#include <chrono>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging::inline v0::kit::like_pattern_test {
namespace {

bool Like(std::string_view text, std::string_view pattern,
          std::string_view escape = {}) {
  LikePattern like;
  REQUIRE(!like.Compile(pattern, escape));
  return like.Matches(text);
}

// The definition, with no thought for time.
bool SlowLike(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  const auto length = [](std::string_view rest) {
    return internal::Utf8SequenceLength(rest);
  };
  if (pattern[0] == '%') {
    if (SlowLike(text, pattern.substr(1))) return true;
    return !text.empty() && SlowLike(text.substr(length(text)), pattern);
  }
  if (text.empty()) return false;
  const std::string_view one = text.substr(0, length(text));
  if (pattern[0] == '_') {
    return SlowLike(text.substr(one.size()), pattern.substr(1));
  }
  return pattern.starts_with(one) &&
         SlowLike(text.substr(one.size()), pattern.substr(one.size()));
}

}  // namespace

TEST_CASE("OMS-FILTER-003: a pattern matches the whole text") {
  CHECK(Like("abc", "abc"));
  CHECK(!Like("abcd", "abc"));
  CHECK(!Like("abc", "ABC"));
  CHECK(Like("abc", "a%"));
  CHECK(Like("abc", "%c"));
  CHECK(Like("abc", "%b%"));
  CHECK(Like("abc", "%%%"));
  CHECK(!Like("ab", "a%b%b"));
  CHECK(!Like("aba", "ab%ba"));
  CHECK(Like("abba", "ab%ba"));
  CHECK(Like("a_c", "a!_c", "!"));
  CHECK(!Like("abc", "a!_c", "!"));
  CHECK(Like("100%", "%!%", "!"));
  CHECK(Like("a\nb", "a_b"));
}

TEST_CASE("OMS-FILTER-003: a character is a code point") {
  CHECK(Like("\xC3\xA4", "_"));
  CHECK(Like("x\xE2\x82\xACy", "x_y"));
  CHECK(Like("\xF0\x9F\x98\x80", "_"));
  CHECK(!Like("\xF0\x9F\x98\x80", "__"));
  CHECK(
      Like("a\xC3\xA4"
           "b\xC3\xA4",
           "%_b_"));
  CHECK(!Like("\xC3\xA4", "\xC3\xA5"));
}

TEST_CASE("OMS-FILTER-003: bytes that are not UTF-8 count one by one") {
  CHECK(Like("\xFF\xFE", "__"));
  CHECK(Like("a\xC3", "a_"));
  CHECK(
      Like("\x80\x80"
           "b",
           "%_b"));
  CHECK(!Like("\xFF", "__"));
}

TEST_CASE("OMS-FILTER-003: patterns match as their definition says") {
  const unsigned seed = 20261;
  MESSAGE("seed " << seed);
  std::mt19937 random(seed);
  const std::vector<std::string> letters = {"a", "b", "\xC3\xA4",
                                            "\xE2\x82\xAC"};
  const std::vector<std::string> wildcards = {"%", "_"};
  const auto make = [&](size_t most, bool with_wildcards) {
    std::string out;
    for (size_t i = random() % (most + 1); i > 0; --i) {
      out += with_wildcards && random() % 2 == 0
                 ? wildcards[random() % 2]
                 : letters[random() % letters.size()];
    }
    return out;
  };

  int matches = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string pattern = make(7, true);
    const std::string text = make(9, false);
    CAPTURE(pattern);
    CAPTURE(text);
    const bool expected = SlowLike(text, pattern);
    matches += expected ? 1 : 0;
    CHECK(Like(text, pattern) == expected);
  }
  CHECK(matches > 1000);
}

TEST_CASE("OMS-FILTER-003: no pattern takes more than linear time") {
  std::string many = "%";
  for (int i = 0; i < 1000; ++i) many += "a%";
  const std::string searched = "%" + std::string(62, 'a') + "_b%";
  const std::string literal = "%" + std::string(30000, 'a') + "b%";
  const std::string text(60000, 'a');

  // Ten times what the slowest takes with sanitizers; to try everything takes
  // longer than anybody waits.
  const auto begin = std::chrono::steady_clock::now();
  CHECK(Like(text, many));
  CHECK(!Like(text, many + "b"));
  CHECK(!Like(text, searched));
  CHECK(!Like(text, literal));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE("OMS-FILTER-003: a pattern that means nothing is refused") {
  LikePattern like;

  CHECK(like.Compile("a!b", "!")->offset == 1);
  CHECK(like.Compile("a!", "!")->offset == 1);
  CHECK(!like.Compile("!!", "!"));
  CHECK(!like.Compile(std::string(500, '_') + "%" + std::string(500, '_'), ""));
  CHECK(like.Compile("%" + std::string(65, '_') + "%", "").has_value());
  CHECK(!like.Compile("%" + std::string(64, '_') + "%", ""));
  CHECK(!like.Compile("%" + std::string(500, 'x') + "%", ""));
}

}  // namespace openmessaging::inline v0::kit::like_pattern_test
