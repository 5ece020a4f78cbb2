// SPDX-License-Identifier: Apache-2.0
//
// Owners of locks that are killed, or stand still, while they hold them.

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "env/storage.h"
#include "goals.h"
#include "kill/waits.h"
#include "kill/worker.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/status.h"
#include "shared_place.h"
#include "store.h"

namespace openmessaging::reference::kill_locks_test {
namespace {

using internal::Concat;
using kill::Histogram;
using kill::NowNs;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

enum class Lock { kAppend, kFlush, kCursor };

// What the process that holds a lock says, and is told.
struct Hold {
  std::atomic<uint32_t> held;
  std::atomic<uint32_t> let_go;
  std::atomic<uint32_t> gone;
};

template <typename T>
T* InSharedMemory() {
  void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return new (memory) T();
}

LockWord* WordOf(Store& store, Lock lock) {
  ControlHeader& header = store.control().header();
  if (lock == Lock::kAppend) return &header.append.lock;
  if (lock == Lock::kFlush) return &header.flush.lock;
  for (uint32_t n = 0; n < store.catalog().count(); ++n) {
    const CatalogEntry& entry = *store.catalog().entry(n);
    if (entry.kind.Load() != kGroupKind) continue;
    Cursor* const cursor = store.catalog().FindCursor(entry.id.Load(), 0);
    if (cursor != nullptr) return &cursor->lock;
  }
  return nullptr;
}

// Opens the store, takes a lock as the engine does, and keeps it until it is
// told to let go, or killed.
void HoldLock(const std::string& directory, Lock lock, Hold& hold) {
  auto storage = OpenDirectory(directory, DirectoryOptions{});
  if (!storage.ok()) return;
  auto store = Store::Open(*std::move(storage), &Environment::OfMachine(), {},
                           steady_clock::now() + std::chrono::seconds(5));
  if (!store.ok()) return;
  LockWord* const word = WordOf(**store, lock);
  if (word == nullptr) return;
  SlotLock slot_lock(word, &(*store)->liveness(),
                     Environment::OfMachine().waiting);
  if (slot_lock.Acquire(steady_clock::now() + std::chrono::seconds(5)) ==
      SlotLock::Result::kTimeout) {
    return;
  }
  hold.held = 1;
  while (hold.let_go.load() == 0) ::usleep(1000);
  slot_lock.Release();
  hold.gone = 1;
  while (true) ::pause();
}

bool Await(const std::atomic<uint32_t>& flag) {
  const auto deadline = steady_clock::now() + std::chrono::seconds(20);
  while (flag.load() == 0) {
    if (steady_clock::now() > deadline) return false;
    ::usleep(100);
  }
  return true;
}

Message Of(Durability durability) {
  Message message("orders", "x");
  message.SetDurability(durability);
  return message;
}

// Arguments: URL. For each line, "append", "flush" or "cursor", it does what
// needs that lock; says "begun" before, and when it was done.
OMS_ROLE(lock_waiter) {
  const auto bus = MessagingAccessPoint::Connect(role.argument(0));
  REQUIRE(bus.ok());
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("orders").ok());
  REQUIRE(producer->Send(Of(Durability::kProcess)).ok());
  REQUIRE(consumer->Receive(milliseconds(1000)).ok());
  role.Say("ready");
  while (const auto line = role.Hear()) {
    if (*line == "cursor") {
      REQUIRE(producer->Send(Of(Durability::kProcess)).ok());
    }
    role.Say("begun");
    if (*line == "cursor") {
      const auto came = consumer->Receive(std::chrono::seconds(10));
      REQUIRE(came.ok());
      REQUIRE(came->has_value());
      REQUIRE((*came)->Ack().ok());
    } else {
      const auto durability =
          *line == "flush" ? Durability::kDisk : Durability::kProcess;
      REQUIRE(producer->Send(Of(durability)).ok());
    }
    role.Say(std::to_string(NowNs()));
  }
}

constexpr std::string_view kAttributes =
    "?housekeeper=off&first-segment=256KiB&max-segment=256KiB";

void MakeOrders(const std::string& url) {
  const auto bus = MessagingAccessPoint::Connect(url);
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
}

void KillHolders(Lock lock, const char* name, uint64_t rounds,
                 Histogram& waits) {
  SharedPlace place;
  const std::string url = place.Url(kAttributes);
  MakeOrders(url);
  Child waiter("lock_waiter", {url});
  REQUIRE(waiter.Hear() == "ready");
  auto random = RandomOfRun(21);
  auto* const hold = InSharedMemory<Hold>();
  for (uint64_t n = 0; n < rounds; ++n) {
    hold->held = 0;
    const pid_t holder =
        kill::Fork([&] { HoldLock(place.store(), lock, *hold); });
    REQUIRE(Await(hold->held));
    // Half of them wait already when it dies.
    const bool waits_already = n % 2 == 0;
    if (waits_already) {
      waiter.Say(name);
      REQUIRE(waiter.Hear() == "begun");
      ::usleep(static_cast<useconds_t>(random() % 3000));
    }
    kill::KillAndWait(holder);
    int64_t from_ns = NowNs();
    if (!waits_already) {
      waiter.Say(name);
      REQUIRE(waiter.Hear() == "begun");
      from_ns = NowNs();
    }
    const auto said = waiter.Hear();
    REQUIRE(said);
    waits.Add(std::max<int64_t>(std::stoll(*said) - from_ns, 0));
  }
  CHECK(waiter.Finish());
}

TEST_CASE("the lock of a killed owner is taken in milliseconds") {
  const uint64_t rounds = For({100, 2'000});
  struct Case {
    Lock lock{};
    const char* name = nullptr;
  };
  for (const Case& one :
       {Case{Lock::kAppend, "append"}, Case{Lock::kFlush, "flush"},
        Case{Lock::kCursor, "cursor"}}) {
    auto* const waits = InSharedMemory<Histogram>();
    KillHolders(one.lock, one.name, rounds, *waits);
    const int64_t slowest_ns = waits->QuantileNs(0.999);
    // Ten times the goal.
    CHECK(slowest_ns < 200'000'000);
    Report({"kill", Concat("takeover of the ", one.name, " lock, p99.9"),
            "20 ms (asserted: 200)",
            Concat(WithCommas(rounds), " owners killed: ", waits->ToText()),
            slowest_ns < 20'000'000});
  }
}

// Answers of a sender that has little time while `lock` is held by a process
// that stands still.
struct Answers {
  absl::Status disk{};
  absl::Status process{};
  milliseconds slower{0};
};

Answers SendBesideStopped(const MessagingAccessPoint& bus) {
  ProducerOptions options;
  options.send_timeout = milliseconds(300);
  auto producer = bus.CreateProducer(options);
  REQUIRE(producer.ok());
  Answers answers;
  for (const bool disk : {false, true}) {
    const auto begin = steady_clock::now();
    const auto sent =
        producer->Send(Of(disk ? Durability::kDisk : Durability::kProcess));
    (disk ? answers.disk : answers.process) = sent.status();
    answers.slower = std::max(
        answers.slower,
        std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin));
  }
  return answers;
}

void StopHolder(Lock lock, Answers& answers, size_t& stored) {
  SharedPlace place;
  const std::string url = place.Url(kAttributes);
  MakeOrders(url);
  auto* const hold = InSharedMemory<Hold>();
  const pid_t holder =
      kill::Fork([&] { HoldLock(place.store(), lock, *hold); });
  REQUIRE(Await(hold->held));
  ::kill(holder, SIGSTOP);
  const auto bus = MessagingAccessPoint::Connect(url);
  REQUIRE(bus.ok());

  answers = SendBesideStopped(*bus);

  hold->let_go = 1;
  ::kill(holder, SIGCONT);
  REQUIRE(Await(hold->gone));
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  CHECK(producer->Send(Of(Durability::kDisk)).ok());
  auto reader = bus->CreateStreamReader("orders", 0);
  REQUIRE(reader.ok());
  const auto messages = reader->Read(10, milliseconds(0));
  REQUIRE(messages.ok());
  stored = messages->size();
  kill::KillAndWait(holder);
}

TEST_CASE("an owner of the log's lock that stands is not robbed") {
  Answers answers;
  size_t stored = 0;
  StopHolder(Lock::kAppend, answers, stored);

  for (const absl::Status& status : {answers.process, answers.disk}) {
    CHECK(OmsCode(status) == Code::kTimeout);
    CHECK(DetailOf(status).outcome == Outcome::kNotStored);
  }
  CHECK(answers.slower < std::chrono::seconds(5));
  // Nothing of what was refused.
  CHECK(stored == 1);
}

TEST_CASE("a flush leader that stands holds up its followers only") {
  Answers answers;
  size_t stored = 0;
  StopHolder(Lock::kFlush, answers, stored);

  CHECK(answers.process.ok());
  // It may have been stored, and was.
  CHECK(OmsCode(answers.disk) == Code::kFlushTimeout);
  CHECK(answers.slower < std::chrono::seconds(5));
  CHECK(stored == 3);
}

}  // namespace
}  // namespace openmessaging::reference::kill_locks_test
