// SPDX-License-Identifier: Apache-2.0
//
// KeyValue, KeyValueView and Value: types, conversions, editing, encoded form.

#include "openmessaging/key_value.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::key_value_test {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;

static_assert(sizeof(Value) <= 24);
static_assert(std::forward_iterator<KeyValueView::Iterator>);
static_assert(std::ranges::forward_range<KeyValue>);
static_assert(std::is_convertible_v<long long, Value>);
static_assert(!std::is_constructible_v<Value, unsigned>);
static_assert(!std::is_constructible_v<Value, char>);
static_assert(!std::is_constructible_v<Value, wchar_t>);
static_assert(!std::is_constructible_v<Value, void*>);
static_assert(!std::is_constructible_v<Value, std::nullptr_t>);

// A collection of the entries given; the test ends when one is refused.
KeyValue Make(
    std::initializer_list<std::pair<std::string_view, Value>> entries) {
  KeyValue result;
  for (const auto& [key, value] : entries) REQUIRE(result.Put(key, value).ok());
  return result;
}

// Reads one value, which is not a view, through Put and Parse.
template <typename T>
T RoundTrip(T value) {
  static_assert(std::is_arithmetic_v<T> || std::is_same_v<T, std::string>);
  const KeyValue source = Make({{"k", Value(value)}});
  const auto parsed = KeyValueView::Parse(source.encoded());
  REQUIRE(parsed.ok());
  const auto result = parsed->Get<T>("k");
  REQUIRE(result.ok());
  return *result;
}

std::vector<std::string> Keys(KeyValueView view) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : view) keys.emplace_back(key);
  return keys;
}

// A flat collection wrapped `levels` - 1 times.
KeyValue Nested(int levels) {
  KeyValue result = Make({{"leaf", 1}});
  for (int i = 1; i < levels; ++i) {
    KeyValue outer;
    REQUIRE(outer.Put("n", result).ok());
    result = std::move(outer);
  }
  return result;
}

// The same, past what Put allows.
std::string NestedBytes(int levels) {
  std::string bytes(KeyValue(Nested(1)).encoded());
  for (int i = 1; i < levels; ++i) {
    const Value inner(KeyValueView{bytes});
    std::string outer(internal::EncodedEntrySize("n", inner), '\0');
    internal::EncodeEntry(outer.data(), "n", inner);
    bytes = std::move(outer);
  }
  return bytes;
}

KeyValue Sample() {
  return Make({{"bool", true},
               {"bytes", Bytes{"\x00\xFF\x80"sv}},
               {"double", -2.5},
               {"float", 1.5f},
               {"int16", int16_t{-2}},
               {"int32", 70000},
               {"int64", int64_t{-5000000000}},
               {"nested", Nested(3)},
               {"string", "gr\u00FC\u00DFe"}});
}

// Reads everything that can be read, so that a sanitizer sees every access.
// Returns: a number that depends on all of it.
size_t Touch(KeyValueView view, int levels = 12) {
  size_t sum = view.size() + static_cast<size_t>(view.Depth());
  for (const auto& [key, value] : view) {
    sum += key.size() + std::hash<std::string_view>()(key);
    sum += view.Find(key).has_value() ? 1u : 0u;
    sum += value.As<bool>().value_or(false) ? 1u : 0u;
    sum += static_cast<size_t>(value.As<int64_t>().value_or(0));
    sum += std::isnan(value.As<double>().value_or(0)) ? 1u : 0u;
    sum += std::hash<std::string>()(value.As<std::string>().value_or(""));
    sum +=
        std::hash<std::string_view>()(value.As<Bytes>().value_or(Bytes{}).data);
    if (const auto nested = value.As<KeyValueView>(); nested && levels > 0) {
      sum += Touch(*nested, levels - 1);
    }
  }
  return sum;
}

TEST_CASE("OMS-KV-001: each integer type round trips at its limits") {
  CHECK(RoundTrip(true) == true);
  CHECK(RoundTrip(false) == false);
  for (const int n : {INT16_MIN, -1, 0, 1, 255, 256, INT16_MAX}) {
    CHECK(RoundTrip(static_cast<int16_t>(n)) == n);
  }
  for (const int32_t n : {INT32_MIN, -1, 0, 1, 65536, INT32_MAX}) {
    CHECK(RoundTrip(n) == n);
  }
  for (const int64_t n :
       {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1} << 32, INT64_MAX}) {
    CHECK(RoundTrip(n) == n);
  }
}

