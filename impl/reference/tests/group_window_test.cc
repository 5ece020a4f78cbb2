// SPDX-License-Identifier: Apache-2.0
//
// The window of a group: hand-out, settlement, back-off, dead owners.

#include "group_window.h"

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "cursor_words.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "partition_log.h"

namespace openmessaging::reference::group_window_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kLeaseNs = 30 * kSecondNs;

// A store in memory with one queue of one partition and one group.
struct Fixture {
  Fixture() {
    static std::atomic<int> count{0};
    name = "group-window-" + std::to_string(count.fetch_add(1));
    memory = OpenMemory(name);
    handle = Join();
    CreateQueue(*handle.store, "orders");
  }

  Handle Join() {
    StoreOptions options = SmallStore();
    options.first_segment_bytes = options.max_segment_bytes = 1 << 20;
    auto opened =
        TryOpen(std::make_shared<MortalStorage>(memory), machine, options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().message());
    return *std::move(opened);
  }

  // The group's window as a handle has it.
  std::unique_ptr<GroupWindow> WindowOf(const Handle& of) {
    Catalog& catalog = of.store->catalog();
    auto queue = catalog.FindQueue("orders", InGoodTime());
    REQUIRE(queue.ok());
    auto group =
        catalog.OpenGroup(*queue, "billing", StartPosition::kEarliest, InGoodTime());
    REQUIRE(group.ok());
    Cursor& cursor = *(*group)->state->cursor(0);
    REQUIRE(catalog.EnsureWindow(cursor, InGoodTime()).ok());
    logs.push_back(
        std::make_unique<PartitionLog>(of.store.get(), *group, 0));
    return std::make_unique<GroupWindow>(
        &of.store->control(), &machine.environment, &of.store->liveness(),
        (*queue)->state->partition(0), QueuePartition((*queue)->id, 0),
        &cursor, RedeliveryPolicy{}, logs.back().get());
  }

  void Send(int count) {
    std::vector<Message> batch(static_cast<size_t>(count), MakeMessage("x"));
    for (const auto& result : TrySend(handle.store, batch)) {
      REQUIRE(result.ok());
    }
  }

  std::vector<HandOut> Take(GroupWindow& window, size_t max) {
    std::vector<HandOut> outs(max);
    const TakeResult result = window.Take(max, machine.clock.BootNs(), kLeaseNs,
                                          UINT64_MAX, outs.data(), InGoodTime());
    outs.resize(result.count);
    return outs;
  }

  TestMachine machine{};
  std::string name{};
  std::shared_ptr<Storage> memory{};
  Handle handle{};
  // Of the windows.
  std::vector<std::unique_ptr<PartitionLog>> logs{};
};

TEST_CASE("messages are handed out in order, once, as many as are asked for") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  CHECK(!window->MayHave(fixture.machine.clock.BootNs()));
  CHECK(fixture.Take(*window, 8).empty());
  fixture.Send(10);
  CHECK(window->MayHave(fixture.machine.clock.BootNs()));

  std::vector<uint64_t> offsets;
  for (const size_t max : {size_t{3}, size_t{1}, size_t{20}}) {
    for (const HandOut& out : fixture.Take(*window, max)) {
      offsets.push_back(out.offset);
      CHECK(out.word.attempts() == 1);
    }
  }

  CHECK(offsets == std::vector<uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(fixture.Take(*window, 8).empty());
  CHECK(window->HasUnsettled());
}

