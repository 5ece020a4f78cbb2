// SPDX-License-Identifier: Apache-2.0
//
// Tests of what each part of a filter means, of its limits and its errors.

#include "openmessaging/kit/filter.h"

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"

namespace openmessaging::inline v0::kit::filter_test {
namespace {

struct Case {
  const char* expression;
  Truth truth;
};
constexpr Truth kT = Truth::kTrue;
constexpr Truth kF = Truth::kFalse;
constexpr Truth kU = Truth::kUnknown;

void Set(Message& message, std::string_view key, const Value& value) {
  REQUIRE(message.SetProperty(key, value).ok());
}

// Has a property of every type.
Message MakeMessage() {
  Message message("orders", "body");
  Set(message, "yes", true);
  Set(message, "no", false);
  Set(message, "short", int16_t{7});
  Set(message, "int", int32_t{-3});
  Set(message, "long", int64_t{9007199254740993});
  Set(message, "most", std::numeric_limits<int64_t>::max());
  Set(message, "least", std::numeric_limits<int64_t>::min());
  Set(message, "half", 0.5F);
  Set(message, "double", 2.25);
  Set(message, "nan", std::nan(""));
  Set(message, "infinite", std::numeric_limits<double>::infinity());
  Set(message, "city", "K\xC3\xB6ln");
  Set(message, "empty", "");
  Set(message, "quote", "it's");
  Set(message, "digits", "7");
  Set(message, "bytes", Bytes{"x"});
  Set(message, "nested", KeyValue());
  Set(message, "Case", 1);
  Set(message, "case", 2);
  Set(message, "a.b", 3);
  Set(message, "content-type", "json");
  Set(message, "AND", 4);
  Set(message, "$_x9", 5);
  Set(message, "say \"hi\"", 6);
  return message;
}

void CheckAll(const Message& message, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    CAPTURE(std::string(one.expression).substr(0, 100));
    const auto filter = Filter::Compile(one.expression);
    REQUIRE_MESSAGE(filter.ok(), std::string(filter.status().message()));
    CHECK(TruthName(filter->Evaluate(message)) == TruthName(one.truth));
    CHECK(filter->Matches(message) == (one.truth == Truth::kTrue));
    // The one form means the same, and is the one form of itself.
    const auto again = Filter::Compile(filter->text());
    REQUIRE_MESSAGE(again.ok(), std::string(again.status().message()));
    CHECK(again->text() == filter->text());
    CHECK(again->Evaluate(message) == one.truth);
  }
}

struct Wrong {
  std::string expression;
  size_t column;
  const char* part;
};

void CheckWrong(const Wrong& wrong) {
  CAPTURE(wrong.expression.substr(0, 100));
  const auto filter = Filter::Compile(wrong.expression);
  REQUIRE(!filter.ok());
  const std::string text(filter.status().message());
  CAPTURE(text);
  CHECK(OmsCode(filter.status()) == Code::kBadParameter);
  CHECK(FilterErrorColumn(filter.status()) == wrong.column);
  CHECK(text.starts_with("compile filter \""));
  CHECK(text.find("at column " + std::to_string(wrong.column) + ";") !=
        std::string::npos);
  CHECK(text.find(wrong.part) != std::string::npos);
  CHECK(text.find("(OMS-FILTER-00") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

std::string Repeat(size_t count, std::string_view text) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("OMS-FILTER-001: comparisons work on what is of one kind") {
  CheckAll(MakeMessage(), {{"short = 7", kT},
                           {"short <> 7", kF},
                           {"short < 8", kT},
                           {"short <= 7", kT},
                           {"short > 7", kF},
                           {"short >= 8", kF},
                           {"int = -3", kT},
                           {"int = -3L", kT},
                           {"half = 0.5", kT},
                           {"half = .5", kT},
                           {"half = 5e-1", kT},
                           {"half = 5E-1d", kT},
                           {"half = 0.5f", kT},
                           {"double > 2", kT},
                           {"double = 225e-2", kT},
                           {"short = 7.", kT},
                           {"short = 7d", kT},
                           {"7 = short", kT},
                           {"city = 'K\xC3\xB6ln'", kT},
                           {"city <> 'Bonn'", kT},
                           {"city > 'Kz'", kT},
                           {"city < 'L'", kT},
                           {"empty = ''", kT},
                           {"quote = 'it''s'", kT},
                           {"yes = TRUE", kT},
                           {"yes = no", kF},
                           {"yes <> FALSE", kT},
                           {"yes", kT},
                           {"NOT no", kT},
                           {"TRUE", kT},
                           {"(short = 7) = yes", kT},
                           {"(short = 8) <> yes", kT}});
}

TEST_CASE("OMS-FILTER-002: what is of another kind is never converted") {
  CheckAll(MakeMessage(), {{"digits = 7", kU},
                           {"digits <> 7", kU},
                           {"NOT digits = 7", kU},
                           {"digits + 1 = 8", kU},
                           {"digits = '7'", kT},
                           {"short = '7'", kU},
                           {"yes = 1", kU},
                           {"yes = 'TRUE'", kU},
                           {"yes < no", kU},
                           {"short", kU},
                           {"digits", kU},
                           {"bytes = 'x'", kU},
                           {"nested = 1", kU},
                           {"short LIKE '7'", kU},
                           {"digits BETWEEN 1 AND 9", kU},
                           {"digits IN (6, 7)", kU}});
}

TEST_CASE("OMS-FILTER-002: numbers compare as the numbers that they are") {
  // As a double, 9007199254740993 is 9007199254740992.
  CheckAll(MakeMessage(), {{"long = 9007199254740993", kT},
                           {"long = 9007199254740992.0", kF},
                           {"long > 9007199254740992.0", kT},
                           {"9007199254740992.0 < long", kT},
                           {"most = 9223372036854775807", kT},
                           {"most < 9223372036854775808.0", kT},
                           {"least = -9223372036854775808", kT},
                           {"least = -9223372036854775808.0", kT},
                           {"least > -1e300", kT},
                           {"most < infinite", kT},
                           {"infinite = infinite", kT},
                           {"int < -2.5", kT},
                           {"int > -3.5", kT},
                           {"nan = nan", kU},
                           {"nan <> 1", kU},
                           {"1 < nan", kU},
                           {"nan IN (1, 2)", kU},
                           {"nan IS NULL", kF}});
}

TEST_CASE("OMS-FILTER-003: AND OR and NOT have three values and precedence") {
  CheckAll(MakeMessage(),
           {{"yes AND yes", kT},        {"yes AND no", kF},
            {"yes AND none", kU},       {"no AND none", kF},
            {"none AND no", kF},        {"none AND none", kU},
            {"yes OR none", kT},        {"none OR yes", kT},
            {"no OR none", kU},         {"no OR no", kF},
            {"NOT none", kU},           {"NOT (NOT yes)", kT},
            {"NOT NOT yes", kT},        {"yes OR no AND no", kT},
            {"(yes OR no) AND no", kF}, {"NOT no AND no", kF},
            {"NOT (no AND no)", kT},    {"NOT short = 8", kT},
            {"no OR no OR yes", kT},    {"yes AND yes AND no", kF}});
}

TEST_CASE("OMS-FILTER-003: BETWEEN IN and their negations are comparisons") {
  CheckAll(MakeMessage(), {{"short BETWEEN 7 AND 7", kT},
                           {"short BETWEEN 8 AND 9", kF},
                           {"short NOT BETWEEN 8 AND 9", kT},
                           {"short BETWEEN none AND 3", kF},
                           {"short BETWEEN none AND 9", kU},
                           {"short NOT BETWEEN none AND 3", kT},
                           {"none BETWEEN 1 AND 2", kU},
                           {"short + 1 BETWEEN 2 * 4 AND 9 AND yes", kT},
                           {"city BETWEEN 'K' AND 'L'", kT},
                           {"short IN (1, 7, 9)", kT},
                           {"short IN (7.0)", kT},
                           {"short IN (1, -7)", kF},
                           {"int IN (1, -3)", kT},
                           {"short NOT IN (1, 9)", kT},
                           {"short IN (1, 'a')", kU},
                           {"short NOT IN ('a', 7)", kF},
                           {"city IN ('Bonn', 'K\xC3\xB6ln')", kT},
                           {"city NOT IN ('Bonn')", kT},
                           {"yes IN (TRUE)", kT},
                           {"yes IN (FALSE)", kF},
                           {"none IN (1)", kU},
                           {"none NOT IN (1)", kU},
                           {"bytes IN ('x')", kU}});
}

TEST_CASE("OMS-FILTER-003: LIKE knows wildcards and an escape") {
  CheckAll(MakeMessage(), {{"city LIKE 'K%'", kT},
                           {"city LIKE 'K_ln'", kT},
                           {"city LIKE 'K__ln'", kF},
                           {"city LIKE '%'", kT},
                           {"empty LIKE '%'", kT},
                           {"empty LIKE ''", kT},
                           {"empty LIKE '_'", kF},
                           {"city NOT LIKE 'B%'", kT},
                           {"city NOT LIKE 'K%'", kF},
                           {"quote LIKE '%''s'", kT},
                           {"none LIKE '%'", kU},
                           {"none NOT LIKE '%'", kU},
                           {"digits LIKE '!%' ESCAPE '!'", kF},
                           {"city LIKE 'K\xC3\xB6%' ESCAPE '\xC3\xBC'", kT},
                           {"'50%' LIKE '50\xC3\xBC%' ESCAPE '\xC3\xBC'", kT},
                           {"'500' LIKE '50\xC3\xBC%' ESCAPE '\xC3\xBC'", kF},
                           {"'a!b' NOT LIKE 'a!!_' ESCAPE '!'", kF}});
}

TEST_CASE("OMS-FILTER-004: what is absent is null and what is there is not") {
  CheckAll(MakeMessage(), {{"none IS NULL", kT},
                           {"none IS NOT NULL", kF},
                           {"short IS NULL", kF},
                           {"short IS NOT NULL", kT},
                           {"bytes IS NOT NULL", kT},
                           {"nested IS NULL", kF},
                           {"empty IS NULL", kF},
                           {"none = none", kU},
                           {"none <> 1", kU},
                           {"none + 1 = 2", kU},
                           {"- none = 1", kU},
                           {"NOT none IS NULL", kF}});
  CheckAll(Message(), {{"a IS NULL", kT}, {"a = 1", kU}, {"TRUE", kT}});
}

TEST_CASE("OMS-FILTER-005: arithmetic has an answer for everything") {
  CheckAll(MakeMessage(), {{"short + 1 = 8", kT},
                           {"short - 1 - 2 = 4", kT},
                           {"short - (1 - 2) = 8", kT},
                           {"2 + 3 * 4 = 14", kT},
                           {"(2 + 3) * 4 = 20", kT},
                           {"7 / 2 = 3", kT},
                           {"-7 / 2 = -3", kT},
                           {"7 / 2.0 = 3.5", kT},
                           {"8 / 2 / 2 = 2", kT},
                           {"8 / (2 / 2) = 8", kT},
                           {"- short = -7", kT},
                           {"+ short = 7", kT},
                           {"- - short = 7", kT},
                           {"-(short + 1) * 2 = -16", kT},
                           {"-9223372036854775808 = least", kT},
                           {"most + 1 > 0", kU},
                           {"least - 1 < 0", kU},
                           {"most * 2 > 0", kU},
                           {"- least > 0", kU},
                           {"- -9223372036854775808 > 0", kU},
                           {"least / -1 > 0", kU},
                           {"short / 0 = 0", kU},
                           {"short / 0.0 > 0", kU},
                           {"half / 0 > 0", kU},
                           {"1e308 * 10 > 0", kU},
                           {"infinite + 1 > 0", kU},
                           {"nan + 1 = 1", kU},
                           {"most + 1.0 > most", kT},
                           {"short / 0 = 0 OR yes", kT}});
}

TEST_CASE("OMS-FILTER-006: names are case sensitive and keywords are not") {
  CheckAll(MakeMessage(), {{"Case = 1 And case = 2 aNd CASE is nUll", kT},
                           {"not no oR \t\r\n\f\v no", kT},
                           {"short between 7 and 7 and city like 'K%'", kT},
                           {"yes=true and no=FALSE", kT},
                           {"a.b = 3", kT},
                           {"$_x9 = 5", kT},
                           {"\"content-type\" = 'json'", kT},
                           {"\"AND\" = 4", kT},
                           {"\"say \"\"hi\"\"\" = 6", kT},
                           {"\"short\" = 7", kT},
                           {"notes IS NULL", kT},
                           {"  (short=7)  ", kT},
                           {"short IN(7)AND yes", kT}});
}

TEST_CASE("OMS-FILTER-007: header fields have names and properties hide them") {
  Message message("orders", "body");
  message.SetMessageKey("k1")
      .SetCorrelationId("c1")
      .SetReplyTo("answers")
      .SetDeduplicationId("d1")
      .SetCompression("zstd")
      .SetTraceparent("00-a")
      .SetTracestate("b=c")
      .SetPriority(9)
      .SetQos(Qos::kAtMostOnce)
      .SetDurability(Durability::kDisk)
      .SetDelay(std::chrono::seconds(2))
      .SetExpireAt(std::chrono::milliseconds(1700000000000))
      .SetPartition(3);
  Set(message, "reply_to", 5);

  CheckAll(message, {{"destination = 'orders'", kT},
                     {"message_key = 'k1'", kT},
                     {"correlation_id = 'c1'", kT},
                     {"reply_to = 5", kT},
                     {"deduplication_id = 'd1'", kT},
                     {"compression = 'zstd'", kT},
                     {"traceparent = '00-a' AND tracestate = 'b=c'", kT},
                     {"priority = 9", kT},
                     {"qos = 1", kT},
                     {"durability = 'disk'", kT},
                     {"delay = 2000", kT},
                     {"expire_at = 1700000000000", kT},
                     {"partition = 3", kT},
                     {"delivery_count IS NULL", kT},
                     {"offset IS NULL", kT},
                     {"message_id IS NULL AND origin_id IS NULL", kT},
                     {"store_timestamp IS NULL", kT},
                     {"transaction_id IS NULL", kT},
                     {"version = '1.0.0'", kT},
                     {"body IS NULL", kT}});
  CheckAll(Message("orders", ""),
           {{"priority = 5 AND qos = 0", kT},
            {"durability IS NULL AND delay IS NULL", kT},
            {"expire_at IS NULL AND partition IS NULL", kT},
            {"message_key IS NULL AND reply_to IS NULL", kT}});
}

TEST_CASE("OMS-FILTER-007: what a driver says of a message has names too") {
  Message message("orders", "body");
  driver::MessageAccess::SetDelivery(message, {.partition = 2,
                                               .offset = 40,
                                               .store_timestamp_ms = 1234,
                                               .delivery_count = 3});
  driver::MessageAccess::SetField(message, driver::Field::kMessageId, "m-1");
  driver::MessageAccess::SetField(message, driver::Field::kOriginId, "m-0");
  driver::MessageAccess::SetField(message, driver::Field::kBornHost, "h1");

  CheckAll(message, {{"partition = 2 AND offset = 40", kT},
                     {"store_timestamp = 1234", kT},
                     {"born_timestamp = 1234", kT},
                     {"delivery_count = 3", kT},
                     {"message_id = 'm-1'", kT},
                     {"origin_id LIKE 'm-_'", kT},
                     {"born_host = 'h1'", kT}});
}

TEST_CASE("OMS-FILTER-008: an error says what where and what else") {
  const std::vector<Wrong> all = {
      {"", 1, "unexpected end at column 1; expected a value"},
      {"  \t", 4, "unexpected end"},
      {"a >", 4, "expected a value"},
      {"a > >", 5, "unexpected \">\""},
      {"a b", 3, "expected an operator, AND, OR or the end"},
      {"a = 1 b", 7, "expected an operator, AND, OR or the end"},
      {"a = b = c", 7, "unexpected \"=\""},
      {"(a = 1", 7, "AND, OR or \")\""},
      {"a = 1)", 6, "unexpected \")\""},
      {"a NOT 1", 7, "BETWEEN, IN or LIKE"},
      {"a IS 1", 6, "NULL or NOT NULL"},
      {"a IS NOT 1", 6, "NULL or NOT NULL"},
      {"a BETWEEN 1 OR 2", 13, "expected an operator or AND"},
      {"a IN 1", 6, "expected \"(\""},
      {"a IN ()", 7, "expected a literal"},
      {"a IN (b)", 7, "expected a literal"},
      {"a IN (1 2)", 9, "expected \")\" or \",\""},
      {"a IN (1, )", 10, "expected a literal"},
      {"a LIKE b", 8, "expected a string"},
      {"a LIKE 'x' ESCAPE", 18, "expected a string"},
      {"a LIKE 'x' ESCAPE ''", 19, "not one character"},
      {"a LIKE 'x' ESCAPE 'xy'", 19, "not one character"},
      {"a LIKE '%!x' ESCAPE '!'", 10, "the escape stands before no wildcard"},
      {"a LIKE '''!' ESCAPE '!'", 11, "the escape stands before no wildcard"},
      {"a LIKE '%" + Repeat(64, "x") + "_%'", 9, "more than 64 characters"},
      {"a = NULL", 5, "IS NULL"},
      {"a != 1", 3, "<>"},
      {"a == 1", 3, "the sign for equal"},
      {"a = 'b", 5, "a quote that is not closed"},
      {"a = \"b", 5, "a quote that is not closed"},
      {"\"\" = 1", 1, "an empty name"},
      {"a = 12x", 5, "unexpected \"12x\""},
      {"a = 1.2.3", 5, "unexpected \"1.2.3\""},
      {"a = 0x1F", 5, "unexpected \"0x1F\""},
      {"a = 017", 5, "begins with 0"},
      {"a = 9223372036854775808", 5, "too large"},
      {"a = -9223372036854775809", 6, "too large"},
      {"a = 9223372036854775808 OR b = 9223372036854775808", 32, "too large"},
      {"a = 1e999", 5, "out of range"},
      {"NOT", 4, "expected a value"},
      {"a AND", 6, "expected a value"},
      {"a AND OR b", 7, "unexpected \"OR\""},
      {"a = \xC3\xA4", 5, "unexpected \"\\xc3\\xa4\""},
      {"a = '\xC3\xA4' 5", 9, "unexpected \"5\""},
      {"a = '\xFF'", 6, "bytes that are not UTF-8"},
      {"a =\n\n b c", 9, "unexpected \"c\""},
  };

  for (const Wrong& wrong : all) CheckWrong(wrong);
}

TEST_CASE("OMS-FILTER-008: what can never have a type is refused") {
  const std::vector<Wrong> all = {
      {"1 + 2", 1, "a number at column 1; expected a condition"},
      {"'a'", 1, "a string at column 1; expected a condition"},
      {"a AND 1", 7, "expected a condition"},
      {"1 OR a", 1, "expected a condition"},
      {"NOT (1 + b)", 6, "expected a condition"},
      {"a + 1", 1, "expected a condition"},
      {"- a", 1, "expected a condition"},
      {"1 = 'a'", 5, "a string at column 5; expected a number"},
      {"'a' = 1", 7, "a number at column 7; expected a string"},
      {"a + 'b' = 1", 5, "expected a number"},
      {"- 'b' = 1", 3, "expected a number"},
      {"+ TRUE = 1", 3, "expected a number"},
      {"a * (b = 1) = 2", 6, "a condition at column 6; expected a number"},
      {"a = 1 = TRUE", 7, "unexpected \"=\""},
      {"TRUE = 1", 8, "expected a condition"},
      {"a > TRUE", 5, "a condition at column 5; expected a number or a string"},
      {"(NOT a) < b", 2, "a condition at column 2"},
      {"(a = b) < c", 2, "expected a number or a string"},
      {"a BETWEEN 1 AND 'b'", 17, "expected a number"},
      {"a BETWEEN TRUE AND b", 11, "expected a number or a string"},
      {"1 IN (2, 'a')", 10, "expected a number"},
      {"a + 1 IN ('a')", 11, "expected a number"},
      {"1 LIKE 'a'", 1, "expected a string"},
      {"a + 1 IS NULL", 1, "expected a name before IS"},
      {"1 IS NULL", 1, "expected a name before IS"},
  };

  for (const Wrong& wrong : all) CheckWrong(wrong);
}

TEST_CASE("the text of a filter is read again however deep it is") {
  const std::string nots = Repeat(63, "NOT ");
  for (const std::string& expression : {
           nots + "a",
           nots + "NOT a = 1",
           nots + "a + 1 = 2 * - b",
           nots + "NOT a NOT BETWEEN 1 AND 2",
           nots + "NOT a IS NOT NULL",
           nots + "NOT a NOT IN ('x', 'y')",
           nots + "NOT a NOT LIKE 'x'",
           Repeat(64, "- ") + "a = 1",
           Repeat(63, "- ") + "a = - 1",
           Repeat(32, "NOT (a = 1 OR ") + "b" + Repeat(32, ")"),
           Repeat(64, "(a = 1 OR b AND ") + "c" + Repeat(64, ")"),
           Repeat(64, "(1 + a * ") + "c" + Repeat(64, ")") + " > 5",
       }) {
    CAPTURE(expression);
    const auto filter = Filter::Compile(expression);
    REQUIRE(filter.ok());

    const auto again = Filter::Compile(filter->text());

    REQUIRE_MESSAGE(again.ok(), filter->text());
    CHECK(again->text() == filter->text());
  }
}

TEST_CASE("OMS-FILTER-009: limits are exact") {
  CHECK(Filter::Compile(Repeat(64, "(") + "a" + Repeat(64, ")")).ok());
  CheckWrong({Repeat(65, "(") + "a" + Repeat(65, ")"), 66,
              "more than 64 levels of nesting"});
  CHECK(Filter::Compile(Repeat(64, "NOT ") + "a").ok());
  CheckWrong({Repeat(65, "NOT ") + "a", 261, "more than 64 levels"});
  CHECK(Filter::Compile(Repeat(64, "-") + "a = 1").ok());
  CheckWrong({Repeat(20000, "-") + "a = 1", 66, "more than 64 levels"});
  CheckWrong({Repeat(30000, "("), 66, "more than 64 levels"});

  // A chain is one operator, however long it is.
  CHECK(Filter::Compile("a" + Repeat(4094, " OR a")).ok());
  CheckWrong({"a" + Repeat(4095, " OR a"), 5 * 4095 + 1, "more than 4096"});
  CHECK(Filter::Compile("a IN (1" + Repeat(4000, ",1") + ")").ok());

  std::string names = "n0";
  for (int i = 1; i < 256; ++i) names += " AND n" + std::to_string(i);
  CHECK(Filter::Compile(names).ok());
  CheckWrong({names + " AND n0 AND more", names.size() + 13,
              "more than 256 different names"});

  const auto longest = [](size_t size) {
    return "a = '" + std::string(size - 6, 'x') + "'";
  };
  CHECK(Filter::Compile(longest(Filter::kMaxBytes)).ok());
  const auto too_long = Filter::Compile(longest(Filter::kMaxBytes + 1));
  CHECK(OmsCode(too_long.status()) == Code::kBadParameter);
  CHECK(too_long.status().message().find("limit is 65536") !=
        std::string::npos);
}

TEST_CASE("OMS-FILTER-009: the most names are looked up right") {
  Message message("orders", "");
  std::string all = "n0 = 0";
  for (int i = 0; i < 300; i += 2) {
    Set(message, "n" + std::to_string(i), i);
  }
  for (int i = 1; i < 256; ++i) {
    const std::string name = "n" + std::to_string(i);
    all +=
        " AND " + name + (i % 2 == 0 ? " = " + std::to_string(i) : " IS NULL");
  }

  CheckAll(message, {{all.c_str(), kT}});
}

TEST_CASE("OMS-FILTER-006: one form has one text") {
  const auto text = [](std::string_view expression) {
    const auto filter = Filter::Compile(expression);
    REQUIRE(filter.ok());
    return filter->text();
  };

  CHECK(text("a=1 and  b<>'x'") == text("(\"a\" = 1L) AND\n(b <> 'x')"));
  CHECK(text("a IN (2, 1)") == text("a in (1,2)"));
  CHECK(text("a = 2.50") == text("a = 25e-1"));
  CHECK(text("a = 2") != text("a = 2.0"));
  CHECK(text("a = 1") != text("A = 1"));
  CHECK(text("a - b - c = 1") != text("a - (b - c) = 1"));
  CHECK(text("a AND b OR c") != text("a AND (b OR c)"));
  CHECK(text("a LIKE '!%' ESCAPE '!'") != text("a LIKE '!%'"));
}

}  // namespace openmessaging::inline v0::kit::filter_test
