// SPDX-License-Identifier: Apache-2.0
//
// Senders and receivers killed at random instants, six hundred times: nothing
// that was acknowledged is lost, nothing is altered or invented, and the order
// of each partition holds. OMS_TEST_SEED repeats the random choices of a run.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "async_send.h"
#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/reference/check.h"
#include "store_fixture.h"

namespace openmessaging::reference::kill_storm_test {
namespace {

using std::chrono::microseconds;

constexpr char kQueue[] = "storm";
constexpr char kGroup[] = "watchers";
constexpr uint64_t kPartitions = 4;
constexpr uint64_t kMaxBatch = 16;
constexpr uint64_t kMaxPerRound = 1000;
// So that kills also meet rolls, preparation and retirement.
constexpr char kSmallSegments[] = "?first-segment=64KiB&max-segment=256KiB";
// So that one message in thirty, the long ones, has its body in a file.
constexpr char kSomeLarge[] = "&big-body=4KiB";
// So that half of them have.
constexpr char kManyLarge[] = "&big-body=200";
// The stream of a sender that nobody kills.
constexpr uint64_t kBystander = uint64_t{1} << 40;

// The rounds of all cases together are 720 in a plain build.
// OMS_TEST_SCALE makes a run that many times as long.
uint64_t Rounds(uint64_t plain) { return plain * TestScale() / kSlowness; }

uint64_t Mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// What message `number` of `stream` holds: both numbers, then bytes that only
// they and the seed decide. So every received byte can be checked.
std::string BodyOf(uint64_t seed, uint64_t stream, uint64_t number) {
  uint64_t state = Mixed(seed ^ Mixed(stream ^ Mixed(number)));
  const uint64_t most = state % 32 == 0 ? 12'000 : 400;
  std::string body(16 + (state >> 8) % most, '\0');
  std::memcpy(body.data(), &stream, sizeof(stream));
  std::memcpy(body.data() + 8, &number, sizeof(number));
  for (size_t at = 16; at < body.size(); at += sizeof(state)) {
    state = Mixed(state);
    std::memcpy(body.data() + at, &state,
                std::min(sizeof(state), body.size() - at));
  }
  return body;
}

// Which message it is.
struct Identity {
  uint64_t stream = 0;
  uint64_t number = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// Returns: nothing where not every byte is one that was sent.
std::optional<Identity> Identify(uint64_t seed, std::string_view body) {
  Identity identity;
  if (body.size() < 16) return std::nullopt;
  std::memcpy(&identity.stream, body.data(), sizeof(identity.stream));
  std::memcpy(&identity.number, body.data() + 8, sizeof(identity.number));
  if (body != BodyOf(seed, identity.stream, identity.number)) {
    return std::nullopt;
  }
  return identity;
}

// What was acknowledged to senders, and what came out.
class Ledger {
 public:
  explicit Ledger(uint64_t seed) : seed_(seed) {}

  void Sent(Identity identity, uint64_t partition, uint64_t offset) {
    sent_.push_back({identity, partition, offset});
    uint64_t& count = acknowledged_[identity.stream];
    count = std::max(count, identity.number + 1);
  }

  // `count` messages of a stream were acknowledged; where is not known.
  void SentSomewhere(uint64_t stream, uint64_t count) {
    acknowledged_[stream] = count;
  }

  // Returns: whether it came for the first time.
  bool Received(const Message& message) {
    const auto identity = Identify(seed_, message.body());
    if (!identity) FAIL("a message was altered or invented");
    return Received(*identity, static_cast<uint64_t>(message.partition()),
                    static_cast<uint64_t>(message.offset()));
  }
  bool Received(Identity identity, uint64_t partition, uint64_t offset) {
    REQUIRE(partition < kPartitions);
    auto [found, fresh] = places_[partition].try_emplace(offset, identity);
    if (found->second == identity) return fresh;
    FAIL("partition " << partition << " offset " << offset << " held message "
                      << found->second.number << " of stream "
                      << found->second.stream << " and now " << identity.number
                      << " of " << identity.stream);
    return false;
  }
  size_t received() const {
    size_t count = 0;
    for (const auto& places : places_) count += places.size();
    return count;
  }
  size_t sent() const { return sent_.size(); }

  bool HasAllSent() const {
    return std::all_of(sent_.begin(), sent_.end(), [&](const Place& place) {
      return places_[place.partition].contains(place.offset);
    });
  }

