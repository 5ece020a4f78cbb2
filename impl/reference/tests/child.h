// SPDX-License-Identifier: Apache-2.0
//
// What tests with several processes share. A child is this test program again,
// executed anew so that it inherits no handle, in one of the roles that the
// test defines:
//
//   OMS_ROLE(sender) {                     // In the child.
//     ... role.argument(0) ...
//     role.Say("ready");
//   }
//   TEST_CASE("...") {                     // In the parent.
//     Child child("sender", {url});
//     REQUIRE(child.Hear() == "ready");
//   }
//
// A check that fails in a role is reported by the child, and Finish() tells.

#ifndef OPENMESSAGING_REFERENCE_TESTS_CHILD_H_
#define OPENMESSAGING_REFERENCE_TESTS_CHILD_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace openmessaging::reference {

// A child's side of the two pipes to its parent.
//
// Threads: Say from any thread, the rest from one.
class Role {
 public:
  explicit Role(std::vector<std::string> arguments)
      : arguments_(std::move(arguments)) {}

  const std::string& argument(size_t index) const {
    return arguments_.at(index);
  }
  int64_t number(size_t index) const { return std::stoll(argument(index)); }

  // Tells the parent one line, in one piece: a kill never cuts a line of less
  // than 4 KiB.
  void Say(std::string_view line);

  // Blocks: until the parent says a line.
  // Returns: the line; nothing if the parent is gone, or wants no more.
  std::optional<std::string> Hear();
  // Returns: whether the parent said something or is gone; does not wait.
  bool Called() const;

 private:
  const std::vector<std::string> arguments_;
  std::string heard_;
};

using RoleFunction = void (*)(Role& role);

// Adds a role to those of this program; each has a name of its own. Returns:
// true.
bool AddRole(const char* name, RoleFunction function);

#define OMS_ROLE(name)                                            \
  static void Run_##name(::openmessaging::reference::Role& role); \
  [[maybe_unused]] static const bool added_##name =               \
      ::openmessaging::reference::AddRole(#name, Run_##name);     \
  static void Run_##name(                                         \
      [[maybe_unused]] ::openmessaging::reference::Role& role)

// A process in a role. It dies with its parent, or at the end of this object.
class Child {
 public:
  Child(std::string_view role, const std::vector<std::string>& arguments);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }

  // Returns: the child's next line; nothing where it ended, or said nothing in
  // time.
  std::optional<std::string> Hear(
      std::chrono::milliseconds timeout = std::chrono::seconds(20));
  // Says one line to the child.
  void Say(std::string_view line);
  // Says that there is no more to hear.
  void HangUp();

  // Send SIGKILL, SIGSTOP, SIGCONT. Kill waits until the kernel has taken the
  // process apart, and with it its locks; what the child said before can still
  // be heard. Stop waits until it stands.
  // Returns: whether it lived until then; a role that failed did not.
  bool Kill();
  void Stop();
  void Continue();

  // Hangs up and waits for the end. Returns: whether all went well in there.
  bool Finish(std::chrono::milliseconds timeout = std::chrono::seconds(20));

  // Returns: the processor time that it used so far.
  std::chrono::microseconds CpuTime() const;

 private:
  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
  std::string heard_;
};

// Returns: the seed of this run, OMS_TEST_SEED or a new one; printed once.
uint64_t TestSeed();

// Returns: how many times as long a storm shall be; OMS_TEST_SCALE or 1.
uint64_t TestScale();

// Random numbers from the seed of the run; `stream` tells the users apart.
inline std::mt19937_64 RandomOf(uint64_t stream) {
  std::seed_seq sequence{TestSeed(), stream};
  return std::mt19937_64(sequence);
}

// How much longer everything takes in this build than in a plain one: 1 or 5.
inline constexpr int kSlowness =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    5;
#else
    1;
#endif

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_TESTS_CHILD_H_
