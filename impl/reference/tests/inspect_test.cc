// SPDX-License-Identifier: Apache-2.0
//
// InspectStore on stores that are in use, closed, left by a kill, copied and
// damaged.

#include "openmessaging/reference/inspect.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "env/storage.h"
#include "format.h"
#include "slot_lock.h"
#include "store.h"
#include "store_fixture.h"

namespace openmessaging::reference::inspect_test {
namespace {

namespace fs = std::filesystem;
using State = InspectReport::State;

constexpr std::string_view kSmall = "?first-segment=16KiB&max-segment=16KiB";

InspectReport Inspect(const std::string& directory) {
  return Must(InspectStore(directory));
}

// Name, size and time of every file.
std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> FilesOf(
    const std::string& directory) {
  std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    files[entry.path().string()] = {entry.file_size(), entry.last_write_time()};
  }
  return files;
}

const InspectGroup& GroupOf(const InspectReport& report, std::string_view queue,
                            std::string_view group, uint32_t partition) {
  const auto found = std::find_if(
      report.groups.begin(), report.groups.end(), [&](const InspectGroup& one) {
        return one.queue == queue && one.group == group &&
               one.partition == partition;
      });
  if (found == report.groups.end()) FAIL("no such group");
  return *found;
}

std::string TextOf(const InspectReport& report) {
  std::string text;
  const auto add = [&text](const auto&... parts) {
    ((text += internal::Concat(parts, ' ')), ...);
    text += '\n';
  };
  add(report.begin, report.committed, report.durable);
  for (const auto& one : report.segments) {
    add("segment", one.file, one.base, one.capacity_bytes, one.used_bytes,
        one.epoch);
  }
  for (const auto& one : report.partitions) {
    add("partition", one.queue, one.partition, one.first, one.end);
  }
  for (const auto& one : report.groups) {
    add("group", one.queue, one.group, one.partition, one.floor, one.next,
        one.unsettled);
  }
  for (const auto& one : report.pins) {
    add("pin", one.queue, one.partition, one.group, one.offset,
        one.position.value_or(0));
  }
  return text;
}

// Two queues, several segments, groups that are at different places.
void Fill(const std::string& url) {
  const auto bus = ConnectWith(url, "orders", 2);
  Must(bus.resource_manager().CreateQueue("untouched"));
  Must(bus.resource_manager().CreateQueue("gone"));
  SendNumbers(bus, "untouched", 1, 3);
  SendNumbers(bus, "gone", 1, 3);
  SendNumbers(bus, "orders", 1, 400, std::string(100, 'x'));
  for (const auto& [group, count] :
       {std::pair<std::string, int>{"billing", 31}, {"audit", 350}}) {
    PullConsumer consumer = Consume(bus, "orders", {.group = group});
    for (int n = 0; n < count; ++n) Must(Take(consumer).Ack());
  }
  Must(bus.resource_manager().DeleteQueue("gone"));
}

// Arguments: URL. Holds two messages and acknowledges the third.
OMS_ROLE(inspected_holder) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  const Delivery first = Take(consumer);
  const Delivery second = Take(consumer);
  Must(Take(consumer).Ack());
  role.Say("holding");
  role.Hear();
}

// Arguments: URL. Sends and acknowledges until it is called.
OMS_ROLE(churner) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  role.Say("churning");
  while (!role.Called()) {
    SendNumbers(bus, "orders", 1, 50, std::string(200, 'x'));
    for (int n = 0; n < 50; ++n) Must(Take(consumer).Ack());
  }
}

TEST_CASE("a store in use shows its process and what is not settled") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendNumbers(bus, "orders", 1, 10);
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  const Delivery held = Take(consumer);
  Must(Take(consumer).Ack());
  Must(Take(consumer).Ack());
  const auto files = FilesOf(place.path());

  const InspectReport report = Inspect(place.path());

  CHECK(report.state == State::kInUse);
  CHECK(report.live_state);
  CHECK_FALSE(report.poisoned);
  CHECK(report.begin == 0);
  CHECK(report.committed > 0);
  CHECK(report.durable <= report.committed);
  REQUIRE(report.slots.size() == 1);
  CHECK(report.slots[0].alive);
  CHECK(report.slots[0].pid == static_cast<uint32_t>(::getpid()));
  REQUIRE(report.segments.size() >= 1);
  CHECK(report.segments[0].used_bytes == report.committed);
  CHECK(fs::exists(place.path() + "/" + report.segments[0].file));
  const InspectGroup& group = GroupOf(report, "orders", "billing", 0);
  CHECK(group.floor == 0);
  CHECK(group.next >= 3);
  CHECK(group.unsettled == group.next - 2);
  REQUIRE(report.pins.size() == 1);
  CHECK(report.pins[0].offset == 0);
  CHECK(report.pins[0].group == "billing");
  REQUIRE(report.pins[0].position);
  CHECK(*report.pins[0].position < report.committed);
  // Nobody was disturbed, nothing was made.
  CHECK((FilesOf(place.path()) == files));
  Must(held.Ack());
  const InspectReport after = Inspect(place.path());
  CHECK(GroupOf(after, "orders", "billing", 0).floor == 3);
}