TEST_CASE("OMS-KV-001: floating point round trips with NaN and minus zero") {
  using Float = std::numeric_limits<float>;
  using Double = std::numeric_limits<double>;
  for (const float x : {Float::lowest(), Float::max(), Float::denorm_min(),
                        Float::infinity(), -Float::infinity(), 0.0f, 0.1f}) {
    CHECK(RoundTrip(x) == x);
  }
  for (const double x : {Double::lowest(), Double::max(), Double::denorm_min(),
                         Double::infinity(), -Double::infinity(), 0.0, 0.1}) {
    CHECK(RoundTrip(x) == x);
  }
  CHECK(std::isnan(RoundTrip(Float::quiet_NaN())));
  CHECK(std::isnan(RoundTrip(Double::quiet_NaN())));
  CHECK(std::signbit(RoundTrip(-0.0)));
  CHECK(std::signbit(RoundTrip(-0.0f)));
  CHECK(Make({{"x", Double::quiet_NaN()}}) ==
        Make({{"x", Double::quiet_NaN()}}));
  CHECK_FALSE(Make({{"x", 0.0}}) == Make({{"x", -0.0}}));
}

TEST_CASE("OMS-KV-001: text and bytes round trip from empty to 1 MiB") {
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes.push_back(static_cast<char>(i));
  const std::string mebibyte(1 << 20, 'x');

  CHECK(RoundTrip(""s) == "");
  CHECK(RoundTrip(mebibyte) == mebibyte);
  CHECK(RoundTrip("a\0b"s) == "a\0b"s);
  CHECK(Make({{"b", Bytes{""}}}).Get<Bytes>("b")->data == "");
  CHECK(Make({{"b", Bytes{all_bytes}}}).Get<Bytes>("b")->data == all_bytes);
  for (const size_t size : {127, 128, 16383, 16384, 2097151, 2097152}) {
    const std::string text(size, 'y');
    CHECK(RoundTrip(text).size() == size);
  }
}

TEST_CASE("OMS-KV-001: a nested collection round trips") {
  const KeyValue inner = Make({{"a", 1}, {"b", "x"}});
  const KeyValue outer = Make({{"empty", KeyValue()}, {"inner", inner}});

  CHECK(outer.Get<KeyValue>("inner").value() == inner);
  CHECK(outer.Get<KeyValueView>("inner").value() == inner.view());
  CHECK(outer.Get<KeyValueView>("empty")->empty());
  CHECK(outer.Get<KeyValueView>("inner")->GetOr("b", "?") == "x");
}

TEST_CASE("OMS-KV-002: an absent key fails Get and gives the fallback") {
  const KeyValue kv = Make({{"n", 7}, {"s", "x"}});

  const auto absent = kv.Get<int32_t>("m");

  CHECK(OmsCode(absent.status()) == Code::kBadParameter);
  CHECK(absent.status().message() ==
        "get \"m\": no such key; expected int32 (OMS-KV-002)");
  CHECK(kv.GetOr("m", 42) == 42);
  CHECK(kv.GetOr("n", 42) == 7);
  CHECK(kv.GetOr("m", "none") == "none");
  CHECK(kv.GetOr("s", "none") == "x");
  CHECK(kv.GetOr<std::string>("s", "none") == "x");
  CHECK(kv.GetOr("n", "none") == "none");
  CHECK_FALSE(kv.Find("m"));
  CHECK_FALSE(KeyValue().Find(""));
}

// Whether a value can be read as each of the nine types, in ValueType's order.
std::string Readable(const Value& value) {
  std::string out;
  const auto add = [&out](bool yes) { out.push_back(yes ? 'y' : '.'); };
  add(value.As<bool>().has_value());
  add(value.As<int16_t>().has_value());
  add(value.As<int32_t>().has_value());
  add(value.As<int64_t>().has_value());
  add(value.As<float>().has_value());
  add(value.As<double>().has_value());
  add(value.As<std::string>().has_value());
  add(value.As<Bytes>().has_value());
  add(value.As<KeyValue>().has_value());
  CHECK(value.As<std::string>().has_value() ==
        value.As<std::string_view>().has_value());
  CHECK(value.As<KeyValue>().has_value() ==
        value.As<KeyValueView>().has_value());
  return out;
}

