// SPDX-License-Identifier: Apache-2.0
//
// The scanner over edited images: what is a torn tail, what is damage, and
// that damage costs nothing but what it hit.

#include "scanner.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference::scanner_test {
namespace {

using namespace testing;  // The fixture is part of this test.

std::string Body(int number, size_t bytes) {
  std::string body = "message " + std::to_string(number) + " ";
  while (body.size() < bytes) {
    body += static_cast<char>('a' + (body.size() * 7 + number) % 26);
  }
  return body;
}

// A store that was killed after `count` messages at durability disk.
struct Image {
  Image(int count, size_t body_bytes) {
    Handle handle = OpenStore(directory.path(), machine);
    CreateQueue(*handle.store, "orders");
    for (int n = 0; n < count; ++n) {
      bodies.push_back(Body(n, body_bytes));
      SendOne(handle.store, bodies.back());
    }
    handle.Kill();
    records = MessagesOf(directory.path());
    REQUIRE(records.size() == bodies.size());
  }

  TestMachine machine{};
  TempDirectory directory{};
  std::vector<std::string> bodies{};
  std::vector<RecordPlace> records{};
};

std::vector<CheckFinding> DamageOf(const std::string& path) {
  const auto report = CheckStore(path);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  std::vector<CheckFinding> damage = report->findings;
  std::erase_if(damage, [](const CheckFinding& f) { return !f.damage; });
  return damage;
}

// Opens the image and reads all. Returns: the bodies.
std::vector<std::string> Reopen(const std::string& path,
                                const TestMachine& machine,
                                std::vector<absl::Status>* damage = nullptr) {
  // In place it would be believed.
  std::filesystem::remove(path + "/ctl");
  Handle handle = OpenStore(path, machine);
  CHECK(handle.store->open_path() == OpenPath::kCold);
  const auto bodies = BodiesOf(AllStored(handle.store, damage));
  handle.Kill();
  return bodies;
}

std::vector<std::string> Without(std::vector<std::string> all,
                                 std::vector<size_t> gone) {
  for (size_t n = gone.size(); n-- > 0;) {
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(gone[n]));
  }
  return all;
}

TEST_CASE(
    "OMS-REF-006: a last record cut at any 32 bytes leaves the prefix, and "
    "it is sound") {
  const Image image(6, 300);
  const RecordPlace& last = image.records.back();
  const std::string original =
      ReadFile(image.directory.path() + "/" + last.file)
          .substr(last.at, last.padded());
  for (const char fill : {'\0', '\xa5'}) {
    for (uint64_t cut = 0; cut < last.padded(); cut += kRecordAlignment) {
      CAPTURE(cut);
      CAPTURE(static_cast<int>(fill));
      TempDirectory copy;
      copy.CopyFrom(image.directory.path());
      const std::string tail(last.padded() - cut, fill);
      Overwrite(copy.path() + "/" + last.file, last.at + cut, tail);
      const bool whole = original.substr(cut) == tail;

      CHECK(DamageOf(copy.path()).empty());
      std::vector<absl::Status> damage;
      const auto bodies = Reopen(copy.path(), image.machine, &damage);

      CHECK(damage.empty());
      CHECK(bodies == (whole ? image.bodies : Without(image.bodies, {5})));
      // What the recovery left is sound as well.
      CHECK(DamageOf(copy.path()).empty());
    }
  }
}

TEST_CASE(
    "OMS-REF-005: a flipped body below the witness is damage at its position "
    "only") {
  const Image image(6, 300);
  const RecordPlace& hit = image.records[2];
  for (const uint64_t at : {uint64_t{64}, uint64_t{200}, hit.bytes() - 1}) {
    CAPTURE(at);
    TempDirectory copy;
    copy.CopyFrom(image.directory.path());
    FlipBit(copy.path() + "/" + hit.file, hit.at + at, 3);

    const auto found = DamageOf(copy.path());
    REQUIRE(found.size() == 1);
    CHECK(found[0].file == hit.file);
    CHECK(found[0].position == hit.header.position);

    std::vector<absl::Status> damage;
    CHECK(Reopen(copy.path(), image.machine, &damage) ==
          Without(image.bodies, {2}));
    REQUIRE(damage.size() == 1);
    CHECK(OmsCode(damage[0]) == Code::kDamaged);
    CHECK(
        std::string_view(damage[0].message().data(), damage[0].message().size())
            .find("offset 2") != std::string_view::npos);
    // Damage is kept, and reported again.
    const auto again = DamageOf(copy.path());
    REQUIRE(again.size() == 1);
    CHECK(again[0].position == hit.header.position);
  }
}

