// SPDX-License-Identifier: Apache-2.0
//
// A local transaction is one unit of the log: whoever dies and whatever a power
// loss takes, what was acknowledged and what follows from it stand or fall
// together.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "group_control.h"
#include "local_transactions.h"
#include "openmessaging/reference/check.h"
#include "settled_record.h"

namespace openmessaging::reference::transaction_unit_test {
namespace {

using namespace testing;  // The fixture is part of this test.

using Bodies = std::vector<std::string>;

// Acknowledges what `member` took and sends what follows from it.
absl::Status Commit(const std::shared_ptr<Store>& store, const Member& member,
                    const std::vector<size_t>& acked, const Bodies& bodies) {
  std::vector<driver::Settlement> settlements;
  for (const size_t n : acked) settlements.push_back({member.receipt(n)});
  std::vector<Message> sends;
  for (const std::string& body : bodies) sends.emplace_back("bills", body);
  driver::CallContext context;
  context.deadline = InGoodTime();
  ReferenceLocalTransactions transactions(store, false, false);
  return transactions.CommitLocal(sends, settlements, context).status();
}

// Returns: all that a queue has, in its order, by a group of its own.
Bodies Stored(const std::shared_ptr<Store>& store, std::string_view queue,
              std::string_view group = "look") {
  Member member(store, group, queue);
  Bodies bodies;
  for (size_t next = 0;;) {
    const auto some = member.Take(16);
    if (some.empty()) break;
    for (const Seen& seen : some) {
      bodies.push_back(seen.body);
      CHECK(member.Ack(next++).ok());
    }
  }
  member.Close();
  return bodies;
}

// Opens a store of which nothing but the log is left.
Handle Recover(const std::string& path, const TestMachine& machine) {
  std::filesystem::remove(path + "/ctl");
  Handle handle = OpenStore(path, machine);
  CHECK(handle.store->open_path() == OpenPath::kCold);
  return handle;
}

// A store that was killed right behind a transaction that acknowledged orders 1
// and 3 of 0 to 4, and sent two bills.
struct Image {
  Image() {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    CreateQueue(*handle.store, "bills");
    for (int n = 0; n < 5; ++n) SendOne(handle.store, std::to_string(n));
    Member member(handle.store, "billing");
    REQUIRE(member.Take().size() == 5);
    const absl::Status status =
        Commit(handle.store, member, {1, 3},
               {std::string(150, 'a'), std::string(90, 'b')});
    REQUIRE_MESSAGE(status.ok(), status.message());
    handle.Kill();
    auto all = RecordsOf(directory.path());
    REQUIRE(all.size() > 3);
    records.assign(all.end() - 3, all.end());
    REQUIRE(records.front().type() == RecordType::kMessage);
    REQUIRE(records.back().type() == RecordType::kSettled);
  }

