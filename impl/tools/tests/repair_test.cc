// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms repair.

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::repair_test {
namespace {

namespace fs = std::filesystem;

using Files = std::map<std::string, std::string>;

// The bytes of every file.
Files FilesOf(const fs::path& directory) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files[fs::relative(entry.path(), directory)] = {
        std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

// Changes a byte of a body that a file has. Returns: the file's name.
std::string Damage(const fs::path& directory, const std::string& body) {
  for (const auto& [name, bytes] : FilesOf(directory)) {
    const size_t at = bytes.find(body);
    if (at == std::string::npos) continue;
    std::fstream file(directory / name,
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('#');
    return fs::path(name).filename();
  }
  FAIL("no file has it");
  return {};
}

Ended Receive(const fs::path& directory) {
  return Oms({"receive", "oms:file:" + directory.string(), "orders",
              "--timeout", "0"});
}

}  // namespace

TEST_CASE("OMS-CLI-023: repair saves what is whole and lists what is not") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "first\nsecond one\nthird\n").code ==
          0);
  const std::string file = Damage(store.directory(), "second one");
  const Files before = FilesOf(store.directory());
  const fs::path target = store.folder() / "repaired";

  const Ended repaired =
      Oms({"repair", store.directory().string(), target.string()});

  CAPTURE(repaired.out);
  CHECK(repaired.err.empty());
  CHECK(repaired.code == 3);
  const Lines lines = SplitLines(repaired.out);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].starts_with("lost: log/" + file + " at position "));
  CHECK(lines[0].ends_with("queue \"orders\", partition 0, offset 1"));
  CHECK(lines[1].starts_with("saved with losses: 2 messages, "));
  CHECK(lines[1].ends_with("; lost: 1 message"));
  CHECK(FilesOf(store.directory()) == before);
  CHECK(Oms({"check", target.string()}).code == 0);
  // Whoever receives it is told where something is missing.
  const Ended told = Receive(target);
  CHECK(told.out == "first\n");
  CHECK(told.err.find("1609") != std::string::npos);
  CHECK(Receive(target).out == "third\n");
}

TEST_CASE("OMS-CLI-023: all that a sound directory has is in the new one") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "first\nsecond\nthird\n").code == 0);
  REQUIRE(store.Receive({"--max", "1", "--timeout", "0"}).out == "first\n");
  for (const char* const lost : {"STORE", "LOCK", "ctl", "idx", "ckpt"}) {
    CAPTURE(lost);
    const fs::path source = store.folder() / "source";
    const fs::path target = store.folder() / "repaired";
    fs::copy(store.directory(), source, fs::copy_options::recursive);
    fs::remove_all(source / lost);

    const Ended repaired = Oms({"repair", source.string(), target.string()});

    CAPTURE(repaired.out);
    CHECK(repaired.err.empty());
    // What its creator chose is in STORE alone.
    CHECK(repaired.code == (std::string(lost) == "STORE" ? 3 : 0));
    CHECK(SplitLines(repaired.out).back().find(": 3 messages, ") !=
          std::string::npos);
    CHECK(Oms({"check", target.string()}).code == 0);
    CHECK(Receive(target).out == "second\nthird\n");
    fs::remove_all(source);
    fs::remove_all(target);
  }
}

TEST_CASE("OMS-CLI-023: repair fails where it can do nothing") {
  const Store store;
  REQUIRE(store.Send({"apples"}).code == 0);
  const fs::path empty = store.folder() / "empty";
  const fs::path target = store.folder() / "repaired";
  fs::create_directory(empty);
  fs::permissions(empty, fs::perms::owner_all);
  const Files before = FilesOf(store.directory());

  CheckFailed(
      Oms({"repair", (store.folder() / "none").string(), target.string()}), 1,
      1404, "none");
  CheckFailed(Oms({"repair", empty.string(), target.string()}), 1, 1609,
              "nothing can be saved");
  CheckFailed(
      Oms({"repair", store.directory().string(), store.directory().string()}),
      1, 1418, "not empty");

  CHECK(FilesOf(store.directory()) == before);
  CHECK(fs::is_empty(empty));
  CHECK_FALSE(fs::exists(target));
}

TEST_CASE("OMS-CLI-023: a directory in use is not repaired") {
  const Store store;
  const fs::path target = store.folder() / "repaired";
  Program receiver(
      OmsCommand({"receive", store.url(), "orders", "--timeout", "60s"}));
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (Oms({"check", store.directory().string()}).out.find("in use") ==
         std::string::npos) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }

  CheckFailed(Oms({"repair", store.directory().string(), target.string()}), 1,
              1602, "close it first");

  CHECK_FALSE(fs::exists(target));
  REQUIRE(::kill(receiver.pid(), SIGTERM) == 0);
  (void)receiver.Wait();
}

}  // namespace openmessaging::tools::repair_test
