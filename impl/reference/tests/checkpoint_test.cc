// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints and what else is derived: losing it changes nothing that anybody
// can observe.

#include "checkpoint.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cursor_image.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::checkpoint_test {
namespace {

using namespace testing;  // The fixture is part of this test.

std::string Body(int number) {
  std::string body = "message " + std::to_string(number) + " ";
  body.resize(400, '.');
  return body;
}

StoreUuid UuidOf(const std::string& path) {
  StoreFile file;
  const std::string bytes = ReadFile(path + "/STORE");
  REQUIRE(bytes.size() >= sizeof(file));
  std::memcpy(&file, bytes.data(), sizeof(file));
  return file.uuid;
}

std::optional<Checkpoint> CheckpointOf(const std::string& path) {
  auto storage = OpenDirectory(path, DirectoryOptions{});
  REQUIRE(storage.ok());
  return ReadCheckpoint(**storage, UuidOf(path));
}

TEST_CASE("A and B alternate, and the newer one counts") {
  TestMachine machine;
  TempDirectory directory;
  std::string before_a;
  std::string before_b;
  bool wrote_a = false;
  for (uint64_t round = 1; round <= 5; ++round) {
    CAPTURE(round);
    Handle handle = OpenStore(directory.path(), machine);
    if (round == 1) CreateQueue(*handle.store, "orders");
    SendOne(handle.store, Body(static_cast<int>(round)));
    handle.Close();

    const auto checkpoint = CheckpointOf(directory.path());
    REQUIRE(checkpoint);
    CHECK(checkpoint->generation == round);
    const bool a = std::filesystem::exists(directory.path() + "/ckpt/A");
    const bool b = std::filesystem::exists(directory.path() + "/ckpt/B");
    const std::string now_a = a ? ReadFile(directory.path() + "/ckpt/A") : "";
    const std::string now_b = b ? ReadFile(directory.path() + "/ckpt/B") : "";
    // Exactly one was written, and not the one of before.
    CHECK((now_a == before_a) != (now_b == before_b));
    if (round > 1) CHECK((now_a == before_a) == wrote_a);
    wrote_a = now_a != before_a;
    before_a = now_a;
    before_b = now_b;
  }
}

TEST_CASE(
    "any flipped byte of the newer checkpoint falls back to the older one") {
  TestMachine machine;
  TempDirectory directory;
  for (int round = 0; round < 2; ++round) {
    Handle handle = OpenStore(directory.path(), machine);
    if (round == 0) CreateQueue(*handle.store, "orders");
    SendOne(handle.store, Body(round));
    handle.Close();
  }
  const auto newest = CheckpointOf(directory.path());
  REQUIRE(newest);
  REQUIRE(newest->generation == 2);
  const std::string file = directory.path() + "/ckpt/A";
  const size_t size = ReadFile(file).size();
  for (size_t at = 0; at < size; at += 1 + size / 97) {
    CAPTURE(at);
    FlipBit(file, at, static_cast<int>(at % 8));
    const auto found = CheckpointOf(directory.path());
    REQUIRE(found);
    CHECK(found->generation == 1);
    if (at % 5 == 0) {
      TempDirectory copy;
      copy.CopyFrom(directory.path());
      Handle handle = OpenStore(copy.path(), machine);
      CHECK(BodiesOf(AllStored(handle.store)) ==
            std::vector<std::string>{Body(0), Body(1)});
      handle.Close();
    }
    FlipBit(file, at, static_cast<int>(at % 8));
  }
  // Cut at any length as well.
  const std::string bytes = ReadFile(file);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{16}, size - 1}) {
    std::filesystem::resize_file(file, length);
    const auto found = CheckpointOf(directory.path());
    REQUIRE(found);
    CHECK(found->generation == 1);
  }
}

TEST_CASE("a checkpoint of another store is none") {
  TestMachine machine;
  TempDirectory one;
  TempDirectory two;
  for (const std::string& path : {one.path(), two.path()}) {
    Handle handle = OpenStore(path, machine);
    CreateQueue(*handle.store, "orders");
    SendOne(handle.store, path);
    handle.Close();
  }
  for (const char* const name : {"/ckpt/A", "/ckpt/B"}) {
    std::filesystem::remove(one.path() + name);
    if (!std::filesystem::exists(two.path() + name)) continue;
    std::filesystem::copy_file(two.path() + name, one.path() + name);
  }

  CHECK(!CheckpointOf(one.path()));
  Handle handle = OpenStore(one.path(), machine);
  CHECK(BodiesOf(AllStored(handle.store)) ==
        std::vector<std::string>{one.path()});
  handle.Close();
}

