// SPDX-License-Identifier: Apache-2.0
//
// SEEK records: what they undo, what does not undo them, and deaths in the
// middle of one.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cursor_image.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "group_control.h"

namespace openmessaging::reference::seek_test {
namespace {

using namespace testing;  // The fixture is part of this test.

absl::Status Seek(const Handle& handle, int64_t offset) {
  return ReferenceGroupControl(handle.store)
      .Seek("orders", "billing", 0, offset, InGoodTime());
}

void Send(const Handle& handle, int count) {
  for (int n = 0; n < count; ++n) {
    SendOne(handle.store, "x", Durability::kProcess);
  }
}

Cursor& CursorOf(const Handle& handle) {
  const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto group = handle.store->catalog().OpenGroup(
      *queue, "billing", StartPosition::kEarliest, InGoodTime());
  REQUIRE(group.ok());
  return *(*group)->state->cursor(0);
}

void Flush(const Handle& handle) {
  REQUIRE(handle.store->log()
              .WaitDurable(handle.store->log().committed(), InGoodTime())
              .ok());
}

// The offsets and counts of what a new member is given.
std::vector<std::pair<int64_t, int32_t>> WhatComes(const Handle& handle) {
  Member member(handle.store, "billing");
  std::vector<std::pair<int64_t, int32_t>> all;
  for (const Seen& seen : member.Take()) {
    all.emplace_back(seen.offset, seen.delivery_count);
  }
  member.Close();
  return all;
}

std::vector<std::pair<int64_t, int32_t>> FirstTime(int64_t first, int64_t end) {
  std::vector<std::pair<int64_t, int32_t>> all;
  for (int64_t n = first; n < end; ++n) all.emplace_back(n, 1);
  return all;
}

// Ends every process that has the store open, and opens it again.
void Reopen(Handle& handle, const std::string& path, TestMachine& machine,
            OpenPath how, bool in_a_later_boot) {
  if (how == OpenPath::kClean) {
    handle.Close();
  } else {
    handle.Kill();
  }
  if (in_a_later_boot) {
    ++machine.clock.boot_hash;
  } else if (how == OpenPath::kCold) {
    std::filesystem::remove(path + "/ctl");
  }
  handle = OpenStore(path, machine);
  CHECK(handle.store->open_path() == how);
}

// Moves a group that has counts, exceptions and images in the log, and looks
// what comes after a reopening.
void CheckOutlives(int64_t to, bool settle_one, OpenPath how,
                   bool in_a_later_boot) {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Member old(handle.store, "billing");
  Send(handle, 200);
  CHECK(old.Take().size() == 2 * size_t{SmallStore().window});
  for (size_t n = 4; n < 100; ++n) CHECK(old.Ack(n).ok());
  CHECK(old.Settle(3, driver::Verb::kNackDelay).ok());
  CHECK(!old.Take().empty());
  Flush(handle);

  REQUIRE(Seek(handle, to).ok());
  CHECK(std::string(old.Ack(0).message()) ==
        "settle offset 0: the group was moved since, and the message is new to "
        "it or settled");
  // Behind it, so that it is not the last record.
  Send(handle, 1);
  if (settle_one) {
    Member member(handle.store, "billing");
    REQUIRE(member.Take(1).size() == 1);
    CHECK(member.Ack(0).ok());
    member.Close();
    ++to;
  }
  Flush(handle);
  Reopen(handle, directory.path(), machine, how, in_a_later_boot);

  const auto come = WhatComes(handle);
  const auto expected = FirstTime(to, 201);
  const size_t most = 2 * size_t{SmallStore().window};
  REQUIRE(come.size() == std::min(expected.size(), most));
  CHECK(std::equal(come.begin(), come.end(), expected.begin()));
  handle.Close();
}

TEST_CASE("OMS-GRP-002: a seek outlives every way of opening") {
  for (const int64_t to : {2, 150}) {
    for (const bool settle_one : {false, true}) {
      CAPTURE(to);
      CAPTURE(settle_one);
      CheckOutlives(to, settle_one, OpenPath::kWarm, false);
      CheckOutlives(to, settle_one, OpenPath::kClean, false);
      CheckOutlives(to, settle_one, OpenPath::kCold, false);
      CheckOutlives(to, settle_one, OpenPath::kCold, true);
    }
  }
}

TEST_CASE("an image of before a seek that comes late does not undo it") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Send(handle, 20);
  {
    Member member(handle.store, "billing");
    CHECK(member.Take().size() == 20);
    for (size_t n = 0; n < 20; ++n) CHECK(member.Ack(n).ok());
    member.Close();
  }
  // A flusher that has its number and its image, and is slow to append.
  Cursor& cursor = CursorOf(handle);
  const uint64_t number = cursor.images.FetchAdd(1) + 1;
  const std::string image = TakeCursorImage(handle.store->control(), cursor);
  REQUIRE(Seek(handle, 5).ok());
  ImageWriter body;
  body.Put(uint32_t{1});
  body.Put(number);
  body.PutBytes(image);
  Append record;
  record.type = RecordType::kAckRange;
  record.queue_partition = QueuePartition(1, 0);
  record.offset = 1;
  record.pieces[2] = body.bytes();
  handle.store->log().AppendAll({&record, 1}, 0, InGoodTime());
  REQUIRE(record.status.ok());
  Flush(handle);

