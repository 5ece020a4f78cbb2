// SPDX-License-Identifier: Apache-2.0
//
// Damage to what the log says of queues: it costs the queue whose record it is,
// and no other one.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::catalog_damage_test {
namespace {

using namespace testing;  // The fixture is part of this test.

// A closed store with the queues "bills" and "orders" and a message in each.
class House {
 public:
  House() {
    Handle handle = Open();
    CreateQueue(*handle.store, "bills");
    CreateQueue(*handle.store, "orders");
    SendOne(handle.store, "an order");
    Message bill("bills", "a bill");
    bill.SetDurability(Durability::kDisk);
    REQUIRE(TrySend(handle.store, {&bill, 1})[0].ok());
    handle.Close();
  }

  const std::string& path() const { return directory_.path(); }
  Handle Open() { return OpenStore(path(), machine_); }

  // Changes a byte of the first QUEUE record, or takes the change back.
  void ChangeFirstQueue(uint64_t at) {
    for (const RecordPlace& place : RecordsOf(path())) {
      if (place.type() != RecordType::kQueue) continue;
      FlipBit(path() + "/" + place.file, place.at + at, 1);
      return;
    }
    FAIL("there is no QUEUE record");
  }

 private:
  TestMachine machine_;
  TempDirectory directory_;
};

std::vector<std::string> BodiesIn(const std::shared_ptr<Store>& store,
                                  std::string_view queue) {
  Member member(store, "g", queue);
  const auto bodies = BodiesOf(member.Take());
  member.Close();
  return bodies;
}

TEST_CASE("OMS-REF-005: a damaged record of a queue hides no other queue") {
  // In its name, "bills", which would be another one.
  constexpr uint64_t kInName = sizeof(RecordHeader) + 8;
  House house;
  house.ChangeFirstQueue(kInName);
  CHECK_FALSE(IsSound(house.path()));
  SUBCASE("after a clean close") {}
  SUBCASE("where only the log is left") { RemoveDerived(house.path()); }

  // Twice, since closing must not write it out of the store.
  for (int life = 0; life < 2; ++life) {
    CAPTURE(life);
    Handle handle = house.Open();
    CHECK(BodiesIn(handle.store, "orders") ==
          std::vector<std::string>{"an order"});
    const auto found = handle.store->catalog().FindQueue("bills", InGoodTime());
    CHECK(OmsCode(found.status()) == Code::kDamaged);
    // A new one of that name would hide it for ever.
    CHECK(OmsCode(handle.store->catalog().CreateQueue(
              "bills", {}, InGoodTime())) == Code::kDamaged);
    CHECK(handle.store->catalog().Queues(InGoodTime())->size() == 1);
    handle.Close();
  }

  // Nothing of it was given back meanwhile.
  house.ChangeFirstQueue(kInName);
  RemoveDerived(house.path());
  Handle handle = house.Open();
  CHECK(BodiesIn(handle.store, "bills") == std::vector<std::string>{"a bill"});
  handle.Close();
}

TEST_CASE("OMS-REF-005: the number of a lost queue is not given out again") {
  House house;
  // No checkpoint knows which numbers were used.
  RemoveDerived(house.path());
  // The last record of a queue, header and all.
  RecordPlace last;
  for (const RecordPlace& place : RecordsOf(house.path())) {
    if (place.type() == RecordType::kQueue) last = place;
  }
  FlipBit(house.path() + "/" + last.file, last.at + 20, 1);
  Handle handle = house.Open();

  CreateQueue(*handle.store, "new");

  CHECK(BodiesIn(handle.store, "new").empty());
  CHECK(BodiesIn(handle.store, "bills") == std::vector<std::string>{"a bill"});
  handle.Close();
}

TEST_CASE("OMS-REF-005: a damaged version in a segment is no other format") {
  constexpr uint64_t kMajor = 8;
  House house;
  {
    Handle handle = house.Open();
    for (int n = 0; n < 40; ++n) {
      SendOne(handle.store, std::string(400, '.'));
    }
    handle.Close();
  }
  const auto files = SegmentFiles(house.path());
  REQUIRE(files.size() > 1);
  RemoveDerived(house.path());
  FlipBit(house.path() + "/" + files.back(), kMajor, 0);

  CHECK_FALSE(IsSound(house.path()));

  Handle handle = house.Open();
  CHECK(BodiesIn(handle.store, "orders").front() == "an order");
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::catalog_damage_test
