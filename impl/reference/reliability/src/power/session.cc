// SPDX-License-Identifier: Apache-2.0

#include "power/session.h"

#include <charconv>
#include <utility>

#include "openmessaging/dead_letter.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::power {
namespace {

driver::ConsumerOptions OptionsOf(std::string_view group,
                                  std::chrono::milliseconds lease) {
  driver::ConsumerOptions options;
  options.group = std::string(group);
  options.lease = lease;
  return options;
}

}  // namespace

std::string BodyOf(int number, size_t bytes) {
  std::string body = std::to_string(number) + ':';
  Dice dice(static_cast<uint64_t>(number));
  while (body.size() < bytes) {
    body.push_back(static_cast<char>(dice.Next()));
  }
  return body;
}

int NumberOf(std::string_view body) {
  int number = -1;
  const auto end = body.data() + body.size();
  const auto [next, error] = std::from_chars(body.data(), end, number);
  return error == std::errc() && next != end && *next == ':' ? number : -1;
}

void Basket::Deliver(Message message, const Receipt& receipt) {
  Received& one = all.emplace_back();
  one.body = std::string(message.body());
  one.number = NumberOf(one.body);
  one.partition = message.partition();
  one.offset = message.offset();
  one.count = message.delivery_count();
  one.id = message.message_id();
  one.receipt = receipt;
  one.property = message.properties().GetOr<int64_t>("n", -1);
  one.reason = message.properties().GetOr<std::string>(kDeadReason, "");
  one.group = message.properties().GetOr<std::string>(kDeadGroup, "");
}

Receiver::Receiver(const std::shared_ptr<Store>& store, std::string_view group,
                   bool ack_sync, std::chrono::milliseconds lease)
    : ack_sync_(ack_sync),
      consumer_(store, OptionsOf(group, lease),
                ConsumerSettings{false, false, ack_sync}, nullptr) {}

absl::Status Receiver::Take(size_t max, std::vector<Received>& into) {
  const size_t first = into.size();
  Basket basket;
  while (into.size() - first < max) {
    const absl::Status status =
        consumer_.Receive(std::min<size_t>(64, max - (into.size() - first)),
                          std::chrono::steady_clock::now(), basket);
    if (!status.ok()) return status;
    if (basket.all.empty()) break;
    for (Received& one : basket.all) into.push_back(std::move(one));
    basket.all.clear();
  }
  return absl::OkStatus();
}

absl::Status Receiver::Settle(const Receipt& receipt, driver::Verb verb,
                              std::chrono::milliseconds duration) {
  struct Results final : driver::SettleCompletion {
    void Settled(size_t, const Receipt&) override {}
    void Failed(size_t, absl::Status status) override {
      result = std::move(status);
    }
    absl::Status result{};
  } results;
  const driver::Settlement settlement{receipt, verb, duration};
  driver::CallContext context;
  context.deadline = InGoodTime();
  consumer_.Settle({&settlement, 1}, context, results);
  return results.result;
}

absl::StatusOr<std::unique_ptr<Session>> Session::Open(
    Disk& disk, const Environment* environment, const StoreOptions& options) {
  auto process = disk.Run();
  StoreOpenOptions open;
  open.create = options;
  auto store = Store::Open(process, environment, open, InGoodTime());
  if (!store.ok()) {
    process->Kill();
    return store.status();
  }
  return std::unique_ptr<Session>(
      new Session(std::move(process), *std::move(store)));
}

std::vector<absl::StatusOr<SendResult>> Session::Send(
    std::span<const Message> batch) {
  struct Results final : driver::SendCompletion {
    void Sent(size_t index, const SendResult& result) override {
      all[index] = result;
    }
    void Failed(size_t index, absl::Status status) override {
      all[index] = std::move(status);
    }
    std::vector<absl::StatusOr<SendResult>> all{};
  } results;
  results.all.resize(batch.size());
  driver::CallContext context;
  context.deadline = InGoodTime();
  producer_.Send(batch, context, results);
  return std::move(results.all);
}

absl::Status Session::ReadAll(std::string_view queue, int32_t partition,
                              std::vector<Received>& into) {
  auto reader = streams_.Open(queue, partition, 0, InGoodTime());
  if (!reader.ok()) return reader.status();
  Basket basket;
  absl::Status first;
  for (int damages = 0; damages < 1000;) {
    const absl::Status status =
        (*reader)->Read(64, std::chrono::steady_clock::now(), basket);
    first.Update(status);
    if (status.ok() && basket.all.empty()) return first;
    if (!status.ok()) ++damages;
    for (Received& one : basket.all) into.push_back(std::move(one));
    basket.all.clear();
  }
  return MakeStatus(Code::kStorageError, "read: damage without an end");
}

}  // namespace openmessaging::reference::power
