// SPDX-License-Identifier: Apache-2.0
//
// Limits of the machine: flushes that fail or take long, disks that are full or
// cannot be written, limits of the process.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "faults/system_calls.h"
#include "faults/world.h"
#include "goals.h"
#include "openmessaging/reference/check.h"
#include "openmessaging/reference/inspect.h"
#include "shared_place.h"
#include "store_fixture.h"

namespace openmessaging::reference::fault_limits_test {
namespace {

namespace fs = std::filesystem;

using faults::Fate;
using faults::OnFlush;
using faults::World;

std::string BytesOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

void SendMany(World& world, std::string_view prefix, int count, size_t bytes) {
  for (int n = 0; n < count; ++n) {
    std::string body = std::string(prefix) + std::to_string(n);
    body.resize(bytes, '.');
    world.Send(body, Durability::kProcess);
  }
}

// No hook of a case outlives it.
struct NoHook {
  ~NoHook() { OnFlush({}); }
};

TEST_CASE("what a failed flush left out is written elsewhere") {
  const SharedPlace place;
  const NoHook none;
  World world(place.path(), "");
  world.Make();
  // What the disk has of each segment: a copy at each flush that succeeded.
  std::map<std::string, std::string> disk;
  bool fails = false;
  bool failed = false;
  OnFlush([&](std::string_view file) {
    if (!file.ends_with(".seg") && !file.ends_with(".body")) return 0;
    if (fails) return EIO;
    // From then on that a flush succeeds says nothing of these files.
    if (failed) return 0;
    disk[std::string(file)] = BytesOf(world.path() + "/" + std::string(file));
    return 0;
  });
  world.Send("on disk", Durability::kDisk);
  SendMany(world, "waits ", 60, 1000);
  world.Send(std::string(9000, 'L'), Durability::kProcess);
  fails = failed = true;
  world.Send("unlucky", Durability::kDisk);
  CHECK(OmsCode(world.told().back().status) == Code::kStorageError);
  // The machine takes them for written; it never tries again by itself.
  std::map<std::string, ino_t> doubtful;
  for (const auto& entry : fs::recursive_directory_iterator(world.path())) {
    struct stat info {};
    REQUIRE(::stat(entry.path().c_str(), &info) == 0);
    const std::string name = fs::relative(entry.path(), world.path());
    if (name.ends_with(".seg") || name.ends_with(".body")) {
      doubtful[name] = info.st_ino;
    }
  }
  fails = false;
  world.CloseAll();

  world.Connect();
  REQUIRE(world.has_bus());
  world.CloseAll();

  // The power goes, and with it what only the page cache had of those files.
  for (const auto& [name, inode] : doubtful) {
    struct stat info {};
    const std::string path = world.path() + "/" + name;
    if (::stat(path.c_str(), &info) != 0 || info.st_ino != inode) continue;
    // That they were flushed again says nothing.
    std::string bytes = disk[name];
    const auto length = static_cast<size_t>(info.st_size);
    if (bytes.size() < length) bytes.resize(length);
    std::ofstream(path, std::ios::binary | std::ios::in) << bytes;
  }
  fs::remove(world.path() + "/ctl");
  fs::remove(world.path() + "/idx");
  const std::string wrong = world.CheckStored(true);
  CHECK_MESSAGE(wrong.empty(), wrong);
}

TEST_CASE("a flush that fails in one process is the end for the other too") {
  const SharedPlace place;
  const NoHook none;
  World world(place.path(), "");
  world.Make();
  world.Send("before", Durability::kDisk);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Its descriptors see the error, and those of its parent never will.
    OnFlush(
        [](std::string_view file) { return file.ends_with(".seg") ? EIO : 0; });
    auto bus = MessagingAccessPoint::Connect(world.Url());
    if (!bus.ok()) ::_exit(2);
    auto producer = bus->CreateProducer();
    Message message(World::kQueue, "of the child");
    message.SetDurability(Durability::kDisk);
    const auto sent = producer->Send(message);
    ::_exit(OmsCode(sent.status()) == Code::kStorageError ? 0 : 3);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  world.SetFate("of the child", Fate::kEither);

  world.Send("after at disk", Durability::kDisk);
  world.Send("after at process", Durability::kProcess);

  CHECK(OmsCode(world.told().back().status) == Code::kStorageError);
  CHECK(OmsCode((world.told().end() - 2)->status) == Code::kStorageError);
  const std::string wrong = world.CheckStored(true);
  CHECK_MESSAGE(wrong.empty(), wrong);
}

// A door for flushes of the log.
struct Door {
  std::mutex mutex;
  std::condition_variable moved;
  bool shut = true;
  bool waits = false;