  void Check() const {
    for (const Place& place : sent_) {
      const auto found = places_[place.partition].find(place.offset);
      if (found == places_[place.partition].end() ||
          found->second != place.identity) {
        FAIL("lost: message "
             << place.identity.number << " of stream " << place.identity.stream
             << " was acknowledged at partition " << place.partition
             << " offset " << place.offset);
      }
    }
    // How many messages of each stream, by partition.
    std::map<uint64_t, std::array<uint64_t, kPartitions>> stored;
    for (uint64_t p = 0; p < kPartitions; ++p) {
      uint64_t next_offset = 0;
      // Of each stream, and of the streams that came one after another.
      std::map<uint64_t, uint64_t> next_number;
      uint64_t last_stream = 0;
      for (const auto& [offset, identity] : places_[p]) {
        if (offset != next_offset++) FAIL("partition " << p << " has a gap");
        const auto [next, fresh] = next_number.try_emplace(identity.stream, p);
        if (identity.number != next->second) {
          FAIL("partition " << p << " is out of order at offset " << offset);
        }
        next->second += kPartitions;
        ++stored[identity.stream][p];
        if (identity.stream == kBystander) continue;
        if (identity.stream < last_stream) {
          FAIL("an old sender's message came after offset " << offset);
        }
        last_stream = identity.stream;
      }
    }
    for (const auto& [stream, count] : acknowledged_) {
      stored.try_emplace(stream);
    }
    for (const auto& entry : stored) {
      const uint64_t stream = entry.first;
      const uint64_t count = std::accumulate(
          entry.second.begin(), entry.second.end(), uint64_t{0});
      // A sender's messages are a prefix of what it sent, across partitions:
      // with the counts of each partition dense, the sum tells.
      const auto acknowledged = acknowledged_.find(stream);
      const uint64_t known =
          acknowledged == acknowledged_.end() ? 0 : acknowledged->second;
      if (count < known || count > known + kMaxBatch) {
        FAIL("stream " << stream << " holds " << count << " messages; " << known
                       << " were acknowledged");
      }
      for (uint64_t p = 0; p < kPartitions; ++p) {
        const uint64_t expected = (count + kPartitions - 1 - p) / kPartitions;
        if (entry.second[p] != expected) {
          FAIL("stream " << stream << " is no prefix of what was sent");
        }
      }
    }
  }

 private:
  struct Place {
    Identity identity{};
    uint64_t partition = 0;
    uint64_t offset = 0;
  };

