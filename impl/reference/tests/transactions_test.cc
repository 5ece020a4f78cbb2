// SPDX-License-Identifier: Apache-2.0
//
// Prepared messages through deaths, power losses, other boots, retirement and
// damage, with a clock that stands still.

#include "transactions.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "held_message.h"
#include "openmessaging/reference/check.h"
#include "transaction_source.h"

namespace openmessaging::reference::transactions_test {
namespace {

using namespace testing;  // The fixture is part of this test.
using std::chrono::milliseconds;

constexpr std::string_view kGroup = "shop";

absl::StatusOr<std::string> TryPrepare(
    const Handle& handle, const Message& message,
    milliseconds check_after = milliseconds(10), int32_t max_checks = 15) {
  ReferenceTransactionSource source(handle.store, false);
  driver::CallContext context;
  context.deadline = InGoodTime();
  const auto prepared =
      source.Prepare(message, {kGroup, check_after, max_checks}, context);
  if (!prepared.ok()) return prepared.status();
  return prepared->transaction_id;
}

std::string Prepare(const Handle& handle, std::string_view body,
                    milliseconds check_after = milliseconds(10),
                    int32_t max_checks = 15,
                    Durability durability = Durability::kDisk) {
  const auto id = TryPrepare(handle, MakeMessage(body, durability),
                             check_after, max_checks);
  REQUIRE_MESSAGE(id.ok(), id.status().message());
  return *id;
}

absl::Status Commit(const Handle& handle, const std::string& id) {
  return handle.store->transactions().Resolve(id, PreparedState::kCommitted,
                                              InGoodTime());
}
absl::Status Rollback(const Handle& handle, const std::string& id) {
  return handle.store->transactions().Resolve(id, PreparedState::kRolledBack,
                                              InGoodTime());
}

// Returns: the body that a member of the group is asked about now.
std::optional<std::string> Asked(const Handle& handle,
                                 std::string_view group = kGroup) {
  Transactions& transactions = handle.store->transactions();
  const auto taken =
      transactions.TakeCheck(transactions.GroupOf(group), InGoodTime());
  REQUIRE_MESSAGE(taken.ok(), taken.status().message());
  if (!*taken) return std::nullopt;
  return std::string((*taken)->body());
}

PreparedTable TableOf(const Handle& handle) {
  return PreparedTable(&handle.store->control());
}

enum class Way { kWarm, kCold, kOtherBoot, kClean };
constexpr Way kAllWays[] = {Way::kWarm, Way::kCold, Way::kOtherBoot,
                            Way::kClean};

void Reopen(Way way, Handle& handle, TestMachine& machine,
            const TempDirectory& directory) {
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
}

TEST_CASE("OMS-TX-012: after every death and in every boot a decision stands") {
  for (const Way way : kAllWays) {
    CAPTURE(static_cast<int>(way));
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    const std::string kept = Prepare(handle, "kept");
    const std::string dropped = Prepare(handle, "dropped");
    const std::string open = Prepare(handle, "open");
    const std::string later = Prepare(handle, "later");
    REQUIRE(Commit(handle, kept).ok());
    REQUIRE(Rollback(handle, dropped).ok());

    for (int again = 0; again < 2; ++again) {
      Reopen(way, handle, machine, directory);
      CHECK(Commit(handle, kept).ok());
      CHECK(OmsCode(Rollback(handle, kept)) == Code::kTransactionConflict);
      CHECK(Rollback(handle, dropped).ok());
      CHECK(OmsCode(Commit(handle, dropped)) == Code::kTransactionConflict);
    }
    CHECK(Commit(handle, open).ok());

    Reopen(way, handle, machine, directory);
    const auto seen = AllStored(handle.store);
    REQUIRE(BodiesOf(seen) == std::vector<std::string>{"kept", "open"});
    CHECK(seen[0].id == kept);
    CHECK(seen[1].id == open);
    // What is left is asked about.
    Advance(machine, milliseconds(11));
    CHECK(Asked(handle) == "later");
    CHECK(Rollback(handle, later).ok());
    handle.Close();
    CHECK(IsSound(directory.path()));
  }
}

TEST_CASE("wherever a power loss cuts the log a transaction is whole") {
  TestMachine machine;
  TempDirectory directory;
  std::vector<std::string> ids;
  {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    for (int n = 0; n < 3; ++n) {
      ids.push_back(Prepare(handle, std::to_string(n)));
    }
    REQUIRE(Commit(handle, ids[0]).ok());
    REQUIRE(Rollback(handle, ids[1]).ok());
    SendOne(handle.store, "last");
    handle.Kill();
  }
  const auto records = RecordsOf(directory.path());
  size_t prepared = 0;
  bool committed = false;
  bool rolled_back = false;
  for (size_t n = 0; n + 1 < records.size(); ++n) {
    if (records[n].type() == RecordType::kPrepare) ++prepared;
    committed = committed || records[n].type() == RecordType::kCommit;
    rolled_back = rolled_back || records[n].type() == RecordType::kRollback;
    if (prepared == 0) continue;
    CAPTURE(n);
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    RemoveDerived(copy.path());
    // In the headers of the records behind it.
    for (size_t behind = n + 1; behind < records.size(); ++behind) {
      FlipBit(copy.path() + "/" + records[behind].file,
              records[behind].at + 20, 3);
    }
    TestMachine later;
    later.clock.boot_hash.store(7);
    later.clock.wall_ms.store(machine.clock.wall_ms.load() + 1000);

    Handle handle = OpenStore(copy.path(), later);

    CHECK(BodiesOf(AllStored(handle.store)) ==
          (committed ? std::vector<std::string>{"0"}
                     : std::vector<std::string>{}));
    CHECK(TableOf(handle).count() == prepared);
    // Whoever goes on decides as before, or else as it likes.
    CHECK(Rollback(handle, ids[0]).ok() == !committed);
    if (prepared > 1) CHECK(Commit(handle, ids[1]).ok() == !rolled_back);
    if (prepared > 2) CHECK(Commit(handle, ids[2]).ok());
    handle.Close();
  }
  CHECK(committed);
  CHECK(rolled_back);
  CHECK(prepared == 3);
}

TEST_CASE("who was killed before or behind a decision left a whole one") {
  // As a peer that inherits the log finds it: with the commit word, without it,
  // and with a table that was being changed.
  for (const bool stored : {false, true}) {
    CAPTURE(stored);
    TestMachine machine;
    TempDirectory directory;
    Handle dying = OpenStore(directory.path(), machine);
    CreateQueue(*dying.store, "orders");
    Handle peer = OpenStore(directory.path(), machine);
    const std::string id = Prepare(dying, "one");
    const std::string other = Prepare(dying, "other");
    ControlHeader& header = peer.store->control().header();
    const uint64_t tail = header.append.tail.Load();
    const uint64_t sequence = header.append.sequence.Load();
    const uint64_t chain = header.append.chain.Load();
    const auto named = *ParseHeldId(id, *peer.store);
    const Prepared before = *TableOf(peer).Find(named, 0);
    REQUIRE(Commit(dying, id).ok());
    const uint64_t end = header.append.tail.Load();
    REQUIRE(TableOf(peer).Find(named, 0)->state == PreparedState::kCommitted);
    // Back to the moment behind its commit word, or before it.
    header.append.lock.owner.Store(dying.store->liveness().self().word());
    header.append.intent_begin.Store(tail);
    header.append.intent_end.Store(end);
    header.append.tail.Store(tail);
    header.append.sequence.Store(sequence);
    header.append.chain.Store(chain);
    header.committed.end.Store(tail);
    peer.store->catalog()
        .FindPartition(before.queue_partition)
        ->next_offset.Store(0);
    auto* const block = peer.store->control().Get<PreparedBlock>(
        header.prepared.first_block.Load());
    for (uint32_t n = 0; n < PreparedBlock::kEntries; ++n) {
      if (block->sequence[n].Load() != named.sequence) continue;
      // Half of what it says now is what it said before.
      block->state[n].Store(0);
      if (stored) block->position[n].Store(before.position);
    }
    if (stored) {
      header.prepared.changing.Store(1);
      header.prepared.free.Store(0);
      header.prepared.count.Store(77);
    } else {
      TableOf(peer).Put(before);
      At<Shared<uint64_t>>(
          (*peer.store->segments().Find(tail))->Write(tail), 0)
          .Store(0);
    }
    dying.Kill();

    const absl::Status opposite = Rollback(peer, id);
    const absl::Status same = Commit(peer, id);

    if (stored) {
      CHECK(OmsCode(opposite) == Code::kTransactionConflict);
      CHECK(same.ok());
    } else {
      CHECK(opposite.ok());
      CHECK(OmsCode(same) == Code::kTransactionConflict);
    }
    CHECK(BodiesOf(AllStored(peer.store)) ==
          (stored ? std::vector<std::string>{"one"}
                  : std::vector<std::string>{}));
    CHECK(Commit(peer, other).ok());
    CHECK(TableOf(peer).count() == 2);
    peer.store->Close(InGoodTime()).IgnoreError();
    peer.store.reset();
  }
}

TEST_CASE("OMS-TX-003: of two who found it undecided one decides") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const std::string id = Prepare(handle, "one");
  const auto named = *ParseHeldId(id, *handle.store);
  const auto roll_back = [&](const Prepared& seen) {
    Append record;
    record.type = RecordType::kRollback;
    record.queue_partition = seen.queue_partition;
    record.undecided = &seen;
    record.pieces[2] = {reinterpret_cast<const char*>(&seen.id),
                        sizeof(seen.id)};
    handle.store->log().AppendAll({&record, 1}, machine.clock.WallMs(), InGoodTime());
    return record.status;
  };
  // It lies elsewhere by now: the look is as old as one before a decision.
  const Prepared first = *TableOf(handle).Find(named, 0);
  REQUIRE(handle.store->transactions()
              .Renew(handle.store->log().committed(), InGoodTime())
              .ok());
  CHECK(OmsCode(roll_back(first)) == Code::kReceiptExpired);
  const Prepared seen = *TableOf(handle).Find(named, 0);
  REQUIRE(Commit(handle, id).ok());

