// SPDX-License-Identifier: Apache-2.0
//
// Sends and acknowledgements that take effect together, and the path that
// neither loses nor repeats.

#include <string>
#include <thread>
#include <utility>

#include "context.h"
#include "driver_client.h"
#include "openmessaging/driver/optional.h"
#include "registry.h"

namespace openmessaging::conformance::local_transaction_test {
namespace {

constexpr auto kLocal = Capability::kTransactionLocal;

// Sends `body` to `target` and acknowledges `input` in one transaction.
absl::Status Pass(Producer& producer, const Delivery& input,
                  std::string_view target, std::string_view body) {
  return producer
      .Transact([&](LocalTransaction& transaction) {
        RequireOk(transaction.Send(Message(target, body)), "send");
        return transaction.Ack(input);
      })
      .status();
}

// Moves all of `from`, one transaction each, until nothing is left.
void PassAll(const Context& t, std::string_view from, std::string_view to) {
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(from);
  while (true) {
    auto input = Must(consumer.Receive(milliseconds(300)), "receive");
    if (!input) return;
    RequireOk(Pass(producer, *input, to, (*input)->body()), "a transaction");
  }
}

QueueOptions Window() {
  QueueOptions options;
  options.deduplication_window = milliseconds(60000);
  return options;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-TX-009", kTransaction, kLocal,
                     "sends and acks take effect together or not at all") {
  const std::string from = t.NewQueue();
  const std::string to = t.NewQueue();
  PullConsumer source = t.NewConsumer(from);
  PullConsumer target = t.NewConsumer(to);
  Producer producer = t.NewProducer();
  t.SendAll(from, {"in"});
  const Delivery in = t.Take(source);

  const auto failed = producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(to, "never")), "send");
    RequireOk(transaction.Ack(in), "acknowledge");
    return absl::AbortedError("changed its mind");
  });
  Require(!failed.ok(), "a transaction that failed was committed");
  RequireEqual(t.TakeUntilSentinel(target, to), {}, "what it sent");

  const auto done = Must(producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(to, "one")), "send");
    RequireOk(transaction.Send(Message(to, "two")), "send");
    return transaction.Ack(in);
  }),
                         "a transaction");

  RequireNumber(static_cast<int64_t>(done.size()), 2, "results");
  RequireEqual(t.TakeUntilSentinel(target, to), {"one", "two"},
               "what it sent");
  source.Stop(t.Soon());
  PullConsumer next = t.NewConsumer(from);
  RequireEqual(t.TakeUntilSentinel(next, from), {}, "what it acknowledged");
}

OMS_CONFORMANCE_TEST("OMS-TX-009", kTransaction, kLocal,
                     "a receipt that is no good undoes the sends") {
  const std::string from = t.NewQueue();
  const std::string to = t.NewQueue();
  t.Needs(from, Capability::kNackDelay);
  PullConsumer source = t.NewConsumer(from);
  PullConsumer target = t.NewConsumer(to);
  Producer producer = t.NewProducer();
  t.SendAll(from, {"back", "good"});
  const Delivery back = t.Take(source);
  const Delivery good = t.Take(source);
  RequireOk(back.Nack(milliseconds(0)), "nack");
  const Delivery again = t.Take(source);

  const auto refused = producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(to, "never")), "send");
    RequireOk(transaction.Ack(good), "acknowledge what is good");
    return transaction.Ack(back.receipt());
  });

  RequireCode(refused, Code::kReceiptExpired, "commit with a stale receipt");
  RequireEqual(t.TakeUntilSentinel(target, to), {}, "what it sent");
  // And what was good is not acknowledged.
  RequireOk(again.Ack(), "acknowledge by itself");
  RequireOk(Pass(producer, good, to, "good"), "the next transaction");
  RequireEqual(t.TakeUntilSentinel(target, to), {"good"}, "what that one sent");
}

OMS_CONFORMANCE_TEST("OMS-TX-009", kTransaction, kLocal,
                     "a message that is refused undoes the rest") {
  const std::string from = t.NewQueue();
  const std::string to = t.NewQueue();
  const std::string gone = t.NewName("gone");
  PullConsumer target = t.NewConsumer(to);
  DriverClient client(t);
  auto* const local =
      driver::QueryInterface<driver::LocalTransactions>(client.connection());
  Require(local != nullptr, "it is declared and there is no interface for it");
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(from, {}, t.Soon()), "bind");
  t.Send(from, "in");
  Deliveries got;
  RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
  RequireNumber(static_cast<int64_t>(got.all.size()), 1, "messages");
  const driver::Settlement ack{got.all[0].second, driver::Verb::kAck};

  // Asked past the library, which knows that the queue is not there.
  const std::vector<Message> sends = {Message(to, "first"),
                                      Message(gone, "second")};
  const auto refused = local->CommitLocal(
      sends, {&ack, 1}, {.deadline = t.Soon(), .caller_waits = true});

  RequireCode(refused, Code::kQueueNotFound, "commit to a missing queue");
  RequireEqual(t.TakeUntilSentinel(target, to), {}, "what it sent");
  RequireOk(local
                ->CommitLocal({&sends[0], 1}, {&ack, 1},
                              {.deadline = t.Soon(), .caller_waits = true})
                .status(),
            "commit what is good");
  RequireEqual(t.TakeUntilSentinel(target, to), {"first"}, "what that sent");
  client.Close();
  PullConsumer next = t.NewConsumer(from);
  RequireEqual(t.TakeUntilSentinel(next, from), {}, "what it acknowledged");
}