TEST_CASE("OMS-KV-003: values convert by the table and not otherwise") {
  CHECK(Readable(true) == "y........");
  CHECK(Readable(int16_t{1}) == ".yyyyy...");
  CHECK(Readable(1) == "..yy.y...");
  CHECK(Readable(int64_t{1}) == "...y.....");
  CHECK(Readable(1.0f) == "....yy...");
  CHECK(Readable(1.0) == ".....y...");
  CHECK(Readable("1") == "......y..");
  CHECK(Readable(Bytes{"1"}) == ".......y.");
  CHECK(Readable(KeyValueView()) == "........y");
}

TEST_CASE("OMS-KV-003: widening keeps the number at its limits") {
  const KeyValue kv = Make({{"f", 0.1f},
                            {"i16", INT16_MIN},
                            {"s", int16_t{INT16_MIN}},
                            {"i", INT32_MIN}});

  CHECK(kv.Get<int32_t>("s").value() == INT16_MIN);
  CHECK(kv.Get<int64_t>("s").value() == INT16_MIN);
  CHECK(kv.Get<float>("s").value() == -32768.0f);
  CHECK(kv.Get<double>("s").value() == -32768.0);
  CHECK(kv.Get<int64_t>("i").value() == INT32_MIN);
  CHECK(kv.Get<double>("i").value() == -2147483648.0);
  CHECK(kv.Get<double>("f").value() == static_cast<double>(0.1f));
}

TEST_CASE("OMS-KV-003: a lossy read names both types") {
  const auto got = Make({{"n", int64_t{1}}}).Get<int32_t>("n");

  CHECK(OmsCode(got.status()) == Code::kBadParameter);
  CHECK(got.status().message() ==
        "get \"n\": value is int64; expected a type that converts to int32 "
        "without loss (OMS-KV-003)");
}

TEST_CASE("OMS-KV-004: putting an existing key replaces value and type") {
  KeyValue kv = Make({{"a", 1}, {"b", 2}, {"c", 3}});

  REQUIRE(kv.Put("b", "a longer value than before").ok());

  CHECK(kv.size() == 3);
  CHECK(kv.Get<std::string>("b").value() == "a longer value than before");
  CHECK_FALSE(kv.Get<int32_t>("b").ok());
  CHECK(kv.Get<int32_t>("a").value() == 1);
  CHECK(kv.Get<int32_t>("c").value() == 3);

  REQUIRE(kv.Put("b", false).ok());
  CHECK(kv == Make({{"a", 1}, {"b", false}, {"c", 3}}));
}

TEST_CASE("OMS-KV-004: Remove, Contains, size and the keys agree") {
  KeyValue kv = Make({{"a", 1}, {"b", 2}, {"c", 3}});

  CHECK(kv.Remove("b"));

  CHECK_FALSE(kv.Contains("b"));
  CHECK(kv.Contains("a"));
  CHECK(kv.size() == 2);
  CHECK(Keys(kv) == std::vector<std::string>{"a", "c"});
  CHECK_FALSE(kv.Remove("b"));
  CHECK_FALSE(kv.Remove(""));
  CHECK(kv.size() == 2);
  CHECK(kv.Remove("a"));
  CHECK(kv.Remove("c"));
  CHECK(kv.empty());
  CHECK(kv.encoded().empty());
  REQUIRE(kv.Put("z", 1).ok());
  kv.Clear();
  CHECK(kv == KeyValue());
}

TEST_CASE("OMS-KV-004: random edits agree with a map") {
  std::mt19937 random(20220623);
  KeyValue kv;
  std::map<std::string, std::string> model;
  for (int step = 0; step < 20000; ++step) {
    const std::string key(1 + random() % 3,
                          static_cast<char>('a' + random() % 4));
    if (random() % 3 == 0) {
      CHECK(kv.Remove(key) == (model.erase(key) == 1));
    } else {
      const std::string text(random() % 200, 'v');
      REQUIRE(kv.Put(key, text).ok());
      model[key] = text;
    }
    REQUIRE(kv.size() == model.size());
  }

  REQUIRE(KeyValueView::Parse(kv.encoded()).ok());
  auto expected = model.begin();
  for (const auto& [key, value] : kv) {
    CHECK(key == expected->first);
    CHECK(value.As<std::string>() == expected->second);
    ++expected;
  }
  CHECK(expected == model.end());
}

