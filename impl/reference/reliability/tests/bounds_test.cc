// SPDX-License-Identifier: Apache-2.0
//
// What must stay small: the time to open a large store, the disk after many
// restarts, what a queue costs among ten thousand, and everything in a soak.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "child.h"
#include "goals.h"
#include "store_fixture.h"

namespace openmessaging::reference::bounds_test {
namespace {

namespace fs = std::filesystem;

using std::chrono::duration_cast;
using std::chrono::microseconds;

constexpr char kQueue[] = "orders";

double MsSince(steady_clock::time_point begin) {
  return static_cast<double>(
             duration_cast<microseconds>(steady_clock::now() - begin).count()) /
         1000;
}

std::string InMs(double ms) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f ms", ms);
  return text.data();
}

Message AtProcess(std::string_view queue, std::string_view body) {
  Message message(queue, body);
  message.SetDurability(Durability::kProcess);
  return message;
}

// Of a directory and all below it, in bytes on the disk.
uint64_t DiskBytes(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    if (entry.is_regular_file(error)) bytes += entry.file_size(error);
  }
  return bytes;
}

// Arguments: URL, bytes, size of a body. Sends so much, acknowledges a tenth,
// says "full" and is killed.
OMS_ROLE(filler) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  const auto bytes = static_cast<uint64_t>(role.number(1));
  const std::string body(static_cast<size_t>(role.number(2)), 'x');
  std::vector<Message> batch;
  for (int n = 0; n < 64; ++n) batch.push_back(AtProcess(kQueue, body));
  for (uint64_t sent = 0; sent < bytes; sent += 64 * body.size()) {
    for (const auto& one : producer.Send(std::span<const Message>(batch))) {
      if (!one.ok()) FAIL(Text(one.status()));
    }
  }
  PullConsumer consumer = Consume(bus, kQueue);
  for (int n = 0; n < 20; ++n) {
    for (const auto& delivery : Must(consumer.ReceiveBatch(64, kLong))) {
      Must(delivery.Ack());
    }
  }
  role.Say("full");
  role.Hear();
}

// Opens and receives one message. Returns: the time until it was open.
double OpenMs(const std::string& url) {
  const auto begin = steady_clock::now();
  const auto bus = Connect(url);
  const double ms = MsSince(begin);
  PullConsumer consumer = Consume(bus, kQueue);
  Must(Take(consumer).Nack(milliseconds(0)));
  return ms;
}

void ReportOpening(std::string_view goal, double ms, double limit_ms) {
  Report({"bounds", goal, "< " + InMs(limit_ms), InMs(ms), ms < limit_ms});
  CHECK(ms < 10 * kSlowness * limit_ms);
}

TEST_CASE("a large store opens quickly") {
  const uint64_t bytes = For({128, 1024}) << 20;
  FilePlace place;
  {
    ConnectWith(place.Url(), kQueue);
    Child filler("filler", {place.Url(), std::to_string(bytes), "4096"});
    REQUIRE(filler.Hear(std::chrono::minutes(5)) == "full");
    REQUIRE(filler.Kill());
  }
  const std::string size = WithCommas(bytes >> 20) + " MiB";

  ReportOpening("open after a kill, " + size, OpenMs(place.Url()), 1000);
  // It has been closed since: a clean close, and everything in the page cache.
  ReportOpening("open after a clean close, warm, " + size, OpenMs(place.Url()),
                50);
  {
    const auto bus = Connect(place.Url());
    ReportOpening("join, " + size, OpenMs(place.Url()), 50);
  }
  // All that processes shared is lost as well, and the log is read.
  {
    Child filler("filler", {place.Url(), "65536", "4096"});
    REQUIRE(filler.Hear() == "full");
    REQUIRE(filler.Kill());
  }
  fs::remove(place.path() + "/ctl");
  fs::remove(place.path() + "/idx");
  const double cold_ms = OpenMs(place.Url());
  Report({"bounds", "open after a kill without ctl, " + size, "(no goal)",
          InMs(cold_ms), true});
  CheckSound(place.path());
}

// Arguments: URL. Acknowledges one and sends one, whose flush tells the log of
// both; says "done" and waits.
OMS_ROLE(one_of_each) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue);
  Must(Take(consumer).Ack());
  SendOne(bus, Message(kQueue, std::string(500, 'x')));
  role.Say("done");
  role.Hear();
}

