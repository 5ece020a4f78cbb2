// SPDX-License-Identifier: Apache-2.0
//
// Stores in which single messages stay that nobody settles: their segments go all
// the same, and the messages are where they were, whatever dies meanwhile.

#include "evacuation.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consumer.h"
#include "group_control.h"
#include "delivery_terms.h"
#include "delay_table.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "index.h"
#include "openmessaging/key_value.h"
#include "queue_stats.h"
#include "stream_source.h"

namespace openmessaging::reference::evacuation_test {
namespace {

using namespace testing;  // The fixture is part of this test.
using std::chrono::milliseconds;

constexpr milliseconds kForEver{1'000'000'000};

const std::string& Padding() {
  static const std::string padding(400, '.');
  return padding;
}

uint32_t SegmentsOf(const Handle& handle) {
  const ControlHeader& header = handle.store->control().header();
  return header.append.current.Load() - header.catalog.first_segment.Load();
}

// As the housekeepers do, until there is nothing to do at once.
void KeepHouse(const Handle& handle) {
  while (handle.store->RetireOldest(true)) {
  }
}

// Fills the log with messages of another queue, which its group settles.
void SettleOthers(const Handle& handle) {
  CreateQueue(*handle.store, "others");
  Member fast(handle.store, "g", "others");
  for (int n = 0; n < 400; ++n) {
    Message message("others", Padding());
    message.SetDurability(Durability::kProcess);
    REQUIRE(TrySend(handle.store, {&message, 1})[0].ok());
    REQUIRE(fast.Take(1).size() == 1);
    REQUIRE(fast.Ack(static_cast<size_t>(n)).ok());
  }
  fast.Close();
}

// A store whose group "g" has settled all but single messages, one in each
// `every` of those that were sent.
class World {
 public:
  explicit World(int messages = 400, int every = 200,
                 Durability durability = Durability::kProcess)
      : handle_(OpenStore(directory_.path(), machine_)) {
    CreateQueue(*handle_.store, "orders");
    Member member(handle_.store, "g", kForEver);
    size_t taken = 0;
    for (int n = 0; n < messages; ++n) {
      const bool stays = n % every == 3;
      const std::string body =
          stays ? "stays " + std::to_string(n) : Padding();
      const SendResult sent = SendOne(handle_.store, body, durability);
      REQUIRE(member.Take(1).size() == 1);
      if (stays) {
        stayed_.push_back({0, sent.offset, body, sent.message_id.ToString(), 2});
        REQUIRE(member.Settle(taken, driver::Verb::kNackDelay, kForEver).ok());
      } else {
        REQUIRE(member.Ack(taken).ok());
      }
      ++taken;
      if (n % 50 == 49) machine_.clock.wall_ms.fetch_add(1000);
    }
    member.Close();
    next_ = messages;
  }

  Handle& handle() { return handle_; }
  Store& store() { return *handle_.store; }
  TestMachine& machine() { return machine_; }
  const std::string& path() const { return directory_.path(); }
  const std::vector<Seen>& stayed() const { return stayed_; }
  PartitionState& partition() {
    return *store().catalog().FindPartition(QueuePartition(1, 0));
  }
  IndexReader index() {
    return {&store().control(), &partition(), QueuePartition(1, 0)};
  }

  // Checks that the group has what it had not settled, and nothing else, and that
  // the queue goes on where it was.
  void Check() {
    Advance(machine_, kForEver + milliseconds(1));
    Member member(handle_.store, "g");
    CHECK(member.Take() == stayed_);
    CHECK(member.damage().empty());
    for (size_t n = 0; n < stayed_.size(); ++n) CHECK(member.Ack(n).ok());
    CHECK(SendOne(handle_.store, "next").offset == next_);
    CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"next"});
    member.Close();
  }

