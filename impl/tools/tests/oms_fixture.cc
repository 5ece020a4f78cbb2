// SPDX-License-Identifier: Apache-2.0

#include "oms_fixture.h"

#include <stdlib.h>

#include <algorithm>
#include <sstream>
#include <system_error>

#include "doctest/doctest.h"

namespace openmessaging::tools {

Ended Oms(Arguments arguments, std::string_view input) {
  return Run(OmsCommand(std::move(arguments)), input);
}

Arguments OmsCommand(Arguments arguments) {
  arguments.insert(arguments.begin(), OMS_BINARY);
  return arguments;
}

Lines SplitLines(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Store::Store(int partitions) {
  std::string name =
      (std::filesystem::temp_directory_path() / "oms_test_XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  folder_ = name;
  const Ended created = Oms({"queue", "create", url(), "orders", "--partitions",
                             std::to_string(partitions)});
  REQUIRE_MESSAGE(created.code == 0, created.err);
}

Store::~Store() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Ended Store::Send(const Arguments& rest, std::string_view input) const {
  Arguments arguments{"send", url(), "orders"};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments, input);
}

Ended Store::Receive(const Arguments& rest) const {
  Arguments arguments{"receive", url(), "orders"};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

void CheckFailed(const Ended& ended, int exit_code, int code,
                 std::string_view part) {
  CAPTURE(ended.err);
  CHECK(ended.code == exit_code);
  CHECK(ended.out.empty());
  CHECK(ended.err.starts_with("oms: "));
  CHECK(ended.err.ends_with("(OMS " + std::to_string(code) + ")\n"));
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.find(part) != std::string::npos);
}

}  // namespace openmessaging::tools
