// SPDX-License-Identifier: Apache-2.0
//
// No room: messages are refused, everything that gives room back goes on, and
// what comes back is used at once.

#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "faulty_storage.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/reference/check.h"
#include "openmessaging/status.h"
#include "store.h"

namespace openmessaging::reference::testing::disk_full_test {
namespace {

constexpr uint64_t kReserve = 32 << 10;

StoreOptions TightStore() {
  StoreOptions options = SmallStore();
  options.reserve_bytes = kReserve;
  return options;
}

// A store on a disk of a size of its own.
struct TightHouse {
  explicit TightHouse(const StoreOptions& options = TightStore()) {
    Open(options);
    CreateQueue(*store, "orders");
  }

  void Open(const StoreOptions& options = TightStore()) {
    StoreOpenOptions open;
    open.create = options;
    auto opened = Store::Open(storage, &machine.environment, open, InGoodTime());
    REQUIRE_MESSAGE(opened.ok(), opened.status().message());
    store = *std::move(opened);
  }

  absl::Status TrySendOne() {
    const Message message = MakeMessage(std::string(1000, 'x'),
                                        Durability::kProcess);
    return TrySend(store, {&message, 1})[0].status();
  }
  // Sends until it is refused. Returns: how many were stored.
  size_t Fill() {
    for (size_t stored = 0;; ++stored) {
      REQUIRE(stored < 10'000);
      const absl::Status status = TrySendOne();
      if (status.ok()) continue;
      CHECK_MESSAGE(OmsCode(status) == Code::kStorageBusy, status.message());
      CHECK(IsRetriable(status));
      CHECK(OutcomeOf(status) == Outcome::kNotStored);
      return stored;
    }
  }
  // Receives and settles what there is. Returns: how many.
  static size_t Drain(Member& member, size_t& next) {
    const size_t first = next;
    while (true) {
      const auto some = member.Take(16);
      if (some.empty()) return next - first;
      for (size_t n = 0; n < some.size(); ++n) CHECK(member.Ack(next++).ok());
    }
  }

  TestMachine machine;
  TempDirectory directory;
  std::shared_ptr<FaultyStorage> storage =
      std::make_shared<FaultyStorage>(directory.path());
  std::shared_ptr<Store> store;
};

TEST_CASE(
    "OMS-REF-008: on a full disk messages are refused until others are "
    "settled") {
  TightHouse house;
  Member member(house.store, "g");
  size_t next = 0;
  // So that the group has its window before the disk is full.
  REQUIRE(house.TrySendOne().ok());
  REQUIRE(TightHouse::Drain(member, next) == 1);
  const uint64_t room = house.storage->used() + 100'000;
  house.storage->set_room(room);

  // Often, so that a round that kept a little would be seen.
  for (int round = 0; round < 20; ++round) {
    const size_t stored = house.Fill();
    CHECK(stored > 20);
    CHECK(OmsCode(house.TrySendOne()) == Code::kStorageBusy);
    CHECK(house.storage->used() <= room);

    CHECK(TightHouse::Drain(member, next) == stored);
  }

  CHECK(house.TrySendOne().ok());
  CHECK(house.storage->Has("reserve"));
  member.Close();
  CHECK(house.store->Close(InGoodTime()).ok());
  CHECK_FALSE(CheckStore(house.directory.path()).value().damaged());
}

TEST_CASE("space that returns is used without opening the store anew") {
  TightHouse house;
  house.storage->set_room(house.storage->used() + 50'000);
  const size_t stored = house.Fill();

  house.storage->set_room(UINT64_MAX);

  for (int n = 0; n < 100; ++n) CHECK(house.TrySendOne().ok());
  CHECK(AllStored(house.store).size() == stored + 100);
}

TEST_CASE("settling uses the reserve, and leaves retirement its part") {
  TightHouse house;
  Member slow(house.store, "slow");
  Member quick(house.store, "quick");
  size_t quick_next = 0;
  size_t slow_next = 0;
  // So that both have their windows before the disk is full.
  REQUIRE(house.TrySendOne().ok());
  CHECK(TightHouse::Drain(quick, quick_next) == 1);
  CHECK(TightHouse::Drain(slow, slow_next) == 1);
  house.storage->set_room(house.storage->used() + 50'000);
  const size_t stored = house.Fill();
  REQUIRE(house.storage->Has("reserve"));

  // Nothing can be retired as long as the slow group has not received it.
  CHECK(TightHouse::Drain(quick, quick_next) == stored);
  absl::Status logged;
  for (int n = 0; n < 10'000 && logged.ok(); ++n) {
    logged = house.store->LogCursors(true, InGoodTime());
  }

  CHECK(OmsCode(logged) == Code::kStorageBusy);
  CHECK_FALSE(house.storage->Has("reserve"));
  CHECK(OmsCode(house.TrySendOne()) == Code::kStorageBusy);
  CHECK(TightHouse::Drain(slow, slow_next) == stored);
  CHECK(house.TrySendOne().ok());
  CHECK(house.storage->Has("reserve"));
  CHECK(house.store->LogCursors(true, InGoodTime()).ok());
}

TEST_CASE("a store that a crash left on a full disk is opened") {
  TightHouse house;
  {
    // The group's window is there already.
    Member member(house.store, "g");
    size_t next = 0;
    REQUIRE(house.TrySendOne().ok());
    CHECK(TightHouse::Drain(member, next) == 1);
  }
  house.storage->set_room(house.storage->used() + 50'000);
  const size_t stored = house.Fill();
  // A copy is opened as after a power loss that took nothing but what counts
  // for the living.
  CHECK(house.store->log()
            .WaitDurable(house.store->log().committed(), InGoodTime())
            .ok());
  TightHouse copy;
  copy.store.reset();
  copy.directory.CopyFrom(house.directory.path());
  copy.storage = std::make_shared<FaultyStorage>(copy.directory.path());
  // Recovery makes ctl anew, in the old one's room, and needs a segment.
  copy.storage->set_room(copy.storage->used() + 4096);

  copy.Open();

  CHECK(copy.store->open_path() == OpenPath::kCold);
  CHECK_FALSE(copy.storage->Has("reserve"));
  CHECK(OmsCode(copy.TrySendOne()) == Code::kStorageBusy);
  Member member(copy.store, "g");
  size_t next = 0;
  CHECK(TightHouse::Drain(member, next) == stored);
  CHECK(copy.TrySendOne().ok());
  CHECK(copy.storage->Has("reserve"));
}

TEST_CASE("OMS-REF-008: max-bytes bounds the log as a disk does") {
  StoreOptions options = TightStore();
  options.max_bytes = 100'000;
  TightHouse house(options);
  Member member(house.store, "g");
  size_t next = 0;

  for (int round = 0; round < 20; ++round) {
    const size_t stored = house.Fill();
    CHECK(stored > 20);
    CHECK(stored < 100);
    uint64_t bytes = 0;
    for (const std::string& name : SegmentFiles(house.directory.path())) {
      bytes += std::filesystem::file_size(house.directory.path() + "/" + name);
    }
    // Headers are not of the log.
    CHECK(bytes <= options.max_bytes + kReserve +
                       SegmentFiles(house.directory.path()).size() * 4096);
    CHECK(TightHouse::Drain(member, next) == stored);
  }
  CHECK(house.TrySendOne().ok());
}

TEST_CASE("max-bytes leaves retirement its part, too") {
  StoreOptions options = TightStore();
  options.max_bytes = 50'000;
  TightHouse house(options);
  Member slow(house.store, "slow");
  size_t slow_next = 0;
  const size_t stored = house.Fill();
  absl::Status logged;
  for (int n = 0; n < 10'000 && logged.ok(); ++n) {
    CHECK(slow.Take(1).size() <= 1);
    logged = house.store->LogCursors(true, InGoodTime());
  }

  CHECK(OmsCode(logged) == Code::kStorageBusy);
  while (!slow.Take(16).empty()) {
  }
  for (; slow_next < stored; ++slow_next) CHECK(slow.Ack(slow_next).ok());
  CHECK(house.TrySendOne().ok());
}

// Sends delayed messages until one is refused. Returns: how many were stored.
size_t FillDelayed(TightHouse& house) {
  Message message = MakeMessage(std::string(1000, 'x'), Durability::kProcess);
  message.SetDelay(std::chrono::seconds(1));
  for (size_t stored = 0;; ++stored) {
    REQUIRE(stored < 10'000);
    const absl::Status status = TrySend(house.store, {&message, 1})[0].status();
    if (status.ok()) continue;
    CHECK_MESSAGE(OmsCode(status) == Code::kStorageBusy, status.message());
    return stored;
  }
}

TEST_CASE("a store full of delayed messages empties when they are due") {
  StoreOptions options = TightStore();
  SUBCASE("by max-bytes") { options.max_bytes = 100'000; }
  SUBCASE("by max-bytes, where they are more than the reserve") {
    options.max_bytes = 400'000;
  }
  SUBCASE("by the disk") {}
  TightHouse house(options);
  Member member(house.store, "g");
  size_t next = 0;
  REQUIRE(house.TrySendOne().ok());
  REQUIRE(TightHouse::Drain(member, next) == 1);
  if (options.max_bytes == 0) {
    // So that there is a place where they wait.
    Message first = MakeMessage("x", Durability::kProcess);
    first.SetDelay(std::chrono::milliseconds(1));
    REQUIRE(TrySend(house.store, {&first, 1})[0].ok());
    house.machine.clock.boot_ns.fetch_add(2'000'000);
    REQUIRE(TightHouse::Drain(member, next) == 1);
    house.storage->set_room(house.storage->used() + 50'000);
  }

  for (int round = 0; round < 5; ++round) {
    CAPTURE(round);
    const size_t stored = FillDelayed(house);
    CHECK(stored > 0);
    // On a full disk they come as those before them go, a part at a time.
    size_t came = 0;
    for (int look = 0; look < 20 && came < stored; ++look) {
      house.machine.clock.boot_ns.fetch_add(1'000'000'000);
      came += TightHouse::Drain(member, next);
    }
    CHECK(came == stored);

    CHECK(house.TrySendOne().ok());
    CHECK(TightHouse::Drain(member, next) == 1);
  }
  member.Close();
  CHECK(house.store->Close(InGoodTime()).ok());
  CHECK_FALSE(CheckStore(house.directory.path()).value().damaged());
}

TEST_CASE("a full store tells that a message was damaged while it waited") {
  StoreOptions options = TightStore();
  options.max_bytes = 100'000;
  TightHouse house(options);
  Message message = MakeMessage("waits", Durability::kProcess);
  message.SetDelay(std::chrono::hours(1));
  REQUIRE(TrySend(house.store, {&message, 1})[0].ok());
  size_t stored = house.Fill();
  // To the last byte.
  const Message small = MakeMessage("", Durability::kProcess);
  while (TrySend(house.store, {&small, 1})[0].ok()) ++stored;
  REQUIRE(house.store->Close(InGoodTime()).ok());
  house.store.reset();
  for (const RecordPlace& place : RecordsOf(house.directory.path())) {
    if (place.type() != RecordType::kDelayed) continue;
    FlipBit(house.directory.path() + "/" + place.file,
            place.at + place.bytes() - 1, 1);
  }
  house.Open(options);
  REQUIRE(house.store->open_path() == OpenPath::kClean);

  // Its segment goes with those that are settled.
  Member member(house.store, "g");
  size_t next = 0;
  CHECK(TightHouse::Drain(member, next) == stored);
  CHECK(house.TrySendOne().ok());

  CHECK(member.Take().size() == 1);
  REQUIRE(member.damage().size() == 1);
  CHECK(OmsCode(member.damage()[0]) == Code::kDamaged);
}

TEST_CASE("retirement leaves the last of the reserve to what must be said") {
  TightHouse house;
  ControlHeader& header = house.store->control().header();
  const DelayTable table(&house.store->control());
  // One in each segment but the first; not much of it.
  Message waits = MakeMessage(std::string(3000, 'x'), Durability::kProcess);
  waits.SetDelay(std::chrono::hours(1));
  while (header.append.current.Load() < 4) {
    if (table.count() < header.append.current.Load()) {
      REQUIRE(TrySend(house.store, {&waits, 1})[0].ok());
    } else {
      REQUIRE(house.TrySendOne().ok());
    }
  }
  REQUIRE(table.count() == 3);
  CHECK(house.store->Retirable(1, 4) == 4);

  // What is appended from here on lies in the reserve: a quarter of it is for
  // these, which is enough for two.
  header.catalog.reserved_segment.Store(header.append.current.Load() + 1);

  CHECK(house.store->Retirable(1, 4) == 3);
  header.catalog.reserved_segment.Store(0);
  CHECK(house.store->Retirable(1, 4) == 4);
  // And where it is missing.
  std::filesystem::remove(house.directory.path() + "/reserve");
  CHECK(house.store->Retirable(1, 4) == 3);
}

// A small file system, as long as this object lives.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    REQUIRE(::mkdir(path_.c_str(), 0700) == 0);
    mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0,
                       "size=2m,mode=0700") == 0;
  }
  ~SmallDisk() {
    if (mounted_) CHECK(::umount(path_.c_str()) == 0);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  const std::string path_;
  bool mounted_ = false;
};

TEST_CASE("a real disk fills, is read empty and is written again") {
  TempDirectory directory;
  const std::string path = directory.path() + "/small";
  const SmallDisk disk(path);
  if (!disk.mounted()) {
    MESSAGE("not applicable: this user cannot mount a small file system");
    return;
  }
  const auto bus = MessagingAccessPoint::Connect(
      "oms:file://" + path +
      "/store?first-segment=64KiB&max-segment=256KiB&reserve=64KiB");
  REQUIRE_MESSAGE(bus.ok(), bus.status().message());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
  auto producer =
      bus->CreateProducer({.send_timeout = std::chrono::milliseconds(20)});
  REQUIRE(producer.ok());
  auto consumer = bus->CreatePullConsumer();
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("orders").ok());
  const Message message("orders", std::string(4000, 'x'));
  const auto fill = [&] {
    size_t stored = 0;
    while (true) {
      const auto sent = producer->Send(message);
      if (!sent.ok()) {
        CHECK_MESSAGE(OmsCode(sent.status()) == Code::kStorageBusy,
                      sent.status().message());
        CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
        return stored;
      }
      REQUIRE(++stored < 1000);
    }
  };
  const auto drain = [&] {
    size_t received = 0;
    while (true) {
      const auto some =
          consumer->ReceiveBatch(64, std::chrono::milliseconds(20));
      REQUIRE(some.ok());
      if (some->empty()) return received;
      for (const Delivery& delivery : *some) {
        CHECK(delivery.Ack().ok());
        ++received;
      }
    }
  };

  // A group's first message gives it a window in ctl, for which it is too late
  // on a full disk.
  REQUIRE(producer->Send(message).ok());
  CHECK(drain() == 1);
  for (int round = 0; round < 3; ++round) {
    const size_t stored = fill();
    CHECK(stored > 100);
    CHECK(drain() == stored);
  }
  // Another program's file takes the room that the housekeeper gave back, and
  // gives it back in turn.
  constexpr uintmax_t kOthers = 800'000;
  const auto patience =
      std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::filesystem::space(path).available < kOthers) {
    REQUIRE(std::chrono::steady_clock::now() < patience);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const std::string other = path + "/other";
  std::ofstream(other) << std::string(kOthers, 'x');
  REQUIRE(std::filesystem::file_size(other) == kOthers);
  const size_t between = fill();
  std::filesystem::remove(other);
  const auto last = producer->Send(message);
  CHECK_MESSAGE(last.ok(), last.status().message());
  CHECK(drain() == between + 1);
}

}  // namespace
}  // namespace openmessaging::reference::testing::disk_full_test
