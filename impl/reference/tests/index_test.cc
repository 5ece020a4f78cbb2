// SPDX-License-Identifier: Apache-2.0
//
// The index: many extents, retirement under a reader, wrong entries.

#include "index.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::index_test {
namespace {

using namespace testing;  // The fixture is part of this test.

// ctl and idx in memory, with no store around.
struct Fixture {
  Fixture() {
    static std::atomic<int> count{0};
    storage = OpenMemory("index-" + std::to_string(count.fetch_add(1)));
    const ControlLayout layout{StoreOptions{}};
    auto ctl = GrowingFile::Create(*storage, "ctl", layout.end);
    auto idx = GrowingFile::Create(*storage, "idx", 4 * kPage);
    REQUIRE(ctl.ok());
    REQUIRE(idx.ok());
    control = std::make_unique<Control>(*std::move(ctl), *std::move(idx));
    control->header().append.index_bump.Store(1);
    control->header().catalog.index_extents.Store(4);
    writer = std::make_unique<IndexWriter>(control.get());
  }

  bool Put(size_t partition, uint64_t offset) {
    if (writer->Spare() < 2) {
      const uint64_t room = control->header().catalog.index_extents.Load();
      REQUIRE(control->GrowIndex(room + 2).ok());
    }
    const bool put = writer->Put(
        partitions[partition], QueuePartition(1, uint32_t(partition)), offset,
        PositionOf(partition, offset), FlagsOf(offset), 7);
    partitions[partition].next_offset.Store(offset + 1);
    return put;
  }
  IndexReader ReaderOf(size_t partition) {
    return IndexReader(control.get(), &partitions[partition],
                       QueuePartition(1, uint32_t(partition)));
  }
  static uint64_t PositionOf(size_t partition, uint64_t offset) {
    return (offset * 3 + partition) * kRecordAlignment;
  }
  static uint16_t FlagsOf(uint64_t offset) {
    return offset % 5 == 0 ? kIndexDisk : uint16_t{0};
  }
  static bool IsRight(const std::optional<IndexHit>& hit, size_t partition,
                      uint64_t offset) {
    return hit && hit->position == PositionOf(partition, offset) &&
           hit->flags == FlagsOf(offset);
  }

  std::shared_ptr<Storage> storage{};
  std::unique_ptr<Control> control{};
  std::unique_ptr<IndexWriter> writer{};
  std::vector<PartitionState> partitions = std::vector<PartitionState>(3);
};

TEST_CASE("ten thousand entries of interleaved partitions are found again") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 10'000; ++offset) {
    for (size_t p = 0; p < 3; ++p) REQUIRE(fixture.Put(p, offset));
  }
  for (size_t p = 0; p < 3; ++p) {
    IndexReader onwards = fixture.ReaderOf(p);
    IndexReader jumping = fixture.ReaderOf(p);
    for (uint64_t n = 0; n < 10'000; ++n) {
      REQUIRE(Fixture::IsRight(onwards.Find(n), p, n));
      const uint64_t jump = n * 7919 % 10'000;
      REQUIRE(Fixture::IsRight(jumping.Find(jump), p, jump));
    }
    CHECK(!onwards.Find(10'000));
    CHECK(!onwards.Find(1'000'000));
  }
}

TEST_CASE("a partition may begin at any offset and have holes") {
  Fixture fixture;
  for (const uint64_t offset : {1000u, 1001u, 1100u, 5000u, 5001u}) {
    REQUIRE(fixture.Put(0, offset));
  }
  IndexReader reader = fixture.ReaderOf(0);
  for (const uint64_t offset : {1000u, 1001u, 1100u, 5000u, 5001u}) {
    CHECK(Fixture::IsRight(reader.Find(offset), 0, offset));
  }
  for (const uint64_t offset : {0u, 999u, 1002u, 1099u, 2000u, 4999u, 5002u}) {
    CHECK(!reader.Find(offset));
  }
}

TEST_CASE("putting an entry again changes nothing") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 300; ++offset) fixture.Put(0, offset);
  const uint32_t bump = fixture.control->header().append.index_bump.Load();
  for (const uint64_t offset : {299u, 298u, 254u}) {
    CHECK(fixture.writer->Put(fixture.partitions[0], QueuePartition(1, 0),
                              offset, Fixture::PositionOf(0, offset),
                              Fixture::FlagsOf(offset), 7));
  }
  IndexReader reader = fixture.ReaderOf(0);
  for (uint64_t offset = 0; offset < 300; ++offset) {
    CHECK(Fixture::IsRight(reader.Find(offset), 0, offset));
  }
  CHECK(fixture.control->header().append.index_bump.Load() == bump);
}

