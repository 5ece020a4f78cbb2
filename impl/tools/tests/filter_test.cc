// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms filter. What expressions mean is tested where they are compiled.

#include <fstream>
#include <string>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::filter_test {
namespace {

constexpr const char* kMessage =
    R"({"destination":"orders","priority":8,)"
    R"("properties":{"kind":"order","price":60},"body":"x"})";

}  // namespace

TEST_CASE("OMS-CLI-019: filter prints the truth and ends with it") {
  const Ended yes = Oms({"filter", "price * 2 > 100", "-"}, kMessage);
  const Ended no = Oms({"filter", "kind LIKE 'b%'", "-"}, kMessage);
  const Ended unknown = Oms({"filter", "city = 'Berlin'", "-"}, kMessage);

  CHECK(yes.out == "true\n");
  CHECK(yes.code == 0);
  CHECK(no.out == "false\n");
  CHECK(no.code == 1);
  CHECK(unknown.out == "unknown\n");
  CHECK(unknown.code == 1);
  CHECK((yes.err + no.err + unknown.err).empty());
}

TEST_CASE("OMS-CLI-019: filter reads a file and what receive prints") {
  const Store store;
  const std::string file = (store.folder() / "message.json").string();
  std::ofstream(file) << kMessage << '\n';
  REQUIRE(store.Send({"x", "--key", "k1"}).code == 0);
  const Ended received = store.Receive({"--json", "--timeout", "0"});
  REQUIRE(received.code == 0);

  CHECK(Oms({"filter", "priority = 8", file}).code == 0);
  CHECK(Oms({"filter", "--", "-priority = -8", file}).code == 0);
  CHECK(Oms({"filter", "message_key = 'k1' AND delivery_count = 1", "-"},
            received.out)
            .code == 0);
}

TEST_CASE("OMS-CLI-019: filter points at what is wrong in an expression") {
  const Ended end = Oms({"filter", "price >", "-"}, kMessage);
  const Ended lines = Oms(
      {"filter", "kind = '\xC3\xA4' AND\n\tprice + 'a' > 3", "-"}, kMessage);
  const std::string long_start = "kind IS NULL OR (" + std::string(300, ' ');
  const Ended cut = Oms({"filter", long_start + "== 3)", "-"}, kMessage);

  CHECK(end.code == 2);
  CHECK(end.out.empty());
  CHECK(end.err ==
        "oms: compile filter \"price >\": unexpected end at column 8; expected "
        "a value (OMS-FILTER-001) (OMS 1418)\n"
        "  price >\n"
        "         ^\n");
  CHECK(lines.code == 2);
  CHECK(lines.err.find("a string at column 25; expected a number") !=
        std::string::npos);
  CHECK(lines.err.ends_with("\n   price + 'a' > 3\n           ^\n"));
  CHECK(cut.code == 2);
  CHECK(cut.err.find("column 318") != std::string::npos);
  CHECK(cut.err.ends_with("\n  " + std::string(59, ' ') + "== 3)\n  " +
                          std::string(59, ' ') + "^\n"));
}

TEST_CASE("OMS-CLI-019: filter fails with 2 where there is no message") {
  CheckFailed(Oms({"filter", "a = 1", "-"}, "{"), 2, 1418, "not JSON");
  CheckFailed(Oms({"filter", "a = 1", "/no/such/file"}), 2, 1418,
              "No such file or directory");
  CheckFailed(Oms({"filter", "a = 1"}), 2, 1418, "FILE is required");
}

}  // namespace openmessaging::tools::filter_test
