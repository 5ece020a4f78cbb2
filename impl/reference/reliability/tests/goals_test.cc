// SPDX-License-Identifier: Apache-2.0
//
// The length of a run and the table of goals.

#include "goals.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "doctest/doctest.h"

namespace openmessaging::reference::goals_test {
namespace {

TEST_CASE("a number is printed with commas") {
  CHECK(WithCommas(0) == "0");
  CHECK(WithCommas(999) == "999");
  CHECK(WithCommas(1000) == "1,000");
  CHECK(WithCommas(1234567) == "1,234,567");
}

TEST_CASE("the long form does more than the quick one and none does nothing") {
  const char* const given = ::getenv("OMS_RELIABILITY");
  const std::string before = given == nullptr ? "" : given;

  ::setenv("OMS_RELIABILITY", "", 1);
  const uint64_t quick = For({100, 5'000});
  CHECK(For({0, 0}) == 1);
  ::setenv("OMS_RELIABILITY", "long", 1);
  CHECK(For({100, 5'000}) == quick * 50);

  ::setenv("OMS_RELIABILITY", before.c_str(), 1);
}

TEST_CASE("random numbers of one stream repeat and differ from another's") {
  auto first = RandomOfRun(1);
  auto again = RandomOfRun(1);
  auto other = RandomOfRun(2);
  const uint64_t number = first();
  CHECK(number == again());
  CHECK(number != other());
}

TEST_CASE("a row is added to the table with its seed") {
  const char* const given = ::getenv("OMS_RELIABILITY_TABLE");
  const std::string before = given == nullptr ? "" : given;
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("goals_test." + std::to_string(::getpid())))
                               .string();
  ::setenv("OMS_RELIABILITY_TABLE", path.c_str(), 1);

  Report({"power", "states", "10", "12", true});
  Report({"power", "cuts", "10", "9", false});

  if (given == nullptr) {
    ::unsetenv("OMS_RELIABILITY_TABLE");
  } else {
    ::setenv("OMS_RELIABILITY_TABLE", before.c_str(), 1);
  }
  std::ifstream file(path);
  const std::string table{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path);
  const std::string seed = std::to_string(RunSeed());
  CHECK(table == "power\tstates\t10\t12\tmet\t" + seed +
                     "\npower\tcuts\t10\t9\tMISSED\t" + seed + '\n');
}

}  // namespace
}  // namespace openmessaging::reference::goals_test
