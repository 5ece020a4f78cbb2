// SPDX-License-Identifier: Apache-2.0
//
// Files that are cut while they are mapped: with sigbus-guard=on that is a
// status, and not the end of the process.

#include "env/page_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "doctest/doctest.h"
#include "env/storage.h"
#include "store_fixture.h"

namespace openmessaging::reference::page_guard_test {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPageSize = 4096;
constexpr char kQueue[] = "orders";

std::unique_ptr<Storage> OpenGuarded(const std::string& path) {
  return Must(OpenDirectory(path, {.guard_pages = true}));
}

// A mapped file of two pages.
struct TwoPages {
  explicit TwoPages(Storage& storage, const char* name) {
    file = Must(storage.Create(name));
    Must(file->Grow(2 * kPageSize));
    region = Must(file->Map(Access::kWrite, 2 * kPageSize));
    region->data()[0] = 'a';
    region->data()[kPageSize] = 'b';
  }
  std::unique_ptr<File> file{};
  std::unique_ptr<Region> region{};
};

TEST_CASE("a page behind the end of a cut file is zeros, and that is told") {
  FilePlace place;
  const auto storage = OpenGuarded(place.path());
  const auto other = OpenGuarded(place.path() + "2");
  const TwoPages pages(*storage, "pages");
  REQUIRE_FALSE(storage->LostPages());

  fs::resize_file(place.path() + "/pages", kPageSize);
  volatile char* const data = pages.region->data();
  CHECK(data[kPageSize] == 0);
  CHECK(data[0] == 'a');
  data[kPageSize] = 'c';
  CHECK(data[kPageSize] == 'c');

  CHECK(storage->LostPages());
  CHECK_FALSE(other->LostPages());
}

// What an application does with a page of its own: the same.
int own_signals = 0;
void OwnHandler(int /*number*/, siginfo_t* info, void* /*context*/) {
  ++own_signals;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  ::mmap(reinterpret_cast<void*>(address - address % kPageSize), kPageSize,
         PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
         0);
}

TEST_CASE("who handled SIGBUS before does for other pages, and afterwards") {
  struct sigaction own {};
  own.sa_sigaction = OwnHandler;
  own.sa_flags = SA_SIGINFO;
  struct sigaction before {};
  REQUIRE(::sigaction(SIGBUS, &own, &before) == 0);
  own_signals = 0;
  {
    FilePlace place;
    const auto storage = OpenGuarded(place.path());
    const auto plain = Must(OpenDirectory(place.path(), {}));
    const TwoPages guarded(*storage, "guarded");
    const TwoPages unguarded(*plain, "unguarded");
    fs::resize_file(place.path() + "/guarded", 0);
    fs::resize_file(place.path() + "/unguarded", 0);
    volatile char* const ours = guarded.region->data();
    volatile char* const theirs = unguarded.region->data();

    CHECK(ours[0] == 0);
    CHECK(own_signals == 0);
    CHECK(theirs[0] == 0);
    CHECK(own_signals == 1);
    CHECK_FALSE(plain->LostPages());
  }
  struct sigaction after {};
  REQUIRE(::sigaction(SIGBUS, &before, &after) == 0);
  const bool is_back = after.sa_sigaction == OwnHandler;
  CHECK(is_back);
}

// Cuts every file of a store whose name begins with `prefix` to nothing.
int CutFiles(const std::string& path, const std::string& prefix) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    const std::string name = fs::relative(entry.path(), path).string();
    if (!entry.is_regular_file() || !name.starts_with(prefix)) continue;
    fs::resize_file(entry.path(), 0);
    ++count;
  }
  return count;
}

Code CodeOf(const absl::Status& status) { return OmsCode(status); }

TEST_CASE("OMS-REF-028: a store whose files are cut answers 1501") {
  for (const std::string prefix : {"log/", "ctl", "idx"}) {
    CAPTURE(prefix);
    FilePlace place;
    const std::string url = place.Url(
        "?sigbus-guard=on&housekeeper=off&first-segment=64KiB&big-body=2KiB");
    const auto bus = ConnectWith(url, kQueue);
    Producer producer = Must(bus.CreateProducer());
    for (int n = 0; n < 20; ++n) {
      Must(producer.Send(Message(kQueue, std::to_string(n))).status());
    }
    PullConsumer consumer = Consume(bus, kQueue);
    const auto held = Must(consumer.ReceiveBatch(5, kLong));
    REQUIRE(held.size() == 5);

    REQUIRE(CutFiles(place.path(), prefix) > 0);

    // Somebody finds out; from there on all do.
    absl::Status status;
    for (int n = 0; n < 2000 && status.ok(); ++n) {
      status = producer.Send(Message(kQueue, std::string(1000, 'x'))).status();
      if (status.ok()) status = consumer.ReceiveBatch(100, kShort).status();
    }
    CHECK_MESSAGE(CodeOf(status) == Code::kStorageError, Text(status));
    CHECK(CodeOf(producer.Send(Message(kQueue, "more")).status()) ==
          Code::kStorageError);
    CHECK(CodeOf(consumer.Receive(kShort).status()) == Code::kStorageError);
    CHECK(CodeOf(held[0].Ack()) == Code::kStorageError);
    // What was received is a copy.
    for (int n = 0; n < 5; ++n) {
      CHECK(held[static_cast<size_t>(n)]->body() == std::to_string(n));
    }
  }
}

TEST_CASE("a large body is a copy where pages are guarded") {
  FilePlace place;
  const auto bus =
      ConnectWith(place.Url("?sigbus-guard=on&big-body=2KiB"), kQueue);
  const std::string body(10'000, 'x');
  SendOne(bus, Message(kQueue, body));
  SendOne(bus, Message(kQueue, body));
  PullConsumer consumer = Consume(bus, kQueue);
  const auto held = Must(consumer.Receive(kLong));
  REQUIRE(held.has_value());

  REQUIRE(CutFiles(place.path(), "big/") == 2);

  CHECK((*held)->body() == body);
  CHECK((*held)->destination() == kQueue);
  // It is shorter than its record says: damage, which is no page.
  CHECK(CodeOf(consumer.Receive(kLong).status()) == Code::kDamaged);
  Must(held->Ack());
}

TEST_CASE("a guard is on or off") {
  FilePlace place;
  const auto bus =
      MessagingAccessPoint::Connect(place.Url("?sigbus-guard=perhaps"));
  CHECK(CodeOf(bus.status()) == Code::kBadParameter);
}

}  // namespace
}  // namespace openmessaging::reference::page_guard_test