  TestMachine machine{};
  TempDirectory directory{};
  std::vector<RecordPlace> records{};
};

// Checks that all of the transaction is there, or nothing.
void CheckWhole(const std::string& path, const TestMachine& machine,
                bool there) {
  CHECK(IsSound(path));
  Handle handle = Recover(path, machine);
  CHECK(Stored(handle.store, "bills").size() == (there ? 2 : 0));
  CHECK(Stored(handle.store, "orders", "billing") ==
        (there ? Bodies{"0", "2", "4"} : Bodies{"0", "1", "2", "3", "4"}));
  handle.Kill();
  CHECK(IsSound(path));
}

TEST_CASE("OMS-TX-009: a power loss takes a transaction's tail or nothing") {
  const Image image;
  const RecordPlace& first = image.records.front();
  const RecordPlace& last = image.records.back();
  const uint64_t bytes = last.at + last.padded() - first.at;
  for (uint64_t kept = 0; kept <= bytes; kept += kRecordAlignment) {
    CAPTURE(kept);
    TempDirectory copy;
    copy.CopyFrom(image.directory.path());
    const std::string original =
        ReadFile(copy.path() + "/" + first.file).substr(first.at, bytes);
    const std::string tail(bytes - kept, '\0');
    const bool whole = original.substr(kept) == tail;
    if (!tail.empty()) {
      Overwrite(copy.path() + "/" + first.file, first.at + kept, tail);
    }

    CheckWhole(copy.path(), image.machine, whole);
  }
}

TEST_CASE("OMS-TX-009: a power loss takes any sectors of a transaction") {
  const Image image;
  const RecordPlace& first = image.records.front();
  const RecordPlace& last = image.records.back();
  constexpr uint64_t kSector = 64;
  const uint64_t bytes = last.at + last.padded() - first.at;
  const uint64_t sectors = (bytes + kSector - 1) / kSector;
  SeededRandom random;
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    TempDirectory copy;
    copy.CopyFrom(image.directory.path());
    const std::string file = copy.path() + "/" + first.file;
    const uint64_t lost = random.Next() & random.Next();
    for (uint64_t n = 0; n < sectors; ++n) {
      if ((lost >> n & 1) == 0) continue;
      const uint64_t at = n * kSector;
      Overwrite(file, first.at + at,
                std::string(std::min(kSector, bytes - at), '\0'));
    }
    const bool whole =
        ReadFile(file).substr(first.at, bytes) ==
        ReadFile(image.directory.path() + "/" + first.file)
            .substr(first.at, bytes);

    CheckWhole(copy.path(), image.machine, whole);
  }
}

Cursor& CursorOf(const Handle& handle, std::string_view group) {
  const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto found = handle.store->catalog().FindGroup(**queue, group, InGoodTime());
  REQUIRE(found.ok());
  return *(*found)->state->cursor(0);
}

TEST_CASE("OMS-TX-009: a commit that died at any step is done or undone") {
  // 0: the deliveries are set aside. 1: the record is not whole. 2: it is, and
  // nothing else happened. 3: the messages are in the index, one of two
  // settled. 4: all is done, but the locks are held.
  for (int step = 0; step <= 4; ++step) {
    for (const bool peer_was_there : {true, false}) {
      CAPTURE(step);
      CAPTURE(peer_was_there);
      TempDirectory directory;
      TestMachine machine;
      Handle dying = OpenStore(directory.path(), machine);
      CreateQueue(*dying.store, "orders");
      CreateQueue(*dying.store, "bills");
      Handle peer;
      if (peer_was_there) peer = OpenStore(directory.path(), machine);
      for (int n = 0; n < 4; ++n) SendOne(dying.store, std::to_string(n));
      Member taken(dying.store, "billing");
      REQUIRE(taken.Take().size() == 4);
      REQUIRE(Commit(dying.store, taken, {}, {"before"}).ok());
      Cursor& cursor = CursorOf(dying, "billing");
      Control& control = dying.store->control();
      ControlHeader::Append& append = control.header().append;
      const uint64_t tail = append.tail.Load();
      const uint64_t sequence = append.sequence.Load();
      const uint64_t chain = append.chain.Load();
      const uint32_t current = append.current.Load();
      const CursorWords words(&control, &cursor);
      const uint64_t leased[] = {words.InWindow(1).Load().bits(),
                                 words.InWindow(2).Load().bits()};
      const auto bills = dying.store->catalog().FindQueue("bills", InGoodTime());
      REQUIRE(bills.ok());
      PartitionState& out = *(*bills)->state->partition(0);
      const uint64_t next = out.next_offset.Load();

      REQUIRE(Commit(dying.store, taken, {1, 2}, {"a", "b"}).ok());

      REQUIRE(append.current.Load() == current);
      const uint64_t end = append.tail.Load();
      const uint32_t self = dying.store->liveness().self().word();
      cursor.seeking.Store(1);
      cursor.lock.owner.Store(self);
      const auto set_aside = [&](uint64_t offset) {
        words.InWindow(offset).word->Store(
            DeliveryWord(leased[offset - 1])
                .WithState(DeliveryState::kReturned, offset)
                .bits());
      };
      if (step < 4) {
        set_aside(2);
        if (step < 3) {
          set_aside(1);
          out.next_offset.Store(next);
        }
        append.tail.Store(tail);
        append.sequence.Store(sequence);
        append.chain.Store(chain);
        control.header().committed.end.Store(tail);
        control.header().flush.durable.Store(tail);
        append.intent_begin.Store(tail);
        append.intent_end.Store(step == 0 ? 0 : end);
        append.lock.owner.Store(self);
        if (step < 2) {
          auto segment = dying.store->segments().ByOrdinal(current);
          REQUIRE(segment.ok());
          At<Shared<uint64_t>>((*segment)->Write(tail), 0).Store(0);
          if (step == 0) std::memset((*segment)->Write(tail), 0, end - tail);
        }
      }
      dying.Kill();
      machine.clock.boot_ns += 100'000'000;
      if (!peer_was_there) peer = OpenStore(directory.path(), machine);

      Member member(peer.store, "billing");
      Bodies again = BodiesOf(member.Take());
      std::sort(again.begin(), again.end());
      const bool done = step >= 2;
      CHECK(again == (done ? Bodies{"0", "3"} : Bodies{"0", "1", "2", "3"}));
      CHECK(Stored(peer.store, "bills") ==
            (done ? Bodies{"before", "a", "b"} : Bodies{"before"}));
      CHECK(CursorOf(peer, "billing").seeking.Load() == 0);
      member.Close();
      peer.Close();
      CHECK(IsSound(directory.path()));
    }
  }
}

// Moves orders to bills one by one, or a few at a time, without an image of the
// cursor in between.
void MoveAll(const Handle& handle, Member& member, size_t count, size_t each,
             size_t& taken) {
  for (size_t n = 0; n < count; n += each) {
    std::vector<size_t> acked;
    Bodies bodies;
    for (const Seen& seen : member.Take(each)) {
      acked.push_back(taken++);
      bodies.push_back(seen.body);
    }
    REQUIRE(acked.size() == each);
    const absl::Status status = Commit(handle.store, member, acked, bodies);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
}

TEST_CASE("OMS-TX-009: many windows of transactions survive in the log alone") {
  TempDirectory directory;
  TestMachine machine;
  StoreOptions options = SmallStore();
  options.max_segment_bytes = 1 << 20;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "bills");
  constexpr size_t kAll = 400;  // The window has 64.
  for (size_t n = 0; n < kAll; ++n) {
    SendOne(handle.store, std::to_string(n), Durability::kProcess);
  }
  Member member(handle.store, "billing");
  // One that nobody settles moves to the exceptions meanwhile.
  REQUIRE(member.Take(1).size() == 1);
  size_t taken = 1;
  MoveAll(handle, member, kAll - 4, 3, taken);
  handle.Kill();

  Handle again = Recover(directory.path(), machine);

  CHECK(Stored(again.store, "bills").size() == kAll - 4);
  CHECK(Stored(again.store, "orders", "billing") ==
        Bodies{"0", "397", "398", "399"});
  again.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("OMS-TX-009: what was retired stays settled") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "bills");
  Member member(handle.store, "billing");
  size_t taken = 0;
  for (int round = 0; round < 40; ++round) {
    for (int n = 0; n < 4; ++n) {
      SendOne(handle.store, std::string(500, 'x'), Durability::kProcess);
    }
    MoveAll(handle, member, 4, 2, taken);
    // Nothing is kept for bills.
    (void)Stored(handle.store, "bills");
  }
  handle.store->Retire();
  const uint32_t first =
      handle.store->control().header().catalog.first_segment.Load();
  REQUIRE(first > 2);
  handle.Kill();