  const uint64_t seed_;
  std::vector<Place> sent_;
  std::map<uint64_t, uint64_t> acknowledged_;
  std::map<uint64_t, Identity> places_[kPartitions];
};

// Arguments: URL, seed, stream, percentage of messages at durability disk.
// Says "ready", then "<number> <partition> <offset>" for each acknowledged one.
OMS_ROLE(storm_sender) {
  const auto bus = Connect(role.argument(0));
  const auto seed = std::stoull(role.argument(1));
  const auto stream = std::stoull(role.argument(2));
  const auto disk_percent = std::stoull(role.argument(3));
  Producer producer = Must(bus.CreateProducer());
  Must(producer.Start());
  role.Say("ready");

  uint64_t number = 0;
  while (number < kMaxPerRound) {
    const uint64_t dice = Mixed(seed ^ Mixed(stream) ^ number);
    const uint64_t count = dice % 4 == 0 ? 1 + dice / 4 % kMaxBatch : 1;
    const bool disk = dice / 1024 % 100 < disk_percent;
    std::vector<Message> batch;
    for (uint64_t n = number; n < number + count; ++n) {
      batch.emplace_back(kQueue, BodyOf(seed, stream, n));
      batch.back().SetPartition(static_cast<int32_t>(n % kPartitions));
      batch.back().SetDurability(disk ? Durability::kDisk
                                      : Durability::kProcess);
    }
    std::string said;
    for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
      const SendResult result = Must(sent);
      said += std::to_string(number++) + ' ' +
              std::to_string(result.partition) + ' ' +
              std::to_string(result.offset) + '\n';
    }
    said.pop_back();
    role.Say(said);
  }
  role.Hear();
}

// Arguments: URL, seed, stream. Sends at durability disk without waiting, up to
// kMaxBatch ahead of what has completed. Says as `sender` does.
OMS_ROLE(async_sender) {
  const Url url = Must(Url::Parse(role.argument(0)));
  const auto driver = Must(driver::Registry::Default().Find(url.driver()));
  const auto connection = Must(driver->Connect(url, url.attributes(), Soon()));
  const auto producer = Must(connection->CreateProducer({}, Soon()));
  const auto seed = std::stoull(role.argument(1));
  const auto stream = std::stoull(role.argument(2));
  testing::AsyncSends sends;
  // On the housekeeper's thread: what is said was told to the application.
  sends.set_hook([&](const testing::Ending& ending) {
    if (!ending.status.ok()) {
      role.Say("failed " + Text(ending.status));
      return;
    }
    role.Say(std::to_string(ending.number) + ' ' +
             std::to_string(ending.result.partition) + ' ' +
             std::to_string(ending.result.offset));
  });
  role.Say("ready");

  for (uint64_t number = 0; number < kMaxPerRound; ++number) {
    if (number >= kMaxBatch) sends.Await(number - kMaxBatch + 1);
    Message message(kQueue, BodyOf(seed, stream, number));
    message.SetPartition(static_cast<int32_t>(number % kPartitions));
    message.SetDurability(Durability::kDisk);
    sends.Send(*producer, message);
  }
  role.Hear();
  Must(producer->Close(Soon()));
}

// Arguments: URL, seed. Sends now and then until the parent hangs up. Says how
// many, and how long the slowest took, in microseconds.
OMS_ROLE(bystander) {
  const auto bus = Connect(role.argument(0));
  const auto seed = std::stoull(role.argument(1));
  Producer producer = Must(bus.CreateProducer());
  role.Say("ready");

  uint64_t number = 0;
  microseconds slowest{0};
  for (; !role.Called(); ++number) {
    Message message(kQueue, BodyOf(seed, kBystander, number));
    message.SetPartition(static_cast<int32_t>(number % kPartitions));
    message.SetDurability(Durability::kProcess);
    const auto before = steady_clock::now();
    Must(producer.Send(message));
    slowest = std::max(slowest, std::chrono::duration_cast<microseconds>(
                                    steady_clock::now() - before));
    std::this_thread::sleep_for(milliseconds(1));
  }
  role.Say(std::to_string(number) + ' ' + std::to_string(slowest.count()));
}

// Arguments: URL, seed. Says "ready", then for each message "got <stream>
// <number> <partition> <offset>", and "ack <partition> <offset>" when that is
// done.
OMS_ROLE(receiver) {
  const auto bus = Connect(role.argument(0));
  const auto seed = std::stoull(role.argument(1));
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  role.Say("ready");

  while (true) {
    for (const Delivery& delivery :
         Must(consumer.ReceiveBatch(32, std::chrono::seconds(1)))) {
      const auto identity = Identify(seed, delivery->body());
      if (!identity) {
        role.Say("altered " + std::to_string(delivery->offset()));
        return;
      }
      const std::string place = std::to_string(delivery->partition()) + ' ' +
                                std::to_string(delivery->offset());
      role.Say("got " + std::to_string(identity->stream) + ' ' +
               std::to_string(identity->number) + ' ' + place);
      Must(delivery.Ack());
      role.Say("ack " + place);
    }
  }
}

// One store and what is known of it.
class Storm {
 public:
  explicit Storm(const char* attributes = kSomeLarge)
      : url_(place_.Url(std::string(kSmallSegments) + attributes)) {
    ConnectWith(url_, kQueue, kPartitions);
  }

  Child StartSender() {
    ++round_;
    // Process, disk and mixed, in turn.
    constexpr const char* kDiskPercent[] = {"0", "100", "10"};
    return Child("storm_sender",
                 {url_, std::to_string(seed_), std::to_string(round_),
                  kDiskPercent[round_ % 3]});
  }
  Child StartAsyncSender() {
    ++round_;
    return Child("async_sender", {url_, Seed(), std::to_string(round_)});
  }
  Child StartReceiver() { return Child("receiver", {url_, Seed()}); }

