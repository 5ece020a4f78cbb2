// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/local_transaction.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/producer.h"
#include "openmessaging/pull_consumer.h"
#include "openmessaging/push_consumer.h"

namespace openmessaging::local_transaction_test {
namespace {

using fake::AllBut;
using fake::Busy;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;

using Bodies = std::vector<std::string>;

// A broker with what comes in and what goes out, and one delivery.
struct Shop : World {
  Shop() {
    broker->AddQueue("bills");
    REQUIRE(producer.Send(Message("orders", "apples")).ok());
  }
  Delivery Take() {
    auto delivery = consumer.Receive(milliseconds(5000));
    REQUIRE(delivery.ok());
    REQUIRE(delivery->has_value());
    return **delivery;
  }
  bool NothingDone() {
    return broker->bodies("bills").empty() && broker->unsettled("orders") == 1;
  }

  Producer producer = MakeProducer();
  PullConsumer consumer = MakeConsumer();
};

TEST_CASE("OMS-TX-009: sends and acknowledgements take effect together") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    absl::Status status = tx.Send(Message("bills", "first"));
    status.Update(tx.Send(Message("bills", "second")));
    status.Update(tx.Ack(delivery));
    CHECK(shop.NothingDone());
    return status;
  });

  REQUIRE_MESSAGE(sent.ok(), sent.status().message());
  REQUIRE(sent->size() == 2);
  CHECK((*sent)[0].offset == 0);
  CHECK((*sent)[1].offset == 1);
  CHECK(shop.broker->bodies("bills") == Bodies{"first", "second"});
  CHECK(shop.broker->unsettled("orders") == 0);
  CHECK(shop.broker->counts().commits == 1);
}

TEST_CASE("OMS-TX-009: a function that fails leaves nothing behind") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Send(Message("bills", "42")).ok());
    CHECK(tx.Ack(delivery).ok());
    return MakeStatus(Code::kIllegalState, "bill: no such customer");
  });

  CHECK(sent.status().message() == "bill: no such customer");
  CHECK(shop.NothingDone());
  CHECK(shop.broker->counts().commits == 0);
  CHECK(delivery.Ack().ok());
}

TEST_CASE("OMS-TX-009: a function that throws leaves nothing behind") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent =
      shop.producer.Transact([&](LocalTransaction& tx) -> absl::Status {
        CHECK(tx.Send(Message("bills", "42")).ok());
        CHECK(tx.Ack(delivery).ok());
        throw std::runtime_error("no such customer");
      });

  CHECK(OmsCode(sent.status()) == Code::kCancelled);
  CHECK(shop.NothingDone());
}

TEST_CASE("OMS-TX-009: a refused call dooms the transaction") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Send(Message("bills", "42")).ok());
    CHECK(OmsCode(tx.Send(Message("", "nowhere"))) == Code::kBadParameter);
    CHECK(OmsCode(tx.Ack(Receipt())) == Code::kReceiptInvalid);
    CHECK(tx.Ack(delivery).ok());
    return absl::OkStatus();
  });

  CHECK(OmsCode(sent.status()) == Code::kBadParameter);
  CHECK(shop.NothingDone());
}

TEST_CASE("OMS-TX-009: what the broker refuses is refused as a whole") {
  Shop shop;
  const Delivery delivery = shop.Take();
  const auto commit = [&] {
    return shop.producer
        .Transact([&](LocalTransaction& tx) {
          CHECK(tx.Send(Message("bills", "42")).ok());
          return tx.Ack(delivery);
        })
        .status();
  };

  SUBCASE("a message that was settled otherwise") {
    REQUIRE(delivery.Ack().ok());

    CHECK(OmsCode(commit()) == Code::kTransactionConflict);

    CHECK(shop.broker->bodies("bills").empty());
  }
  SUBCASE("a message that was given back") {
    REQUIRE(delivery.Nack().ok());

    CHECK(OmsCode(commit()) == Code::kReceiptExpired);

    CHECK(shop.NothingDone());
  }
  SUBCASE("a broker that fails") {
    shop.broker->Set([](Script& script) {
      script.commit_failures = {MakeStatus(Code::kStorageError, "disk")};
    });

    CHECK(OmsCode(commit()) == Code::kStorageError);

    CHECK(shop.NothingDone());
    CHECK(shop.broker->counts().commits == 1);
  }
}

