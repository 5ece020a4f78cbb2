// SPDX-License-Identifier: Apache-2.0
//
// Opening after deaths: at every step of an append, after every change of a
// file, and while recovering from that.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::recovery_test {
namespace {

using namespace testing;  // The fixture is part of this test.

std::string Body(int number, size_t bytes) {
  std::string body = "message " + std::to_string(number) + " ";
  body.resize(std::max(body.size(), bytes), '.');
  return body;
}

// What an append changes beside the log.
struct Words {
  explicit Words(ControlHeader& header, const PartitionState& partition)
      : tail(header.append.tail.Load()),
        sequence(header.append.sequence.Load()),
        chain(header.append.chain.Load()),
        committed(header.committed.end.Load()),
        next_offset(partition.next_offset.Load()) {}

  uint64_t tail;
  uint64_t sequence;
  uint64_t chain;
  uint64_t committed;
  uint64_t next_offset;
};

constexpr int kAppendSteps = 10;
constexpr int kFirstFinishedStep = 3;  // From here on the heir finishes.

// Appends `bodies` as one claim and then makes it look as if the appender had
// died after `step`.
void AppendAndDieAt(Handle& handle, const std::vector<std::string>& bodies,
                    int step) {
  Store& store = *handle.store;
  ControlHeader& header = store.control().header();
  PartitionState& partition =
      *store.catalog().FindPartition(QueuePartition(1, 0));
  const Words before(header, partition);
  std::vector<Message> batch;
  for (const std::string& body : bodies) {
    batch.push_back(MakeMessage(body, Durability::kProcess));
  }
  const uint32_t current = header.append.current.Load();
  for (const auto& result : TrySend(handle.store, batch)) REQUIRE(result.ok());
  REQUIRE(header.append.current.Load() == current);
  const Words after(header, partition);
  auto segment = store.segments().ByOrdinal(current);
  REQUIRE(segment.ok());

  if (step < 9) header.committed.end.Store(before.committed);
  if (step < 8) header.append.tail.Store(before.tail);
  if (step < 7) header.append.sequence.Store(before.sequence);
  if (step < 6) header.append.chain.Store(before.chain);
  if (step < 5) partition.next_offset.Store(before.next_offset);
  if (step == 4) partition.next_offset.Store(before.next_offset + 1);
  if (step < 5) {
    IndexExtent& extent = store.control().extent(partition.last_extent.Load());
    const uint64_t first = before.next_offset + (step == 4 ? 1 : 0);
    for (uint64_t n = first; n < after.next_offset; ++n) {
      IndexEntry& entry = extent.entries[n - extent.first_offset.Load()];
      entry.place.Store(0);
      entry.check.Store(0);
    }
  }
  for (uint64_t at = before.tail; step < 3 && at < after.tail;) {
    char* const record = (*segment)->Write(at);
    const uint32_t length =
        CommitWord::Length(At<Shared<uint64_t>>(record, 0).Load());
    // Step 2: only the first commit word is missing, as it is stored last.
    if (step < 2 || at == before.tail) {
      At<Shared<uint64_t>>(record, 0).Store(0);
    }
    if (step == 0) std::memset(record, 0, PaddedBytes(length));
    at += PaddedBytes(length);
  }
  header.append.intent_begin.Store(before.tail);
  header.append.intent_end.Store(after.tail);
  header.append.lock.owner.Store(store.liveness().self().word());
}

void CheckAfterDeath(Handle& handle, std::vector<std::string> expected) {
  const SendResult next = SendOne(handle.store, "next", Durability::kProcess);
  CHECK(next.offset == static_cast<int64_t>(expected.size()));
  expected.push_back("next");

  const auto stored = AllStored(handle.store);
  CHECK(BodiesOf(stored) == expected);
  for (size_t n = 0; n < stored.size(); ++n) {
    CHECK(stored[n].offset == static_cast<int64_t>(n));
  }
}

void CheckDenseSequences(const std::string& path) {
  const auto records = RecordsOf(path);
  for (size_t n = 1; n < records.size(); ++n) {
    CHECK(records[n].header.sequence == records[n - 1].header.sequence + 1);
  }
}

TEST_CASE(
    "OMS-REF-004: an append that died at any step is finished or erased by a "
    "warm open") {
  for (const size_t count : {size_t{1}, size_t{3}}) {
    for (int step = 0; step < kAppendSteps; ++step) {
      if (count == 1 && (step == 2 || step == 4)) continue;  // Of batches only.
      CAPTURE(count);
      CAPTURE(step);
      TestMachine machine;
      TempDirectory directory;
      std::vector<std::string> expected = {"one", "two"};
      {
        Handle handle = OpenStore(directory.path(), machine);
        CreateQueue(*handle.store, "orders");
        for (const auto& body : expected) SendOne(handle.store, body);
        std::vector<std::string> batch;
        for (size_t n = 0; n < count; ++n)
          batch.push_back(Body(5 + int(n), 90));
        AppendAndDieAt(handle, batch, step);
        if (step >= kFirstFinishedStep) {
          expected.insert(expected.end(), batch.begin(), batch.end());
        }
        handle.Kill();
      }

      Handle heir = OpenStore(directory.path(), machine);
      CHECK(heir.store->open_path() == OpenPath::kWarm);
      CHECK(heir.store->control().header().append.intent_end.Load() == 0);
      CheckAfterDeath(heir, expected);
      heir.Close();

      CHECK(IsSound(directory.path()));
      CheckDenseSequences(directory.path());
      // What ctl said and what the log says is the same.
      TempDirectory copy;
      copy.CopyFrom(directory.path());
      for (const char* const derived : {"/ctl", "/idx", "/ckpt/A", "/ckpt/B"}) {
        std::filesystem::remove(copy.path() + derived);
      }
      Handle cold = OpenStore(copy.path(), machine);
      expected.push_back("next");
      CHECK(BodiesOf(AllStored(cold.store)) == expected);
      cold.Close();
    }
  }
}

TEST_CASE("an append that died at any step is finished or erased by a peer") {
  for (int step = 0; step < kAppendSteps; ++step) {
    CAPTURE(step);
    TestMachine machine;
    TempDirectory directory;
    std::vector<std::string> expected = {"one", "two"};
    Handle dying = OpenStore(directory.path(), machine);
    CreateQueue(*dying.store, "orders");
    Handle peer = OpenStore(directory.path(), machine);
    CHECK(peer.store->open_path() == OpenPath::kJoined);
    for (const auto& body : expected) SendOne(peer.store, body);
    const std::vector<std::string> batch = {Body(5, 90), Body(6, 90)};
    AppendAndDieAt(dying, batch, step);
    if (step >= kFirstFinishedStep) {
      expected.insert(expected.end(), batch.begin(), batch.end());
    }

    dying.Kill();

    CheckAfterDeath(peer, expected);
    peer.Close();
    CHECK(IsSound(directory.path()));
    CheckDenseSequences(directory.path());
  }
}

TEST_CASE("a roll that died at any step is repaired") {
  for (int step = 0; step < 3; ++step) {
    CAPTURE(step);
    TestMachine machine;
    TempDirectory directory;
    std::vector<std::string> expected;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    ControlHeader& header = handle.store->control().header();
    // Until the next segment is prepared.
    while (header.append.current.Load() + 1 ==
           header.catalog.end_segment.Load()) {
      expected.push_back(Body(int(expected.size()), 500));
      SendOne(handle.store, expected.back());
    }
    const uint32_t next = header.append.current.Load() + 1;
    auto segment = handle.store->segments().ByOrdinal(next);
    REQUIRE(segment.ok());
    SegmentHeader::Roll roll;
    roll.previous_end = header.append.tail.Load();
    roll.previous_sequence = header.append.sequence.Load();
    roll.durable = header.flush.durable.Load();
    roll.previous_chain = static_cast<uint32_t>(header.append.chain.Load());
    roll.checksum = SealOf(roll, (*segment)->salt());

    (*segment)->header()->roll = roll;
    if (step >= 1) header.append.current.Store(next);
    if (step >= 2) {
      header.append.chain.Store(((*segment)->base() / kRecordAlignment) << 32);
    }
    header.append.lock.owner.Store(handle.store->liveness().self().word());
    handle.Kill();
    TempDirectory copy;
    copy.CopyFrom(directory.path());

    Handle warm = OpenStore(directory.path(), machine);
    CHECK(warm.store->open_path() == OpenPath::kWarm);
    CheckAfterDeath(warm, expected);
    warm.Close();
    CHECK(IsSound(directory.path()));
    CheckDenseSequences(directory.path());

    Handle cold = OpenStore(copy.path(), machine);
    CHECK(cold.store->open_path() == OpenPath::kCold);
    CheckAfterDeath(cold, expected);
    cold.Close();
    CHECK(IsSound(copy.path()));
  }
}

// Copies of a store after each change of a file.
struct Recorder {
  void Watch(MortalStorage& storage, const std::string& path) {
    storage.set_after_change([this, path] {
      auto copy = std::make_unique<TempDirectory>();
      copy->CopyFrom(path);
      snapshots.push_back({std::move(copy), acknowledged});
    });
  }

