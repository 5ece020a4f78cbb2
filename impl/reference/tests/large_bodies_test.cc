// SPDX-License-Identifier: Apache-2.0
//
// Large bodies: files of their own, written with no lock held, named by records,
// and gone when nothing names them; through deaths, power losses and full disks.

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cursor_image.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "faulty_storage.h"
#include "large_bodies.h"
#include "openmessaging/reference/check.h"
#include "partition_log.h"

namespace openmessaging::reference::large_bodies_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr size_t kLarge = 4096;  // The store's limit is below.

StoreOptions Options() {
  StoreOptions options = SmallStore();
  options.big_body_bytes = 2048;
  return options;
}

std::string Body(int number, size_t bytes = kLarge) {
  std::string body = "message " + std::to_string(number) + " ";
  while (body.size() < bytes) body += std::to_string(body.size() * 7) + ".";
  body.resize(bytes);
  return body;
}

std::set<std::string> FilesOf(const std::string& path) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path + "/big")) {
    names.insert("big/" + entry.path().filename().string());
  }
  return names;
}

CheckReport Checked(const std::string& path) {
  auto report = CheckStore(path);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  return *std::move(report);
}

bool IsSound(const std::string& path) {
  const CheckReport report = Checked(path);
  if (report.damaged()) MESSAGE(report.ToText());
  return !report.damaged();
}

LargeBody NamedBy(const std::string& path, const RecordPlace& place) {
  const std::string bytes = ReadFile(path + "/" + place.file);
  const auto body = LargeBodyOf(place.header, bytes.data() + place.at);
  REQUIRE(body.has_value());
  return *body;
}

// A store in a directory with one queue.
struct House {
  explicit House(const StoreOptions& options = Options()) {
    handle = OpenStore(path(), machine, options);
    CreateQueue(*handle.store, "orders");
  }
  std::string path() const { return directory.path(); }
  Handle Another() { return OpenStore(path(), machine, Options()); }
  // Opens it again after everybody died; `derived` files are gone then.
  void KillAndReopen(const std::vector<std::string>& derived) {
    handle.Kill();
    for (const auto& name : derived) {
      std::filesystem::remove(path() + "/" + name);
    }
    handle = Another();
  }
  std::set<std::string> Files() const { return FilesOf(path()); }

  TestMachine machine;
  TempDirectory directory;
  Handle handle;
};