// What a user can observe of a store.
struct Observed {
  std::vector<Seen> pending{};
  std::vector<Seen> stored{};
  int64_t next_offset = 0;
  std::vector<int32_t> partitions{};

  bool operator==(const Observed&) const = default;
};

Observed Observe(const std::string& path, const TestMachine& machine) {
  Handle handle = OpenStore(path, machine);
  Observed observed;
  {
    Member member(handle.store, "billing");
    observed.pending = member.Take();
    CHECK(member.damage().empty());
  }
  std::sort(observed.pending.begin(), observed.pending.end());
  observed.stored = AllStored(handle.store);
  observed.next_offset = SendOne(handle.store, "next").offset;
  const auto queues = handle.store->catalog().Queues(InGoodTime());
  REQUIRE(queues.ok());
  for (const auto& queue : *queues) {
    observed.partitions.push_back(static_cast<int32_t>(queue->partitions));
  }
  handle.Kill();
  return observed;
}

TEST_CASE("after a clean close, derived files may go and nothing changes") {
  TestMachine machine;
  TempDirectory directory;
  {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders", 3);
    CreateQueue(*handle.store, "gone");
    CreateQueue(*handle.store, "idle", 2);
    for (int n = 0; n < 60; ++n) {
      SendOne(handle.store, Body(n),
              n % 4 == 0 ? Durability::kProcess : Durability::kDisk, n % 3);
    }
    REQUIRE(handle.store->catalog().DeleteQueue("gone", InGoodTime()).ok());
    Member member(handle.store, "billing");
    const auto seen = member.Take(30);
    REQUIRE(seen.size() == 30);
    for (size_t n = 0; n < seen.size(); ++n) {
      // Some acked, some given back, some held until the close.
      if (n % 3 == 0) CHECK(member.Ack(n).ok());
      if (n % 3 == 1) {
        CHECK(member.Settle(n, driver::Verb::kNackDelay).ok());
      }
    }
    member.Close();
    handle.Close();
  }
  TempDirectory whole;
  whole.CopyFrom(directory.path());
  const Observed expected = Observe(whole.path(), machine);
  CHECK(expected.stored.size() == 60);
  CHECK(expected.pending.size() == 50);
  CHECK(expected.partitions.size() == 2);
  CHECK(std::any_of(expected.pending.begin(), expected.pending.end(),
                    [](const Seen& seen) { return seen.delivery_count > 1; }));

  const std::vector<std::string> derived = {"/ctl", "/idx", "/ckpt/A",
                                            "/ckpt/B"};
  for (uint32_t gone = 1; gone < 16; ++gone) {
    CAPTURE(gone);
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    for (size_t n = 0; n < derived.size(); ++n) {
      if ((gone >> n & 1) != 0)
        std::filesystem::remove(copy.path() + derived[n]);
    }
    const Observed observed = Observe(copy.path(), machine);
    CHECK(observed.pending == expected.pending);
    CHECK(observed.stored == expected.stored);
    CHECK(observed.next_offset == expected.next_offset);
    CHECK(observed.partitions == expected.partitions);
  }
  SUBCASE("in place, where the clean close is believed") {
    CHECK(Observe(directory.path(), machine) == expected);
  }
  SUBCASE("an index that was changed is not believed") {
    FlipBit(directory.path() + "/idx", kPage + 40, 2);
    CHECK(Observe(directory.path(), machine) == expected);
  }
}

TEST_CASE("a clean open goes on in the same segment") {
  TestMachine machine;
  TempDirectory directory;
  std::vector<std::string> files;
  for (int round = 0; round < 5; ++round) {
    Handle handle = OpenStore(directory.path(), machine);
    CHECK(handle.store->open_path() ==
          (round == 0 ? OpenPath::kCreated : OpenPath::kClean));
    if (round == 0) CreateQueue(*handle.store, "orders");
    CHECK(SendOne(handle.store, "short").offset == round);
    handle.Close();
    if (round == 0) files = SegmentFiles(directory.path());
    CHECK(SegmentFiles(directory.path()) == files);
  }
}