  struct Snapshot {
    std::unique_ptr<TempDirectory> directory{};
    int acknowledged = 0;
  };
  std::vector<Snapshot> snapshots{};
  int acknowledged = -1;  // -1: nor is the queue.
};

TEST_CASE(
    "OMS-REF-004: a kill after any change of a file loses nothing "
    "acknowledged") {
  TestMachine machine;
  TempDirectory directory;
  Recorder recorder;
  std::vector<std::string> sent;
  {
    auto storage = MortalStorage::OfDirectory(directory.path());
    recorder.Watch(*storage, directory.path());
    auto opened = TryOpen(storage, machine, SmallStore());
    REQUIRE(opened.ok());
    Handle handle = *std::move(opened);
    CreateQueue(*handle.store, "orders");
    recorder.acknowledged = 0;
    Member member(handle.store, "billing");
    for (int n = 0; n < 24; ++n) {
      sent.push_back(Body(n, 700));
      SendOne(handle.store, sent.back());
      ++recorder.acknowledged;
      REQUIRE(member.Take(1).size() == 1);
      if (n < 12) CHECK(member.Ack(static_cast<size_t>(n)).ok());
    }
    member.Close();
    handle.Close();
    storage->set_after_change({});
  }
  REQUIRE(SegmentFiles(directory.path()).size() >= 2);
  REQUIRE(recorder.snapshots.size() > 50);

  std::set<std::string> settled;
  for (const Recorder::Snapshot& snapshot : recorder.snapshots) {
    CAPTURE(snapshot.acknowledged);
    const std::string& path = snapshot.directory->path();
    const bool made = std::filesystem::exists(path + "/STORE");
    if (made) CHECK(IsSound(path));
    Handle handle = OpenStore(path, machine);
    const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
    if (!queue.ok()) {
      CHECK(snapshot.acknowledged < 0);
      continue;
    }
    Member member(handle.store, "billing");
    const auto pending = member.Take();
    CHECK(member.damage().empty());
    if (snapshot.acknowledged < 0) {
      CHECK(pending.empty());
      continue;
    }
    // Nothing acknowledged is lost: what was not settled is handed out, and
    // what is handed out is what was sent, in order.
    const auto acknowledged = static_cast<size_t>(snapshot.acknowledged);
    size_t first = 0;
    if (!pending.empty()) first = static_cast<size_t>(pending[0].offset);
    CHECK(first <= 12);
    for (size_t n = 0; n < pending.size(); ++n) {
      CHECK(pending[n].offset == static_cast<int64_t>(first + n));
      CHECK(pending[n].body == sent[first + n]);
    }
    const size_t known = pending.empty() ? 0 : first + pending.size();
    CHECK((pending.empty() ? acknowledged <= 12 : known >= acknowledged));
    handle.Close();
    CHECK(IsSound(path));
  }
}

// Recovers an image, checks what it then has, and does the same with copies
// taken after each change that the recovery made.
void RecoverAtAnyKill(const std::string& image, const TestMachine& machine,
                      const std::vector<std::string>& expected, int depth,
                      int& opened) {
  TempDirectory copy;
  copy.CopyFrom(image);
  Recorder recorder;
  auto storage = MortalStorage::OfDirectory(copy.path());
  if (depth > 0) recorder.Watch(*storage, copy.path());
  {
    auto handle = TryOpen(storage, machine, SmallStore());
    REQUIRE_MESSAGE(handle.ok(), handle.status().message());
    storage->set_after_change({});
    ++opened;
    Member member(handle->store, "billing");
    CHECK(BodiesOf(member.Take()) ==
          std::vector<std::string>(expected.begin() + 5, expected.end()));
    CHECK(BodiesOf(AllStored(handle->store)) == expected);
    CHECK(IsSound(copy.path()));
    handle->Kill();
  }
  const size_t stride = depth == 3 ? 2 : 11;
  for (size_t n = (static_cast<size_t>(opened) % stride);
       n < recorder.snapshots.size(); n += stride) {
    CAPTURE(n);
    RecoverAtAnyKill(recorder.snapshots[n].directory->path(), machine, expected,
                     depth - 1, opened);
  }
}

TEST_CASE("OMS-REF-004: recovery may be killed at any change, three deep") {
  TestMachine machine;
  TempDirectory directory;
  std::vector<std::string> expected;
  {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    Member member(handle.store, "billing");
    for (int n = 0; n < 30; ++n) {
      expected.push_back(Body(n, 600));
      SendOne(handle.store, expected.back());
      if (n < 5) {
        REQUIRE(member.Take(1).size() == 1);
        CHECK(member.Ack(static_cast<size_t>(n)).ok());
      }
    }
    SendOne(handle.store, "torn");
    handle.Kill();
  }
  REQUIRE(SegmentFiles(directory.path()).size() >= 3);
  const RecordPlace last = MessagesOf(directory.path()).back();
  Overwrite(directory.path() + "/" + last.file, last.at + 64, "XXXX");

  int opened = 0;
  RecoverAtAnyKill(directory.path(), machine, expected, 3, opened);

  CHECK(opened > 25);
}

TEST_CASE(
    "OMS-REF-023: ids are never used again and offsets stay dense through "
    "recoveries") {
  TestMachine machine;
  TempDirectory directory;
  std::set<std::string> ids;
  std::vector<std::string> expected;
  uint32_t epoch = 0;
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    machine.clock.boot_hash = static_cast<uint64_t>(100 + round);
    Handle handle = OpenStore(directory.path(), machine);
    CHECK(handle.store->open_path() ==
          (round == 0 ? OpenPath::kCreated : OpenPath::kCold));
    CHECK(handle.store->control().header().epoch > epoch);
    epoch = handle.store->control().header().epoch;
    if (round == 0) CreateQueue(*handle.store, "orders");
    // A queue made after a recovery is found after the next one.
    CreateQueue(*handle.store, "more-" + std::to_string(round));
    CHECK(BodiesOf(AllStored(handle.store)) == expected);
    const int sends = 1 + round % 3 * 4;
    for (int n = 0; n < sends; ++n) {
      const std::string body = Body(round * 100 + n, 400);
      const SendResult result = SendOne(handle.store, body);
      CHECK(ids.insert(result.message_id.ToString()).second);
      CHECK(result.offset == static_cast<int64_t>(expected.size()));
      expected.push_back(body);
    }
    for (int made = 0; made <= round; ++made) {
      CHECK(handle.store->catalog()
                .FindQueue("more-" + std::to_string(made), InGoodTime())
                .ok());
    }
    if (round % 4 == 3) {
      handle.Close();
    } else {
      handle.Kill();
    }
    // The power goes before the last record is on the disk.
    if (round % 4 == 1) {
      const RecordPlace last = MessagesOf(directory.path()).back();
      REQUIRE(last.header.position ==
              RecordsOf(directory.path()).back().header.position);
      Overwrite(directory.path() + "/" + last.file, last.at + 70, "torn");
      expected.pop_back();
    }
    CHECK(IsSound(directory.path()));
  }
}