  handle.Kill();
  std::filesystem::remove(directory.path() + "/ctl");
  handle = OpenStore(directory.path(), machine);

  CHECK(WhatComes(handle) == FirstTime(5, 20));
  handle.Close();
}

// What moving a cursor changes.
struct Words {
  explicit Words(const Handle& handle)
      : cursor(CursorOf(handle)),
        append(handle.store->control().header().append),
        committed(handle.store->control().header().committed.end),
        next(cursor.next.Load()),
        floor(cursor.floor.Load()),
        images(cursor.images.Load()),
        tail(append.tail.Load()),
        sequence(append.sequence.Load()),
        chain(append.chain.Load()),
        end(committed.Load()) {}

  Cursor& cursor;
  ControlHeader::Append& append;
  Shared<uint64_t>& committed;
  uint64_t next;
  uint64_t floor;
  uint64_t images;
  uint64_t tail;
  uint64_t sequence;
  uint64_t chain;
  uint64_t end;
};

TEST_CASE("a seek that died at any step is done or undone by a peer") {
  // 0: before its record is whole. 1: it is, and nothing else happened. 2: the
  // cursor was moved in part. 3: it was moved. 4: only the flag is left.
  for (int step = 0; step <= 4; ++step) {
    for (const int64_t to : {3, 15}) {
      CAPTURE(step);
      CAPTURE(to);
      TempDirectory directory;
      TestMachine machine;
      Handle dying = OpenStore(directory.path(), machine);
      CreateQueue(*dying.store, "orders");
      Handle peer = OpenStore(directory.path(), machine);
      Member member(peer.store, "billing");
      Send(peer, 20);
      CHECK(member.Take(10).size() == 10);
      for (size_t n = 0; n < 8; ++n) CHECK(member.Ack(n).ok());
      Flush(peer);
      const Words before(peer);
      const uint32_t current = before.append.current.Load();

      REQUIRE(Seek(dying, to).ok());

      REQUIRE(before.append.current.Load() == current);
      const uint64_t end = before.append.tail.Load();
      Cursor& cursor = before.cursor;
      cursor.seeking.Store(1);
      cursor.lock.owner.Store(dying.store->liveness().self().word());
      if (step < 4) {
        if (step < 3) cursor.images.Store(before.images);
        if (step < 2) {
          cursor.next.Store(before.next);
          cursor.floor.Store(before.floor);
        } else if (step == 2) {
          (to == 3 ? cursor.floor : cursor.next)
              .Store(to == 3 ? before.floor : before.next);
        }
        if (step == 0) {
          auto segment = dying.store->segments().ByOrdinal(current);
          REQUIRE(segment.ok());
          At<Shared<uint64_t>>((*segment)->Write(before.tail), 0).Store(0);
        }
        before.append.tail.Store(before.tail);
        before.append.sequence.Store(before.sequence);
        before.append.chain.Store(before.chain);
        before.committed.Store(before.end);
        before.append.intent_begin.Store(before.tail);
        before.append.intent_end.Store(end);
        before.append.lock.owner.Store(dying.store->liveness().self().word());
      }
      dying.Kill();
      machine.clock.boot_ns += 100'000'000;

      // The words that were handed out are gone, so what was unsettled before
      // an undone seek comes again.
      const int64_t first = step == 0 ? 8 : to;
      std::vector<int64_t> offsets;
      for (const Seen& seen : member.Take()) offsets.push_back(seen.offset);
      std::vector<int64_t> expected;
      for (int64_t n = first; n < 20; ++n) expected.push_back(n);
      if (step == 0) {
        std::erase_if(offsets, [](int64_t offset) { return offset < 8; });
      }
      CHECK(offsets == expected);
      CHECK(cursor.seeking.Load() == 0);
      member.Close();
      peer.Close();
    }
  }
}

TEST_CASE("OMS-GRP-002: what was retired does not come back") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Member member(handle.store, "billing");
  size_t settled = 0;
  for (int n = 0; n < 60; ++n) {
    SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
    for ([[maybe_unused]] const Seen& seen : member.Take()) {
      CHECK(member.Ack(settled++).ok());
    }
  }
  Flush(handle);
  handle.store->Retire();
  const auto queue = handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto first = static_cast<int64_t>(
      (*queue)->state->partition(0)->first_offset.Load());
  REQUIRE(first > 0);

