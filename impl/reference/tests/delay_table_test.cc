// SPDX-License-Identifier: Apache-2.0

#include "delay_table.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::delay_table_test {
namespace {

using namespace testing;  // The fixture is part of this test.

// A store whose table a test has for itself.
struct Fixture {
  Fixture() {
    for (int n = 0; n < 3; ++n) {
      const auto block = table.Allocate(handle.store->control());
      REQUIRE(block.ok());
      table.AddBlock(*block);
    }
  }
  ~Fixture() { handle.Kill(); }

  ControlHeader& header() { return handle.store->control().header(); }
  int64_t next_due() { return header().flush.next_due_ns.Load(); }

  TempDirectory directory{};
  TestMachine machine{};
  Handle handle = OpenStore(directory.path(), machine);
  DelayTable table{&handle.store->control()};
};

Delayed Entry(uint64_t sequence, int64_t due_ns) {
  Delayed delayed;
  delayed.id = {sequence, static_cast<uint32_t>(sequence % 3), 0};
  delayed.queue_partition = QueuePartition(7, static_cast<uint32_t>(sequence % 5));
  delayed.bytes = 64;
  delayed.position = sequence * 32;
  delayed.due_ns = due_ns;
  delayed.due_ms = due_ns / 1000;
  return delayed;
}

std::vector<uint64_t> SequencesOf(std::vector<Delayed> all) {
  std::vector<uint64_t> sequences;
  for (const Delayed& delayed : all) sequences.push_back(delayed.id.sequence);
  std::sort(sequences.begin(), sequences.end());
  return sequences;
}

TEST_CASE("a table finds what it took in and forgets what it is told to") {
  Fixture fixture;
  DelayTable& table = fixture.table;
  CHECK(table.spare() == 3 * DelayBlock::kEntries);
  CHECK(fixture.next_due() == 0);

  table.Put(Entry(5, 500));
  table.Put(Entry(6, 300));
  table.Put(Entry(7, 400));

  CHECK(table.count() == 3);
  CHECK(fixture.next_due() == 300);
  CHECK(table.EarliestNs() == 300);
  REQUIRE(table.Find({6, 0, 0}).has_value());
  CHECK(table.Find({6, 0, 0})->position == 192);
  CHECK(table.Find({6, 0, 0})->queue_partition == QueuePartition(7, 1));
  CHECK_FALSE(table.Find({6, 1, 0}).has_value());
  CHECK_FALSE(table.Find({8, 2, 0}).has_value());
  CHECK_FALSE(table.Find({0, 0, 0}).has_value());
  CHECK(SequencesOf(table.All(400, UINT64_MAX)) ==
        std::vector<uint64_t>{6, 7});
  CHECK(SequencesOf(table.All(INT64_MAX, 192)) == std::vector<uint64_t>{5});

  table.Remove({6, 0, 0});
  table.Remove({6, 0, 0});
  CHECK(table.count() == 2);
  CHECK(table.EarliestNs() == 400);
  // Again, elsewhere in the log.
  Delayed moved = Entry(5, 500);
  moved.position = 4096;
  table.Put(moved);
  CHECK(table.count() == 2);
  CHECK(table.Find({5, 2, 0})->position == 4096);
  table.Remove({5, 2, 0});
  table.Remove({7, 1, 0});
  CHECK(table.EarliestNs() == INT64_MAX);
  CHECK(table.spare() == 3 * DelayBlock::kEntries);
}

TEST_CASE("a table agrees with a map whatever is done to it") {
  Fixture fixture;
  DelayTable& table = fixture.table;
  std::map<uint64_t, Delayed> expected;
  std::mt19937 random(1);
  uint64_t next = 1;
  for (int step = 0; step < 20'000; ++step) {
    const bool put = table.spare() > 0 && (random() % 2 == 0);
    if (put) {
      const Delayed delayed = Entry(next++, static_cast<int64_t>(random()));
      table.Put(delayed);
      expected[delayed.id.sequence] = delayed;
    } else if (!expected.empty()) {
      auto at = expected.begin();
      std::advance(at, random() % expected.size());
      table.Remove(at->second.id);
      expected.erase(at);
    }
    if (step % 500 == 0) {
      // As if somebody had died while changing it, in the worst way.
      ControlHeader::Table& words = fixture.header().delay;
      words.changing.Store(1);
      words.free.Store(0);
      words.count.Store(99);
      words.free_count.Store(0);
      for (uint32_t n = 0; n < 16384; ++n) {
        fixture.handle.store->control()
            .Get<Shared<uint32_t>>(words.buckets.Load())[n]
            .Store(0);
      }
      fixture.header().flush.next_due_ns.Store(0);
      table.Mend();
    }
  }
  CHECK(table.count() == expected.size());
  CHECK(table.count() + table.spare() == 3 * DelayBlock::kEntries);
  int64_t earliest = INT64_MAX;
  for (const auto& [sequence, delayed] : expected) {
    const auto found = table.Find(delayed.id);
    REQUIRE(found.has_value());
    CHECK(found->due_ns == delayed.due_ns);
    earliest = std::min(earliest, delayed.due_ns);
  }
  CHECK(table.EarliestNs() == earliest);
  CHECK(table.All(INT64_MAX, UINT64_MAX).size() == expected.size());
}

TEST_CASE("an image of a table round trips in the same boot and in another") {
  Fixture fixture;
  const int64_t now_ns = fixture.machine.clock.BootNs();
  const int64_t now_ms = fixture.machine.clock.WallMs();
  for (uint64_t n = 1; n <= 100; ++n) {
    Delayed delayed = Entry(n, now_ns + static_cast<int64_t>(n) * 1'000'000);
    delayed.due_ms = now_ms + static_cast<int64_t>(n);
    fixture.table.Put(delayed);
  }
  const std::string image = fixture.table.Image();
  for (const bool same_boot : {true, false}) {
    CAPTURE(same_boot);
    Fixture other;
    // Of that boot; half of the time has passed by the wall clock.
    if (!same_boot) {
      other.machine.clock.boot_hash.store(77);
      other.machine.clock.boot_ns.store(5'000);
      other.machine.clock.wall_ms.store(now_ms + 50);
    }
    REQUIRE(RestoreDelays(other.handle.store->control(), other.machine.clock,
                          image)
                .ok());
    CHECK(other.table.count() == 100);
    const Delayed late = *other.table.Find({100, 1, 0});
    CHECK(late.due_ns == (same_boot ? now_ns + 100'000'000
                                    : 5'000 + 50'000'000));
    CHECK(late.due_ms == now_ms + 100);
    CHECK(late.position == 3200);
    // What is late already is due at once.
    CHECK(other.table.EarliestNs() ==
          (same_boot ? now_ns + 1'000'000 : 5'000));
  }
  CHECK_FALSE(RestoreDelays(fixture.handle.store->control(),
                            fixture.machine.clock,
                            std::string_view(image).substr(0, 100))
                  .ok());
}

}  // namespace
}  // namespace openmessaging::reference::delay_table_test
