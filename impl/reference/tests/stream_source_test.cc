// SPDX-License-Identifier: Apache-2.0
//
// Reading by position: where a reader begins, what it sees and when, and that
// no group sees it.

#include "stream_source.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "async_send.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "faulty_storage.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::testing::stream_source_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Keeps what a reader delivers.
struct Read final : driver::DeliverySink {
  void Deliver(Message message, const Receipt& receipt) override {
    CHECK(receipt.token().empty());
    messages.push_back(std::move(message));
  }
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> all;
    for (const Message& message : messages) all.push_back(message.offset());
    return all;
  }
  std::vector<Message> messages{};
};

// A store with the queue "orders", and its partitions as streams.
struct Stream {
  explicit Stream(int32_t partitions = 1) {
    CreateQueue(*handle.store, "orders", partitions);
  }
  ReferenceStreamSource Source() const {
    return ReferenceStreamSource(handle.store, false);
  }
  std::unique_ptr<driver::StreamReader> Open(int64_t offset,
                                             int32_t partition = 0) const {
    auto reader = Source().Open("orders", partition, offset, InGoodTime());
    REQUIRE_MESSAGE(reader.ok(), reader.status().message());
    return *std::move(reader);
  }
  driver::StreamSource::Range Range() const {
    return Source().RangeOf("orders", 0, InGoodTime()).value();
  }
  int64_t OffsetAt(int64_t ms) const {
    return Source().OffsetAt("orders", 0, milliseconds(ms), InGoodTime()).value();
  }
  void SendNumbers(int first, int last, std::string_view padding = {}) const {
    for (int n = first; n <= last; ++n) {
      SendOne(handle.store, std::to_string(n) + std::string(padding),
              Durability::kProcess);
    }
  }

  TestMachine machine{};
  TempDirectory directory{};
  Handle handle = OpenStore(directory.path(), machine);
};

std::vector<int64_t> Numbers(int64_t first, int64_t last) {
  std::vector<int64_t> all;
  for (int64_t n = first; n <= last; ++n) all.push_back(n);
  return all;
}

absl::Status ReadNow(driver::StreamReader& reader, Read& into,
                     size_t max = 1000) {
  return reader.Read(max, steady_clock::now(), into);
}

TEST_CASE("a reader begins where it is told and reads on from there") {
  const Stream stream;
  stream.SendNumbers(0, 99, std::string(500, ' '));
  const auto reader = stream.Open(40);
  Read read;

  CHECK(ReadNow(*reader, read, 10).ok());
  CHECK(read.offsets() == Numbers(40, 49));
  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.offsets() == Numbers(40, 99));
  for (const Message& message : read.messages) {
    CHECK(message.body().starts_with(std::to_string(message.offset())));
    CHECK(message.destination() == "orders");
    CHECK(message.delivery_count() == 1);
  }

  CHECK(reader->Seek(98, InGoodTime()).ok());
  Read again;
  CHECK(ReadNow(*reader, again).ok());
  CHECK(again.offsets() == Numbers(98, 99));
}

TEST_CASE("no group sees that a stream was read") {
  const Stream stream;
  stream.SendNumbers(0, 9);
  Read read;
  CHECK(ReadNow(*stream.Open(0), read).ok());

  Member member(stream.handle.store, "g");
  const auto seen = member.Take();

  REQUIRE(seen.size() == 10);
  for (const Seen& one : seen) CHECK(one.delivery_count == 1);
}

TEST_CASE("each partition is a stream of its own") {
  const Stream stream(3);
  for (int32_t p = 0; p < 3; ++p) {
    for (int32_t n = 0; n <= p; ++n) {
      SendOne(stream.handle.store, "x", Durability::kProcess, p);
    }
  }

  CHECK(stream.Source().PartitionsOf("orders", InGoodTime()).value() == 3);
  for (int32_t p = 0; p < 3; ++p) {
    Read read;
    CHECK(ReadNow(*stream.Open(0, p), read).ok());
    CHECK(read.offsets() == Numbers(0, p));
    CHECK(stream.Source().RangeOf("orders", p, InGoodTime()).value().end == p + 1);
  }
}

