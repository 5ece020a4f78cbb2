// SPDX-License-Identifier: Apache-2.0

#include "probes.h"

#include <utility>
#include <vector>

#include "driver_client.h"

namespace openmessaging::conformance {
namespace {

using driver::Verb;
using internal::Concat;

// Requires 1600, soon.
void RequireRefused(const Context& t, const absl::Status& status,
                    steady_clock::time_point start, std::string_view what) {
  RequireCode(status, Code::kUnsupported,
              Concat(what, ", which is not declared"));
  Require(Since(start) < t.late(), what, " was refused after ",
          Since(start).count(), " ms; expected at once");
}

std::string Seen(std::string_view what) {
  return Concat(what, " answers 1600 at once and has no effect");
}

// --- sends ---

std::string ProbeSend(Context& t, std::string_view queue,
                      const Message& message, std::string_view what) {
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();

  const auto start = steady_clock::now();
  RequireRefused(t, producer.Send(message).status(), start, what);

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {},
               Concat(what, " was refused, so nothing is stored"));
  return Seen(what);
}

// --- settlements ---

absl::Status SettleWith(const Delivery& delivery, Verb verb) {
  constexpr milliseconds kSome{1000};
  switch (verb) {
    case Verb::kAckUpTo:
      return delivery.AckUpTo();
    case Verb::kNack:
      return delivery.Nack();
    case Verb::kNackDelay:
      return delivery.Nack(milliseconds(0));
    case Verb::kReject:
      return delivery.Reject();
    default:
      return delivery.Extend(kSome);
  }
}

std::string ProbeVerb(Context& t, std::string_view queue, Verb verb,
                      std::string_view what) {
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.Send(queue, "kept");
    const Delivery delivery = t.Take(consumer);

    const auto start = steady_clock::now();
    RequireRefused(t, SettleWith(delivery, verb), start, what);

    RequireOk(delivery.Ack(), "acknowledge after the refusal");
    RequireEqual(t.TakeUntilSentinel(consumer, queue), {},
                 Concat(what, " was refused, so it settles nothing"));
  }
  return Seen(what);
}

// --- clients ---

std::string ProbeBind(Context& t, std::string_view queue,
                      const PullConsumerOptions& options,
                      const BindOptions& bind, std::string_view what) {
  PullConsumer consumer =
      Must(t.bus().CreatePullConsumer(options), "create consumer");

  const auto start = steady_clock::now();
  RequireRefused(t, consumer.Bind(queue, bind), start, what);

  RequireEqual(consumer.bound_queues(), {},
               Concat(what, " was refused, so nothing is bound"));
  return Seen(what);
}

std::string ProbeRequest(Context& t, std::string_view queue) {
  constexpr std::string_view kWhat = "a request";
  Requester requester = Must(t.bus().CreateRequester(), "create requester");
  const auto start = steady_clock::now();
  RequireRefused(t, requester.Request(Message(queue, "request")).status(),
                 start, kWhat);
  return Seen(kWhat);
}

template <typename Operation>
std::string ProbeCall(const Context& t, std::string_view what,
                      Operation operation) {
  const auto start = steady_clock::now();
  RequireRefused(t, operation(), start, what);
  return Seen(what);
}

Message Plain(std::string_view queue) { return Message(queue, "refused"); }

std::string ProbePrepare(const Context& t, std::string_view queue) {
  ProducerOptions options;
  options.group = "probe";
  options.check = [](const Message&) { return TransactionState::kRollback; };
  Producer producer = t.NewProducer(options);
  return ProbeCall(t, "preparing a message", [&] {
    return producer.Prepare(Plain(queue)).status();
  });
}

// What only consumers and resources can be asked for.
std::string ProbeOther(Context& t, std::string_view queue,
                       Capability capability) {
  ResourceManager resources = t.resources();
  switch (capability) {
    case Capability::kBroadcast:
      return ProbeBind(t, queue, {.broadcast = true}, {}, "broadcast");
    case Capability::kExclusive:
      return ProbeBind(t, queue, {.exclusive = true}, {}, "exclusive");
    case Capability::kKeyOrder:
      return ProbeBind(t, queue, {.ordered = true}, {}, "ordered");
    case Capability::kFilter:
      return ProbeBind(t, queue, {}, {.filter = "a = 1"}, "a filter");
    case Capability::kStream:
      return ProbeCall(t, "a stream reader", [&] {
        return t.bus().CreateStreamReader(queue, 0).status();
      });
    case Capability::kSeek:
      return ProbeCall(t, "seeking a group", [&] {
        return resources.SeekGroup(queue, "any", StreamPosition::Offset(0), 0);
      });
    case Capability::kDelayCancel:
      return ProbeCall(t, "cancelling a delayed message", [&] {
        Producer producer = t.NewProducer();
        return producer.CancelDelayed(queue, t.Send(queue, "x").message_id);
      });
    case Capability::kRequestReply:
      return ProbeRequest(t, queue);
    case Capability::kAdmin:
      return ProbeCall(t, "creating a queue", [&] {
        return resources.CreateQueue(t.NewName());
      });
    case Capability::kNamespaces:
      return ProbeCall(t, "creating conf://queue, in a namespace", [&] {
        return resources.CreateQueue(
            Concat("conf://", std::string_view(t.NewName())));
      });
    case Capability::kTransactionCheck:
      return ProbePrepare(t, queue);
    case Capability::kStats:
      return ProbeCall(t, "asking for stats",
                       [&] { return resources.Stats(queue).status(); });
    default:
      return {};
  }
}