TEST_CASE("OMS-PROD-010: a commit that was not carried out is tried again") {
  Shop shop;
  shop.broker->Set([](Script& script) {
    script.commit_failures = {Busy(), Busy()};
  });
  int runs = 0;

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    ++runs;
    return tx.Send(Message("bills", "42"));
  });

  CHECK(sent.ok());
  CHECK(runs == 1);
  CHECK(shop.broker->counts().commits == 3);
  CHECK(shop.broker->bodies("bills") == Bodies{"42"});
}

TEST_CASE("OMS-TX-010: past its timeout a transaction fails") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact(
      [&](LocalTransaction& tx) {
        CHECK(tx.Send(Message("bills", "42")).ok());
        CHECK(tx.Ack(delivery).ok());
        std::this_thread::sleep_for(milliseconds(60));
        return absl::OkStatus();
      },
      {.timeout = milliseconds(50)});

  CHECK(OmsCode(sent.status()) == Code::kTimeout);
  CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
  CHECK_FALSE(IsRetriable(sent.status()));
  CHECK(shop.NothingDone());
}

TEST_CASE("OMS-TX-010: a timeout is a millisecond at least") {
  Shop shop;

  const auto sent = shop.producer.Transact(
      [](LocalTransaction& /*tx*/) {
        FAIL("it ran");
        return absl::OkStatus();
      },
      {.timeout = milliseconds(0)});

  CHECK(OmsCode(sent.status()) == Code::kBadParameter);
}

TEST_CASE("OMS-TX-010: stopping the producer aborts what is open") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Send(Message("bills", "42")).ok());
    CHECK(tx.Ack(delivery).ok());
    CHECK(shop.producer.Stop(Soon()) == 0);
    return absl::OkStatus();
  });

  CHECK(OmsCode(sent.status()) == Code::kClosed);
  CHECK(shop.NothingDone());
  CHECK(OmsCode(shop.producer
                    .Transact([](LocalTransaction& /*tx*/) {
                      FAIL("it ran");
                      return absl::OkStatus();
                    })
                    .status()) == Code::kClosed);
}

TEST_CASE("OMS-TX-010: stopping the consumer aborts what it received") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Send(Message("bills", "42")).ok());
    CHECK(tx.Ack(delivery).ok());
    CHECK(shop.consumer.Stop(Soon()) == 0);
    return absl::OkStatus();
  });

  CHECK(OmsCode(sent.status()) == Code::kClosed);
  CHECK(shop.NothingDone());
}

TEST_CASE("OMS-TX-009: a source that was lost meanwhile dooms it") {
  Shop shop;
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Ack(delivery).ok());
    shop.broker->Revoke(1, /*lost=*/true);
    return tx.Send(Message("bills", "42"));
  });

  CHECK(OmsCode(sent.status()) == Code::kReceiptExpired);
  CHECK(shop.NothingDone());
  CHECK(shop.broker->counts().commits == 0);
}

TEST_CASE("OMS-CONS-025: a replaced receipt is good in a transaction") {
  Shop shop;
  shop.broker->Set([](Script& script) { script.new_receipts = true; });
  const Delivery delivery = shop.Take();

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    CHECK(tx.Ack(delivery).ok());
    return delivery.Extend(milliseconds(60000));
  });

  CHECK_MESSAGE(sent.ok(), sent.status().message());
  CHECK(shop.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-TX-009: brokers and queues without transactions say so") {
  Shop shop;
  const auto commit = [&](const char* queue) {
    return OmsCode(shop.producer
                       .Transact([&](LocalTransaction& tx) {
                         return tx.Send(Message(queue, "42"));
                       })
                       .status());
  };
  shop.broker->AddQueue("plain", AllBut({Capability::kTransactionLocal}));

  CHECK(commit("plain") == Code::kUnsupported);
  CHECK(commit("bills") == Code::kOk);
  shop.broker->Set([](Script& script) { script.transactions = false; });
  CHECK(commit("bills") == Code::kUnsupported);
  CHECK(shop.broker->bodies("bills") == Bodies{"42"});
}