TEST_CASE("queue ids are not used again after a deletion and a recovery") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "of the first queue");
  const uint32_t first =
      (*handle.store->catalog().FindQueue("orders", InGoodTime()))->id;
  REQUIRE(handle.store->catalog().DeleteQueue("orders", InGoodTime()).ok());
  handle.Kill();

  std::filesystem::remove(directory.path() + "/ctl");
  handle = OpenStore(directory.path(), machine);
  CHECK(OmsCode(handle.store->catalog().FindQueue("orders", InGoodTime()).status()) ==
        Code::kQueueNotFound);
  CreateQueue(*handle.store, "orders");

  CHECK((*handle.store->catalog().FindQueue("orders", InGoodTime()))->id > first);
  CHECK(AllStored(handle.store).empty());
  CHECK(SendOne(handle.store, "of the second").offset == 0);
  handle.Close();
}

TEST_CASE("OMS-REF-001: an ack survives the death of every process") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  for (int n = 0; n < 4; ++n) SendOne(handle.store, Body(n, 50));
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 4);
  CHECK(member.Ack(0).ok());
  CHECK(member.Ack(2).ok());
  handle.Kill();

  Handle warm = OpenStore(directory.path(), machine);
  CHECK(warm.store->open_path() == OpenPath::kWarm);
  // Whose leases these are is asked that often.
  machine.clock.boot_ns += 50'000'000;
  Member again(warm.store, "billing");
  const auto seen = again.Take();

  REQUIRE(seen.size() == 2);
  CHECK(seen[0].body == Body(1, 50));
  CHECK(seen[0].delivery_count == 2);
  CHECK(seen[1].body == Body(3, 50));
}