OMS_CONFORMANCE_TEST("OMS-TX-010", kTransaction, kLocal,
                     "past its timeout a transaction does nothing") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const auto late = producer.Transact(
      [&](LocalTransaction& transaction) {
        RequireOk(transaction.Send(Message(queue, "late")), "send");
        std::this_thread::sleep_for(milliseconds(60));
        return absl::OkStatus();
      },
      {.timeout = milliseconds(30)});
  RequireCode(late, Code::kTimeout, "commit past the timeout");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TX-010", kTransaction, kLocal,
                     "a producer that stops aborts its open transaction") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const auto stopped = producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(queue, "never")), "send");
    producer.Stop(t.Soon());
    return absl::OkStatus();
  });
  RequireCode(stopped, Code::kClosed, "commit after Stop");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TX-013", kTransaction, Capability::kExactlyOnce,
                     "what follows from a message is there once") {
  const std::string from = t.NewQueue(Window());
  const std::string to = t.NewQueue();
  t.Needs(from, Capability::kDeduplication);
  t.Needs(from, kLocal);
  Producer producer = t.NewProducer();
  // A sender that does not know what became of a send repeats it.
  for (int n = 1; n <= 5; ++n) {
    const Message message =
        Message(from, std::to_string(n)).SetDeduplicationId(std::to_string(n));
    for (int i = 0; i < 2; ++i) {
      RequireOk(producer.Send(message).status(), "send");
    }
  }
  // A mover that dies with what it received is replaced by another.
  {
    PullConsumer dies = t.NewConsumer(from);
    const Delivery lost = t.Take(dies);
    RequireText(lost->body(), "1", "what the first mover received");
    const Delivery passed = t.Take(dies);
    RequireOk(Pass(producer, passed, to, passed->body()), "a transaction");
    RequireOk(passed.Ack(), "acknowledge it once more");
  }

  PassAll(t, from, to);

  PullConsumer consumer = t.NewConsumer(to);
  RequireEqual(Sorted(t.TakeUntilSentinel(consumer, to)), Numbers(1, 5),
               "what follows");
}

OMS_CONFORMANCE_TEST("OMS-TX-013", kTransaction, Capability::kExactlyOnce,
                     "of two who pass one message one succeeds") {
  const std::string from = t.NewQueue();
  const std::string to = t.NewQueue();
  t.Needs(from, kLocal);
  t.Needs(from, Capability::kNackDelay);
  PullConsumer source = t.NewConsumer(from);
  PullConsumer target = t.NewConsumer(to);
  Producer producer = t.NewProducer();
  t.Send(from, "in");
  const Delivery first = t.Take(source);
  const Receipt stale = first.receipt();
  RequireOk(first.Nack(milliseconds(0)), "give it back");
  const Delivery second = t.Take(source);

  RequireOk(Pass(producer, second, to, "out"), "the one who has it");
  const auto late = producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(to, "out")), "send");
    return transaction.Ack(stale);
  });

  Require(!late.ok(), "the one who had it before succeeded too");
  RequireEqual(t.TakeUntilSentinel(target, to), {"out"}, "what follows");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-FAIL-010", kResilience,
                             Capability::kExactlyOnce,
                             "restarts along the path lose and repeat nothing") {
  constexpr int kMessages = 6;
  const std::string from = t.NewQueue(Window());
  const std::string to = t.NewQueue();
  t.Needs(from, Capability::kDurable);
  t.Needs(from, kLocal);
  const auto send_all = [&] {
    Producer producer = t.NewProducer();
    for (int n = 1; n <= kMessages; ++n) {
      const std::string text = std::to_string(n);
      RequireOk(producer.Send(Message(from, text).SetDeduplicationId(text))
                    .status(),
                "send");
    }
  };
  send_all();
  {
    Producer producer = t.NewProducer();
    PullConsumer consumer = t.NewConsumer(from);
    for (int n = 0; n < 2; ++n) {
      const Delivery input = t.Take(consumer);
      RequireOk(Pass(producer, input, to, input->body()), "a transaction");
    }
    (void)t.Take(consumer);  // Received and not decided.
  }

  t.Restart();
  send_all();  // Whoever does not know sends again.
  PassAll(t, from, to);

  PullConsumer target = t.NewConsumer(to);
  RequireEqual(Sorted(t.TakeUntilSentinel(target, to)), Numbers(1, kMessages),
               "what follows");
}

}  // namespace openmessaging::conformance::local_transaction_test
