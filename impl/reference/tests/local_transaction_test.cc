// SPDX-License-Identifier: Apache-2.0
//
// Local transactions of the reference driver, as an application sees them.

#include "openmessaging/local_transaction.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::local_transaction_test {
namespace {

using Bodies = std::vector<std::string>;
using Results = absl::StatusOr<std::vector<SendResult>>;

// Queues "orders", "bills", "parcels".
MessagingAccessPoint OpenShop(const std::string& url) {
  MessagingAccessPoint bus = ConnectWith(url, "orders", 2);
  Must(bus.resource_manager().CreateQueue("bills"));
  Must(bus.resource_manager().CreateQueue("parcels", {.partitions = 3}));
  return bus;
}

Results Transact(const MessagingAccessPoint& bus,
                 const std::function<absl::Status(LocalTransaction&)>& work) {
  Producer producer = Must(bus.CreateProducer());
  return producer.Transact(work);
}

// Returns: what is in a queue, seen by a group that nobody used before.
Bodies Stored(const MessagingAccessPoint& bus, std::string_view queue) {
  static int groups = 0;
  PullConsumer consumer =
      Consume(bus, queue, {.group = "look-" + std::to_string(groups++)});
  Bodies bodies = DrainBodies(consumer);
  std::sort(bodies.begin(), bodies.end());
  return bodies;
}

// Returns: how many messages of a group are out.
int64_t UnsettledOf(const MessagingAccessPoint& bus, std::string_view queue,
                    std::string_view group) {
  const QueueStats stats = Must(bus.resource_manager().Stats(queue));
  for (const GroupStats& one : stats.groups) {
    if (one.group == group) return one.lag;
  }
  return -1;
}

TEST_CASE_TEMPLATE("OMS-TX-009: all of a transaction takes effect together",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 6);
  PullConsumer orders = Consume(bus, "orders", {.group = "billing"});
  PullConsumer others = Consume(bus, "orders", {.group = "shipping"});
  std::vector<Delivery> taken;
  for (int n = 0; n < 6; ++n) taken.push_back(Take(orders));
  for (int n = 0; n < 3; ++n) taken.push_back(Take(others));
  PullConsumer bills = Consume(bus, "bills");
  PullConsumer parcels = Consume(bus, "parcels");

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    for (const Delivery& delivery : taken) Must(tx.Ack(delivery));
    Must(tx.Send(Message("bills", "a")));
    Must(tx.Send(Message("parcels", "b").SetPartition(2)));
    Must(tx.Send(Message("bills", "c")));
    CHECK(NothingComes(bills));
    CHECK(UnsettledOf(bus, "orders", "billing") == 6);
    return absl::OkStatus();
  });

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  REQUIRE(sent->size() == 3);
  CHECK((*sent)[0].offset == 0);
  CHECK((*sent)[1].partition == 2);
  CHECK((*sent)[2].offset == 1);
  const Delivery first = Take(bills);
  CHECK(first->body() == "a");
  CHECK(first->message_id() == (*sent)[0].message_id);
  CHECK(Take(bills)->body() == "c");
  CHECK(Take(parcels)->body() == "b");
  CHECK(UnsettledOf(bus, "orders", "billing") == 0);
  CHECK(UnsettledOf(bus, "orders", "shipping") == 3);
  CHECK(NothingComes(orders));
}

TEST_CASE_TEMPLATE("OMS-TX-009: what is not committed leaves nothing", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 1);
  PullConsumer orders = Consume(bus, "orders");
  const Delivery delivery = Take(orders);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Send(Message("bills", "a")));
    Must(tx.Ack(delivery));
    return absl::InternalError("no");
  });

  CHECK(Text(sent.status()) == "no");
  CHECK(Stored(bus, "bills").empty());
  CHECK(delivery.Ack().ok());
  CHECK(UnsettledOf(bus, "orders", "default") == 0);
}