  // A random instant of the sender's work, or, now and then, of its opening.
  steady_clock::time_point Instant(Child& sender) {
    if (round_ % 8 != 0 && sender.Hear() != "ready") FAIL("no sender");
    return steady_clock::now() +
           microseconds(std::uniform_int_distribution<>(0, 20'000)(random_));
  }

  // Writes down what `sender` says until `deadline`.
  void HearSender(Child& sender, steady_clock::time_point deadline) {
    while (auto line = sender.Hear(Until(deadline))) {
      if (*line == "ready") continue;
      std::istringstream words(*line);
      Identity identity{round_, 0};
      uint64_t partition = 0;
      uint64_t offset = 0;
      words >> identity.number >> partition >> offset;
      if (words.fail()) FAIL("the sender said: " << *line);
      ledger_.Sent(identity, partition, offset);
    }
  }

  void HearReceiver(Child& receiver, steady_clock::time_point deadline) {
    while (auto line = receiver.Hear(Until(deadline))) {
      if (*line == "ready") continue;
      std::istringstream words(*line);
      std::string verb;
      words >> verb;
      Identity identity;
      if (verb == "got") words >> identity.stream >> identity.number;
      std::pair<uint64_t, uint64_t> place;
      words >> place.first >> place.second;
      if (words.fail()) FAIL("the receiver said: " << *line);
      if (verb == "ack") {
        settled_.insert(place);
        continue;
      }
      Note(ledger_.Received(identity, place.first, place.second), place);
    }
  }

  // Receives and acknowledges what there is.
  void Drain(PullConsumer& consumer, milliseconds patience) {
    while (true) {
      const auto batch = Must(consumer.ReceiveBatch(64, patience));
      if (batch.empty()) return;
      for (const Delivery& delivery : batch) {
        const std::pair<uint64_t, uint64_t> place(delivery->partition(),
                                                  delivery->offset());
        Note(ledger_.Received(*delivery), place);
        Must(delivery.Ack());
        settled_.insert(place);
      }
    }
  }
  void DrainAll() {
    const auto bus = Connect(url_);
    PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
    const auto deadline = Soon();
    // Leases of the dead come back within 200 ms.
    do {
      Drain(consumer, milliseconds(200));
    } while (!ledger_.HasAllSent() && steady_clock::now() < deadline);
  }

  void Report(std::string_view what) const {
    std::printf(
        "%.*s: %llu kills, %zu acknowledged, %zu received, %zu again "
        "after an acknowledgement\n",
        static_cast<int>(what.size()), what.data(),
        static_cast<unsigned long long>(round_), ledger_.sent(),
        ledger_.received(), repeats_);
  }

  std::string Seed() const { return std::to_string(seed_); }
  const std::string& url() const { return url_; }
  std::string path() const { return place_.path(); }
  Ledger& ledger() { return ledger_; }
  size_t repeats() const { return repeats_; }

 private:
  static milliseconds Until(steady_clock::time_point deadline) {
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(
                                         deadline - steady_clock::now()));
  }
  void Note(bool first, const std::pair<uint64_t, uint64_t>& place) {
    if (!first && settled_.contains(place)) ++repeats_;
  }

  const uint64_t seed_ = TestSeed();
  FilePlace place_;
  const std::string url_;
  std::mt19937_64 random_ = RandomOf(1);
  uint64_t round_ = 0;
  Ledger ledger_{seed_};
  std::set<std::pair<uint64_t, uint64_t>> settled_;
  size_t repeats_ = 0;
};

TEST_CASE(
    "OMS-REF-001: a sender killed at a random instant loses and alters "
    "nothing") {
  Storm storm;
  const auto bus = Connect(storm.url());
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  Child bystander("bystander", {storm.url(), storm.Seed()});
  REQUIRE(bystander.Hear() == "ready");

  for (uint64_t round = 0; round < Rounds(200); ++round) {
    Child sender = storm.StartSender();
    const auto instant = storm.Instant(sender);
    while (steady_clock::now() < instant) {
      storm.Drain(consumer, milliseconds(0));
      storm.HearSender(
          sender, std::min(instant, steady_clock::now() + milliseconds(1)));
    }
    REQUIRE(sender.Kill());
    storm.HearSender(sender, steady_clock::time_point::max());
    storm.Drain(consumer, milliseconds(0));
  }
  bystander.HangUp();
  const auto said = bystander.Hear();
  REQUIRE(said);
  REQUIRE(bystander.Finish());
  storm.Drain(consumer, milliseconds(200));

  std::istringstream words(*said);
  uint64_t count = 0;
  int64_t slowest_us = 0;
  words >> count >> slowest_us;
  std::printf("slowest of %llu sends beside the kills: %.1f ms\n",
              static_cast<unsigned long long>(count),
              static_cast<double>(slowest_us) / 1000);
  storm.Report("senders killed");
  // Check() compares this with what of it is stored.
  storm.ledger().SentSomewhere(kBystander, count);
  storm.ledger().Check();
  CHECK(storm.repeats() == 0);
  // Ten times the goal: the lock of a dead owner is taken within 100 ms.
  CHECK(slowest_us < 1'000'000 * kSlowness);
  CheckSound(storm.path());
}

TEST_CASE(
    "OMS-REF-001: nothing that completed is lost when its sender is killed") {
  Storm storm;
  const auto bus = Connect(storm.url());
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});

