// SPDX-License-Identifier: Apache-2.0
//
// Local transactions whose messages are routed: copies are of the transaction.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::routed_transaction_test {
namespace {

using Bodies = std::vector<std::string>;

// Queues "in" and "out"; "orders", whose ids count, goes on to "audit" and, if
// it is big, to "big".
MessagingAccessPoint OpenShop(const std::string& url) {
  MessagingAccessPoint bus = Connect(url);
  ResourceManager manager = bus.resource_manager();
  for (const char* const queue : {"in", "out", "audit", "big"}) {
    Must(manager.CreateQueue(queue));
  }
  Must(manager.CreateQueue(
      "orders", {.deduplication_window = milliseconds(60'000)}));
  Must(manager.CreateRoute({"orders", "audit", ""}));
  Must(manager.CreateRoute({"orders", "big", "size > 10"}));
  return bus;
}

Message Order(std::string_view body, int size) {
  Message message("orders", body);
  Must(message.SetProperty("size", size));
  return message;
}

Bodies Stored(const MessagingAccessPoint& bus, std::string_view queue) {
  PullConsumer consumer = Consume(bus, queue, {.group = "look"});
  return DrainBodies(consumer);
}

}  // namespace

TEST_CASE_TEMPLATE("OMS-TX-009, OMS-ROUTE-002: copies are of the transaction",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  Producer producer = Must(bus.CreateProducer());
  SendNumbers(bus, "in", 1, 2);
  PullConsumer in = Consume(bus, "in");
  const std::string large(300'000, 'L');
  const auto carry_on = [&](const Delivery& from, const absl::Status& end) {
    return producer.Transact([&](LocalTransaction& tx) {
      Must(tx.Send(Message("out", "first")));
      Must(tx.Send(Order("small", 1)));
      Must(tx.Send(Order(large, 11)));
      Must(tx.Send(Message("out", "last")));
      Must(tx.Ack(from));
      return end;
    });
  };

  const Delivery first = Take(in);
  CHECK_FALSE(carry_on(first, absl::InternalError("no")).ok());
  for (const char* const queue : {"out", "orders", "audit", "big"}) {
    CHECK(Stored(bus, queue).empty());
  }
  const auto sent = carry_on(first, absl::OkStatus());

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  REQUIRE(sent->size() == 4);
  CHECK(Stored(bus, "out") == Bodies{"first", "last"});
  CHECK(Stored(bus, "orders") == Bodies{"small", large});
  CHECK(Stored(bus, "audit") == Bodies{"small", large});
  PullConsumer big = Consume(bus, "big");
  const Delivery copy = Take(big);
  CHECK(copy->body() == large);
  CHECK(copy->message_id() == (*sent)[2].message_id);
  CHECK(Take(in)->body() == "2");
  CHECK(NothingComes(in));
  // Refused as a whole: the order is acknowledged already.
  CHECK(OmsCode(carry_on(first, absl::OkStatus()).status()) ==
        Code::kTransactionConflict);
  CHECK(Stored(bus, "audit").empty());
}

TEST_CASE_TEMPLATE("OMS-TX-009, OMS-ROUTE-002: a duplicate has its copies",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = OpenShop(place.Url());
  Producer producer = Must(bus.CreateProducer());
  const auto send = [&](const Bodies& ids) {
    return producer.Transact([&](LocalTransaction& tx) {
      for (const std::string& id : ids) {
        Must(tx.Send(Order(id, 11).SetDeduplicationId(id)));
        Must(tx.Send(Message("out", id)));
      }
      return absl::OkStatus();
    });
  };
  REQUIRE(send({"a"}).ok());

  const auto sent = send({"b", "a", "c"});

  REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  REQUIRE(sent->size() == 6);
  for (size_t n = 0; n < sent->size(); ++n) {
    CAPTURE(n);
    CHECK((*sent)[n].duplicate == (n == 2));
  }
  for (const char* const queue : {"orders", "audit", "big"}) {
    CAPTURE(queue);
    CHECK(Stored(bus, queue) == Bodies{"a", "b", "c"});
  }
  CHECK(Stored(bus, "out") == Bodies{"a", "b", "a", "c"});
}

TEST_CASE("OMS-TX-009, OMS-ROUTE-002: copies of a transaction stay") {
  FilePlace place;
  const std::string large(300'000, 'L');
  {
    const auto bus = OpenShop(place.Url());
    Producer producer = Must(bus.CreateProducer());
    const auto sent = producer.Transact([&](LocalTransaction& tx) {
      Must(tx.Send(Order(large, 11)));
      return tx.Send(Order("small", 1));
    });
    REQUIRE_MESSAGE(sent.ok(), Text(sent.status()));
  }
  // From the log alone.
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }

  const auto bus = Connect(place.Url());
  CHECK(Stored(bus, "audit") == Bodies{large, "small"});
  CHECK(Stored(bus, "big") == Bodies{large});
  CheckSound(place.path());
}

}  // namespace openmessaging::reference::routed_transaction_test
