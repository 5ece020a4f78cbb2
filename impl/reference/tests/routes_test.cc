// SPDX-License-Identifier: Apache-2.0
//
// The records behind routes: what is left of them when whoever wrote them died
// between any two steps, or when the power went.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "catalog.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "log.h"
#include "openmessaging/reference/check.h"
#include "routes.h"

namespace openmessaging::reference::routes_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr std::string_view kQueues[] = {"orders", "copies", "more"};

void Lead(Store& store, std::string_view source, std::string_view target) {
  const absl::Status made = store.catalog().CreateRoute(
      {std::string(source), std::string(target), {}}, InGoodTime());
  REQUIRE_MESSAGE(made.ok(), made.message());
}

// A store whose first queue is routed to the others.
Handle OpenRouted(const std::string& path, const TestMachine& machine) {
  Handle handle = OpenStore(path, machine);
  for (const std::string_view queue : kQueues) {
    CreateQueue(*handle.store, queue);
  }
  Lead(*handle.store, "orders", "copies");
  Lead(*handle.store, "copies", "more");
  return handle;
}

// The bodies that are in a queue.
std::vector<std::string> In(const std::shared_ptr<Store>& store,
                            std::string_view queue) {
  static int groups = 0;
  Member member(store, "in-" + std::to_string(groups++), queue);
  return BodiesOf(member.Take());
}

void CheckAll(const std::shared_ptr<Store>& store,
              const std::vector<std::string>& bodies) {
  for (const std::string_view queue : kQueues) {
    CAPTURE(queue);
    CHECK(In(store, queue) == bodies);
  }
}

// Makes it look as if whoever appended [begin, end) had died before the first
// step behind its commit word.
void Unfinish(Store& store, uint64_t begin, uint64_t end) {
  ControlHeader& header = store.control().header();
  header.append.intent_begin.Store(begin);
  header.append.intent_end.Store(end);
  header.append.tail.Store(begin);
  header.committed.end.Store(begin);
}

TEST_CASE("an heir brings a message and its copies in or none of them") {
  for (const bool whole : {true, false}) {
    CAPTURE(whole);
    const TestMachine machine;
    const TempDirectory directory;
    Handle handle = OpenRouted(directory.path(), machine);
    Store& store = *handle.store;
    SendOne(handle.store, "before");
    const uint64_t begin = store.log().committed();
    const SendResult sent =
        SendOne(handle.store, "routed", Durability::kProcess);
    const uint64_t end = store.log().committed();
    Unfinish(store, begin, end);
    for (const std::string_view queue : kQueues) {
      const auto found = store.catalog().FindQueue(queue, InGoodTime());
      REQUIRE(found.ok());
      (*found)->state->partition(0)->next_offset.Store(1);
    }
    if (!whole) {
      const auto segment = store.segments().Find(begin);
      REQUIRE(segment.ok());
      // As long as the first record is not there, nothing counts the others.
      store.control().header().append.sequence.Store(
          At<RecordHeader>((*segment)->Write(begin), 0).sequence - 1);
      At<Shared<uint64_t>>((*segment)->Write(begin), 0).Store(0);
    }
    handle.Kill();

    Handle heir = OpenStore(directory.path(), machine);

    CHECK(heir.store->open_path() == OpenPath::kWarm);
    if (whole) {
      CheckAll(heir.store, {"before", "routed"});
      Member member(heir.store, "ids", "more");
      CHECK(member.Take().back().id == sent.message_id.ToString());
    } else {
      CheckAll(heir.store, {"before"});
    }
    SendOne(heir.store, "after");
    CHECK(In(heir.store, "more").back() == "after");
    heir.Close();
  }
}

TEST_CASE("an heir makes a route that is in the log") {
  for (const bool published : {false, true}) {
    CAPTURE(published);
    const TestMachine machine;
    const TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    Store& store = *handle.store;
    for (const std::string_view queue : kQueues) CreateQueue(store, queue);
    SendOne(handle.store, "before");
    const uint64_t begin = store.log().committed();
    Lead(store, "orders", "copies");
    const uint64_t end = store.log().committed();
    ControlHeader& header = store.control().header();
    const uint32_t count = header.catalog.count.Load();
    CatalogEntry& entry = *store.catalog().entry(count - 1);
    REQUIRE(entry.kind.Load() == kRouteKind);
    if (!published) {
      // Nothing of it is in ctl yet.
      entry.live.Store(0);
      entry.kind.Store(0);
      header.catalog.count.Store(count - 1);
    }
    Unfinish(store, begin, end);
    handle.Kill();

    Handle heir = OpenStore(directory.path(), machine);
    SendOne(heir.store, "after");

    CHECK(In(heir.store, "copies") == std::vector<std::string>{"after"});
    const auto routes = heir.store->catalog().ListRoutes("", InGoodTime());
    REQUIRE(routes.ok());
    CHECK(routes->size() == 1);
    heir.Close();
  }
}

