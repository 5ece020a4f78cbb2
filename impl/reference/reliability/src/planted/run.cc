// SPDX-License-Identifier: Apache-2.0

#include "planted/run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "doctest/doctest.h"
#include "planted/exit_code.h"
#include "shared_place.h"

namespace openmessaging::reference::planted {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{5};

// What of this process's environment a run must not have: it is the quick form
// of a machine with the seed of the quick form, whatever this one is.
bool IsOwn(std::string_view variable) {
  for (const std::string_view own :
       {"OMS_PLANTED=", "OMS_RELIABILITY=", "OMS_RELIABILITY_TABLE=",
        "OMS_TEST_SEED=", "OMS_TEST_SCALE=", "TMPDIR="}) {
    if (variable.starts_with(own)) return true;
  }
  return false;
}

std::vector<std::string> EnvironmentOf(const Run& run, std::string_view bug,
                                       const std::string& place) {
  std::vector<std::string> all = run.environment;
  for (char** at = environ; *at != nullptr; ++at) {
    if (!IsOwn(*at)) all.emplace_back(*at);
  }
  all.push_back("TMPDIR=" + place);
  if (!bug.empty()) all.push_back("OMS_PLANTED=" + std::string(bug));
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// In a process group of its own, so that its children end with it.
pid_t Start(std::vector<std::string> words, std::vector<std::string> variables,
            const std::string& output) {
  const std::vector<char*> arguments = Pointers(words);
  const std::vector<char*> environment = Pointers(variables);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kNotStarted);
  ::setpgid(0, 0);
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out < 0 || in < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 ||
      ::dup2(out, 2) < 0) {
    ::_exit(kNotStarted);
  }
  ::execve(arguments[0], arguments.data(), environment.data());
  ::_exit(kNotStarted);
}

// Returns: what doctest says behind "test cases:"; 0 where it says nothing.
uint64_t CasesIn(std::string_view output) {
  constexpr std::string_view kSays = "test cases:";
  const size_t at = output.rfind(kSays);
  if (at == std::string_view::npos) return 0;
  const std::string number(output.substr(at + kSays.size(), 12));
  return std::strtoull(number.c_str(), nullptr, 10);
}

Outcome::End EndOf(int status) {
  if (!WIFEXITED(status)) return Outcome::End::kDied;
  const int code = WEXITSTATUS(status);
  if (code == kNoSuchBug || code == kNotStarted) return Outcome::End::kRefused;
  return code == 0 ? Outcome::End::kPassed : Outcome::End::kFailed;
}

}  // namespace

std::string ProgramFolder() {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  return self.parent_path().string() + '/';
}

std::string Outcome::Text() const {
  switch (end) {
    case End::kPassed:
      return "nothing";
    case End::kFailed:
      return "a check";
    case End::kDied:
      return "signal " + std::to_string(signal);
    case End::kHung:
      return "no end";
    case End::kRefused:
      break;
  }
  return "it did not start";
}

Outcome Execute(const Run& run, std::string_view bug, milliseconds limit) {
  const SharedPlace place;
  const std::string output = place.path() + "/output";
  std::filesystem::create_directory(place.path() + "/stores");
  std::vector<std::string> words = {ProgramFolder() + run.program};
  words.insert(words.end(), run.arguments.begin(), run.arguments.end());
  const auto begin = steady_clock::now();
  const pid_t pid = Start(
      std::move(words), EnvironmentOf(run, bug, place.path() + "/stores"),
      output);
  REQUIRE(pid > 0);
  Outcome outcome;
  int status = 0;
  pid_t ended = 0;
  while (ended == 0 && steady_clock::now() - begin < limit) {
    ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == 0) std::this_thread::sleep_for(kLook);
  }
  // Its children may outlive it.
  ::kill(-pid, SIGKILL);
  if (ended == 0) ::waitpid(pid, &status, 0);
  outcome.took = std::chrono::duration_cast<milliseconds>(
      steady_clock::now() - begin);
  outcome.end = ended == 0 ? Outcome::End::kHung : EndOf(status);
  if (outcome.end == Outcome::End::kDied) outcome.signal = WTERMSIG(status);
  std::ifstream file(output);
  outcome.output.assign(std::istreambuf_iterator<char>(file), {});
  outcome.cases = CasesIn(outcome.output);
  return outcome;
}

}  // namespace openmessaging::reference::planted
