// SPDX-License-Identifier: Apache-2.0
//
// Namespaces with the reference driver, in memory and in files: what has the
// same name in two of them has nothing in common, and they outlive everything.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::namespaces_test {
namespace {

using Names = std::vector<std::string>;

Names Namespaces(const MessagingAccessPoint& bus) {
  return Must(bus.resource_manager().ListNamespaces());
}

Names QueuesOf(const MessagingAccessPoint& bus, std::string_view name_space) {
  Names names;
  for (const QueueInfo& queue :
       Must(bus.resource_manager().ListQueues(name_space))) {
    names.push_back(queue.name);
  }
  return names;
}

// Connects, and makes the namespaces "eu" and "us" with a queue "orders" each,
// beside the one of the default namespace.
MessagingAccessPoint ConnectWithOrders(const std::string& url,
                                       const QueueOptions& options = {}) {
  MessagingAccessPoint bus = Connect(url);
  ResourceManager manager = bus.resource_manager();
  Must(manager.CreateQueue("orders", options));
  for (const std::string name : {"eu", "us"}) {
    Must(manager.CreateNamespace(name));
    Must(manager.CreateQueue(name + "://orders", options));
  }
  return bus;
}

void RemoveDerived(const FilePlace& place) {
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }
}

// Arguments: URL, prefix. Makes namespaces with a queue each until it is killed,
// deletes every second one, and says what is done.
OMS_ROLE(maker) {
  const auto bus = Connect(role.argument(0));
  ResourceManager manager = bus.resource_manager();
  for (int n = 0;; ++n) {
    const std::string name = role.argument(1) + std::to_string(n);
    Must(manager.CreateNamespace(name));
    role.Say("made " + name);
    if (n % 2 == 0) {
      Must(manager.CreateQueue(name + "://orders"));
      role.Say("filled " + name);
    } else {
      Must(manager.DeleteNamespace(name));
      role.Say("deleted " + name);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("OMS-NS-001: namespaces are listed until they are deleted",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  // Of another process, where there are several.
  const auto elsewhere = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  CHECK(Namespaces(bus).empty());
  CHECK(Must(bus.capabilities("orders")).Of(Capability::kNamespaces) ==
        Support::kNative);

  Must(manager.CreateNamespace("us"));
  Must(manager.CreateNamespace("eu"));

  CHECK(Namespaces(bus) == Names{"eu", "us"});
  CHECK(Namespaces(elsewhere) == Names{"eu", "us"});
  CHECK(QueuesOf(elsewhere, "eu").empty());
  Must(elsewhere.resource_manager().CreateQueue("eu://orders"));
  Must(manager.CreateQueue("orders"));
  CHECK(QueuesOf(bus, "eu") == Names{"eu://orders"});
  CHECK(QueuesOf(bus, "us").empty());
  CHECK(QueuesOf(bus, "") == Names{"orders"});
  CHECK(Must(manager.DescribeQueue("eu://orders")).name == "eu://orders");

  Must(elsewhere.resource_manager().DeleteNamespace("us"));

  CHECK(Namespaces(bus) == Names{"eu"});
  // The name may be used again.
  Must(manager.CreateNamespace("us"));
  CHECK(Namespaces(elsewhere) == Names{"eu", "us"});
}

TEST_CASE_TEMPLATE("OMS-NS-002: what is there twice or missing is refused",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithOrders(place.Url());
  ResourceManager manager = bus.resource_manager();
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  const auto code_of = [](const auto& result) {
    if constexpr (requires { result.status(); }) {
      return OmsCode(result.status());
    } else {
      return OmsCode(result);
    }
  };

  CHECK(code_of(manager.CreateNamespace("eu")) == Code::kNamespaceExists);
  CHECK(code_of(manager.DeleteNamespace("asia")) == Code::kNamespaceNotFound);
  const absl::Status full = manager.DeleteNamespace("eu");
  CHECK(OmsCode(full) == Code::kIllegalState);
  CHECK(Text(full) == "delete namespace \"eu\": it has queue \"eu://orders\"; "
                      "delete its queues first");
  CHECK(Namespaces(bus) == Names{"eu", "us"});

  const absl::Status missing = manager.CreateQueue("asia://orders");
  CHECK(OmsCode(missing) == Code::kNamespaceNotFound);
  CHECK(Text(missing) == "create queue \"asia://orders\": there is no namespace "
                         "\"asia\"; create it first");
  CHECK(code_of(manager.CreateQueue(
            "bills", {.dead_letter_queue = "asia://dead"})) ==
        Code::kNamespaceNotFound);
  CHECK(code_of(manager.DescribeQueue("bills")) == Code::kQueueNotFound);
  CHECK(code_of(manager.ListQueues("asia")) == Code::kNamespaceNotFound);
  struct Missing {
    std::string name;
    Code code;
  };
  for (const Missing& one :
       {Missing{"asia://orders", Code::kNamespaceNotFound},
        Missing{"eu://bills", Code::kQueueNotFound}}) {
    INFO(one.name);
    CHECK(code_of(manager.DescribeQueue(one.name)) == one.code);
    CHECK(code_of(manager.DeleteQueue(one.name)) == one.code);
    CHECK(code_of(manager.ListGroups(one.name)) == one.code);
    CHECK(code_of(manager.Stats(one.name)) == one.code);
    CHECK(code_of(producer.Send(Message(one.name, "x"))) == one.code);
    CHECK(code_of(consumer.Bind(one.name)) == one.code);
    CHECK(code_of(bus.CreateStreamReader(
              one.name, 0, StreamPosition::Earliest())) == one.code);
    // Asking what it could do is no use of it.
    CHECK(bus.capabilities(one.name).ok());
  }
}

TEST_CASE_TEMPLATE("OMS-NS-002: auto-create makes queues and no namespaces",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url("?auto-create=queue"));
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  const Message message("eu://orders", "x");

  CHECK(OmsCode(producer.Send(message).status()) == Code::kNamespaceNotFound);
  CHECK(OmsCode(consumer.Bind("eu://orders")) == Code::kNamespaceNotFound);
  CHECK(Namespaces(bus).empty());
  Must(bus.resource_manager().CreateNamespace("eu"));

  CHECK(producer.Send(message).ok());
  Must(consumer.Bind("eu://orders"));
  CHECK(Take(consumer)->destination() == "eu://orders");
}

TEST_CASE_TEMPLATE("OMS-NS-003: equal names share no messages and no groups",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus =
      ConnectWithOrders(place.Url(), {.deduplication_window = 6 * kLong});
  ResourceManager manager = bus.resource_manager();
  const Names queues = {"orders", "eu://orders", "us://orders"};
  std::vector<PullConsumer> consumers;
  for (const std::string& queue : queues) {
    Message once(queue, queue);
    once.SetDeduplicationId("once");
    const SendResult sent = SendOne(bus, once);
    CHECK_FALSE(sent.duplicate);
    CHECK(sent.offset == 0);
    CHECK(SendOne(bus, once).duplicate);
    consumers.push_back(Consume(bus, queue, {.group = "billing"}));
  }

  // One group's progress is not the other's.
  const Delivery in_eu = Take(consumers[1]);
  CHECK(in_eu->body() == "eu://orders");
  CHECK(in_eu->destination() == "eu://orders");
  Must(in_eu.Ack());
  CHECK(NothingComes(consumers[1]));
  CHECK(Must(manager.Stats("eu://orders")).groups.at(0).lag == 0);
  CHECK(Must(manager.Stats("us://orders")).groups.at(0).lag == 1);
  Must(manager.DeleteGroup("eu://orders", "billing"));
  CHECK(Must(manager.ListGroups("eu://orders")).empty());
  CHECK(Must(manager.ListGroups("us://orders")) == Names{"billing"});
  CHECK(Take(consumers[0])->body() == "orders");
  CHECK(Take(consumers[2])->body() == "us://orders");

  // Nor is its end the other's.
  Must(manager.DeleteQueue("eu://orders"));
  CHECK(Must(manager.Stats("orders")).depth == 1);
  CHECK(Must(manager.Stats("us://orders")).depth == 1);
  CHECK(SendOne(bus, Message("us://orders", "more")).offset == 1);
}

TEST_CASE_TEMPLATE("OMS-NS-003: dead letters stay in the namespace that was said",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  const Names prefixes = {"", "eu://", "us://"};
  for (const std::string& prefix : prefixes) {
    if (!prefix.empty()) Must(manager.CreateNamespace(prefix.substr(0, 2)));
    Must(manager.CreateQueue(prefix + "dead"));
    Must(manager.CreateQueue(prefix + "orders",
                             {.dead_letter_queue = prefix + "dead"}));
  }

  SendOne(bus, Message("eu://orders", "poison"));
  PullConsumer consumer = Consume(bus, "eu://orders");
  Must(Take(consumer).Reject());

  for (const std::string& prefix : prefixes) {
    INFO(prefix);
    CHECK(Must(manager.Stats(prefix + "dead")).depth ==
          (prefix == "eu://" ? 1 : 0));
  }
  PullConsumer undertaker = Consume(bus, "eu://dead");
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "poison");
  CHECK(dead->properties().GetOr<std::string>(kDeadQueue, "") ==
        "eu://orders");
}

TEST_CASE_TEMPLATE("OMS-NS-003: answers come to the namespace that asked",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithOrders(place.Url());
  ResourceManager manager = bus.resource_manager();
  std::vector<Requester> requesters;
  for (const std::string name : {"eu", "us"}) {
    Must(manager.CreateQueue(name + "://answers"));
    requesters.push_back(
        Must(bus.CreateRequester({.reply_queue = name + "://answers"})));
  }
  // Both ask at once, with what tells their requests apart.
  std::vector<Future<Message>> answers;
  answers.push_back(
      requesters[0].RequestAsync(Message("eu://orders", "eu?"), kLong));
  answers.push_back(
      requesters[1].RequestAsync(Message("us://orders", "us?"), kLong));

  Producer producer = Must(bus.CreateProducer());
  for (const std::string_view queue : {"us://orders", "eu://orders"}) {
    PullConsumer consumer = Consume(bus, queue);
    const Delivery request = Take(consumer);
    Must(producer.Send(Must(MakeReply(*request, request->destination()))));
    Must(request.Ack());
  }

  CHECK(Must(answers[0].Await()).body() == "eu://orders");
  CHECK(Must(answers[1].Await()).body() == "us://orders");
  for (const Requester& requester : requesters) {
    CHECK(requester.dropped_answers() == 0);
  }
}

TEST_CASE("OMS-NS-004: there are as many namespaces as was declared") {
  MemoryPlace place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  const auto most = Must(bus.capabilities("orders")).limits().max_namespaces;
  REQUIRE(most);
  for (int32_t n = 0; n < *most; ++n) {
    Must(manager.CreateNamespace("n" + std::to_string(n)));
  }

  const absl::Status full = manager.CreateNamespace("more");

  CHECK(OmsCode(full) == Code::kTooManyNamespaces);
  CHECK(Text(full) == "create namespace \"more\": the store has 1024 "
                      "namespaces, which is the limit; delete one");
  CHECK(OmsCode(manager.CreateNamespace("n0")) == Code::kNamespaceExists);
  CHECK(Namespaces(bus).size() == static_cast<size_t>(*most));
  Must(manager.DeleteNamespace("n0"));
  Must(manager.CreateNamespace("more"));
  // They take nothing from the queues.
  Must(manager.CreateQueue("more://orders"));
  CHECK(SendOne(bus, Message("more://orders", "x")).offset == 0);
}

TEST_CASE("OMS-NS-001: namespaces outlive closing and the loss of what is "
          "derived") {
  FilePlace place;
  {
    const auto bus = ConnectWithOrders(place.Url());
    Must(bus.resource_manager().CreateNamespace("gone"));
    Must(bus.resource_manager().CreateNamespace("empty"));
    Must(bus.resource_manager().DeleteNamespace("gone"));
    SendOne(bus, Message("eu://orders", "0"));
  }
  int round = 0;
  for (const bool without_derived : {false, true, false, true}) {
    CAPTURE(without_derived);
    if (without_derived) RemoveDerived(place);
    const auto bus = Connect(place.Url());
    ResourceManager manager = bus.resource_manager();
    CHECK(Namespaces(bus) == Names{"empty", "eu", "us"});
    CHECK(QueuesOf(bus, "eu") == Names{"eu://orders"});
    CHECK(QueuesOf(bus, "empty").empty());
    CHECK(OmsCode(manager.CreateNamespace("us")) == Code::kNamespaceExists);
    CHECK(SendOne(bus, Message("eu://orders", std::to_string(++round)))
              .offset == round);
    // Numbers that were used are not given away again.
    const std::string later = "empty://later" + std::to_string(round);
    Must(manager.CreateQueue(later));
    SendOne(bus, Message(later, "x"));
    CHECK(Must(manager.Stats("orders")).depth == 0);
    Must(manager.DeleteQueue(later));
  }
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "eu://orders");
  CHECK(DrainBodies(consumer) == Numbers(0, 4));
  CheckSound(place.path());
}

