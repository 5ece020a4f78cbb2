// SPDX-License-Identifier: Apache-2.0
//
// Messages that a group's window has left behind: kept over every way of
// opening, and with them the segments that they lie in.

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cursor_image.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::exceptions_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr int kMessages = 400;
constexpr size_t kKept = 3;

// Sends and takes all, and settles all but the first kKept.
void LeaveBehind(const Handle& handle, Member& member) {
  size_t taken = 0;
  while (taken < kMessages) {
    for (int n = 0; n < 20; ++n) {
      SendOne(handle.store, std::to_string(taken + static_cast<size_t>(n)) +
                                std::string(200, ' '),
              Durability::kProcess);
    }
    for (const Seen& seen : member.Take()) {
      CHECK(seen.delivery_count == 1);
      if (taken >= kKept) CHECK(member.Ack(taken).ok());
      ++taken;
    }
  }
}

// What comes again, and how often it came; settled if `settle`.
std::vector<std::pair<int64_t, int32_t>> WhatComes(const Handle& handle,
                                                   TestMachine& machine,
                                                   bool settle) {
  machine.clock.boot_ns += 100'000'000;
  Member member(handle.store, "billing");
  std::vector<std::pair<int64_t, int32_t>> all;
  for (const Seen& seen : member.Take()) {
    all.emplace_back(seen.offset, seen.delivery_count);
  }
  for (size_t n = 0; settle && n < all.size(); ++n) {
    CHECK(member.Ack(n).ok());
  }
  member.Close();
  return all;
}

Cursor& CursorOf(Store& store) {
  const auto queue = store.catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto group = store.catalog().OpenGroup(
      *queue, "billing", StartPosition::kEarliest, InGoodTime());
  REQUIRE(group.ok());
  return *(*group)->state->cursor(0);
}

TEST_CASE("exceptions outlive every way of opening") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  {
    Member member(handle.store, "billing");
    LeaveBehind(handle, member);
    Cursor& cursor = CursorOf(*handle.store);
    CHECK(cursor.floor.Load() > kKept);
    CHECK(SettledFloor(handle.store->control(), cursor) == 0);
    REQUIRE(cursor.exceptions.Load() != 0);
  }
  const auto remove = [&](std::string_view name) {
    std::filesystem::remove(directory.path() + "/" + std::string(name));
  };

  std::vector<std::pair<int64_t, int32_t>> expected;
  OpenPath path = OpenPath::kWarm;
  // Acknowledgements are in the log with the next flush.
  REQUIRE(handle.store->log()
              .WaitDurable(handle.store->log().committed(), InGoodTime())
              .ok());
  SUBCASE("warm") { handle.Kill(); }
  SUBCASE("clean") {
    handle.Close();
    path = OpenPath::kClean;
  }
  SUBCASE("cold from the log") {
    handle.Kill();
    remove("ctl");
    path = OpenPath::kCold;
  }
  SUBCASE("cold in a later boot") {
    handle.Kill();
    ++machine.clock.boot_hash;
    path = OpenPath::kCold;
  }
  for (int64_t offset = 0; offset < int64_t{kKept}; ++offset) {
    expected.emplace_back(offset, 2);
  }
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    handle = OpenStore(directory.path(), machine);
    if (round == 0) CHECK(handle.store->open_path() == path);
    CHECK(WhatComes(handle, machine, false) == expected);
    handle.Kill();
    // The count of the second delivery is in the log by now.
    remove("ctl");
    for (auto& [offset, count] : expected) ++count;
  }
  handle = OpenStore(directory.path(), machine);
  CHECK(WhatComes(handle, machine, true) == expected);
  CHECK(WhatComes(handle, machine, true).empty());
  CHECK(SettledFloor(handle.store->control(), CursorOf(*handle.store)) ==
        kMessages);
  handle.Close();
  handle = OpenStore(directory.path(), machine);
  CHECK(WhatComes(handle, machine, true).empty());
}

TEST_CASE("exceptions keep their segments, and no longer than they must") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Member member(handle.store, "billing");
  const std::string first = SegmentFiles(directory.path()).front();

  LeaveBehind(handle, member);
  handle.store->Retire();

  CHECK(SegmentFiles(directory.path()).front() == first);
  const size_t before = SegmentFiles(directory.path()).size();
  for (size_t n = 0; n < kKept; ++n) CHECK(member.Ack(n).ok());
  handle.store->Retire();
  CHECK(SegmentFiles(directory.path()).front() != first);
  CHECK(SegmentFiles(directory.path()).size() < before);
  member.Close();
}

}  // namespace
}  // namespace openmessaging::reference::exceptions_test
