// SPDX-License-Identifier: Apache-2.0

#include "control_check.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::control_check_test {
namespace {

using namespace testing;  // The fixture is part of this test.

struct Change {
  std::string_view what;
  std::function<void(Store&)> make;
};

ControlHeader& HeaderOf(Store& store) { return store.control().header(); }

PartitionState& PartitionOfOrders(Store& store) {
  const auto found = store.catalog().FindQueue("orders", InGoodTime());
  REQUIRE(found.ok());
  return *(*found)->state->partition(0);
}

Cursor& CursorOfBilling(Store& store) {
  const auto queue = store.catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto group =
      store.catalog().FindGroup(**queue, "billing", InGoodTime());
  REQUIRE(group.ok());
  return *(*group)->state->cursor(0);
}

// What leads astray whoever follows it.
std::vector<Change> Changes() {
  return {
      {"fixed areas", [](Store& s) { HeaderOf(s).segments ^= kPage; }},
      {"options", [](Store& s) { HeaderOf(s).options.window *= 2; }},
      {"room", [](Store& s) { HeaderOf(s).bump.Store(1 << 20); }},
      {"a page of room",
       [](Store& s) {
         ControlHeader& header = HeaderOf(s);
         // As a page that was exchanged.
         header.size.Store(header.bump.Load() + kPage);
         REQUIRE(s.control().ctl().Grow(header.size.Load()).ok());
         s.control().Get<QueueState>(header.bump.Load())->partitions = 7;
       }},
      {"room before", [](Store& s) { HeaderOf(s).bump.FetchAdd(0 - kPage); }},
      {"tail behind", [](Store& s) { HeaderOf(s).append.tail.FetchAdd(32); }},
      {"tail before",
       [](Store& s) { HeaderOf(s).append.tail.FetchAdd(-96ull); }},
      {"tail",
       [](Store& s) { HeaderOf(s).append.tail.Store(uint64_t{1} << 60); }},
      {"sequence", [](Store& s) { HeaderOf(s).append.sequence.FetchAdd(4); }},
      {"append under way",
       [](Store& s) { HeaderOf(s).append.intent_end.Store(64); }},
      {"segment", [](Store& s) { HeaderOf(s).append.current.Store(77); }},
      {"epoch", [](Store& s) { HeaderOf(s).epoch = 0; }},
      {"salt", [](Store& s) { s.control().segments()[0].salt.FetchAdd(1); }},
      {"segments",
       [](Store& s) { HeaderOf(s).catalog.end_segment.Store(~0u); }},
      {"committed", [](Store& s) { HeaderOf(s).committed.end.FetchAdd(32); }},
      {"durable",
       [](Store& s) { HeaderOf(s).flush.durable.FetchAdd(1 << 20); }},
      {"extents", [](Store& s) { HeaderOf(s).append.index_bump.Store(1); }},
      {"free extents",
       [](Store& s) { HeaderOf(s).append.index_free.Store(1 << 30); }},
      {"delays",
       [](Store& s) {
         HeaderOf(s).delay.first_block.Store(uint64_t{1} << 40);
       }},
      {"catalog",
       [](Store& s) { HeaderOf(s).catalog.first_page.Store(kPage); }},
      {"count", [](Store& s) { HeaderOf(s).catalog.count.Store(~0u); }},
      {"an entry less",
       [](Store& s) { HeaderOf(s).catalog.count.FetchAdd(~0u); }},
      {"an entry behind",
       [](Store& s) {
         s.catalog().entry(s.catalog().count())->state.Store(kPage + 8);
       }},
      {"a circle of pages",
       [](Store& s) {
         const uint64_t page = HeaderOf(s).catalog.first_page.Load();
         s.control().Get<CatalogPage>(page)->next.Store(page);
       }},
      {"record",
       [](Store& s) {
         s.catalog().entry(1)->record.Store(
             s.catalog().entry(0)->record.Load());
       }},
      {"record between",
       [](Store& s) { s.catalog().entry(0)->record.FetchAdd(7); }},
      {"record nowhere",
       [](Store& s) { s.catalog().entry(0)->record.Store(uint64_t{1} << 40); }},
      {"state",
       [](Store& s) { s.catalog().entry(0)->state.Store(uint64_t{1} << 33); }},
      {"partitions",
       [](Store& s) {
         s.control()
             .Get<QueueState>(s.catalog().entry(0)->state.Load())
             ->partitions = 900;
       }},
      {"a queue is gone",
       [](Store& s) { s.catalog().entry(0)->live.Store(0); }},
      {"an extent",
       [](Store& s) { PartitionOfOrders(s).last_extent.Store(1 << 25); }},
      {"the next offset",
       [](Store& s) { PartitionOfOrders(s).next_offset.FetchAdd(-1ull); }},
      {"the first offset",
       [](Store& s) { PartitionOfOrders(s).first_offset.Store(1 << 20); }},
      {"a window",
       [](Store& s) { CursorOfBilling(s).window.FetchAdd(uint64_t{1} << 35); }},
      {"two of one window",
       [](Store& s) {
         CursorOfBilling(s).exceptions.Store(CursorOfBilling(s).window.Load());
       }},
      {"where a group is",
       [](Store& s) { CursorOfBilling(s).next.Store(uint64_t{1} << 50); }},
      {"a floor", [](Store& s) { CursorOfBilling(s).floor.Store(1 << 20); }},
      {"a bell",
       [](Store& s) {
         const auto queue = s.catalog().FindQueue("orders", InGoodTime());
         (*queue)->state->sleepers[3].Store(uint64_t{1} << 63);
       }},
      {"an owner to come",
       [](Store& s) {
         const Owner self = s.liveness().self();
         HeaderOf(s).append.lock.owner.Store(
             Owner(self.slot(), self.generation() + 1).word());
       }},
  };
}

// A store with a queue, a group that has settled one message, and one more.
Handle OpenUsed(const std::string& path, const TestMachine& machine) {
  Handle handle = OpenStore(path, machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "first");
  SendOne(handle.store, "second");
  Member member(handle.store, "billing", "orders");
  REQUIRE(member.Take().size() == 2);
  member.Close();
  return handle;
}

TEST_CASE("what cannot be so in a ctl that a crash left is not believed") {
  for (const Change& change : Changes()) {
    CAPTURE(change.what);
    const TestMachine machine;
    const TempDirectory directory;
    Handle handle = OpenUsed(directory.path(), machine);
    change.make(*handle.store);
    handle.Kill();

    Handle heir = OpenStore(directory.path(), machine);

    CHECK(heir.store->open_path() == OpenPath::kCold);
    CHECK(BodiesOf(AllStored(heir.store)) ==
          std::vector<std::string>{"first", "second"});
    SendOne(heir.store, "third");
    heir.Close();
    const auto report = CheckStore(directory.path());
    REQUIRE(report.ok());
    CHECK(!report->damaged());
    CHECK(std::any_of(report->findings.begin(), report->findings.end(),
                      [](const CheckFinding& finding) {
                        return finding.file == kRefusedControlName;
                      }));
  }
}

TEST_CASE("a ctl that a crash left is believed as it is") {
  const TestMachine machine;
  const TempDirectory directory;
  Handle handle = OpenUsed(directory.path(), machine);
  handle.Kill();

  Handle heir = OpenStore(directory.path(), machine);

  CHECK(heir.store->open_path() == OpenPath::kWarm);
  CHECK(!std::filesystem::exists(directory.path() + '/' + kRefusedControlName));
  heir.Close();
}

}  // namespace
}  // namespace openmessaging::reference::control_check_test