 private:
  TestMachine machine_;
  TempDirectory directory_;
  Handle handle_;
  std::vector<Seen> stayed_;
  int64_t next_ = 0;
};

TEST_CASE("OMS-REF-027: single messages do not hold the log behind them") {
  World world;
  REQUIRE(SegmentsOf(world.handle()) > 8);
  world.store().Retire();
  // The first one is there still.
  REQUIRE(SegmentsOf(world.handle()) > 8);

  KeepHouse(world.handle());

  CHECK(SegmentsOf(world.handle()) < 4);
  const auto files = SegmentFiles(world.path());
  CHECK(files.size() < 6);
  SUBCASE("for the living") {}
  SUBCASE("and after a death") {
    world.handle().Kill();
    world.handle() = OpenStore(world.path(), world.machine());
    CHECK(world.store().open_path() == OpenPath::kWarm);
  }
  SUBCASE("and after a power loss") {
    world.handle().Kill();
    RemoveDerived(world.path());
    world.handle() = OpenStore(world.path(), world.machine());
    CHECK(world.store().open_path() == OpenPath::kCold);
  }
  SUBCASE("and after a clean close") {
    world.handle().Close();
    world.handle() = OpenStore(world.path(), world.machine());
    CHECK(world.store().open_path() == OpenPath::kClean);
  }
  CHECK(world.partition().first_offset.Load() == 3);
  world.Check();
  world.handle().Close();
  CHECK(IsSound(world.path()));
}

TEST_CASE("what is needed in full stays where it is") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  { Member member(handle.store, "g"); }
  for (int n = 0; n < 200; ++n) {
    SendOne(handle.store, Padding(), Durability::kProcess);
  }
  const ControlHeader& header = handle.store->control().header();
  const uint32_t segments = SegmentsOf(handle);
  const uint64_t tail = header.append.tail.Load();
  REQUIRE(segments > 4);

  CHECK_FALSE(handle.store->RetireOldest(true));

  CHECK(SegmentsOf(handle) == segments);
  CHECK(header.append.tail.Load() == tail);
  handle.Close();
  CHECK(SegmentFiles(directory.path()).size() >= segments);
}

TEST_CASE("a backlog in front of much that is settled is moved") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  { Member slow(handle.store, "slow"); }
  std::vector<std::string> backlog;
  for (int n = 0; n < 30; ++n) {
    backlog.push_back(std::to_string(n) + Padding());
    SendOne(handle.store, backlog.back(), Durability::kProcess);
  }
  SettleOthers(handle);
  REQUIRE(SegmentsOf(handle) > 10);

  KeepHouse(handle);

  CHECK(SegmentsOf(handle) <= 5);
  for (const bool cold : {false, true}) {
    CAPTURE(cold);
    if (cold) {
      handle.Kill();
      RemoveDerived(directory.path());
      handle = OpenStore(directory.path(), machine);
    }
    const auto stored = AllStored(handle.store);
    REQUIRE(BodiesOf(stored) == backlog);
    for (size_t n = 0; n < stored.size(); ++n) {
      CHECK(stored[n].offset == static_cast<int64_t>(n));
    }
    Member slow(handle.store, "slow");
    CHECK(BodiesOf(slow.Take()) == backlog);
    slow.Close();
  }
  handle.Close();
  CHECK(IsSound(directory.path()));
}

TEST_CASE("what moves still expires, and still comes at most once") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  { Member slow(handle.store, "slow"); }
  Message expires("orders", "expires");
  expires.SetExpireAt(milliseconds(machine.clock.wall_ms.load()) +
                      std::chrono::hours(24 * 365));
  Message once("orders", "once");
  once.SetQos(Qos::kAtMostOnce);
  for (const Message* const message : {&expires, &once}) {
    REQUIRE(TrySend(handle.store, {message, 1})[0].ok());
  }
  SettleOthers(handle);
  const auto find = [&](uint64_t offset) {
    Store& store = *handle.store;
    const auto hit =
        IndexReader(&store.control(),
                    store.catalog().FindPartition(QueuePartition(1, 0)),
                    QueuePartition(1, 0))
            .Find(offset);
    REQUIRE(hit.has_value());
    return *hit;
  };
  const uint64_t lay = find(1).position;
  constexpr uint16_t kBoth = kIndexExpires | kIndexOnce;
  REQUIRE((find(0).flags & kBoth) == kIndexExpires);
  REQUIRE((find(1).flags & kBoth) == kIndexOnce);

  KeepHouse(handle);

  for (const bool cold : {false, true}) {
    CAPTURE(cold);
    if (cold) {
      handle.Kill();
      RemoveDerived(directory.path());
      handle = OpenStore(directory.path(), machine);
    }
    CHECK(find(1).position != lay);
    CHECK((find(0).flags & kBoth) == kIndexExpires);
    CHECK((find(1).flags & kBoth) == kIndexOnce);
  }
  handle.Close();
}