// --- past the library, which would refuse ---

// Returns: whether the driver gives a message back when asked with `verb`.
bool DriverGivesBack(Context& t, std::string_view queue, Verb verb) {
  DriverClient client(t);
  driver::ConsumerOptions options;
  options.group = "under-claim";
  options.lease = milliseconds(60000);
  driver::Consumer& consumer = client.NewConsumer(options);
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  t.Send(queue, "under-claim");
  Deliveries first;
  RequireOk(consumer.Receive(1, t.Soon(), first), "receive");
  if (first.all.empty()) return false;
  const driver::Settlement one{first.all[0].second, verb, milliseconds(0)};
  if (!client.Settle(consumer, one).ok()) return false;
  Deliveries again;
  (void)consumer.Receive(1, steady_clock::now() + t.late() / 2, again);
  return !again.all.empty();
}

// Returns: whether a message with a delay is kept that long.
bool DriverDelays(Context& t, std::string_view queue) {
  constexpr milliseconds kDelay{150};
  DriverClient client(t);
  PullConsumer consumer = t.NewConsumer(queue);
  const Message message =
      Message(queue, "under-claim").SetDelay(kDelay);
  const auto start = steady_clock::now();
  if (!client.Send(client.NewProducer(), {&message, 1})[0].status.ok()) {
    return false;
  }
  const Delivery got = t.Take(consumer);
  RequireOk(got.Ack(), "acknowledge");
  return Since(start) >= kDelay;
}

// Returns: whether the second of two messages of one id is told a duplicate.
bool DriverDeduplicates(Context& t, std::string_view queue) {
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  const Message message = Message(queue, "x").SetDeduplicationId("id");
  const auto first = client.Send(producer, {&message, 1});
  const auto second = client.Send(producer, {&message, 1});
  return first[0].status.ok() && second[0].status.ok() &&
         second[0].sent.duplicate;
}

// Returns: whether a binding with a filter filters.
bool DriverFilters(Context& t, std::string_view queue) {
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  if (!consumer.Bind(queue, {.filter = "a = 1"}, t.Soon()).ok()) return false;
  t.Send(queue, "left out");
  Deliveries got;
  (void)consumer.Receive(1, steady_clock::now() + t.late() / 2, got);
  return got.all.empty();
}

}  // namespace

void ProbeUnderClaim(Context& t, std::string_view queue,
                     Capability capability) {
  bool can = false;
  switch (capability) {
    case Capability::kNack:
      can = DriverGivesBack(t, queue, Verb::kNack);
      break;
    case Capability::kNackDelay:
      can = DriverGivesBack(t, queue, Verb::kNackDelay);
      break;
    case Capability::kDelay:
      can = DriverDelays(t, queue);
      break;
    case Capability::kDeduplication:
      can = DriverDeduplicates(t, queue);
      break;
    case Capability::kFilter:
      can = DriverFilters(t, queue);
      break;
    default:
      break;
  }
  Require(!can, Name(capability),
          " is declared unsupported, yet the driver does it when it is asked");
}

std::string ProbeUnsupported(Context& t, std::string_view queue,
                             Capability capability) {
  switch (capability) {
    case Capability::kCumulativeAck:
      return ProbeVerb(t, queue, Verb::kAckUpTo, "a cumulative ack");
    case Capability::kNack:
      return ProbeVerb(t, queue, Verb::kNack, "a nack");
    case Capability::kNackDelay:
      return ProbeVerb(t, queue, Verb::kNackDelay, "a nack with a delay");
    case Capability::kReject:
      return ProbeVerb(t, queue, Verb::kReject, "a reject");
    case Capability::kExtend:
      return ProbeVerb(t, queue, Verb::kExtend, "an extension");
    case Capability::kExplicitPartition:
      return ProbeSend(t, queue, Plain(queue).SetPartition(0), "a partition");
    case Capability::kDelay:
      return ProbeSend(t, queue, Plain(queue).SetDelay(milliseconds(50)),
                       "a delay");
    case Capability::kExpiry:
      return ProbeSend(
          t, queue,
          Plain(queue).SetExpireAt(WallNow() + std::chrono::hours(1)),
          "an expiry");
    case Capability::kPriority:
      return ProbeSend(t, queue, Plain(queue).SetPriority(9), "a priority");
    case Capability::kDeduplication:
      return ProbeSend(t, queue, Plain(queue).SetDeduplicationId("id"),
                       "a deduplication id");
    default:
      return ProbeOther(t, queue, capability);
  }
}

}  // namespace openmessaging::conformance