TEST_CASE("OMS-NS-001: namespaces outlive the segment that made them") {
  FilePlace place;
  const std::string url = place.Url("?first-segment=16KiB&max-segment=16KiB");
  const std::string first =
      place.path() + "/log/0000000000000000-00000001.seg";
  {
    const auto bus = ConnectWithOrders(url);
    Must(bus.resource_manager().CreateNamespace("gone"));
    Must(bus.resource_manager().DeleteNamespace("gone"));
    PullConsumer consumer = Consume(bus, "eu://orders");
    const std::string padding(1000, '.');
    for (int n = 0; n < 20; ++n) {
      SendNumbers(bus, "eu://orders", 0, 9, padding);
      for (int k = 0; k < 10; ++k) Must(Take(consumer).Ack());
    }
    CHECK_FALSE(std::filesystem::exists(first));
    CHECK(Namespaces(bus) == Names{"eu", "us"});
  }
  for (const bool without_derived : {false, true}) {
    CAPTURE(without_derived);
    if (without_derived) RemoveDerived(place);
    const auto bus = Connect(url);
    CHECK(Namespaces(bus) == Names{"eu", "us"});
    CHECK(QueuesOf(bus, "us") == Names{"us://orders"});
    CHECK(OmsCode(bus.resource_manager().DeleteNamespace("us")) ==
          Code::kIllegalState);
  }
  CheckSound(place.path());
}

