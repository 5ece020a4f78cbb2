// SPDX-License-Identifier: Apache-2.0
//
// What is wrong from the start is refused: with one clear line and its code,
// and with nothing left behind.

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::bad_input_test {
namespace {

namespace fs = std::filesystem;

// Name and bytes of everything below a directory; links by their target.
using Snapshot = std::map<std::string, std::string>;

std::string ReadBytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

void WriteBytes(const fs::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

Snapshot SnapshotOf(const fs::path& directory) {
  Snapshot snapshot;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    const std::string name = fs::relative(entry.path(), directory);
    if (entry.is_symlink()) {
      snapshot[name] = "link to " + fs::read_symlink(entry.path()).string();
    } else if (entry.is_directory()) {
      snapshot[name] = "directory";
    } else {
      snapshot[name] = "file " + ReadBytes(entry.path());
    }
  }
  return snapshot;
}

// The text of every error is one line: `<operation> "<object>": <what>`.
void CheckLine(const absl::Status& status) {
  const std::string text = Text(status);
  INFO(text);
  REQUIRE_FALSE(text.empty());
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.find(": ") != std::string::npos);
  CHECK(text.back() != '.');
  CHECK_FALSE((text.front() >= 'A' && text.front() <= 'Z'));
}

void CheckRefused(const absl::Status& status, Code code,
                  absl::StatusCode canonical) {
  INFO(Text(status));
  CHECK(OmsCode(status) == code);
  CHECK(status.code() == canonical);
  CheckLine(status);
}

absl::Status ConnectStatus(const std::string& url) {
  return MessagingAccessPoint::Connect(url).status();
}

// A store that was used and closed, in a directory of its own.
class ClosedStore {
 public:
  ClosedStore() {
    const auto bus = ConnectWith(place_.Url(), "orders");
    SendOne(bus, Message("orders", "42 apples"));
  }
  std::string path() const { return place_.path(); }
  std::string url() const { return place_.Url(); }
  fs::path file(std::string_view name) const { return fs::path(path()) / name; }

 private:
  FilePlace place_;
};

TEST_CASE("OMS-MAP-001: what is not a URL of these drivers is refused") {
  for (const char* const url :
       {"", "file:///tmp/x", "http://broker", "oms:", "oms:file",
        "oms:file:", "oms:file://relative", "oms:file://host:1",
        "oms:memory:", "oms:memory:///path", "oms:memory://a,b",
        "oms:memory://a:1", "oms:file:///tmp/a\nb"}) {
    INFO(url);
    CheckRefused(ConnectStatus(url), Code::kIllegalUrl,
                 absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("OMS-MAP-016: an unknown driver is named beside the known ones") {
  const absl::Status status = ConnectStatus("oms:nosuch://broker");

  CheckRefused(status, Code::kCannotConstruct,
               absl::StatusCode::kInvalidArgument);
  for (const char* const name : {"nosuch", "file", "memory"}) {
    CHECK(Text(status).find(name) != std::string::npos);
  }
}

TEST_CASE_TEMPLATE("OMS-MAP-003: bad attributes are refused and make nothing",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  for (const char* const attributes :
       {"?windows=16", "?window=15", "?window=32769", "?window=many",
        "?window=-16", "?auto-create=yes", "?auto-create=", "?wait=1",
        "?ack.sync=yes", "?first-segment=4095", "?first-segment=8KiB&max-segment=4KiB",
        "?max-segment=2GiB", "?first-segment=big", "?slots=1", "?slots=1025",
        "?bells=0", "?big-body=63", "?big-body=2GiB", "?big-body=large",
        "?max-segments=3", "?operation.timeout=soon",
        "?operation.timeout=0s", "?lenient=perhaps"}) {
    INFO(attributes);
    CheckRefused(ConnectStatus(place.Url(attributes)), Code::kBadParameter,
                 absl::StatusCode::kInvalidArgument);
    if constexpr (Place::kIsFile) CHECK_FALSE(fs::exists(place.path()));
  }
}

TEST_CASE_TEMPLATE("OMS-PROD-032: a missing queue is 1404 and is not made",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Must(bus.CreatePullConsumer());

  const auto sent = producer.Send(Message("missing", "x"));
  const absl::Status bound = consumer.Bind("missing");
  const auto described = bus.resource_manager().DescribeQueue("missing");
  const absl::Status deleted = bus.resource_manager().DeleteQueue("missing");

  for (const absl::Status& status :
       {sent.status(), bound, described.status(), deleted}) {
    CheckRefused(status, Code::kQueueNotFound, absl::StatusCode::kNotFound);
    CHECK(Text(status).find("missing") != std::string::npos);
  }
  CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
  CHECK_FALSE(IsRetriable(sent.status()));
  CHECK(Must(bus.resource_manager().ListQueues()).size() == 1);
  CHECK(consumer.bound_queues().empty());
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE_TEMPLATE("OMS-PROD-005: a body over the limit is 1413", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  const std::string largest(kDefaultMaxBodyBytes, 'x');

  const auto refused = producer.Send(Message("orders", largest + 'x'));
  const auto sent = producer.Send(Message("orders", largest));

  CheckRefused(refused.status(), Code::kBodyTooLarge,
               absl::StatusCode::kInvalidArgument);
  CHECK(Must(sent).offset == 0);
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(Take(consumer)->body() == largest);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-PROD-006: header and properties have limits", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  Message header("orders", "x");
  header.SetCorrelationId(std::string(kMaxHeaderBytes + 1, 'c'));
  Message properties("orders", "x");
  Must(properties.SetProperty("k", std::string(kMaxPropertiesBytes, 'p')));

  CheckRefused(producer.Send(header).status(), Code::kHeaderTooLarge,
               absl::StatusCode::kInvalidArgument);
  CheckRefused(producer.Send(properties).status(), Code::kAttributesTooLarge,
               absl::StatusCode::kInvalidArgument);
  CHECK(Must(producer.Send(Message("orders", "x"))).offset == 0);
}

TEST_CASE_TEMPLATE("OMS-PROD-011: what the store cannot do is 1600", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  const Message plain("orders", "x");
  std::vector<Message> demands = {Message(plain).SetPriority(9),
                                  Message(plain).SetDeduplicationId("once")};
  if (!Place::kIsFile) {
    demands.push_back(Message(plain).SetDurability(Durability::kProcess));
    demands.push_back(Message(plain).SetDurability(Durability::kDisk));
  }

  for (const Message& message : demands) {
    CheckRefused(producer.Send(message).status(), Code::kUnsupported,
                 absl::StatusCode::kUnimplemented);
  }
  CheckRefused(bus.resource_manager().CreateQueue("shop://orders"),
               Code::kNamespaceNotFound, absl::StatusCode::kNotFound);
  CHECK(Must(producer.Send(plain)).offset == 0);
}

TEST_CASE_TEMPLATE("OMS-CONS-009: foreign and forged receipts are 1603", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  Place other_place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = ConnectWith(other_place.Url(), "orders");
  SendOne(bus, Message("orders", "ours"));
  SendOne(other_bus, Message("orders", "theirs"));
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer other = Consume(other_bus, "orders");
  const Delivery delivery = Take(consumer);
  const Delivery theirs = Take(other);
  std::vector<Receipt> receipts = {Receipt(), Receipt(0, "garbage"),
                                   Receipt(0, std::string(4096, 'g')),
                                   theirs.receipt()};
  const std::string token(delivery.receipt().token());
  for (size_t at = 0; at < token.size(); ++at) {
    std::string forged = token;
    forged[at] = static_cast<char>(forged[at] ^ 1);
    receipts.emplace_back(0, forged);
  }

  for (const Receipt& receipt : receipts) {
    CheckRefused(consumer.Ack(receipt), Code::kReceiptInvalid,
                 absl::StatusCode::kInvalidArgument);
    CheckRefused(consumer.Nack(receipt), Code::kReceiptInvalid,
                 absl::StatusCode::kInvalidArgument);
    CheckRefused(consumer.Nack(receipt, kLong), Code::kReceiptInvalid,
                 absl::StatusCode::kInvalidArgument);
  }
  CHECK(delivery.Ack().ok());
  CHECK(theirs.Ack().ok());
}

TEST_CASE_TEMPLATE("OMS-CONS-009: another queue's receipt is 1603", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("bills"));
  SendOne(bus, Message("orders", "x"));
  PullConsumer orders = Consume(bus, "orders");
  PullConsumer bills = Consume(bus, "bills");
  PullConsumer group = Consume(bus, "orders", {.group = "another"});
  const Delivery delivery = Take(orders);

  CheckRefused(bills.Ack(delivery.receipt()), Code::kReceiptInvalid,
               absl::StatusCode::kInvalidArgument);
  CheckRefused(group.Ack(delivery.receipt()), Code::kReceiptInvalid,
               absl::StatusCode::kInvalidArgument);
  CHECK(Take(group)->body() == "x");
  CHECK(delivery.Ack().ok());
}

TEST_CASE("OMS-REF-010: a file is not a store") {
  const TemporaryDirectory parent;
  const std::string path = parent.path() + "/file";
  WriteBytes(path, "precious");
  const Snapshot before = SnapshotOf(parent.path());

  CheckRefused(ConnectStatus("oms:file://" + path), Code::kBadParameter,
               absl::StatusCode::kInvalidArgument);
  CheckRefused(ConnectStatus("oms:file://" + path + "/below"),
               Code::kBadParameter, absl::StatusCode::kInvalidArgument);

  CHECK(SnapshotOf(parent.path()) == before);
}

TEST_CASE("OMS-REF-010: only the last directory of a path is made") {
  const TemporaryDirectory parent;

  CheckRefused(ConnectStatus("oms:file://" + parent.path() + "/a/b"),
               Code::kBadParameter, absl::StatusCode::kInvalidArgument);

  CHECK(SnapshotOf(parent.path()).empty());
  CHECK(ConnectStatus("oms:file://" + parent.path() + "/a").ok());
}

TEST_CASE("OMS-MAP-001: a name too long for the file system is 1418") {
  const TemporaryDirectory parent;

  CheckRefused(ConnectStatus("oms:file://" + parent.path() + "/" +
                             std::string(300, 'x')),
               Code::kBadParameter, absl::StatusCode::kInvalidArgument);

  CHECK(SnapshotOf(parent.path()).empty());
}

TEST_CASE("OMS-REF-010: a directory of something else is left alone") {
  const TemporaryDirectory foreign;
  WriteBytes(foreign.path() + "/thesis.txt", "precious");
  const Snapshot before = SnapshotOf(foreign.path());

  CheckRefused(ConnectStatus("oms:file://" + foreign.path()),
               Code::kBadParameter, absl::StatusCode::kInvalidArgument);

  CHECK(SnapshotOf(foreign.path()) == before);
}

TEST_CASE("OMS-REF-010: a STORE of something else is left alone") {
  const TemporaryDirectory foreign;
  for (const std::string& bytes :
       {std::string(), std::string("mine"), std::string(200, 'm')}) {
    WriteBytes(foreign.path() + "/STORE", bytes);
    const Snapshot before = SnapshotOf(foreign.path());

    CheckRefused(ConnectStatus("oms:file://" + foreign.path()),
                 Code::kBadParameter, absl::StatusCode::kInvalidArgument);

    CHECK(SnapshotOf(foreign.path()) == before);
  }
}

TEST_CASE("OMS-MAP-001: an empty directory becomes a store") {
  const TemporaryDirectory empty;

  const auto bus = ConnectWith("oms:file://" + empty.path(), "orders");

  CHECK(SendOne(bus, Message("orders", "x")).offset == 0);
}

TEST_CASE("OMS-REF-010: links in place of files are refused with 1403") {
  for (const char* const name : {"LOCK", "STORE"}) {
    INFO(name);
    const ClosedStore store;
    const TemporaryDirectory elsewhere;
    const fs::path target = fs::path(elsewhere.path()) / "target";
    fs::rename(store.file(name), target);
    fs::create_symlink(target, store.file(name));
    const Snapshot before = SnapshotOf(store.path());
    const std::string bytes = ReadBytes(target);

    CheckRefused(ConnectStatus(store.url()), Code::kForbidden,
                 absl::StatusCode::kPermissionDenied);

    CHECK(SnapshotOf(store.path()) == before);
    CHECK(ReadBytes(target) == bytes);
  }
}

TEST_CASE("OMS-REF-010: a link to nowhere does not make its target") {
  for (const char* const name : {"LOCK", "STORE"}) {
    INFO(name);
    const TemporaryDirectory directory;
    const TemporaryDirectory elsewhere;
    const fs::path target = fs::path(elsewhere.path()) / "target";
    fs::create_symlink(target, fs::path(directory.path()) / name);

    CheckRefused(ConnectStatus("oms:file://" + directory.path()),
                 Code::kForbidden, absl::StatusCode::kPermissionDenied);

    CHECK_FALSE(fs::exists(target));
    CHECK(SnapshotOf(directory.path()).size() == 1);
  }
}

TEST_CASE("OMS-REF-010: a second name of STORE is refused with 1403") {
  const ClosedStore store;
  const TemporaryDirectory elsewhere;
  fs::create_hard_link(store.file("STORE"), elsewhere.path() + "/STORE");

  CheckRefused(ConnectStatus(store.url()), Code::kForbidden,
               absl::StatusCode::kPermissionDenied);
}

TEST_CASE("OMS-REF-010: a directory that others may write is refused") {
  for (const mode_t mode : {0777, 0770, 0702}) {
    INFO(mode);
    const TemporaryDirectory directory;
    REQUIRE(::chmod(directory.path().c_str(), mode) == 0);

    CheckRefused(ConnectStatus("oms:file://" + directory.path()),
                 Code::kForbidden, absl::StatusCode::kPermissionDenied);

    CHECK(SnapshotOf(directory.path()).empty());
  }
}

// Changes one byte of STORE, whose first bytes are: magic 8, major 2, minor 2,
// size 4, incompatible bits 4, compatible bits 4, uuid 16.
void ChangeStoreFile(const ClosedStore& store, size_t at) {
  std::string bytes = ReadBytes(store.file("STORE"));
  REQUIRE(bytes.size() > at);
  bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
  WriteBytes(store.file("STORE"), bytes);
}

TEST_CASE("OMS-REF-009: another format is 10003 and is not touched") {
  constexpr size_t kMajor = 8;
  constexpr size_t kIncompatible = 16;
  for (const size_t at : {kMajor, kIncompatible}) {
    INFO(at);
    const ClosedStore store;
    ChangeStoreFile(store, at);
    const Snapshot before = SnapshotOf(store.path());

    CheckRefused(ConnectStatus(store.url()), Code::kIncompatibleVersion,
                 absl::StatusCode::kUnimplemented);
    CheckRefused(CheckStore(store.path()).status(), Code::kIncompatibleVersion,
                 absl::StatusCode::kUnimplemented);

    CHECK(SnapshotOf(store.path()) == before);
  }
}

TEST_CASE("OMS-REF-005: a damaged STORE is 1609 and is not touched") {
  constexpr size_t kUuid = 24;
  constexpr size_t kChecksum = 100;
  for (const size_t at : {kUuid, kChecksum}) {
    INFO(at);
    const ClosedStore store;
    ChangeStoreFile(store, at);
    const Snapshot before = SnapshotOf(store.path());

    CheckRefused(ConnectStatus(store.url()), Code::kDamaged,
                 absl::StatusCode::kDataLoss);
    CHECK(Must(CheckStore(store.path())).damaged());

    CHECK(SnapshotOf(store.path()) == before);
    ChangeStoreFile(store, at);
    const auto bus = Connect(store.url());
    PullConsumer consumer = Consume(bus, "orders");
    CHECK(Take(consumer)->body() == "42 apples");
  }
}

TEST_CASE("OMS-REF-005: a STORE that was cut is 1609") {
  const ClosedStore store;
  WriteBytes(store.file("STORE"), ReadBytes(store.file("STORE")).substr(0, 50));

  CheckRefused(ConnectStatus(store.url()), Code::kDamaged,
               absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace openmessaging::reference::bad_input_test