  CHECK(OmsCode(roll_back(seen)) == Code::kReceiptExpired);

  CHECK(Commit(handle, id).ok());
  CHECK(BodiesOf(AllStored(handle.store)) == std::vector<std::string>{"one"});
  handle.Close();
}

TEST_CASE("checks come after a while, more and more seldom, and end") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const std::string id = Prepare(handle, "one", milliseconds(100), 4);
  CHECK_FALSE(Asked(handle).has_value());
  Advance(machine, milliseconds(100));
  CHECK_FALSE(Asked(handle, "bank").has_value());
  // Each wait begins with the check before.
  for (const int wait_ms : {100, 200, 400, 800}) {
    CAPTURE(wait_ms);
    CHECK(Asked(handle) == "one");
    CHECK_FALSE(Asked(handle).has_value());
    Advance(machine, milliseconds(wait_ms - 1));
    CHECK_FALSE(Asked(handle).has_value());
    Advance(machine, milliseconds(1));
  }

  CHECK_FALSE(Asked(handle).has_value());

  CHECK(OmsCode(Commit(handle, id)) == Code::kTransactionConflict);
  CHECK(AllStored(handle.store).empty());
  handle.Close();
}

TEST_CASE("a check that nobody answers is asked of another process") {
  TestMachine machine;
  TempDirectory directory;
  Handle dying = OpenStore(directory.path(), machine);
  CreateQueue(*dying.store, "orders");
  Handle peer = OpenStore(directory.path(), machine);
  Prepare(dying, "one", milliseconds(100));
  Advance(machine, milliseconds(100));
  REQUIRE(Asked(dying) == "one");
  CHECK_FALSE(Asked(peer).has_value());
  dying.Kill();

  Advance(machine, milliseconds(100));

  CHECK(Asked(peer) == "one");
  peer.store->Close(InGoodTime()).IgnoreError();
  peer.store.reset();
}

