// SPDX-License-Identifier: Apache-2.0
//
// Power losses: at any place of many short lives of a store, with any part of
// what was not flushed, in recoveries as well. OMS_POWER_ONLY=<number> explores
// one of the lives alone.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "format.h"
#include "goals.h"
#include "power/disk.h"
#include "power/explorer.h"
#include "power/session.h"

namespace openmessaging::reference::power_test {
namespace {

using power::Counts;
using power::Explorer;
using power::Finding;
using power::Path;

// Of each life, so many states and some that come with them.
constexpr uint64_t kStatesOfLife = 2'000;

void Tell(const Explorer& explorer) {
  for (const Finding& finding : explorer.findings()) {
    std::printf("power: %s\n  repeat with OMS_POWER_REPLAY=%s\n",
                finding.what.c_str(), finding.Name().c_str());
  }
}

struct Replayed {
  uint64_t seed = 0;
  uint64_t workload = 0;
  Path path{};
};

// Returns: what OMS_POWER_REPLAY names.
std::optional<Replayed> AskedFor() {
  const char* const name = std::getenv("OMS_POWER_REPLAY");
  if (name == nullptr) return std::nullopt;
  std::istringstream in(name);
  Replayed asked;
  char mark = 0;
  in >> asked.seed >> mark >> asked.workload;
  size_t cut = 0;
  size_t state = 0;
  while (in >> mark >> cut >> mark >> state) asked.path.push_back({cut, state});
  return asked;
}

TEST_CASE("a power loss loses nothing that was acknowledged") {
  if (const auto asked = AskedFor()) {
    Explorer explorer(asked->seed);
    explorer.Replay(asked->workload, asked->path);
    Tell(explorer);
    CHECK(explorer.findings().empty());
    return;
  }
  Explorer explorer(RunSeed());
  if (const char* const only = std::getenv("OMS_POWER_ONLY")) {
    explorer.Explore(std::stoull(only), kStatesOfLife);
    Tell(explorer);
    CHECK(explorer.counts().all() > 0);
    CHECK(explorer.findings().empty());
    return;
  }
  const uint64_t goal = For({100'000, 2'000'000});
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t n = 0;
       explorer.counts().all() < goal && explorer.findings().empty(); ++n) {
    explorer.Explore(n, kStatesOfLife);
  }
  Tell(explorer);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  const Counts& counts = explorer.counts();
  std::printf(
      "power: %llu recordings, %llu cuts, %llu judged, %llu lies, %.1f s, "
      "%.3f ms each; by depth %llu %llu %llu %llu\n",
      static_cast<unsigned long long>(counts.recordings),
      static_cast<unsigned long long>(counts.cuts),
      static_cast<unsigned long long>(counts.judged),
      static_cast<unsigned long long>(counts.lies), seconds,
      seconds * 1000 / static_cast<double>(counts.judged),
      static_cast<unsigned long long>(counts.distinct[0]),
      static_cast<unsigned long long>(counts.distinct[1]),
      static_cast<unsigned long long>(counts.distinct[2]),
      static_cast<unsigned long long>(counts.distinct[3]));
  CHECK(explorer.findings().empty());
  Report({"power", "power-loss states, all different, none loses or alters",
          WithCommas(goal), WithCommas(counts.all()),
          counts.all() >= goal && explorer.findings().empty()});
}

// Where the records of a segment's file begin, and where its log ends.
std::vector<size_t> PlacesIn(std::string_view file) {
  std::vector<size_t> places = {kSegmentHeaderBytes};
  while (places.back() + sizeof(RecordHeader) <= file.size()) {
    RecordHeader header;
    std::memcpy(&header, file.data() + places.back(), sizeof(header));
    if (header.commit == 0) break;
    places.push_back(places.back() + PaddedBytes(header));
  }
  return places;
}

StoreOptions SmallStore() {
  StoreOptions options;
  options.first_segment_bytes = 8192;
  options.slots = 4;
  options.bells = 4;
  options.window = 64;
  options.max_segments = 32;
  options.reserve_bytes = 4096;
  return options;
}

struct GhostHouse {
  // Opens a store in a new boot; `send`: sends these together.
  std::vector<int> Live(power::Disk& disk, const std::vector<int>& send) {
    machine.Boot();
    auto session = power::Session::Open(disk, machine, SmallStore());
    REQUIRE(session.ok());
    Store& store = *(*session)->store();
    if (!store.catalog().FindQueue("orders", power::InGoodTime()).ok()) {
      REQUIRE(store.catalog()
                  .CreateQueue("orders", {}, power::InGoodTime())
                  .ok());
    }
    std::vector<power::Received> stored;
    CHECK((*session)->ReadAll("orders", 0, stored).ok());
    std::vector<Message> batch;
    for (const int number : send) {
      batch.emplace_back("orders", power::BodyOf(number, 100));
      batch.back().SetDurability(Durability::kDisk);
    }
    for (const auto& result : (*session)->Send(batch)) {
      REQUIRE(result.ok());
      CHECK(ids.insert(result->message_id.ToString()).second);
    }
    std::vector<int> numbers;
    for (const power::Received& one : stored) numbers.push_back(one.number);
    return numbers;
  }

  power::SimulatedMachine machine{1};
  std::set<std::string> ids{};
};

using Numbers = std::vector<int>;

TEST_CASE("a ghost that fits the new stream is not received") {
  GhostHouse house;
  power::Disk first(nullptr);
  CHECK(house.Live(first, {0}).empty());
  CHECK(house.Live(first, {1, 2}) == Numbers{0});
  // Of the two that one flush wrote, the second arrived.
  power::Image image = first.AfterPowerLoss(true);
  size_t segment = 0;
  for (size_t n = 0; n < image.files.size(); ++n) {
    if (image.files[n].name.starts_with("log/")) segment = n;
  }
  std::string torn(image.files[segment].base);
  const auto places = PlacesIn(torn);
  REQUIRE(places.size() == 3);
  const std::string ghost = torn.substr(places[1], places[2] - places[1]);
  torn[places[0] + sizeof(RecordHeader)] ^= 1;
  image.files[segment].base = torn;

  power::Disk second(image, nullptr);
  CHECK(house.Live(second, {3}) == Numbers{0});
  power::Image again = second.AfterPowerLoss(true);
  std::string haunted;
  for (power::Image::File& file : again.files) {
    if (!file.name.starts_with("log/")) continue;
    std::string bytes(file.base);
    const auto ends = PlacesIn(bytes);
    RecordHeader of_ghost;
    RecordHeader last;
    std::memcpy(&of_ghost, ghost.data(), sizeof(of_ghost));
    std::memcpy(&last, bytes.data() + ends[0], sizeof(last));
    // Its position and its sequence are what comes next in the new segment.
    if (last.position + PaddedBytes(last) != of_ghost.position ||
        last.sequence + 1 != of_ghost.sequence || ends.size() != 2 ||
        bytes.substr(ends[1], 8) != std::string(8, '\0')) {
      continue;
    }
    bytes.replace(ends[1], ghost.size(), ghost);
    haunted = bytes;
    file.base = haunted;
  }
  REQUIRE_FALSE(haunted.empty());

  power::Disk third(again, nullptr);
  CHECK(house.Live(third, {4}) == Numbers{0, 3});
  power::Disk fourth(third.AfterPowerLoss(false), nullptr);
  CHECK(house.Live(fourth, {}) == Numbers{0, 3, 4});
}

}  // namespace
}  // namespace openmessaging::reference::power_test
