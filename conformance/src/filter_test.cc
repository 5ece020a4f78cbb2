// SPDX-License-Identifier: Apache-2.0
//
// Filters: which messages a condition is true for, by the grammar of
// spec/filter.md.

#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::filter_test {
namespace {

using internal::Concat;

constexpr auto kFilter = Capability::kFilter;

struct Sample {
  std::string body;
  KeyValue properties{};
};

KeyValue Properties(
    std::initializer_list<std::pair<std::string_view, Value>> list) {
  KeyValue properties;
  for (const auto& [key, value] : list) {
    RequireOk(properties.Put(key, value), "put a property");
  }
  return properties;
}

// Sends the samples to a fresh queue for each condition and requires that those
// of `expected` come, and only those.
void RequireChosen(Context& t, const std::vector<Sample>& samples,
                   std::string_view filter, const Bodies& expected) {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireOk(consumer.Bind(queue, {.filter = std::string(filter)}),
            Concat("bind with ", filter));
  // A sentinel would have to match: another group tells that all are there.
  std::vector<Message> batch;
  for (const Sample& sample : samples) {
    batch.emplace_back(queue, sample.body);
    batch.back().SetProperties(sample.properties);
  }
  Producer producer = t.NewProducer();
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send");
  }
  Bodies got;
  while (true) {
    const bool enough = got.size() >= expected.size();
    auto one = Must(
        consumer.Receive(enough ? milliseconds(30) : t.patience()), "receive");
    if (!one) break;
    got.emplace_back((*one)->body());
    RequireOk(one->Ack(), "acknowledge");
  }
  RequireEqual(got, expected, filter);
}