TEST_CASE("a full window and full exceptions stall until one is settled") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  const size_t size = SmallStore().window;
  fixture.Send(static_cast<int>(2 * size) + 5);
  std::vector<HandOut> outs;
  while (true) {
    const auto some = fixture.Take(*window, 16);
    if (some.empty()) break;
    outs.insert(outs.end(), some.begin(), some.end());
  }
  REQUIRE(outs.size() == 2 * size);
  CHECK(window->cursor().floor.Load() == size);
  CHECK(!window->MayHave(fixture.machine.clock.BootNs()));

  // The second oldest of the window makes no room by itself.
  CHECK(window->Ack(size + 1, outs[size + 1].word).ok());
  CHECK(fixture.Take(*window, 4).empty());
  // An exception does, at the next look.
  CHECK(window->Ack(3, outs[3].word).ok());
  CHECK(window->Ack(3, outs[3].word).ok());
  fixture.machine.clock.boot_ns += 50'000'000;
  CHECK(window->MayHave(fixture.machine.clock.BootNs()));
  const auto more = fixture.Take(*window, 9);
  REQUIRE(more.size() == 2);
  CHECK(more[0].offset == 2 * size);
  CHECK(more[1].offset == 2 * size + 1);

  for (const HandOut& out : outs) CHECK(window->Ack(out.offset, out.word).ok());
  for (const HandOut& out : more) CHECK(window->Ack(out.offset, out.word).ok());
  const auto last = fixture.Take(*window, 9);
  REQUIRE(last.size() == 3);
  for (const HandOut& out : last) CHECK(window->Ack(out.offset, out.word).ok());
  CHECK(fixture.Take(*window, 9).empty());
  CHECK(!window->HasUnsettled());
}

// Hands out all, and settles all but the first `kept` offsets.
std::vector<HandOut> LeaveBehind(Fixture& fixture, GroupWindow& window,
                                 uint64_t kept, uint64_t total) {
  std::vector<HandOut> left;
  for (uint64_t seen = 0; seen < total;) {
    const auto some = fixture.Take(window, 16);
    REQUIRE_FALSE(some.empty());
    for (const HandOut& out : some) {
      ++seen;
      if (out.offset < kept) {
        left.push_back(out);
      } else {
        CHECK(window.Ack(out.offset, out.word).ok());
      }
    }
  }
  CHECK(window.cursor().floor.Load() >= kept);
  return left;
}

TEST_CASE("OMS-SET-012: nobody extends the lease of a dead process") {
  Fixture fixture;
  Handle dying = fixture.Join();
  auto theirs = fixture.WindowOf(dying);
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(1);
  const auto held = fixture.Take(*theirs, 1);
  REQUIRE(held.size() == 1);
  const int64_t later_ns = fixture.machine.clock.BootNs() + 9 * kLeaseNs;
  // With its receipt others may, while it lives.
  CHECK(window->Extend(0, held[0].word, later_ns, InGoodTime()).ok());

  theirs.reset();
  dying.Kill();

  CHECK(OmsCode(window->Extend(0, held[0].word, later_ns, InGoodTime())) ==
        Code::kReceiptExpired);
  fixture.machine.clock.boot_ns += 50'000'000;
  CHECK(fixture.Take(*window, 1).size() == 1);
}

TEST_CASE("exceptions lose their leases and owners as others do") {
  Fixture fixture;
  Handle dying = fixture.Join();
  auto theirs = fixture.WindowOf(dying);
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(200);
  const auto left = LeaveBehind(fixture, *theirs, 4, 200);
  REQUIRE(left.size() == 4);
  const int64_t now_ns = fixture.machine.clock.BootNs();
  CHECK(theirs->Nack(1, left[1].word, now_ns + kSecondNs, InGoodTime()).ok());
  CHECK(OmsCode(theirs->Ack(1, left[1].word)) == Code::kReceiptExpired);
  CHECK(theirs->Extend(2, left[2].word, now_ns + 2 * kLeaseNs, InGoodTime()).ok());
  CHECK(theirs->Ack(3, left[3].word).ok());
  CHECK(OmsCode(theirs->Ack(199, left[3].word)) == Code::kReceiptInvalid);
  fixture.machine.clock.boot_ns += kSecondNs;
  const auto returned = fixture.Take(*window, 4);
  REQUIRE(returned.size() == 1);
  CHECK(returned[0].offset == 1);
  CHECK(returned[0].word.attempts() == 2);

  SUBCASE("by time") {
    fixture.machine.clock.boot_ns += kLeaseNs;
    CHECK(fixture.Take(*window, 4).size() == 2);
    fixture.machine.clock.boot_ns += kLeaseNs;
    // The extended one, and the other two once more.
    CHECK(fixture.Take(*window, 4).size() == 3);
  }
  SUBCASE("by death") {
    theirs.reset();
    dying.Kill();
    fixture.machine.clock.boot_ns += 50'000'000;
    const auto again = fixture.Take(*window, 4);
    REQUIRE(again.size() == 2);
    CHECK(again[0].offset == 0);
    CHECK(again[1].offset == 2);
  }
}