TEST_CASE("the image of a cursor round trips, attempts included") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  const auto queue = *handle.store->catalog().FindQueue("orders", InGoodTime());
  PartitionState& partition = *queue->state->partition(0);
  partition.next_offset.Store(1000);
  Catalog& catalog = handle.store->catalog();
  Control& control = handle.store->control();
  const auto cursor_of = [&](const char* group) -> Cursor& {
    const auto opened =
        catalog.OpenGroup(queue, group, StartPosition::kEarliest, InGoodTime());
    REQUIRE(opened.ok());
    Cursor& cursor = *(*opened)->state->cursor(0);
    REQUIRE(catalog.EnsureWindow(cursor, InGoodTime()).ok());
    return cursor;
  };
  Cursor& from = cursor_of("from");
  const uint32_t window = control.header().options.window;
  from.floor.Store(500);
  from.next.Store(540);
  auto* const words = control.Get<Shared<uint64_t>>(from.window.Load());
  for (uint64_t offset = 500; offset < 540; ++offset) {
    const auto attempts = static_cast<uint32_t>(offset % 7 * 700);
    const DeliveryState state =
        offset % 3 == 0 ? DeliveryState::kSettled : DeliveryState::kReturned;
    words[offset % window].Store(
        DeliveryWord::Restored(offset, state, attempts).bits());
  }
  const std::string image = TakeCursorImage(control, from);

  Cursor& to = cursor_of("to");
  REQUIRE(RestoreCursor(control, catalog, partition, to, image, {}).ok());

  CHECK(to.floor.Load() == 500);
  CHECK(to.next.Load() == 540);
  CHECK(TakeCursorImage(control, to) == image);
  const auto* const restored = control.Get<Shared<uint64_t>>(to.window.Load());
  for (uint64_t offset = 500; offset < 540; ++offset) {
    const DeliveryWord word(restored[offset % window].Load());
    REQUIRE(word.Is(offset));
    CHECK(word.attempts() == offset % 7 * 700);
    CHECK((word.state() == DeliveryState::kSettled) == (offset % 3 == 0));
  }
  SUBCASE("cut to the messages that there are") {
    partition.next_offset.Store(520);
    partition.first_offset.Store(510);
    Cursor& cut = cursor_of("cut");
    REQUIRE(RestoreCursor(control, catalog, partition, cut, image, {}).ok());
    CHECK(cut.floor.Load() == 510);
    CHECK(cut.next.Load() == 520);
  }
  SUBCASE("and one that makes no sense is damage") {
    Cursor& bad = cursor_of("bad");
    CHECK(OmsCode(RestoreCursor(control, catalog, partition, bad,
                                image.substr(0, 9), {})) ==
          Code::kDamaged);
    ImageWriter backwards;
    backwards.Put(uint64_t{9});
    backwards.Put(uint64_t{3});
    CHECK(OmsCode(RestoreCursor(control, catalog, partition, bad,
                                backwards.bytes(), {})) == Code::kDamaged);
  }
  SUBCASE("and what the log says beside it is put on top") {
    CursorChanges changes;
    ImageWriter delivered;
    delivered.Put(uint64_t{505});
    for (const auto& [offset, attempts] :
         {std::pair{500, 9}, {511, 9}, {513, 9}, {550, 4}, {700, 3}}) {
      delivered.Put(static_cast<uint64_t>(offset));
      delivered.Put(static_cast<uint16_t>(attempts));
    }
    ImageReader reader(delivered.bytes());
    changes.AddDelivered(reader);
    changes.AddDead({7, 1, 512, 502, 5, 0});
    Cursor& late = cursor_of("late");
    REQUIRE(RestoreCursor(control, catalog, partition, late, image, changes)
                .ok());

    // 700 is further away than a window: nobody was handed that.
    CHECK(late.floor.Load() == 505);
    CHECK(late.next.Load() == 551);
    const auto* const now = control.Get<Shared<uint64_t>>(late.window.Load());
    const auto word_of = [&](uint64_t offset) {
      const DeliveryWord word(now[offset % window].Load());
      REQUIRE(word.Is(offset));
      return word;
    };
    // The higher count wins, and settled is settled.
    CHECK(word_of(511).attempts() == 9);
    CHECK(word_of(511).state() == DeliveryState::kReturned);
    CHECK(word_of(513).state() == DeliveryState::kSettled);
    CHECK(word_of(512).state() == DeliveryState::kSettled);
    CHECK(word_of(550).attempts() == 4);
    CHECK(word_of(545).attempts() == 0);
    CHECK(word_of(545).state() == DeliveryState::kReturned);
  }
  handle.Kill();
}

}  // namespace
}  // namespace openmessaging::reference::checkpoint_test
