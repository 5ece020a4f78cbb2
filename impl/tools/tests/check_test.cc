// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms check.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::check_test {

TEST_CASE("OMS-CLI-009: check tells a sound store from a damaged one") {
  const Store store;
  const std::string body = "a body that is easy to find in a file";
  REQUIRE(store.Send({body}).code == 0);
  REQUIRE(store.Send({"the next one"}).code == 0);

  const Ended sound = Oms({"check", store.directory().string()});
  CHECK(sound.code == 0);
  CHECK(sound.err.empty());
  CHECK(!sound.out.empty());

  std::string damaged_file;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(store.directory())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const size_t at = bytes.find(body);
    if (at == std::string::npos) continue;
    std::fstream file(entry.path(),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('A');
    damaged_file = entry.path().filename().string();
  }
  REQUIRE(!damaged_file.empty());

  const Ended damaged = Oms({"check", store.directory().string()});

  CAPTURE(damaged.out);
  CHECK(damaged.code == 1);
  bool named = false;
  for (const std::string& line : SplitLines(damaged.out)) {
    named |= line.find(damaged_file) != std::string::npos &&
             line.find_first_of(
                 "0123456789", line.find(damaged_file) + damaged_file.size()) !=
                 std::string::npos;
  }
  CHECK(named);
}

TEST_CASE("OMS-CLI-009: check fails on what is no store and changes nothing") {
  const Store store;
  const std::filesystem::path empty = store.folder() / "empty";
  std::filesystem::create_directory(empty);

  const Ended missing = Oms({"check", (store.folder() / "none").string()});
  const Ended no_store = Oms({"check", empty.string()});

  CHECK(missing.code == 1);
  CHECK(SplitLines(missing.err).size() == 1);
  CHECK(no_store.code == 1);
  CHECK(SplitLines(no_store.err).size() == 1);
  CHECK(std::filesystem::is_empty(empty));
  CHECK(!std::filesystem::exists(store.folder() / "none"));
}

TEST_CASE("OMS-CLI-012: check shows its progress on a terminal and erases it") {
  const Store store;
  REQUIRE(store.Send({"--count", "3000", "--size", "1KiB"}).code == 0);
  const Arguments command = OmsCommand({"check", store.directory().string()});

  const Ended shown = Program(command, Errors::kTerminal).Wait();
  const Ended hidden = Program(command).Wait();

  CHECK(shown.code == 0);
  CHECK(shown.err.starts_with("\r\x1b[Kchecking: "));
  CHECK(shown.err.find(" bytes (") != std::string::npos);
  CHECK(shown.err.ends_with("\r\x1b[K"));
  CHECK(hidden.err.empty());
  CHECK(shown.out == hidden.out);
}

}  // namespace openmessaging::tools::check_test
