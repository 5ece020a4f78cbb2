// SPDX-License-Identifier: Apache-2.0
//
// Routes: what enters one queue enters others too, wherever it comes from, all
// of it or nothing, and whoever dies.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::routing_test {
namespace {

using Texts = std::vector<std::string>;

// Connects, and makes queues.
MessagingAccessPoint ConnectWithAll(const std::string& url,
                                    const Texts& queues) {
  MessagingAccessPoint bus = Connect(url);
  for (const std::string& queue : queues) {
    Must(bus.resource_manager().CreateQueue(queue));
  }
  return bus;
}

void Lead(const MessagingAccessPoint& bus, std::string_view source,
          std::string_view target, std::string_view filter = {}) {
  Must(bus.resource_manager().CreateRoute(
      {std::string(source), std::string(target), std::string(filter)}));
}

Message Sized(std::string_view queue, int size) {
  Message message(queue, std::to_string(size));
  Must(message.SetProperty("size", size));
  return message;
}

// What is in a queue for a group that nobody used before.
Texts AllIn(const MessagingAccessPoint& bus, std::string_view queue) {
  static std::atomic<int> groups{0};
  PullConsumer consumer =
      Consume(bus, queue, {.group = "all-" + std::to_string(groups++)});
  Texts bodies = DrainBodies(consumer);
  Must(bus.resource_manager().DeleteGroup(
      queue, "all-" + std::to_string(groups - 1)));
  return bodies;
}

Texts Listed(const MessagingAccessPoint& bus, std::string_view source = {}) {
  Texts all;
  for (const Route& route : Must(bus.resource_manager().ListRoutes(source))) {
    all.push_back(route.source + ">" + route.target +
                  (route.filter.empty() ? "" : " if " + route.filter));
  }
  return all;
}

void ForgetDerived(const std::string& path) {
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(path + derived);
  }
}

// Arguments: URL, number. Sends numbers from that on to "orders" until it is
// killed, every third delayed, and says each that was stored.
OMS_ROLE(routing_sender) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  role.Say("ready");
  for (int64_t n = role.number(1);; ++n) {
    Message message("orders", std::to_string(n));
    Must(message.SetProperty("odd", n % 2 == 1));
    if (n % 3 == 0) message.SetDelay(milliseconds(n % 7));
    if (n % 5 == 0) message.SetDurability(Durability::kProcess);
    Must(producer.Send(message).status());
    role.Say(std::to_string(n));
  }
}

// Arguments: URL. Sends the body that it hears to "orders", and says the result.
OMS_ROLE(echo) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  role.Say("ready");
  while (const auto body = role.Hear()) {
    const auto sent = producer.Send(Message("orders", *body));
    role.Say(std::to_string(static_cast<int>(OmsCode(sent.status()))));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("OMS-ROUTE-002: what enters a queue enters its targets too",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "big", "audit"});
  Lead(bus, "orders", "big", "size > 10");
  Lead(bus, "orders", "audit");
  Producer producer = Must(bus.CreateProducer());
  Message message = Sized("orders", 20);
  message.SetMessageKey("k").SetCorrelationId("c").SetReplyTo("back");

  const SendResult sent = Must(producer.Send(message));
  Must(producer.Send(Sized("orders", 5)).status());

  for (const char* const queue : {"orders", "big", "audit"}) {
    CAPTURE(queue);
    PullConsumer consumer = Consume(bus, queue);
    const Delivery delivery = Take(consumer);
    CHECK(delivery->body() == "20");
    CHECK(delivery->destination() == queue);
    CHECK(delivery->message_id() == sent.message_id);
    CHECK(delivery->origin_id() == sent.message_id);
    CHECK(delivery->message_key() == "k");
    CHECK(delivery->correlation_id() == "c");
    CHECK(delivery->reply_to() == "back");
    CHECK(delivery->properties().Get<int32_t>("size").value() == 20);
    CHECK(delivery->offset() == 0);
    CHECK(delivery->delivery_count() == 1);
    CHECK(delivery->born_timestamp() <= delivery->store_timestamp());
    Must(delivery.Ack());
    CHECK(DrainBodies(consumer) ==
          (std::string_view(queue) == "big" ? Texts{} : Texts{"5"}));
  }
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: a message that came from elsewhere keeps its "
                   "origin",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"first", "orders", "copies"});
  Lead(bus, "orders", "copies");
  const SendResult origin = SendOne(bus, Message("first", "x"));
  PullConsumer first = Consume(bus, "first");
  const Delivery delivery = Take(first);
  Message onward = *delivery;
  onward.SetDestination("orders");

  const SendResult sent = SendOne(bus, onward);

  PullConsumer copies = Consume(bus, "copies");
  PullConsumer orders = Consume(bus, "orders");
  const Delivery copy = Take(copies);
  const Delivery source = Take(orders);
  CHECK(copy->message_id() == sent.message_id);
  CHECK(copy->origin_id() == source->origin_id());
  CHECK(copy->born_timestamp() == source->born_timestamp());
  CHECK(sent.message_id != origin.message_id);
}

