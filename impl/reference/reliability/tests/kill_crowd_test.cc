// SPDX-License-Identifier: Apache-2.0
//
// Many: restarts behind kills, processes that open what others recover, places
// for processes, receivers of one queue.

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "goals.h"
#include "kill/waits.h"
#include "kill/worker.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/reference/check.h"
#include "openmessaging/status.h"
#include "shared_place.h"

namespace openmessaging::reference::kill_crowd_test {
namespace {

namespace fs = std::filesystem;
using internal::Concat;
using kill::Histogram;
using kill::NowNs;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <typename T>
T* SharedOf() {
  void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return new (memory) T();
}

template <typename Condition>
bool Becomes(Condition condition, std::chrono::seconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    ::usleep(500);
  }
  return true;
}

uint64_t BytesIn(const std::string& directory) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

Message Cheap(std::string_view body) {
  Message message("orders", body);
  message.SetDurability(Durability::kProcess);
  return message;
}

void MakeCrowdOrders(const std::string& url) {
  const auto bus = MessagingAccessPoint::Connect(url);
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
}

struct Restarts {
  std::atomic<uint32_t> ready;
  std::atomic<uint64_t> sent;
  std::atomic<uint64_t> received;
  Histogram openings;
};

// Opens, receives and settles what is there, sends a little, says so, waits to
// be killed.
void LiveShortly(const std::string& url, Restarts& restarts) {
  const int64_t begin_ns = NowNs();
  const auto bus = MessagingAccessPoint::Connect(url);
  if (!bus.ok()) return;
  restarts.openings.Add(NowNs() - begin_ns);
  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  auto producer = bus->CreateProducer();
  if (!consumer.ok() || !consumer->Bind("orders").ok()) return;
  while (true) {
    const bool all = restarts.received.load() >= restarts.sent.load();
    const auto batch = consumer->ReceiveBatch(16, milliseconds(all ? 0 : 300));
    if (!batch.ok()) return;
    if (all && batch->empty()) break;
    for (const Delivery& one : *batch) {
      if (!one.Ack().ok()) return;
      restarts.received.fetch_add(1);
    }
  }
  for (int n = 0; n < 5; ++n) {
    if (!producer->Send(Cheap(std::string(500, 'x'))).ok()) return;
    restarts.sent.fetch_add(1);
  }
  restarts.ready = 1;
  while (true) ::pause();
}

void RestartOften(uint64_t rounds) {
  SharedPlace place;
  const std::string url = place.Url(
      "?housekeeper=off&first-segment=16KiB&max-segment=64KiB&slots=16"
      "&window=64");
  MakeCrowdOrders(url);
  auto* const restarts = SharedOf<Restarts>();
  uint64_t most_bytes = 0;
  uint64_t early_bytes = 0;
  for (uint64_t n = 0; n < rounds; ++n) {
    restarts->ready = 0;
    const pid_t pid = kill::Fork([&] { LiveShortly(url, *restarts); });
    CAPTURE(n);
    REQUIRE(Becomes([&] { return restarts->ready.load() != 0; },
                    std::chrono::seconds(20)));
    kill::KillAndWait(pid);
    const uint64_t bytes = BytesIn(place.store());
    most_bytes = std::max(most_bytes, bytes);
    if (n < rounds / 4) early_bytes = std::max(early_bytes, bytes);
  }
  const auto report = CheckStore(place.store());
  REQUIRE(report.ok());
  INFO(report->ToText());
  CHECK_FALSE(report->damaged());
  // What the first quarter took is enough for all of them.
  CHECK(most_bytes <= early_bytes + early_bytes / 4);
  CHECK(restarts->sent.load() == 5 * rounds);
  Report(
      {"kill", "unclean restarts in a row, bounded on disk", WithCommas(rounds),
       Concat(WithCommas(rounds), ", at most ", WithCommas(most_bytes / 1024),
              " KiB on disk (", WithCommas(early_bytes / 1024),
              " in the first quarter), openings ", restarts->openings.ToText()),
       most_bytes <= early_bytes + early_bytes / 4});
}

TEST_CASE("restarts behind kills take no more disk") {
  RestartOften(For({200, 1'000}));
}

struct Places {
  std::atomic<uint32_t> opened;
  std::atomic<uint32_t> full;
  std::atomic<uint32_t> other;
};

// Opens a store as often as it can, up to `most` times, and keeps it open.
void TakePlaces(const std::string& url, uint32_t most, Places& places) {
  std::vector<MessagingAccessPoint> all;
  for (uint32_t n = 0; n < most; ++n) {
    auto bus = MessagingAccessPoint::Connect(url);
    if (bus.ok()) {
      all.push_back(*std::move(bus));
      places.opened.fetch_add(1);
    } else if (OmsCode(bus.status()) == Code::kStorageBusy &&
               bus.status().message().find("places for processes") !=
                   absl::string_view::npos) {
      places.full.fetch_add(1);
      break;
    } else {
      places.other.fetch_add(1);
      break;
    }
  }
  while (true) ::pause();
}

TEST_CASE("all places for processes are taken, freed by kills, taken again") {
  // Descriptors and addresses of 1,024 handles are those of eight processes.
  const auto places_of_store = static_cast<uint32_t>(For({256, 1'024}));
  constexpr uint32_t kProcesses = 8;
  SharedPlace place;
  const std::string url =
      place.Url(Concat("?housekeeper=off&first-segment=16KiB&max-segment=16KiB"
                       "&slots=",
                       places_of_store));
  MakeCrowdOrders(url);
  bool met = true;
  for (int round = 0; round < 2; ++round) {
    auto* const places = SharedOf<Places>();
    std::vector<pid_t> pids;
    for (uint32_t n = 0; n < kProcesses; ++n) {
      pids.push_back(kill::Fork(
          [&] { TakePlaces(url, places_of_store / kProcesses + 1, *places); }));
    }
    const bool all = Becomes(
        [&] {
          return places->opened.load() + places->other.load() >=
                     places_of_store &&
                 places->full.load() > 0;
        },
        std::chrono::seconds(100));
    CHECK(all);
    CHECK(places->opened.load() == places_of_store);
    CHECK(places->other.load() == 0);
    met = met && all && places->opened.load() == places_of_store;
    for (const pid_t pid : pids) kill::KillAndWait(pid);
  }
  // None of them is left behind.
  const auto bus = MessagingAccessPoint::Connect(url);
  CHECK(bus.ok());
  Report({"kill", "places for processes taken twice, freed by kills",
          WithCommas(places_of_store), WithCommas(places_of_store), met});
}

constexpr uint32_t kReceivers = 200;

struct Herd {
  std::atomic<uint32_t> ready;
  std::array<std::atomic<uint32_t>, kReceivers> got;
  std::atomic<uint32_t> all;
};

// Receives with many threads at once.
void Receive(const std::string& url, uint32_t first, uint32_t count,
             Herd& herd) {
  const auto bus = MessagingAccessPoint::Connect(url);
  if (!bus.ok()) return;
  std::vector<std::thread> threads;
  for (uint32_t n = first; n < first + count; ++n) {
    threads.emplace_back([&, n] {
      auto consumer = bus->CreatePullConsumer({.group = "billing"});
      if (!consumer.ok() || !consumer->Bind("orders").ok()) return;
      herd.ready.fetch_add(1);
      while (true) {
        const auto one = consumer->Receive(std::chrono::seconds(1));
        if (!one.ok()) return;
        if (!*one || !(*one)->Ack().ok()) continue;
        herd.got[n].fetch_add(1);
        herd.all.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE(
    "200 receivers of one queue get every message once, in each process") {
  const auto messages = static_cast<uint32_t>(For({10'000, 20'000}));
  constexpr uint32_t kProcesses = 8;
  SharedPlace place;
  const std::string url = place.Url("");
  MakeCrowdOrders(url);
  auto* const herd = SharedOf<Herd>();
  std::vector<pid_t> pids;
  for (uint32_t n = 0; n < kProcesses; ++n) {
    pids.push_back(kill::Fork([&] {
      Receive(url, n * kReceivers / kProcesses, kReceivers / kProcesses, *herd);
    }));
  }
  REQUIRE(Becomes([&] { return herd->ready.load() == kReceivers; },
                  std::chrono::seconds(30)));
  const int64_t begin_ns = NowNs();
  const pid_t sender = kill::Fork([&] {
    const auto bus = MessagingAccessPoint::Connect(url);
    auto producer = bus->CreateProducer();
    for (uint32_t n = 0; n < messages; ++n) {
      if (!producer->Send(Cheap(std::to_string(n))).ok()) return;
    }
    while (true) ::pause();
  });
  const bool came = Becomes([&] { return herd->all.load() >= messages; },
                            std::chrono::seconds(300));
  const int64_t took_ns = NowNs() - begin_ns;
  for (const pid_t pid : pids) kill::KillAndWait(pid);
  kill::KillAndWait(sender);

  CHECK(came);
  CHECK(herd->all.load() == messages);
  uint32_t least = messages;
  uint32_t most = 0;
  for (const auto& got : herd->got) {
    least = std::min(least, got.load());
    most = std::max(most, got.load());
  }
  // Every sleeper is woken, and the scheduler says who is first; but each
  // process gets its part.
  for (uint32_t n = 0; n < kProcesses; ++n) {
    uint32_t part = 0;
    for (uint32_t k = 0; k < kReceivers / kProcesses; ++k) {
      part += herd->got[n * kReceivers / kProcesses + k].load();
    }
    CHECK(part > 0);
  }
  Report({"kill",
          "200 receivers of one queue in 8 processes, each message once",
          WithCommas(messages),
          Concat(WithCommas(herd->all.load()), " in ", took_ns / 1'000'000,
                 " ms; one got ", least, " to ", most),
          came && herd->all.load() == messages});
}

}  // namespace
}  // namespace openmessaging::reference::kill_crowd_test