TEST_CASE("OMS-NS-001: what a killed process made stays and what it deleted "
          "stays away") {
  FilePlace place;
  for (const bool without_derived : {false, true, false}) {
    CAPTURE(without_derived);
    static int round = 0;
    const std::string prefix = "r" + std::to_string(round++) + "-";
    Names made;
    Names filled;
    Names deleted;
    {
      Child child("maker", {place.Url(), prefix});
      while (deleted.size() < 5) {
        const auto line = child.Hear();
        REQUIRE(line);
        const std::string name = line->substr(line->find(' ') + 1);
        if (line->starts_with("made")) made.push_back(name);
        if (line->starts_with("filled")) filled.push_back(name);
        if (line->starts_with("deleted")) deleted.push_back(name);
      }
      REQUIRE(child.Kill());
    }
    if (without_derived) RemoveDerived(place);
    const auto bus = Connect(place.Url());
    const Names found = Namespaces(bus);
    const auto has = [&](const std::string& name) {
      return std::find(found.begin(), found.end(), name) != found.end();
    };
    CHECK(filled.size() >= 5);
    for (const std::string& name : filled) {
      INFO(name);
      CHECK(has(name));
      CHECK(QueuesOf(bus, name) == Names{name + "://orders"});
    }
    for (const std::string& name : deleted) {
      INFO(name);
      CHECK_FALSE(has(name));
    }
    // The heir goes on.
    Must(bus.resource_manager().CreateNamespace(prefix + "heir"));
  }
  CheckSound(place.path());
}