TEST_CASE("OMS-TIME-010: what expired and moved is one dead letter however it moves") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "dead");
  QueueOptions with_dead;
  with_dead.dead_letter_queue = "dead";
  REQUIRE(handle.store->catalog()
              .CreateQueue("orders", with_dead, InGoodTime())
              .ok());
  { Member fast(handle.store, "fast"); }
  { Member slow(handle.store, "slow"); }
  Message expires("orders", "expires");
  expires.SetExpireAt(milliseconds(machine.clock.wall_ms.load() + 1000));
  REQUIRE(TrySend(handle.store, {&expires, 1})[0].ok());
  Advance(machine, milliseconds(2000));
  {
    Member fast(handle.store, "fast");
    REQUIRE(fast.Take().empty());
    fast.Close();
  }
  // The slow group still has to hear of it, so it moves.
  SettleOthers(handle);
  KeepHouse(handle);

  handle.Kill();
  RemoveDerived(directory.path());
  handle = OpenStore(directory.path(), machine);

  REQUIRE(handle.store->open_path() == OpenPath::kCold);
  Member slow(handle.store, "slow");
  CHECK(slow.Take().empty());
  Member undertaker(handle.store, "undertaker", "dead");
  CHECK(BodiesOf(undertaker.Take()) == std::vector<std::string>{"expires"});
  const auto records = RecordsOf(directory.path());
  CHECK(std::any_of(records.begin(), records.end(), [](const auto& record) {
    return record.type() == RecordType::kMoved;
  }));
  slow.Close();
  undertaker.Close();
  handle.Close();
}

