// SPDX-License-Identifier: Apache-2.0
//
// Message: fields, the two forms, copies, borrowed bodies, damage.

#include "openmessaging/message.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/status.h"

namespace openmessaging::message_test {
namespace {

using driver::MessageAccess;
using internal::Field;
using internal::MessageHolder;
using std::chrono::milliseconds;

// Bytes that received messages view; gone with the last of them.
struct Stored : MessageHolder {
  Stored(std::string_view head, std::string_view content,
         std::atomic<int>& ended_count)
      : MessageHolder(
            [](MessageHolder* holder) { delete static_cast<Stored*>(holder); }),
        fields_size(head.size()),
        bytes(std::string(head) + std::string(content)),
        queue("orders"),
        host("store.example"),
        ended(ended_count) {
    store_id.fill(7);
    destination = queue;
    store_host = host;
  }
  ~Stored() {
    // Whoever still reads them reads this.
    std::memset(bytes.data(), 'X', bytes.size());
    std::memset(queue.data(), 'X', queue.size());
    std::memset(host.data(), 'X', host.size());
    ended.fetch_add(1);
  }

  Message Deliver(int32_t delivery_count = 1) {
    Ref();
    const std::string_view all = bytes;
    return MessageAccess::View(this, all.substr(0, fields_size),
                               all.substr(fields_size), 3, 99,
                               {.partition = 2,
                                .offset = 17,
                                .store_timestamp_ms = 1000,
                                .delivery_count = delivery_count});
  }