// One that cannot be committed, between others that could.
template <typename Place>
void CheckRefused(const std::function<void(const Delivery&)>& before,
                  Code code) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 5);
  PullConsumer orders =
      Consume(bus, "orders", {.lease = milliseconds(60'000)});
  std::vector<Delivery> taken;
  for (int n = 0; n < 5; ++n) taken.push_back(Take(orders));
  before(taken[2]);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    for (const Delivery& delivery : taken) Must(tx.Ack(delivery));
    return tx.Send(Message("bills", "a"));
  });

  CHECK(OmsCode(sent.status()) == code);
  CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
  CHECK(Stored(bus, "bills").empty());
  // The others are with their receiver as before.
  for (size_t n = 0; n < taken.size(); ++n) {
    if (n == 2) continue;
    CHECK(taken[n].Extend(milliseconds(60'000)).ok());
    CHECK(taken[n].Ack().ok());
  }
}

TEST_CASE_TEMPLATE("OMS-TX-009: one receipt that is no good refuses all", Place,
                   MemoryPlace, FilePlace) {
  SUBCASE("acknowledged") {
    CheckRefused<Place>([](const Delivery& one) { Must(one.Ack()); },
                        Code::kTransactionConflict);
  }
  SUBCASE("given back") {
    CheckRefused<Place>(
        [](const Delivery& one) { Must(one.Nack(milliseconds(60'000))); },
        Code::kReceiptExpired);
  }
}

TEST_CASE_TEMPLATE("OMS-TX-009: the lease of a delivery may run out", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 1);
  PullConsumer orders = Consume(bus, "orders", {.lease = milliseconds(20)});
  const Delivery old = Take(orders);
  const Delivery again = Take(orders);
  CHECK(again->delivery_count() == 2);
  const auto ack = [&](const Delivery& delivery) {
    return OmsCode(Transact(bus, [&](LocalTransaction& tx) {
                     Must(tx.Send(Message("bills", "a")));
                     return tx.Ack(delivery);
                   }).status());
  };

  CHECK(ack(old) == Code::kReceiptExpired);
  CHECK(Stored(bus, "bills").empty());
  // Run out, but with nobody else.
  std::this_thread::sleep_for(milliseconds(30));
  CHECK(ack(again) == Code::kOk);
  CHECK(Stored(bus, "bills") == Bodies{"a"});
}

TEST_CASE_TEMPLATE("OMS-TX-009: a transaction twice is refused as a whole",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 2);
  PullConsumer orders = Consume(bus, "orders");
  const Delivery one = Take(orders);
  const auto move = [&] {
    return OmsCode(Transact(bus, [&](LocalTransaction& tx) {
                     Must(tx.Ack(one));
                     Must(tx.Ack(one.receipt()));  // Again: no harm.
                     return tx.Send(Message("bills", one->body()));
                   }).status());
  };

  CHECK(move() == Code::kOk);
  CHECK(move() == Code::kTransactionConflict);
  CHECK(Stored(bus, "bills").size() == 1);
}

TEST_CASE_TEMPLATE("OMS-TX-009: a message that is refused refuses all", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 1);
  PullConsumer orders = Consume(bus, "orders");
  const Delivery delivery = Take(orders);
  const auto send = [&](const Message& message) {
    return OmsCode(Transact(bus, [&](LocalTransaction& tx) {
                     Must(tx.Ack(delivery));
                     Must(tx.Send(Message("bills", "a")));
                     return tx.Send(message);
                   }).status());
  };

  CHECK(send(Message("missing", "b")) == Code::kQueueNotFound);
  CHECK(send(Message("bills", "b").SetPartition(7)) == Code::kBadParameter);
  CHECK(send(Message("bills", "b").SetPriority(9)) == Code::kUnsupported);

  CHECK(Stored(bus, "bills").empty());
  CHECK(delivery.Ack().ok());
}

TEST_CASE_TEMPLATE("OMS-TX-009: too much for one transaction is refused", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  const auto send = [&](int count, size_t bytes) {
    const std::string body(bytes, 'x');
    return Transact(bus, [&](LocalTransaction& tx) {
      for (int n = 0; n < count; ++n) Must(tx.Send(Message("bills", body)));
      return absl::OkStatus();
    });
  };

  const auto records = send(1025, 1);
  CHECK(OmsCode(records.status()) == Code::kBadParameter);
  CHECK(Text(records.status()).find("limit is 1024") != std::string::npos);
  const auto bytes = send(300, 250'000);
  CHECK(OmsCode(bytes.status()) == Code::kBadParameter);
  CHECK(Text(bytes.status()).find("limit is 67108864") != std::string::npos);
  CHECK(Stored(bus, "bills").empty());
  CHECK(send(1024, 1).ok());
  CHECK(Stored(bus, "bills").size() == 1024);
}

TEST_CASE_TEMPLATE("OMS-TX-009: a thousand are acknowledged at once", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendNumbers(bus, "orders", 1, 1000);
  PullConsumer orders = Consume(bus, "orders");
  std::vector<Delivery> taken;
  while (taken.size() < 1000) taken.push_back(Take(orders));

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    for (const Delivery& delivery : taken) Must(tx.Ack(delivery));
    return tx.Send(Message("bills", "sum"));
  });

  CHECK_MESSAGE(sent.ok(), Text(sent.status()));
  CHECK(UnsettledOf(bus, "orders", "default") == 0);
}

TEST_CASE_TEMPLATE("OMS-TX-009: large bodies and delays are of the transaction",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url("?big-body=1KiB"));
  const std::string large(300'000, 'L');
  const auto send = [&](const absl::Status& end) {
    return Transact(bus, [&](LocalTransaction& tx) {
      Must(tx.Send(Message("bills", large)));
      Must(tx.Send(Message("bills", "later").SetDelay(milliseconds(40))));
      Must(tx.Send(Message("parcels", large)));
      return end;
    });
  };

  CHECK_FALSE(send(absl::InternalError("no")).ok());
  const auto sent = send(absl::OkStatus());

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  CHECK((*sent)[1].offset == -1);
  PullConsumer bills = Consume(bus, "bills");
  CHECK(Take(bills)->body() == large);
  CHECK(Take(bills)->body() == "later");
  CHECK(NothingComes(bills));
  CHECK(Stored(bus, "parcels") == Bodies{large});
}

TEST_CASE_TEMPLATE("OMS-TX-009: many delayed messages find their places", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    for (int n = 0; n < 300; ++n) {
      Must(tx.Send(Message("bills", "x").SetDelay(milliseconds(5))));
    }
    return absl::OkStatus();
  });

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  PullConsumer bills = Consume(bus, "bills");
  for (int n = 0; n < 300; ++n) CHECK(Take(bills)->body() == "x");
}

// A queue "once" whose ids count.
void AddOnce(const MessagingAccessPoint& bus) {
  Must(bus.resource_manager().CreateQueue(
      "once", {.deduplication_window = milliseconds(60'000)}));
}

Message WithId(std::string_view id) {
  return Message("once", id).SetDeduplicationId(id);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: a duplicate drops out of a transaction",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  AddOnce(bus);
  SendNumbers(bus, "orders", 1, 2);
  PullConsumer orders = Consume(bus, "orders");
  const SendResult first = SendOne(bus, WithId("a"));
  const Delivery delivery = Take(orders);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Send(WithId("a")));
    Must(tx.Send(WithId("b")));
    Must(tx.Ack(delivery));
    return tx.Send(Message("bills", std::string(300'000, 'L')));
  });

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  CHECK((*sent)[0].duplicate);
  CHECK((*sent)[0].message_id == first.message_id);
  CHECK((*sent)[0].offset == first.offset);
  CHECK_FALSE((*sent)[1].duplicate);
  CHECK_FALSE((*sent)[2].duplicate);
  CHECK(UnsettledOf(bus, "orders", "default") == 1);
  CHECK(Stored(bus, "once") == Bodies{"a", "b"});
  CHECK(Stored(bus, "bills").size() == 1);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: a transaction of ids may be repeated", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  AddOnce(bus);
  constexpr int kMessages = 150;  // More than a block of the table has room for.
  for (int round = 0; round < 2; ++round) {
    const auto sent = Transact(bus, [&](LocalTransaction& tx) {
      for (int n = 0; n < kMessages; ++n) {
        Must(tx.Send(WithId("id-" + std::to_string(n))));
      }
      return absl::OkStatus();
    });
    REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
    for (const SendResult& one : *sent) CHECK(one.duplicate == (round == 1));
  }

  CHECK(Stored(bus, "once").size() == kMessages);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: one id twice in a transaction is refused",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  AddOnce(bus);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Send(WithId("a")));
    Must(tx.Send(WithId("b")));
    return tx.Send(WithId("a"));
  });

  CHECK(OmsCode(sent.status()) == Code::kBadParameter);
  CHECK(Text(sent.status()).find("messages 1 and 3") != std::string::npos);
  CHECK(Stored(bus, "once").empty());
}

TEST_CASE_TEMPLATE("OMS-PROD-011: exactly once needs an id or a transaction",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  AddOnce(bus);
  Producer producer = Must(bus.CreateProducer());
  Message plain("bills", "a");
  plain.SetQos(Qos::kExactlyOnce);
  Message with_id = WithId("b");
  with_id.SetQos(Qos::kExactlyOnce);

  CHECK(OmsCode(producer.Send(plain).status()) == Code::kBadParameter);
  CHECK(producer.Send(with_id).ok());
  CHECK(Transact(bus, [&](LocalTransaction& tx) { return tx.Send(plain); }).ok());

  CHECK(Stored(bus, "bills") == Bodies{"a"});
  PullConsumer once = Consume(bus, "once");
  CHECK(Take(once)->qos() == Qos::kExactlyOnce);
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: a transaction chooses lanes by priority",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  Must(bus.resource_manager().CreateQueue("urgent", {.priorities = true}));

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Send(Message("urgent", "low").SetPriority(1)));
    return tx.Send(Message("urgent", "high").SetPriority(10));
  });

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  CHECK((*sent)[0].partition == 0);
  PullConsumer urgent = Consume(bus, "urgent");
  const Delivery high = Take(urgent);
  CHECK(high->body() == "high");
  CHECK(Transact(bus, [&](LocalTransaction& tx) { return tx.Ack(high); }).ok());
  CHECK(Take(urgent)->body() == "low");
}