TEST_CASE("a move to the exceptions that a death cut is in one place") {
  Fixture fixture;
  Handle dying = fixture.Join();
  auto theirs = fixture.WindowOf(dying);
  fixture.Send(200);
  const auto left = LeaveBehind(fixture, *theirs, 3, 200);
  Cursor& cursor = theirs->cursor();
  const CursorWords words(&fixture.handle.store->control(), &cursor);
  ExceptionTable& table = *words.exceptions();
  REQUIRE(words.UsedExceptions() >= 3);
  // As if it had not moved yet: the entry is there, the window has it as well.
  fixture.Send(1);
  const auto newest = fixture.Take(*theirs, 1);
  REQUIRE(newest.size() == 1);
  ExceptionEntry& entry = table.entry(words.UsedExceptions());
  entry.word.Store(newest[0].word.bits());
  entry.due.Store(0);
  entry.name.Store(newest[0].offset + 1);
  table.used.Store(words.UsedExceptions() + 1);
  cursor.lock.owner.Store(dying.store->liveness().self().word());
  theirs.reset();
  dying.Kill();

  auto window = fixture.WindowOf(fixture.handle);
  fixture.machine.clock.boot_ns += 50'000'000;
  std::vector<uint64_t> offsets;
  for (const HandOut& out : fixture.Take(*window, 16)) {
    offsets.push_back(out.offset);
    CHECK(window->Ack(out.offset, out.word).ok());
  }

  CHECK(offsets == std::vector<uint64_t>{0, 1, 2, newest[0].offset});
  fixture.Take(*window, 16);
  CHECK(!window->HasUnsettled());
}

TEST_CASE("a lease that runs out brings the message back, counted") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(2);
  const auto first = fixture.Take(*window, 2);
  REQUIRE(first.size() == 2);
  CHECK(window->Ack(0, first[0].word).ok());

  fixture.machine.clock.boot_ns += kLeaseNs - 1;
  CHECK(fixture.Take(*window, 2).empty());
  fixture.machine.clock.boot_ns += 1 + kSecondNs / 10;
  const auto again = fixture.Take(*window, 2);

  REQUIRE(again.size() == 1);
  CHECK(again[0].offset == 1);
  CHECK(again[0].word.attempts() == 2);
  // A late ack of the older delivery is refused and changes nothing.
  CHECK(OmsCode(window->Ack(1, first[1].word)) == Code::kReceiptExpired);
  CHECK(OmsCode(window->Nack(1, first[1].word, 1, InGoodTime())) ==
        Code::kReceiptExpired);
  CHECK(window->Ack(1, again[0].word).ok());
  // Settled is settled, whoever says it again.
  CHECK(window->Ack(1, again[0].word).ok());
  CHECK(window->Ack(1, first[1].word).ok());
}

TEST_CASE("what was never handed out cannot be settled") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(3);
  const auto outs = fixture.Take(*window, 1);
  REQUIRE(outs.size() == 1);

  CHECK(OmsCode(window->Ack(2, outs[0].word)) == Code::kReceiptInvalid);
  CHECK(OmsCode(window->Ack(0, DeliveryWord(12345))) == Code::kReceiptInvalid);
  CHECK(OmsCode(window->Nack(1, outs[0].word, 1, InGoodTime())) ==
        Code::kReceiptInvalid);
  CHECK(window->Ack(0, outs[0].word).ok());
}

TEST_CASE("a nack backs off by a second, doubling to a minute") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(1);
  auto outs = fixture.Take(*window, 1);
  REQUIRE(outs.size() == 1);
  uint32_t attempts = 1;
  for (const int64_t seconds : {1, 2, 4, 8, 16, 32, 60, 60, 60}) {
    CAPTURE(seconds);
    CHECK(window->Nack(0, outs[0].word, 0, InGoodTime()).ok());
    fixture.machine.clock.boot_ns += seconds * kSecondNs - 1;
    CHECK(fixture.Take(*window, 1).empty());
    CHECK(!window->MayHave(fixture.machine.clock.BootNs()));
    fixture.machine.clock.boot_ns += 1;
    CHECK(window->MayHave(fixture.machine.clock.BootNs()));
    outs = fixture.Take(*window, 1);
    REQUIRE(outs.size() == 1);
    CHECK(outs[0].word.attempts() == ++attempts);
  }
}

