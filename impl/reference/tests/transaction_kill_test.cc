// SPDX-License-Identifier: Apache-2.0
//
// Processes that move messages from one queue to another by local transactions,
// and are killed at it: each input gives exactly one output.

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::transaction_kill_test {
namespace {

// Moves up to `max` messages in one transaction. Returns: how many.
size_t MoveSome(Producer& producer, PullConsumer& consumer, size_t max) {
  const auto taken = Must(consumer.ReceiveBatch(max, kShort));
  if (taken.empty()) return 0;
  const auto sent = producer.Transact([&](LocalTransaction& tx) {
    for (const Delivery& delivery : taken) {
      absl::Status status = tx.Ack(delivery);
      status.Update(tx.Send(Message("bills", delivery->body())));
      if (!status.ok()) return status;
    }
    return tx.Send(Message("log", std::to_string(taken.size())));
  });
  // Somebody else was killed with the lock that it waits for, or its lease ended
  // while it was stopped: the messages come again.
  const Code code = OmsCode(sent.status());
  if (!sent.ok() && code != Code::kReceiptExpired && code != Code::kTimeout) {
    FAIL(Text(sent.status()));
  }
  return taken.size();
}

// Arguments: URL, seed. Says "ready", then moves until it is killed, or until
// nothing came for a while and it was called.
OMS_ROLE(input_mover) {
  const auto bus = Connect(role.argument(0));
  std::mt19937_64 random(static_cast<uint64_t>(role.number(1)));
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  role.Say("ready");
  while (MoveSome(producer, consumer, 1 + random() % 5) > 0 || !role.Called()) {
  }
  role.Say("done");
}

// Arguments: URL, count. Says "ready", then sends messages of that many numbers,
// each with its number as deduplication id: from the first one on, whatever was
// sent by another before.
OMS_ROLE(input_sender) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  role.Say("ready");
  for (int64_t n = 1; n <= role.number(1); ++n) {
    const std::string body = std::to_string(n);
    Message message("orders", body);
    message.SetDeduplicationId(body).SetQos(Qos::kExactlyOnce);
    // Somebody may have been killed with the lock.
    while (!producer.Send(message).ok()) {
    }
  }
  role.Say("done");
  role.Hear();
}

// Returns: how often each body is in "bills".
std::map<std::string, int> Bills(const MessagingAccessPoint& bus) {
  std::map<std::string, int> counts;
  PullConsumer consumer = Consume(bus, "bills", {.group = "count"});
  for (const std::string& body : DrainBodies(consumer)) ++counts[body];
  return counts;
}

MessagingAccessPoint OpenShop(const std::string& url) {
  MessagingAccessPoint bus = Connect(url);
  Must(bus.resource_manager().CreateQueue(
      "orders", {.partitions = 2,
                 .deduplication_window = std::chrono::minutes(30)}));
  Must(bus.resource_manager().CreateQueue("bills", {.partitions = 2}));
  Must(bus.resource_manager().CreateQueue("log"));
  return bus;
}

// Processes in one role of which some are killed.
class Crowd {
 public:
  Crowd(std::string role, std::vector<std::string> arguments, size_t size)
      : role_(std::move(role)), arguments_(std::move(arguments)), size_(size) {}

  void Fill() {
    while (children_.size() < size_) {
      children_.emplace_back(role_, arguments_);
      REQUIRE(children_.back().Hear() == "ready");
    }
  }
  // Returns: how many lived until then.
  int KillSome(size_t count, std::mt19937_64& random) {
    int killed = 0;
    for (; count > 0 && !children_.empty(); --count) {
      const size_t victim = random() % children_.size();
      if (children_[victim].Kill()) ++killed;
      std::vector<Child> left;
      for (size_t n = 0; n < children_.size(); ++n) {
        if (n != victim) left.push_back(std::move(children_[n]));
      }
      children_.swap(left);
    }
    return killed;
  }
  void Finish() {
    for (Child& child : children_) child.Say("enough");
    for (Child& child : children_) {
      REQUIRE(child.Hear(std::chrono::seconds(100)) == "done");
      CHECK(child.Finish());
    }
    children_.clear();
  }

 private:
  const std::string role_;
  const std::vector<std::string> arguments_;
  const size_t size_;
  std::vector<Child> children_;
};

TEST_CASE("OMS-FAIL-010: killed senders and movers give each output once") {
  FilePlace place;
  const auto inputs = static_cast<size_t>(1500 * TestScale()) / kSlowness;
  constexpr int kRounds = 40 / (kSlowness == 1 ? 1 : 3);
  std::optional<MessagingAccessPoint> bus = OpenShop(place.Url());
  bus.reset();
  std::mt19937_64 random = RandomOf(81);
  Crowd senders("input_sender", {place.Url(), std::to_string(inputs)}, 1);
  Crowd movers("input_mover", {place.Url(), "7"}, 3);
  int kills = 0;

  for (int round = 0; round < kRounds; ++round) {
    senders.Fill();
    movers.Fill();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
    // At times nobody is left, and what the living shared is lost.
    const bool all = round % 4 == 3;
    kills += movers.KillSome(all ? 3 : random() % 3, random);
    kills += senders.KillSome(all ? 1 : random() % 2, random);
    if (round % 8 == 7) std::filesystem::remove(place.path() + "/ctl");
  }
  senders.Fill();
  senders.Finish();
  movers.Fill();
  movers.Finish();
  bus.emplace(Connect(place.Url()));
  {
    // What the last dead had leased.
    Producer producer = Must(bus->CreateProducer());
    PullConsumer consumer = Consume(*bus, "orders", {.group = "billing"});
    while (MoveSome(producer, consumer, 5) > 0) {
    }
  }
  const std::map<std::string, int> counts = Bills(*bus);

  CHECK(kills > kRounds / 2);
  CHECK(counts.size() == inputs);
  int repeated = 0;
  for (const auto& [body, count] : counts) repeated += count - 1;
  CHECK(repeated == 0);
  MESSAGE(kills << " kills, " << inputs << " inputs, " << counts.size()
                << " outputs, " << repeated << " repeated");
  bus.reset();
  CheckSound(place.path());
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)

// Arguments: URL. Takes three messages, says "ready", lets itself be traced and
// commits one transaction; then says so.
OMS_ROLE(stepped) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  std::vector<Delivery> taken;
  for (int n = 0; n < 3; ++n) taken.push_back(Take(consumer));
  // So that all is mapped and known.
  Must(producer.Send(Message("bills", "before")));
  Must(producer.Send(Message("log", "before")));
  (void)Must(producer.Transact([&](LocalTransaction& tx) {
    Must(tx.Send(Message("log", "before")));
    return tx.Ack(taken[0]);
  }));
  const auto work = [&](LocalTransaction& tx) {
    absl::Status status = tx.Ack(taken[1]);
    status.Update(tx.Ack(taken[2]));
    status.Update(
        tx.Send(Message("bills", "a").SetDurability(Durability::kProcess)));
    status.Update(
        tx.Send(Message("log", "b").SetDurability(Durability::kProcess)));
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(42);
    ::raise(SIGSTOP);
    return status;
  };
  const auto sent = producer.Transact(work);
  ::raise(SIGSTOP);
  Must(sent.status());
}

