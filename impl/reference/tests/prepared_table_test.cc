// SPDX-License-Identifier: Apache-2.0

#include "prepared_table.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::prepared_table_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr uint32_t kBlocks = 3;
constexpr uint32_t kPlaces = kBlocks * PreparedBlock::kEntries;

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
    return handle.store->control().header().prepared;
  }

  TempDirectory directory{};
  TestMachine machine{};
  Handle handle = OpenStore(directory.path(), machine);
  PreparedTable table{&handle.store->control()};
};

Prepared Entry(uint64_t sequence, int64_t check_ns, uint64_t group = 1) {
  Prepared prepared;
  prepared.id = {sequence, static_cast<uint32_t>(sequence % 3), 0};
  prepared.queue_partition = QueuePartition(7, 0);
  prepared.bytes = 64;
  prepared.position = sequence * 32;
  prepared.time_ns = check_ns;
  prepared.time_ms = check_ns / 1'000'000;
  prepared.group = group;
  prepared.check_after_ms = 6000;
  prepared.max_checks = 15;
  return prepared;
}

Prepared Decided(const Prepared& prepared, PreparedState state,
                 int64_t end_ns) {
  Prepared decided = prepared;
  decided.state = state;
  decided.position += 8192;
  decided.time_ns = end_ns;
  return decided;
}

TEST_CASE("a table knows what is undecided and what was decided") {
  Fixture fixture;
  PreparedTable& table = fixture.table;
  const Prepared one = Entry(5, 500);
  const Prepared two = Entry(6, 300);
  table.Put(one);
  table.Put(two);
  CHECK(table.count() == 2);
  CHECK(table.EarliestNs() == 300);
  CHECK(table.IsUndecided(one));
  CHECK_FALSE(table.Find({6, 1, 0}, 0).has_value());
  CHECK_FALSE(table.Find({7, 1, 0}, 0).has_value());

  table.Put(Decided(two, PreparedState::kRolledBack, 1000));

  CHECK_FALSE(table.IsUndecided(two));
  CHECK(table.Find(two.id, 999)->state == PreparedState::kRolledBack);
  CHECK_FALSE(table.Find(two.id, 1000).has_value());
  // What was decided has no check, and does not come back.
  CHECK(table.EarliestNs() == 500);
  table.Put(two);
  CHECK(table.Find(two.id, 0)->state == PreparedState::kRolledBack);
  // Appended again, the other one is elsewhere.
  Prepared moved = one;
  moved.position = 4096;
  table.Put(moved);
  CHECK(table.count() == 2);
  CHECK_FALSE(table.IsUndecided(one));
  CHECK(table.IsUndecided(moved));
  CHECK(table.All(0, 5000).size() == 1);
  CHECK(table.All(0, UINT64_MAX).size() == 2);
  CHECK(table.All(1000, UINT64_MAX).size() == 1);
}

TEST_CASE("a check is counted once, for whoever saw it first") {
  Fixture fixture;
  PreparedTable& table = fixture.table;
  table.Put(Entry(1, 300, 1));
  table.Put(Entry(2, 200, 1));
  table.Put(Entry(3, 100, 2));
  CHECK_FALSE(table.FindDue(1, 199).has_value());
  CHECK_FALSE(table.FindDue(3, 500).has_value());
  const auto due = table.FindDue(1, 500);
  REQUIRE(due.has_value());
  CHECK(due->id.sequence == 2);

  CHECK(table.CountCheck(*due, 900, 9));
  CHECK_FALSE(table.CountCheck(*due, 900, 9));

  CHECK(table.Find(due->id, 0)->checks == 1);
  CHECK(table.FindDue(1, 500)->id.sequence == 1);
  CHECK(table.FindDue(1, 900)->id.sequence == 1);
  CHECK(table.CountCheck(*table.FindDue(1, 900), 1000, 9));
  CHECK(table.FindDue(1, 900)->id.sequence == 2);
  const Prepared decided =
      Decided(*table.FindDue(1, 900), PreparedState::kCommitted, 5000);
  table.Put(decided);
  CHECK_FALSE(table.FindDue(1, 950).has_value());
  CHECK_FALSE(table.CountCheck(decided, 900, 9));
}

TEST_CASE("outcomes make room when they are over, or when there is no other") {
  Fixture fixture;
  PreparedTable& table = fixture.table;
  const int64_t later_ns = kOutcomeMs * 1'000'000;
  for (uint64_t n = 1; n <= kPlaces; ++n) {
    const Prepared one = Entry(n, 100);
    table.Put(one);
    if (n % 2 == 0) {
      // Half of them as old as may be forgotten early, plus one nanosecond.
      const int64_t young = n % 4 == 0 ? 1 : 0;
      table.Put(Decided(one, PreparedState::kCommitted,
                        later_ns - kShortOutcomeMs * 1'000'000 + young));
    }
  }
  CHECK(table.spare() == 0);
  table.MakeRoom(0);
  CHECK(table.spare() == 0);
  // So many that the table cannot grow.
  fixture.words().count.Store(kMaxPrepared);
  fixture.words().next_look_ns.Store(0);
  CHECK(OmsCode(table.CheckMayGrow()) == Code::kStorageBusy);
  table.MakeRoom(0);
  CHECK(table.spare() == kPlaces / 4);
  fixture.words().count.Store(kPlaces - kPlaces / 4);
  CHECK(table.CheckMayGrow().ok());

  // Not too often, unless it is needed.
  table.ForgetOver(later_ns);
  CHECK(table.count() == kPlaces / 2);
  CHECK_FALSE(table.IsUntidy(later_ns + 1));
  for (uint64_t n = 1; n <= kPlaces; ++n) {
    CHECK(table.Find(Entry(n, 0).id, later_ns).has_value() == (n % 2 == 1));
  }
}