TEST_CASE("freed extents are taken again before idx grows") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 2540; ++offset) fixture.Put(0, offset);
  const uint32_t bump = fixture.control->header().append.index_bump.Load();

  fixture.writer->FreeBelow(fixture.partitions[0], 2000);
  for (uint64_t offset = 0; offset < 7 * IndexExtent::kEntries; ++offset) {
    REQUIRE(fixture.Put(1, offset));
  }

  CHECK(fixture.control->header().append.index_bump.Load() == bump);
  IndexReader one = fixture.ReaderOf(0);
  IndexReader two = fixture.ReaderOf(1);
  // 2000 lies in the eighth extent, which stays whole.
  for (uint64_t offset = 0; offset < 2540; ++offset) {
    const auto hit = one.Find(offset);
    if (offset < 7 * IndexExtent::kEntries) {
      REQUIRE(!hit);
    } else {
      REQUIRE(Fixture::IsRight(hit, 0, offset));
    }
  }
  for (uint64_t offset = 0; offset < 7 * IndexExtent::kEntries; ++offset) {
    REQUIRE(Fixture::IsRight(two.Find(offset), 1, offset));
  }
}

TEST_CASE(
    "a reader that stands on a freed extent is never told a wrong place") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 1000; ++offset) fixture.Put(0, offset);
  IndexReader stale = fixture.ReaderOf(0);
  REQUIRE(stale.Find(100));

  fixture.writer->FreeBelow(fixture.partitions[0], 600);
  for (uint64_t offset = 0; offset < 500; ++offset) fixture.Put(1, offset);

  for (uint64_t offset = 0; offset < 508; ++offset) CHECK(!stale.Find(offset));
  for (uint64_t offset = 508; offset < 1000; ++offset) {
    REQUIRE(Fixture::IsRight(stale.Find(offset), 0, offset));
  }
}

TEST_CASE("readers walk while extents are freed and taken again") {
  Fixture fixture;
  // Room enough that nobody grows idx while the others read.
  REQUIRE(fixture.control->GrowIndex(400).ok());
  std::atomic<uint64_t> floor{0};
  std::atomic<uint64_t> end{0};
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<uint64_t> found{0};
  std::vector<std::thread> readers;
  for (int n = 0; n < 2; ++n) {
    readers.emplace_back([&, n] {
      uint64_t random = static_cast<uint64_t>(n) + 1;
      while (!stop) {
        // A new one each time is a walk from the head each time.
        IndexReader reader = fixture.ReaderOf(0);
        for (int k = 0; k < 50; ++k) {
          const uint64_t first = floor.load();
          const uint64_t last = end.load();
          if (first == last) break;
          random = Mix64(random);
          const uint64_t offset = first + random % (last - first);
          const auto hit = reader.Find(offset);
          if (hit) {
            ++found;
            if (!Fixture::IsRight(hit, 0, offset)) ++wrong;
          } else if (offset >= floor.load()) {
            ++wrong;  // It is stored, and nobody has freed it.
          }
        }
      }
    });
  }
  uint64_t other = 0;
  for (uint64_t offset = 0; offset < 60'000 || found < 1000; ++offset) {
    fixture.Put(0, offset);
    end.store(offset + 1);
    if (offset % 500 == 499) {
      floor.store(offset - 400);
      fixture.writer->FreeBelow(fixture.partitions[0], offset - 400);
      // Another partition takes what was freed.
      for (int n = 0; n < 300; ++n) fixture.Put(1, other++);
      fixture.writer->FreeBelow(fixture.partitions[1], other - 200);
      std::this_thread::yield();
    }
  }
  stop = true;
  for (auto& reader : readers) reader.join();

  CHECK(wrong == 0);
}

