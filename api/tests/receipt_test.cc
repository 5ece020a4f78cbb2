// SPDX-License-Identifier: Apache-2.0
//
// Receipt: a value that prints and parses.

#include "openmessaging/receipt.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::receipt_test {
namespace {

static_assert(sizeof(Receipt) <= 64, "a receipt is small");

TEST_CASE("OMS-CONS-022: a receipt prints and parses to an equal one") {
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  const std::string tokens[] = {"t",
                                std::string(1, '\0'),
                                every_byte,
                                std::string(Receipt::kInlineBytes, 'x'),
                                std::string(Receipt::kInlineBytes + 1, 'x'),
                                std::string(Receipt::kMaxTokenBytes, 'x')};

  for (const uint64_t source :
       {uint64_t{0}, uint64_t{42}, std::numeric_limits<uint64_t>::max()}) {
    for (const std::string& token : tokens) {
      const Receipt receipt(source, token);
      const auto parsed = Receipt::Parse(receipt.ToString());

      REQUIRE(parsed.ok());
      CHECK(*parsed == receipt);
      CHECK(parsed->source() == source);
      CHECK(parsed->token() == token);
      CHECK_FALSE(parsed->empty());
    }
  }
  CHECK(Receipt(7, "\x01\xAB").ToString() == "7.01ab");
}

TEST_CASE("OMS-CONS-022: text that no receipt printed is refused") {
  const std::string too_long =
      "1." + std::string(2 * (Receipt::kMaxTokenBytes + 1), 'a');
  for (const std::string_view bad :
       {std::string_view(""), std::string_view("7"), std::string_view("7."),
        std::string_view(".ab"), std::string_view("7.a"),
        std::string_view("7.zz"), std::string_view("-1.ab"),
        std::string_view("+1.ab"), std::string_view(" 1.ab"),
        std::string_view("18446744073709551616.ab"), std::string_view("1.ab "),
        std::string_view("1.+a"), std::string_view("1.0x"),
        std::string_view(too_long)}) {
    const auto parsed = Receipt::Parse(bad);
    CHECK(OmsCode(parsed.status()) == Code::kReceiptInvalid);
  }
}

TEST_CASE("OMS-CONS-022: receipts are equal by source and token") {
  const std::string large(100, 'l');

  CHECK(Receipt(1, "a") == Receipt(1, "a"));
  CHECK_FALSE(Receipt(1, "a") == Receipt(2, "a"));
  CHECK_FALSE(Receipt(1, "a") == Receipt(1, "b"));
  CHECK_FALSE(Receipt(1, "a") == Receipt(1, std::string_view("a\0", 2)));
  CHECK(Receipt(1, large) == Receipt(1, large));
  CHECK(Receipt() == Receipt());
  CHECK(Receipt().empty());
}

TEST_CASE("OMS-CONS-022: copies are independent and may outlive their source") {
  const std::string large(100, 'l');
  Receipt copy;
  Receipt moved;
  {
    const Receipt receipt(3, large);
    copy = receipt;
    Receipt other(copy);
    moved = std::move(other);
  }

  CHECK(copy.token() == large);
  CHECK(moved == copy);
  copy = Receipt(4, "small");
  CHECK(moved.token() == large);
}

}  // namespace
}  // namespace openmessaging::receipt_test