TEST_CASE_TEMPLATE("OMS-ROUTE-003: routes go on and a queue gets one copy",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus =
      ConnectWithAll(place.Url(), {"orders", "b", "c", "d", "e"});
  Lead(bus, "orders", "b", "size > 1");
  Lead(bus, "orders", "c");
  // Two ways to "d", and a filter that sees where its route begins.
  Lead(bus, "b", "d", "destination = 'b' AND message_id IS NULL");
  Lead(bus, "c", "d", "size > 2");
  Lead(bus, "d", "e", "store_timestamp > 0 AND offset IS NULL");
  for (int size = 1; size <= 3; ++size) SendOne(bus, Sized("orders", size));
  SendOne(bus, Sized("b", 9));

  CHECK(AllIn(bus, "orders") == Texts{"1", "2", "3"});
  CHECK(AllIn(bus, "b") == Texts{"2", "3", "9"});
  CHECK(AllIn(bus, "c") == Texts{"1", "2", "3"});
  CHECK(AllIn(bus, "d") == Texts{"2", "3", "9"});
  CHECK(AllIn(bus, "e") == Texts{"2", "3", "9"});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-001: routes are made listed and ended", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"a", "b", "c"});
  const auto other = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  Producer producer = Must(other.CreateProducer());
  Must(producer.Send(Message("a", "before")).status());
  CHECK(Listed(bus).empty());

  Lead(bus, "b", "c");
  Lead(bus, "a", "c", "size > 1");
  Lead(bus, "a", "b");

  CHECK(Listed(other) == Texts{"a>b", "a>c if size > 1", "b>c"});
  CHECK(Listed(other, "b") == Texts{"b>c"});
  CHECK(Listed(other, "c").empty());
  CHECK(OmsCode(manager.ListRoutes("none").status()) == Code::kQueueNotFound);
  // A producer that has sent there before goes by it at once.
  Must(producer.Send(Message("a", "routed")).status());
  CHECK(AllIn(bus, "b") == Texts{"routed"});
  CHECK(AllIn(bus, "c") == Texts{"routed"});

  Must(manager.DeleteRoute("a", "b"));

  Must(producer.Send(Message("a", "after")).status());
  CHECK(AllIn(bus, "b") == Texts{"routed"});
  const absl::Status gone = manager.DeleteRoute("a", "b");
  CHECK(OmsCode(gone) == Code::kQueueNotFound);
  CHECK(Text(gone) ==
        "delete the route from queue \"a\" to \"b\": no such route");
  // And again.
  Lead(other, "a", "b", "body IS NULL");
  CHECK(Listed(bus, "a") == Texts{"a>b if body IS NULL", "a>c if size > 1"});
  Must(producer.Send(Message("a", "again")).status());
  CHECK(AllIn(bus, "b") == Texts{"routed", "again"});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-004: a route that cannot be is refused", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"a", "b", "c"});
  ResourceManager manager = bus.resource_manager();
  Lead(bus, "a", "b");
  Lead(bus, "b", "c");
  const auto refused = [&](Code code, const Route& route,
                           std::string_view text) {
    const absl::Status status = manager.CreateRoute(route);
    CHECK(OmsCode(status) == code);
    CHECK_MESSAGE(Text(status).find(text) != std::string::npos, Text(status));
    CHECK(Listed(bus).size() == 2);
  };

  refused(Code::kBadParameter, {"c", "a"}, "would come back");
  refused(Code::kBadParameter, {"a", "a"}, "would come back");
  refused(Code::kQueueExists, {"a", "b", "size > 1"}, "it exists already");
  refused(Code::kBadParameter, {"a", "c", "size >"}, "column 7");
  refused(Code::kBadParameter, {"a", "c", "1 + 2"}, "column");
  refused(Code::kQueueNotFound, {"a", "none"}, "none");
  refused(Code::kQueueNotFound, {"none", "a"}, "none");
  refused(Code::kBadParameter, {"a", "b c"}, "b c");
  refused(Code::kBadParameter, {"", "b"}, "");
  CHECK(OmsCode(manager.DeleteRoute("a", "none")) == Code::kQueueNotFound);
  CHECK(OmsCode(manager.DeleteRoute("a", "")) == Code::kBadParameter);
}