TEST_CASE("restarts without a clean close leave nothing behind") {
  const uint64_t restarts = For({100, 1'000});
  FilePlace place;
  const std::string url = place.Url(
      "?slots=16&bells=16&first-segment=64KiB&max-segment=256KiB"
      "&reserve=64KiB");
  SendOne(ConnectWith(url, kQueue), Message(kQueue, "first"));
  uint64_t at_tenth = 0;
  double slowest = 0;
  for (uint64_t n = 0; n < restarts; ++n) {
    const auto begin = steady_clock::now();
    Child child("one_of_each", {url});
    REQUIRE(child.Hear() == "done");
    slowest = std::max(slowest, MsSince(begin));
    REQUIRE(child.Kill());
    if (n == restarts / 10) at_tenth = DiskBytes(place.path());
  }
  const uint64_t bytes = DiskBytes(place.path());
  CheckSound(place.path());
  const bool flat = bytes <= at_tenth + 3 * (256 << 10);
  CHECK(flat);
  Report({"bounds", "restarts after a kill, disk no larger in the end",
          WithCommas(restarts),
          WithCommas(restarts) + ", disk " + WithCommas(at_tenth >> 10) +
              " KiB after a tenth, " + WithCommas(bytes >> 10) +
              " KiB at the end, slowest " + InMs(slowest),
          flat});
}

// One store, its producer and consumer of one queue.
struct Line {
  explicit Line(uint64_t queues) {
    auto manager = bus.resource_manager();
    for (uint64_t n = 0; n < queues; ++n) {
      Must(manager.CreateQueue("queue-" + std::to_string(n)));
    }
    queue = "queue-" + std::to_string(queues / 2);
    producer.emplace(Must(bus.CreateProducer()));
    consumer.emplace(Consume(bus, queue));
  }
  // Returns: the time of one send, receive and acknowledgement, in ns.
  double Round(int rounds) {
    const Message message = AtProcess(queue, std::string(100, 'x'));
    const auto begin = steady_clock::now();
    for (int n = 0; n < rounds; ++n) {
      if (!producer->Send(message).ok()) FAIL("send");
      const auto received = consumer->Receive(kLong);
      if (!received.ok() || !received->has_value()) FAIL("receive");
      if (!(**received).Ack().ok()) FAIL("ack");
    }
    return static_cast<double>((steady_clock::now() - begin).count()) / rounds;
  }

  FilePlace place{};
  MessagingAccessPoint bus = Connect(place.Url());
  std::string queue{};
  std::optional<Producer> producer{};
  std::optional<PullConsumer> consumer{};
};

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2,
                   values.end());
  return values[values.size() / 2];
}

