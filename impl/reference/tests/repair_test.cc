// SPDX-License-Identifier: Apache-2.0
//
// Repair: what is whole goes into a new store, whatever is gone around it.

#include "openmessaging/reference/repair.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"
#include "salvage.h"

namespace openmessaging::reference::repair_test {
namespace {

using namespace testing;  // The fixture is part of this test.

constexpr int kMessages = 120;

// A closed store of several segments. A group has settled the first messages.
class House {
 public:
  House() {
    Handle handle = OpenStore(path(), machine_);
    CreateQueue(*handle.store, "orders");
    Member member(handle.store, "g");
    for (int n = 0; n < kMessages; ++n) {
      SendOne(handle.store, std::to_string(n) + std::string(400, '.'));
    }
    REQUIRE(member.Take(3).size() == 3);
    for (size_t n = 0; n < 3; ++n) REQUIRE(member.Ack(n).ok());
    member.Close();
    stored_ = AllStored(handle.store);
    handle.Close();
    REQUIRE(SegmentFiles(path()).size() > 3);
  }

  const std::string& path() const { return directory_.path(); }
  const std::string& target() const { return target_.path(); }
  const std::vector<Seen>& stored() const { return stored_; }

  RepairReport Repair() {
    auto report = RepairStore(path(), target());
    REQUIRE_MESSAGE(report.ok(), report.status().message());
    INFO(report->ToText());
    CHECK(IsSound(target()));
    return *std::move(report);
  }
  // Opens what was repaired.
  Handle OpenTarget() { return OpenStore(target(), machine_); }

 private:
  TestMachine machine_;
  TempDirectory directory_;
  TempDirectory target_;
  std::vector<Seen> stored_;
};

TEST_CASE("OMS-CLI-023: what is repaired has its place its id and its group") {
  House house;

  const RepairReport report = house.Repair();

  CHECK_FALSE(report.has_losses());
  CHECK(report.messages == kMessages);
  Handle handle = house.OpenTarget();
  CHECK(AllStored(handle.store) == house.stored());
  Member member(handle.store, "g");
  CHECK(member.Take(1)[0].offset == 3);
  member.Close();
  CHECK(SendOne(handle.store, "next").offset == kMessages);
  handle.Close();
}

TEST_CASE("OMS-CLI-023: a segment without its header is read all the same") {
  House house;
  const std::string file = house.path() + "/" + SegmentFiles(house.path())[1];
  Overwrite(file, 0, std::string(kSegmentHeaderBytes, '\xff'));

  const RepairReport report = house.Repair();

  CHECK_FALSE(report.has_losses());
  Handle handle = house.OpenTarget();
  CHECK(AllStored(handle.store) == house.stored());
  handle.Close();
}

TEST_CASE("OMS-CLI-023: segments whose headers were exchanged are read all the same") {
  House house;
  const auto files = SegmentFiles(house.path());
  const std::string first = house.path() + "/" + files[1];
  const std::string second = house.path() + "/" + files[2];
  const std::string of_first = ReadFile(first).substr(0, kSegmentHeaderBytes);
  const std::string of_second = ReadFile(second).substr(0, kSegmentHeaderBytes);
  Overwrite(first, 0, of_second);
  Overwrite(second, 0, of_first);

  const RepairReport report = house.Repair();

  CHECK_FALSE(report.has_losses());
  CHECK(report.messages == kMessages);
  Handle handle = house.OpenTarget();
  CHECK(AllStored(handle.store) == house.stored());
  handle.Close();
}

TEST_CASE("OMS-CLI-023: of a missing segment only what it had is lost") {
  for (const size_t which : {size_t{0}, size_t{1}, size_t{2}}) {
    CAPTURE(which);
    House house;
    const std::string file = SegmentFiles(house.path())[which];
    std::vector<Seen> left = house.stored();
    size_t gone = 0;
    for (const RecordPlace& place : MessagesOf(house.path())) {
      if (place.file != file) continue;
      ++gone;
      std::erase_if(left, [&](const Seen& seen) {
        return seen.offset == static_cast<int64_t>(place.header.offset);
      });
    }
    REQUIRE(gone > 0);
    std::filesystem::remove(house.path() + "/" + file);

    const RepairReport report = house.Repair();

    CHECK(report.has_losses());
    CHECK(report.lost_messages == gone);
    Handle handle = house.OpenTarget();
    if (which == 0) {
      // The name of the queue was in it.
      Member member(handle.store, "new", "repaired.1");
      // As many as a window has.
      left.resize(50);
      const auto taken = member.Take(50);
      REQUIRE(taken.size() == left.size());
      for (size_t n = 0; n < left.size(); ++n) {
        CHECK(taken[n].offset == left[n].offset);
        CHECK(taken[n].body == left[n].body);
        CHECK(taken[n].id == left[n].id);
      }
      member.Close();
    } else {
      CHECK(AllStored(handle.store) == left);
    }
    handle.Close();
  }
}

TEST_CASE("OMS-CLI-023: the log alone is enough") {
  House house;
  for (const auto& entry : std::filesystem::directory_iterator(house.path())) {
    if (entry.path().filename() != "log") {
      std::filesystem::remove_all(entry.path());
    }
  }

  const RepairReport report = house.Repair();

  // The options of the store.
  CHECK(std::count_if(report.findings.begin(), report.findings.end(),
                      [](const RepairFinding& one) { return one.loss; }) == 1);
  CHECK(report.findings[0].file == "STORE");
  Handle handle = house.OpenTarget();
  CHECK(AllStored(handle.store) == house.stored());
  handle.Close();
}

TEST_CASE("the salt of a segment follows from its records") {
  House house;
  const std::string name = SegmentFiles(house.path())[1];
  const std::string bytes = ReadFile(house.path() + "/" + name);
  SegmentHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const char* const begin = bytes.data() + kSegmentHeaderBytes;
  const char* const end = bytes.data() + bytes.size();

  const auto salt = FindSalt(begin, end, header.base);

  REQUIRE(salt.has_value());
  CHECK(static_cast<uint32_t>(*salt) ==
        static_cast<uint32_t>(header.salt ^ header.salt >> 32));
  // Of another place nothing follows.
  CHECK_FALSE(FindSalt(begin, end, header.base + 32).has_value());
}

}  // namespace
}  // namespace openmessaging::reference::repair_test