TEST_CASE("OMS-TX-009: a delivery of another access point is refused") {
  Shop shop;
  World other;
  Producer there = other.MakeProducer();
  REQUIRE(there.Send(Message("orders", "pears")).ok());
  PullConsumer consumer = other.MakeConsumer();
  const auto delivery = consumer.Receive(milliseconds(5000));
  REQUIRE(delivery.ok());
  REQUIRE(delivery->has_value());

  const auto sent = shop.producer.Transact(
      [&](LocalTransaction& tx) { return tx.Ack(**delivery); });

  CHECK(OmsCode(sent.status()) == Code::kBadParameter);
  CHECK(other.broker->unsettled("orders") == 1);
}

TEST_CASE("OMS-TX-009: a transaction of nothing asks nobody") {
  Shop shop;

  const auto sent = shop.producer.Transact(
      [](LocalTransaction& /*tx*/) { return absl::OkStatus(); });

  REQUIRE(sent.ok());
  CHECK(sent->empty());
  CHECK(shop.broker->counts().commits == 0);
}

TEST_CASE("OMS-TX-009: a receipt is enough") {
  Shop shop;
  const Receipt receipt = shop.Take().receipt();

  const auto sent = shop.producer.Transact(
      [&](LocalTransaction& tx) { return tx.Ack(receipt); });

  CHECK(sent.ok());
  CHECK(shop.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-TX-009: what is changed behind a send does not count") {
  Shop shop;

  const auto sent = shop.producer.Transact([&](LocalTransaction& tx) {
    Message message("bills", "as sent");
    absl::Status status = tx.Send(message);
    message.SetBody("changed");
    return status;
  });

  CHECK(sent.ok());
  CHECK(shop.broker->bodies("bills") == Bodies{"as sent"});
}

TEST_CASE("OMS-TX-009: a listener acknowledges what it owns") {
  Shop shop;
  auto listening = shop.MakePushConsumer();
  absl::Status outcome = MakeStatus(Code::kIllegalState, "it did not run");
  REQUIRE(listening
              .Bind("orders",
                    [&](Delivery delivery) {
                      outcome = shop.producer
                                    .Transact([&](LocalTransaction& tx) {
                                      absl::Status status =
                                          tx.Send(Message("bills", "42"));
                                      status.Update(tx.Ack(delivery));
                                      return status;
                                    })
                                    .status();
                    })
              .ok());
  REQUIRE(listening.Start().ok());
  CHECK(shop.broker->AwaitSettled("orders"));
  CHECK(listening.Stop(Soon()) == 0);

  CHECK_MESSAGE(outcome.ok(), outcome.message());
  CHECK(shop.broker->bodies("bills") == Bodies{"42"});
}

// Notes what it sees.
struct Notes final : ProducerInterceptor, ConsumerInterceptor {
  absl::Status BeforeSend(Message& message) override {
    seen.push_back("before " + std::string(message.body()));
    message.SetBody("stamped");
    return absl::OkStatus();
  }
  void AfterSend(const Message& message,
                 const absl::StatusOr<SendResult>& result) override {
    seen.push_back((result.ok() ? "sent " : "failed ") +
                   std::string(message.body()));
  }
  absl::Status BeforeReceive(Message& /*message*/) override {
    return absl::OkStatus();
  }
  void AfterSettle(const driver::Settlement& /*settlement*/,
                   const absl::Status& outcome) override {
    seen.push_back(outcome.ok() ? "settled" : "not settled");
  }
  std::vector<std::string> seen{};
};

TEST_CASE("OMS-INTC-001: interceptors see what a transaction does") {
  Shop shop;
  const auto notes = std::make_shared<Notes>();
  REQUIRE(shop.producer.AddInterceptor(notes).ok());
  REQUIRE(shop.consumer.AddInterceptor(notes).ok());
  const Delivery delivery = shop.Take();
  const auto transact = [&](const absl::Status& status) {
    return shop.producer
        .Transact([&](LocalTransaction& tx) {
          CHECK(tx.Send(Message("bills", "42")).ok());
          CHECK(tx.Ack(delivery).ok());
          return status;
        })
        .ok();
  };

  CHECK_FALSE(transact(MakeStatus(Code::kIllegalState, "no")));
  CHECK(transact(absl::OkStatus()));

  CHECK(notes->seen == std::vector<std::string>{"before 42", "failed stamped",
                                                "before 42", "sent stamped",
                                                "settled"});
  CHECK(shop.broker->bodies("bills") == Bodies{"stamped"});
}

}  // namespace
}  // namespace openmessaging::local_transaction_test