TEST_CASE("a queue among ten thousand is as quick as one alone") {
  const uint64_t queues = For({500, 10'000});
  Line alone(1);
  const auto begin = steady_clock::now();
  Line among(queues);
  const double making_ms = MsSince(begin);
  std::vector<double> ratios;
  std::vector<double> ones;
  for (int pair = 0; pair < 41; ++pair) {
    // Whoever is second gains nothing by it over all pairs.
    double one = 0;
    double many = 0;
    if (pair % 2 == 0) one = alone.Round(100);
    many = among.Round(100);
    if (pair % 2 != 0) one = alone.Round(100);
    if (pair == 0) continue;  // The first looks at everything anew.
    ratios.push_back(many / one);
    ones.push_back(one);
  }
  const double ratio = Median(ratios);
  std::array<char, 96> reached;
  std::snprintf(reached.data(), reached.size(),
                "%.3f times; %.0f ns alone; queues made in %.1f s", ratio,
                Median(ones), making_ms / 1000);
  Report({"bounds",
          "send, receive and ack with " + WithCommas(queues) + " queues",
          "<= 1.2 times those with one", reached.data(), ratio <= 1.2});
  CHECK(ratio < 3);
}

// What a process uses.
struct Use {
  uint64_t resident_kib = 0;
  uint64_t descriptors = 0;
  uint64_t maps = 0;
};

Use UseOf(pid_t pid) {
  Use use;
  const std::string proc = "/proc/" + std::to_string(pid);
  std::ifstream status(proc + "/status");
  for (std::string line; std::getline(status, line);) {
    // Not RssFile: pages of the files are the machine's to keep or drop.
    if (line.starts_with("RssAnon:")) {
      use.resident_kib = std::stoull(line.substr(8));
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(proc + "/fd", error)) {
    static_cast<void>(entry);
    ++use.descriptors;
  }
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) ++use.maps;
  return use;
}

// Arguments: URL, seed, whether it also gives back. Sends and receives as much
// until the parent is gone.
OMS_ROLE(soaker) {
  const auto bus = Connect(role.argument(0));
  std::mt19937_64 random(static_cast<uint64_t>(role.number(1)));
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, kQueue);
  role.Say("ready");
  while (!role.Called()) {
    for (int n = 0; n < 8; ++n) {
      const size_t bytes = random() % 64 == 0 ? 300'000 : random() % 2000;
      Message message = AtProcess(kQueue, std::string(bytes, 's'));
      if (random() % 256 == 0) message.SetDurability(Durability::kDisk);
      const auto sent = producer.Send(message);
      if (!sent.ok() && OmsCode(sent.status()) != Code::kTimeout) {
        FAIL(Text(sent.status()));
      }
    }
    // A little more than it sent, so that nothing piles up.
    for (const auto& delivery :
         Must(consumer.ReceiveBatch(12, milliseconds(2)))) {
      const absl::Status settled =
          random() % 16 == 0 ? delivery.Nack(milliseconds(1)) : delivery.Ack();
      // Another may have it by now.
      static_cast<void>(settled);
    }
    std::this_thread::sleep_for(milliseconds(4));
  }
}

struct Soak {
  std::vector<double> resident{};
  std::vector<double> descriptors{};
  std::vector<double> maps{};
  std::vector<double> disk{};
};

// Returns: the middle of one fifth of the samples.
double OfFifth(const std::vector<double>& samples, size_t fifth) {
  const size_t begin = samples.size() * fifth / 5;
  const size_t end = std::max(begin + 1, samples.size() * (fifth + 1) / 5);
  return Median({samples.begin() + begin, samples.begin() + end});
}

void ReportFlat(std::string_view what, const std::vector<double>& samples,
                const std::string& goal, double unit) {
  const double before = OfFifth(samples, 1);
  const double after = OfFifth(samples, 4);
  const double change = before > 0 ? (after - before) / before : 0;
  std::array<char, 96> reached;
  std::snprintf(reached.data(), reached.size(), "%.1f to %.1f, %+.1f %%",
                before / unit, after / unit, 100 * change);
  Report({"bounds", goal + std::string(what), "no growth beyond 5 %",
          reached.data(), change <= 0.05});
  // A short run has its noise; what grows without end doubles.
  CHECK(change < 1.0);
}

TEST_CASE("a soak of eight processes and their kills is flat") {
  const auto length = std::chrono::seconds(IsLongRun() ? 20 * 60 : 10);
  auto random = RandomOfRun(0x50a4);
  FilePlace place;
  const std::string url =
      place.Url("?slots=64&bells=64&first-segment=1MiB&max-segment=4MiB");
  ConnectWith(url, kQueue);
  constexpr size_t kProcesses = 8;
  std::vector<std::unique_ptr<Child>> children;
  const auto start = [&] {
    auto child = std::make_unique<Child>(
        "soaker", std::vector{url, std::to_string(random() >> 1)});
    REQUIRE(child->Hear() == "ready");
    return child;
  };
  for (size_t n = 0; n < kProcesses; ++n) children.push_back(start());
  Soak soak;
  uint64_t kills = 0;
  const auto begin = steady_clock::now();
  auto next_kill = begin + std::chrono::seconds(1);
  while (steady_clock::now() - begin < length) {
    std::this_thread::sleep_for(milliseconds(IsLongRun() ? 500 : 100));
    Use all;
    for (const auto& child : children) {
      const Use use = UseOf(child->pid());
      all.resident_kib += use.resident_kib;
      all.descriptors += use.descriptors;
      all.maps += use.maps;
    }
    soak.resident.push_back(static_cast<double>(all.resident_kib));
    soak.descriptors.push_back(static_cast<double>(all.descriptors));
    soak.maps.push_back(static_cast<double>(all.maps));
    soak.disk.push_back(static_cast<double>(DiskBytes(place.path())));
    if (steady_clock::now() < next_kill) continue;
    next_kill = steady_clock::now() + milliseconds(500 + random() % 2000);
    // The first half lives on, and shows what grows with time.
    auto& unlucky = children[kProcesses / 2 + random() % (kProcesses / 2)];
    REQUIRE(unlucky->Kill());
    unlucky = start();
    ++kills;
  }
  for (auto& child : children) child->HangUp();
  for (auto& child : children) CHECK(child->Finish());
  const std::string goal = "soak of 8 processes, " +
                           std::to_string(length.count()) + " s, " +
                           WithCommas(kills) + " kills: ";
  ReportFlat("memory, KiB", soak.resident, goal, 1);
  ReportFlat("descriptors", soak.descriptors, goal, 1);
  ReportFlat("maps", soak.maps, goal, 1);
  ReportFlat("disk, MiB", soak.disk, goal, 1 << 20);
  CheckSound(place.path());
}

}  // namespace
}  // namespace openmessaging::reference::bounds_test