  Handle again = Recover(directory.path(), machine);

  CHECK(Stored(again.store, "orders", "billing").empty());
  again.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("OMS-TX-009: what moved to the exceptions is logged before") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "bills");
  for (int n = 0; n < 3; ++n) SendOne(handle.store, std::to_string(n));
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 3);
  Cursor& cursor = CursorOf(handle, "billing");
  cursor.unlogged.Store(1);

  REQUIRE(Commit(handle.store, member, {0}, {"a"}).ok());

  CHECK(cursor.unlogged.Load() == 0);
  handle.Kill();
  const auto records = RecordsOf(directory.path());
  const auto image = std::find_if(
      records.begin(), records.end(), [](const RecordPlace& place) {
        return place.type() == RecordType::kAckRange;
      });
  REQUIRE(image != records.end());
  CHECK(std::any_of(image, records.end(), [](const RecordPlace& place) {
    return place.type() == RecordType::kSettled;
  }));
}

TEST_CASE("OMS-GRP-002: a group that was moved knows no transaction before") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "bills");
  for (int n = 0; n < 3; ++n) SendOne(handle.store, std::to_string(n));
  Member member(handle.store, "billing");
  REQUIRE(member.Take().size() == 3);
  REQUIRE(Commit(handle.store, member, {0}, {"a"}).ok());
  const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  ReferenceGroupControl groups(handle.store);
  REQUIRE(groups.Seek("orders", "billing", 0, 0, InGoodTime()).ok());

  CHECK(OmsCode(Commit(handle.store, member, {1}, {"b"})) ==
        Code::kReceiptExpired);
  handle.Kill();
  Handle again = Recover(directory.path(), machine);

  CHECK(Stored(again.store, "orders", "billing") == Bodies{"0", "1", "2"});
  CHECK(Stored(again.store, "bills") == Bodies{"a"});
  again.Close();
}

TEST_CASE("OMS-TX-009: a record that is cut names only what it holds") {
  RecordHeader header;
  std::string bytes(sizeof(header), '\0');
  const SettledHead head{7, 0, 3};
  const SettledMessage one{5, 2, 0};
  bytes.append(reinterpret_cast<const char*>(&head), sizeof(head));
  bytes.append(reinterpret_cast<const char*>(&one), sizeof(one));
  for (size_t length = sizeof(header); length <= bytes.size(); ++length) {
    header.commit = CommitWord::Make(static_cast<uint32_t>(length),
                                     RecordType::kSettled, 0, 1, 0);
    int seen = 0;
    ForEachSettled(header, bytes.data(), [&](const DeadSource& source) {
      ++seen;
      CHECK(source.group == 7);
      CHECK(source.floor == 3);
      CHECK(source.offset == 5);
      CHECK(source.attempts == 2);
    });
    CHECK(seen == (length == bytes.size() ? 1 : 0));
  }
}

}  // namespace
}  // namespace openmessaging::reference::transaction_unit_test
