// SPDX-License-Identifier: Apache-2.0
//
// Records that stand or fall together: a refusal, a death and a power loss take
// all of a unit or none of it.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "catalog.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "log.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::units_test {
namespace {

using namespace testing;  // The fixture is part of this test.

// A unit of messages at durability disk.
struct Unit {
  explicit Unit(Store& of) : store(of) {}

  void Add(std::string_view queue, std::string body) {
    const auto found = store.catalog().FindQueue(queue, InGoodTime());
    REQUIRE(found.ok());
    queues.push_back(*found);
    bodies.push_back(std::make_unique<std::string>(std::move(body)));
    Append append;
    append.flags = kDisk;
    append.queue_partition = QueuePartition((*found)->id, 0);
    append.partition = (*found)->state->partition(0);
    append.alive = (*found)->entry;
    append.pieces[2] = *bodies.back();
    appends.push_back(append);
  }
  // Returns: what became of each.
  std::vector<absl::Status> Send() {
    for (Append& append : appends) append.flags |= kMore;
    appends.back().flags &= static_cast<uint8_t>(~kMore);
    store.log().AppendAll(appends, 1'700'000'000'000, InGoodTime());
    std::vector<absl::Status> all;
    for (const Append& append : appends) all.push_back(append.status);
    return all;
  }

  Store& store;
  std::vector<std::shared_ptr<const Queue>> queues{};
  std::vector<std::unique_ptr<std::string>> bodies{};
  std::vector<Append> appends{};
};

std::string Body(int number, size_t bytes) {
  std::string body = "part " + std::to_string(number) + " ";
  while (body.size() < bytes) body += std::to_string(body.size() * 3) + ",";
  body.resize(bytes);
  return body;
}

// What is stored in the image once nothing but its log is believed.
std::vector<std::string> Recovered(const std::string& path,
                                   const TestMachine& machine) {
  std::filesystem::remove(path + "/ctl");
  Handle handle = OpenStore(path, machine);
  CHECK(handle.store->open_path() == OpenPath::kCold);
  auto bodies = BodiesOf(AllStored(handle.store));
  // It goes on as if there had been nothing.
  SendOne(handle.store, "next");
  CHECK(AllStored(handle.store).size() == bodies.size() + 1);
  handle.Kill();
  return bodies;
}

TEST_CASE("a unit is appended in one go and in its order") {
  const TestMachine machine;
  const TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "copies");
  Unit unit(*handle.store);
  for (int n = 0; n < 3; ++n) {
    unit.Add("orders", Body(n, 100));
    unit.Add("copies", Body(n, 100));
  }

  for (const absl::Status& status : unit.Send()) CHECK(status.ok());

  for (size_t n = 1; n < unit.appends.size(); ++n) {
    CHECK(unit.appends[n].sequence == unit.appends[n - 1].sequence + 1);
    CHECK(unit.appends[n].position == unit.appends[n - 1].end);
  }
  CHECK(unit.appends[4].offset == 2);
  CHECK(BodiesOf(AllStored(handle.store)) ==
        std::vector{Body(0, 100), Body(1, 100), Body(2, 100)});
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("of a unit with one refused record nothing is stored") {
  const TestMachine machine;
  const TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "doomed");
  Unit unit(*handle.store);
  unit.Add("orders", "first");
  unit.Add("doomed", "second");
  unit.Add("orders", "third");
  REQUIRE(handle.store->catalog().DeleteQueue("doomed", InGoodTime()).ok());

  for (const absl::Status& status : unit.Send()) {
    CHECK(OmsCode(status) == Code::kQueueNotFound);
  }

  CHECK(AllStored(handle.store).empty());
  handle.Close();
}

TEST_CASE("a refused unit does not keep others of its call out") {
  const TestMachine machine;
  const TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "doomed");
  Unit unit(*handle.store);
  for (const char* const queue : {"orders", "doomed", "orders", "orders"}) {
    unit.Add(queue, std::string("in ") + queue);
  }
  REQUIRE(handle.store->catalog().DeleteQueue("doomed", InGoodTime()).ok());
  // The first two are one unit, each of the others is its own.
  unit.appends[0].flags |= kMore;

  handle.store->log().AppendAll(unit.appends, 1'700'000'000'000, InGoodTime());

  CHECK(!unit.appends[0].status.ok());
  CHECK(!unit.appends[1].status.ok());
  CHECK(unit.appends[2].status.ok());
  CHECK(unit.appends[3].status.ok());
  CHECK(AllStored(handle.store).size() == 2);
  handle.Close();
}

TEST_CASE("a unit that is larger than a segment gets one of its own") {
  const TestMachine machine;
  const TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "before");
  Unit unit(*handle.store);
  // More than a claim, and more than the largest segment.
  for (int n = 0; n < 400; ++n) unit.Add("orders", Body(n, 200));

  for (const absl::Status& status : unit.Send()) CHECK(status.ok());

  const auto segment = handle.store->segments().Find(unit.appends[0].position);
  REQUIRE(segment.ok());
  CHECK((*segment)->Contains(unit.appends.back().position));
  SendOne(handle.store, "after");
  CHECK(AllStored(handle.store).size() == 402);
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("a unit for which there is no room leaves nothing behind") {
  const TestMachine machine;
  const TempDirectory directory;
  StoreOptions options = SmallStore();
  options.max_bytes = 64 << 10;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  Unit unit(*handle.store);
  for (int n = 0; n < 400; ++n) unit.Add("orders", Body(n, 200));

  for (const absl::Status& status : unit.Send()) {
    CHECK(OmsCode(status) == Code::kStorageBusy);
  }

  CHECK(AllStored(handle.store).empty());
  SendOne(handle.store, "small enough");
  CHECK(AllStored(handle.store).size() == 1);
  handle.Close();
}