TEST_CASE("an ack that a flush has logged survives a power loss") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  for (int n = 0; n < 4; ++n) SendOne(handle.store, Body(n, 50));
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 4);
  CHECK(member.Ack(0).ok());
  CHECK(member.Ack(2).ok());
  SendOne(handle.store, "leads a flush");
  handle.Kill();

  machine.clock.boot_hash = 4711;
  Handle cold = OpenStore(directory.path(), machine);
  CHECK(cold.store->open_path() == OpenPath::kCold);
  Member again(cold.store, "billing");

  CHECK(BodiesOf(again.Take()) ==
        std::vector<std::string>{Body(1, 50), Body(3, 50), "leads a flush"});
}

TEST_CASE("where no boot id can be read every opening is of another boot") {
  TestMachine machine;
  machine.clock.boot_hash = 0;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "durable");
  Handle peer = OpenStore(directory.path(), machine);
  CHECK(peer.store->open_path() == OpenPath::kJoined);
  Member member(handle.store, "billing", std::chrono::hours(1));
  REQUIRE(member.Take().size() == 1);
  peer.Kill();
  handle.Kill();

  // The clock of the other boot begins far below the lease that ctl has.
  machine.clock.boot_ns = 1'000'000'000;
  Handle cold = OpenStore(directory.path(), machine);
  CHECK(cold.store->open_path() == OpenPath::kCold);
  Member again(cold.store, "billing");
  CHECK(BodiesOf(again.Take()) == std::vector<std::string>{"durable"});
  again.Close();
  cold.Close();

  Handle closed = OpenStore(directory.path(), machine);
  CHECK(closed.store->open_path() == OpenPath::kCold);
  CHECK(AllStored(closed.store).size() == 1);
}

