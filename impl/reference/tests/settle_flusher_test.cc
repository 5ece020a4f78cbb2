// SPDX-License-Identifier: Apache-2.0
//
// Settlements that complete when they are durable, without their caller.

#include "settle_flusher.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::settle_flusher_test {
namespace {

using namespace testing;  // The fixture is part of this test.

struct Counts final : driver::SettleCompletion {
  void Settled(size_t, const Receipt&) override { settled.fetch_add(1); }
  void Failed(size_t, absl::Status status) override {
    if (OmsCode(status) == Code::kReceiptExpired) refused.fetch_add(1);
    failed.fetch_add(1);
  }
  std::atomic<int> settled{0};
  std::atomic<int> refused{0};
  std::atomic<int> failed{0};
};

TEST_CASE("settlements complete when the log is durable up to them") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  Log& log = handle.store->log();
  Counts counts;
  SettleFlusher flusher(&log);
  for (int n = 0; n < 20; ++n) {
    SendOne(handle.store, "x", Durability::kProcess);
    SettledBatch batch;
    batch.results = {absl::OkStatus(),
                     MakeStatus(Code::kReceiptExpired, "settle: late")};
    batch.done = &counts;
    batch.position = log.committed();
    flusher.Add(std::move(batch));
  }

  flusher.Stop();

  CHECK(counts.settled == 20);
  CHECK(counts.refused == 20);
  CHECK(counts.failed == 20);
  CHECK(log.durable() == log.committed());
}

TEST_CASE("a flush that fails fails what it was for") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "x", Durability::kProcess);
  Counts counts;
  {
    SettleFlusher flusher(&handle.store->log());
    handle.storage->Kill();
    SettledBatch batch;
    batch.results.resize(3);
    batch.done = &counts;
    batch.position = handle.store->log().committed();
    flusher.Add(std::move(batch));
  }

  CHECK(counts.failed == 3);
  CHECK(counts.settled == 0);
}

TEST_CASE("OMS-REF-015: with ack.sync a caller that does not wait is told") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  driver::ConsumerOptions options;
  options.group = "billing";
  ConsumerSettings settings;
  settings.ack_sync = true;
  Counts counts;
  {
    struct Sink final : driver::DeliverySink {
      void Deliver(Message, const Receipt& receipt) override {
        receipts.push_back(receipt);
      }
      std::vector<Receipt> receipts{};
    } sink;
    ReferenceConsumer consumer(handle.store, options, settings, nullptr);
    REQUIRE(consumer.Bind("orders", {}, InGoodTime()).ok());
    for (int n = 0; n < 8; ++n) SendOne(handle.store, "x");
    REQUIRE(consumer.Receive(8, std::chrono::steady_clock::now(), sink).ok());
    REQUIRE(sink.receipts.size() == 8);
    driver::CallContext context;
    context.deadline = InGoodTime();
    context.caller_waits = false;
    for (const Receipt& receipt : sink.receipts) {
      const driver::Settlement settlement{receipt, driver::Verb::kAck, {}};
      consumer.Settle({&settlement, 1}, context, counts);
    }
    CHECK(consumer.Close(InGoodTime()).ok());
  }

  CHECK(counts.settled == 8);
  CHECK(counts.failed == 0);
  handle.Kill();
  ++machine.clock.boot_hash;
  handle = OpenStore(directory.path(), machine);
  Member again(handle.store, "billing");
  CHECK(again.Take().empty());
}

TEST_CASE("the child of a fork lets go of a thread that it does not have") {
  TempDirectory directory;
  TestMachine machine;
  Handle handle = OpenStore(directory.path(), machine);
  Counts counts;
  SettleFlusher flusher(&handle.store->log());
  SettledBatch batch;
  batch.results.resize(1);
  batch.done = &counts;
  flusher.Add(std::move(batch));

  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);  // Rather than wait for ever.
    flusher.Stop();
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);

  CHECK(status == 0);
  flusher.Stop();
  CHECK(counts.settled == 1);
}

}  // namespace
}  // namespace openmessaging::reference::settle_flusher_test
