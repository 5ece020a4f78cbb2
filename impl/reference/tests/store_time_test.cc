// SPDX-License-Identifier: Apache-2.0
//
// Finding messages by their store time, and the retention time of a queue.

#include "store_time.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::store_time_test {
namespace {

using namespace testing;  // The fixture is part of this test.

uint64_t FirstSince(Store& store, uint64_t end, int64_t since_ms) {
  PartitionState& partition =
      *store.catalog().FindPartition(QueuePartition(1, 0));
  return FirstStoredAt(store.control(), store.segments(), partition,
                       QueuePartition(1, 0), end, since_ms);
}

TEST_CASE("the first message after a time is found in any segment") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const int64_t begin_ms = machine.clock.wall_ms;
  constexpr int kMessages = 40;
  for (int n = 0; n < kMessages; ++n) {
    machine.clock.wall_ms = begin_ms + 10 * n;
    SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
  }

  for (int n = 0; n < kMessages; ++n) {
    CAPTURE(n);
    CHECK(FirstSince(*handle.store, kMessages, begin_ms + 10 * n - 1) ==
          static_cast<uint64_t>(n));
  }
  CHECK(FirstSince(*handle.store, kMessages, begin_ms + 10 * kMessages) ==
        kMessages);
  CHECK(FirstSince(*handle.store, 7, begin_ms + 200) == 7);
  CHECK(FirstSince(*handle.store, 0, 0) == 0);
}

// Sends and acknowledges as much as a few segments hold.
void FillAndSettle(const Handle& handle, Member& member, size_t& settled) {
  for (int n = 0; n < 40; ++n) {
    SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
    for (const Seen& seen : member.Take()) {
      static_cast<void>(seen);
      CHECK(member.Ack(settled++).ok());
    }
  }
}

TEST_CASE("settled messages stay for the retention time of their queue") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  QueueOptions options;
  options.retention = std::chrono::seconds(60);
  REQUIRE(handle.store->catalog().CreateQueue("orders", options, InGoodTime()).ok());
  size_t settled = 0;
  {
    Member member(handle.store, "billing");
    FillAndSettle(handle, member, settled);
    member.Close();
  }
  CHECK(AllStored(handle.store).size() == 40);

  SUBCASE("and over every reopening") {
    // From the checkpoint; nobody has looked at the queue's record by then.
    handle.Close();
    handle = OpenStore(directory.path(), machine);
    REQUIRE(handle.store->open_path() == OpenPath::kClean);
    handle.store->Retire();
    CHECK(AllStored(handle.store).size() == 40);
  }

  machine.clock.wall_ms += 60'001;
  {
    Member member(handle.store, "billing");
    FillAndSettle(handle, member, settled = 0);
    member.Close();
  }
  // The oldest segments are gone, the new messages are there.
  const size_t left = AllStored(handle.store).size();
  CHECK(left >= 40);
  CHECK(left < 60);
}

}  // namespace
}  // namespace openmessaging::reference::store_time_test