TEST_CASE("a flip in any byte of a header below the witness is damage there") {
  const Image image(5, 100);
  const RecordPlace& hit = image.records[2];
  for (uint64_t at = 0; at < sizeof(RecordHeader); ++at) {
    CAPTURE(at);
    const int bit = static_cast<int>(at % 8);
    const std::string file = image.directory.path() + "/" + hit.file;
    FlipBit(file, hit.at + at, bit);

    const auto found = DamageOf(image.directory.path());
    REQUIRE(found.size() == 1);
    CHECK(found[0].file == hit.file);
    CHECK(found[0].position == hit.header.position);

    if (at % 9 == 0) {
      TempDirectory copy;
      copy.CopyFrom(image.directory.path());
      std::vector<absl::Status> damage;
      CHECK(Reopen(copy.path(), image.machine, &damage) ==
            Without(image.bodies, {2}));
      REQUIRE(damage.size() == 1);
      CHECK(OmsCode(damage[0]) == Code::kDamaged);
    }
    FlipBit(file, hit.at + at, bit);
  }
  CHECK(DamageOf(image.directory.path()).empty());
}

TEST_CASE("a record below the witness that claims to be pending is damage") {
  const Image image(4, 100);
  const RecordPlace& hit = image.records[1];

  FlipBit(image.directory.path() + "/" + hit.file, hit.at + 5, 0);

  const auto found = DamageOf(image.directory.path());
  REQUIRE(found.size() == 1);
  CHECK(found[0].position == hit.header.position);
}

TEST_CASE("swapped records are damage, and their neighbours are read") {
  const Image image(6, 300);
  const RecordPlace& one = image.records[2];
  const RecordPlace& two = image.records[3];
  REQUIRE(one.padded() == two.padded());
  REQUIRE(one.file == two.file);
  const std::string file = image.directory.path() + "/" + one.file;
  const std::string bytes = ReadFile(file);

  Overwrite(file, one.at, bytes.substr(two.at, two.padded()));
  Overwrite(file, two.at, bytes.substr(one.at, one.padded()));

  const auto found = DamageOf(image.directory.path());
  REQUIRE(!found.empty());
  CHECK(found[0].position == one.header.position);
  std::vector<absl::Status> damage;
  CHECK(Reopen(image.directory.path(), image.machine, &damage) ==
        Without(image.bodies, {2, 3}));
  // A run of lost messages is told as one.
  REQUIRE(damage.size() == 1);
  CHECK(std::string(damage[0].message()).find("2 messages") !=
        std::string::npos);
}

// Indices of the messages in one segment.
std::vector<size_t> MessagesIn(const Image& image, const std::string& file) {
  std::vector<size_t> indices;
  for (size_t n = 0; n < image.records.size(); ++n) {
    if (image.records[n].file == file) indices.push_back(n);
  }
  return indices;
}

TEST_CASE("a missing middle segment is damage, and the others are read") {
  const Image image(60, 600);
  const auto files = SegmentFiles(image.directory.path());
  REQUIRE(files.size() >= 4);
  const auto gone = MessagesIn(image, files[1]);
  REQUIRE(!gone.empty());

  std::filesystem::remove(image.directory.path() + "/" + files[1]);

  const auto found = DamageOf(image.directory.path());
  REQUIRE(!found.empty());
  CHECK(std::any_of(found.begin(), found.end(), [](const CheckFinding& f) {
    return f.what.find("missing") != std::string::npos;
  }));
  std::vector<absl::Status> damage;
  CHECK(Reopen(image.directory.path(), image.machine, &damage) ==
        Without(image.bodies, gone));
  REQUIRE(damage.size() == 1);
  CHECK(std::string(damage[0].message())
            .find(std::to_string(gone.size()) + " messages") !=
        std::string::npos);
}

TEST_CASE("a missing first segment is damage") {
  const Image image(60, 600);
  const auto files = SegmentFiles(image.directory.path());

  std::filesystem::remove(image.directory.path() + "/" + files[0]);

  CHECK(!DamageOf(image.directory.path()).empty());
}

TEST_CASE("a segment of another store is damage, whatever it holds") {
  const Image image(60, 600);
  // Another machine draws other numbers only if it drew some before.
  TestMachine other_machine;
  other_machine.random.Next();
  TempDirectory other;
  {
    Handle handle = OpenStore(other.path(), other_machine);
    CreateQueue(*handle.store, "orders");
    for (const std::string& body : image.bodies) SendOne(handle.store, body);
    handle.Kill();
  }
  const auto files = SegmentFiles(image.directory.path());
  REQUIRE(SegmentFiles(other.path()) == files);
  const auto gone = MessagesIn(image, files[1]);

  std::filesystem::copy_file(other.path() + "/" + files[1],
                             image.directory.path() + "/" + files[1],
                             std::filesystem::copy_options::overwrite_existing);

  const auto found = DamageOf(image.directory.path());
  CHECK(std::any_of(found.begin(), found.end(), [&](const CheckFinding& f) {
    return f.file == files[1] &&
           f.what.find("another store") != std::string::npos;
  }));
  CHECK(Reopen(image.directory.path(), image.machine) ==
        Without(image.bodies, gone));
}

