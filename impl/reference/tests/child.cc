// SPDX-License-Identifier: Apache-2.0

#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "doctest/doctest.h"

namespace openmessaging::reference {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The child's ends of its pipes.
constexpr int kHearFd = 3;
constexpr int kSayFd = 4;
constexpr char kFilter[] = "--test-case=a role of a child process";
constexpr std::string_view kMark = "--";

std::map<std::string, RoleFunction>& Roles() {
  static std::map<std::string, RoleFunction> roles;
  return roles;
}

// Returns: what stands behind "--" on the command line of this process.
std::vector<std::string> ArgumentsBehindMark() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string word; std::getline(file, word, '\0');) {
    arguments.push_back(word);
  }
  const auto mark = std::find(arguments.begin(), arguments.end(), kMark);
  REQUIRE(mark != arguments.end());
  return {mark + 1, arguments.end()};
}

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;  // Nobody listens any more.
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// Takes the first line out of `heard`. Returns: nothing if there is none.
std::optional<std::string> TakeLine(std::string& heard) {
  const size_t end = heard.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line = heard.substr(0, end);
  heard.erase(0, end + 1);
  return line;
}

// Reads more from `fd`. Returns: false at its end.
bool ReadMore(int fd, std::string& heard) {
  std::array<char, 16384> bytes;
  const ssize_t count = ::read(fd, bytes.data(), bytes.size());
  if (count > 0) heard.append(bytes.data(), static_cast<size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

void CloseFd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// The only case that a child runs.
TEST_CASE("a role of a child process" * doctest::skip()) {
  std::vector<std::string> arguments = ArgumentsBehindMark();
  REQUIRE_FALSE(arguments.empty());
  const auto found = Roles().find(arguments.front());
  REQUIRE(found != Roles().end());
  arguments.erase(arguments.begin());

  Role role(std::move(arguments));
  found->second(role);
}

}  // namespace

void Role::Say(std::string_view line) {
  WriteAll(kSayFd, std::string(line) + '\n');
}

std::optional<std::string> Role::Hear() {
  while (true) {
    if (auto line = TakeLine(heard_)) return line;
    if (!ReadMore(kHearFd, heard_)) return std::nullopt;
  }
}

bool Role::Called() const {
  pollfd waiting{kHearFd, POLLIN, 0};
  return !heard_.empty() || ::poll(&waiting, 1, 0) > 0;
}

bool AddRole(const char* name, RoleFunction function) {
  if (!Roles().emplace(name, function).second) {
    std::fprintf(stderr, "two roles of this program are called %s\n", name);
    ::abort();
  }
  return true;
}

Child::Child(std::string_view role, const std::vector<std::string>& arguments) {
  // A child that died is noticed by what it says, not by a signal.
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words = {
      "child",          kFilter, "--no-skip", "--minimal", std::string(kMark),
      std::string(role)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  std::array<int, 2> down{};
  std::array<int, 2> up{};
  REQUIRE(::pipe2(down.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(up.data(), O_CLOEXEC) == 0);
  // Above the two numbers that they get in the child.
  const int hear = ::fcntl(down[0], F_DUPFD_CLOEXEC, 10);
  const int say = ::fcntl(up[1], F_DUPFD_CLOEXEC, 10);
  REQUIRE(hear >= 0);
  REQUIRE(say >= 0);
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || ::dup2(hear, kHearFd) < 0 ||
        ::dup2(say, kSayFd) < 0) {
      ::_exit(126);
    }
    ::execv("/proc/self/exe", pointers.data());
    ::_exit(127);
  }
  for (const int fd : {down[0], up[1], hear, say}) ::close(fd);
  to_child_ = down[1];
  from_child_ = up[0];
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_child_(std::exchange(other.to_child_, -1)),
      from_child_(std::exchange(other.from_child_, -1)),
      heard_(std::move(other.heard_)) {}

Child::~Child() {
  Kill();
  CloseFd(to_child_);
  CloseFd(from_child_);
}

std::optional<std::string> Child::Hear(milliseconds timeout) {
  // No test waits for an hour; a longest wait must not overflow.
  const auto deadline =
      steady_clock::now() + std::min<milliseconds>(timeout, std::chrono::hours(1));
  while (true) {
    if (auto line = TakeLine(heard_)) return line;
    const auto left =
        std::chrono::ceil<milliseconds>(std::max<steady_clock::duration>(
            deadline - steady_clock::now(), steady_clock::duration::zero()));
    pollfd waiting{from_child_, POLLIN, 0};
    const int ready =
        ::poll(&waiting, 1,
               static_cast<int>(std::min<int64_t>(left.count(), 1'000'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || !ReadMore(from_child_, heard_)) return std::nullopt;
  }
}

void Child::Say(std::string_view line) {
  WriteAll(to_child_, std::string(line) + '\n');
}

void Child::HangUp() { CloseFd(to_child_); }

bool Child::Kill() {
  if (pid_ <= 0) return false;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void Child::Stop() {
  ::kill(pid_, SIGSTOP);
  int status = 0;
  REQUIRE(::waitpid(pid_, &status, WUNTRACED) == pid_);
  REQUIRE(WIFSTOPPED(status));
}

void Child::Continue() { ::kill(pid_, SIGCONT); }

bool Child::Finish(milliseconds timeout) {
  HangUp();
  const auto deadline = steady_clock::now() + timeout;
  // The end of its pipe is the end of the process, or nearly.
  while (steady_clock::now() < deadline) {
    const auto left =
        std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    pollfd waiting{from_child_, POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left.count(), 20)));
    if ((waiting.revents & POLLIN) != 0) ReadMore(from_child_, heard_);
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      pid_ = -1;
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
  }
  return false;
}

std::chrono::microseconds Child::CpuTime() const {
  clockid_t clock{};
  timespec time{};
  REQUIRE(::clock_getcpuclockid(pid_, &clock) == 0);
  REQUIRE(::clock_gettime(clock, &time) == 0);
  return std::chrono::microseconds(time.tv_sec * 1'000'000 +
                                   time.tv_nsec / 1000);
}

uint64_t TestSeed() {
  static const uint64_t seed = [] {
    const char* const given = ::getenv("OMS_TEST_SEED");
    const uint64_t value =
        given != nullptr ? std::stoull(given) : std::random_device()();
    std::printf("seed: %llu (repeat with OMS_TEST_SEED)\n",
                static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

uint64_t TestScale() {
  const char* const given = ::getenv("OMS_TEST_SCALE");
  return given != nullptr ? std::stoull(given) : 1;
}

}  // namespace openmessaging::reference