  REQUIRE(Seek(handle, 0).ok());

  const auto again = member.Take();
  REQUIRE(!again.empty());
  CHECK(again.front().offset == first);
  CHECK(again.back().offset == 59);
  CHECK(member.damage().empty());
  member.Close();

  SUBCASE("nor a seek whose record was retired") {
    // Its segment goes; where it led to is told by what is kept.
    {
      Member busy(handle.store, "billing");
      size_t done = 0;
      for (int n = 0; n < 60; ++n) {
        SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
        for ([[maybe_unused]] const Seen& seen : busy.Take()) {
          CHECK(busy.Ack(done++).ok());
        }
      }
      busy.Close();
    }
    Flush(handle);
    handle.store->Retire();
    handle.Kill();
    std::filesystem::remove(directory.path() + "/ctl");
    const auto records = RecordsOf(directory.path());
    CHECK(std::none_of(records.begin(), records.end(),
                       [](const RecordPlace& place) {
                         return place.type() == RecordType::kSeek;
                       }));
    handle = OpenStore(directory.path(), machine);
    CHECK(WhatComes(handle).empty());
    // And it may be moved again.
    REQUIRE(Seek(handle, 119).ok());
    CHECK(WhatComes(handle) == FirstTime(119, 120));
  }
}

TEST_CASE("a group without a window remembers that it was moved") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  CreateQueue(*handle.store, "others");
  Send(handle, 10);
  CursorOf(handle);
  REQUIRE(Seek(handle, 10).ok());
  Reopen(handle, directory.path(), machine, OpenPath::kCold, false);
  REQUIRE(CursorOf(handle).window.Load() == 0);
  REQUIRE(SeeksOf(CursorOf(handle).images.Load()) == 1);

  // The record's segment goes.
  Member busy(handle.store, "g", "others");
  for (size_t n = 0; n < 60; ++n) {
    Message message("others", std::string(1000, 'x'));
    message.SetDurability(Durability::kProcess);
    REQUIRE(TrySend(handle.store, {&message, 1})[0].ok());
    REQUIRE(busy.Take().size() == 1);
    CHECK(busy.Ack(n).ok());
  }
  busy.Close();
  Flush(handle);
  handle.store->Retire();
  for (const RecordPlace& place : RecordsOf(directory.path())) {
    REQUIRE(place.type() != RecordType::kSeek);
  }
  Reopen(handle, directory.path(), machine, OpenPath::kCold, false);

  // What was handed out before the move stays void.
  CHECK(SeeksOf(CursorOf(handle).images.Load()) == 1);
  CHECK(WhatComes(handle).empty());
  handle.Close();
}

TEST_CASE("settlers and members go on while a group is moved about") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Send(handle, 150);
  CursorOf(handle);  // Makes the group.
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      Member member(handle.store, "billing");
      size_t next = 0;
      while (!stop) {
        const size_t count = member.Take(8).size();
        for (size_t n = 0; n < count; ++n, ++next) {
          const absl::Status status = member.Ack(next);
          if (!status.ok() && OmsCode(status) != Code::kReceiptExpired) {
            FAIL(std::string(status.message()));
          }
        }
        // A flush takes images all the time.
        Flush(handle);
      }
      CHECK(member.damage().empty());
      member.Close();
    });
  }
  for (int n = 0; n < 100; ++n) {
    const absl::Status moved = Seek(handle, n * 37 % 150);
    CHECK_MESSAGE(moved.ok(), moved.message());
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();

  REQUIRE(Seek(handle, 140).ok());
  CHECK(WhatComes(handle) == FirstTime(140, 150));
  handle.Close();
}

}  // namespace
}  // namespace openmessaging::reference::seek_test