TEST_CASE("checks are counted through deaths and clean ends") {
  for (const Way way : {Way::kWarm, Way::kClean}) {
    CAPTURE(static_cast<int>(way));
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    const std::string id = Prepare(handle, "one", milliseconds(10), 3);
    for (int check = 0; check < 3; ++check) {
      Advance(machine, milliseconds(100));
      CHECK(Asked(handle) == "one");
      Reopen(way, handle, machine, directory);
    }
    Advance(machine, milliseconds(100));
    CHECK_FALSE(Asked(handle).has_value());
    CHECK(OmsCode(Commit(handle, id)) == Code::kTransactionConflict);
    handle.Close();
  }
}

TEST_CASE("an outcome is remembered for an hour, and then is unknown") {
  for (const Way way : kAllWays) {
    CAPTURE(static_cast<int>(way));
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    const std::string id = Prepare(handle, "one");
    REQUIRE(Commit(handle, id).ok());

    Reopen(way, handle, machine, directory);
    Advance(machine, milliseconds(kOutcomeMs - 1));
    CHECK(OmsCode(Rollback(handle, id)) == Code::kTransactionConflict);
    CHECK(Commit(handle, id).ok());
    Advance(machine, milliseconds(1));
    CHECK(OmsCode(Commit(handle, id)) == Code::kQueueNotFound);
    CHECK(OmsCode(Rollback(handle, id)) == Code::kQueueNotFound);
    // Its place is free again as soon as somebody looks after checks.
    CHECK_FALSE(Asked(handle).has_value());
    CHECK(TableOf(handle).count() == 0);
    CHECK(AllStored(handle.store).size() == 1);
    handle.Close();
  }
}