  for (uint64_t round = 0; round < Rounds(100); ++round) {
    Child sender = storm.StartAsyncSender();
    const auto instant = storm.Instant(sender);
    while (steady_clock::now() < instant) {
      storm.Drain(consumer, milliseconds(0));
      storm.HearSender(
          sender, std::min(instant, steady_clock::now() + milliseconds(1)));
    }
    REQUIRE(sender.Kill());
    storm.HearSender(sender, steady_clock::time_point::max());
    storm.Drain(consumer, milliseconds(0));
  }
  storm.Drain(consumer, milliseconds(200));

  storm.Report("asynchronous senders killed");
  CHECK(storm.ledger().sent() > 0);
  storm.ledger().Check();
  CHECK(storm.repeats() == 0);
  CheckSound(storm.path());
}

// Checks that each large body is named by a record; with nobody alive.
void CheckNothingLeft(const Storm& storm) {
  const auto report = Must(CheckStore(storm.path()));
  INFO(report.ToText());
  CHECK(std::none_of(report.findings.begin(), report.findings.end(),
                     [](const CheckFinding& finding) {
                       return finding.file.starts_with("big/");
                     }));
}

TEST_CASE("senders killed while they write large bodies leave nothing") {
  Storm storm(kManyLarge);
  {
    const auto bus = Connect(storm.url());
    PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});

    for (uint64_t round = 0; round < Rounds(60); ++round) {
      Child sender = storm.StartSender();
      const auto instant = storm.Instant(sender);
      while (steady_clock::now() < instant) {
        storm.Drain(consumer, milliseconds(0));
        storm.HearSender(
            sender, std::min(instant, steady_clock::now() + milliseconds(1)));
      }
      REQUIRE(sender.Kill());
      storm.HearSender(sender, steady_clock::time_point::max());
      storm.Drain(consumer, milliseconds(0));
    }
    storm.Drain(consumer, milliseconds(200));
  }

  storm.Report("senders of large bodies killed");
  storm.ledger().Check();
  CHECK(storm.repeats() == 0);
  CheckSound(storm.path());
  CheckNothingLeft(storm);
}

// Kills a sender and a receiver, and so everybody, again and again.
void KillAll(Storm& storm, uint64_t rounds, const char* removed) {
  for (uint64_t round = 0; round < rounds; ++round) {
    Child receiver = storm.StartReceiver();
    Child sender = round % 4 == 3 ? storm.StartAsyncSender()
                                  : storm.StartSender();
    const auto instant = storm.Instant(sender);
    while (steady_clock::now() < instant) {
      const auto soon =
          std::min(instant, steady_clock::now() + milliseconds(1));
      storm.HearSender(sender, soon);
      storm.HearReceiver(receiver, soon);
    }
    REQUIRE(sender.Kill());
    REQUIRE(receiver.Kill());
    storm.HearSender(sender, steady_clock::time_point::max());
    storm.HearReceiver(receiver, steady_clock::time_point::max());
    if (removed != nullptr) {
      std::filesystem::remove(storm.path() + '/' + removed);
    }
    if (round % 10 == 9) {
      CheckSound(storm.path());
      // Also closes it, so that the next opening is a clean one.
      storm.DrainAll();
    }
  }
  storm.DrainAll();
  storm.Report(removed == nullptr ? "all killed" : removed);
  storm.ledger().Check();
  CheckSound(storm.path());
  CheckNothingLeft(storm);
}

TEST_CASE(
    "OMS-REF-001: killing all processes forgets nothing that was "
    "acknowledged") {
  Storm storm;

  KillAll(storm, Rounds(140), nullptr);

  CHECK(storm.repeats() == 0);
}

TEST_CASE("killing all processes loses and leaves no large body") {
  Storm storm(kManyLarge);

  KillAll(storm, Rounds(30), nullptr);
  KillAll(storm, Rounds(30), "ctl");
}

TEST_CASE("OMS-REF-012: a store killed and robbed of ctl loses nothing") {
  Storm storm;

  KillAll(storm, Rounds(80), "ctl");
}

TEST_CASE("OMS-REF-012: a store killed and robbed of idx loses nothing") {
  Storm storm;

  KillAll(storm, Rounds(80), "idx");
}

}  // namespace
}  // namespace openmessaging::reference::kill_storm_test
