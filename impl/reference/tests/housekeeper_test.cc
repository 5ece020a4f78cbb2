// SPDX-License-Identifier: Apache-2.0
//
// The housekeeper completes what nobody waits for, works ahead, and tidies up.

#include "housekeeper.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "async_send.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "faulty_storage.h"
#include "openmessaging/status.h"
#include "producer.h"
#include "store.h"

namespace openmessaging::reference::testing::housekeeper_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Waits until `done()`, at most as long as a test may.
template <typename Condition>
bool Until(Condition done) {
  const auto deadline = InGoodTime();
  while (!done()) {
    if (steady_clock::now() >= deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// One store with a housekeeper, its flushes behind a door.
struct House {
  explicit House(bool housekeeper = true,
                 const StoreOptions& create = RoomyStore()) {
    storage->set_before_sync([this](std::string_view name) {
      return name.starts_with("log/0") ? door.Pass() : absl::OkStatus();
    });
    storage->set_before_create([this](std::string_view name) {
      if (name == "log/next.tmp") maker = std::this_thread::get_id();
    });
    StoreOpenOptions options;
    options.create = create;
    options.housekeeper = housekeeper;
    auto opened = Store::Open(storage, &Environment::OfMachine(), options,
                              InGoodTime());
    REQUIRE_MESSAGE(opened.ok(), opened.status().message());
    store = *std::move(opened);
    CreateQueue(*store, "orders", 4);
    producer = std::make_unique<ReferenceProducer>(store, false);
  }
  ~House() { door.Open(); }

  static StoreOptions RoomyStore() {
    StoreOptions options = SmallStore();
    options.first_segment_bytes = 1 << 20;
    options.max_segment_bytes = 1 << 20;
    return options;
  }
  void SendMany(int count, int32_t partition = 0) {
    for (int n = 0; n < count; ++n) {
      sends.Send(*producer, MakeMessage(std::to_string(n), Durability::kDisk,
                                        partition));
    }
  }
  uint64_t Flushes() const {
    return store->control().header().flush.flushes.Load();
  }

  TempDirectory directory;
  FlushDoor door;
  std::atomic<std::thread::id> maker{};
  std::shared_ptr<FaultyStorage> storage =
      std::make_shared<FaultyStorage>(directory.path());
  // The end of the store completes what is left of them.
  AsyncSends sends;
  std::shared_ptr<Store> store;
  std::unique_ptr<ReferenceProducer> producer;
};

TEST_CASE("a send that nobody waits for completes when it is durable") {
  House house;
  house.door.Shut();

  house.SendMany(1);
  house.door.AwaitHeld();
  CHECK(house.sends.endings().empty());
  house.door.Open();

  REQUIRE(house.sends.Await(1) == 1);
  const Ending ending = house.sends.endings()[0];
  CHECK(ending.status.ok());
  CHECK(ending.result.offset == 0);
  CHECK(ending.thread != std::this_thread::get_id());
  CHECK(house.store->log().durable() == house.store->log().committed());
  Member member(house.store, "g");
  const auto seen = member.Take();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].id == ending.result.message_id.ToString());
}

TEST_CASE("sends that come while a flush runs share the next one") {
  House house;
  house.door.Shut();
  house.SendMany(1);
  house.door.AwaitHeld();

  const uint64_t before = house.Flushes();
  house.SendMany(500);
  house.door.Open();

  REQUIRE(house.sends.Await(501) == 501);
  CHECK(house.Flushes() - before <= 2);
}

TEST_CASE("completions come in the order of positions, each once") {
  House house;
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::vector<std::thread> threads;

  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&house, t] { house.SendMany(kEach, t); });
  }
  for (std::thread& thread : threads) thread.join();

  REQUIRE(house.sends.Await(kThreads * kEach) == kThreads * kEach);
  std::set<size_t> numbers;
  std::array<int64_t, kThreads> next{};
  for (const Ending& ending : house.sends.endings()) {
    CHECK(ending.status.ok());
    numbers.insert(ending.number);
    int64_t& expected = next[static_cast<size_t>(ending.result.partition)];
    CHECK(ending.result.offset == expected);
    ++expected;
  }
  CHECK(numbers.size() == kThreads * kEach);
}

TEST_CASE("lower levels do not wait for any flush") {
  House house;
  house.door.Shut();
  house.SendMany(1);
  house.door.AwaitHeld();

  house.sends.Send(*house.producer, MakeMessage("p", Durability::kProcess));
  house.sends.Send(*house.producer, MakeMessage("v", Durability::kVolatile));

  const auto endings = house.sends.endings();
  REQUIRE(endings.size() == 2);
  for (const Ending& ending : endings) {
    CHECK(ending.status.ok());
    CHECK(ending.thread == std::this_thread::get_id());
  }
}

TEST_CASE("a flush returns when every earlier send has completed") {
  House house;
  std::atomic<bool> slow{true};
  house.sends.set_hook([&](const Ending&) {
    // Longer than the flush takes to return if it does not wait for this.
    while (slow) std::this_thread::yield();
  });
  house.SendMany(20);
  std::thread helper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    slow = false;
  });

  const absl::Status flushed = house.producer->Flush(InGoodTime());

  CHECK_MESSAGE(flushed.ok(), flushed.message());
  CHECK(house.sends.endings().size() == 20);
  helper.join();
}

TEST_CASE("a flush that does not end in time answers 1410") {
  House house;
  house.door.Shut();
  house.SendMany(1);
  house.door.AwaitHeld();

  const absl::Status flushed =
      house.producer->Flush(steady_clock::now() + milliseconds(20));

  CHECK(OmsCode(flushed) == Code::kTimeout);
}