TEST_CASE("a segment goes though something in it is prepared or was decided") {
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    const std::string open = Prepare(handle, "open", milliseconds(50), 9);
    const std::string dropped = Prepare(handle, "dropped");
    const std::string kept = Prepare(handle, "kept");
    REQUIRE(Rollback(handle, dropped).ok());
    REQUIRE(Commit(handle, kept).ok());
    Advance(machine, milliseconds(50));
    REQUIRE(Asked(handle) == "open");
    const ControlHeader& header = handle.store->control().header();
    const std::string padding(400, '.');
    {
      Member member(handle.store, "g");
      size_t acked = 0;
      for (int round = 0; round < 20; ++round) {
        for (int n = 0; n < 20; ++n) {
          SendOne(handle.store, padding, Durability::kProcess);
        }
        const size_t taken = member.Take().size();
        for (size_t n = acked; n < acked + taken; ++n) {
          CHECK(member.Ack(n).ok());
        }
        acked += taken;
        handle.store->Retire();
      }
      REQUIRE(header.catalog.first_segment.Load() > 2);
      CHECK(acked == 401);
      member.Close();
    }
    const uint64_t base = handle.store->segments()
                              .entry(header.catalog.first_segment.Load())
                              .base.Load();
    const auto all =
        TableOf(handle).All(machine.clock.BootNs(), UINT64_MAX);
    CHECK(all.size() == 3);
    for (const Prepared& one : all) CHECK(one.position >= base);
    if (killed) Reopen(Way::kCold, handle, machine, directory);

    CHECK(OmsCode(Commit(handle, dropped)) == Code::kTransactionConflict);
    CHECK(OmsCode(Rollback(handle, kept)) == Code::kTransactionConflict);
    // One check was counted, and the log was told when it was appended again.
    const auto found =
        TableOf(handle).Find(*ParseHeldId(open, *handle.store), 0);
    REQUIRE(found.has_value());
    CHECK(found->checks == 1);
    CHECK(found->max_checks == 9);
    Advance(machine, milliseconds(50));
    CHECK(Asked(handle) == "open");
    CHECK(Commit(handle, open).ok());
    const auto seen = AllStored(handle.store);
    CHECK(std::count_if(seen.begin(), seen.end(), [&](const Seen& one) {
            return one.id == open;
          }) == 1);
    handle.Close();
    CHECK(IsSound(directory.path()));
  }
}

