// SPDX-License-Identifier: Apache-2.0
//
// Tests of filters on expressions and messages made by a seed: against another
// evaluation, which walks over the tree that the text was made from, against
// the laws of the logic, and on bytes that are no expression.

#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "doctest/doctest.h"
#include "filter_maker.h"
#include "openmessaging/kit/filter.h"
#include "openmessaging/message.h"

namespace openmessaging::inline v0::kit::filter_laws_test {
namespace {

using filter_maker::FilterMaker;
using filter_maker::TruthOfLogic;

constexpr unsigned kSeed = 20262;

FilterMaker MakerOf(std::mt19937& random) {
  return FilterMaker([&random](size_t count) { return random() % count; });
}

// Returns: nothing where the types can never be right, which is refused.
std::optional<Truth> Evaluate(const std::string& expression,
                              const Message& message) {
  const auto filter = Filter::Compile(expression);
  if (filter.ok()) return filter->Evaluate(message);
  const std::string text(filter.status().message());
  CAPTURE(text);
  CAPTURE(expression);
  CHECK(text.find("OMS-FILTER-002") != std::string::npos);
  return std::nullopt;
}

}  // namespace

TEST_CASE("OMS-FILTER-003: random expressions mean what their tree means") {
  MESSAGE("seed " << kSeed);
  std::mt19937 random(kSeed);
  int compiled = 0;
  int counts[3] = {};

  for (int i = 0; i < 20000; ++i) {
    FilterMaker maker = MakerOf(random);
    const FilterMaker::Condition made = maker.MakeCondition(3);
    CAPTURE(i);
    CAPTURE(made.text);

    const auto truth = Evaluate(made.text, maker.message());

    if (!truth) continue;
    ++compiled;
    ++counts[static_cast<int>(*truth)];
    CHECK(*truth == TruthOfLogic(made.logic));
  }

  // It was worth something.
  CHECK(compiled > 8000);
  for (const int count : counts) CHECK(count > 1000);
}

TEST_CASE("OMS-FILTER-003: the laws of the logic hold") {
  MESSAGE("seed " << kSeed);
  std::mt19937 random(kSeed);
  int compared = 0;
  const auto check_same = [&](const Message& message, const std::string& left,
                              const std::string& right) {
    CAPTURE(left);
    CAPTURE(right);
    const auto truth = Evaluate(left, message);
    const auto other = Evaluate(right, message);
    // Types may be known to be wrong in one form only.
    if (!truth || !other) return;
    CHECK(*truth == *other);
    ++compared;
  };

  for (int i = 0; i < 3000; ++i) {
    FilterMaker maker = MakerOf(random);
    const Message& message = maker.message();
    const std::string p = "(" + maker.MakeCondition(2).text + ")";
    const std::string q = "(" + maker.MakeCondition(2).text + ")";
    const std::string x = maker.MakeValue(1, false).text;
    const std::string y = maker.MakeValue(1, false).text;
    const std::string z = maker.MakeValue(1, false).text;

    check_same(message, "NOT(" + p + "AND" + q + ")", "NOT" + p + "OR NOT" + q);
    check_same(message, "NOT(" + p + "OR" + q + ")", "NOT" + p + "AND NOT" + q);
    check_same(message, "NOT NOT" + p, p);
    check_same(message, p + "AND" + q, q + "AND" + p);
    check_same(message, p + "OR" + q + "AND" + p, p);
    check_same(message, x + "<" + y, "NOT " + x + ">=" + y);
    check_same(message, x + "=" + y, y + "=" + x);
    check_same(message, x + " BETWEEN " + y + " AND " + z,
               x + ">=" + y + " AND " + x + "<=" + z);
    check_same(message, x + " NOT BETWEEN " + y + " AND " + z,
               "NOT(" + x + " BETWEEN " + y + " AND " + z + ")");
    check_same(message, x + " IN (1, 'a', 2.25)",
               x + "=1 OR " + x + "='a' OR " + x + "=2.25");
    check_same(message, "g NOT LIKE '%a_'", "NOT (g LIKE '%a_')");
  }

  CHECK(compared > 15000);
}

TEST_CASE("OMS-FILTER-008: no bytes do harm") {
  MESSAGE("seed " << kSeed);
  std::mt19937 random(kSeed);
  const Message message("orders", "body");
  constexpr const char* kPieces[] = {
      "a",     "b.c",   " AND ",  " OR ", "NOT ",  "(",
      ")",     "'x'",   "1",      "2.5",  " IN (", " BETWEEN ",
      " LIKE", "'%_!'", "ESCAPE", "'!'",  "=",     "<>",
      "<",     "+",     "-",      "*",    "/",     ",",
      "IS ",   "NULL",  "\"",     "'",    "\xC3",  "\xE2\x82\xAC",
      "TRUE",  "\n"};
  int good = 0;

  for (int i = 0; i < 60000; ++i) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) {
      if (random() % 20 == 0) {
        text += static_cast<char>(random());
      } else {
        text += kPieces[random() % std::size(kPieces)];
      }
    }
    const auto filter = Filter::Compile(text);
    if (filter.ok()) {
      ++good;
      static_cast<void>(filter->Evaluate(message));
      continue;
    }
    const auto column = FilterErrorColumn(filter.status());
    CAPTURE(text);
    REQUIRE(column.has_value());
    CHECK(*column >= 1);
    CHECK(*column <= text.size() + 1);
  }

  CHECK(good > 100);
}

TEST_CASE("OMS-FILTER-008: damaged properties end where the damage is") {
  std::mt19937 random(kSeed);
  const auto filter = Filter::Compile(
      "a = 1 AND b LIKE '%x' OR c IN ('y') OR message_id = 'z' OR d");
  REQUIRE(filter.ok());

  for (int i = 0; i < 20000; ++i) {
    std::string bytes;
    for (size_t n = random() % 40; n > 0; --n) {
      bytes += static_cast<char>(random() % 3 == 0 ? random() : random() % 10);
    }
    Message message("orders", "body");
    message.SetProperties(KeyValueView(bytes));
    static_cast<void>(filter->Evaluate(message));
  }
}

}  // namespace openmessaging::inline v0::kit::filter_laws_test