TEST_CASE("what does not exist is told apart") {
  const Stream stream;
  auto source = stream.Source();

  CHECK(OmsCode(source.PartitionsOf("nowhere", InGoodTime()).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(source.RangeOf("nowhere", 0, InGoodTime()).status()) ==
        Code::kQueueNotFound);
  for (const int32_t partition : {-1, 1, INT32_MAX}) {
    CHECK(OmsCode(source.RangeOf("orders", partition, InGoodTime()).status()) ==
          Code::kBadParameter);
    CHECK(OmsCode(source.Open("orders", partition, 0, InGoodTime()).status()) ==
          Code::kBadParameter);
  }
}

TEST_CASE("after retirement a reader begins with what is stored") {
  const Stream stream;
  stream.SendNumbers(0, 9, std::string(1000, ' '));
  Read kept;
  CHECK(ReadNow(*stream.Open(0), kept, 1).ok());
  const auto behind = stream.Open(1);
  stream.SendNumbers(10, 99, std::string(1000, ' '));
  CHECK(AllStored(stream.handle.store).size() == 100);

  stream.handle.store->Retire();

  const auto range = stream.Range();
  CHECK(range.first > 1);
  CHECK(range.end == 100);
  for (const int64_t from : {INT64_MIN, int64_t{-1}, int64_t{0}, range.first}) {
    Read read;
    CHECK(ReadNow(*stream.Open(from), read).ok());
    CHECK(read.offsets() == Numbers(range.first, 99));
  }
  Read read;
  CHECK(ReadNow(*behind, read).ok());
  CHECK(read.offsets() == Numbers(range.first, 99));
  // What was read before is still there.
  CHECK(kept.messages[0].body().starts_with("0 "));
}

TEST_CASE("an offset is found by the time of its storing") {
  Stream stream;
  const int64_t begin_ms = stream.machine.clock.wall_ms;
  for (int n = 0; n < 50; ++n) {
    stream.machine.clock.wall_ms = begin_ms + 10 * n;
    stream.SendNumbers(n, n, std::string(500, ' '));
  }

  CHECK(stream.OffsetAt(INT64_MIN) == 0);
  CHECK(stream.OffsetAt(0) == 0);
  for (int n = 0; n < 50; ++n) {
    CAPTURE(n);
    CHECK(stream.OffsetAt(begin_ms + 10 * n) == n);
    CHECK(stream.OffsetAt(begin_ms + 10 * n + 1) == n + 1);
  }
  CHECK(stream.OffsetAt(INT64_MAX) == 50);
}

TEST_CASE("where the clock was set back the place found is one that fits") {
  Stream stream;
  const int64_t begin_ms = stream.machine.clock.wall_ms;
  std::vector<int64_t> stored_ms;
  for (int n = 0; n < 60; ++n) {
    // Twice the same half minute.
    stored_ms.push_back(begin_ms + 1000 * (n % 30));
    stream.machine.clock.wall_ms = stored_ms.back();
    stream.SendNumbers(n, n);
  }

  for (int64_t ms = begin_ms - 500; ms < begin_ms + 40'000; ms += 500) {
    CAPTURE(ms);
    const auto found = static_cast<size_t>(stream.OffsetAt(ms));
    if (found < 60) CHECK(stored_ms[found] >= ms);
    if (found > 0) CHECK(stored_ms[found - 1] < ms);
  }
}

TEST_CASE("a reader waits for what comes") {
  const Stream stream;
  const auto reader = stream.Open(0);
  std::thread sender([&] {
    std::this_thread::sleep_for(milliseconds(20));
    stream.SendNumbers(0, 0);
  });
  Read read;

  const absl::Status status = reader->Read(10, InGoodTime(), read);

  CHECK_MESSAGE(status.ok(), status.message());
  CHECK(read.offsets() == Numbers(0, 0));
  sender.join();
}

TEST_CASE("a reader ahead of the end waits until it is reached") {
  const Stream stream;
  const auto reader = stream.Open(3);
  Read read;
  stream.SendNumbers(0, 2);
  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.messages.empty());

  stream.SendNumbers(3, 4);

  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.offsets() == Numbers(3, 4));
}

TEST_CASE("a reader returns without a message at its deadline") {
  const Stream stream;
  Read read;
  const auto before = steady_clock::now();

  CHECK(stream.Open(0)
            ->Read(10, before + milliseconds(20), read)
            .ok());

  CHECK(steady_clock::now() - before >= milliseconds(20));
  CHECK(read.messages.empty());
}

