// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/io_thread.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace openmessaging::inline v0::kit::io_thread_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Reads bytes of a socket pair and counts its turns.
class Reader final : public IoThread::Work {
 public:
  Reader() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
                         ends.data()) == 0);
  }
  ~Reader() {
    for (const int end : ends) ::close(end);
  }

  int Socket() override { return watch ? ends[0] : -1; }
  IoThread::TimePoint Turn() override {
    ++turns;
    std::array<char, 16> room;
    const ssize_t got = ::read(ends[0], room.data(), room.size());
    if (got > 0) bytes += static_cast<int>(got);
    return tick.count() == 0 ? IoThread::TimePoint::max()
                             : steady_clock::now() + tick;
  }

  std::array<int, 2> ends{};
  bool watch = true;
  milliseconds tick{0};
  std::atomic<int> turns{0};
  std::atomic<int> bytes{0};
};

template <typename Condition>
bool Soon(Condition condition) {
  const auto end = steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

}  // namespace

TEST_CASE("tasks run in their order on the thread and none after stop") {
  Reader reader;
  IoThread thread(reader);
  std::vector<int> seen;
  std::atomic<bool> here{true};

  for (int i = 0; i < 1000; ++i) {
    REQUIRE(thread.Post([&, i] {
      if (!thread.IsHere()) here = false;
      seen.push_back(i);
    }));
  }
  thread.Stop();

  CHECK(here);
  CHECK(!thread.IsHere());
  REQUIRE(seen.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
  CHECK(!thread.Post([] {}));
}

TEST_CASE("a task may post another") {
  Reader reader;
  IoThread thread(reader);
  std::atomic<bool> done{false};
  thread.Post([&] { thread.Post([&] { done = true; }); });
  CHECK(Soon([&] { return done.load(); }));
}

TEST_CASE("input wakes the thread") {
  Reader reader;
  IoThread thread(reader);
  for (int i = 1; i <= 20; ++i) {
    REQUIRE(::write(reader.ends[1], "x", 1) == 1);
    CHECK(Soon([&] { return reader.bytes == i; }));
  }
}

TEST_CASE("a turn comes when its time has come without any input") {
  Reader reader;
  reader.watch = false;
  reader.tick = milliseconds(1);
  IoThread thread(reader);
  CHECK(Soon([&] { return reader.turns > 5; }));
}

TEST_CASE("an idle thread sleeps") {
  Reader reader;
  IoThread thread(reader);
  thread.Post([] {});
  CHECK(Soon([&] { return reader.turns > 0; }));
  std::this_thread::sleep_for(milliseconds(50));
  CHECK(reader.turns < 10);
}

}  // namespace openmessaging::inline v0::kit::io_thread_test