TEST_CASE("a body over the limit has a file of its own that its record names") {
  House house;
  const std::string at_limit = Body(0, 2048);
  const std::string over = Body(1, 2049);

  SendOne(house.handle.store, at_limit);
  CHECK(house.Files().empty());
  SendOne(house.handle.store, over);

  const auto files = house.Files();
  REQUIRE(files.size() == 1);
  const std::string file = house.path() + "/" + *files.begin();
  CHECK(ReadFile(file) == over);
  struct stat info{};
  REQUIRE(stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(BodiesOf(AllStored(house.handle.store)) ==
        std::vector<std::string>{at_limit, over});
  house.handle.Close();
  const auto messages = MessagesOf(house.path());
  REQUIRE(messages.size() == 2);
  CHECK(messages[1].bytes() < 512);
  const LargeBody body = NamedBy(house.path(), messages[1]);
  CHECK(BodyName(body) == *files.begin());
  CHECK(body.bytes == over.size());
  CHECK(body.checksum == Crc32c(over));
  const CheckReport report = Checked(house.path());
  CHECK(report.findings.empty());
  CHECK(report.bodies == 1);
  CHECK(report.body_bytes == over.size());
}

TEST_CASE("names of large bodies are read as they are written") {
  const LargeBody body{77, 0x123456789abcdef0, 3, 5 | 9 << 10, 1, 0};
  const std::string name = BodyName(body);
  REQUIRE(name.starts_with("big/"));

  const auto read = ParseBodyName(name.substr(4));

  REQUIRE(read.has_value());
  CHECK(BodyName(*read) == name);
  CHECK_FALSE(ParseBodyName(name).has_value());
  CHECK_FALSE(ParseBodyName(name.substr(5)).has_value());
  std::string other = name.substr(4);
  other[2] = 'x';
  CHECK_FALSE(ParseBodyName(other).has_value());
}

TEST_CASE("the flush leader completes a body whose sender did not wait") {
  House house;
  SendOne(house.handle.store, Body(1), Durability::kProcess);
  const auto pending = MessagesOf(house.path());
  REQUIRE(pending.size() == 1);
  CHECK((CommitWord::Flags(pending[0].header.commit) & kPayloadPending) != 0);

  Log& log = house.handle.store->log();
  CHECK(log.WaitDurable(log.committed(), InGoodTime()).ok());

  const auto complete = MessagesOf(house.path());
  CHECK((CommitWord::Flags(complete[0].header.commit) & kPayloadPending) == 0);
  CHECK(NamedBy(house.path(), complete[0]).checksum == Crc32c(Body(1)));
  house.handle.Close();
  CHECK(IsSound(house.path()));
}

TEST_CASE(
    "OMS-REF-020: bodies are written while somebody else holds the append "
    "lock") {
  House house;
  Handle other = house.Another();
  LockWord& lock = house.handle.store->control().header().append.lock;
  lock.owner.Store(other.store->liveness().self().word());
  const Message message = MakeMessage(Body(1));
  driver::CallContext context;
  context.deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
  struct Results final : driver::SendCompletion {
    void Sent(size_t, const SendResult&) override { FAIL("it was stored"); }
    void Failed(size_t, absl::Status failure) override {
      status = std::move(failure);
    }
    absl::Status status{};
  } results;
  std::set<std::string> written;
  house.handle.storage->set_after_change([&] {
    for (const auto& file : house.Files()) written.insert(file);
  });

  ReferenceProducer(house.handle.store, false)
      .Send({&message, 1}, context, results);

  CHECK(OmsCode(results.status) == Code::kTimeout);
  CHECK(OutcomeOf(results.status) == Outcome::kNotStored);
  CHECK(written.size() == 1);
  CHECK(house.Files().empty());  // It was not stored, so nothing is left.
  CHECK(house.handle.store->bodies().bytes() == 0);
  house.handle.storage->set_after_change({});
  lock.owner.Store(0);
  SendOne(house.handle.store, Body(2));
  CHECK(BodiesOf(AllStored(house.handle.store)) ==
        std::vector<std::string>{Body(2)});
}

// Writes a body as a sender does that dies before it appends.
void WriteAndDie(Handle& handle, const std::string& body) {
  const auto written = handle.store->bodies().Write(body, true, UINT64_MAX,
                                                    InGoodTime());
  REQUIRE(written.ok());
  handle.Kill();
}

TEST_CASE("what a killed sender wrote and did not append goes") {
  const std::vector<std::vector<std::string>> all_lost = {
      {}, {"ctl"}, {"idx"}, {"ctl", "idx"}};
  for (const auto& lost : all_lost) {
    CAPTURE(lost.size());
    House house;
    SendOne(house.handle.store, Body(1));
    const auto named = house.Files();
    WriteAndDie(house.handle, Body(2));
    CHECK(house.Files().size() == 2);
    CHECK(IsSound(house.path()));

    house.KillAndReopen(lost);

    CHECK(house.Files() == named);
    CHECK(house.handle.store->bodies().bytes() == kLarge);
    CHECK(BodiesOf(AllStored(house.handle.store)) ==
          std::vector<std::string>{Body(1)});
    house.handle.Close();
    CHECK(Checked(house.path()).findings.empty());
  }
}

TEST_CASE("an open removes what the dead left, and nothing of the living") {
  House house;
  Handle dying = house.Another();
  Handle living = house.Another();
  SendOne(dying.store, Body(1));
  const auto named = house.Files();
  auto under_way = living.store->bodies().Write(Body(2), true, UINT64_MAX,
                                                InGoodTime());
  REQUIRE(under_way.ok());
  WriteAndDie(dying, Body(3));
  REQUIRE(house.Files().size() == 3);

  Handle opener = house.Another();

  auto expected = named;
  expected.insert(BodyName(*under_way));
  CHECK(house.Files() == expected);
  CHECK(opener.store->bodies().bytes() == 2 * kLarge);
  // The slot of the dead one may be taken by now.
  SendOne(opener.store, Body(4));
  living.store->bodies().Withdraw(*under_way);
  CHECK(house.Files().size() == 2);
  CHECK(BodiesOf(AllStored(house.handle.store)) ==
        std::vector<std::string>{Body(1), Body(4)});
}

TEST_CASE("the last to close removes what the dead left") {
  House house;
  Handle dying = house.Another();
  SendOne(house.handle.store, Body(1));
  WriteAndDie(dying, Body(2));

  house.handle.Close();

  CHECK(house.Files().size() == 1);
  CHECK(Checked(house.path()).findings.empty());
  house.handle = house.Another();
  CHECK(house.handle.store->open_path() == OpenPath::kClean);
  CHECK(house.handle.store->bodies().bytes() == kLarge);
}

TEST_CASE("a body under way when a record of it was finished by an heir stays") {
  House house;
  Handle dying = house.Another();
  // The record is appended, but its sender dies before it knows.
  SendOne(dying.store, Body(1), Durability::kProcess);
  Slot& slot =
      house.handle.store->control().slots()[dying.store->liveness()
                                                .self()
                                                .slot()];
  slot.body_from.Store(0);
  slot.body_number.Store(1);
  dying.Kill();

  Handle opener = house.Another();

  CHECK(house.Files().size() == 1);
  CHECK(slot.body_number.Load() == 0);
  CHECK(BodiesOf(AllStored(opener.store)) ==
        std::vector<std::string>{Body(1)});
}

TEST_CASE("a kill after the commit word loses nothing however it is opened") {
  const std::vector<std::vector<std::string>> all_lost = {{}, {"ctl", "idx"}};
  for (const auto& lost : all_lost) {
    House house;
    std::vector<std::string> sent;
    for (int n = 0; n < 6; ++n) {
      sent.push_back(Body(n));
      SendOne(house.handle.store, sent.back(),
              n % 2 == 0 ? Durability::kProcess : Durability::kDisk);
    }

    house.KillAndReopen(lost);

    CHECK(BodiesOf(AllStored(house.handle.store)) == sent);
    CHECK(house.Files().size() == sent.size());
    house.handle.Close();
    CHECK(Checked(house.path()).findings.empty());
    // Whatever was pending is complete now.
    for (const RecordPlace& place : MessagesOf(house.path())) {
      CHECK((CommitWord::Flags(place.header.commit) & kPayloadPending) == 0);
    }
  }
}

TEST_CASE("a record without its body at the end is a torn tail") {
  for (const bool missing : {true, false}) {
    CAPTURE(missing);
    House house;
    SendOne(house.handle.store, Body(1));
    const auto before = house.Files();
    SendOne(house.handle.store, Body(2), Durability::kDisk);
    // As if the drive had lied: the record is there, its body is not.
    std::string lost;
    for (const auto& file : house.Files()) {
      if (!before.contains(file)) lost = house.path() + "/" + file;
    }
    house.handle.Kill();
    if (missing) {
      std::filesystem::remove(lost);
    } else {
      Overwrite(lost, 100, std::string(1000, '\0'));
    }
    house.machine.clock.boot_hash.store(99);
    CHECK(IsSound(house.path()));

    house.handle = house.Another();

    CHECK(house.handle.store->open_path() == OpenPath::kCold);
    CHECK(BodiesOf(AllStored(house.handle.store)) ==
          std::vector<std::string>{Body(1)});
    CHECK(house.Files() == before);
    house.handle.Close();
    CHECK(IsSound(house.path()));
  }
}

TEST_CASE("a body that is missing or changed below the witness is damage") {
  enum class Fault { kMissing, kCut, kChanged };
  for (const Fault fault : {Fault::kMissing, Fault::kCut, Fault::kChanged}) {
    for (const bool clean : {true, false}) {
      CAPTURE(int(fault));
      CAPTURE(clean);
      House house;
      SendOne(house.handle.store, Body(1));
      const std::string file = house.path() + "/" + *house.Files().begin();
      SendOne(house.handle.store, Body(2));
      SendOne(house.handle.store, "small");
      house.handle.Close();
      if (!clean) {
        std::filesystem::remove(house.path() + "/ctl");
        std::filesystem::remove(house.path() + "/ckpt/A");
        std::filesystem::remove(house.path() + "/ckpt/B");
      }
      if (fault == Fault::kMissing) std::filesystem::remove(file);
      if (fault == Fault::kCut) std::filesystem::resize_file(file, 4000);
      if (fault == Fault::kChanged) FlipBit(file, 4095, 3);

      const CheckReport report = Checked(house.path());
      REQUIRE(report.damaged());
      const RecordPlace first = MessagesOf(house.path())[0];
      CHECK(report.findings[0].position == first.header.position);
      CHECK(report.findings[0].file == first.file);

      house.handle = house.Another();
      std::vector<absl::Status> damage;
      CHECK(BodiesOf(AllStored(house.handle.store, &damage)) ==
            std::vector<std::string>{Body(2), "small"});
      REQUIRE(damage.size() == 1);
      CHECK(OmsCode(damage[0]) == Code::kDamaged);
      CHECK(std::string(damage[0].message()).find("position") !=
            std::string::npos);
      house.handle.Close();
    }
  }
}

// A directory in which a power loss takes what of big/ was not flushed: bytes,
// and names whose directory was not.
class PowerStorage {
 public:
  explicit PowerStorage(const std::string& path)
      : storage_(std::make_shared<FaultyStorage>(path)), path_(path) {
    storage_->set_before_sync([this](std::string_view name) {
      const internal::MutexLock lock(mutex_);
      flushed_.insert(std::string(name));
      return absl::OkStatus();
    });
    storage_->set_before_sync_directory([this](std::string_view name) {
      if (name != "big") return absl::OkStatus();
      const internal::MutexLock lock(mutex_);
      named_ = FilesOf(path_);
      return absl::OkStatus();
    });
  }

  const std::shared_ptr<FaultyStorage>& storage() { return storage_; }

  // Makes `copy` what a disk has after a power loss now. The log's pages are
  // all there: the worst that can be for what it names.
  void LosePower(TempDirectory& copy) {
    const internal::MutexLock lock(mutex_);
    copy.CopyFrom(path_);
    for (const std::string& name : FilesOf(copy.path())) {
      const std::string file = copy.path() + "/" + name;
      if (!named_.contains(name)) {
        std::filesystem::remove(file);
      } else if (!flushed_.contains(name)) {
        const auto bytes = std::filesystem::file_size(file);
        std::filesystem::resize_file(file, 0);
        std::filesystem::resize_file(file, bytes);
      }
    }
  }

 private:
  const std::shared_ptr<FaultyStorage> storage_;
  const std::string path_;
  internal::Mutex mutex_;
  std::set<std::string> flushed_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> named_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE(
    "OMS-REF-002: after a power loss nothing that was durable lacks its body") {
  TestMachine machine;
  TempDirectory directory;
  PowerStorage power(directory.path());
  StoreOpenOptions options;
  options.create = Options();
  auto store =
      Store::Open(power.storage(), &machine.environment, options, InGoodTime());
  REQUIRE(store.ok());
  CreateQueue(**store, "orders");
  std::vector<std::string> sent;
  for (int n = 0; n < 12; ++n) {
    // At level process, at disk, and small ones that flush those before.
    const bool disk = n % 3 != 0;
    sent.push_back(n % 3 == 2 ? "small " + std::to_string(n) : Body(n));
    SendOne(*store, sent.back(),
            disk ? Durability::kDisk : Durability::kProcess);
    TempDirectory copy;
    power.LosePower(copy);
    TestMachine other;
    other.clock.boot_hash.store(machine.clock.boot_hash + 1);
    CHECK(IsSound(copy.path()));

    Handle after = OpenStore(copy.path(), other, Options());

    const auto stored = BodiesOf(AllStored(after.store));
    const size_t durable = disk ? sent.size() : sent.size() - 1;
    REQUIRE(stored.size() >= durable);
    CHECK(std::equal(stored.begin(), stored.end(), sent.begin()));
    after.Close();
    CHECK(Checked(copy.path()).findings.empty());
  }
  CHECK((*store)->Close(InGoodTime()).ok());
}

TEST_CASE("a body that cannot be flushed is not stored") {
  TestMachine machine;
  TempDirectory directory;
  auto storage = std::make_shared<FaultyStorage>(directory.path());
  std::atomic<bool> broken{false};
  storage->set_before_sync([&](std::string_view name) {
    return broken && name.starts_with("big/")
               ? MakeStatus(Code::kStorageError, "flush: Input/output error")
               : absl::OkStatus();
  });
  StoreOpenOptions options;
  options.create = Options();
  auto store = Store::Open(storage, &machine.environment, options, InGoodTime());
  REQUIRE(store.ok());
  CreateQueue(**store, "orders");
  const std::vector<Message> batch = {MakeMessage("small"),
                                      MakeMessage(Body(1)),
                                      MakeMessage("behind")};
  broken = true;

  const auto results = TrySend(*store, batch);

  CHECK(results[0].ok());
  for (const size_t failed : {size_t{1}, size_t{2}}) {
    CHECK(OmsCode(results[failed].status()) == Code::kStorageError);
    CHECK(OutcomeOf(results[failed].status()) == Outcome::kNotStored);
  }
  CHECK(FilesOf(directory.path()).empty());
  broken = false;
  SendOne(*store, Body(2));
  // Once a record names it, a failed flush is everybody's.
  SendOne(*store, Body(3), Durability::kProcess);
  broken = true;
  CHECK(OmsCode((*store)->log().WaitDurable((*store)->log().committed(),
                                            InGoodTime())) == Code::kStorageError);
  CHECK((*store)->log().poisoned());
}

Cursor& CursorOf(Store& store, std::string_view group) {
  const auto queue = store.catalog().FindQueue("orders", InGoodTime());
  REQUIRE(queue.ok());
  const auto found = store.catalog().OpenGroup(
      *queue, group, StartPosition::kEarliest, InGoodTime());
  REQUIRE(found.ok());
  return *(*found)->state->cursor(0);
}

// Rejects what `member` took last.
void Reject(Member& member, size_t index) {
  const absl::Status status = member.Settle(index, driver::Verb::kReject);
  CHECK_MESSAGE(status.ok(), status.message());
}

void CreateWithDead(Store& store) {
  for (const char* const name : {"dead", "orders"}) {
    QueueOptions options;
    if (std::string_view(name) == "orders") options.dead_letter_queue = "dead";
    const auto status = store.catalog().CreateQueue(name, options, InGoodTime());
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
}

struct DeadHouse {
  DeadHouse() {
    handle = OpenStore(directory.path(), machine, Options());
    CreateWithDead(*handle.store);
  }
  // What "dead" holds, by a group of that name; settles it where it shall.
  std::vector<std::string> DeadBodies(std::string_view group, bool settle) {
    std::vector<std::string> bodies;
    Member member(handle.store, group, "dead");
    const auto seen = member.Take();
    for (size_t n = 0; n < seen.size() && settle; ++n) {
      CHECK(member.Ack(n).ok());
    }
    CHECK(member.damage().empty());
    member.Close();
    return BodiesOf(seen);
  }
  // Sends and settles small messages until the log has rolled so often.
  void RollOver(Member& member, size_t& next, int times) {
    ControlHeader& header = handle.store->control().header();
    const uint32_t goal = header.append.current.Load() + uint32_t(times);
    while (header.append.current.Load() < goal) {
      SendOne(handle.store, std::string(1000, 'x'));
      REQUIRE(member.Take(1).size() == 1);
      CHECK(member.Ack(next++).ok());
    }
    handle.store->Retire();
  }
  std::set<std::string> Files() const { return FilesOf(directory.path()); }

  TestMachine machine;
  TempDirectory directory;
  Handle handle;
};

TEST_CASE("a dead letter shares the body of its source and outlives it") {
  for (const Durability durability :
       {Durability::kDisk, Durability::kProcess}) {
    CAPTURE(int(durability));
    DeadHouse house;
    Member member(house.handle.store, "g");
    SendOne(house.handle.store, Body(1), durability);
    const auto file = house.Files();
    REQUIRE(member.Take(1).size() == 1);
    Reject(member, 0);
    size_t next = 1;
    CHECK(house.Files() == file);
    ControlHeader& header = house.handle.store->control().header();
    const uint32_t source = header.catalog.first_segment.Load();

    // Its source's segment goes; it lies in a later one.
    while (header.append.current.Load() == source) {
      house.RollOver(member, next, 1);
    }
    SendOne(house.handle.store, Body(2), durability);
    REQUIRE(member.Take(1).size() == 1);
    const size_t second = next++;
    const std::set<std::string> both = house.Files();
    house.RollOver(member, next, 3);
    // Still leased, so it pins its segment, and with it its own.
    CHECK(house.Files() == both);
    Reject(member, second);
    house.RollOver(member, next, 3);
    CHECK(house.Files() == both);
    CHECK(house.DeadBodies("undertaker", false) ==
          std::vector<std::string>{Body(1), Body(2)});

    member.Close();
    house.handle.Close();
    CHECK(Checked(house.directory.path()).findings.empty());
    // Found again by whoever must read the log.
    TempDirectory copy;
    copy.CopyFrom(house.directory.path());
    for (const char* const derived : {"/ctl", "/idx", "/ckpt/A", "/ckpt/B"}) {
      std::filesystem::remove(copy.path() + derived);
    }
    for (const std::string& path : {house.directory.path(), copy.path()}) {
      house.handle = OpenStore(path, house.machine, Options());
      CHECK(FilesOf(path) == both);
      CHECK(house.DeadBodies("undertaker", true) ==
            std::vector<std::string>{Body(1), Body(2)});
      Member again(house.handle.store, "g");
      CHECK(again.Take().empty());
      size_t none = 0;
      house.RollOver(again, none, 3);
      CHECK(FilesOf(path).empty());
      CHECK(house.handle.store->bodies().bytes() == 0);
      again.Close();
      house.handle.Close();
      CHECK(Checked(path).findings.empty());
    }
  }
}

TEST_CASE("an expired message whose body is lost is told once, and settled") {
  DeadHouse house;
  Message message = MakeMessage(Body(1));
  message.SetExpireAt(std::chrono::milliseconds(1));
  REQUIRE(TrySend(house.handle.store, {&message, 1})[0].ok());
  SendOne(house.handle.store, "good");
  for (const std::string& name : house.Files()) {
    std::filesystem::remove(house.directory.path() + "/" + name);
  }
  Member member(house.handle.store, "g");

  CHECK(BodiesOf(member.Take()) == std::vector<std::string>{"good"});
  for (int n = 0; n < 3; ++n) {
    house.machine.clock.boot_ns.fetch_add(2'000'000'000);
    CHECK(member.Take().empty());
  }

  REQUIRE(member.damage().size() == 1);
  CHECK(OmsCode(member.damage()[0]) == Code::kDamaged);
  CHECK(house.DeadBodies("undertaker", false).empty());
  CHECK(member.Ack(0).ok());
  CHECK(SettledFloor(house.handle.store->control(),
                     CursorOf(*house.handle.store, "g")) == 2);
  member.Close();
}

TEST_CASE("a move does not name a body that is being retired") {
  DeadHouse house;
  Member member(house.handle.store, "g");
  SendOne(house.handle.store, Body(1));
  REQUIRE(member.Take(1).size() == 1);
  ControlHeader& header = house.handle.store->control().header();
  header.catalog.bodies_from.Store(header.committed.end.Load());

  const absl::Status status = member.Settle(0, driver::Verb::kReject);

  CHECK(OmsCode(status) == Code::kDamaged);
  header.catalog.bodies_from.Store(0);
  Reject(member, 0);
  CHECK(house.DeadBodies("undertaker", true) ==
        std::vector<std::string>{Body(1)});
}

TEST_CASE("a last delivery whose segment is lost is told once, and settled") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "dead");
  QueueOptions options;
  options.dead_letter_queue = "dead";
  options.max_deliveries = 1;
  REQUIRE(handle.store->catalog().CreateQueue("orders", options, InGoodTime()).ok());
  Member dying(handle.store, "g");
  uint64_t sent = 0;
  while (handle.store->control().header().append.current.Load() < 2) {
    SendOne(handle.store, std::string(1000, 'x'), Durability::kProcess);
    ++sent;
  }
  REQUIRE(dying.Take().size() == sent);
  handle.Kill();
  std::filesystem::remove(directory.path() + "/" +
                          SegmentFiles(directory.path())[1]);
  handle = OpenStore(directory.path(), machine);
  REQUIRE(handle.store->open_path() == OpenPath::kWarm);

  Member member(handle.store, "g");
  machine.clock.boot_ns.fetch_add(2'000'000'000);
  CHECK(member.Take().empty());
  const size_t told = member.damage().size();
  CHECK(told > 0);
  for (int n = 0; n < 3; ++n) {
    machine.clock.boot_ns.fetch_add(2'000'000'000);
    CHECK(member.Take().empty());
  }

  CHECK(member.damage().size() == told);
  CHECK(SettledFloor(handle.store->control(), CursorOf(*handle.store, "g")) ==
        sent);
}

TEST_CASE("bodies go with their segment, which they complete early") {
  House house;
  Member member(house.handle.store, "g");
  size_t next = 0;
  size_t most = 0;
  for (int n = 0; n < 100; ++n) {
    SendOne(house.handle.store, Body(n), Durability::kProcess);
    REQUIRE(member.Take(1).size() == 1);
    CHECK(member.Ack(next++).ok());
    most = std::max(most, house.Files().size());
  }

  // A segment is complete at 16 KiB of bodies, and two or three are there.
  CHECK(most <= 16);
  CHECK(house.handle.store->bodies().bytes() ==
        house.Files().size() * kLarge);
  member.Close();
  house.handle.Close();
  CHECK(Checked(house.path()).findings.empty());
}

TEST_CASE("a clean open knows what its segment has in large bodies") {
  House house;
  const auto large_bytes = [&] {
    return house.handle.store->control().header().append.large_bytes.Load();
  };
  // Those of earlier segments are there as well, and count for these.
  for (int n = 0; n < 10; ++n) {
    SendOne(house.handle.store, Body(n), Durability::kProcess);
  }
  REQUIRE(house.handle.store->bodies().bytes() == 10 * kLarge);
  uint64_t before = large_bytes();
  REQUIRE(before > 0);
  REQUIRE(before < 10 * kLarge);

  const size_t segments = SegmentFiles(house.path()).size();
  for (int n = 0; n < 4; ++n) {
    house.handle.Close();
    house.handle = house.Another();
    REQUIRE(house.handle.store->open_path() == OpenPath::kClean);
    CHECK(large_bytes() == before);
    SendOne(house.handle.store, Body(n, 2049), Durability::kProcess);
    before = large_bytes();
  }

  // A segment takes 16 KiB of them, however often it is opened.
  CHECK(SegmentFiles(house.path()).size() <= segments + 2);
}

TEST_CASE("a body that is held stays mapped when its file is gone") {
  House house;
  Message held;
  {
    struct Sink final : driver::DeliverySink {
      void Deliver(Message message, const Receipt& receipt) override {
        messages.push_back(std::move(message));
        receipts.push_back(receipt);
      }
      std::vector<Message> messages{};
      std::vector<Receipt> receipts{};
    } sink;
    SendOne(house.handle.store, Body(1));
    driver::ConsumerOptions options;
    options.group = "other";
    ReferenceConsumer consumer(house.handle.store, options, ConsumerSettings{},
                               nullptr);
    REQUIRE(consumer.Bind("orders", {}, InGoodTime()).ok());
    REQUIRE(consumer.Receive(1, InGoodTime(), sink).ok());
    REQUIRE(sink.messages.size() == 1);
    held = sink.messages[0];
    struct Results final : driver::SettleCompletion {
      void Settled(size_t, const Receipt&) override {}
      void Failed(size_t, absl::Status) override { FAIL("it is held"); }
    } results;
    const driver::Settlement ack{sink.receipts[0], driver::Verb::kAck, {}};
    driver::CallContext context;
    context.deadline = InGoodTime();
    consumer.Settle({&ack, 1}, context, results);
    CHECK(consumer.Close(InGoodTime()).ok());
  }
  const std::string file = house.path() + "/" + *house.Files().begin();
  CHECK(house.handle.store->catalog()
            .DeleteQueue("orders", InGoodTime())
            .ok());
  CreateQueue(*house.handle.store, "orders");
  Member member(house.handle.store, "g");
  for (size_t n = 0; n < 40; ++n) {
    SendOne(house.handle.store, std::string(1000, 'x'));
    REQUIRE(member.Take(1).size() == 1);
    CHECK(member.Ack(n).ok());
  }
  house.handle.store->Retire();

  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(held.body() == Body(1));
  const Message copy = held;
  held = Message();
  CHECK(copy.body() == Body(1));
}

TEST_CASE("a retirement killed between bodies and segments loses nothing") {
  for (const bool lose_ctl : {false, true}) {
    CAPTURE(lose_ctl);
    House house;
    Member member(house.handle.store, "g");
    size_t next = 0;
    TempDirectory moment;
    bool taken = false;
    size_t before = 0;
    house.handle.storage->set_after_change([&] {
      const size_t now = house.Files().size();
      // The bodies are gone, the segments are not: this is the moment.
      if (!taken && now + 1 < before) {
        moment.CopyFrom(house.path());
        taken = true;
      }
      if (now > before) before = now;
    });
    // Nothing is flushed but by the retirement.
    for (int n = 0; n < 30 && !taken; ++n) {
      SendOne(house.handle.store, Body(n), Durability::kProcess);
      REQUIRE(member.Take(1).size() == 1);
      CHECK(member.Ack(next++).ok());
    }
    REQUIRE(taken);
    house.handle.storage->set_after_change({});
    const size_t sent = next;
    SendOne(house.handle.store, "kept");
    house.handle.Kill();
    if (lose_ctl) {
      std::filesystem::remove(moment.path() + "/ctl");
      house.machine.clock.boot_hash.store(77);
    }
    CHECK(IsSound(moment.path()));

    Handle after = OpenStore(moment.path(), house.machine, Options());

    Member again(after.store, "g");
    const auto left = again.Take();
    CHECK(again.damage().empty());
    for (const Seen& seen : left) {
      CHECK(seen.body == Body(static_cast<int>(seen.offset)));
    }
    const SendResult result = SendOne(after.store, "next");
    CHECK(result.offset >= static_cast<int64_t>(sent) - 1);
    CHECK(again.Take().size() == 1);
    again.Close();
    after.Close();
    CHECK(IsSound(moment.path()));
  }
}

TEST_CASE("large bodies count against max-bytes and give it back") {
  StoreOptions options = Options();
  options.max_bytes = 100'000;
  House house(options);
  Member member(house.handle.store, "g");
  size_t next = 0;
  for (int round = 0; round < 10; ++round) {
    size_t stored = 0;
    while (true) {
      const Message message = MakeMessage(Body(1, 12'000),
                                          Durability::kProcess);
      const auto result = TrySend(house.handle.store, {&message, 1})[0];
      if (!result.ok()) {
        CHECK(OmsCode(result.status()) == Code::kStorageBusy);
        CHECK(OutcomeOf(result.status()) == Outcome::kNotStored);
        break;
      }
      ++stored;
      CHECK(house.handle.store->bodies().StoredBytes() <=
            options.max_bytes + options.reserve_bytes);
    }
    CAPTURE(round);
    CHECK(stored >= 2);
    CHECK(house.handle.store->bodies().bytes() == house.Files().size() * 12'000);

    for (size_t n = 0; n < stored; ++n) {
      REQUIRE(member.Take(1).size() == 1);
      CHECK(member.Ack(next++).ok());
    }
  }
  member.Close();
  house.handle.Close();
  CHECK(Checked(house.path()).findings.empty());
}

TEST_CASE("a segment that a dead process was preparing takes no room") {
  StoreOptions options = Options();
  options.max_bytes = 200'000;
  House house(options);
  ControlHeader& header = house.handle.store->control().header();
  header.catalog.preparing_bytes.Store(150'000);

  const Message message = MakeMessage(Body(1, 100'000));
  const auto result = TrySend(house.handle.store, {&message, 1})[0];

  CHECK_MESSAGE(result.ok(), result.status().message());
  CHECK(header.catalog.preparing_bytes.Load() == 0);
  house.handle.Close();
}

TEST_CASE("on a full disk a large body is refused and leaves nothing") {
  TestMachine machine;
  TempDirectory directory;
  auto storage = std::make_shared<FaultyStorage>(directory.path());
  StoreOpenOptions options;
  options.create = Options();
  auto store = Store::Open(storage, &machine.environment, options, InGoodTime());
  REQUIRE(store.ok());
  CreateQueue(**store, "orders");
  Handle dying = OpenStore(directory.path(), machine, Options());
  const auto leftover =
      dying.store->bodies().Write(Body(0, 50'000), false, UINT64_MAX, InGoodTime());
  REQUIRE(leftover.ok());
  const std::string left = directory.path() + "/" + BodyName(*leftover);
  storage->set_room(storage->used() + 100'000);
  const auto send = [&](size_t bytes) {
    const Message message = MakeMessage(Body(1, bytes));
    return TrySend(*store, {&message, 1})[0].status();
  };
  CHECK(send(60'000).ok());
  const auto files = FilesOf(directory.path());
  CHECK(OmsCode(send(60'000)) == Code::kStorageBusy);
  CHECK(FilesOf(directory.path()) == files);
  CHECK(std::filesystem::exists(left));  // Its writer lives.

  dying.Kill();
  CHECK(OmsCode(send(60'000)) == Code::kStorageBusy);

  CHECK_FALSE(std::filesystem::exists(left));
  Member member(*store, "g");
  REQUIRE(member.Take(1).size() == 1);
  CHECK(OmsCode(send(60'000)) == Code::kStorageBusy);
  CHECK(member.Ack(0).ok());
  CHECK(send(60'000).ok());
  CHECK(send(100).ok());
  member.Close();
  CHECK((*store)->Close(InGoodTime()).ok());
  CHECK(Checked(directory.path()).findings.empty());
}

TEST_CASE("a name that is taken is not written over") {
  House house;
  LargeBody next;
  next.bytes = kLarge;
  next.epoch = house.handle.store->control().header().epoch;
  next.owner = house.handle.store->liveness().self().word();
  TempDirectory outside;
  const std::string target = outside.path() + "/target";
  std::filesystem::create_symlink(target,
                                  house.path() + "/" + BodyName(next));

  SendOne(house.handle.store, Body(1));

  CHECK_FALSE(std::filesystem::exists(target));
  CHECK(BodiesOf(AllStored(house.handle.store)) ==
        std::vector<std::string>{Body(1)});
}

TEST_CASE("a store in memory has large bodies as well") {
  TestMachine machine;
  StoreOpenOptions options;
  options.create = Options();
  options.create.max_bytes = 100'000;
  auto storage = OpenMemory("large bodies");
  auto store = Store::Open(storage, &machine.environment, options, InGoodTime());
  REQUIRE(store.ok());
  CreateWithDead(**store);
  Member member(*store, "g");
  size_t next = 0;
  for (int n = 0; n < 200; ++n) {
    SendOne(*store, Body(n, 10'000));
    const auto seen = member.Take(1);
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].body == Body(n, 10'000));
    // A dead letter that nobody settles keeps what is behind it.
    if (n >= 196) {
      Reject(member, next++);
    } else {
      CHECK(member.Ack(next++).ok());
    }
  }
  CHECK((*store)->bodies().bytes() < 100'000);
  Member undertaker(*store, "u", "dead");
  const auto dead = undertaker.Take();
  REQUIRE(dead.size() == 4);
  CHECK(dead[3].body == Body(199, 10'000));
  undertaker.Close();
  member.Close();
}

}  // namespace
}  // namespace openmessaging::reference::large_bodies_test
