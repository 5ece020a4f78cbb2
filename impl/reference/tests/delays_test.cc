// SPDX-License-Identifier: Apache-2.0
//
// Delayed messages through deaths, power losses, other boots, retirement and
// damage, with a clock that stands still.

#include "delays.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::delays_test {
namespace {

using namespace testing;  // The fixture is part of this test.
using std::chrono::milliseconds;

constexpr int64_t kMs = 1'000'000;

SendResult SendAfter(const Handle& handle, std::string_view body,
                     milliseconds delay,
                     Durability durability = Durability::kDisk) {
  Message message = MakeMessage(body, durability);
  message.SetDelay(delay);
  auto results = TrySend(handle.store, {&message, 1});
  REQUIRE_MESSAGE(results[0].ok(), results[0].status().message());
  return *results[0];
}

absl::Status Cancel(const Handle& handle, const MessageId& id) {
  const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  return handle.store->delays().Cancel(**queue, id, InGoodTime());
}

TEST_CASE("a delayed message is not early, by a nanosecond") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Member member(handle.store, "g");
  SendAfter(handle, "later", milliseconds(5));
  CHECK(member.Take().empty());

  machine.clock.boot_ns.fetch_add(5 * kMs - 1);
  // A clock that somebody sets changes nothing.
  machine.clock.wall_ms.fetch_add(1'000'000);
  CHECK(member.Take().empty());
  machine.clock.boot_ns.fetch_add(1);

  CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"later"});
  CHECK(handle.store->delays().next_ns() == 0);
  member.Close();
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("what a killed sender delayed is brought in by others") {
  TestMachine machine;
  TempDirectory directory;
  Handle dying = OpenStore(directory.path(), machine);
  CreateQueue(*dying.store, "orders");
  Handle peer = OpenStore(directory.path(), machine);
  const SendResult sent =
      SendAfter(dying, "later", milliseconds(5), Durability::kProcess);
  dying.Kill();
  Member member(peer.store, "g");

  Advance(machine, milliseconds(5));
  const auto seen = member.Take();

  REQUIRE(seen.size() == 1);
  CHECK(seen[0].id == sent.message_id.ToString());
  member.Close();
  peer.Close();
}

TEST_CASE("who claimed the work and died keeps nobody for long") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Member member(handle.store, "g");
  SendAfter(handle, "later", milliseconds(5));
  Advance(machine, milliseconds(5));
  // It moved the time on, and did nothing.
  handle.store->control().header().flush.next_due_ns.Store(
      machine.clock.BootNs() + 20 * kMs);
  CHECK(member.Take().empty());

  Advance(machine, milliseconds(20));

  CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"later"});
  member.Close();
  handle.Close();
}

TEST_CASE("after every death and in every boot what waits comes once") {
  enum class Way { kWarm, kCold, kOtherBoot, kClean };
  for (const Way way : {Way::kWarm, Way::kCold, Way::kOtherBoot, Way::kClean}) {
    CAPTURE(static_cast<int>(way));
    TestMachine machine;
    TempDirectory directory;
    std::vector<std::string> ids;
    const auto reopen = [&](Handle& handle) {
      if (way == Way::kClean) {
        handle.Close();
      } else {
        handle.Kill();
      }
      if (way == Way::kCold) RemoveDerived(directory.path());
      if (way == Way::kOtherBoot) {
        machine.clock.boot_hash.fetch_add(1);
        machine.clock.boot_ns.store(1);
      }
      handle = OpenStore(directory.path(), machine);
    };
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    for (const int delay_ms : {100, 200, 300}) {
      ids.push_back(SendAfter(handle, std::to_string(delay_ms),
                              milliseconds(delay_ms))
                        .message_id.ToString());
    }
    const SendResult withdrawn =
        SendAfter(handle, "withdrawn", milliseconds(200));
    REQUIRE(Cancel(handle, withdrawn.message_id).ok());
    reopen(handle);
    {
      Member member(handle.store, "g");
      CHECK(member.Take().empty());
      // One more for the granularity of the wall clock.
      Advance(machine, milliseconds(101));
      const auto seen = member.Take();
      REQUIRE(BodiesOf(seen) == std::vector<std::string>{"100"});
      CHECK(seen[0].id == ids[0]);
      CHECK(member.Ack(0).ok());
      member.Close();
    }
    reopen(handle);
    Member member(handle.store, "g");
    // An ack that no flush has logged may be forgotten, a delay may not.
    for (const Seen& again : member.Take()) {
      CHECK(again.body == "100");
      CHECK(way != Way::kWarm);
      CHECK(way != Way::kClean);
    }
    CHECK(OmsCode(Cancel(handle, withdrawn.message_id)) ==
          Code::kIllegalState);
    Advance(machine, milliseconds(300));
    const auto seen = member.Take();
    REQUIRE(BodiesOf(seen) == std::vector<std::string>{"200", "300"});
    CHECK(seen[1].id == ids[2]);
    member.Close();
    handle.Close();
    CHECK(IsSound(directory.path()));
  }
}