TEST_CASE("OMS-KV-004: a collection takes values and keys from itself") {
  KeyValue kv = Make({{"m", "a text in the middle"}, {"z", "last"}});

  REQUIRE(kv.Put("a", *kv.Find("m")).ok());
  REQUIRE(kv.Put("m", *kv.Find("z")).ok());
  REQUIRE(kv.Put("self", kv).ok());
  REQUIRE(kv.Put((*kv.begin()).key, 1).ok());

  CHECK(kv.Get<int32_t>("a").value() == 1);
  CHECK(kv.GetOr("m", "") == "last");
  CHECK(kv.Get<KeyValueView>("self")->GetOr("a", "") == "a text in the middle");
  CHECK(kv.Remove((*kv.begin()).key));
  CHECK_FALSE(kv.Contains("a"));
}

TEST_CASE("OMS-KV-005: keys are case sensitive and an empty one is refused") {
  KeyValue kv = Make({{"Key", 1}, {"key", 2}});

  const absl::Status refused = kv.Put("", 3);

  CHECK(OmsCode(refused) == Code::kBadParameter);
  CHECK(refused.message() ==
        "put \"\": key is empty; expected at least one character (OMS-KV-005)");
  CHECK(kv.Get<int32_t>("Key").value() == 1);
  CHECK(kv.Get<int32_t>("key").value() == 2);
  CHECK_FALSE(kv.Contains("KEY"));
  CHECK(kv.size() == 2);
}

TEST_CASE("OMS-KV-006: text with any characters round trips as key and value") {
  const std::vector<std::string> samples = {
      "control \x01\x1F\x7F\t\r\n",
      "quote \" ' ` \\ / back",
      "\U0001F34E\U0001F469\u200D\U0001F680",
      "Grüße Привет 你好 שלום",
      "\0leading nul"s,
      std::string(4096, 'k'),
      "\u07FF\u0800\uD7FF\uE000",
      "\uFFFF\U00010000\U0010FFFF"};
  KeyValue kv;
  for (const std::string& text : samples) REQUIRE(kv.Put(text, text).ok());

  REQUIRE(KeyValueView::Parse(kv.encoded()).ok());
  CHECK(kv.size() == samples.size());
  for (const std::string& text : samples) {
    CHECK(kv.Get<std::string>(text).value() == text);
  }
}

TEST_CASE("OMS-KV-006: keys and strings that are not UTF-8 are refused") {
  const std::vector<std::string> samples = {"\x80",
                                            "\xC3",
                                            "\xC0\x80",
                                            "\xC1\xBF",
                                            "\xE0\x9F\xBF",
                                            "\xED\xA0\x80",
                                            "\xED\xBF\xBF",
                                            "\xEF\xBF",
                                            "\xF0\x8F\xBF\xBF",
                                            "\xF4\x90\x80\x80",
                                            "\xF5\x80\x80\x80",
                                            "\xF0\x9F\x8D",
                                            "\xFE",
                                            "\xFF",
                                            "\xC3("};
  for (const std::string& bad : samples) {
    for (const size_t padding : {0, 1, 7, 8, 9, 31}) {
      const std::string text =
          std::string(padding, 'p') + bad + std::string(padding, 'q');
      CAPTURE(internal::Printable(text));
      KeyValue kv = Make({{"keep", 1}});

      CHECK(OmsCode(kv.Put(text, 1)) == Code::kBadParameter);
      CHECK(OmsCode(kv.Put("k", text)) == Code::kBadParameter);
      CHECK(kv.Put("keep", Bytes{text}).ok());
      CHECK(kv.size() == 1);
    }
  }
  CHECK(KeyValue().Put("a\xFF\n", 1).message() ==
        "put \"a\\xff\\x0a\": key is not UTF-8; expected UTF-8 text "
        "(OMS-KV-006)");
}

TEST_CASE("OMS-KV-007: collections nest 8 levels deep and no deeper") {
  for (int levels = 1; levels <= 8; ++levels) {
    CHECK(Nested(levels).Depth() == levels);
    CHECK(KeyValueView::Parse(Nested(levels).encoded()).ok());
  }
  CHECK(KeyValue().Depth() == 1);
  KeyValue kv = Make({{"a", 1}});

  const absl::Status refused = kv.Put("n", Nested(8));

  CHECK(OmsCode(refused) == Code::kAttributesTooLarge);
  CHECK(refused.message() ==
        "put \"n\": nesting is too deep; limit is 8 levels (OMS-KV-007)");
  CHECK(kv == Make({{"a", 1}}));
}