TEST_CASE("OMS-ROUTE-004: a message has at most 64 copies") {
  const MemoryPlace place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "last", "one-more"});
  for (int n = 0; n < 63; ++n) {
    const std::string target = "t" + std::to_string(n);
    Must(bus.resource_manager().CreateQueue(target));
    Lead(bus, "orders", target);
  }
  Lead(bus, "t7", "last");

  const absl::Status more =
      bus.resource_manager().CreateRoute({"last", "one-more"});

  CHECK(OmsCode(more) == Code::kBadParameter);
  CHECK(Text(more) ==
        "create a route from queue \"last\" to \"one-more\": a message could "
        "have 65 copies; expected at most 64 (OMS-ROUTE-004)");
  // A second way to a queue is no copy more.
  Lead(bus, "t8", "last");
  SendOne(bus, Message("orders", "x"));
  CHECK(AllIn(bus, "last") == Texts{"x"});
  CHECK(AllIn(bus, "t62") == Texts{"x"});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-005: a queue goes with the routes that begin at it",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"a", "b"});
  ResourceManager manager = bus.resource_manager();
  Lead(bus, "a", "b");

  const absl::Status needed = manager.DeleteQueue("b");

  CHECK(OmsCode(needed) == Code::kIllegalState);
  CHECK(Text(needed) ==
        "delete queue \"b\": a route from \"a\" ends there; delete that one "
        "first");
  Must(manager.DeleteQueue("a"));
  CHECK(Listed(bus).empty());
  // A new one of that name has none.
  Must(manager.CreateQueue("a"));
  SendOne(bus, Message("a", "x"));
  CHECK(AllIn(bus, "b").empty());
  Must(manager.DeleteQueue("b"));
}