TEST_CASE("wherever a power loss cuts the log what waited comes once") {
  TestMachine machine;
  TempDirectory directory;
  std::vector<std::string> ids;
  {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    Member member(handle.store, "g");
    for (int n = 0; n < 4; ++n) {
      ids.push_back(SendAfter(handle, std::to_string(n), milliseconds(10 + n))
                        .message_id.ToString());
    }
    const auto sent = SendAfter(handle, "withdrawn", milliseconds(20));
    REQUIRE(Cancel(handle, sent.message_id).ok());
    Advance(machine, milliseconds(12));
    CHECK(member.Take().size() == 3);
    handle.Kill();
  }
  const auto records = RecordsOf(directory.path());
  const auto of_type = [&](RecordType type) {
    return std::count_if(records.begin(), records.end(),
                         [&](const auto& r) { return r.type() == type; });
  };
  REQUIRE(of_type(RecordType::kDelayed) == 5);
  REQUIRE(of_type(RecordType::kDue) == 3);
  REQUIRE(of_type(RecordType::kCancel) == 1);

  std::set<std::string> stored;
  bool withdrawn_stored = false;
  bool withdrawn = false;
  int delayed = 0;
  for (size_t n = 0; n < records.size(); ++n) {
    if (records[n].type() == RecordType::kDelayed) {
      if (delayed < 4) stored.insert(ids[static_cast<size_t>(delayed)]);
      withdrawn_stored = ++delayed == 5;
    }
    withdrawn = withdrawn || records[n].type() == RecordType::kCancel;
    if (delayed == 0 || n + 1 == records.size()) continue;
    CAPTURE(n);
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    RemoveDerived(copy.path());
    // In the header of the record behind it.
    FlipBit(copy.path() + "/" + records[n + 1].file, records[n + 1].at + 20, 3);
    for (size_t behind = n + 2; behind < records.size(); ++behind) {
      FlipBit(copy.path() + "/" + records[behind].file,
              records[behind].at + 20, 3);
    }
    TestMachine later;
    later.clock.boot_hash.store(7);
    later.clock.wall_ms.store(machine.clock.wall_ms.load() + 1000);

    Handle handle = OpenStore(copy.path(), later);
    const auto seen = AllStored(handle.store);

    std::set<std::string> came;
    for (const Seen& one : seen) {
      CHECK(came.insert(one.id).second);
      CHECK((one.body != "withdrawn" || !withdrawn));
    }
    std::set<std::string> expected = stored;
    CHECK(seen.size() ==
          expected.size() + (withdrawn_stored && !withdrawn ? 1 : 0));
    CHECK(std::includes(came.begin(), came.end(), expected.begin(),
                        expected.end()));
    handle.Close();
  }
}