TEST_CASE_TEMPLATE("OMS-ORDER-003: a key that a transaction frees goes on",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  for (const char* const body : {"1", "2"}) {
    SendOne(bus, Message("orders", body).SetMessageKey("k"));
  }
  PullConsumer orders = Consume(bus, "orders", {.ordered = true});
  const Delivery first = Take(orders);
  CHECK(NothingComes(orders));
  std::thread committing([&] {
    std::this_thread::sleep_for(milliseconds(20));
    CHECK(
        Transact(bus, [&](LocalTransaction& tx) { return tx.Ack(first); }).ok());
  });

  // It waits already.
  CHECK(Take(orders)->body() == "2");

  committing.join();
}

TEST_CASE_TEMPLATE("OMS-TX-009: those who wait for a queue are woken", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  PullConsumer bills = Consume(bus, "bills");
  std::thread committing([&] {
    std::this_thread::sleep_for(milliseconds(20));
    CHECK(Transact(bus, [&](LocalTransaction& tx) {
            Must(tx.Send(Message("parcels", "x")));
            return tx.Send(Message("bills", "a"));
          }).ok());
  });

  CHECK(Take(bills)->body() == "a");

  committing.join();
}

TEST_CASE_TEMPLATE("OMS-TX-009: a message of at most once is settled already",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  SendOne(bus, Message("orders", "1").SetQos(Qos::kAtMostOnce));
  PullConsumer orders = Consume(bus, "orders");
  const Delivery delivery = Take(orders);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Ack(delivery));
    return tx.Send(Message("bills", "a"));
  });

  CHECK_MESSAGE(sent.ok(), Text(sent.status()));
}

