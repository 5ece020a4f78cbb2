// SPDX-License-Identifier: Apache-2.0
//
// A received body is not a copy: it lies in the mapped segment, which the
// message keeps.

#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::zero_copy_test {
namespace {

// One line of /proc/self/maps.
struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  std::string protection{};
  std::string path{};  // With " (deleted)" where the file has no name any more.
};

// Returns: the mapping that all of `bytes` lies in.
std::optional<Mapping> MappingOf(std::string_view bytes) {
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    Mapping mapping;
    char dash = 0;
    std::string skipped;
    words >> std::hex >> mapping.begin >> dash >> mapping.end >>
        mapping.protection >> skipped >> skipped >> skipped >> std::ws;
    std::getline(words, mapping.path);
    if (mapping.begin <= address && address + bytes.size() <= mapping.end) {
      return mapping;
    }
  }
  return std::nullopt;
}

bool IsMapped(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(path) != std::string::npos) return true;
  }
  return false;
}

std::string LongBody() {
  std::string body;
  for (int n = 0; body.size() < 3000; ++n) body += std::to_string(n) + ' ';
  return body;
}

TEST_CASE("OMS-MSG-007: a received body lies in a segment mapped read only") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", LongBody()).SetMessageKey("apples"));

  const Delivery delivery = Take(consumer);

  const auto mapping = MappingOf(delivery->body());
  REQUIRE(mapping.has_value());
  INFO(mapping->path);
  CHECK(mapping->protection == "r--s");
  CHECK(mapping->path.starts_with(place.path() + "/log/"));
  CHECK(mapping->path.ends_with(".seg"));
  CHECK(delivery->body() == LongBody());
  const auto key = MappingOf(delivery->message_key());
  REQUIRE(key.has_value());
  CHECK(key->path == mapping->path);
}

TEST_CASE("OMS-MSG-007: a large body is mapped read only while it is held") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url("?big-body=2KiB"), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", LongBody()).SetMessageKey("apples"));
  std::string file;
  {
    const Delivery delivery = Take(consumer);

    const auto mapping = MappingOf(delivery->body());
    REQUIRE(mapping.has_value());
    INFO(mapping->path);
    CHECK(mapping->protection == "r--s");
    CHECK(mapping->path.starts_with(place.path() + "/big/"));
    file = mapping->path;
    CHECK(delivery->body() == LongBody());
    CHECK(delivery->message_key() == "apples");
    CHECK(delivery->destination() == "orders");
    // Whoever changes it changes a copy.
    Message changed(*delivery);
    changed.SetMessageKey("pears");
    CHECK(changed.body() == LongBody());
    CHECK(delivery->message_key() == "apples");
    Must(delivery.Ack());
  }
  CHECK_FALSE(IsMapped(file));
}

TEST_CASE("OMS-MSG-007: consumers of one store in memory share the body") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer first = Consume(bus, "orders", {.group = "first"});
  PullConsumer second = Consume(other_bus, "orders", {.group = "second"});
  SendOne(bus, Message("orders", LongBody()));

  const Delivery a = Take(first);
  const Delivery b = Take(second);

  CHECK(a->body() == LongBody());
  CHECK(a->body().data() == b->body().data());
}

TEST_CASE_TEMPLATE("OMS-MSG-008: a message outlives all that brought it", Place,
                   MemoryPlace, FilePlace) {
  Message kept;
  {
    Place place;
    const auto bus = ConnectWith(place.Url(), "orders");
    PullConsumer consumer = Consume(bus, "orders");
    SendOne(bus, Message("orders", LongBody()).SetMessageKey("apples"));
    Delivery delivery = Take(consumer);
    Must(delivery.Ack());
    kept = delivery.message();
    CHECK(kept.body().data() == delivery->body().data());
    CHECK(consumer.Stop(Soon()) == 0);
    CHECK(kept.body() == LongBody());
  }

  CHECK(kept.body() == LongBody());
  CHECK(kept.message_key() == "apples");
  CHECK(kept.destination() == "orders");
}

TEST_CASE("OMS-MSG-008: a message outlives the file that it lies in") {
  FilePlace place;
  const auto bus =
      ConnectWith(place.Url("?first-segment=4KiB&max-segment=8KiB"), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", LongBody()));
  std::optional<Message> kept;
  {
    const Delivery delivery = Take(consumer);
    Must(delivery.Ack());
    kept = delivery.message();
  }
  const auto before = MappingOf(kept->body());
  REQUIRE(before.has_value());
  CHECK(std::filesystem::exists(before->path));

  // The segment goes when others come and all in it is settled.
  for (int n = 0; n < 500 && std::filesystem::exists(before->path); ++n) {
    SendOne(bus, Message("orders", LongBody()));
    Must(Take(consumer).Ack());
  }

  CHECK_FALSE(std::filesystem::exists(before->path));
  const auto after = MappingOf(kept->body());
  REQUIRE(after.has_value());
  CHECK(after->path == before->path + " (deleted)");
  CHECK(after->protection == "r--s");
  CHECK(kept->body() == LongBody());
  kept.reset();
  Must(consumer.Unbind("orders"));
  // The housekeeper may be looking at it.
  const auto deadline = Soon();
  while (IsMapped(before->path) && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  CHECK_FALSE(IsMapped(before->path));
}

}  // namespace
}  // namespace openmessaging::reference::zero_copy_test