TEST_CASE("large bodies are counted, in use and closed") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url("?big-body=1KiB"), "orders");
    SendOne(bus, Message("orders", std::string(1024, 'x')));
    CHECK(Inspect(place.path()).bodies == 0);
    SendOne(bus, Message("orders", std::string(3000, 'x')));
    SendOne(bus, Message("orders", std::string(4000, 'x')));
    CHECK(Inspect(place.path()).bodies == 2);
  }
  const InspectReport report = Inspect(place.path());
  CHECK(report.bodies == 2);
  CHECK(report.body_bytes == 7000);
  CHECK(FilesOf(place.path() + "/big").size() == 2);
}

TEST_CASE("what is held back is counted, in use and closed") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    ProducerOptions options;
    options.group = "shop";
    options.check = [](const Message&) { return TransactionState::kUnknown; };
    Producer producer = Must(bus.CreateProducer(options));
    Message later("orders", "later");
    later.SetDelay(std::chrono::hours(1));
    Must(producer.Send(later));
    std::vector<PreparedMessage> prepared;
    for (int n = 0; n < 4; ++n) {
      prepared.push_back(
          Must(producer.Prepare(Message("orders", std::to_string(n)))));
    }
    CHECK(Inspect(place.path()).undecided == 4);
    Must(prepared[0].Commit());
    Must(prepared[1].Rollback());
    CHECK(Inspect(place.path()).undecided == 2);
    CHECK(Inspect(place.path()).delayed == 1);
  }
  for (const bool from_log : {false, true}) {
    CAPTURE(from_log);
    if (from_log) fs::remove(place.path() + "/ctl");
    CHECK(Inspect(place.path()).undecided == 2);
    CHECK(Inspect(place.path()).delayed == 1);
  }
}

TEST_CASE("each priority of a queue is shown, in use and closed") {
  FilePlace place;
  const auto check = [&] {
    const InspectReport report = Inspect(place.path());
    REQUIRE(report.partitions.size() == 20);
    for (size_t n = 0; n < report.partitions.size(); ++n) {
      const auto& lane = report.partitions[n];
      CAPTURE(n);
      CHECK(lane.queue == "jobs");
      CHECK(lane.partition == n % 2);
      CHECK(lane.priority == 10 - static_cast<int>(n / 2));
      CHECK(lane.end == (lane.partition == 1 && lane.priority == 9 ? 3 : 0));
    }
    REQUIRE(report.pins.size() == 1);
    CHECK(report.pins[0].partition == 1);
    CHECK(report.pins[0].priority == 9);
    CHECK(report.pins[0].offset == 1);
    CHECK(report.pins[0].position.has_value());
    uint64_t settled = 0;
    for (const InspectGroup& group : report.groups) {
      settled += group.floor;
      if (group.floor != 0) CHECK(group.priority == 9);
    }
    CHECK(settled == 1);
  };
  {
    const auto bus = Connect(place.Url());
    Must(bus.resource_manager().CreateQueue(
        "jobs", {.partitions = 2, .priorities = true}));
    Message message("jobs", "x");
    message.SetPriority(9).SetPartition(1);
    for (int n = 0; n < 3; ++n) SendOne(bus, message);
    PullConsumer consumer = Consume(bus, "jobs", {.group = "billing"});
    Must(Take(consumer).Ack());
    check();
  }
  check();
}