// Where a message of partition 0 lies once it moved.
uint64_t MovedTo(uint64_t offset) {
  return (uint64_t{1} << 40) + Fixture::PositionOf(0, offset);
}

bool Move(Fixture& fixture, uint64_t offset) {
  if (fixture.writer->Spare() < 2) {
    const uint64_t room = fixture.control->header().catalog.index_extents.Load();
    REQUIRE(fixture.control->GrowIndex(room + 2).ok());
  }
  return fixture.writer->Move(fixture.partitions[0], QueuePartition(1, 0),
                              offset, MovedTo(offset), Fixture::FlagsOf(offset),
                              7);
}

// Takes out what is below `offset` and did not move.
void Retire(Fixture& fixture, uint64_t offset) {
  fixture.partitions[0].whole_from.Store(offset);
  uint32_t at = 0;
  while (fixture.writer->FreeRetired(fixture.partitions[0], offset,
                                     Fixture::PositionOf(0, offset), at)) {
  }
}

TEST_CASE("what stays of what was retired is found, in its order") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 20'000; ++offset) fixture.Put(0, offset);
  const uint32_t bump = fixture.control->header().append.index_bump.Load();
  const std::vector<uint64_t> staying = {3, 4, 253, 254, 9000, 17'999};
  for (const uint64_t offset : staying) REQUIRE(Move(fixture, offset));

  Retire(fixture, 18'000);

  IndexReader reader = fixture.ReaderOf(0);
  std::vector<uint64_t> found;
  for (uint64_t offset = reader.Next(0, 18'000); offset < 18'000;
       offset = reader.Next(offset + 1, 18'000)) {
    found.push_back(offset);
    CHECK(reader.Find(offset)->position == MovedTo(offset));
    CHECK((reader.Find(offset)->flags & ~kIndexMoved) ==
          Fixture::FlagsOf(offset));
    CHECK_FALSE(reader.IsRetired(offset));
  }
  CHECK(found == staying);
  CHECK(reader.IsRetired(5));
  CHECK(reader.IsRetired(10'000));
  for (uint64_t offset = 18'000; offset < 20'000; ++offset) {
    REQUIRE(Fixture::IsRight(reader.Find(offset), 0, offset));
  }
  // A hole takes no room.
  for (uint64_t offset = 0; offset < 17'000; ++offset) fixture.Put(1, offset);
  CHECK(fixture.control->header().append.index_bump.Load() == bump);
}

TEST_CASE("a message that stayed is put in front of those behind it") {
  Fixture fixture;
  for (uint64_t offset = 5000; offset < 6000; ++offset) fixture.Put(0, offset);
  for (const uint64_t offset : {4000u, 7u, 4001u, 300u, 4999u}) {
    CAPTURE(offset);
    REQUIRE(Move(fixture, offset));
  }
  IndexReader reader = fixture.ReaderOf(0);
  std::vector<uint64_t> found;
  for (uint64_t offset = reader.Next(0, 5001); offset < 5001;
       offset = reader.Next(offset + 1, 5001)) {
    found.push_back(offset);
  }
  CHECK(found == std::vector<uint64_t>{7, 300, 4000, 4001, 4999, 5000});
  REQUIRE(fixture.Put(0, 6000));
  CHECK(Fixture::IsRight(fixture.ReaderOf(0).Find(5999), 0, 5999));
  CHECK(Fixture::IsRight(fixture.ReaderOf(0).Find(6000), 0, 6000));
}

TEST_CASE("readers walk while messages move and others are retired") {
  Fixture fixture;
  // Room enough that nobody grows idx while the others read.
  REQUIRE(fixture.control->GrowIndex(3000).ok());
  std::atomic<uint64_t> whole{0};
  std::atomic<uint64_t> end{0};
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<uint64_t> found{0};
  std::vector<std::thread> readers;
  for (int n = 0; n < 2; ++n) {
    readers.emplace_back([&, n] {
      uint64_t random = static_cast<uint64_t>(n) + 1;
      while (!stop) {
        IndexReader reader = fixture.ReaderOf(0);
        for (int k = 0; k < 50; ++k) {
          const uint64_t last = end.load();
          if (last == 0) break;
          random = Mix64(random);
          uint64_t offset = random % last;
          // Those that move are asked for most.
          if (k % 2 == 0) offset -= offset % 50;
          const auto hit = reader.Find(offset);
          if (!hit) {
            if (offset % 50 == 0 || offset >= whole.load()) ++wrong;
            continue;
          }
          ++found;
          if (hit->position != Fixture::PositionOf(0, offset) &&
              hit->position != MovedTo(offset)) {
            ++wrong;
          }
        }
      }
    });
  }
  for (uint64_t offset = 0; offset < 30'000 || found < 1000; ++offset) {
    fixture.Put(0, offset);
    end.store(offset + 1);
    if (offset % 1000 != 999) continue;
    for (uint64_t n = whole.load(); n < offset - 400; ++n) {
      if (n % 50 == 0) Move(fixture, n);
    }
    whole.store(offset - 400);
    Retire(fixture, offset - 400);
    std::this_thread::yield();
  }
  stop = true;
  for (auto& reader : readers) reader.join();

  CHECK(wrong == 0);
}

TEST_CASE("an entry with any flipped bit is not believed") {
  Fixture fixture;
  fixture.Put(0, 0);
  fixture.Put(0, 1);
  IndexEntry& entry =
      fixture.control->extent(fixture.partitions[0].first_extent.Load())
          .entries[1];
  const uint64_t place = entry.place.Load();
  const uint64_t check = entry.check.Load();
  for (int bit = 0; bit < 64; ++bit) {
    CAPTURE(bit);
    entry.place.Store(place ^ uint64_t{1} << bit);
    // That it is being moved says nothing of where it is.
    const bool moving = uint64_t{1} << bit == kMovingBit;
    CHECK(fixture.ReaderOf(0).Find(1).has_value() == moving);
    entry.place.Store(place);
    if (bit < 32) continue;  // The key hash stands for itself.
    entry.check.Store(check ^ uint64_t{1} << bit);
    CHECK(!fixture.ReaderOf(0).Find(1));
    entry.check.Store(check);
  }
  CHECK(fixture.ReaderOf(0).Find(1));
}

TEST_CASE("an entry of another offset or partition is not believed") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 4; ++offset) {
    fixture.Put(0, offset);
    fixture.Put(1, offset);
  }
  IndexExtent& mine =
      fixture.control->extent(fixture.partitions[0].first_extent.Load());
  const IndexExtent& others =
      fixture.control->extent(fixture.partitions[1].first_extent.Load());
  const auto copy = [](const IndexEntry& from, IndexEntry& to) {
    to.place.Store(from.place.Load());
    to.check.Store(from.check.Load());
  };

  copy(mine.entries[2], mine.entries[1]);
  copy(others.entries[3], mine.entries[3]);

  CHECK(!fixture.ReaderOf(0).Find(1));
  CHECK(fixture.ReaderOf(0).Find(2));
  CHECK(!fixture.ReaderOf(0).Find(3));
}

TEST_CASE("a chain that was damaged ends a search all the same") {
  Fixture fixture;
  for (uint64_t offset = 0; offset < 600; ++offset) fixture.Put(0, offset);
  IndexExtent& first =
      fixture.control->extent(fixture.partitions[0].first_extent.Load());

  SUBCASE("a circle") {
    first.next.Store(fixture.partitions[0].first_extent.Load());
  }
  SUBCASE("out of the file") { first.next.Store(1'000'000); }

  CHECK(!fixture.ReaderOf(0).Find(599));
  CHECK(fixture.ReaderOf(0).Find(3));
}

}  // namespace
}  // namespace openmessaging::reference::index_test