TEST_CASE("OMS-KV-007: bytes nested far too deep cannot exhaust the stack") {
  const std::string deep = NestedBytes(20000);

  CHECK(OmsCode(KeyValueView::Parse(deep).status()) == Code::kDamaged);
  CHECK(KeyValueView(deep).Depth() == 9);
  CHECK(OmsCode(KeyValue().Put("n", KeyValueView(deep))) ==
        Code::kAttributesTooLarge);
}

TEST_CASE("OMS-KV-008: a damaged nested value is not put") {
  KeyValue kv;

  const absl::Status refused = kv.Put("n", KeyValueView("\x03\x01k\x00"sv));

  CHECK(OmsCode(refused) == Code::kBadParameter);
  CHECK(kv.empty());
}

TEST_CASE("OMS-KV-009: the encoded form is byte for byte the specified one") {
  const KeyValue kv = Make({{"t", KeyValueView(Make({{"x", true}}))},
                            {"s", "hi"},
                            {"d", 1.0},
                            {"b", Bytes{"\xFF"}},
                            {"f", 1.0f},
                            {"h", int16_t{-2}},
                            {"i", 258},
                            {"l", int64_t{1} << 40}});

  CHECK(kv.encoded() ==
        "\x08\x01"
        "b\x01\xFF"
        "\x06\x01"
        "d\x00\x00\x00\x00\x00\x00\xF0\x3F"
        "\x05\x01"
        "f\x00\x00\x80\x3F"
        "\x02\x01"
        "h\xFE\xFF"
        "\x03\x01"
        "i\x02\x01\x00\x00"
        "\x04\x01"
        "l\x00\x00\x00\x00\x00\x01\x00\x00"
        "\x07\x01"
        "s\x02hi"
        "\x09\x01"
        "t\x04\x01\x01x\x01"sv);
}

TEST_CASE("OMS-KV-009: equal content has equal bytes in any order of Put") {
  std::vector<std::pair<std::string, int>> entries;
  for (int i = 0; i < 200; ++i) {
    entries.emplace_back("key" + std::to_string(i), i);
  }
  entries.emplace_back("\u00E9", 1);  // Sorts after ASCII, as unsigned bytes.
  std::mt19937 random(7);
  std::optional<KeyValue> first;
  for (int round = 0; round < 5; ++round) {
    std::ranges::shuffle(entries, random);
    KeyValue kv;
    for (const auto& [key, n] : entries) REQUIRE(kv.Put(key, n).ok());

    if (!first) first = kv;
    CHECK(kv == *first);
  }
  CHECK(first->size() == 201);
  CHECK(std::ranges::is_sorted(Keys(*first)));
  CHECK(Keys(*first).back() == "\u00E9");
  REQUIRE(KeyValueView::Parse(first->encoded()).ok());
}

TEST_CASE("OMS-KV-010: a copy is independent of its source") {
  KeyValue source = Make({{"a", 1}});
  KeyValue copy = source;
  const KeyValue from_view(source.view());

  REQUIRE(source.Put("a", 2).ok());
  REQUIRE(copy.Put("b", 3).ok());

  CHECK(source == Make({{"a", 2}}));
  CHECK(copy == Make({{"a", 1}, {"b", 3}}));
  CHECK(from_view == Make({{"a", 1}}));
}

TEST_CASE("OMS-KV-008: every truncation is rejected or a shorter collection") {
  const KeyValue whole = Sample();
  const std::string_view sample = whole.encoded();
  size_t accepted = 0;
  for (size_t size = 0; size < sample.size(); ++size) {
    // A copy of exactly that size, so that a sanitizer sees the first byte
    // that is read beyond it.
    const std::vector<char> cut(sample.begin(),
                                sample.begin() + static_cast<ptrdiff_t>(size));
    const std::string_view bytes(cut.data(), cut.size());

    Touch(KeyValueView(bytes));
    const auto parsed = KeyValueView::Parse(bytes);
    if (!parsed.ok()) {
      CHECK(OmsCode(parsed.status()) == Code::kDamaged);
      continue;
    }
    ++accepted;
    // Cut between two entries: what is left is the first of them, unharmed.
    for (const auto& [key, value] : *parsed) {
      CHECK(whole.Find(key) == value);
    }
  }
  CHECK(accepted == whole.size());
}

