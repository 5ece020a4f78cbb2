// SPDX-License-Identifier: Apache-2.0
//
// Runs oms-history as a vendor would: against what keeps its promises, and
// against brokers that do not.

#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "doctest/doctest.h"
#include "operation.h"

namespace openmessaging::conformance::history::history_run_test {
namespace {

namespace fs = std::filesystem;

struct Ended {
  int code = -1;
  std::string text{};
};

Ended Run(const std::string& arguments) {
  const std::string command =
      std::string(OMS_HISTORY) + " " + arguments + " 2>&1";
  std::FILE* const pipe = ::popen(command.c_str(), "re");
  REQUIRE(pipe != nullptr);
  Ended ended;
  std::array<char, 4096> bytes;
  while (const size_t count = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
    ended.text.append(bytes.data(), count);
  }
  const int state = ::pclose(pipe);
  ended.code = WIFEXITED(state) ? WEXITSTATUS(state) : -1;
  return ended;
}

bool Has(const Ended& ended, const std::string& text) {
  return ended.text.find(text) != std::string::npos;
}

class Folder {
 public:
  Folder() {
    std::string path = (fs::temp_directory_path() / "oms-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST_CASE("a store that processes share is sound, whoever is killed") {
  const Folder folder;
  const std::string file = folder.path() + "/history.jsonl";

  const Ended run = Run("oms:file:" + folder.path() +
                        "/store --seconds 5 --seed 11 --history " + file);

  INFO(run.text);
  CHECK(run.code == 0);
  CHECK(Has(run, "workers in processes"));
  CHECK(Has(run, "\n  kill "));
  CHECK(Has(run, "\n  commit "));
  // The file has every operation, each in a line.
  std::ifstream lines(file);
  size_t sends = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto one = ParseLine(line);
    REQUIRE(one.ok());
    sends += one->kind == Kind::kSend;
  }
  CHECK(sends > 100);
}

TEST_CASE("memory is sound, in threads") {
  const Ended run = Run("oms:memory://history --seconds 2");
  INFO(run.text);
  CHECK(run.code == 0);
  CHECK(Has(run, "workers in threads"));
}

TEST_CASE("each fault of a faulty broker is found") {
  struct Case {
    const char* fault;
    const char* flaw;
  };
  for (const Case& one :
       {Case{"drop:0.01", "\nlost: "}, Case{"duplicate:0.02", "\nagain: "},
        Case{"reorder:0.05", "\nreordered: "}}) {
    const Ended run = Run(std::string("'oms:memory://faulty?fault=") +
                          one.fault + "' --seconds 2");
    CAPTURE(one.fault);
    INFO(run.text);
    CHECK(run.code == 1);
    CHECK(Has(run, one.flaw));
    CHECK(Has(run, "\nnot sound\n"));
  }
}

TEST_CASE("what cannot be judged is told") {
  const Ended none = Run("oms:nosuch://x");
  CHECK(none.code == 2);
  CHECK(Has(none, "no such driver is linked"));
  CHECK(Run("").code == 2);
  CHECK(Run("oms:memory://x --seconds 0").code == 2);
  const Ended unwritable =
      Run("oms:memory://x --seconds 1 --history /nowhere/at/all");
  CHECK(unwritable.code == 2);
  CHECK(Has(unwritable, "write history \"/nowhere/at/all\""));
  CHECK(Run("--help").code == 0);
}

}  // namespace
}  // namespace openmessaging::conformance::history::history_run_test
