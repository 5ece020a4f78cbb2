// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/io_thread.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
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
  IoThread::TimePoint Turn(bool ready) override {
    ++turns;
    if (working.exchange(true)) overlapped = true;
    if (ready) Read();
    working = false;
    return tick.count() == 0 ? IoThread::TimePoint::max()
                             : steady_clock::now() + tick;
  }
  void Read() {
    std::array<char, 16> room;
    const ssize_t got = ::read(ends[0], room.data(), room.size());
    if (got <= 0) return;
    reader = std::this_thread::get_id();
    bytes += static_cast<int>(got);
    IoThread* const one = thread;
    if (one != nullptr) one->Wake();
  }
  void Write(const char* text = "x") const {
    REQUIRE(::write(ends[1], text, 1) == 1);
  }

  std::array<int, 2> ends{};
  bool watch = true;
  milliseconds tick{0};
  std::atomic<int> turns{0};
  std::atomic<int> bytes{0};
  std::atomic<std::thread::id> reader{};  // Of the last byte.
  std::atomic<bool> working{false};
  std::atomic<bool> overlapped{false};
  std::atomic<IoThread*> thread{nullptr};
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

TEST_CASE("a task runs in place where nobody works") {
  Reader reader;
  IoThread thread(reader);
  REQUIRE(Soon([&] { return reader.turns == 1; }));

  // The thread may still be on its way to sleep.
  std::thread::id ran{};
  CHECK(Soon([&] {
    std::atomic<bool> done{false};
    REQUIRE(thread.Run([&] {
      ran = std::this_thread::get_id();
      done = true;
    }));
    while (!done) std::this_thread::yield();
    return ran == std::this_thread::get_id();
  }));
}

TEST_CASE("a task that is run waits behind one that was posted") {
  Reader reader;
  IoThread thread(reader);
  std::atomic<bool> go{false};
  std::vector<int> seen;
  thread.Post([&] {
    while (!go) std::this_thread::yield();
    seen.push_back(1);
  });

  REQUIRE(thread.Run([&] { seen.push_back(2); }));
  go = true;
  thread.Stop();

  REQUIRE(seen.size() == 2);
  CHECK(seen[0] == 1);
  CHECK(seen[1] == 2);
  CHECK(!thread.Run([] {}));
}

TEST_CASE("a helper reads in place of the thread") {
  Reader reader;
  IoThread thread(reader);
  int in_place = 0;

  for (int i = 1; i <= 100; ++i) {
    reader.Write();
    const auto limit = steady_clock::now() + std::chrono::seconds(10);
    CHECK(thread.Await([&] { return reader.bytes == i; }, limit));
    if (reader.reader.load() == std::this_thread::get_id()) ++in_place;
  }

  // But for what the thread took while it watched at first.
  CHECK(in_place > 50);
}

TEST_CASE("a helper gives up at its deadline and when it is told") {
  Reader reader;
  IoThread thread(reader);
  const auto before = steady_clock::now();
  CHECK(thread.Await([] { return false; }, before + milliseconds(20)));
  CHECK(steady_clock::now() >= before + milliseconds(20));

  std::atomic<bool> told{false};
  std::atomic<bool> ended{false};
  std::thread helper([&] {
    (void)thread.Await([&] { return told.load(); },
                       steady_clock::time_point::max());
    ended = true;
  });
  std::this_thread::sleep_for(milliseconds(5));
  told = true;
  thread.Wake();
  CHECK(Soon([&] { return ended.load(); }));
  helper.join();
}

TEST_CASE("the thread reads again when a helper has left") {
  Reader reader;
  IoThread thread(reader);
  // Also after it has left the socket to the helper for long.
  for (const int wait : {0, 1, 30, 250, 250}) {
    const auto until = steady_clock::now() + milliseconds(wait);
    bool wrote = false;
    (void)thread.Await(
        [&] {
          if (!std::exchange(wrote, true)) reader.Write();
          return false;
        },
        until);
    const int bytes = reader.bytes;
    reader.Write();
    CHECK(Soon([&] { return reader.bytes > bytes; }));
  }
}

TEST_CASE("there is one helper and the others wait for the thread") {
  Reader reader;
  IoThread thread(reader);
  reader.thread = &thread;
  std::atomic<bool> inside{false};
  std::thread helper([&] {
    CHECK(thread.Await(
        [&] {
          inside = true;
          return reader.bytes > 0;
        },
        steady_clock::time_point::max()));
  });
  REQUIRE(Soon([&] { return inside.load(); }));

  CHECK(!thread.Await([] { return false; }, steady_clock::time_point::max()));
  reader.Write();
  helper.join();
  reader.Write();
  CHECK(Soon([&] { return reader.bytes == 2; }));
}

TEST_CASE("stop ends a helper") {
  Reader reader;
  IoThread thread(reader);
  std::atomic<bool> inside{false};
  std::thread helper([&] {
    (void)thread.Await(
        [&] {
          inside = true;
          return false;
        },
        steady_clock::time_point::max());
  });
  REQUIRE(Soon([&] { return inside.load(); }));

  thread.Stop();
  helper.join();

  CHECK(!thread.Await([] { return false; }, steady_clock::time_point::max()));
}

TEST_CASE("callers and the thread work one at a time and miss nothing") {
  constexpr int kEach = 2000;
  Reader reader;
  IoThread thread(reader);
  reader.thread = &thread;
  std::atomic<int> ran{0};
  std::vector<std::thread> callers;
  for (int n = 0; n < 3; ++n) {
    callers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        const auto task = [&] {
          if (reader.working.exchange(true)) reader.overlapped = true;
          ++ran;
          // Its own answer.
          [[maybe_unused]] const auto sent = ::write(reader.ends[1], "x", 1);
          reader.working = false;
        };
        const int before = reader.bytes;
        if (i % 3 == 0) {
          thread.Post(task);
        } else {
          thread.Run(task);
        }
        const auto answered = [&] { return reader.bytes > before; };
        const auto limit = steady_clock::now() + std::chrono::seconds(10);
        if (!thread.Await(answered, limit)) (void)Soon(answered);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();

  CHECK(ran == 3 * kEach);
  CHECK(!reader.overlapped);
  CHECK(Soon([&] { return reader.bytes == 3 * kEach; }));
}

}  // namespace openmessaging::inline v0::kit::io_thread_test