std::vector<Sample> People() {
  return {
      {"ann", Properties({{"name", "ann"}, {"age", 30}, {"vip", true}})},
      {"bob", Properties({{"name", "bob"}, {"age", 41}, {"vip", false}})},
      {"cyd", Properties({{"name", "cyd"}, {"age", 41.5}, {"x", "41"}})},
      {"none", {}},
  };
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CONS-025", kQueue, kFilter,
                     "a member gets what its filter is true for") {
  RequireChosen(t, People(), "name = 'bob'", {"bob"});
  RequireChosen(t, People(), "", {"ann", "bob", "cyd", "none"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-010", kQueue, kFilter,
                     "comparisons work and convert no text") {
  RequireChosen(t, People(), "age > 30", {"bob", "cyd"});
  RequireChosen(t, People(), "age <= 41", {"ann", "bob"});
  RequireChosen(t, People(), "age <> 41", {"ann", "cyd"});
  RequireChosen(t, People(), "x = 41", {});
  RequireChosen(t, People(), "vip = TRUE", {"ann"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-011", kQueue, kFilter,
                     "AND OR NOT and parentheses follow the grammar") {
  RequireChosen(t, People(), "name = 'ann' OR name = 'bob' AND age = 0",
                {"ann"});
  RequireChosen(t, People(), "(name = 'ann' OR name = 'bob') AND age = 41",
                {"bob"});
  RequireChosen(t, People(), "NOT name = 'ann' AND age < 50", {"bob", "cyd"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-012", kQueue, kFilter,
                     "BETWEEN IN and LIKE and their negations choose") {
  RequireChosen(t, People(), "age BETWEEN 30 AND 41", {"ann", "bob"});
  RequireChosen(t, People(), "age NOT BETWEEN 30 AND 41", {"cyd"});
  RequireChosen(t, People(), "name IN ('ann', 'cyd')", {"ann", "cyd"});
  RequireChosen(t, People(), "name NOT IN ('ann', 'cyd')", {"bob"});
  RequireChosen(t, People(), "name LIKE '_o%'", {"bob"});
  RequireChosen(t, People(), "name NOT LIKE '%n%'", {"bob", "cyd"});
  RequireChosen(t, {{"1", Properties({{"p", "a_c"}})},
                    {"2", Properties({{"p", "abc"}})}},
                "p LIKE 'a!_c' ESCAPE '!'", {"1"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-013", kQueue, kFilter,
                     "an absent property is null") {
  RequireChosen(t, People(), "name IS NULL", {"none"});
  RequireChosen(t, People(), "vip IS NOT NULL", {"ann", "bob"});
  RequireChosen(t, People(), "vip = FALSE OR NOT vip = FALSE",
                {"ann", "bob"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-014", kQueue, kFilter,
                     "arithmetic and literals work") {
  RequireChosen(t, People(), "age * 2 - 2 = 80", {"bob"});
  RequireChosen(t, People(), "-age < -41", {"cyd"});
  RequireChosen(t, People(), "age / 2 = 15 AND 1.5e1 = 15", {"ann"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-015", kQueue, kFilter,
                     "names are case sensitive and keywords are not") {
  RequireChosen(t, People(), "Name IS NULL and name\n=\t'ann'", {"ann"});
  RequireChosen(t, People(), "name like 'b%' oR name iN ('cyd')",
                {"bob", "cyd"});
}

OMS_CONFORMANCE_TEST("OMS-FILTER-016", kQueue, kFilter,
                     "header fields can be filtered on") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireOk(consumer.Bind(queue, {.filter = "correlation_id = 'c'"}), "bind");
  Message field(queue, "field");
  field.SetCorrelationId("c");
  Message hidden(queue, "hidden");
  hidden.SetCorrelationId("c");
  RequireOk(hidden.SetProperty("correlation_id", "other"), "set a property");
  Message last(queue, "last");
  last.SetCorrelationId("c");
  for (const Message& message : {field, hidden, last}) t.Send(message);
  RequireEqual(t.TakeBodies(consumer, 2), {"field", "last"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-FILTER-017", kQueue, kFilter,
                     "a filter that is no condition is refused") {
  const std::string queue = t.NewQueue();
  for (const std::string_view filter :
       {"name =", "= 1", "name = 'open", "1 + 1", "name LIKE 1"}) {
    PullConsumer consumer = Must(t.bus().CreatePullConsumer(), "create");
    RequireCode(consumer.Bind(queue, {.filter = std::string(filter)}),
                Code::kBadParameter, filter);
  }
}

OMS_CONFORMANCE_TEST("OMS-FILTER-018", kQueue, kFilter,
                     "what a filter leaves out disturbs nobody") {
  const std::string queue = t.NewQueue();
  PullConsumer all = t.NewConsumer(queue, {.group = "all"});
  {
    PullConsumer some =
        Must(t.bus().CreatePullConsumer({.group = "some"}), "create consumer");
    RequireOk(some.Bind(queue, {.filter = "kind = 'yes'"}), "bind");
    Message yes(queue, "yes");
    RequireOk(yes.SetProperty("kind", "yes"), "set a property");
    t.Send(queue, "no");
    t.Send(yes);
    RequireEqual(t.TakeBodies(some, 1), {"yes"}, "the filtered group");
  }
  RequireEqual(t.TakeBodies(all, 2), {"no", "yes"}, "the other group");
  PullConsumer some = t.NewConsumer(queue, {.group = "some"});
  t.Send(queue, "new");
  RequireEqual(t.TakeUntilSentinel(some, queue), {"new"},
               "the group without the filter");
}

OMS_CONFORMANCE_TEST("OMS-CONS-027", kQueue, kFilter,
                     "members that live have one filter") {
  const std::string queue = t.NewQueue();
  PullConsumer first = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireOk(first.Bind(queue, {.filter = "a = 1"}), "bind");
  PullConsumer other = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireCode(other.Bind(queue, {.filter = "a = 2"}), Code::kConsumerExists,
              "another filter");
  RequireCode(other.Bind(queue), Code::kConsumerExists, "no filter");
  RequireOk(other.Bind(queue, {.filter = "a = 1"}), "the same filter");
}

OMS_CONFORMANCE_TEST("OMS-CONS-028", kQueue, kFilter,
                     "a receive that leaves out messages ends in time") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireOk(consumer.Bind(queue, {.filter = "a = 1"}), "bind");
  t.SendAll(queue, Numbers(1, 500));
  const auto start = steady_clock::now();
  Require(!Must(consumer.Receive(milliseconds(100)), "receive"),
          "a message came that the filter leaves out");
  Require(Since(start) < milliseconds(100) + t.late(), "it took ",
          Since(start).count(), " ms");
}

}  // namespace openmessaging::conformance::filter_test
