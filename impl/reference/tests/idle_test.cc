// SPDX-License-Identifier: Apache-2.0
//
// A receiver that waits costs nothing, and wakes at once.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::idle_test {
namespace {

using std::chrono::microseconds;

constexpr char kQueue[] = "orders";

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             steady_clock::now().time_since_epoch())
      .count();
}

// Returns: whether this process has a thread of that name.
bool HasThread(std::string_view name) {
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream in(task.path() / "comm");
    std::string line;
    if (std::getline(in, line) && line == name) return true;
  }
  return false;
}

// Arguments: URL. Says "ready", then the time of each message's arrival: the
// steady clock is one clock for all processes.
OMS_ROLE(idle_waiter) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue);
  role.Say("ready");

  while (true) {
    const auto received = Must(consumer.Receive(std::chrono::seconds(60)));
    const int64_t now_ns = NowNs();
    if (!received) continue;
    Must(received->Ack());
    role.Say(std::to_string(now_ns));
  }
}

// Arguments: URL. Sends until the store has its housekeeper and several
// segments, says "ready", and then nothing happens any more.
OMS_ROLE(idler) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0; n < 20; ++n) {
    Message message(kQueue, std::string(size_t{200} << 10, 'x'));
    message.SetDurability(Durability::kProcess);
    Must(producer.Send(message));
  }
  const auto deadline = Soon();
  while (!HasThread("oms-housekeeper")) REQUIRE(steady_clock::now() < deadline);
  role.Say("ready");
  role.Hear();
}

Message Cheap(std::string_view body) {
  Message message(kQueue, body);
  message.SetDurability(Durability::kProcess);
  return message;
}

TEST_CASE("OMS-REF-017: an idle receiver uses next to no processor time") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Child waiter("idle_waiter", {place.Url()});
  REQUIRE(waiter.Hear() == "ready");
  // It has received once, so all that waiting needs is there.
  SendOne(bus, Cheap("wake up"));
  REQUIRE(waiter.Hear());

  const microseconds before = waiter.CpuTime();
  constexpr std::chrono::seconds kSpan{3};
  std::this_thread::sleep_for(kSpan);
  const microseconds used = waiter.CpuTime() - before;

  const double percent = 100.0 * static_cast<double>(used.count()) /
                         static_cast<double>(microseconds(kSpan).count());
  std::printf("an idle receiver: %.3f %% of a core (goal: below 1)\n", percent);
  CHECK(percent < 10);
}

TEST_CASE("OMS-REF-017: an idle housekeeper uses next to no processor time") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Child idler("idler", {place.Url()});
  REQUIRE(idler.Hear() == "ready");

  const microseconds before = idler.CpuTime();
  constexpr std::chrono::seconds kSpan{3};
  std::this_thread::sleep_for(kSpan);
  const microseconds used = idler.CpuTime() - before;

  const double percent = 100.0 * static_cast<double>(used.count()) /
                         static_cast<double>(microseconds(kSpan).count());
  std::printf("an idle housekeeper: %.3f %% of a core (goal: below 1)\n",
              percent);
  CHECK(percent < 10);
  REQUIRE(idler.Finish());
}

TEST_CASE("a sleeping receiver wakes when another process sends") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer());
  Child waiter("idle_waiter", {place.Url()});
  REQUIRE(waiter.Hear() == "ready");
  std::vector<int64_t> waits_ns;

  for (int n = 0; n < 50; ++n) {
    // Long enough that it sleeps.
    std::this_thread::sleep_for(milliseconds(5));
    const int64_t sent_ns = NowNs();
    Must(producer.Send(Cheap("wake up")));
    const auto said = waiter.Hear();
    REQUIRE(said);
    waits_ns.push_back(std::stoll(*said) - sent_ns);
  }

  std::sort(waits_ns.begin(), waits_ns.end());
  const double median_ms = static_cast<double>(waits_ns[25]) / 1e6;
  std::printf(
      "send to receive, other process: median %.3f ms, slowest %.3f ms "
      "(goal: 1)\n",
      median_ms, static_cast<double>(waits_ns.back()) / 1e6);
  CHECK(median_ms < 10);
}

}  // namespace
}  // namespace openmessaging::reference::idle_test