TEST_CASE("a receipt of before a recovery settles nothing behind it") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  for (int n = 0; n < 4; ++n) SendOne(handle.store, Body(n, 50));
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 4);
  std::vector<Receipt> old;
  for (size_t n = 0; n < 4; ++n) old.push_back(member.receipt(n));
  handle.Kill();
  // No log knows of these deliveries, so they are the first ones again.
  RemoveDerived(directory.path());

  Handle cold = OpenStore(directory.path(), machine);
  Member again(cold.store, "billing");
  const auto seen = again.Take();
  REQUIRE(seen.size() == 4);
  CHECK(seen[0].delivery_count == 1);

  for (const Receipt& receipt : old) {
    CHECK(OmsCode(again.Settle(receipt, driver::Verb::kAck)) ==
          Code::kReceiptExpired);
  }
  for (size_t n = 0; n < 4; ++n) CHECK(again.Ack(n).ok());
}

TEST_CASE("a durable message whose checksum is gone is damaged") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "first", Durability::kProcess);
  SendOne(handle.store, "second");
  SendOne(handle.store, "says that they are durable");
  handle.Kill();
  // As a drive leaves it that lost what it said it had: the record says again
  // that its checksum is to come.
  const RecordPlace place = MessagesOf(directory.path()).front();
  const std::string path = directory.path() + "/" + place.file;
  const uint64_t commit = place.header.commit | CommitWord::kPendingBit;
  Overwrite(path, place.at,
            {reinterpret_cast<const char*>(&commit), sizeof(commit)});
  FlipBit(path, place.at + place.bytes() - 1, 0);
  machine.clock.boot_hash = 4711;

  CHECK_FALSE(IsSound(directory.path()));
  Handle cold = OpenStore(directory.path(), machine);
  std::vector<absl::Status> damage;

  CHECK(BodiesOf(AllStored(cold.store, &damage)) ==
        std::vector<std::string>{"second", "says that they are durable"});
  REQUIRE(damage.size() == 1);
  CHECK(OmsCode(damage[0]) == Code::kDamaged);
}

TEST_CASE("OMS-REF-006: a torn message takes what was logged behind it along") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "kept");
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 1);
  CHECK(member.Ack(0).ok());
  SendOne(handle.store, "torn");
  handle.Kill();
  // The leader of the flush logs the ack behind the message.
  const auto records = RecordsOf(directory.path());
  REQUIRE(records.back().type() == RecordType::kAckRange);
  const RecordPlace torn = MessagesOf(directory.path()).back();
  FlipBit(directory.path() + "/" + torn.file, torn.at + 64, 0);
  machine.clock.boot_hash = 4711;

  Handle cold = OpenStore(directory.path(), machine);
  CHECK(SendOne(cold.store, "in its place").offset == 1);
  Member again(cold.store, "billing");

  CHECK(BodiesOf(again.Take()) ==
        std::vector<std::string>{"kept", "in its place"});
  CHECK(BodiesOf(AllStored(cold.store)) ==
        std::vector<std::string>{"kept", "in its place"});
}

}  // namespace
}  // namespace openmessaging::reference::recovery_test