TEST_CASE("OMS-KV-008: every change of one byte is rejected or reads safely") {
  const std::string sample(Sample().encoded());
  size_t rejected = 0;
  size_t accepted = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    for (int change = 1; change < 256; ++change) {
      std::vector<char> bytes(sample.begin(), sample.end());
      bytes[i] = static_cast<char>(bytes[i] ^ change);
      const std::string_view mutant(bytes.data(), bytes.size());

      Touch(KeyValueView(mutant));
      const auto parsed = KeyValueView::Parse(mutant);
      if (!parsed.ok()) {
        ++rejected;
        continue;
      }
      ++accepted;
      // What Parse accepts is exactly what Put writes.
      KeyValue rebuilt;
      for (const auto& [key, value] : *parsed) {
        REQUIRE(rebuilt.Put(key, value).ok());
      }
      REQUIRE(rebuilt.encoded() == mutant);
    }
  }
  CHECK(rejected > 0);
  CHECK(accepted > 0);
}

TEST_CASE("OMS-KV-008: random bytes are rejected or read safely") {
  std::mt19937 random(4711);
  for (int round = 0; round < 20000; ++round) {
    std::vector<char> bytes(random() % 40);
    for (char& byte : bytes) {
      // Small numbers, which are types and lengths, come often.
      byte = static_cast<char>(random() % (random() % 2 == 0 ? 12 : 256));
    }
    const std::string_view text(bytes.data(), bytes.size());

    Touch(KeyValueView(text));
    KeyValue edited{KeyValueView(text)};
    REQUIRE(edited.Put("k", "value").ok());
    edited.Remove("k");
    Touch(edited);
  }
}

TEST_CASE("OMS-KV-008: malformed entries are rejected by name and place") {
  const auto why = [](std::string_view bytes) {
    return std::string(KeyValueView::Parse(bytes).status().message());
  };
  constexpr std::string_view kCut = "an entry is malformed or cut off, at byte";

  CHECK(why("\x01\x01z\x01\x01\x01k\x02"sv) ==
        "parse key values \"8 bytes\": keys are not in order, at byte 4; "
        "expected sorted entries, at most 8 levels deep (OMS-KV-008)");
  CHECK(why("\x01\x01k\x02"sv).find("neither 0 nor 1, at byte 0") !=
        std::string::npos);
  CHECK(why("\x01\x01k\x01\x01\x01k\x01"sv).find("not in order, at byte 4") !=
        std::string::npos);
  CHECK(why("\x01\x00\x01"sv).find("a key is empty") != std::string::npos);
  CHECK(why("\x01\x01\xFF\x01"sv).find("a key is not UTF-8") !=
        std::string::npos);
  CHECK(why("\x07\x01k\x01\xFF"sv).find("a string is not UTF-8") !=
        std::string::npos);
  CHECK(why("\x09\x01k\x04\x01\x01x\x02"sv).find("at byte 4") !=
        std::string::npos);
  // Types 0 and 10; a length of 2^32 - 1, of 2^35, one not in shortest form.
  for (const std::string_view bytes :
       {"\x00\x01k"sv, "\x0A\x01k\x01"sv, "\x07\x01k\xFF\xFF\xFF\xFF\x0Fx"sv,
        "\x07\x01k\xFF\xFF\xFF\xFF\x7Fx"sv, "\x07\x01k\x81\x00x"sv,
        "\x07\xFF\xFF\xFF\xFF\xFF\xFF\xFF"sv}) {
    CHECK(why(bytes).find(kCut) != std::string::npos);
    CHECK(KeyValueView(bytes).empty());
  }
  CHECK(KeyValueView::Parse("").ok());
}

TEST_CASE("OMS-KV-009: LocateEntry gives the span that EncodeEntry fills") {
  const KeyValue kv = Make({{"b", 1}, {"d", "text"}});
  const std::string_view bytes = kv.encoded();

  const auto found = internal::LocateEntry(bytes, "d");
  const auto before = internal::LocateEntry(bytes, "a");
  const auto between = internal::LocateEntry(bytes, "c");
  const auto after = internal::LocateEntry(bytes, "e");

  CHECK(found.found);
  CHECK(found.begin == 7);
  CHECK(found.end == bytes.size());
  CHECK(found.end - found.begin ==
        internal::EncodedEntrySize("d", Value("text")));
  CHECK_FALSE(before.found);
  CHECK(before.begin == 0);
  CHECK(before.end == 0);
  CHECK_FALSE(between.found);
  CHECK(between.begin == 7);
  CHECK_FALSE(after.found);
  CHECK(after.begin == bytes.size());
}

}  // namespace
}  // namespace openmessaging::key_value_test
