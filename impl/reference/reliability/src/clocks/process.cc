// SPDX-License-Identifier: Apache-2.0

#include "clocks/process.h"

#include <chrono>
#include <utility>

#include "catalog.h"
#include "delays.h"

namespace openmessaging::reference::clocks {
namespace {

// How often the housekeeper looks around.
constexpr int64_t kTickNs = 1'000'000'000;
// What it gives back in one look is bounded; what it does at once, too.
constexpr int kLooksAtOnce = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Open(
    power::Disk& disk, power::SimulatedMachine& machine,
    const ProcessTerms& terms, const StoreOptions& options) {
  std::unique_ptr<Process> process(new Process(machine, terms));
  auto session = power::Session::Open(disk, &process->environment_, options);
  if (!session.ok()) return session.status();
  process->session_ = *std::move(session);
  auto checks = process->session_->transactions().OpenChecks(
      "sellers", power::InGoodTime());
  if (!checks.ok()) return checks.status();
  process->checks_ = *std::move(checks);
  return process;
}

absl::Status Process::FindPartitions() {
  for (size_t q = 0; q < kQueueNames.size(); ++q) {
    const auto queue =
        store().catalog().FindQueue(kQueueNames[q], power::InGoodTime());
    if (!queue.ok()) return queue.status();
    for (uint32_t p = 0; p < (*queue)->state->partitions; ++p) {
      partitions_[q][p] = (*queue)->state->partition(p);
    }
  }
  return absl::OkStatus();
}

absl::Status Process::Flush() {
  const TimePoint deadline = power::InGoodTime();
  if (auto s = store().LogCursors(false, deadline); !s.ok()) return s;
  return store().log().WaitDurable(store().log().committed(), deadline);
}

void Process::Housekeep() {
  store().delays().Work(clock_.BootNs());
  if (machine_->boot_ns < next_look_ns_) return;
  for (int n = 0; n < kLooksAtOnce && store().LookAround(); ++n) {
  }
  next_look_ns_ = machine_->boot_ns + kTickNs;
}

absl::StatusOr<power::Receiver*> Process::ReceiverOf(size_t group) {
  auto& receiver = receivers_[group];
  if (receiver != nullptr) return receiver.get();
  const bool dead = group == kGroups.size();
  const auto name = dead ? std::string_view("undertaker") : kGroups[group].name;
  const int queue = dead ? kDead : kGroups[group].queue;
  auto made = std::make_unique<power::Receiver>(
      session_->store(), name, dead || terms_.ack_sync,
      std::chrono::milliseconds(dead ? 30'000 : terms_.lease_ms[group]));
  if (auto s = made->Bind(kQueueNames[static_cast<size_t>(queue)]); !s.ok()) {
    return s;
  }
  receiver = std::move(made);
  return receiver.get();
}

absl::Status Process::Close() {
  for (auto& receiver : receivers_) {
    if (receiver != nullptr) receiver->Close();
  }
  return session_->Close();
}

}  // namespace openmessaging::reference::clocks