TEST_CASE("a segment goes though something in it waits") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const SendResult sent = SendAfter(handle, "much later", milliseconds(5000));
  const int64_t store_ms = machine.clock.WallMs();
  machine.clock.wall_ms.fetch_add(100);
  const ControlHeader& header = handle.store->control().header();
  const std::string padding(400, '.');
  {
    Member member(handle.store, "g");
    size_t acked = 0;
    for (int round = 0; round < 20; ++round) {
      for (int n = 0; n < 20; ++n) {
        SendOne(handle.store, padding, Durability::kProcess);
      }
      acked += member.Take().size();
      for (size_t n = acked - 20; n < acked; ++n) CHECK(member.Ack(n).ok());
      handle.store->Retire();
    }
    REQUIRE(header.catalog.first_segment.Load() > 2);
    CHECK(BodiesOf(member.Take()).empty());
    member.Close();
  }
  const DelayTable table(&handle.store->control());
  REQUIRE(table.count() == 1);
  const uint64_t base = handle.store->segments()
                            .entry(header.catalog.first_segment.Load())
                            .base.Load();
  CHECK(table.All(INT64_MAX, UINT64_MAX)[0].position >= base);

  SUBCASE("and is there for the living") {}
  SUBCASE("and is there after a death") {
    handle.Kill();
    RemoveDerived(directory.path());
    handle = OpenStore(directory.path(), machine);
  }
  SUBCASE("and can be cancelled") {
    CHECK(Cancel(handle, sent.message_id).ok());
    Advance(machine, milliseconds(5000));
    Member member(handle.store, "g");
    CHECK(member.Take().empty());
    member.Close();
    handle.Close();
    return;
  }
  struct Sink final : driver::DeliverySink {
    void Deliver(Message message, const Receipt&) override {
      // A death may have taken acknowledgements along.
      if (message.body() != "much later") return;
      CHECK(id.empty());
      id = message.message_id().ToString();
      store_ms = message.store_timestamp().count();
    }
    std::string id{};
    int64_t store_ms = 0;
  } sink;
  Advance(machine, milliseconds(5001));
  driver::ConsumerOptions options;
  options.group = "g";
  ReferenceConsumer consumer(handle.store, options, {}, nullptr);
  REQUIRE(consumer.Bind("orders", {}, InGoodTime()).ok());
  for (int n = 0; n < 20; ++n) {
    const auto now = std::chrono::steady_clock::now();
    REQUIRE(consumer.Receive(64, now, sink).ok());
  }
  CHECK(sink.id == sent.message_id.ToString());
  CHECK(sink.store_ms == store_ms);
  CHECK(consumer.Close(InGoodTime()).ok());
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("a segment of which much waits is kept instead of copied") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const std::string padding(400, '.');
  for (int n = 0; n < 8; ++n) SendAfter(handle, padding, milliseconds(5000));
  const ControlHeader& header = handle.store->control().header();
  {
    Member member(handle.store, "g");
    size_t acked = 0;
    for (int round = 0; round < 10; ++round) {
      for (int n = 0; n < 20; ++n) {
        SendOne(handle.store, padding, Durability::kProcess);
      }
      acked += member.Take().size();
      for (size_t n = acked - 20; n < acked; ++n) CHECK(member.Ack(n).ok());
    }
    handle.store->Retire();
    CHECK(header.catalog.first_segment.Load() == 0);

    Advance(machine, milliseconds(5000));
    CHECK(member.Take().size() == 8);
    for (size_t n = acked; n < acked + 8; ++n) CHECK(member.Ack(n).ok());
    handle.store->Retire();
    CHECK(header.catalog.first_segment.Load() > 0);
    member.Close();
  }
  handle.Close();
}

