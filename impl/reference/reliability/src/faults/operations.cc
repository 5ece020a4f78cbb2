// SPDX-License-Identifier: Apache-2.0

#include "faults/operations.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "faults/system_calls.h"
#include "openmessaging/reference/check.h"
#include "openmessaging/reference/inspect.h"
#include "store_fixture.h"

namespace openmessaging::reference::faults {
namespace {

// Sends `count` messages that nobody waits for on the disk.
void SendSome(World& world, std::string_view prefix, int count,
              size_t bytes = 8) {
  for (int n = 0; n < count; ++n) {
    std::string body = std::string(prefix) + std::to_string(n);
    body.resize(std::max(body.size(), bytes), '.');
    world.Send(body, Durability::kProcess);
  }
}

void Nothing(World&) {}

// Three messages, one of them acknowledged, one on the disk.
void MakeUsed(World& world) {
  world.Make();
  SendSome(world, "old ", 2);
  world.Send("on disk", Durability::kDisk);
  world.Receive(1);
  world.Ack();
}

void MakeClosed(World& world) {
  MakeUsed(world);
  world.CloseAll();
}

void MakeShared(World& world) {
  MakeUsed(world);
  world.OpenSecond();
}

// As MakeUsed, by a process that was killed.
void MakeKilled(World& world) {
  World::InKilledChild([&] { MakeUsed(world); });
  world.SetFate("old 0...", Fate::kGone);
  for (const char* const body : {"old 1...", "on disk"}) {
    world.SetFate(body, Fate::kThere);
  }
  for (const char* const queue : {World::kQueue, World::kDeadQueue}) {
    world.SetQueue(queue, Fate::kThere);
  }
}

void MakeRobbed(World& world) {
  MakeKilled(world);
  std::filesystem::remove(world.path() + "/ctl");
}

// As MakeUsed, and then a flush failed.
void MakePoisoned(World& world) {
  MakeUsed(world);
  SendSome(world, "more ", 30, 1000);
  OnFlush(
      [](std::string_view file) { return file.ends_with(".seg") ? EIO : 0; });
  world.Send("unlucky", Durability::kDisk);
  OnFlush({});
  world.CloseAll();
}

void MakeFull(World& world) {
  world.Make();
  SendSome(world, "old ", 20, 1000);
}

void MakeHeld(World& world) {
  MakeUsed(world);
  world.Receive(2);
}

// Several segments of which nothing is needed any more, but no look yet.
void MakeRetirable(World& world) {
  world.Make();
  SendSome(world, "old ", 60, 1000);
  for (int n = 0; n < 8; ++n) {
    world.Receive(16);
    world.Ack();
  }
}

void MakeLarge(World& world) {
  world.Make();
  world.Send(std::string(9000, 'a'), Durability::kProcess);
}

void Join(World& world) {
  auto bus = MessagingAccessPoint::Connect(world.Url());
  world.Saw("connect", bus.status());
  if (!bus.ok()) return;
  const auto queues = bus->resource_manager().ListQueues();
  world.Saw("list queues", queues.status());
}

void SendBatch(World& world) {
  std::vector<std::string> bodies;
  for (int n = 0; n < 20; ++n) bodies.push_back("new " + std::to_string(n));
  world.Send(bodies, Durability::kDisk);
}

void SendRolling(World& world) {
  SendSome(world, "new ", 30, 1000);
  world.Send("last", Durability::kDisk);
}

void SendAsync(World& world) {
  std::vector<Future<SendResult>> futures;
  for (int n = 0; n < 4; ++n) {
    Message message(World::kQueue, "async " + std::to_string(n));
    message.SetDurability(Durability::kDisk);
    world.SetFate(std::string(message.body()), Fate::kEither);
    futures.push_back(world.producer().SendAsync(message));
  }
  for (size_t n = 0; n < futures.size(); ++n) {
    const auto sent = futures[n].Await();
    world.Saw("send without waiting", sent.status());
    if (sent.ok()) {
      world.SetFate("async " + std::to_string(n), Fate::kThere);
    }
  }
}

void NackAndReceive(World& world) {
  world.Nack();
  world.Receive(4);
  world.Ack();
}

void Retire(World& world) {
  world.Send("new", Durability::kDisk);
  SendSome(world, "more ", 30, 1000);
}

void Administer(World& world) {
  world.CreateQueue("another");
  auto manager = world.bus().resource_manager();
  QueueUpdate update;
  update.max_deliveries = 9;
  world.Saw("update queue", manager.UpdateQueue(World::kQueue, update));
  world.Saw("stats", manager.Stats(World::kQueue).status());
  world.Saw("list groups", manager.ListGroups(World::kQueue).status());
  world.DeleteQueue("another");
}

void Look(World& world) {
  const auto report = CheckStore(world.path());
  world.Saw("check", report.status());
  if (report.ok() && report->damaged()) {
    world.Saw("check", MakeStatus(Code::kDamaged,
                                  "check: a sound store is "
                                  "called damaged: ",
                                  std::string_view(report->ToText())));
  }
  world.Saw("inspect", InspectStore(world.path()).status());
}

void Stream(World& world) {
  auto reader = world.bus().CreateStreamReader(World::kQueue, 0,
                                               StreamPosition::Earliest());
  world.Saw("create stream reader", reader.status());
  if (!reader.ok()) return;
  world.Saw("read", reader->Read(8, milliseconds(0)).status());
}

void SendAtDisk(World& world) { world.Send("new", Durability::kDisk); }
void SendAtProcess(World& world) { world.Send("new", Durability::kProcess); }
void SendLarge(World& world) {
  world.Send(std::string(9000, 'b'), Durability::kDisk);
}
void FlushLarge(World& world) {
  world.Send(std::string(9000, 'c'), Durability::kProcess);
  world.Send("new", Durability::kDisk);
}
void ReceiveLarge(World& world) {
  world.Receive(4);
  world.Ack();
}
void ReceiveAndAck(World& world) {
  world.Receive(4);
  world.Ack();
}
void RejectHeld(World& world) { world.Reject(); }
void Commit(World& world) {
  world.Prepare("prepared", TransactionState::kCommit);
}
void Rollback(World& world) {
  world.Prepare("prepared", TransactionState::kRollback);
}
void Close(World& world) { world.CloseAll(); }
void Open(World& world) { world.Connect(); }
void Create(World& world) {
  world.Connect();
  if (world.has_bus()) world.CreateQueue(World::kQueue);
}
void DeleteQueue(World& world) { world.DeleteQueue(World::kQueue); }

constexpr auto kOperations = std::to_array<Operation>({
    {"create store", Nothing, Create},
    {"open clean", MakeClosed, Open},
    {"open joined", MakeUsed, Join},
    {"open warm", MakeKilled, Open},
    {"open cold", MakeRobbed, Open, "", true},
    {"open poisoned", MakePoisoned, Open, "", true},
    {"send at process", MakeShared, SendAtProcess},
    {"send at disk", MakeShared, SendAtDisk},
    {"send batch", MakeShared, SendBatch},
    {"send async", MakeShared, SendAsync},
    {"send large", MakeShared, SendLarge},
    {"flush large", MakeShared, FlushLarge},
    {"roll segment", MakeFull, SendRolling},
    {"receive and ack", MakeShared, ReceiveAndAck, "", false, true},
    {"receive large", MakeLarge, ReceiveLarge, "", false, true},
    {"ack with ack.sync", MakeShared, ReceiveAndAck, "&ack.sync=on", false,
     true},
    {"nack and receive", MakeHeld, NackAndReceive, "", false, true},
    {"reject", MakeHeld, RejectHeld, "", false, true},
    {"prepare and commit", MakeShared, Commit},
    {"prepare and roll back", MakeShared, Rollback},
    {"retire segments", MakeRetirable, Retire},
    {"create and delete queues", MakeUsed, Administer},
    {"delete queue", MakeUsed, DeleteQueue, "", false, true},
    {"stream", MakeUsed, Stream},
    {"check and inspect", MakeClosed, Look},
    {"close last", MakeUsed, Close},
    {"close held", MakeHeld, Close},
});

}  // namespace

std::span<const Operation> AllOperations() { return kOperations; }

}  // namespace openmessaging::reference::faults