TEST_CASE_TEMPLATE("OMS-ROUTE-006: a delayed message is routed when it is due",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "copies", "more"});
  PullConsumer copies = Consume(bus, "copies");
  Message message = Sized("orders", 3);
  message.SetDelay(milliseconds(300));
  Producer producer = Must(bus.CreateProducer());
  const SendResult sent = Must(producer.Send(message));
  // Made while it waits.
  Lead(bus, "orders", "copies", "size = 3 AND delay > 0");
  Lead(bus, "copies", "more");
  CHECK(AllIn(bus, "copies").empty());

  const Delivery copy = Take(copies);

  CHECK(copy->body() == "3");
  CHECK(copy->message_id() == sent.message_id);
  PullConsumer orders = Consume(bus, "orders");
  const Delivery source = Take(orders);
  CHECK(source->message_id() == sent.message_id);
  CHECK(source->store_timestamp() == copy->store_timestamp());
  CHECK(source->born_timestamp() == copy->born_timestamp());
  CHECK(AllIn(bus, "more") == Texts{"3"});
  // One that is withdrawn is nowhere.
  const SendResult later = Must(producer.Send(message));
  Must(producer.CancelDelayed("orders", later.message_id));
  CHECK(NothingComes(copies));
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: a prepared message is routed when committed",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "b", "c"});
  ProducerOptions options;
  options.group = "shop";
  options.check = [](const Message& /*message*/) {
    return TransactionState::kUnknown;
  };
  Producer producer = Must(bus.CreateProducer(options));
  PreparedMessage kept = Must(producer.Prepare(Sized("orders", 1)));
  PreparedMessage dropped = Must(producer.Prepare(Sized("orders", 2)));
  Lead(bus, "orders", "b", "size < 9");
  Lead(bus, "b", "c");
  CHECK(AllIn(bus, "b").empty());

  Must(kept.Commit());
  Must(dropped.Rollback());

  Must(kept.Commit());
  CHECK(AllIn(bus, "orders") == Texts{"1"});
  CHECK(AllIn(bus, "b") == Texts{"1"});
  PullConsumer orders = Consume(bus, "orders");
  PullConsumer c = Consume(bus, "c");
  const Delivery copy = Take(c);
  CHECK(copy->body() == "1");
  CHECK(copy->message_id() == Take(orders)->message_id());
  CHECK(copy->transaction_id() == kept.transaction_id());
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: nothing of a prepared message is copied",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "b"});
  Lead(bus, "orders", "b");
  ProducerOptions options;
  options.group = "shop";
  options.check = [](const Message& /*message*/) {
    return TransactionState::kUnknown;
  };
  Producer producer = Must(bus.CreateProducer(options));

  PreparedMessage kept = Must(producer.Prepare(Sized("orders", 1)));
  PreparedMessage dropped = Must(producer.Prepare(Sized("orders", 2)));

  CHECK(AllIn(bus, "b").empty());
  Must(dropped.Rollback());
  CHECK(AllIn(bus, "b").empty());
  Must(kept.Commit());
  CHECK(AllIn(bus, "b") == Texts{"1"});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-007: a repeated message is judged at the source",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  const QueueOptions window{.deduplication_window = milliseconds(60'000)};
  Must(manager.CreateQueue("orders", window));
  Must(manager.CreateQueue("copies", window));
  Lead(bus, "orders", "copies");
  Producer producer = Must(bus.CreateProducer());
  Message message("orders", "x");
  message.SetDeduplicationId("one");
  Message direct("copies", "y");
  direct.SetDeduplicationId("two");
  Must(producer.Send(direct).status());

  CHECK_FALSE(Must(producer.Send(message)).duplicate);
  CHECK(Must(producer.Send(message)).duplicate);
  // In a batch, and where nobody waits.
  const std::vector<Message> batch{message, Message("orders", "z"), message};
  CHECK(Must(producer.Send(std::span<const Message>(batch))[2]).duplicate);
  CHECK(Must(producer.SendAsync(message).Await()).duplicate);
  // Its copy does not count as one that was sent there.
  message.SetDestination("copies");
  CHECK_FALSE(Must(producer.Send(message)).duplicate);
  // And a copy is not judged there.
  direct.SetDestination("orders");
  CHECK_FALSE(Must(producer.Send(direct)).duplicate);

  CHECK(AllIn(bus, "orders") == Texts{"x", "z", "y"});
  CHECK(AllIn(bus, "copies") == Texts{"y", "x", "z", "x", "y"});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: copies lie by key and priority", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  Must(manager.CreateQueue("orders", {.partitions = 2, .priorities = true}));
  Must(manager.CreateQueue("lanes", {.partitions = 3, .priorities = true}));
  Must(manager.CreateQueue("plain", {.partitions = 4}));
  Lead(bus, "orders", "lanes");
  Lead(bus, "orders", "plain");
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0; n < 12; ++n) {
    Message message("orders", std::to_string(n));
    message.SetPriority(n < 6 ? 2 : 9).SetMessageKey("k" +
                                                     std::to_string(n % 2));
    // It is for this queue only.
    message.SetPartition(1);
    Must(producer.Send(message).status());
  }

  PullConsumer lanes = Consume(bus, "lanes");
  std::map<std::string, std::set<int>> partitions;
  for (int n = 0; n < 12; ++n) {
    const Delivery delivery = Take(lanes);
    CHECK(delivery->priority() == (n < 6 ? 9 : 2));
    partitions[std::string(delivery->message_key())].insert(
        delivery->partition());
    CHECK(delivery->partition() < 3);
    CHECK(delivery->requested_partition() == -1);
    Must(delivery.Ack());
  }
  CHECK(partitions["k0"].size() == 1);
  CHECK(partitions["k1"].size() == 1);
  CHECK(AllIn(bus, "plain").size() == 12);
  // Without a key they go round.
  for (int n = 0; n < 8; ++n) {
    Must(producer.Send(Message("orders", "no key")).status());
  }
  PullConsumer plain = Consume(bus, "plain");
  std::map<int, int> counts;
  for (int n = 0; n < 20; ++n) {
    const Delivery delivery = Take(plain);
    if (delivery->body() == "no key") ++counts[delivery->partition()];
    Must(delivery.Ack());
  }
  CHECK(counts == std::map<int, int>{{0, 2}, {1, 2}, {2, 2}, {3, 2}});
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: a large body is shared and outlives either",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus =
      ConnectWithAll(place.Url("?big-body=4KiB"), {"orders", "b", "c", "dead"});
  Must(bus.resource_manager().UpdateQueue("c", {.dead_letter_queue = "dead"}));
  Lead(bus, "orders", "b");
  Lead(bus, "b", "c");
  const std::string body(100'000, 'x');
  SendOne(bus, Message("orders", body));
  const auto count_files = [&] {
    if constexpr (Place::kIsFile) {
      return std::distance(
          std::filesystem::directory_iterator(place.path() + "/big"),
          std::filesystem::directory_iterator());
    } else {
      return std::ptrdiff_t{1};
    }
  };
  CHECK(count_files() == 1);
  // The body is in the record of a delayed one; its copies have a file.
  Message later("orders", body);
  later.SetDelay(milliseconds(1));
  SendOne(bus, later);
  PullConsumer c = Consume(bus, "c");
  for (int n = 0; n < 2; ++n) {
    Delivery delivery = Take(c);
    CHECK(delivery->body() == body);
    Must(delivery.Reject());
  }
  CHECK(count_files() == (Place::kIsFile ? 2 : 1));
  for (const char* const queue : {"orders", "b", "dead"}) {
    CAPTURE(queue);
    CHECK(AllIn(bus, queue) == Texts{body, body});
  }
}

