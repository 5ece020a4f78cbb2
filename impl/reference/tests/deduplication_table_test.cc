// SPDX-License-Identifier: Apache-2.0

#include "deduplication_table.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::deduplication_table_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr uint32_t kBlocks = 3;
constexpr uint32_t kPlaces = kBlocks * DeduplicationBlock::kEntries;

// A store whose table a test has for itself.
struct Fixture {
  Fixture() {
    for (uint32_t n = 0; n < kBlocks; ++n) {
      const auto block = table.Allocate(handle.store->control());
      REQUIRE(block.ok());
      table.AddBlock(*block);
    }
  }
  ~Fixture() { handle.Kill(); }

  ControlHeader::Table& words() {
    return handle.store->control().header().deduplication;
  }

  TempDirectory directory{};
  TestMachine machine{};
  Handle handle = OpenStore(directory.path(), machine);
  DeduplicationTable table{&handle.store->control()};
};

Hash128 KeyOf(uint64_t n) { return {Mix64(n), n}; }

// The fact that message `sequence` was the first with id `n`.
Deduplicated Fact(uint64_t n, uint64_t sequence, int64_t end_ns) {
  Deduplicated fact;
  fact.key = KeyOf(n);
  fact.sequence = sequence;
  fact.offset = sequence * 2;
  fact.epoch = 3;
  fact.queue_partition = QueuePartition(7, static_cast<uint32_t>(n % 5));
  fact.position = sequence * 64;
  fact.bytes = 96;
  fact.end_ns = end_ns;
  fact.end_ms = end_ns / 1'000'000;
  return fact;
}