TEST_CASE("a nack with a due time is due then, before what is new") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(2);
  const auto outs = fixture.Take(*window, 2);
  const int64_t now_ns = fixture.machine.clock.BootNs();
  CHECK(window->Nack(0, outs[0].word, now_ns + 5 * kSecondNs, InGoodTime()).ok());
  CHECK(window->Nack(1, outs[1].word, now_ns + 3 * kSecondNs, InGoodTime()).ok());
  // An acknowledged return is refused: it is not with anybody.
  CHECK(OmsCode(window->Ack(0, outs[0].word)) == Code::kReceiptExpired);
  fixture.Send(1);

  fixture.machine.clock.boot_ns += 3 * kSecondNs;
  const auto at_three = fixture.Take(*window, 1);
  REQUIRE(at_three.size() == 1);
  CHECK(at_three[0].offset == 1);
  fixture.machine.clock.boot_ns += 2 * kSecondNs;
  const auto at_five = fixture.Take(*window, 2);
  REQUIRE(at_five.size() == 2);
  CHECK(at_five[0].offset == 0);
  CHECK(at_five[1].offset == 2);
}

TEST_CASE("the leases of a dead owner come back at the next look") {
  Fixture fixture;
  Handle dying = fixture.Join();
  {
    auto theirs = fixture.WindowOf(dying);
    fixture.Send(3);
    const auto outs = fixture.Take(*theirs, 3);
    REQUIRE(outs.size() == 3);
    CHECK(theirs->Ack(1, outs[1].word).ok());
  }
  auto window = fixture.WindowOf(fixture.handle);
  fixture.machine.clock.boot_ns += kSecondNs;
  CHECK(fixture.Take(*window, 3).empty());  // Alive, however idle.

  dying.Kill();
  fixture.machine.clock.boot_ns += 50'000'000;
  CHECK(window->MayHave(fixture.machine.clock.BootNs()));
  const auto outs = fixture.Take(*window, 3);

  REQUIRE(outs.size() == 2);
  CHECK(outs[0].offset == 0);
  CHECK(outs[1].offset == 2);
  CHECK(outs[0].word.attempts() == 2);

  SUBCASE("and once only, though the slot lives again") {
    Handle next = fixture.Join();
    fixture.machine.clock.boot_ns += kSecondNs;
    CHECK(fixture.Take(*window, 3).empty());
    next.Close();
  }
}

TEST_CASE("a slot that was taken again does not keep a dead life's leases") {
  Fixture fixture;
  Handle dying = fixture.Join();
  fixture.Send(1);
  {
    auto theirs = fixture.WindowOf(dying);
    REQUIRE(fixture.Take(*theirs, 1).size() == 1);
  }
  const uint32_t slot = dying.store->liveness().self().slot();
  dying.Kill();
  Handle next = fixture.Join();
  REQUIRE(next.store->liveness().self().slot() == slot);
  fixture.machine.clock.boot_ns += 50'000'000;

  auto window = fixture.WindowOf(next);
  CHECK(fixture.Take(*window, 1).size() == 1);
  next.Close();
}

TEST_CASE("a window whose holder died inside is repaired by its heir") {
  Fixture fixture;
  Handle dying = fixture.Join();
  auto theirs = fixture.WindowOf(dying);
  fixture.Send(4);
  REQUIRE(fixture.Take(*theirs, 3).size() == 3);
  Cursor& cursor = theirs->cursor();
  // It had leased three and not yet said so.
  cursor.next.Store(1);
  cursor.lock.owner.Store(dying.store->liveness().self().word());
  dying.Kill();

  auto window = fixture.WindowOf(fixture.handle);
  fixture.machine.clock.boot_ns += 50'000'000;
  std::vector<uint64_t> offsets;
  for (const HandOut& out : fixture.Take(*window, 8)) {
    offsets.push_back(out.offset);
    CHECK(out.word.attempts() == (out.offset < 3 ? 2 : 1));
  }

  CHECK(offsets == std::vector<uint64_t>{0, 1, 2, 3});
}

