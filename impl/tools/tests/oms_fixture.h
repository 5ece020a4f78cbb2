// SPDX-License-Identifier: Apache-2.0
//
// What the tests of oms share: it is run as a user runs it, on directories of
// the file driver.

#ifndef OPENMESSAGING_TOOLS_TESTS_OMS_FIXTURE_H_
#define OPENMESSAGING_TOOLS_TESTS_OMS_FIXTURE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "run_program.h"

namespace openmessaging::tools {

using Arguments = std::vector<std::string>;
using Lines = std::vector<std::string>;

// Returns: the command line of oms with these arguments.
Arguments OmsCommand(Arguments arguments);

// Runs oms to its end.
Ended Oms(Arguments arguments, std::string_view input = {});

Lines SplitLines(const std::string& text);

// A folder of its own, with a queue `orders` in the store below it.
class Store {
 public:
  explicit Store(int partitions = 1);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store();

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path directory() const { return folder_ / "store"; }
  std::string url() const { return "oms:file:" + directory().string(); }

  // Sends to `orders`; the rest of the command line and its input.
  Ended Send(const Arguments& rest, std::string_view input = {}) const;
  // Receives from `orders`, with no wait unless `rest` says otherwise.
  Ended Receive(const Arguments& rest = {"--timeout", "0"}) const;

 private:
  std::filesystem::path folder_;
};

// Checks that a run failed with one clear line and nothing else.
void CheckFailed(const Ended& ended, int exit_code, int code,
                 std::string_view part);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_TESTS_OMS_FIXTURE_H_
