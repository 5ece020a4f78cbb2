// SPDX-License-Identifier: Apache-2.0
//
// Members of groups: one that is alone, one that has a group of its own, and
// settlements that no power loss takes back.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::members_test {
namespace {

using namespace testing;  // The fixture is part of this test.

// A store in a directory with the queue "orders".
struct Fixture {
  Fixture() {
    handle = Open();
    CreateQueue(*handle.store, "orders");
  }

  Handle Open() { return OpenStore(directory.path(), machine); }
  std::unique_ptr<Member> Join(const Handle& of,
                               const driver::ConsumerOptions& options,
                               const ConsumerSettings& settings = {}) {
    return std::make_unique<Member>(of.store, options, settings);
  }

  TempDirectory directory{};
  TestMachine machine{};
  Handle handle{};
};

driver::ConsumerOptions Exclusive() {
  driver::ConsumerOptions options;
  options.group = "billing";
  options.exclusive = true;
  return options;
}

driver::ConsumerOptions Broadcast(
    StartPosition start = StartPosition::kEarliest) {
  driver::ConsumerOptions options;
  options.group = "ignored";
  options.broadcast = true;
  options.start = start;
  return options;
}

TEST_CASE("OMS-GRP-016: an exclusive consumer is the only one of its group") {
  Fixture fixture;
  Handle other = fixture.Open();
  auto first = fixture.Join(fixture.handle, Exclusive());
  REQUIRE(first->Bind().ok());
  SendOne(fixture.handle.store, "x");

  driver::ConsumerOptions plain;
  plain.group = "billing";
  for (const Handle* const of : {&fixture.handle, &other}) {
    for (const auto& options : {Exclusive(), plain}) {
      const absl::Status refused = fixture.Join(*of, options)->Bind();
      CHECK(OmsCode(refused) == Code::kConsumerExists);
      CHECK(std::string(refused.message()) ==
            "bind \"orders\": group \"billing\" has an exclusive consumer; "
            "expected to be the only one (exclusive)");
    }
  }
  plain.group = "audit";
  CHECK(fixture.Join(other, plain)->Bind().ok());
  CHECK(first->Take().size() == 1);

  SUBCASE("until it unbinds") { CHECK(first->Unbind().ok()); }
  SUBCASE("until it closes") { first->Close(); }
  SUBCASE("until it dies") {
    first.reset();
    fixture.handle.Kill();
    fixture.machine.clock.boot_ns += 100'000'000;
  }
  auto second = fixture.Join(other, Exclusive());
  REQUIRE(second->Bind().ok());
  CHECK(second->Take().size() == 1);
}

TEST_CASE("OMS-GRP-016: nobody is alone where others are") {
  Fixture fixture;
  Handle other = fixture.Open();
  driver::ConsumerOptions plain;
  plain.group = "billing";
  auto first = fixture.Join(fixture.handle, plain);
  auto second = fixture.Join(fixture.handle, plain);
  REQUIRE(first->Bind().ok());
  REQUIRE(second->Bind().ok());

  for (const Handle* const of : {&fixture.handle, &other}) {
    const absl::Status refused = fixture.Join(*of, Exclusive())->Bind();
    CHECK(OmsCode(refused) == Code::kConsumerExists);
    CHECK(std::string(refused.message()) ==
          "bind \"orders\": group \"billing\" has other consumers; expected to "
          "be the only one (exclusive)");
  }
  // They are in nobody's way, and not in that of another group.
  auto third = fixture.Join(other, plain);
  CHECK(third->Bind().ok());
  driver::ConsumerOptions elsewhere = Exclusive();
  elsewhere.group = "audit";
  CHECK(fixture.Join(other, elsewhere)->Bind().ok());
  third->Close();
  first->Close();
  CHECK(OmsCode(fixture.Join(other, Exclusive())->Bind()) ==
        Code::kConsumerExists);

  SUBCASE("until the last unbinds") { CHECK(second->Unbind().ok()); }
  SUBCASE("until the last closes") { second->Close(); }
  SUBCASE("until the last dies") {
    second.reset();
    first.reset();
    fixture.handle.Kill();
    fixture.machine.clock.boot_ns += 100'000'000;
  }
  SUBCASE("until all die") {
    third.reset();
    second.reset();
    first.reset();
    fixture.handle.Kill();
    other.Kill();
    other = fixture.Open();
    CHECK(other.store->open_path() == OpenPath::kWarm);
  }
  auto alone = fixture.Join(other, Exclusive());
  CHECK(alone->Bind().ok());
  CHECK(OmsCode(fixture.Join(other, plain)->Bind()) == Code::kConsumerExists);
  alone->Close();
  CHECK(fixture.Join(other, plain)->Bind().ok());
}

TEST_CASE("OMS-GRP-017: of those who come at once one is alone or none") {
  Fixture fixture;
  std::vector<Handle> handles;
  for (int n = 0; n < 3; ++n) handles.push_back(fixture.Open());
  driver::ConsumerOptions plain;
  plain.group = "billing";

  for (int round = 0; round < 30; ++round) {
    std::atomic<int> alone{0};
    std::atomic<int> shared{0};
    std::atomic<bool> go{false};
    std::vector<std::unique_ptr<Member>> members(6);
    std::vector<std::thread> threads;
    for (size_t n = 0; n < members.size(); ++n) {
      threads.emplace_back([&, n] {
        const bool exclusive = n % 2 == 0;
        members[n] =
            fixture.Join(handles[n / 2], exclusive ? Exclusive() : plain);
        while (!go) std::this_thread::yield();
        if (members[n]->Bind().ok()) ++(exclusive ? alone : shared);
      });
    }
    go = true;
    for (std::thread& thread : threads) thread.join();

    CHECK(((alone == 1 && shared == 0) || (alone == 0 && shared == 3)));
    for (const auto& member : members) member->Close();
  }
}

TEST_CASE("OMS-GRP-008: everybody who listens alone gets everything") {
  Fixture fixture;
  Handle other = fixture.Open();
  SendOne(fixture.handle.store, "before");
  auto early = fixture.Join(fixture.handle, Broadcast());
  auto late = fixture.Join(other, Broadcast(StartPosition::kLatest));
  auto same = fixture.Join(other, Broadcast(StartPosition::kLatest));
  for (const auto* const member : {&early, &late, &same}) {
    REQUIRE((*member)->Bind().ok());
  }
  SendOne(other.store, "after");

  CHECK(BodiesOf(early->Take()) == std::vector<std::string>{"before", "after"});
  CHECK(BodiesOf(late->Take()) == std::vector<std::string>{"after"});
  CHECK(BodiesOf(same->Take()) == std::vector<std::string>{"after"});
  CHECK(early->Ack(0).ok());
  CHECK(early->Settle(1, driver::Verb::kNackDelay).ok());
  CHECK(early->Take().size() == 1);
  CHECK(late->Take().empty());
  early->Close();
  late->Close();
  same->Close();
}

// How many groups the catalog has, dead members of their own included.
size_t GroupsOf(Store& store) {
  const auto groups = store.catalog().Groups(InGoodTime());
  REQUIRE(groups.ok());
  return groups->size();
}

// Settles as much as a few segments hold, so that the oldest may go.
void Churn(const Handle& handle) {
  Member member(handle.store, "billing");
  size_t settled = 0;
  for (int n = 0; n < 60; ++n) {
    SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
    for ([[maybe_unused]] const Seen& seen : member.Take()) {
      CHECK(member.Ack(settled++).ok());
    }
  }
  member.Close();
}

TEST_CASE("OMS-GRP-009: nothing is kept for a listener that is gone") {
  Fixture fixture;
  Handle other = fixture.Open();
  auto listener = fixture.Join(other, Broadcast());
  REQUIRE(listener->Bind().ok());
  CHECK(GroupsOf(*fixture.handle.store) == 1);
  const std::string first = SegmentFiles(fixture.directory.path()).front();
  Churn(fixture.handle);
  // While it lives all is kept for it.
  CHECK(SegmentFiles(fixture.directory.path()).front() == first);

  SUBCASE("stopped") {
    listener->Close();
    CHECK(GroupsOf(*fixture.handle.store) == 1);
    other.Close();
  }
  SUBCASE("dead") {
    listener.reset();
    other.Kill();
  }
  SUBCASE("dead with all others") {
    listener.reset();
    other.Kill();
    fixture.handle.Kill();
    fixture.handle = fixture.Open();
    CHECK(fixture.handle.store->open_path() == OpenPath::kWarm);
  }
  SUBCASE("dead with all that processes shared") {
    listener.reset();
    other.Kill();
    fixture.handle.Kill();
    std::filesystem::remove(fixture.directory.path() + "/ctl");
    fixture.handle = fixture.Open();
    CHECK(fixture.handle.store->open_path() == OpenPath::kCold);
  }
  SUBCASE("dead, and the store was closed") {
    listener.reset();
    other.Kill();
    fixture.handle.Close();
    fixture.handle = fixture.Open();
    CHECK(fixture.handle.store->open_path() == OpenPath::kClean);
  }
  Churn(fixture.handle);
  fixture.handle.store->Retire();

  CHECK(SegmentFiles(fixture.directory.path()).front() != first);
  CHECK(GroupsOf(*fixture.handle.store) == 1);
}

TEST_CASE("a listener's group survives the retirement of its record") {
  Fixture fixture;
  Handle other = fixture.Open();
  auto listener = fixture.Join(other, Broadcast());
  REQUIRE(listener->Bind().ok());
  size_t settled = 0;
  const std::string first = SegmentFiles(fixture.directory.path()).front();
  for (int round = 0; round < 60; ++round) {
    SendOne(fixture.handle.store, std::string(1000, 'x'), Durability::kProcess);
    for ([[maybe_unused]] const Seen& seen : listener->Take()) {
      CHECK(listener->Ack(settled++).ok());
    }
  }
  CHECK(SegmentFiles(fixture.directory.path()).front() != first);

  // Who joins now reads where it lies by now.
  Handle third = fixture.Open();
  CHECK(GroupsOf(*third.store) == 1);
  listener->Close();
  CHECK(GroupsOf(*third.store) == 0);
}

TEST_CASE("a receiver tells of a stopped process, and not of a busy one") {
  Fixture fixture;
  Handle peer = fixture.Open();
  driver::ConsumerOptions options;
  options.group = "billing";
  ReferenceConsumer consumer(fixture.handle.store, options, {}, nullptr);
  REQUIRE(consumer.Bind("orders", {}, InGoodTime()).ok());
  SendOne(fixture.handle.store, "x");
  struct Sink final : driver::DeliverySink {
    void Deliver(Message, const Receipt&) override { ++count; }
    int count = 0;
  } sink;
  SlotLock catalog(&peer.store->control().header().catalog.lock,
                   &peer.store->liveness(),
                   fixture.machine.environment.waiting);
  REQUIRE(catalog.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);

  const auto now = std::chrono::steady_clock::now();
  CHECK(consumer.Receive(1, now, sink).ok());
  const auto patience = std::chrono::milliseconds(400);
  CHECK(OmsCode(consumer.Receive(
            1, std::chrono::steady_clock::now() + patience, sink)) ==
        Code::kTimeout);
  CHECK(sink.count == 0);
  catalog.Release();

  CHECK(consumer.Receive(1, InGoodTime(), sink).ok());
  CHECK(sink.count == 1);
  REQUIRE(catalog.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);
  CHECK(consumer.Receive(1, now, sink).ok());
  catalog.Release();
  CHECK(consumer.Close(InGoodTime()).ok());
}

TEST_CASE("OMS-REF-015: with ack.sync no power loss takes an ack back") {
  for (const bool ack_sync : {true, false}) {
    CAPTURE(ack_sync);
    Fixture fixture;
    ConsumerSettings settings;
    settings.ack_sync = ack_sync;
    driver::ConsumerOptions options;
    options.group = "billing";
    {
      auto member = fixture.Join(fixture.handle, options, settings);
      REQUIRE(member->Bind().ok());
      for (int n = 0; n < 5; ++n) SendOne(fixture.handle.store, "x");
      REQUIRE(member->Take().size() == 5);
      for (size_t n = 0; n < 4; ++n) CHECK(member->Ack(n).ok());
      // Whatever it appended is on disk.
      const Log& log = fixture.handle.store->log();
      CHECK(log.durable() == log.committed());
    }
    // What only ctl knew is gone.
    fixture.handle.Kill();
    std::filesystem::remove(fixture.directory.path() + "/ctl");
    ++fixture.machine.clock.boot_hash;

    fixture.handle = fixture.Open();
    auto again = fixture.Join(fixture.handle, options, settings);
    REQUIRE(again->Bind().ok());
    CHECK(again->Take().size() == (ack_sync ? 1 : 5));
  }
}

}  // namespace
}  // namespace openmessaging::reference::members_test