TEST_CASE("a large body that waits is stored in its record, and whole") {
  TestMachine machine;
  TempDirectory directory;
  StoreOptions options = SmallStore();
  options.big_body_bytes = 1024;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  struct Results final : driver::SendCompletion {
    void Sent(size_t, const SendResult&) override {}
    void Failed(size_t, absl::Status) override {}
  } results;
  Message message = MakeMessage(std::string(4000, 'x'));
  message.SetDelay(milliseconds(5000));
  driver::CallContext context;
  context.deadline = std::chrono::steady_clock::now() + milliseconds(20);
  context.caller_waits = false;
  ReferenceProducer producer(handle.store, false);
  const uint64_t position = handle.store->log().committed();
  // No flush completes it.
  SlotLock flush(&handle.store->control().header().flush.lock,
                 &handle.store->liveness(), machine.environment.waiting);
  REQUIRE(flush.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);

  producer.Send({&message, 1}, context, results);

  flush.Release();
  const auto segment = handle.store->segments().Find(position);
  REQUIRE(segment.ok());
  RecordHeader header;
  std::memcpy(&header, (*segment)->Read(position), sizeof(header));
  REQUIRE(CommitWord::Type(header.commit) == RecordType::kDelayed);
  CHECK((CommitWord::Flags(header.commit) & kBodyApart) == 0);
  // Its checksum covers it from the first.
  CHECK((CommitWord::Flags(header.commit) & kPayloadPending) == 0);
  CHECK(Crc32c(0, (*segment)->Read(position) + sizeof(header),
               CommitWord::Length(header.commit) - sizeof(header)) ==
        header.payload_checksum);
  handle.Close();
}

TEST_CASE("a death while the table changed is mended by the heir") {
  TestMachine machine;
  TempDirectory directory;
  Handle dying = OpenStore(directory.path(), machine);
  CreateQueue(*dying.store, "orders");
  Handle peer = OpenStore(directory.path(), machine);
  std::vector<MessageId> ids;
  for (int n = 0; n < 100; ++n) {
    ids.push_back(
        SendAfter(peer, std::to_string(n), milliseconds(10 + n)).message_id);
  }
  ControlHeader& header = dying.store->control().header();
  header.delay.changing.Store(1);
  header.delay.free.Store(0);
  header.delay.free_count.Store(0);
  for (uint32_t n = 0; n < 16384; ++n) {
    dying.store->control()
        .Get<Shared<uint32_t>>(header.delay.buckets.Load())[n]
        .Store(0);
  }
  header.append.lock.owner.Store(dying.store->liveness().self().word());
  dying.Kill();

  for (size_t n = 0; n < 50; ++n) CHECK(Cancel(peer, ids[n]).ok());
  Advance(machine, milliseconds(200));
  Member member(peer.store, "g");

  std::vector<std::string> expected;
  for (int n = 50; n < 100; ++n) expected.push_back(std::to_string(n));
  CHECK(BodiesOf(member.Take()) == expected);
  member.Close();
  peer.Close();
}

// Makes it look as if the last append had died behind its commit word.
void UnfinishLastAppend(Handle& handle, uint64_t begin) {
  ControlHeader& header = handle.store->control().header();
  header.append.intent_begin.Store(begin);
  header.append.intent_end.Store(header.append.tail.Load());
  header.append.tail.Store(begin);
  header.committed.end.Store(begin);
  header.append.lock.owner.Store(handle.store->liveness().self().word());
}

