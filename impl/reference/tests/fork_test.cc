// SPDX-License-Identifier: Apache-2.0
//
// fork() with an open handle: the child cannot use it, the parent is unharmed,
// and the parent's death is noticed although the child lives on.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::fork_test {
namespace {

constexpr char kQueue[] = "orders";

// How the child of a fork opens the store anew. It gets a housekeeper of its
// own, which the thread sanitizer does not allow there.
constexpr char kFresh[] =
#if defined(__SANITIZE_THREAD__)
    "?housekeeper=off";
#else
    "";
#endif

std::string CodeText(const absl::Status& status) {
  return std::to_string(status.ok() ? 0 : static_cast<int>(OmsCode(status)));
}

// Waits to be killed.
[[noreturn]] void Linger() {
  while (true) ::pause();
}

// Returns: whether this process has more than one thread, before long.
bool HasThreads() {
  const auto deadline = Soon();
  while (steady_clock::now() < deadline) {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    if (std::distance(begin(tasks), end(tasks)) > 1) return true;
  }
  return false;
}

// Arguments: URL, "fork" or "exec". Holds one message under a long lease and
// makes a process that lives on: a fork of this one, or another program.
// Says the process id of that, what the handle answers in the fork, and
// "unharmed" when its own still works.
OMS_ROLE(forker) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  Must(producer.Start());
  PullConsumer consumer = Consume(bus, kQueue);
  const Delivery held = Take(consumer);
  // So much that the store has its housekeeper: another thread at the fork.
  Must(bus.resource_manager().CreateQueue("bulk"));
  for (int n = 0; n < 8; ++n) {
    Must(producer.Send(Message("bulk", std::string(size_t{200} << 10, 'x'))));
  }
  REQUIRE(HasThreads());

  const pid_t made = ::fork();
  REQUIRE(made >= 0);
  if (made == 0 && role.argument(1) == "exec") {
    // The pipes of the role stay in this file, so that the parent sees whose
    // end it hears of.
    ::close(3);
    ::close(4);
    ::execl("/bin/sleep", "sleep", "60", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  if (made == 0) {
    role.Say("send " + CodeText(producer.Send(Message(kQueue, "x")).status()));
    const auto received = consumer.Receive(milliseconds(10));
    role.Say("receive " + CodeText(received.status()));
    role.Say("ack " + CodeText(held.Ack()));
    role.Say("bind " + CodeText(consumer.Bind("another")));
    role.Say("queues " +
             CodeText(bus.resource_manager().ListQueues().status()));
    {
      const auto fresh =
          MessagingAccessPoint::Connect(role.argument(0) + kFresh);
      role.Say("fresh " + CodeText(fresh.status()));
    }
    role.Say("forked " + std::to_string(::getpid()));
    Linger();
  }
  if (role.argument(1) == "exec") role.Say("forked " + std::to_string(made));
  role.Hear();
  Must(producer.Send(Message("side", "still here")));
  CHECK(NothingComes(consumer));
  role.Say("unharmed");
  Linger();
}

// Ends a process whose parent died and which is ours since then.
class Orphan {
 public:
  Orphan() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~Orphan() {
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
  bool Lives() const { return ::kill(pid, 0) == 0; }

  pid_t pid = -1;
};

void LeaseComesBack(Child& forker, Orphan& orphan,
                    const MessagingAccessPoint& bus) {
  PullConsumer other = Consume(bus, kQueue);
  REQUIRE(NothingComes(other));

  REQUIRE(forker.Kill());
  const auto killed = steady_clock::now();
  const Delivery again = Take(other);
  const auto took =
      std::chrono::duration_cast<milliseconds>(steady_clock::now() - killed);

  std::printf(
      "lease of a dead process whose child lives: back after %lld ms "
      "(goal: 200)\n",
      static_cast<long long>(took.count()));
  CHECK(took < milliseconds(2000));
  CHECK(again->body() == "held");
  CHECK(again->delivery_count() == 2);
  CHECK(orphan.Lives());
}

TEST_CASE(
    "OMS-REF-014: a forked child's handle answers 1601 and dies with its "
    "owner") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Must(bus.resource_manager().CreateQueue("side"));
  SendOne(bus, Message(kQueue, "held"));
  Orphan orphan;

  Child forker("forker", {place.Url(), "fork"});
  CHECK(forker.Hear() == "send 1601");
  CHECK(forker.Hear() == "receive 1601");
  CHECK(forker.Hear() == "ack 1601");
  CHECK(forker.Hear() == "bind 1601");
  CHECK(forker.Hear() == "queues 1601");
  CHECK(forker.Hear() == "fresh 0");
  const auto forked = forker.Hear();
  REQUIRE(forked);
  REQUIRE(forked->starts_with("forked "));
  orphan.pid = std::stoi(forked->substr(7));
  forker.Say("go on");
  CHECK(forker.Hear() == "unharmed");
  PullConsumer side = Consume(bus, "side");
  CHECK(Take(side)->body() == "still here");

  LeaseComesBack(forker, orphan, bus);
}

TEST_CASE("a program that a process started does not keep its leases alive") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Must(bus.resource_manager().CreateQueue("side"));
  SendOne(bus, Message(kQueue, "held"));
  Orphan orphan;

  Child forker("forker", {place.Url(), "exec"});
  const auto forked = forker.Hear();
  REQUIRE(forked);
  REQUIRE(forked->starts_with("forked "));
  orphan.pid = std::stoi(forked->substr(7));
  forker.Say("go on");
  REQUIRE(forker.Hear() == "unharmed");

  LeaseComesBack(forker, orphan, bus);
}

}  // namespace
}  // namespace openmessaging::reference::fork_test