TEST_CASE("OMS-TX-009: a transaction survives every restart") {
  FilePlace place;
  std::optional<MessagingAccessPoint> bus = OpenShop(place.Url());
  SendNumbers(*bus, "orders", 1, 4);
  {
    PullConsumer orders = Consume(*bus, "orders");
    std::vector<Delivery> taken;
    for (int n = 0; n < 4; ++n) taken.push_back(Take(orders));
    Must(Transact(*bus, [&](LocalTransaction& tx) {
      Must(tx.Ack(taken[1]));
      Must(tx.Ack(taken[3]));
      return tx.Send(Message("bills", "a"));
    }));
  }
  bus.reset();
  bus.emplace(Connect(place.Url()));

  PullConsumer orders = Consume(*bus, "orders");
  CHECK(DrainBodies(orders).size() == 2);
  CHECK(Stored(*bus, "bills") == Bodies{"a"});
  bus.reset();
  CheckSound(place.path());
}

TEST_CASE("OMS-TX-009: receipts of another process are good") {
  FilePlace place;
  const auto here = OpenShop(place.Url());
  const auto there = Connect(place.Url());
  SendNumbers(here, "orders", 1, 1);
  PullConsumer orders = Consume(here, "orders");
  const Receipt receipt = Take(orders).receipt();

  const auto sent = Transact(there, [&](LocalTransaction& tx) {
    Must(tx.Ack(receipt));
    return tx.Send(Message("bills", "a"));
  });

  CHECK_MESSAGE(sent.ok(), Text(sent.status()));
  CHECK(UnsettledOf(here, "orders", "default") == 0);
}

