// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms completion: the bash script in bash, and what the scripts of all
// shells ask for.

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::completion_test {
namespace {

// Returns: what the last word of a command line can become.
Lines Complete(const std::string& line) {
  const Ended ended = Oms({"completion", "--line", line});
  CHECK(ended.code == 0);
  CHECK(ended.err.empty());
  return SplitLines(ended.out);
}

// Returns: what bash offers, as bash calls the function of a script.
Lines CompleteInBash(const std::string& line) {
  const std::string script =
      "set -eu; eval \"$(\"$1\" completion bash)\"\n"
      "COMP_LINE=$2 COMP_POINT=${#2}\n"
      "command=$(complete -p oms); [[ $command == 'complete -F _oms oms' ]]\n"
      "_oms \"$1\" '' ''\n"
      "[ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' \"${COMPREPLY[@]}\"";
  const Ended ended =
      Run({"/bin/bash", "-c", script, "bash", OmsCommand({})[0], line});
  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  return SplitLines(ended.out);
}

}  // namespace

TEST_CASE("OMS-CLI-013: each shell has its script and no other is known") {
  CHECK(Oms({"completion", "bash"}).out.find("complete -F _oms oms") !=
        std::string::npos);
  CHECK(Oms({"completion", "zsh"}).out.starts_with("#compdef oms\n"));
  CHECK(Oms({"completion", "fish"}).out.find("complete -c oms") !=
        std::string::npos);
  CheckFailed(Oms({"completion", "tcsh"}), 2, 1418, "bash, zsh or fish");
  CheckFailed(Oms({"completion"}), 2, 1418, "SHELL is required");
}

TEST_CASE("OMS-CLI-013: commands options and choices complete") {
  CHECK(Complete("oms que") == Lines{"queue"});
  CHECK(Complete("oms queue de") == Lines{"delete", "describe"});
  CHECK(Complete("oms route cr") == Lines{"create"});
  CHECK(Complete("oms queue create x y --part") == Lines{"--partitions"});
  CHECK(Complete("oms receive --from ") == Lines{"earliest", "latest"});
  CHECK(Complete("oms receive --from l") == Lines{"latest"});
  CHECK(Complete("oms receive --json --fr") == Lines{"--from"});
  CHECK(Complete("oms send --dur") == Lines{"--durability"});
  CHECK(Complete("oms fil") == Lines{"filter"});
  CHECK(Complete("oms completion ") == Lines{"bash", "fish", "zsh"});
  CHECK(Complete("oms completion --") == Lines{"--help", "--line"});
  CHECK(Complete("oms receive ") == Lines{"oms:file:", "oms:memory://"});
  CHECK(Complete("oms receive -- --").empty());
  CHECK(Complete("oms nonsense ").empty());
  CHECK(Complete("").empty());
}

TEST_CASE("OMS-CLI-013: directories queues and groups of a store complete") {
  const Store store;
  const std::string folder = store.folder().string();
  const std::string directory = store.directory().string();
  std::ofstream(store.folder() / "stone") << "a file";
  REQUIRE(Oms({"queue", "create", store.url(), "orphans"}).code == 0);
  REQUIRE(store.Send({"x"}).code == 0);
  REQUIRE(store.Receive({"--group", "billing", "--timeout", "0"}).code == 0);

  CHECK(Complete("oms check " + folder + "/st") == Lines{directory + "/"});
  CHECK(Complete("oms send oms:file:" + folder + "/st") ==
        Lines{store.url() + "/"});
  CHECK(Complete("oms send oms:file://" + folder + "/st") ==
        Lines{"oms:file://" + directory + "/"});
  CHECK(Complete("oms filter a=1 " + folder + "/sto") ==
        Lines{folder + "/stone", directory + "/"});
  CHECK(Complete("oms send x y --file " + folder + "/sto") ==
        Lines{folder + "/stone", directory + "/"});
  CHECK(Complete("oms send " + store.url() + " or") ==
        Lines{"orders", "orphans"});
  CHECK(Complete("oms receive '" + store.url() + "' orp") == Lines{"orphans"});
  CHECK(Complete("oms queue create " + store.url() +
                 " new --dead-letter orp") == Lines{"orphans"});
  CHECK(Complete("oms receive " + store.url() + " orders --group ") ==
        Lines{"billing"});
}

TEST_CASE("OMS-CLI-013: namespaces complete though they have no queues") {
  const Store store;
  for (const char* const name : {"eu", "europe", "us"}) {
    REQUIRE(Oms({"namespace", "create", store.url(), name}).code == 0);
  }

  CHECK(Complete("oms namespace delete " + store.url() + " e") ==
        Lines{"eu", "europe"});
  CHECK(Complete("oms queue list " + store.url() + " --namespace u") ==
        Lines{"us"});
}

TEST_CASE("OMS-CLI-013: completing makes nothing") {
  const Store store;
  const std::string missing = (store.folder() / "missing").string();

  CHECK(Complete("oms receive oms:file:" + missing + " ").empty());

  CHECK(!std::filesystem::exists(missing));
}

TEST_CASE("OMS-CLI-013: bash completes a URL behind its colons") {
  const Store store;
  // What bash replaces begins behind the last colon.
  const std::string folder = store.folder().string();

  CHECK(CompleteInBash("oms qu") == Lines{"queue"});
  CHECK(CompleteInBash("oms receive oms:f") == Lines{"file:"});
  CHECK(CompleteInBash("oms receive oms:file:" + folder + "/st") ==
        Lines{folder + "/store/"});
  CHECK(CompleteInBash("oms receive " + store.url() + " o") == Lines{"orders"});
  CHECK(CompleteInBash("oms nonsense x").empty());
}

}  // namespace openmessaging::tools::completion_test