TEST_CASE("the hash is SipHash-2-4 with 128 bits") {
  SipKey key;
  std::array<uint8_t, 16> bytes{};
  for (size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<uint8_t>(n);
  std::memcpy(&key, bytes.data(), sizeof(key));
  // Its authors' vectors: the bytes 0, 1, 2 and so on.
  const auto hash_of = [&](size_t length) {
    std::string text;
    for (size_t n = 0; n < length; ++n) text.push_back(static_cast<char>(n));
    return SipHash128(key, text);
  };
  CHECK(hash_of(0) == Hash128{0xe6a825ba047f81a3, 0x930255c71472f66d});
  CHECK(hash_of(1) == Hash128{0x44af996bd8c187da, 0x45fc229b11597634});
  CHECK(hash_of(15) == Hash128{0x11a8b03399e99354, 0xd9c3cf970fec087e});
  // Neither the queue nor the store is left out.
  StoreUuid store{};
  StoreUuid other{};
  other[9] = 1;
  CHECK(DeduplicationKey(store, 1, "a") != DeduplicationKey(store, 2, "a"));
  CHECK(DeduplicationKey(store, 1, "a") != DeduplicationKey(other, 1, "a"));
  CHECK(DeduplicationKey(store, 1, "a") != DeduplicationKey(store, 1, "b"));
}

TEST_CASE("a table knows an id until its window ends") {
  Fixture fixture;
  DeduplicationTable& table = fixture.table;
  CHECK(table.spare() == kPlaces);
  CHECK_FALSE(table.Find(KeyOf(1), 0).has_value());

  table.Put(Fact(1, 10, 1000));
  table.Put(Fact(2, 11, 500));

  const auto found = table.Find(KeyOf(1), 999);
  REQUIRE(found.has_value());
  CHECK(found->sequence == 10);
  CHECK(found->offset == 20);
  CHECK(found->epoch == 3);
  CHECK(found->queue_partition == QueuePartition(7, 1));
  CHECK(found->position + found->bytes == 736);
  CHECK_FALSE(table.Find(KeyOf(1), 1000).has_value());
  CHECK_FALSE(table.Find(KeyOf(3), 0).has_value());
  CHECK(table.All(600, UINT64_MAX).size() == 1);
  CHECK(table.All(0, 700).size() == 1);
  // The same message again, elsewhere in the log; and one that is forgotten.
  Deduplicated moved = Fact(1, 10, 1000);
  moved.position = 4096;
  table.Put(moved);
  CHECK(table.Find(KeyOf(1), 0)->position == 4096);
  CHECK(table.count() == 2);
  moved.sequence = 9;
  moved.position = 8192;
  table.Move(moved);
  table.Put(moved);
  CHECK(table.Find(KeyOf(1), 0)->position == 4096);
  // Another one, after the window.
  table.Put(Fact(1, 30, 3000));
  CHECK(table.count() == 2);
  CHECK(table.Find(KeyOf(1), 2000)->sequence == 30);
}

TEST_CASE("a table agrees with a map whatever is done to it") {
  Fixture fixture;
  DeduplicationTable& table = fixture.table;
  std::map<uint64_t, Deduplicated> expected;
  std::mt19937 random(1);
  uint64_t sequence = 1;
  int64_t now_ns = 0;
  for (int step = 0; step < 20'000; ++step) {
    now_ns += 20'000'000;
    table.MakeRoom(now_ns);
    const uint64_t n = random() % 300;
    const auto found = table.Find(KeyOf(n), now_ns);
    const auto known = expected.find(n);
    const bool there =
        known != expected.end() && known->second.end_ns > now_ns;
    REQUIRE(found.has_value() == there);
    if (there) {
      CHECK(found->sequence == known->second.sequence);
    } else if (table.spare() > 0) {
      const Deduplicated fact =
          Fact(n, sequence++, now_ns + static_cast<int64_t>(random() % 4) *
                                           1'000'000'000);
      table.Put(fact);
      expected[n] = fact;
    }
    if (step % 500 == 0) {
      // As if somebody had died while changing it, in the worst way.
      ControlHeader::Table& words = fixture.words();
      words.changing.Store(1);
      words.free.Store(0);
      words.count.Store(99);
      words.free_count.Store(0);
      for (uint32_t bucket = 0; bucket < 65536; ++bucket) {
        fixture.handle.store->control()
            .Get<Shared<uint32_t>>(words.buckets.Load())[bucket]
            .Store(0);
      }
      table.Mend();
      REQUIRE(table.count() + table.spare() == kPlaces);
    }
  }
  // Some ended, and some found no place.
  CHECK(sequence > 2 * kPlaces);
}

TEST_CASE("what is over makes room where there is none and not before") {
  Fixture fixture;
  DeduplicationTable& table = fixture.table;
  const int64_t second = 1'000'000'000;
  for (uint64_t n = 0; n < kPlaces; ++n) {
    table.Put(Fact(n, n + 1, n % 2 == 0 ? second : 100 * second));
  }
  REQUIRE(table.spare() == 0);
  table.MakeRoom(second - 1);
  CHECK(table.spare() == 0);
  // One look just was.
  table.MakeRoom(second);
  CHECK(table.spare() == 0);
  table.MakeRoom(2 * second);
  CHECK(table.spare() == kPlaces / 2);
  CHECK(table.Find(KeyOf(1), 2 * second).has_value());
  CHECK(table.Growth() == 1);
}

TEST_CASE("an image of a table round trips in the same boot and in another") {
  Fixture fixture;
  const int64_t now_ns = fixture.machine.clock.BootNs();
  const int64_t now_ms = fixture.machine.clock.WallMs();
  for (uint64_t n = 1; n <= 100; ++n) {
    Deduplicated fact =
        Fact(n, n, now_ns + static_cast<int64_t>(n) * 1'000'000);
    fact.end_ms = now_ms + static_cast<int64_t>(n);
    fixture.table.Put(fact);
  }
  const std::string image = fixture.table.Image(now_ns + 10'000'000);
  for (const bool same_boot : {true, false}) {
    CAPTURE(same_boot);
    Fixture other;
    // Of that boot; half of the time has passed by the wall clock.
    if (!same_boot) {
      other.machine.clock.boot_hash.store(77);
      other.machine.clock.boot_ns.store(5'000);
      other.machine.clock.wall_ms.store(now_ms + 50);
    }
    REQUIRE(RestoreDeduplications(other.handle.store->control(),
                                  other.machine.clock, image)
                .ok());
    // Ten were over.
    CHECK(other.table.count() == 90);
    const auto late = other.table.Find(KeyOf(100), 0);
    REQUIRE(late.has_value());
    CHECK(late->end_ns == (same_boot ? now_ns + 100'000'000
                                     : 5'000 + 50'000'000));
    CHECK(late->end_ms == now_ms + 100);
    CHECK(late->position == 6400);
    CHECK(late->bytes == 96);
    CHECK_FALSE(other.table.Find(KeyOf(10), 0).has_value());
  }
  CHECK_FALSE(RestoreDeduplications(fixture.handle.store->control(),
                                    fixture.machine.clock,
                                    std::string_view(image).substr(0, 100))
                  .ok());
}

TEST_CASE("a store that remembers as many ids as it can refuses another one") {
  Fixture fixture;
  fixture.handle.store->control()
      .header()
      .deduplication.count.Store(kMaxDeduplicated);
  const absl::Status refused = fixture.table.CheckMayGrow();
  CHECK(OmsCode(refused) == Code::kStorageBusy);
  CHECK(IsRetriable(refused));
  fixture.words().count.Store(0);
  CHECK(fixture.table.CheckMayGrow().ok());
}

// Sends one message with an id to "orders", which has a window.
absl::StatusOr<SendResult> TrySendId(const Handle& handle, std::string_view id,
                                     Durability durability =
                                         Durability::kProcess) {
  Message message = MakeMessage(id, durability);
  message.SetDeduplicationId(id);
  return TrySend(handle.store, {&message, 1})[0];
}

SendResult SendId(const Handle& handle, std::string_view id,
                  Durability durability = Durability::kProcess) {
  auto sent = TrySendId(handle, id, durability);
  REQUIRE_MESSAGE(sent.ok(), sent.status().message());
  return *sent;
}

void CreateWithWindow(const Handle& handle, std::chrono::milliseconds window) {
  QueueOptions options;
  options.deduplication_window = window;
  REQUIRE(handle.store->catalog().CreateQueue("orders", options, InGoodTime()).ok());
}

TEST_CASE("OMS-DEDUP-002: a clock that is set changes no window of this boot") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateWithWindow(handle, std::chrono::minutes(1));
  const SendResult first = SendId(handle, "a");

  // Far ahead, then far back.
  for (const int64_t day : {1, -1}) {
    machine.clock.wall_ms.fetch_add(day * 24 * 3'600'000);
    CHECK(SendId(handle, "a").duplicate);
  }
  machine.clock.boot_ns.fetch_add(59'999'000'000);
  CHECK(SendId(handle, "a").message_id == first.message_id);
  machine.clock.wall_ms.fetch_add(24 * 3'600'000);
  handle.Close();
  handle = OpenStore(directory.path(), machine);
  CHECK(SendId(handle, "a").duplicate);
  // A moment longer than a minute, lest it end early where the log tells.
  machine.clock.boot_ns.fetch_add(1'000'000 + kClockStepMs * 1'000'000);
  CHECK_FALSE(SendId(handle, "a").duplicate);
  handle.Close();
}

TEST_CASE("OMS-DEDUP-002: after another boot the wall clock counts") {
  for (const bool closed : {true, false}) {
    CAPTURE(closed);
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateWithWindow(handle, std::chrono::minutes(1));
    SendId(handle, "a", Durability::kDisk);
    closed ? handle.Close() : handle.Kill();
    machine.clock.boot_hash.store(0xb007);
    machine.clock.boot_ns.store(7'000'000'000);
    machine.clock.wall_ms.fetch_add(30'000);

    handle = OpenStore(directory.path(), machine);
    CHECK(SendId(handle, "a").duplicate);
    machine.clock.boot_ns.fetch_add(29'999'000'000);
    CHECK(SendId(handle, "a").duplicate);
    machine.clock.boot_ns.fetch_add(1'000'000 + kClockStepMs * 1'000'000);
    CHECK_FALSE(SendId(handle, "a").duplicate);
    handle.Close();
  }
}

TEST_CASE("OMS-DEDUP-003: an heir remembers the id of what its dead stored") {
  for (const bool delayed : {false, true}) {
    CAPTURE(delayed);
    TestMachine machine;
    TempDirectory directory;
    Handle dying = OpenStore(directory.path(), machine);
    CreateWithWindow(dying, std::chrono::minutes(1));
    Handle peer = OpenStore(directory.path(), machine);
    SendId(peer, "before");
    ControlHeader& header = dying.store->control().header();
    const uint64_t begin = header.append.tail.Load();
    Message message = MakeMessage("a", Durability::kProcess);
    message.SetDeduplicationId("a");
    if (delayed) message.SetDelay(std::chrono::hours(1));
    const auto sent = TrySend(dying.store, {&message, 1})[0];
    REQUIRE(sent.ok());
    // As if it had died behind its commit word, with the id half taken in.
    auto* const block = dying.store->control().Get<DeduplicationBlock>(
        header.deduplication.first_block.Load());
    REQUIRE(block->sequence[1].Load() != 0);
    block->sequence[1].Store(0);
    header.deduplication.free.Store(0);
    for (uint32_t bucket = 0; bucket < 65536; ++bucket) {
      dying.store->control()
          .Get<Shared<uint32_t>>(header.deduplication.buckets.Load())[bucket]
          .Store(0);
    }
    header.deduplication.changing.Store(1);
    header.append.intent_begin.Store(begin);
    header.append.intent_end.Store(header.append.tail.Load());
    header.append.tail.Store(begin);
    header.committed.end.Store(begin);
    header.append.lock.owner.Store(dying.store->liveness().self().word());
    dying.Kill();

    const SendResult again = SendId(peer, "a");

    CHECK(again.duplicate);
    CHECK(again.message_id == sent->message_id);
    CHECK(again.offset == sent->offset);
    CHECK(SendId(peer, "before").duplicate);
    CHECK_FALSE(SendId(peer, "after").duplicate);
    peer.Close();
    const auto report = CheckStore(directory.path());
    REQUIRE(report.ok());
    CHECK_FALSE(report->damaged());
  }
}

TEST_CASE("OMS-DEDUP-003: what a power loss took is not remembered") {
  TestMachine machine;
  TempDirectory directory;
  TempDirectory copy;
  Handle handle = OpenStore(directory.path(), machine);
  CreateWithWindow(handle, std::chrono::minutes(1));
  SendId(handle, "disk", Durability::kDisk);
  SendId(handle, "process");
  // Of the record, which was not flushed, a copy has no more than a power loss
  // leaves: it is believed in its own place only.
  copy.CopyFrom(directory.path());
  handle.Kill();

  Handle after = OpenStore(copy.path(), machine);
  CHECK(SendId(after, "disk").duplicate);
  const SendResult again = SendId(after, "process");
  CHECK_FALSE(again.duplicate);
  CHECK(again.offset == 1);
  CHECK(SendId(after, "process").duplicate);
  after.Close();
}

TEST_CASE("OMS-DEDUP-001: a duplicate waits until its message is durable") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateWithWindow(handle, std::chrono::minutes(1));
  SendId(handle, "a");
  ControlHeader& header = handle.store->control().header();
  REQUIRE(header.flush.durable.Load() < header.committed.end.Load());

  // The first one asked for less.
  CHECK(SendId(handle, "a", Durability::kDisk).duplicate);

  CHECK(header.flush.durable.Load() == header.committed.end.Load());
  handle.Close();
}

TEST_CASE("OMS-DEDUP-001: a table grows as far as it may and then refuses") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateWithWindow(handle, std::chrono::minutes(1));
  for (int round = 0; round < 2; ++round) {
    for (int n = 0; n < 1000; ++n) {
      CHECK(SendId(handle, std::to_string(n)).duplicate == (round == 1));
    }
  }
  ControlHeader::Table& words =
      handle.store->control().header().deduplication;
  const uint32_t free = words.free_count.Load();
  words.free_count.Store(0);
  words.count.Store(kMaxDeduplicated);

  const absl::Status refused = TrySendId(handle, "one more").status();

  CHECK(OmsCode(refused) == Code::kStorageBusy);
  CHECK(OutcomeOf(refused) == Outcome::kNotStored);
  CHECK(IsRetriable(refused));
  // Nobody else is concerned.
  CHECK(SendId(handle, "7").duplicate);
  SendOne(handle.store, "plain", Durability::kProcess);
  words.free_count.Store(free);
  words.count.Store(1000);
  CHECK_FALSE(SendId(handle, "one more").duplicate);
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::deduplication_table_test