TEST_CASE("an interrupt ends the read in progress or else the next one") {
  const Stream stream;
  const auto reader = stream.Open(0);
  Read read;

  reader->Interrupt();
  CHECK(reader->Read(10, InGoodTime(), read).ok());
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(20));
    reader->Interrupt();
  });
  const auto before = steady_clock::now();
  CHECK(reader->Read(10, InGoodTime(), read).ok());
  other.join();

  CHECK(steady_clock::now() - before < std::chrono::seconds(10));
  CHECK(read.messages.empty());
  stream.SendNumbers(0, 0);
  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.messages.size() == 1);
}

TEST_CASE("a message at durability disk is read when it is durable") {
  TempDirectory directory;
  FlushDoor door;
  const auto storage = std::make_shared<FaultyStorage>(directory.path());
  storage->set_before_sync([&](std::string_view name) {
    return name.starts_with("log/0") ? door.Pass() : absl::OkStatus();
  });
  StoreOpenOptions options;
  options.create = SmallStore();
  options.housekeeper = true;
  AsyncSends sends;
  const auto store =
      Store::Open(storage, &Environment::OfMachine(), options, InGoodTime()).value();
  CreateQueue(*store, "orders");
  ReferenceProducer producer(store, false);
  door.Shut();
  sends.Send(producer, MakeMessage("first"));
  door.AwaitHeld();
  SendOne(store, "second", Durability::kProcess);
  ReferenceStreamSource source(store, false);
  const auto reader = source.Open("orders", 0, 0, InGoodTime()).value();
  Read read;

  CHECK(reader->Read(10, steady_clock::now() + milliseconds(30), read).ok());
  // Nor does what follows overtake it.
  CHECK(read.messages.empty());
  door.Open();

  while (read.messages.size() < 2) {
    const absl::Status status = reader->Read(10, InGoodTime(), read);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
  CHECK(read.offsets() == Numbers(0, 1));
  CHECK(store->Close(InGoodTime()).ok());
}

TEST_CASE("a damaged message is told once and skipped") {
  Stream stream;
  for (int n = 0; n < 5; ++n) {
    SendOne(stream.handle.store, "message " + std::to_string(n));
  }
  stream.handle.Close();
  const RecordPlace place = MessagesOf(stream.directory.path())[2];
  FlipBit(stream.directory.path() + "/" + place.file,
          place.at + place.bytes() - 1, 3);
  stream.handle = OpenStore(stream.directory.path(), stream.machine);
  const auto reader = stream.Open(0);
  Read read;

  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.offsets() == Numbers(0, 1));
  const absl::Status damage = ReadNow(*reader, read);
  CHECK(OmsCode(damage) == Code::kDamaged);
  CHECK(damage.message().find("offset 2") != std::string::npos);
  CHECK(ReadNow(*reader, read).ok());
  CHECK(read.offsets() == std::vector<int64_t>{0, 1, 3, 4});
}

TEST_CASE("the streams of a queue end with it, and all with the store") {
  Stream stream;
  const auto reader = stream.Open(0);
  Read read;

  CHECK(stream.handle.store->catalog().DeleteQueue("orders", InGoodTime()).ok());
  CHECK(OmsCode(ReadNow(*reader, read)) == Code::kQueueNotFound);
  CHECK(stream.handle.store->Close(InGoodTime()).ok());
  CHECK(OmsCode(ReadNow(*reader, read)) == Code::kClosed);
  CHECK(OmsCode(stream.Source().PartitionsOf("orders", InGoodTime()).status()) ==
        Code::kClosed);
}

TEST_CASE("both drivers declare streams and have them") {
  for (const char* const url : {"oms:memory://stream-declared", "file"}) {
    TempDirectory directory;
    const std::string where =
        *url == 'f' ? "oms:file://" + directory.path() + "/store" : url;
    const auto parsed = Url::Parse(where);
    REQUIRE(parsed.ok());
    const auto driver = driver::Registry::Default().Find(parsed->driver());
    REQUIRE(driver.ok());
    const auto connection = (*driver)->Connect(*parsed, Attributes(), InGoodTime());
    REQUIRE(connection.ok());

    const auto all = (*connection)->CapabilitiesOf("orders", InGoodTime());
    REQUIRE(all.ok());
    CHECK(all->Of(Capability::kStream) == Support::kNative);
    CHECK(driver::QueryInterface<driver::StreamSource>(**connection) !=
          nullptr);
    CHECK((*connection)->Close(InGoodTime()).ok());
  }
}

}  // namespace
}  // namespace openmessaging::reference::testing::stream_source_test