  const size_t fields_size;
  std::string bytes;
  std::string queue;
  std::string host;
  std::atomic<int>& ended;
};

// Receives what `sent` would store. The message is the only one of its bytes.
Message Receive(const Message& sent, std::atomic<int>& ended) {
  auto* const stored = new Stored(MessageAccess::FieldsAfterDestination(sent),
                                  sent.body(), ended);
  Message message = stored->Deliver();
  stored->Unref();
  return message;
}

Message Full() {
  Message message("orders", "42 apples");
  message.SetMessageKey("key")
      .SetCorrelationId("correlation")
      .SetReplyTo("answers")
      .SetDeduplicationId("once")
      .SetCompression("zstd")
      .SetTraceparent("00-1-2-01")
      .SetTracestate("a=b")
      .SetPriority(9)
      .SetQos(Qos::kExactlyOnce)
      .SetDurability(Durability::kDisk)
      .SetDelay(milliseconds(1234))
      .SetExpireAt(milliseconds(1'700'000'000'000))
      .SetPartition(3);
  REQUIRE(message.SetProperty("tries", 3).ok());
  return message;
}

void CheckFull(const Message& message) {
  CHECK(message.body() == "42 apples");
  CHECK(message.destination() == "orders");
  CHECK(message.message_key() == "key");
  CHECK(message.correlation_id() == "correlation");
  CHECK(message.reply_to() == "answers");
  CHECK(message.deduplication_id() == "once");
  CHECK(message.compression() == "zstd");
  CHECK(message.traceparent() == "00-1-2-01");
  CHECK(message.tracestate() == "a=b");
  CHECK(message.priority() == 9);
  CHECK(message.qos() == Qos::kExactlyOnce);
  CHECK(message.durability() == Durability::kDisk);
  CHECK(message.delay() == milliseconds(1234));
  CHECK(message.expire_at() == milliseconds(1'700'000'000'000));
  CHECK(message.requested_partition() == 3);
  CHECK(message.properties().Get<int32_t>("tries").value() == 3);
}

TEST_CASE("OMS-MSG-001: what nobody set has its default") {
  for (const Message& message : {Message(), Message("orders", "x")}) {
    CHECK(message.priority() == 5);
    CHECK(message.qos() == Qos::kAtLeastOnce);
    CHECK(message.durability() == Durability::kDefault);
    CHECK(message.delivery_count() == 0);
    CHECK(message.delay() == milliseconds(0));
    CHECK(message.expire_at() == milliseconds(0));
    CHECK(message.requested_partition() == -1);
    CHECK(message.partition() == -1);
    CHECK(message.offset() == -1);
    CHECK(message.message_key().empty());
    CHECK(message.reply_to().empty());
    CHECK(message.properties().empty());
    CHECK(message.message_id().empty());
    CHECK(message.origin_id().empty());
    CHECK(message.born_timestamp() == milliseconds(0));
    CHECK(message.store_host().empty());
    CHECK(message.version() == kSpecificationVersion);
  }
  CHECK(Message().destination().empty());
  CHECK(Message().body().empty());
}

TEST_CASE("OMS-MSG-002: a message copies its texts") {
  std::string queue = "orders";
  std::string body;
  for (int i = 0; i < 256; ++i) body.push_back(static_cast<char>(i));
  const std::string expected = body;

  const Message message(queue, body);
  queue.assign(queue.size(), 'X');
  body.assign(body.size(), 'X');

  CHECK(message.destination() == "orders");
  CHECK(message.body() == expected);
  CHECK(Message("orders", "").body().empty());
}

TEST_CASE("OMS-MSG-002: bodies of every size class are kept whole") {
  for (const size_t size :
       {size_t{1}, size_t{127}, size_t{300}, size_t{511}, size_t{512},
        size_t{1000}, size_t{4000}, size_t{5000}, size_t{1} << 20}) {
    std::string body(size, 'b');
    body.back() = 'e';
    Message message("orders", body);
    message.SetMessageKey("key");
    CHECK(message.body() == body);
    CHECK(message.message_key() == "key");
  }
}

TEST_CASE("OMS-MSG-003: every setter is read back") { CheckFull(Full()); }

TEST_CASE("OMS-MSG-003: setting again replaces and empty text removes") {
  Message message = Full();

  message.SetMessageKey("a much longer key than before").SetPriority(1);
  message.SetReplyTo("").SetDestination("other");
  message.SetDurability(Durability::kDefault);
  message.SetBody("new body");

  CHECK(message.message_key() == "a much longer key than before");
  CHECK(message.priority() == 1);
  CHECK(message.reply_to().empty());
  CHECK(message.destination() == "other");
  CHECK(message.durability() == Durability::kDefault);
  CHECK(message.body() == "new body");
  CHECK(message.correlation_id() == "correlation");
  CHECK(message.properties().Get<int32_t>("tries").value() == 3);
  message.SetMessageKey("k");
  CHECK(message.message_key() == "k");
  CHECK(message.tracestate() == "a=b");
}

TEST_CASE("OMS-MSG-003: an empty message can be filled by setters") {
  Message message;

  message.SetMessageKey("key").SetDestination("orders").SetBody("x");

  CHECK(message.message_key() == "key");
  CHECK(message.destination() == "orders");
  CHECK(message.body() == "x");
  Message other;
  other.SetBody("y");
  CHECK(other.body() == "y");
  CHECK(other.destination().empty());
}

TEST_CASE("OMS-MSG-004: the order of the setters leaves no trace") {
  Message one("orders", "x");
  one.SetMessageKey("k").SetPriority(3).SetTracestate("t").SetDelay(
      milliseconds(1));
  REQUIRE(one.SetProperty("a", 1).ok());
  REQUIRE(one.SetProperty("b", 2).ok());
  Message other;
  REQUIRE(other.SetProperty("b", 2).ok());
  other.SetTracestate("t").SetDelay(milliseconds(1)).SetPriority(3);
  REQUIRE(other.SetProperty("a", 1).ok());
  other.SetMessageKey("k").SetDestination("orders").SetBody("x");

  const std::string_view fields = MessageAccess::Fields(one);

  CHECK(fields == MessageAccess::Fields(other));
  int last = 0;
  size_t at = 0;
  while (const auto field = internal::FieldAt(fields, at)) {
    CHECK(static_cast<int>(field->type) > last);
    last = static_cast<int>(field->type);
    at = field->end;
  }
  CHECK(at == fields.size());
}

TEST_CASE("OMS-MSG-005: copies are independent") {
  Message original = Full();
  Message copy(original);
  Message assigned;
  assigned = original;

  copy.SetMessageKey("changed").SetBody("changed");
  original.SetDestination("moved");
  REQUIRE(assigned.SetProperty("tries", 4).ok());

  CHECK(copy.message_key() == "changed");
  CHECK(copy.destination() == "orders");
  CHECK(original.message_key() == "key");
  CHECK(original.body() == "42 apples");
  CHECK(original.properties().Get<int32_t>("tries").value() == 3);
  CHECK(assigned.properties().Get<int32_t>("tries").value() == 4);
  CHECK(assigned.destination() == "orders");
}

TEST_CASE("OMS-MSG-005: moving leaves an empty message") {
  Message original = Full();

  Message moved(std::move(original));
  Message assigned("other", "y");
  assigned = std::move(moved);

  CheckFull(assigned);
  CHECK(original.body().empty());  // NOLINT(bugprone-use-after-move)
  CHECK(original.destination().empty());
  original.SetBody("again");
  CHECK(original.body() == "again");
  Message& self = assigned;
  assigned = self;
  assigned = std::move(self);
  CheckFull(assigned);
}

TEST_CASE("OMS-MSG-006: a borrowed body is not copied and given back once") {
  static std::string buffer;
  buffer = "the body";
  int released = 0;
  const auto release = [](void* context) { ++*static_cast<int*>(context); };
  {
    Message message = Message::Borrow("orders", buffer, release, &released);
    message.SetMessageKey("key");
    const Message copy(message);

    CHECK(message.body().data() == buffer.data());
    CHECK(copy.body() == "the body");
    message = Message();
    CHECK(copy.body().data() == buffer.data());
    CHECK(released == 0);
  }
  CHECK(released == 1);
}

TEST_CASE("OMS-MSG-006: a borrowed body is given back when it is replaced") {
  std::string buffer = "the body";
  int released = 0;
  const auto release = [](void* context) { ++*static_cast<int*>(context); };
  Message replaced = Message::Borrow("orders", buffer, release, &released);
  Message grown = Message::Borrow("orders", buffer, release, &released);

  replaced.SetBody("mine");
  CHECK(released == 1);
  grown.SetMessageKey(std::string(10000, 'k'));
  grown = Message();
  CHECK(released == 2);

  CHECK(replaced.body() == "mine");
  CHECK(replaced.destination() == "orders");
}

TEST_CASE("OMS-MSG-006: a body too large to count is too large to send") {
  static char byte = 'x';
  // Nobody reads a borrowed body before it is sent.
  const std::string_view huge(&byte, (size_t{1} << 32) + 1);

  const Message message = Message::Borrow(
      "orders", huge, [](void*) {}, nullptr);

  CHECK(message.body().size() > kMaxBodyBytes);
}

TEST_CASE("OMS-MSG-007: a received message is a view of the store's bytes") {
  std::atomic<int> ended{0};
  Message sent = Full();
  MessageAccess::SetField(sent, Field::kOriginId, "first");
  auto* const stored = new Stored(MessageAccess::FieldsAfterDestination(sent),
                                  sent.body(), ended);
  const std::string before = stored->bytes;

  const Message message = stored->Deliver(2);

  CheckFull(message);
  CHECK(message.body().data() == stored->bytes.data() + stored->fields_size);
  CHECK(message.partition() == 2);
  CHECK(message.offset() == 17);
  CHECK(message.delivery_count() == 2);
  CHECK(message.store_timestamp() == milliseconds(1000));
  CHECK(message.store_host() == "store.example");
  MessageId::StoreId id;
  id.fill(7);
  CHECK(message.message_id() == MessageId(id, 3, 99));
  CHECK(message.origin_id().ToString() == "first");
  Message changed(message);
  changed.SetMessageKey("changed").SetBody("changed").SetDestination("other");
  CHECK(changed.body() == "changed");
  CHECK(changed.destination() == "other");
  CHECK(changed.correlation_id() == "correlation");
  CHECK(changed.message_id() == message.message_id());
  CHECK(stored->bytes == before);
  CheckFull(message);
  stored->Unref();
}

TEST_CASE("OMS-MSG-008: a received message keeps its bytes alive") {
  std::atomic<int> ended{0};
  {
    Message copy;
    {
      const Message message = Receive(Full(), ended);
      copy = message;
    }
    CHECK(ended == 0);
    CheckFull(copy);
  }
  CHECK(ended == 1);
  {
    Message message = Receive(Full(), ended);
    message.SetPriority(2);
    CHECK(ended == 2);
    CHECK(message.body() == "42 apples");
    CHECK(message.destination() == "orders");
    CHECK(message.priority() == 2);
  }
  CHECK(ended == 2);
}

TEST_CASE("OMS-MSG-009: a priority out of range counts as the default") {
  for (const int priority : {std::numeric_limits<int>::min(), -1, 0, 11, 255,
                             256, 261, std::numeric_limits<int>::max()}) {
    CHECK(Message("orders", "x").SetPriority(priority).priority() == 5);
  }
  for (int priority = 1; priority <= 10; ++priority) {
    CHECK(Message("orders", "x").SetPriority(priority).priority() == priority);
  }
}

TEST_CASE("OMS-MSG-010: properties are edited one by one or as a whole") {
  Message message("orders", "x");

  CHECK(message.SetProperty("b", "text").ok());
  CHECK(message.SetProperty("a", int64_t{1}).ok());
  CHECK(message.SetProperty("b", true).ok());
  CHECK(OmsCode(message.SetProperty("", 1)) == Code::kBadParameter);
  CHECK(OmsCode(message.SetProperty("k", "\xFF")) == Code::kBadParameter);

  CHECK(message.properties().size() == 2);
  CHECK(message.properties().Get<int64_t>("a").value() == 1);
  CHECK(message.properties().Get<bool>("b").value());
  KeyValue all;
  REQUIRE(all.Put("c", 3.5).ok());
  message.SetProperties(all);
  CHECK(message.properties() == all.view());
  message.SetProperties(KeyValueView());
  CHECK(message.properties().empty());
}

TEST_CASE("OMS-MSG-011: setters take views of the message itself") {
  std::atomic<int> ended{0};
  const auto change = [](Message& message) {
    message.SetMessageKey(message.body());
    message.SetCorrelationId(message.message_key());
    message.SetReplyTo(message.destination());
    message.SetDestination(message.correlation_id());
    REQUIRE(message.SetProperty("body", message.body()).ok());
    message.SetBody(message.reply_to());
    CHECK(message.message_key() == "42 apples");
    CHECK(message.correlation_id() == "42 apples");
    CHECK(message.reply_to() == "orders");
    CHECK(message.destination() == "42 apples");
    CHECK(message.properties().GetOr("body", "") == "42 apples");
    CHECK(message.body() == "orders");
    message.SetBody(message.body());
    CHECK(message.body() == "orders");
  };
  Message built("orders", "42 apples");
  Message received = Receive(built, ended);

  change(built);
  change(received);

  CHECK(ended == 1);
}

TEST_CASE("OMS-MSG-011: setters take views of what the store keeps") {
  std::atomic<int> ended{0};
  const Message sent("orders", "42 apples");
  Message by_queue = Receive(sent, ended);
  Message by_host = Receive(sent, ended);
  Message by_body = Receive(sent, ended);

  by_queue.SetReplyTo(by_queue.destination());
  by_host.SetMessageKey(by_host.store_host());
  by_body.SetBody(by_body.destination());

  CHECK(by_queue.reply_to() == "orders");
  CHECK(by_host.message_key() == "store.example");
  CHECK(by_body.body() == "orders");
}

TEST_CASE("OMS-MSG-012: fields grow far beyond their first room") {
  Message message("orders", "x");
  const std::string large(100000, 'l');

  message.SetMessageKey(large).SetTracestate(large).SetReplyTo("r");
  message.SetCorrelationId(large);

  CHECK(message.message_key() == large);
  CHECK(message.tracestate() == large);
  CHECK(message.correlation_id() == large);
  CHECK(message.reply_to() == "r");
  CHECK(message.body() == "x");
}

TEST_CASE("OMS-MSG-013: an expiry counts from now and saturates") {
  const auto now = std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  Message message("orders", "x");

  ExpireAfter(message, milliseconds(5000));
  CHECK(message.expire_at() >= now + milliseconds(5000));
  CHECK(message.expire_at() < now + milliseconds(60000));

  ExpireAfter(message, milliseconds::max());
  CHECK(message.expire_at() == milliseconds::max());
}

TEST_CASE("OMS-MSG-014: ids come from the store or as a broker's text") {
  std::atomic<int> ended{0};
  Message message("orders", "x");
  MessageAccess::SetField(message, Field::kMessageId, "broker/1");

  CHECK(message.message_id().ToString() == "broker/1");
  CHECK(message.origin_id() == message.message_id());
  const Message received = Receive(Message("orders", "x"), ended);
  CHECK(received.message_id().ToString() ==
        "07070707070707070707070707070707-3-99");
  CHECK(received.origin_id() == received.message_id());
}

TEST_CASE("OMS-MSG-014: an id is printed into room of its reader's") {
  std::array<char, MessageId::kMaxPrintedBytes> room;
  MessageId::StoreId store;
  store.fill(0xfe);
  const MessageId longest(store, UINT32_MAX, UINT64_MAX);

  CHECK(longest.Print(room) ==
        "fefefefefefefefefefefefefefefefe-4294967295-18446744073709551615");
  CHECK(longest.Print(room) == longest.ToString());
  CHECK(MessageId::FromText("broker/1")->Print(room) == "broker/1");
  CHECK(MessageId().Print(room).empty());
}

TEST_CASE("OMS-MSG-015: birth is told where it is not implied") {
  std::atomic<int> ended{0};
  Message sent("orders", "x");
  CHECK(Receive(sent, ended).born_timestamp() == milliseconds(1000));
  CHECK(Receive(sent, ended).born_host() == "store.example");

  const int64_t born = 900;
  MessageAccess::SetField(sent, Field::kBornTimestamp,
                          internal::NumberBytes(born));
  MessageAccess::SetField(sent, Field::kBornHost, "client.example");
  MessageAccess::SetField(sent, Field::kVersion, "1.1.0");

  const Message received = Receive(sent, ended);
  CHECK(received.born_timestamp() == milliseconds(900));
  CHECK(received.born_host() == "client.example");
  CHECK(received.store_host() == "store.example");
  CHECK(received.version() == "1.1.0");
}

TEST_CASE("OMS-MSG-016: damaged fields are read safely") {
  std::atomic<int> ended{0};
  const Message full = Full();
  const std::string good(MessageAccess::FieldsAfterDestination(full));
  size_t read = 0;
  const auto read_all = [&](std::string_view fields) {
    // In a buffer of exactly that size, so that a sanitizer sees the end.
    auto* const stored = new Stored(fields, "", ended);
    const Message message = stored->Deliver();
    stored->Unref();
    read += message.message_key().size() + message.correlation_id().size() +
            message.reply_to().size() + message.tracestate().size() +
            message.message_id().ToString().size() + message.body().size() +
            message.origin_id().ToString().size();
    read += static_cast<size_t>(message.priority()) +
            static_cast<size_t>(message.qos());
    for (const auto& entry : message.properties()) read += entry.key.size();
    Message changed(message);
    changed.SetMessageKey("new").SetPriority(2);
    CHECK(changed.destination() == "orders");
    CHECK(changed.message_key() == "new");
  };

  for (size_t size = 0; size < good.size(); ++size) {
    read_all(std::string_view(good).substr(0, size));
  }
  for (size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[i] = static_cast<char>(value);
      read_all(bad);
    }
  }