TEST_CASE("OMS-ROUTE-008: routes outlive every reopening and retirement") {
  const FilePlace place;
  const Texts routes{"b>c", "orders>b if size > 10"};
  {
    const auto bus = ConnectWithAll(
        place.Url("?first-segment=16KiB&max-segment=16KiB"),
        {"orders", "b", "c"});
    Lead(bus, "orders", "b", "size > 10");
    Lead(bus, "orders", "c");
    Lead(bus, "b", "c");
    Must(bus.resource_manager().DeleteRoute("orders", "c"));
  }
  // From the checkpoint, then from the log, then once their records moved.
  CHECK(Listed(Connect(place.Url())) == routes);
  ForgetDerived(place.path());
  CHECK(Listed(Connect(place.Url())) == routes);
  {
    const auto bus = Connect(place.Url());
    PullConsumer consumer = Must(bus.CreatePullConsumer());
    for (const char* const queue : {"orders", "b", "c"}) {
      Must(consumer.Bind(queue));
    }
    Producer producer = Must(bus.CreateProducer());
    for (int n = 0; n < 200; ++n) {
      Message message = Sized("orders", n);
      message.SetBody(std::string(700, '.'));
      Must(producer.Send(message).status());
      CHECK(DrainBodies(consumer).size() == (n > 10 ? 3 : 1));
    }
    CHECK_FALSE(std::filesystem::exists(
        place.path() + "/log/0000000000000000-00000001.seg"));
    CHECK(Listed(bus) == routes);
  }
  ForgetDerived(place.path());
  const auto bus = Connect(place.Url());
  CHECK(Listed(bus) == routes);
  SendOne(bus, Sized("orders", 11));
  CHECK(AllIn(bus, "c").back() == "11");
  CheckSound(place.path());
}

TEST_CASE("OMS-ROUTE-008: copies outlive every reopening") {
  const FilePlace place;
  {
    const auto bus = ConnectWithAll(place.Url(), {"orders", "b", "c"});
    Lead(bus, "orders", "b");
    Lead(bus, "b", "c");
    SendNumbers(bus, "orders", 0, 99);
  }
  for (const bool derived : {true, false}) {
    CAPTURE(derived);
    if (!derived) ForgetDerived(place.path());
    const auto bus = Connect(place.Url());
    for (const char* const queue : {"orders", "b", "c"}) {
      CHECK(AllIn(bus, queue) == Numbers(0, 99));
    }
  }
  CheckSound(place.path());
}