TEST_CASE("a power loss takes a message with its copies or leaves all") {
  const TestMachine machine;
  const TempDirectory directory;
  {
    Handle handle = OpenRouted(directory.path(), machine);
    SendOne(handle.store, "before");
    SendOne(handle.store, "routed");
    handle.Kill();
  }
  auto records = RecordsOf(directory.path());
  std::erase_if(records, [](const RecordPlace& place) {
    return place.type() != RecordType::kMessage &&
           place.type() != RecordType::kRouted;
  });
  REQUIRE(records.size() == 6);
  REQUIRE(records[3].type() == RecordType::kMessage);
  const RecordPlace& first = records[3];
  const uint64_t bytes = records[5].at + records[5].padded() - first.at;
  for (uint64_t kept = 0; kept < bytes; kept += kRecordAlignment) {
    CAPTURE(kept);
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    const std::string file = copy.path() + "/" + first.file;
    const std::string original = ReadFile(file).substr(first.at, bytes);
    const std::string tail(bytes - kept, '\0');
    const bool whole = original.substr(kept) == tail;
    Overwrite(file, first.at + kept, tail);
    std::filesystem::remove(copy.path() + "/ctl");

    Handle handle = OpenStore(copy.path(), machine);

    CHECK(handle.store->open_path() == OpenPath::kCold);
    CheckAll(handle.store, whole ? std::vector<std::string>{"before", "routed"}
                                 : std::vector<std::string>{"before"});
    handle.Kill();
    const auto report = CheckStore(copy.path());
    REQUIRE(report.ok());
    CHECK_FALSE(report->damaged());
  }
}

TEST_CASE("a copy whose record is damaged is told and its source is not") {
  const TestMachine machine;
  const TempDirectory directory;
  {
    Handle handle = OpenRouted(directory.path(), machine);
    SendOne(handle.store, "routed");
    SendOne(handle.store, "after");
    SendOne(handle.store, "last");
    handle.Kill();
  }
  auto records = RecordsOf(directory.path());
  const auto copy =
      std::find_if(records.begin(), records.end(), [](const RecordPlace& p) {
        return p.type() == RecordType::kRouted;
      });
  REQUIRE(copy != records.end());
  FlipBit(directory.path() + "/" + copy->file, copy->at + copy->bytes() - 1, 1);

  Handle handle = OpenStore(directory.path(), machine);

  CHECK(In(handle.store, "orders").size() == 3);
  Member member(handle.store, "told", "copies");
  CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"after", "last"});
  REQUIRE(member.damage().size() == 1);
  CHECK(OmsCode(member.damage()[0]) == Code::kDamaged);
  CHECK(In(handle.store, "more").size() == 3);
  handle.Kill();
}

TEST_CASE("a unit that has no room stores neither message nor copies") {
  const TestMachine machine;
  const TempDirectory directory;
  StoreOptions options = SmallStore();
  options.max_bytes = 64 << 10;
  Handle handle = OpenStore(directory.path(), machine, options);
  for (const std::string_view queue : kQueues) {
    CreateQueue(*handle.store, queue);
  }
  Lead(*handle.store, "orders", "copies");
  Lead(*handle.store, "copies", "more");
  const std::string body(1500, 'x');
  size_t stored = 0;
  while (true) {
    const Message message = MakeMessage(body);
    const auto results = TrySend(handle.store, {&message, 1});
    if (!results[0].ok()) {
      CHECK(OmsCode(results[0].status()) == Code::kStorageBusy);
      break;
    }
    REQUIRE(++stored < 100);
  }

  CHECK(stored > 3);
  for (const std::string_view queue : kQueues) {
    CHECK(In(handle.store, queue).size() == stored);
  }
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::routes_test