// Lets the role go `steps` instructions on from its first stop, and kills it.
// Returns: how many it went; fewer where it came to its second stop. Nothing
// where the system lets nobody trace.
std::optional<int64_t> StepAndKill(const std::string& url, int64_t steps) {
  Child child("stepped", {url});
  const pid_t pid = child.pid();
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
    return std::nullopt;
  }
  int64_t done = 0;
  for (; done < steps; ++done) {
    if (::ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) != 0) break;
    if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) break;
    if (WSTOPSIG(status) == SIGSTOP) break;
  }
  child.Kill();
  return done;
}

TEST_CASE("OMS-TX-009: a commit that is killed at any instruction is whole") {
  constexpr std::string_view kAlone = "?housekeeper=off";
  int64_t all = 0;
  {
    FilePlace place;
    { const auto bus = OpenShop(place.Url()); SendNumbers(bus, "orders", 1, 8); }
    const auto length = StepAndKill(place.Url(kAlone), INT64_MAX);
    if (!length) {
      MESSAGE("not applicable: nobody may be traced here");
      return;
    }
    all = *length;
  }
  std::mt19937_64 random = RandomOf(82);
  constexpr int kRounds = 20;
  int committed = 0;

  for (int round = 0; round < kRounds; ++round) {
    FilePlace place;
    std::optional<MessagingAccessPoint> peer = OpenShop(place.Url());
    SendNumbers(*peer, "orders", 1, 8);
    // With a peer that lives on; alone; alone, and robbed of what they shared.
    if (round % 3 != 0) peer.reset();
    const int64_t step =
        all * round / kRounds + static_cast<int64_t>(
            random() % static_cast<uint64_t>(all / kRounds + 1));
    CAPTURE(step);
    REQUIRE(StepAndKill(place.Url(kAlone), step).has_value());
    if (round % 3 == 2) std::filesystem::remove(place.path() + "/ctl");
    if (!peer) peer.emplace(Connect(place.Url()));

    PullConsumer orders = Consume(*peer, "orders", {.group = "billing"});
    const size_t unsettled = DrainBodies(orders).size();
    const auto bills = Bills(*peer);
    const bool there = bills.contains("a");
    PullConsumer log = Consume(*peer, "log");

    CHECK(DrainBodies(log).size() == (there ? 3 : 2));
    CHECK(unsettled == (there ? 5 : 7));
    committed += there ? 1 : 0;
    peer.reset();
    CheckSound(place.path());
  }
  CHECK(committed > 0);
  CHECK(committed < kRounds);
  MESSAGE(all << " instructions, " << kRounds << " kills, " << committed
              << " behind the commit");
}

#endif

}  // namespace
}  // namespace openmessaging::reference::transaction_kill_test