  CHECK(read > 0);
}

TEST_CASE("OMS-MSG-017: a message is one cache line") {
  CHECK(sizeof(Message) == 64);
}

TEST_CASE("OMS-MSG-018: copies may end on any thread") {
  std::atomic<int> ended{0};
  std::atomic<int> released{0};
  {
    const Message received = Receive(Full(), ended);
    const Message borrowed = Message::Borrow(
        "orders", "body",
        [](void* context) {
          static_cast<std::atomic<int>*>(context)->fetch_add(1);
        },
        &released);
    const Message built = Full();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([received, borrowed, built] {
        for (int i = 0; i < 1000; ++i) {
          Message copy(i % 3 == 0 ? received : i % 3 == 1 ? borrowed : built);
          if (i % 7 == 0) copy.SetMessageKey("mine");
          if (copy.body().empty()) FAIL_CHECK("a copy lost its body");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CheckFull(built);
    CheckFull(received);
  }
  CHECK(ended == 1);
  CHECK(released == 1);
}

TEST_CASE("OMS-MSG-019: any sequence of changes agrees with a simple model") {
  constexpr Field kTexts[] = {Field::kMessageKey,  Field::kCorrelationId,
                              Field::kReplyTo,     Field::kDeduplicationId,
                              Field::kCompression, Field::kTraceParent,
                              Field::kTraceState,  Field::kDestination};
  struct Model {
    Message message;
    std::map<Field, std::string> fields;
    std::string body;
  };
  std::atomic<int> ended{0};
  std::mt19937 random(20261122);
  std::vector<Model> models(4);

  for (int step = 0; step < 20000; ++step) {
    Model& model = models[random() % models.size()];
    const std::string text(
        random() % (random() % 50 == 0 ? 5000 : 40),
        static_cast<char>('a' + static_cast<char>(random() % 26)));
    switch (random() % 8) {
      case 0:
        model = models[random() % models.size()];
        break;
      case 1:
        model.message.SetBody(text);
        model.body = text;
        break;
      case 2:
        // The store that these tests receive from has one queue.
        if (model.fields[Field::kDestination] == "orders") {
          model.message = Receive(model.message, ended);
        }
        break;
      case 3:
        model.message = Message("orders", text);
        model.fields.clear();
        model.fields[Field::kDestination] = "orders";
        model.body = text;
        break;
      default: {
        const Field field = kTexts[random() % std::size(kTexts)];
        MessageAccess::SetField(model.message, field, text);
        model.fields[field] = text;
        break;
      }
    }
    for (const Model& one : models) {
      REQUIRE(one.message.body() == one.body);
      for (const auto& [field, expected] : one.fields) {
        const std::string_view actual =
            field == Field::kDestination
                ? one.message.destination()
                : internal::FindField(MessageAccess::Fields(one.message), field)
                      .value_or("");
        REQUIRE(actual == expected);
      }
    }
  }
  models.clear();
  CHECK(ended > 0);
}

}  // namespace
}  // namespace openmessaging::message_test