  int Pass() {
    std::unique_lock lock(mutex);
    waits = true;
    moved.notify_all();
    moved.wait(lock, [this] { return !shut; });
    return 0;
  }
  bool AwaitSomebody() {
    std::unique_lock lock(mutex);
    return moved.wait_for(lock, kLong, [this] { return waits; });
  }
  void Open() {
    const std::lock_guard lock(mutex);
    shut = false;
    moved.notify_all();
  }
};

TEST_CASE("a flush of a minute holds up nobody but its leader") {
  const SharedPlace place;
  const NoHook none;
  Door door;
  World world(place.path(), "");
  world.Make();
  OnFlush([&](std::string_view file) {
    return file.ends_with(".seg") ? door.Pass() : 0;
  });
  std::atomic<bool> led{false};
  absl::Status of_leader;
  std::thread leader([&] {
    auto producer = world.bus().CreateProducer(
        {.send_timeout = std::chrono::milliseconds(50)});
    Message message(World::kQueue, "leader");
    message.SetDurability(Durability::kDisk);
    of_leader = producer->Send(message).status();
    led = true;
  });
  const bool began = door.AwaitSomebody();
  CHECK(began);

  const auto begin = steady_clock::now();
  const auto until = begin + (IsLongRun() ? std::chrono::seconds(60)
                                          : std::chrono::seconds(1));
  int appended = 0;
  int followed = 0;
  std::chrono::nanoseconds slowest{0};
  while (began && steady_clock::now() < until) {
    const auto before = steady_clock::now();
    world.Send("process " + std::to_string(appended++), Durability::kProcess);
    slowest = std::max<std::chrono::nanoseconds>(slowest,
                                                 steady_clock::now() - before);
    CHECK_MESSAGE(world.told().back().status.ok(),
                  Text(world.told().back().status));
    world.Send("disk " + std::to_string(followed++), Durability::kDisk);
    // Stored, and not yet durable: at its own deadline, not the flush's.
    CHECK(OmsCode(world.told().back().status) == Code::kFlushTimeout);
    if (appended > 40) std::this_thread::sleep_for(milliseconds(100));
    if (appended > 60) break;
  }
  CHECK_FALSE(led);
  std::this_thread::sleep_until(IsLongRun() ? until : begin);
  door.Open();
  leader.join();
  OnFlush({});
  CHECK_MESSAGE(of_leader.ok(), Text(of_leader));
  world.SetFate("leader", Fate::kThere);
  const std::string wrong = world.CheckStored(false);
  CHECK_MESSAGE(wrong.empty(), wrong);
  Report({"faults", "sends beside a flush that does not end",
          IsLongRun() ? "60 s" : "1 s",
          WithCommas(static_cast<uint64_t>(appended)) + " appended, slowest " +
              std::to_string(slowest.count() / 1'000'000) + " ms, " +
              WithCommas(static_cast<uint64_t>(followed)) +
              " followers told at their deadline",
          wrong.empty() && appended > 0});
}

// A limit of this process, as long as this object lives.
class Limit {
 public:
  Limit(decltype(RLIMIT_FSIZE) what, rlim_t value) : what_(what) {
    REQUIRE(::getrlimit(what_, &before_) == 0);
    Set(value);
  }
  ~Limit() { ::setrlimit(what_, &before_); }
  void Set(rlim_t value) {
    const struct rlimit now { value, before_.rlim_max };
    REQUIRE(::setrlimit(what_, &now) == 0);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  const decltype(RLIMIT_FSIZE) what_;
  struct rlimit before_ {};
};

TEST_CASE("a limit of file sizes is a full store and kills nobody") {
  const SharedPlace place;
  World world(place.path(), "");
  world.Make();
  {
    // No room for a segment, however small: a write would raise SIGXFSZ.
    const Limit limit(RLIMIT_FSIZE, 18 << 10);
    SendMany(world, "many ", 60, 1000);
    const absl::Status last = world.told().back().status;
    CHECK(OmsCode(last) == Code::kStorageBusy);
    CHECK(OutcomeOf(last) == Outcome::kNotStored);
    world.Receive(64);
    world.Ack();
  }
  world.Send("room again", Durability::kDisk);
  CHECK_MESSAGE(world.told().back().status.ok(),
                Text(world.told().back().status));
  const std::string wrong = world.CheckStored(false);
  CHECK_MESSAGE(wrong.empty(), wrong);
}

TEST_CASE("at the limit of descriptors nothing is left half open") {
  const SharedPlace place;
  World world(place.path(), "");
  world.Make();
  world.Send("kept", Durability::kDisk);
  world.CloseAll();
  const int highest = ::dup(STDOUT_FILENO);
  REQUIRE(highest >= 0);
  ::close(highest);
  int refused = 0;
  for (int more = 0; more < 24; ++more) {
    {
      const Limit limit(RLIMIT_NOFILE, static_cast<rlim_t>(highest + more));
      const auto bus = MessagingAccessPoint::Connect(world.Url());
      if (!bus.ok()) {
        ++refused;
        CHECK_MESSAGE(OmsCode(bus.status()) == Code::kStorageError,
                      Text(bus.status()));
      }
    }
    CHECK(faults::OpenDescriptors() == 0);
    CHECK(faults::OpenMappings() == 0);
  }
  CHECK(refused > 0);
  CHECK(refused < 24);
  const std::string wrong = world.CheckStored(false);
  CHECK_MESSAGE(wrong.empty(), wrong);
}

// A small file system, as long as this object lives.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    REQUIRE(::mkdir(path_.c_str(), 0700) == 0);
    mounted_ =
        ::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=1m,mode=0700") == 0;
  }
  ~SmallDisk() {
    if (mounted_) CHECK(::umount(path_.c_str()) == 0);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  bool MakeReadOnly(bool read_only) {
    return ::mount("", path_.c_str(), "",
                   MS_REMOUNT | (read_only ? MS_RDONLY : 0), "") == 0;
  }

 private:
  const std::string path_;
  bool mounted_ = false;
};

// Fills and empties, and so on. `turns`: changes from one to the other.
void FillAndEmpty(const std::string& path, uint64_t turns) {
  auto random = RandomOfRun(0xd15c);
  const std::string url =
      "oms:file://" + path +
      "/store?slots=8&bells=8&window=256&first-segment=32KiB"
      "&max-segment=64KiB&reserve=32KiB&producer.send-timeout=20ms";
  std::optional<MessagingAccessPoint> bus = Connect(url);
  Must(bus->resource_manager().CreateQueue("orders"));
  std::map<std::string, int> expected;
  uint64_t stored = 0;
  uint64_t number = 0;
  uint64_t lost = 0;
  uint64_t wrong = 0;
  for (uint64_t turn = 0; turn < turns; turn += 2) {
    if (random() % 8 == 0) {
      bus.reset();
      bus = Connect(url);
    }
    Producer producer = Must(bus->CreateProducer());
    PullConsumer consumer = Consume(*bus, "orders");
    // Another program may take some of the room, and give it back.
    const std::string other = path + "/other";
    if (random() % 3 == 0) {
      std::ofstream(other) << std::string(random() % 300'000, 'x');
    }
    while (true) {
      std::string body = std::to_string(number++);
      body.resize(100 + random() % 8000, '.');
      Message message("orders", body);
      message.SetDurability(random() % 4 == 0 ? Durability::kDisk
                                              : Durability::kProcess);
      const auto sent = producer.Send(message);
      if (sent.ok()) {
        ++stored;
        expected[body] = 1;
        continue;
      }
      // On a busy machine a flush may take longer than a sender waits.
      if (OmsCode(sent.status()) == Code::kFlushTimeout) {
        ++stored;
        expected[body] = 1;
        continue;
      }
      if (OmsCode(sent.status()) != Code::kStorageBusy ||
          OutcomeOf(sent.status()) != Outcome::kNotStored) {
        ++wrong;
        MESSAGE("send on a full disk: ", Text(sent.status()));
      }
      break;
    }
    if (random() % 2 == 0) fs::remove(other);
    while (true) {
      const auto some = consumer.ReceiveBatch(64, milliseconds(5));
      REQUIRE_MESSAGE(some.ok(), Text(some.status()));
      if (some->empty()) break;
      for (const Delivery& delivery : *some) {
        const absl::Status acked = delivery.Ack();
        if (!acked.ok()) ++wrong;
        if (expected.erase(std::string(delivery->body())) == 0) ++wrong;
      }
    }
    lost += expected.size();
    expected.clear();
    fs::remove(other);
  }
  bus.reset();
  CHECK(lost == 0);
  CHECK(wrong == 0);
  CHECK(stored > turns);
  CheckSound(path + "/store");
  Report({"faults", "full disk, filled and read empty",
          IsLongRun() ? "10,000" : "200",
          WithCommas(turns) + " turns, " + WithCommas(stored) + " messages, " +
              WithCommas(lost) + " lost, " + WithCommas(wrong) + " wrong",
          lost == 0 && wrong == 0});
}

TEST_CASE("a small disk is filled and emptied without a loss") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/small";
  const SmallDisk disk(path);
  if (!disk.mounted()) {
    MESSAGE("not applicable: this user cannot mount a small file system");
    Report({"faults", "full disk, filled and read empty", "200",
            "skipped: this user cannot mount", true});
    return;
  }
  FillAndEmpty(path, For({200, 10'000}));
}

TEST_CASE("a mount that is only read is looked at and never written") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/small";
  SmallDisk disk(path);
  if (!disk.mounted()) {
    MESSAGE("not applicable: this user cannot mount a small file system");
    return;
  }
  const std::string url = "oms:file://" + path +
                          "/store?slots=8&bells=8&first-segment=32KiB"
                          "&reserve=32KiB";
  {
    const auto bus = ConnectWith(url, "orders");
    SendOne(bus, Message("orders", "kept"));
  }
  REQUIRE(disk.MakeReadOnly(true));

  const auto bus = MessagingAccessPoint::Connect(url);
  const auto report = CheckStore(path + "/store");
  const auto seen = InspectStore(path + "/store");

  CHECK_MESSAGE(OmsCode(bus.status()) == Code::kForbidden, Text(bus.status()));
  REQUIRE_MESSAGE(report.ok(), Text(report.status()));
  CHECK_FALSE(report->damaged());
  CHECK(report->messages == 1);
  CHECK_MESSAGE(seen.ok(), Text(seen.status()));
  REQUIRE(disk.MakeReadOnly(false));
  const auto again = Connect(url);
  PullConsumer consumer = Consume(again, "orders");
  CHECK(Take(consumer)->body() == "kept");
}

}  // namespace
}  // namespace openmessaging::reference::fault_limits_test