TEST_CASE("OMS-REF-007: a flush that fails fails the sends with 1501") {
  House house;
  house.door.Break();

  house.SendMany(3);

  REQUIRE(house.sends.Await(3) == 3);
  for (const Ending& ending : house.sends.endings()) {
    CHECK(OmsCode(ending.status) == Code::kStorageError);
    CHECK(OutcomeOf(ending.status) == Outcome::kUnknown);
  }
}

TEST_CASE("closing a producer waits for its sends") {
  House house;
  house.SendMany(100);

  CHECK(house.producer->Close(InGoodTime()).ok());

  const auto endings = house.sends.endings();
  REQUIRE(endings.size() == 100);
  for (const Ending& ending : endings) CHECK(ending.status.ok());
}

TEST_CASE("what a producer leaves at its deadline completes with 1504") {
  House house;
  AsyncSends others;
  ReferenceProducer other(house.store, false);
  house.door.Shut();
  house.SendMany(3);
  others.Send(other, MakeMessage("of another"));
  house.door.AwaitHeld();

  CHECK(house.producer->Close(steady_clock::now() + milliseconds(10)).ok());

  const auto endings = house.sends.endings();
  REQUIRE(endings.size() == 3);
  for (const Ending& ending : endings) {
    CHECK(OmsCode(ending.status) == Code::kFlushTimeout);
    CHECK(OutcomeOf(ending.status) == Outcome::kStored);
  }
  house.door.Open();
  REQUIRE(others.Await(1) == 1);
  CHECK(others.endings()[0].status.ok());
  CHECK(house.sends.endings().size() == 3);
}

TEST_CASE("a waiting send whose flush hangs answers 1504 and is stored") {
  House house;
  Member member(house.store, "g");
  house.door.Shut();
  house.SendMany(1);
  house.door.AwaitHeld();
  const Message late[2] = {MakeMessage("late 0"), MakeMessage("late 1")};
  const auto begin = steady_clock::now();

  const auto results = TrySend(house.store, late, begin + milliseconds(50));

  CHECK(steady_clock::now() - begin >= milliseconds(50));
  for (const auto& result : results) {
    CHECK(OmsCode(result.status()) == Code::kFlushTimeout);
    CHECK(OutcomeOf(result.status()) == Outcome::kStored);
    CHECK_FALSE(IsRetriable(result.status()));
  }
  // Nobody gets what no disk has yet.
  CHECK(member.Take().empty());
  house.door.Open();
  REQUIRE(house.sends.Await(1) == 1);
  REQUIRE(TrySend(house.store, {late, 1})[0].ok());
  const auto seen = member.Take();
  REQUIRE(seen.size() == 4);
  CHECK(seen[1].body == "late 0");
  CHECK(seen[2].body == "late 1");
}

TEST_CASE("closing the store completes what is left") {
  House house;
  house.SendMany(50);

  CHECK(house.store->Close(InGoodTime()).ok());

  const auto endings = house.sends.endings();
  REQUIRE(endings.size() == 50);
  for (const Ending& ending : endings) CHECK(ending.status.ok());
}

TEST_CASE("a completion may drop the last handle of the store") {
  House house;
  house.sends.set_hook([&](const Ending& ending) {
    if (ending.number != 1) return;
    house.producer.reset();
    house.store.reset();
  });
  house.door.Shut();

  house.SendMany(10);
  house.door.Open();

  REQUIRE(house.sends.Await(10) == 10);
  for (const Ending& ending : house.sends.endings()) CHECK(ending.status.ok());
  CHECK(house.store == nullptr);
}

TEST_CASE("without a housekeeper the send flushes by itself") {
  House house(false);

  house.SendMany(1);

  const auto endings = house.sends.endings();
  REQUIRE(endings.size() == 1);
  CHECK(endings[0].status.ok());
  CHECK(endings[0].thread == std::this_thread::get_id());
  CHECK(house.store->log().durable() == house.store->log().committed());
}

TEST_CASE("the next segment is made before a sender needs it") {
  House house;
  ControlHeader::Catalog& catalog = house.store->control().header().catalog;
  const uint32_t segments = catalog.end_segment.Load();
  const auto opener = house.maker.load();

  // A little more than half of the first.
  for (int n = 0; n < 9; ++n) {
    SendOne(house.store, std::string(60'000, 'x'), Durability::kProcess);
  }

  CHECK(Until([&] { return catalog.end_segment.Load() == segments + 1; }));
  CHECK(opener == std::this_thread::get_id());
  CHECK(house.maker.load() != std::this_thread::get_id());
}

TEST_CASE("a sender faster than the housekeeper makes segments by itself") {
  House house(true, SmallStore());

  for (int n = 0; n < 200; ++n) {
    SendOne(house.store, std::string(1000, 'x'), Durability::kProcess);
  }

  CHECK(AllStored(house.store).size() == 200);
}

TEST_CASE("segments that are settled go although nobody sends") {
  House house(true, SmallStore());
  ControlHeader::Catalog& catalog = house.store->control().header().catalog;
  for (int n = 0; n < 100; ++n) {
    SendOne(house.store, std::string(1000, 'x'), Durability::kProcess);
  }
  CHECK(catalog.first_segment.Load() == 0);
  const uint32_t current = house.store->control().header().append.current.Load();

  CHECK(AllStored(house.store).size() == 100);

  CHECK(Until([&] { return catalog.first_segment.Load() >= current; }));
  CHECK(SegmentFiles(house.directory.path()).size() <= 3);
}

}  // namespace
}  // namespace openmessaging::reference::testing::housekeeper_test