TEST_CASE_TEMPLATE("OMS-NS-002: one of eight creators is the first", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  constexpr int kThreads = 8;
  const auto at_once = [&](const std::function<Code(ResourceManager)>& act) {
    std::atomic<int> waiting{kThreads};
    std::vector<Code> codes(kThreads);
    std::vector<std::thread> threads;
    for (int n = 0; n < kThreads; ++n) {
      threads.emplace_back([&, n] {
        const auto mine = Connect(place.Url());
        --waiting;
        while (waiting.load() > 0) std::this_thread::yield();
        codes[static_cast<size_t>(n)] = act(mine.resource_manager());
      });
    }
    for (std::thread& thread : threads) thread.join();
    return codes;
  };
  const auto count = [](const std::vector<Code>& codes, Code code) {
    return std::count(codes.begin(), codes.end(), code);
  };

  const auto made = at_once([](ResourceManager manager) {
    return OmsCode(manager.CreateNamespace("eu"));
  });
  CHECK(count(made, Code::kOk) == 1);
  CHECK(count(made, Code::kNamespaceExists) == kThreads - 1);
  const auto deleted = at_once([](ResourceManager manager) {
    return OmsCode(manager.DeleteNamespace("eu"));
  });
  CHECK(count(deleted, Code::kOk) == 1);
  CHECK(count(deleted, Code::kNamespaceNotFound) == kThreads - 1);
  CHECK(Namespaces(bus).empty());
}

TEST_CASE_TEMPLATE("OMS-NS-002: no queue is left without its namespace", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  const auto elsewhere = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  int kept = 0;
  int went = 0;
  for (int round = 0; round < 50; ++round) {
    Must(manager.CreateNamespace("eu"));
    std::atomic<int> waiting{2};
    absl::Status created;
    std::thread creator([&] {
      --waiting;
      while (waiting.load() > 0) std::this_thread::yield();
      created = elsewhere.resource_manager().CreateQueue("eu://orders");
    });
    --waiting;
    while (waiting.load() > 0) std::this_thread::yield();
    const absl::Status deleted = manager.DeleteNamespace("eu");
    creator.join();

    // One of the two was first, and then the other was refused.
    REQUIRE(created.ok() != deleted.ok());
    if (created.ok()) {
      ++kept;
      CHECK(OmsCode(deleted) == Code::kIllegalState);
      CHECK(Namespaces(elsewhere) == Names{"eu"});
      Must(manager.DeleteQueue("eu://orders"));
      Must(manager.DeleteNamespace("eu"));
    } else {
      ++went;
      CHECK(OmsCode(created) == Code::kNamespaceNotFound);
      CHECK(Namespaces(elsewhere).empty());
    }
  }
  CHECK(kept + went == 50);
}

}  // namespace openmessaging::reference::namespaces_test