TEST_CASE("holes are neither lost messages nor stored ones") {
  World world(600, 300);
  KeepHouse(world.handle());
  const uint64_t end = world.partition().next_offset.Load();
  REQUIRE(world.partition().whole_from.Load() > 310);
  // Behind the holes.
  SendOne(world.handle().store, "last");

  SUBCASE("for a group that begins") {
    Member member(world.handle().store, "late");
    auto seen = member.Take();
    CHECK(member.damage().empty());
    REQUIRE(seen.size() >= 3);
    CHECK(seen[0].offset == 3);
    CHECK(seen[0].body == "stays 3");
    CHECK(seen[1].offset == 303);
    CHECK(seen[1].body == "stays 303");
    CHECK(seen.back().body == "last");
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    for (size_t n = 0; n < seen.size(); ++n) CHECK(member.Ack(n).ok());
    CHECK(member.Take().empty());
    member.Close();
  }
  SUBCASE("for a stream") {
    struct Sink final : driver::DeliverySink {
      void Deliver(Message message, const Receipt&) override {
        offsets.push_back(message.offset());
      }
      std::vector<int64_t> offsets{};
    } sink;
    ReferenceStreamSource source(world.handle().store, false);
    auto reader = source.Open("orders", 0, 0, InGoodTime());
    REQUIRE(reader.ok());
    while (sink.offsets.empty() ||
           sink.offsets.back() != static_cast<int64_t>(end)) {
      REQUIRE((*reader)->Read(64, InGoodTime(), sink).ok());
    }
    CHECK(sink.offsets[0] == 3);
    CHECK(sink.offsets[1] == 303);
    CHECK(std::is_sorted(sink.offsets.begin(), sink.offsets.end()));
    const auto range = source.RangeOf("orders", 0, InGoodTime());
    REQUIRE(range.ok());
    CHECK(range->first == 3);
    // Times as well find what stayed.
    const auto at = source.OffsetAt(
        "orders", 0, milliseconds(1'700'000'000'001), InGoodTime());
    REQUIRE(at.ok());
    CHECK(*at == 303);
  }
  SUBCASE("for those who count") {
    ReferenceStatsSource source(world.handle().store);
    const auto stats = source.StatsOf("orders", InGoodTime());
    REQUIRE(stats.ok());
    CHECK(stats->depth == 3);
    REQUIRE(stats->groups.size() == 1);
    CHECK(stats->groups[0].lag == 3);
    CHECK(stats->oldest_age == milliseconds(12'000));
    Member late(world.handle().store, "late");
    const auto again = source.StatsOf("orders", InGoodTime());
    REQUIRE(again.ok());
    const auto stored = AllStored(world.handle().store);
    CHECK(again->depth == static_cast<int64_t>(stored.size()));
    late.Close();
  }
  SUBCASE("for a group that is moved back") {
    Member member(world.handle().store, "g");
    ReferenceGroupControl control(world.handle().store);
    CHECK(control.Seek("orders", "g", 0, 0, InGoodTime()).ok());
    const auto seen = member.Take();
    CHECK(member.damage().empty());
    REQUIRE(seen.size() >= 2);
    CHECK(seen[0].body == "stays 3");
    CHECK(seen[1].body == "stays 303");
    member.Close();
  }
}

TEST_CASE("OMS-REF-027: wherever a power loss cuts the log all that stayed is there") {
  World world(120, 40, Durability::kDisk);
  {
    // Without the end of it: all that was there is there still.
    ControlHeader& header = world.store().control().header();
    SlotLock lock(&header.catalog.retire, &world.store().liveness(),
                  world.machine().environment.waiting);
    REQUIRE(lock.TryAcquire() == SlotLock::Result::kAcquired);
    Evacuation evacuation(&world.store());
    const uint64_t boundary =
        world.store().segments().entry(header.append.current.Load()).base.Load();
    REQUIRE(evacuation.Run(boundary, InGoodTime()) == Evacuation::Progress::kDone);
    lock.Release();
  }
  world.handle().Kill();
  const auto records = RecordsOf(world.path());
  const auto moved = std::count_if(
      records.begin(), records.end(),
      [](const auto& r) { return r.type() == RecordType::kMoved; });
  REQUIRE(moved >= 2);
  const auto first = std::find_if(
      records.begin(), records.end(),
      [](const auto& r) { return r.type() == RecordType::kMoved; });

  for (auto cut = first; cut != records.end(); ++cut) {
    CAPTURE(cut - first);
    TempDirectory copy;
    copy.CopyFrom(world.path());
    RemoveDerived(copy.path());
    for (auto behind = cut; behind != records.end(); ++behind) {
      FlipBit(copy.path() + "/" + behind->file, behind->at + 20, 3);
    }
    TestMachine later;
    later.clock.boot_hash.store(7);

    Handle handle = OpenStore(copy.path(), later);
    std::vector<absl::Status> damage;
    const auto stored = AllStored(handle.store, &damage);

    CHECK(damage.empty());
    std::vector<Seen> stayed = world.stayed();
    std::set<int64_t> offsets;
    for (const Seen& one : stored) {
      CHECK(offsets.insert(one.offset).second);
      std::erase_if(stayed, [&](const Seen& s) {
        return s.offset == one.offset && s.body == one.body && s.id == one.id;
      });
    }
    CHECK(stayed.empty());
    CHECK(stored.size() == 120);
    handle.Close();
  }
}

TEST_CASE("OMS-REF-027: a kill after any change of a file loses nothing that stayed") {
  std::vector<std::unique_ptr<TempDirectory>> snapshots;
  TestMachine machine;
  TempDirectory directory;
  std::vector<std::string> stayed;
  {
    auto storage = MortalStorage::OfDirectory(directory.path());
    auto opened = TryOpen(storage, machine, SmallStore());
    REQUIRE(opened.ok());
    Handle handle = *std::move(opened);
    CreateQueue(*handle.store, "orders");
    Member member(handle.store, "g", kForEver);
    for (int n = 0; n < 200; ++n) {
      const bool stays = n % 50 == 7;
      SendOne(handle.store, stays ? "stays " + std::to_string(n) : Padding());
      REQUIRE(member.Take(1).size() == 1);
      if (stays) {
        stayed.push_back("stays " + std::to_string(n));
      } else {
        REQUIRE(member.Ack(static_cast<size_t>(n)).ok());
      }
    }
    storage->set_after_change([&] {
      snapshots.push_back(std::make_unique<TempDirectory>());
      snapshots.back()->CopyFrom(directory.path());
    });
    KeepHouse(handle);
    storage->set_after_change({});
    CHECK(SegmentsOf(handle) < 5);
    handle.Kill();
  }
  REQUIRE(snapshots.size() > 10);

  for (const auto& snapshot : snapshots) {
    CHECK(IsSound(snapshot->path()));
    for (const bool twice : {false, true}) {
      CAPTURE(twice);
      Handle handle = OpenStore(snapshot->path(), machine);
      if (twice) KeepHouse(handle);
      // The dead are looked for every 50 ms.
      Advance(machine, milliseconds(100));
      Member member(handle.store, "g");
      std::vector<std::string> bodies = BodiesOf(member.Take());
      CHECK(member.damage().empty());
      // A death may have taken acknowledgements along, and nothing else.
      std::erase(bodies, Padding());
      CHECK(bodies == stayed);
      handle.Kill();
    }
    CHECK(IsSound(snapshot->path()));
  }
}

TEST_CASE("an heir points the index to a message that was being moved") {
  for (int step = 0; step < 4; ++step) {
    CAPTURE(step);
    World world(60, 100);
    Handle dying = OpenStore(world.path(), world.machine());
    Store& store = *dying.store;
    ControlHeader& header = store.control().header();
    IndexReader index = world.index();
    const auto old_hit = index.Find(3);
    REQUIRE(old_hit);
    Shared<uint64_t>* const place = index.Place(3);
    IndexEntry& entry = *reinterpret_cast<IndexEntry*>(place);
    const uint64_t old_place = entry.place.Load();
    const uint64_t old_check = entry.check.Load();
    const uint64_t tail = header.append.tail.Load();
    const uint64_t sequence = header.append.sequence.Load();
    const uint64_t chain = header.append.chain.Load();
    Append record;
    MovedHead head;
    head.from = old_hit->position;
    record.type = RecordType::kMoved;
    record.flags = kPayloadPending;
    record.queue_partition = QueuePartition(1, 0);
    record.partition = &world.partition();
    record.offset = 3;
    record.guard = place;
    record.guarded = old_place;
    record.pieces[0] = {reinterpret_cast<const char*>(&head), sizeof(head)};
    record.pieces[2] = "stays 3";
    const uint32_t current = header.append.current.Load();
    store.log().AppendAll({&record, 1}, 1, InGoodTime());
    REQUIRE(record.status.ok());
    REQUIRE(header.append.current.Load() == current);
    const uint64_t new_place = entry.place.Load();
    const uint64_t new_check = entry.check.Load();
    REQUIRE(new_place != old_place);
    CHECK(world.partition().next_offset.Load() == 60);
    // A second one is refused: the message is not there any more.
    store.log().AppendAll({&record, 1}, 1, InGoodTime());
    CHECK(OmsCode(record.status) == Code::kReceiptExpired);

    header.committed.end.Store(tail);
    header.append.tail.Store(tail);
    header.append.sequence.Store(sequence);
    header.append.chain.Store(chain);
    header.append.intent_begin.Store(tail);
    header.append.intent_end.Store(tail + PaddedBytes(record.bytes()));
    header.append.lock.owner.Store(store.liveness().self().word());
    if (step < 3) entry.place.Store(old_place | (step > 0 ? kMovingBit : 0));
    if (step < 2) entry.check.Store(old_check);
    const auto meanwhile = world.index().Find(3);
    REQUIRE(meanwhile);
    CHECK(meanwhile->position == (step < 3 ? old_hit->position
                                           : record.position));
    CHECK(meanwhile->key_hash == old_hit->key_hash);
    dying.Kill();

    SendOne(world.handle().store, "next");

    CHECK(entry.place.Load() == new_place);
    CHECK(entry.check.Load() == new_check);
    CHECK(world.index().Find(3)->position == record.position);
    CHECK(world.partition().next_offset.Load() == 61);
  }
}

TEST_CASE("who was about to read a message that moves reads it where it is") {
  World world;
  auto queue = world.store().catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  auto group = world.store().catalog().FindGroup(**queue, "g", InGoodTime());
  REQUIRE(group.ok());
  const auto terms = TermsOf(world.store().catalog(), **queue, {}, InGoodTime());
  REQUIRE(terms.ok());
  Advance(world.machine(), kForEver + milliseconds(1));
  BoundPartition partition(&world.store(), *queue, *group, 0, 1, false,
                           terms->get());
  REQUIRE(partition.EnsureWindow(InGoodTime()).value());
  std::vector<HandOut> outs(8);
  const TakeResult taken = partition.window()->Take(
      8, world.machine().clock.BootNs(), INT64_MAX / 2, UINT64_MAX,
      outs.data(), InGoodTime());
  REQUIRE(taken.count == world.stayed().size());

  KeepHouse(world.handle());

  REQUIRE(OmsCode(world.store().segments().Find(outs[0].position).status()) ==
          Code::kQueueNotFound);
  for (size_t n = 0; n < taken.count; ++n) {
    const auto message = partition.Load(outs[n]);
    REQUIRE(message.ok());
    CHECK(message->body() == world.stayed()[n].body);
    CHECK(message->message_id().ToString() == world.stayed()[n].id);
    CHECK(partition.window()->Ack(outs[n].offset, outs[n].word).ok());
  }
}

TEST_CASE("a large body stays with its message, and others go") {
  TestMachine machine;
  TempDirectory directory;
  StoreOptions options = SmallStore();
  options.big_body_bytes = 300;
  Handle handle = OpenStore(directory.path(), machine, options);
  CreateQueue(*handle.store, "orders");
  const std::string large(2000, 'L');
  const auto bodies = [&] {
    size_t count = 0;
    for ([[maybe_unused]] const auto& file :
         std::filesystem::directory_iterator(directory.path() + "/big")) {
      ++count;
    }
    return count;
  };
  {
    Member member(handle.store, "g", kForEver);
    SendOne(handle.store, large);
    REQUIRE(member.Take(1).size() == 1);
    for (size_t n = 1; n <= 300; ++n) {
      SendOne(handle.store, n % 100 == 0 ? large : Padding().substr(0, 200),
              Durability::kProcess);
      REQUIRE(member.Take(1).size() == 1);
      REQUIRE(member.Ack(n).ok());
    }
    REQUIRE(bodies() == 4);

    KeepHouse(handle);

    CHECK(SegmentsOf(handle) < 4);
    CHECK(bodies() < 4);
    // The one that stays is named by one record, the newest.
    handle.Kill();
  }
  for (const bool cold : {false, true}) {
    CAPTURE(cold);
    if (cold) RemoveDerived(directory.path());
    handle = OpenStore(directory.path(), machine, options);
    // The dead are looked for every 50 ms.
    Advance(machine, milliseconds(100));
    Member member(handle.store, "g");
    const auto seen = member.Take();
    CHECK(member.damage().empty());
    REQUIRE(!seen.empty());
    CHECK(seen[0].body == large);
    handle.Kill();
  }
  CHECK(IsSound(directory.path()));
  handle = OpenStore(directory.path(), machine, options);
  Advance(machine, milliseconds(100));
  Member member(handle.store, "g");
  const auto seen = member.Take();
  for (size_t n = 0; n < seen.size(); ++n) CHECK(member.Ack(n).ok());
  member.Close();
  for (int n = 0; n < 60; ++n) SendOne(handle.store, Padding().substr(0, 200));
  Member rest(handle.store, "g");
  const auto others = rest.Take();
  for (size_t n = 0; n < others.size(); ++n) CHECK(rest.Ack(n).ok());
  rest.Close();
  KeepHouse(handle);
  handle.Close();
  CHECK(bodies() == 0);
}

TEST_CASE("a damaged message that stays is told, and holds nothing either") {
  World world(400, 200, Durability::kDisk);
  const uint64_t position = world.index().Find(3)->position;
  world.handle().Kill();
  for (const RecordPlace& record : MessagesOf(world.path())) {
    if (record.header.position == position) {
      FlipBit(world.path() + "/" + record.file, record.at + 70, 1);
    }
  }
  world.handle() = OpenStore(world.path(), world.machine());

  KeepHouse(world.handle());

  CHECK(SegmentsOf(world.handle()) < 4);
  world.handle().Kill();
  RemoveDerived(world.path());
  world.handle() = OpenStore(world.path(), world.machine());
  Advance(world.machine(), kForEver + milliseconds(1));
  Member member(world.handle().store, "g");
  std::vector<std::string> bodies = BodiesOf(member.Take());
  std::erase(bodies, Padding());
  CHECK(bodies == std::vector<std::string>{"stays 203"});
  REQUIRE(member.damage().size() == 1);
  CHECK(OmsCode(member.damage()[0]) == Code::kDamaged);
  member.Close();
}

TEST_CASE("a long delayed message that fills a segment does not hold the rest") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Message later = MakeMessage(std::string(5000, 'D'), Durability::kProcess);
  later.SetDelay(milliseconds(1'000'000));
  REQUIRE(TrySend(handle.store, {&later, 1})[0].ok());
  {
    Member member(handle.store, "g");
    for (size_t n = 0; n < 200; ++n) {
      SendOne(handle.store, Padding(), Durability::kProcess);
      REQUIRE(member.Take(1).size() == 1);
      REQUIRE(member.Ack(n).ok());
    }
    member.Close();
  }
  handle.store->Retire();
  REQUIRE(SegmentsOf(handle) > 4);

  KeepHouse(handle);

  CHECK(SegmentsOf(handle) < 4);
  Advance(machine, milliseconds(1'000'001));
  Member member(handle.store, "g");
  CHECK(BodiesOf(member.Take()) ==
        std::vector<std::string>{std::string(5000, 'D')});
  member.Close();
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::evacuation_test