TEST_CASE("an heir publishes what waits, what is due and what is withdrawn") {
  TestMachine machine;
  TempDirectory directory;
  Handle dying = OpenStore(directory.path(), machine);
  CreateQueue(*dying.store, "orders");
  Handle peer = OpenStore(directory.path(), machine);
  Member member(peer.store, "g");
  ControlHeader& header = dying.store->control().header();
  DelayTable table(&peer.store->control());
  const SendResult first = SendAfter(peer, "first", milliseconds(10));

  SUBCASE("a delayed message") {
    const uint64_t begin = header.append.tail.Load();
    const SendResult sent =
        SendAfter(dying, "second", milliseconds(10), Durability::kProcess);
    const Delayed delayed = table.All(INT64_MAX, UINT64_MAX).back();
    table.Remove(delayed.id);
    REQUIRE(table.count() == 1);
    UnfinishLastAppend(dying, begin);
    dying.Kill();
    Advance(machine, milliseconds(10));
    // Whoever appends next inherits.
    SendOne(peer.store, "plain", Durability::kProcess);
    const auto seen = member.Take();
    CHECK(seen.size() == 3);
    CHECK(std::any_of(seen.begin(), seen.end(), [&](const Seen& one) {
      return one.id == sent.message_id.ToString();
    }));
  }
  SUBCASE("one that is due") {
    const Delayed waits = *table.Find(
        table.All(INT64_MAX, UINT64_MAX).front().id);
    Advance(machine, milliseconds(10));
    const uint64_t begin = header.append.tail.Load();
    dying.store->delays().Work(machine.clock.BootNs());
    REQUIRE(table.count() == 0);
    table.Put(waits);
    UnfinishLastAppend(dying, begin);
    dying.Kill();
    CHECK(OmsCode(Cancel(peer, first.message_id)) == Code::kIllegalState);
    CHECK(member.Take().size() == 1);
    CHECK(table.count() == 0);
  }
  SUBCASE("one that is withdrawn") {
    const Delayed waits = table.All(INT64_MAX, UINT64_MAX).front();
    const uint64_t begin = header.append.tail.Load();
    REQUIRE(Cancel(dying, first.message_id).ok());
    table.Put(waits);
    UnfinishLastAppend(dying, begin);
    dying.Kill();
    Advance(machine, milliseconds(10));
    CHECK(member.Take().empty());
  }
  member.Close();
  peer.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("a message that was damaged while it waited is told and skipped") {
  TestMachine machine;
  TempDirectory directory;
  {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    SendAfter(handle, "damaged-body", milliseconds(10));
    SendAfter(handle, "good", milliseconds(20));
    handle.Close();
  }
  const auto records = RecordsOf(directory.path());
  const auto record =
      std::find_if(records.begin(), records.end(), [](const auto& place) {
        return place.type() == RecordType::kDelayed;
      });
  REQUIRE(record != records.end());
  // In its body, which the checkpoint does not know.
  FlipBit(directory.path() + "/" + record->file,
          record->at + record->bytes() - 1, 2);
  Advance(machine, milliseconds(100));

  Handle handle = OpenStore(directory.path(), machine);
  REQUIRE(handle.store->open_path() == OpenPath::kClean);
  Member member(handle.store, "g");

  CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"good"});
  REQUIRE(member.damage().size() == 1);
  CHECK(OmsCode(member.damage()[0]) == Code::kDamaged);
  member.Close();
  handle.Close();
}

TEST_CASE("an heir remembers that an expired message has moved") {
  TestMachine machine;
  TempDirectory directory;
  Handle dying = OpenStore(directory.path(), machine);
  CreateQueue(*dying.store, "dead");
  QueueOptions options;
  options.dead_letter_queue = "dead";
  REQUIRE(dying.store->catalog().CreateQueue("orders", options, InGoodTime()).ok());
  Handle peer = OpenStore(directory.path(), machine);
  Member audit(peer.store, "audit");
  CHECK(audit.Take().empty());
  Message message = MakeMessage("old", Durability::kProcess);
  message.SetExpireAt(milliseconds(1));
  REQUIRE(TrySend(dying.store, {&message, 1})[0].ok());
  ControlHeader& header = dying.store->control().header();
  Member billing(dying.store, "billing");
  const uint64_t begin = header.append.tail.Load();
  CHECK(billing.Take().empty());
  const uint64_t dead_queue = 1;
  const uint64_t orders = 2;
  PartitionState& dead = *dying.store->catalog().FindPartition(
      QueuePartition(dead_queue, 0));
  PartitionState& partition =
      *dying.store->catalog().FindPartition(QueuePartition(orders, 0));
  REQUIRE(dead.next_offset.Load() == 1);
  IndexReader index(&dying.store->control(), &partition,
                    QueuePartition(orders, 0));
  Shared<uint64_t>& place = *index.Place(0);
  REQUIRE((place.Load() & kBuriedBit) != 0);
  place.FetchAnd(~kBuriedBit);
  UnfinishLastAppend(dying, begin);
  dying.Kill();

  CHECK(audit.Take().empty());

  CHECK((place.Load() & kBuriedBit) != 0);
  CHECK(dead.next_offset.Load() == 1);
  audit.Close();
  peer.Close();
  CHECK(IsSound(directory.path()));
}

}  // namespace
}  // namespace openmessaging::reference::delays_test
