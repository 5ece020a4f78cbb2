// SPDX-License-Identifier: Apache-2.0

#include "run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "doctest/doctest.h"

extern char** environ;

namespace openmessaging::tools {
namespace {

using Clock = std::chrono::steady_clock;

void CloseOnce(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

std::array<int, 2> MakePipe() {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  return ends;
}

// Returns: both ends of a terminal, as those of a pipe.
std::array<int, 2> MakeTerminal() {
  const int reader = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(reader >= 0);
  REQUIRE(::grantpt(reader) == 0);
  REQUIRE(::unlockpt(reader) == 0);
  const int writer = ::open(::ptsname(reader), O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(writer >= 0);
  return {reader, writer};
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, Errors errors,
                 Output output) {
  // Writing to a program that has ended is a result, not the end of the test.
  ::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> in = MakePipe();
  std::array<int, 2> out =
      output == Output::kPipe ? MakePipe() : MakeTerminal();
  std::array<int, 2> err =
      errors == Errors::kPipe ? MakePipe() : MakeTerminal();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  // A program under test has the signals that a shell gives it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t reset;
  sigemptyset(&reset);
  sigaddset(&reset, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);

  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, &attributes,
                                  argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  REQUIRE(error == 0);
  in_ = std::exchange(in[1], -1);
  out_ = std::exchange(out[0], -1);
  err_ = std::exchange(err[0], -1);
  for (int* const fd : {&in[0], &out[1], &err[1]}) CloseOnce(*fd);
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (int* const fd : {&in_, &out_, &err_}) CloseOnce(*fd);
}

bool Program::Write(std::string_view text) {
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  ::fcntl(in_, F_SETFL, O_NONBLOCK);
  while (!text.empty() && Clock::now() < deadline) {
    const ssize_t written = ::write(in_, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EPIPE) {
      return false;
    } else {
      // It waits for us to read, perhaps.
      ReadSome(Clock::now() + std::chrono::milliseconds(1));
    }
  }
  return text.empty();
}

void Program::CloseInput() { CloseOnce(in_); }

void Program::CloseOutput() { CloseOnce(out_); }

bool Program::WaitForLines(size_t lines, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  const auto enough = [&] {
    return static_cast<size_t>(
               std::count(ended_.out.begin(), ended_.out.end(), '\n')) >= lines;
  };
  while (!enough()) {
    if (!ReadSome(deadline)) return enough();
  }
  return true;
}

bool Program::WaitForError(std::string_view text,
                           std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (ended_.err.find(text) == std::string::npos) {
    if (!ReadSome(deadline)) break;
  }
  return ended_.err.find(text) != std::string::npos;
}

bool Program::ReadSome(Clock::time_point deadline) {
  std::array<pollfd, 2> ready{{{out_, POLLIN, 0}, {err_, POLLIN, 0}}};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - Clock::now());
  if ((out_ < 0 && err_ < 0) || left.count() < 0) return false;
  if (::poll(ready.data(), ready.size(), static_cast<int>(left.count()) + 1) <=
      0) {
    return errno == EINTR && Clock::now() < deadline;
  }
  const auto take = [](const pollfd& source, int& fd, std::string& into) {
    if (source.revents == 0) return;
    std::array<char, 65536> buffer;
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count > 0) {
      into.append(buffer.data(), static_cast<size_t>(count));
    } else {
      CloseOnce(fd);
    }
  };
  take(ready[0], out_, ended_.out);
  take(ready[1], err_, ended_.err);
  return true;
}

Ended Program::Wait(std::chrono::milliseconds timeout) {
  CloseInput();
  const auto deadline = Clock::now() + timeout;
  while (ReadSome(deadline)) {
  }
  int status = 0;
  // The end of its outputs is the end of the program, or nearly.
  if (out_ >= 0 || err_ >= 0) ::kill(pid_, SIGKILL);
  REQUIRE(::waitpid(pid_, &status, 0) == pid_);
  pid_ = -1;
  ended_.code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return std::move(ended_);
}

Ended Run(const std::vector<std::string>& arguments, std::string_view input) {
  Program program(arguments);
  program.Write(input);
  return program.Wait();
}

}  // namespace openmessaging::tools