TEST_CASE("a damaged segment header is damage, and the others are read") {
  const Image image(60, 600);
  const auto files = SegmentFiles(image.directory.path());
  const auto gone = MessagesIn(image, files[1]);

  FlipBit(image.directory.path() + "/" + files[1], 40, 1);

  const auto found = DamageOf(image.directory.path());
  CHECK(std::any_of(found.begin(), found.end(),
                    [&](const CheckFinding& f) { return f.file == files[1]; }));
  CHECK(Reopen(image.directory.path(), image.machine) ==
        Without(image.bodies, gone));
}

TEST_CASE("a segment of another format is refused with 10003") {
  const Image image(3, 100);
  const auto files = SegmentFiles(image.directory.path());
  const std::string path = image.directory.path() + "/" + files[0];
  SegmentHeader header;
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(&header), sizeof(header));
  header.major = 9;
  header.checksum = SealOf(header);
  Overwrite(path, 0,
            {reinterpret_cast<const char*>(&header), sizeof(header)});

  CHECK(OmsCode(CheckStore(image.directory.path()).status()) ==
        Code::kIncompatibleVersion);
  std::filesystem::remove(image.directory.path() + "/ctl");
  CHECK(OmsCode(TryOpen(MortalStorage::OfDirectory(image.directory.path()),
                        image.machine, SmallStore())
                    .status()) == Code::kIncompatibleVersion);
}

TEST_CASE("a stale page above the witness tears the tail, soundly") {
  TestMachine machine;
  TempDirectory directory;
  StoreOptions options = SmallStore();
  options.first_segment_bytes = options.max_segment_bytes = 65536;
  std::vector<std::string> bodies;
  {
    Handle handle = OpenStore(directory.path(), machine, options);
    CreateQueue(*handle.store, "orders");
    // One batch is one flush: no record vouches for another one of it.
    std::vector<Message> batch;
    for (int n = 0; n < 24; ++n) {
      bodies.push_back(Body(n, 1000));
      batch.push_back(MakeMessage(bodies.back()));
    }
    for (const auto& result : TrySend(handle.store, batch)) {
      REQUIRE(result.ok());
    }
    handle.Kill();
  }
  const auto records = MessagesOf(directory.path());
  REQUIRE(records.size() == bodies.size());
  const std::string zeros(4096, '\0');
  for (uint64_t page = AlignUp(records.front().at, 4096) + 4096;
       page + 8192 < records.back().at; page += 4096) {
    CAPTURE(page);
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    Overwrite(copy.path() + "/" + records[0].file, page, zeros);
    size_t kept = 0;
    while (records[kept].at + records[kept].bytes() <= page) ++kept;
    REQUIRE(kept > 0);
    REQUIRE(kept < bodies.size());

    CHECK(DamageOf(copy.path()).empty());
    std::vector<absl::Status> damage;
    Handle handle = OpenStore(copy.path(), machine);
    const auto stored = AllStored(handle.store, &damage);
    CHECK(BodiesOf(stored) ==
          std::vector<std::string>(bodies.begin(),
                                   bodies.begin() + static_cast<int>(kept)));
    CHECK(damage.empty());
    // The log goes on without a hole in the offsets.
    CHECK(SendOne(handle.store, "next").offset == static_cast<int64_t>(kept));
    handle.Close();
    CHECK(DamageOf(copy.path()).empty());
  }
}

TEST_CASE("a pending record is believed in the same boot and place only") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "on disk");
  SendOne(handle.store, "in the page cache", Durability::kProcess);
  handle.Kill();
  const std::vector<std::string> all = {"on disk", "in the page cache"};
  const std::vector<std::string> durable = {"on disk"};
  REQUIRE((MessagesOf(directory.path()).back().header.commit &
           CommitWord::kPendingBit) != 0);

  SUBCASE("a copy") {
    TempDirectory copy;
    copy.CopyFrom(directory.path());
    CHECK(Reopen(copy.path(), machine) == durable);
    CHECK(DamageOf(copy.path()).empty());
  }
  SUBCASE("the same boot and place, without ctl") {
    CHECK(Reopen(directory.path(), machine) == all);
  }
  SUBCASE("another boot") {
    machine.clock.boot_hash = 77;
    CHECK(Reopen(directory.path(), machine) == durable);
    CHECK(DamageOf(directory.path()).empty());
  }
  SUBCASE("an unknown boot") {
    machine.clock.boot_hash = 0;
    CHECK(Reopen(directory.path(), machine) == durable);
  }
}

TEST_CASE("a flush fills in what is pending, and a copy then has it") {
  TestMachine machine;
  TempDirectory directory;
  Handle handle = OpenStore(directory.path(), machine);
  CreateQueue(*handle.store, "orders");
  SendOne(handle.store, "in the page cache", Durability::kProcess);
  SendOne(handle.store, "on disk");
  handle.Kill();

  TempDirectory copy;
  copy.CopyFrom(directory.path());

  CHECK(Reopen(copy.path(), machine) ==
        std::vector<std::string>{"in the page cache", "on disk"});
}

}  // namespace
}  // namespace openmessaging::reference::scanner_test