TEST_CASE("a closed store and its copy show the same") {
  FilePlace place;
  Fill(place.Url(kSmall));
  const std::string copy = place.parent() + "/copy";
  fs::copy(place.path(), copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  const auto files = FilesOf(copy);

  const InspectReport original = Inspect(place.path());
  const InspectReport copied = Inspect(copy);

  CHECK(original.state == State::kClosed);
  CHECK(original.live_state);
  CHECK(copied.state == State::kClosed);
  CHECK_FALSE(copied.live_state);  // The log alone.
  CHECK((FilesOf(copy) == files));
  CHECK(TextOf(original) == TextOf(copied));
  CHECK(original.uuid == copied.uuid);
  CHECK(original.uuid.size() == 32);
  CHECK(original.durable == original.committed);
  CHECK(original.segments.size() > 3);
  for (const InspectSegment& segment : original.segments) {
    CHECK(segment.used_bytes <= segment.capacity_bytes);
  }
  // One queue of two partitions and one that had no group; one was deleted.
  REQUIRE(original.partitions.size() == 3);
  CHECK(original.partitions[0].end + original.partitions[1].end == 400);
  CHECK(original.partitions[2].queue == "untouched");
  REQUIRE(original.groups.size() == 4);
  uint64_t settled = 0;
  for (const uint32_t partition : {0u, 1u}) {
    settled += GroupOf(original, "orders", "billing", partition).floor;
  }
  CHECK(settled == 31);
  CHECK(original.pins.size() == 5);
  for (const InspectPin& pin : original.pins) CHECK(pin.position.has_value());
  CHECK(original.pins.back().group.empty());
  for (const InspectSlot& slot : original.slots) CHECK_FALSE(slot.alive);
}

TEST_CASE("segments that were retired are gone and offsets go on") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(kSmall), "orders");
    PullConsumer consumer = Consume(bus, "orders");
    for (int round = 0; round < 10; ++round) {
      SendNumbers(bus, "orders", 1, 100, std::string(100, 'x'));
      CHECK(DrainBodies(consumer).size() == 100);
    }
  }
  const std::string copy = place.parent() + "/copy";
  fs::copy(place.path(), copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);

  const InspectReport report = Inspect(place.path());

  CHECK(report.begin > 0);
  REQUIRE(report.partitions.size() == 1);
  CHECK(report.partitions[0].first > 0);
  CHECK(report.partitions[0].end == 1000);
  CHECK(GroupOf(report, "orders", "default", 0).floor == 1000);
  CHECK(report.pins.empty());
  CHECK(TextOf(Inspect(copy)) == TextOf(report));
}

TEST_CASE("a store that a kill left shows the dead and what they held") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    SendNumbers(bus, "orders", 1, 5);
  }
  Child child("inspected_holder", {place.Url()});
  REQUIRE(child.Hear() == "holding");
  const InspectReport alive = Inspect(place.path());
  const auto pid = static_cast<uint32_t>(child.pid());
  REQUIRE(child.Kill());

  const InspectReport left = Inspect(place.path());

  CHECK(alive.state == State::kInUse);
  REQUIRE(alive.slots.size() == 1);
  CHECK(alive.slots[0].alive);
  CHECK(alive.slots[0].pid == pid);
  CHECK(left.state == State::kLeft);
  CHECK(left.live_state);
  REQUIRE(left.slots.size() == 1);
  CHECK_FALSE(left.slots[0].alive);
  const InspectGroup& group = GroupOf(left, "orders", "default", 0);
  CHECK(group.floor == 0);
  CHECK(group.unsettled == group.next - 1);
  // Of a copy, which has other files, the log tells as much.
  const std::string copy = place.parent() + "/copy";
  fs::copy(place.path(), copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  const auto files = FilesOf(copy);
  const InspectReport copied = Inspect(copy);
  CHECK(copied.state == State::kLeft);
  CHECK_FALSE(copied.live_state);
  CHECK(copied.slots.empty());
  REQUIRE(copied.partitions.size() == 1);
  CHECK(copied.partitions[0].end == 5);
  CHECK(GroupOf(copied, "orders", "default", 0).floor == 0);
  CHECK((FilesOf(copy) == files));
  // The store is none the worse for the look.
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(DrainBodies(consumer).size() == 4);
}