TEST_CASE("OMS-ROUTE-001: another process goes by a route at once") {
  const FilePlace place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "copies"});
  Child echo("echo", {place.Url()});
  REQUIRE(echo.Hear() == "ready");
  const auto send = [&](const char* body) {
    echo.Say(body);
    CHECK(echo.Hear() == "1200");
  };
  send("before");
  for (int round = 0; round < 3; ++round) {
    Lead(bus, "orders", "copies");
    send("routed");
    Must(bus.resource_manager().DeleteRoute("orders", "copies"));
    send("not");
  }
  CHECK(AllIn(bus, "copies") == Texts{"routed", "routed", "routed"});
  CHECK(echo.Finish());
}

TEST_CASE("OMS-ROUTE-009: senders that are killed leave all copies or none") {
  const FilePlace place;
  const auto bus = ConnectWithAll(
      place.Url("?first-segment=64KiB&max-segment=64KiB"),
      {"orders", "odd", "all"});
  Lead(bus, "orders", "odd", "odd");
  Lead(bus, "orders", "all");
  auto random = RandomOf(18);
  std::set<std::string> told;
  const int rounds = static_cast<int>(20 * TestScale());
  for (int round = 0; round < rounds; ++round) {
    Child sender("routing_sender",
                 {place.Url(), std::to_string(round * 100'000)});
    REQUIRE(sender.Hear() == "ready");
    const auto until =
        steady_clock::now() + milliseconds(5 + random() % (30 * kSlowness));
    while (steady_clock::now() < until) {
      if (auto said = sender.Hear(milliseconds(5))) told.insert(*said);
    }
    REQUIRE(sender.Kill());
    while (auto said = sender.Hear(milliseconds(0))) told.insert(*said);
  }
  // What was under way is brought in by whoever looks.
  std::this_thread::sleep_for(milliseconds(50));

  const Texts orders = AllIn(bus, "orders");
  const auto sorted = [](Texts texts) {
    std::sort(texts.begin(), texts.end());
    return texts;
  };
  Texts odd;
  for (const std::string& body : orders) {
    if (std::stoll(body) % 2 == 1) odd.push_back(body);
  }
  CHECK(orders.size() >= told.size());
  for (const std::string& body : told) {
    CHECK_MESSAGE(std::count(orders.begin(), orders.end(), body) == 1, body);
  }
  CHECK(sorted(AllIn(bus, "all")) == sorted(orders));
  CHECK(sorted(AllIn(bus, "odd")) == sorted(odd));
}

TEST_CASE_TEMPLATE("OMS-ROUTE-009: routes and their targets change meanwhile",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders"});
  std::atomic<bool> done{false};
  std::atomic<int> sent{0};
  std::vector<std::thread> senders;
  for (int n = 0; n < 2; ++n) {
    senders.emplace_back([&] {
      const auto mine = Connect(place.Url());
      Producer producer = Must(mine.CreateProducer());
      while (!done) {
        // Never refused because of where it is routed to.
        Message message("orders", "x");
        if (Place::kIsFile) message.SetDurability(Durability::kProcess);
        Must(producer.Send(message).status());
        ++sent;
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
  }
  for (int round = 0; round < 5; ++round) {
    Must(bus.resource_manager().CreateQueue("copies"));
    Lead(bus, "orders", "copies");
    const int before = sent;
    const auto deadline = Soon();
    while (sent < before + 4 && steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    Must(bus.resource_manager().DeleteRoute("orders", "copies"));
    CHECK(AllIn(bus, "copies").size() >= 2);
    Must(bus.resource_manager().DeleteQueue("copies"));
  }
  done = true;
  for (std::thread& sender : senders) sender.join();

  CHECK(AllIn(bus, "orders").size() == static_cast<size_t>(sent));
}

TEST_CASE_TEMPLATE("OMS-ROUTE-002: receivers of copies are woken", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithAll(place.Url(), {"orders", "copies"});
  Lead(bus, "orders", "copies");
  PullConsumer copies = Consume(bus, "copies");
  Producer producer = Must(bus.CreateProducer());
  for (const bool waits : {true, false}) {
    CAPTURE(waits);
    std::thread sender([&] {
      std::this_thread::sleep_for(milliseconds(20));
      Message message("orders", "x");
      if (waits) {
        Must(producer.Send(message).status());
      } else {
        Must(producer.SendAsync(message).Await().status());
      }
    });
    const Delivery copy = Take(copies);
    sender.join();
    CHECK(copy->body() == "x");
    Must(copy.Ack());
  }
}

}  // namespace openmessaging::reference::routing_test