// A store that was killed right after a unit whose flush had not begun.
struct Image {
  Image() {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    SendOne(handle.store, "before");
    Unit unit(*handle.store);
    for (int n = 0; n < kParts; ++n) unit.Add("orders", Body(n, 150));
    for (const absl::Status& status : unit.Send()) CHECK(status.ok());
    for (const auto& body : unit.bodies) parts.push_back(*body);
    handle.Kill();
    auto all = MessagesOf(directory.path());
    REQUIRE(all.size() == kParts + 1);
    records.assign(all.begin() + 1, all.end());
  }
  // What is to be found: all or nothing of the unit.
  std::vector<std::string> With(bool unit) const {
    std::vector<std::string> all = {"before"};
    if (unit) all.insert(all.end(), parts.begin(), parts.end());
    return all;
  }

  static constexpr int kParts = 4;
  TestMachine machine{};
  TempDirectory directory{};
  std::vector<std::string> parts{};
  std::vector<RecordPlace> records{};
};

TEST_CASE("a unit whose tail a power loss took is gone as a whole") {
  const Image image;
  const RecordPlace& first = image.records.front();
  const RecordPlace& last = image.records.back();
  const uint64_t bytes = last.at + last.padded() - first.at;
  for (uint64_t kept = 0; kept < bytes; kept += kRecordAlignment) {
    CAPTURE(kept);
    TempDirectory copy;
    copy.CopyFrom(image.directory.path());
    const std::string original =
        ReadFile(copy.path() + "/" + first.file).substr(first.at, bytes);
    const std::string tail(bytes - kept, '\0');
    const bool whole = original.substr(kept) == tail;
    Overwrite(copy.path() + "/" + first.file, first.at + kept, tail);

    CHECK(IsSound(copy.path()));
    CHECK(Recovered(copy.path(), image.machine) == image.With(whole));
    CHECK(IsSound(copy.path()));
  }
}

TEST_CASE("a unit of which a power loss took any sectors is gone as a whole") {
  const Image image;
  const RecordPlace& first = image.records.front();
  const RecordPlace& last = image.records.back();
  constexpr uint64_t kSector = 64;  // Smaller than a record, as 512 often is.
  const uint64_t bytes = last.at + last.padded() - first.at;
  const uint64_t sectors = (bytes + kSector - 1) / kSector;
  SeededRandom random;
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    TempDirectory copy;
    copy.CopyFrom(image.directory.path());
    uint64_t lost = random.Next() & random.Next();
    lost &= (uint64_t{1} << sectors) - 1;
    for (uint64_t n = 0; n < sectors; ++n) {
      if ((lost >> n & 1) == 0) continue;
      const uint64_t at = n * kSector;
      Overwrite(copy.path() + "/" + first.file, first.at + at,
                std::string(std::min(kSector, bytes - at), '\0'));
    }
    // Padding may be all that was lost.
    const bool whole =
        ReadFile(copy.path() + "/" + first.file).substr(first.at, bytes) ==
        ReadFile(image.directory.path() + "/" + first.file)
            .substr(first.at, bytes);

    CHECK(IsSound(copy.path()));
    CHECK(Recovered(copy.path(), image.machine) == image.With(whole));
  }
}

TEST_CASE("of a durable unit a damaged record is damage and no torn tail") {
  Image image;
  {
    Handle handle = OpenStore(image.directory.path(), image.machine);
    // Says that all of it was durable.
    SendOne(handle.store, "after");
    SendOne(handle.store, "last");
    handle.Kill();
  }
  const RecordPlace& hit = image.records[1];
  FlipBit(image.directory.path() + "/" + hit.file, hit.at + 80, 2);

  const auto report = CheckStore(image.directory.path());
  REQUIRE(report.ok());
  CHECK(report->damaged());
  const auto found = Recovered(image.directory.path(), image.machine);
  CHECK(found.size() == image.With(true).size() + 2 - 1);
}

TEST_CASE("of a unit with a large body that has no room nothing is stored") {
  const TestMachine machine;
  const TempDirectory directory;
  StoreOptions options = SmallStore();
  options.big_body_bytes = 2048;
  options.max_bytes = 64 << 10;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  Unit unit(*handle.store);
  unit.Add("orders", Body(0, 4096));
  unit.Add("orders", "small");
  unit.Add("orders", Body(1, 100'000));

  for (const absl::Status& status : unit.Send()) {
    CHECK(OmsCode(status) == Code::kStorageBusy);
  }

  CHECK(AllStored(handle.store).empty());
  CHECK(std::filesystem::is_empty(directory.path() + "/big"));
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::units_test