TEST_CASE("a lock that somebody holds shows its owner") {
  FilePlace place;
  std::shared_ptr<Storage> storage =
      Must(OpenDirectory(place.path(), DirectoryOptions{}));
  const auto store =
      Must(Store::Open(storage, &Environment::OfMachine(), {}, Soon()));
  CHECK(Inspect(place.path()).locks.empty());
  SlotLock lock(&store->control().header().catalog.prepare, &store->liveness(),
                Environment::OfMachine().waiting);
  REQUIRE(lock.TryAcquire() == SlotLock::Result::kAcquired);

  const InspectReport report = Inspect(place.path());

  REQUIRE(report.locks.size() == 1);
  CHECK(report.locks[0].name == "prepare");
  CHECK(report.locks[0].pid == static_cast<uint32_t>(::getpid()));
  CHECK(report.locks[0].alive);
  lock.Release();
  CHECK(Inspect(place.path()).locks.empty());
}

TEST_CASE("a store that others change is shown whole at every look") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(kSmall), "orders");
  CHECK(Inspect(place.path()).partitions.size() == 1);
  Child child("churner", {place.Url()});
  REQUIRE(child.Hear() == "churning");

  for (int look = 0; look < 100; ++look) {
    const InspectReport report = Inspect(place.path());
    CHECK(report.state == State::kInUse);
    REQUIRE(report.partitions.size() == 1);
    CHECK(report.partitions[0].queue == "orders");
    for (const InspectGroup& group : report.groups) {
      CHECK(group.floor <= group.next);
      CHECK(group.unsettled <= group.next - group.floor);
    }
    for (const InspectSegment& segment : report.segments) {
      CHECK(segment.used_bytes <= segment.capacity_bytes);
    }
  }
  CHECK(child.Finish());
}

TEST_CASE("what is no store of this format is refused and stays as it is") {
  FilePlace place;
  const auto code_of = [](const std::string& directory) {
    return OmsCode(InspectStore(directory).status());
  };
  CHECK(code_of(place.path()) == Code::kQueueNotFound);
  CHECK_FALSE(fs::exists(place.path()));
  CHECK(code_of(place.parent()) == Code::kBadParameter);
  CHECK(fs::is_empty(place.parent()));

  Fill(place.Url());
  const std::string file = place.path() + "/STORE";
  const auto put = [&file](size_t at, char byte) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
  };
  put(offsetof(StoreFile, uuid), 'x');
  CHECK(code_of(place.path()) == Code::kDamaged);
  put(offsetof(StoreFile, major), 9);
  CHECK(code_of(place.path()) == Code::kIncompatibleVersion);
  put(0, 'x');
  CHECK(code_of(place.path()) == Code::kBadParameter);
  std::ofstream(file, std::ios::trunc) << "short";
  CHECK(code_of(place.path()) == Code::kBadParameter);
}

TEST_CASE("damage of ctl and idx hurts nobody who looks") {
  FilePlace place;
  Fill(place.Url(kSmall));
  auto random = RandomOf(7);
  const std::string name = place.path() + "/ctl";
  const auto read = [](const std::string& from) {
    std::ifstream stream(from, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(stream), {}};
  };
  // In place, because a new file would not be believed at all.
  const auto write = [](const std::string& to, const std::string& bytes) {
    std::fstream stream(to, std::ios::in | std::ios::out | std::ios::binary);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  const std::string ctl = read(name);
  const std::string idx = read(place.path() + "/idx");
  // The words of the page that says where all else is, and of what it names.
  const uint64_t words = ctl.size() / sizeof(uint64_t);
  size_t believed = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = ctl;
    for (int n = 0; n < 8; ++n) {
      const uint64_t word = random() % (n < 4 ? 64 : words);
      // Behind what decides whether it is believed.
      if (word < 12) continue;
      const uint64_t value = random() % 2 == 0 ? random() : random() % 8192;
      bytes.replace(word * sizeof(value), sizeof(value),
                    reinterpret_cast<const char*>(&value), sizeof(value));
    }
    write(name, bytes);
    const auto report = InspectStore(place.path());
    if (report.ok() && report->live_state) ++believed;
  }
  CHECK(believed > 0);
  write(name, ctl);
  std::string zeros = idx;
  std::fill(zeros.begin(), zeros.end(), '\xFF');
  write(place.path() + "/idx", zeros);
  CHECK(Inspect(place.path()).groups.size() == 4);

  // Cut short at any place it is not believed, or no further than it goes.
  for (const uintmax_t size :
       {uintmax_t{0}, uintmax_t{100}, uintmax_t{4096}, ctl.size() - 4096}) {
    write(name, ctl);
    fs::resize_file(name, size);
    CHECK(InspectStore(place.path()).ok());
  }
}

}  // namespace
}  // namespace openmessaging::reference::inspect_test