TEST_CASE("what is appended again is due when it was however the clock is set") {
  TestMachine machine;
  // By its record alone nobody can tell that it is of this boot.
  machine.clock.boot_hash = 0;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const std::string id = Prepare(handle, "open", milliseconds(50), 9);
  const auto find = [&] {
    return TableOf(handle).Find(*ParseHeldId(id, *handle.store), 0);
  };
  const auto before = find();
  REQUIRE(before.has_value());
  machine.clock.wall_ms -= 3'600'000;

  REQUIRE(handle.store->transactions().Renew(UINT64_MAX, InGoodTime()).ok());

  const auto after = find();
  REQUIRE(after.has_value());
  CHECK(after->position > before->position);
  CHECK(after->time_ns == before->time_ns);
  Advance(machine, milliseconds(50));
  CHECK(Asked(handle) == "open");
}

TEST_CASE("a prepared message that was damaged is told of as such") {
  for (const bool renewed : {false, true}) {
    CAPTURE(renewed);
    TestMachine machine;
    TempDirectory directory;
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    const std::string id = Prepare(handle, "to be damaged", milliseconds(10), 2);
    SendOne(handle.store, "behind it");
    handle.Close();
    const auto records = RecordsOf(directory.path());
    const auto place =
        std::find_if(records.begin(), records.end(), [](const auto& r) {
          return r.type() == RecordType::kPrepare;
        });
    REQUIRE(place != records.end());
    FlipBit(directory.path() + "/" + place->file,
            place->at + CommitWord::Length(place->header.commit) - 2, 1);
    handle = OpenStore(directory.path(), machine);
    if (renewed) {
      REQUIRE(handle.store->transactions()
                  .Renew(handle.store->log().committed(), InGoodTime())
                  .ok());
    }

    // Nobody can be asked about it.
    Advance(machine, milliseconds(10));
    CHECK_FALSE(Asked(handle).has_value());
    CHECK(Commit(handle, id).ok());

    std::vector<absl::Status> damage;
    CHECK(BodiesOf(AllStored(handle.store, &damage)) ==
          std::vector<std::string>{"behind it"});
    REQUIRE(damage.size() == 1);
    CHECK(OmsCode(damage[0]) == Code::kDamaged);
    handle.Close();
  }
}

TEST_CASE("what is committed has room where nothing else has") {
  TestMachine machine;
  TempDirectory directory;
  StoreOptions options = SmallStore();
  options.max_bytes = 64 << 10;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  const std::string padding(800, '.');
  std::vector<std::string> ids;
  while (true) {
    const auto id = TryPrepare(handle, MakeMessage(padding));
    if (!id.ok()) {
      CHECK(OmsCode(id.status()) == Code::kStorageBusy);
      CHECK(DetailOf(id.status()).outcome == Outcome::kNotStored);
      break;
    }
    ids.push_back(*id);
    REQUIRE(ids.size() < 1000);
  }
  REQUIRE(ids.size() > 10);
  {
    Member member(handle.store, "g");
    size_t acked = 0;
    for (const std::string& id : ids) {
      CHECK(Commit(handle, id).ok());
      for (const Seen& seen : member.Take()) {
        CHECK(seen.body == padding);
        CHECK(member.Ack(acked++).ok());
      }
    }
    CHECK(acked == ids.size());
    member.Close();
  }
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("a prepared message at level process is decided without a flush") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const uint64_t flushes = handle.store->control().header().flush.flushes.Load();
  const std::string id = Prepare(handle, "one", milliseconds(10), 15,
                                 Durability::kProcess);
  CHECK(Commit(handle, id).ok());
  CHECK(Commit(handle, id).ok());
  CHECK(handle.store->control().header().flush.flushes.Load() == flushes);
  const std::string safe = Prepare(handle, "two");
  CHECK(handle.store->control().header().flush.flushes.Load() > flushes);
  CHECK(Rollback(handle, safe).ok());
  CHECK(handle.store->log().durable() == handle.store->log().committed());
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::transactions_test