TEST_CASE("a table agrees with a map whatever is done to it") {
  Fixture fixture;
  PreparedTable& table = fixture.table;
  std::map<uint64_t, Prepared> expected;
  std::mt19937 random(1);
  uint64_t next = 1;
  for (int step = 0; step < 20'000; ++step) {
    const auto what = random() % 4;
    if (table.spare() > 0 && what < 2) {
      const Prepared one =
          Entry(next++, static_cast<int64_t>(1 + random()), random() % 3);
      table.Put(one);
      expected[one.id.sequence] = one;
    } else if (!expected.empty()) {
      auto at = expected.begin();
      std::advance(at, random() % expected.size());
      Prepared& one = at->second;
      if (what == 2 && one.state == PreparedState::kUndecided) {
        one = Decided(one, PreparedState::kCommitted,
                      static_cast<int64_t>(1 + random()));
        table.Put(one);
      } else if (one.state == PreparedState::kUndecided) {
        const auto time = static_cast<int64_t>(1 + random());
        CHECK(table.CountCheck(one, time, one.time_ms));
        one.time_ns = time;
        ++one.checks;
      }
    }
    if (table.spare() == 0) {
      fixture.words().next_look_ns.Store(0);
      constexpr int64_t kOver = int64_t{1} << 31;
      table.MakeRoom(kOver);
      std::erase_if(expected, [](const auto& one) {
        return one.second.state != PreparedState::kUndecided &&
               one.second.time_ns <= kOver;
      });
      if (table.spare() == 0) break;
    }
    if (step % 500 == 0) {
      // As if somebody had died while changing it, in the worst way.
      ControlHeader::Table& words = fixture.words();
      words.changing.Store(1);
      words.free.Store(0);
      words.count.Store(99);
      words.free_count.Store(0);
      for (uint32_t n = 0; n < PreparedBlock::kBuckets; ++n) {
        fixture.handle.store->control()
            .Get<Shared<uint32_t>>(words.buckets.Load())[n]
            .Store(0);
      }
      table.Mend();
    }
  }
  CHECK(table.count() == expected.size());
  CHECK(table.count() + table.spare() == kPlaces);
  int64_t earliest = INT64_MAX;
  for (const auto& [sequence, one] : expected) {
    const auto found = table.Find(one.id, 0);
    REQUIRE(found.has_value());
    CHECK(found->state == one.state);
    CHECK(found->time_ns == one.time_ns);
    CHECK(found->checks == one.checks);
    CHECK(found->position == one.position);
    if (one.state == PreparedState::kUndecided) {
      earliest = std::min(earliest, one.time_ns);
    }
  }
  CHECK(table.EarliestNs() == earliest);
}

TEST_CASE("an image of a table round trips in the same boot and in another") {
  Fixture fixture;
  const int64_t now_ns = fixture.machine.clock.BootNs();
  const int64_t now_ms = fixture.machine.clock.WallMs();
  for (uint64_t n = 1; n <= 100; ++n) {
    Prepared one = Entry(n, now_ns + static_cast<int64_t>(n) * 1'000'000);
    one.time_ms = now_ms + static_cast<int64_t>(n);
    one.checks = 3;
    if (n % 10 == 0) one.state = PreparedState::kCommitted;
    fixture.table.Put(one);
  }
  const std::string image = fixture.table.Image(now_ns + 50'000'000);
  for (const bool same_boot : {true, false}) {
    CAPTURE(same_boot);
    Fixture other;
    if (!same_boot) {
      other.machine.clock.boot_hash.store(77);
      other.machine.clock.boot_ns.store(5'000);
      other.machine.clock.wall_ms.store(now_ms + 50);
    }
    REQUIRE(RestorePrepared(other.handle.store->control(), other.machine.clock,
                            image)
                .ok());
    // Without the outcomes that were over.
    CHECK(other.table.count() == 95);
    const Prepared late = *other.table.Find({100, 1, 0}, 0);
    CHECK(late.state == PreparedState::kCommitted);
    CHECK(late.time_ns ==
          (same_boot ? now_ns + 100'000'000 : 5'000 + 50'000'000));
    const Prepared open = *other.table.Find({99, 0, 0}, 0);
    CHECK(open.state == PreparedState::kUndecided);
    CHECK(open.checks == 3);
    CHECK(open.max_checks == 15);
    CHECK(open.check_after_ms == 6000);
    CHECK(open.group == 1);
  }
  CHECK_FALSE(RestorePrepared(fixture.handle.store->control(),
                              fixture.machine.clock,
                              std::string_view(image).substr(0, 100))
                  .ok());
}

}  // namespace
}  // namespace openmessaging::reference::prepared_table_test