TEST_CASE("OMS-TX-009: receipts of another store are refused") {
  FilePlace place;
  MemoryPlace elsewhere;
  const auto here = OpenShop(place.Url());
  const auto there = OpenShop(elsewhere.Url());
  SendNumbers(there, "orders", 1, 1);
  PullConsumer orders = Consume(there, "orders");
  const Receipt receipt = Take(orders).receipt();

  for (const Receipt& one : {receipt, Receipt(1, "nonsense")}) {
    const auto sent = Transact(here, [&](LocalTransaction& tx) {
      Must(tx.Ack(one));
      return tx.Send(Message("bills", "a"));
    });
    CHECK(OmsCode(sent.status()) == Code::kReceiptInvalid);
  }
  CHECK(Stored(here, "bills").empty());
}

TEST_CASE_TEMPLATE("OMS-TX-009: transactions that cross do not wait for ever",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  constexpr int kEach = 60;
  constexpr int kThreads = 4;
  SendNumbers(bus, "orders", 1, kEach * kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      // Both groups in both partitions.
      PullConsumer a = Consume(bus, "orders", {.group = "a"});
      PullConsumer b = Consume(bus, "orders", {.group = "b"});
      Producer producer = Must(bus.CreateProducer());
      for (int n = 0; n < kEach / 2; ++n) {
        std::vector<Delivery> taken;
        for (PullConsumer* const one : {&b, &a, &b, &a}) {
          taken.push_back(Take(*one));
        }
        const auto sent = producer.Transact([&](LocalTransaction& tx) {
          for (const Delivery& delivery : taken) Must(tx.Ack(delivery));
          return tx.Send(Message("bills", taken[0]->body()));
        });
        CHECK_MESSAGE(sent.ok(), Text(sent.status()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(UnsettledOf(bus, "orders", "a") == 0);
  CHECK(UnsettledOf(bus, "orders", "b") == 0);
  CHECK(Stored(bus, "bills").size() == kThreads * kEach / 2);
}

TEST_CASE_TEMPLATE("OMS-TX-009: a full store takes none of it", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(
      place.Url("?max-bytes=64KiB&first-segment=16KiB&max-segment=16KiB"
                "&producer.send-timeout=100ms"));
  SendNumbers(bus, "orders", 1, 1);
  PullConsumer orders = Consume(bus, "orders");
  const Delivery delivery = Take(orders);

  const auto sent = Transact(bus, [&](LocalTransaction& tx) {
    Must(tx.Ack(delivery));
    for (int n = 0; n < 100; ++n) {
      Must(tx.Send(Message("bills", std::string(1000, 'x'))));
    }
    return absl::OkStatus();
  });

  CHECK(OmsCode(sent.status()) == Code::kStorageBusy);
  CHECK(Stored(bus, "bills").empty());
  CHECK(
      Transact(bus, [&](LocalTransaction& tx) { return tx.Ack(delivery); }).ok());
}

}  // namespace
}  // namespace openmessaging::reference::local_transaction_test
