// SPDX-License-Identifier: Apache-2.0
//
// Runs a program as a user would and tells what it did.

#ifndef OPENMESSAGING_TOOLS_TESTS_RUN_PROGRAM_H_
#define OPENMESSAGING_TOOLS_TESTS_RUN_PROGRAM_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::tools {

// What a program that has ended left.
struct Ended {
  int code = -1;  // Its exit code, or 128 and the signal that ended it.
  std::string out{};
  std::string err{};
};

enum class Errors { kPipe, kTerminal };
enum class Output { kPipe, kTerminal };

// One run of a program. Its standard input stays open until CloseInput().
//
// Threads: one. Lifetime: the destructor kills what still runs.
class Program {
 public:
  // Starts `arguments[0]`. Fails the test when it cannot.
  // `errors` and `output` are what its standard error and output are.
  explicit Program(const std::vector<std::string>& arguments,
                   Errors errors = Errors::kPipe,
                   Output output = Output::kPipe);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  pid_t pid() const { return pid_; }

  // Writes all of `text` to its standard input. Returns: false when the program
  // does not read it any more.
  bool Write(std::string_view text);
  void CloseInput();

  // Closes the end that the test reads its standard output from.
  void CloseOutput();

  // Reads its standard output until it holds so many whole lines, or until the
  // deadline. Returns: whether it does; out() has them.
  bool WaitForLines(size_t lines, std::chrono::milliseconds timeout);
  const std::string& out() const { return ended_.out; }
  const std::string& err() const { return ended_.err; }

  // Reads until its standard error holds `text`, or until the deadline.
  // Returns: whether it does.
  bool WaitForError(std::string_view text, std::chrono::milliseconds timeout);

  // Closes its standard input and waits for its end; after `timeout` it is
  // killed, which the code shows.
  Ended Wait(std::chrono::milliseconds timeout = std::chrono::seconds(60));

 private:
  // Reads what there is. Returns: false at the end of both outputs, or at the
  // deadline.
  bool ReadSome(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  Ended ended_;
};

// Runs a program to its end with `input` as its standard input.
Ended Run(const std::vector<std::string>& arguments,
          std::string_view input = {});

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_TESTS_RUN_PROGRAM_H_