TEST_CASE("a message without an index entry is told and skipped") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(5);
  Control& control = fixture.handle.store->control();
  PartitionState& partition =
      *fixture.handle.store->catalog().FindPartition(QueuePartition(1, 0));
  IndexExtent& extent = control.extent(partition.last_extent.Load());
  extent.entries[2].check.Store(extent.entries[2].check.Load() ^ uint64_t{1}
                                                                     << 40);
  std::vector<uint64_t> offsets;
  std::vector<uint64_t> lost;
  for (int look = 0; look < 5; ++look) {
    std::array<HandOut, 8> outs;
    const TakeResult result =
        window->Take(outs.size(), fixture.machine.clock.BootNs(), kLeaseNs,
                     UINT64_MAX, outs.data(), InGoodTime());
    for (size_t n = 0; n < result.count; ++n) {
      offsets.push_back(outs[n].offset);
      CHECK(window->Ack(outs[n].offset, outs[n].word).ok());
    }
    if (result.lost) lost.push_back(*result.lost);
  }

  CHECK(offsets == std::vector<uint64_t>{0, 1, 3, 4});
  CHECK(lost == std::vector<uint64_t>{2});
  CHECK(fixture.Take(*window, 1).empty());
  CHECK(!window->HasUnsettled());
}

TEST_CASE("a damaged word counts as not acknowledged") {
  Fixture fixture;
  auto window = fixture.WindowOf(fixture.handle);
  fixture.Send(1);
  const auto outs = fixture.Take(*window, 1);
  CHECK(window->Ack(0, outs[0].word).ok());
  const uint64_t at = window->cursor().window.Load();
  auto& word = *fixture.handle.store->control().Get<Shared<uint64_t>>(at);
  for (int bit = 0; bit < 64; bit += 9) {
    CAPTURE(bit);
    const DeliveryWord damaged(word.Load() ^ uint64_t{1} << bit);
    // An 8-bit check may miss a change by chance, but none of these.
    CHECK(!damaged.Is(0));
  }
  word.Store(word.Load() ^ 1);
  fixture.machine.clock.boot_ns += kSecondNs;

  CHECK(fixture.Take(*window, 1).size() == 1);
}

// Everything has expired; nothing can be moved until it shall.
class StuckLog final : public RedeliveryLog {
 public:
  absl::Status EnsureExceptions(TimePoint) override {
    return absl::OkStatus();
  }
  absl::Status LogCursor(TimePoint) override { return absl::OkStatus(); }
  absl::Status LogAttempts(uint64_t, std::span<const Attempt>,
                           TimePoint) override {
    return absl::OkStatus();
  }
  bool IsExpired(uint64_t, uint64_t) override { return true; }
  absl::Status MoveDead(const DeadLetter& letter, TimePoint) override {
    ++moves;
    if (stuck) return MakeStatus(Code::kTimeout, "append: not in time");
    // As the record does that is appended.
    const_cast<Shared<uint64_t>*>(letter.word)->Store(
        DeliveryWord::Restored(letter.offset, DeliveryState::kSettled, 0)
            .bits());
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> LogSeek(uint64_t, uint64_t, TimePoint) override {
    return 0;
  }
  absl::Status FinishDead(TimePoint) override { return absl::OkStatus(); }

  int moves = 0;
  bool stuck = true;
};

TEST_CASE("where one expired message cannot be moved the others are not tried") {
  Fixture fixture;
  auto plain = fixture.WindowOf(fixture.handle);
  const auto queue =
      fixture.handle.store->catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  StuckLog log;
  RedeliveryPolicy policy;
  policy.dead_letters = true;
  GroupWindow window(&fixture.handle.store->control(),
                     &fixture.machine.environment,
                     &fixture.handle.store->liveness(),
                     (*queue)->state->partition(0),
                     QueuePartition((*queue)->id, 0), &plain->cursor(), policy,
                     &log);
  Message message = MakeMessage("x");
  message.SetExpireAt(std::chrono::milliseconds(1));
  const std::vector<Message> batch(10, message);
  for (const auto& result : TrySend(fixture.handle.store, batch)) {
    REQUIRE(result.ok());
  }
  const auto look = [&] {
    std::vector<HandOut> outs(16);
    const TakeResult result =
        window.Take(16, fixture.machine.clock.BootNs(), kLeaseNs, UINT64_MAX,
                    outs.data(), InGoodTime());
    CHECK(result.count == 0);
    return OmsCode(result.failure);
  };

  CHECK(look() == Code::kTimeout);
  CHECK(log.moves == 1);
  CHECK_FALSE(window.MayHave(fixture.machine.clock.BootNs()));
  fixture.machine.clock.boot_ns += kSecondNs;
  CHECK(look() == Code::kTimeout);
  CHECK(log.moves == 2);

  log.stuck = false;
  fixture.machine.clock.boot_ns += kSecondNs;
  look();
  CHECK(log.moves == 12);
  look();
  CHECK_FALSE(window.HasUnsettled());
}

TEST_CASE("threads that receive, ack and nack settle each message once") {
  Fixture fixture;
  constexpr int kMessages = 4000;
  constexpr int kThreads = 4;
  std::vector<Handle> handles;
  std::vector<std::unique_ptr<GroupWindow>> windows;
  for (int n = 0; n < kThreads; ++n) {
    handles.push_back(fixture.Join());
    windows.push_back(fixture.WindowOf(handles.back()));
  }
  std::vector<std::atomic<int>> acked(kMessages);
  std::atomic<int> total{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  const TimePoint deadline = InGoodTime();
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&, n] {
      GroupWindow& window = *windows[static_cast<size_t>(n)];
      std::array<HandOut, 8> outs;
      while (total < kMessages && std::chrono::steady_clock::now() < deadline) {
        const TakeResult result =
            window.Take(outs.size(), fixture.machine.clock.BootNs(), kLeaseNs,
                        UINT64_MAX, outs.data(), deadline);
        if (result.lost) ++wrong;
        for (size_t k = 0; k < result.count; ++k) {
          const HandOut& out = outs[k];
          // Each message goes back once; its old receipt is then no good.
          if (out.word.attempts() == 1 && out.offset % 3 == 0) {
            if (!window.Nack(out.offset, out.word, 1, deadline).ok()) ++wrong;
            const Code late = OmsCode(window.Ack(out.offset, out.word));
            // Unless another thread has settled it meanwhile.
            if (late != Code::kReceiptExpired && acked[out.offset] == 0) {
              // That thread counts right after it settles.
              while (acked[out.offset] == 0 &&
                     std::chrono::steady_clock::now() < deadline) {
                std::this_thread::yield();
              }
              if (acked[out.offset] == 0) ++wrong;
            }
            continue;
          }
          if (!window.Ack(out.offset, out.word).ok()) ++wrong;
          if (acked[out.offset].fetch_add(1) != 0) ++wrong;
          ++total;
        }
      }
    });
  }
  for (int sent = 0; sent < kMessages; sent += 40) fixture.Send(40);
  for (auto& thread : threads) thread.join();

  CHECK(wrong == 0);
  CHECK(total == kMessages);
  for (const auto& count : acked) REQUIRE(count == 1);
  CHECK(fixture.Take(*windows[0], 1).empty());
  CHECK(!windows[0]->HasUnsettled());
}

TEST_CASE("a message at durability disk waits for its flush") {
  Fixture fixture;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), fixture.machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "volatile", Durability::kProcess);
  SendOne(handle.store, "on disk");
  auto window = fixture.WindowOf(handle);
  const uint64_t before = MessagesOf(directory.path()).back().header.position;
  std::array<HandOut, 4> outs;

  TakeResult result = window->Take(4, fixture.machine.clock.BootNs(), kLeaseNs,
                                   before, outs.data(), InGoodTime());
  CHECK(result.count == 1);
  CHECK(outs[0].offset == 0);
  CHECK(result.flush_to == before + 1);
  result = window->Take(4, fixture.machine.clock.BootNs(), kLeaseNs, before + 1,
                        outs.data(), InGoodTime());
  CHECK(result.count == 1);
  CHECK(outs[0].offset == 1);
  CHECK(result.flush_to == 0);
}

}  // namespace
}  // namespace openmessaging::reference::group_window_test
