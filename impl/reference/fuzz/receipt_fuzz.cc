// SPDX-License-Identifier: Apache-2.0
//
// Receipts and ids that are forged, used twice, or used elsewhere: two queues
// and two groups, and a model that knows what was settled. What is no receipt
// of a delivery is refused, and in the end everybody has still to get what he
// did not settle.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "consumer.h"
#include "env/storage.h"
#include "input.h"
#include "openmessaging/status.h"
#include "prepared_table.h"
#include "producer.h"
#include "receipt_token.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

using driver::Settlement;
using driver::Verb;
using fuzz::Expect;
using fuzz::Input;
using std::chrono::hours;
using std::chrono::milliseconds;

// Stands still, but for Pass.
class StandingClock final : public Clock {
 public:
  int64_t BootNs() const override { return boot_ns_; }
  int64_t WallMs() const override { return boot_ns_ / 1'000'000; }
  int64_t ExactWallMs() const override { return WallMs(); }
  uint64_t BootHash() const override { return 1; }
  void Pass(hours time) { boot_ns_ += std::chrono::nanoseconds(time).count(); }

 private:
  int64_t boot_ns_ = std::chrono::nanoseconds(hours(24)).count();
};

TimePoint InGoodTime() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(5);
}

// What one consumer was handed.
struct Handed {
  Receipt receipt{};
  size_t consumer = 0;
  std::string body{};
  int64_t offset = 0;
  bool live = true;  // Neither settled nor given back.
};

struct Place {
  const char* queue;
  const char* group;
};
// Two of one group, one of another, and one of another queue.
constexpr std::array<Place, 4> kPlaces = {
    {{"a", "g"}, {"a", "g"}, {"a", "h"}, {"b", "g"}}};

bool SamePlace(size_t one, size_t other) {
  return std::string_view(kPlaces[one].queue) == kPlaces[other].queue &&
         std::string_view(kPlaces[one].group) == kPlaces[other].group;
}

class Scene final : private driver::DeliverySink,
                    private driver::SettleCompletion,
                    private driver::SendCompletion {
 public:
  Scene() {
    StoreOpenOptions options;
    options.create.first_segment_bytes = 64 << 10;
    options.create.max_segment_bytes = 64 << 10;
    options.create.max_segments = 8;
    options.create.reserve_bytes = 0;
    options.create.slots = 4;
    options.create.bells = 4;
    options.create.window = 64;
    auto store = Store::Open(OpenMemory("receipts"), &environment_, options,
                             InGoodTime());
    Expect(store.ok(), "no store");
    store_ = *std::move(store);
    for (const char* const name : {"a", "b"}) {
      Expect(store_->catalog().CreateQueue(name, {}, InGoodTime()).ok(),
             "no queue");
    }
    for (size_t n = 0; n < kPlaces.size(); ++n) consumers_.push_back(Make(n));
    producer_ = std::make_unique<ReferenceProducer>(store_, false);
  }
  ~Scene() {
    for (auto& consumer : consumers_) {
      if (consumer != nullptr) consumer->Close(InGoodTime()).IgnoreError();
    }
    producer_->Close(InGoodTime()).IgnoreError();
  }

  void Send(size_t queue) {
    const std::string name(1, static_cast<char>('a' + queue));
    const std::string body = name + std::to_string(sent_[queue].size());
    const Message message(name, body);
    producer_->Send({&message, 1}, {InGoodTime()}, *this);
    Expect(status_.ok(), "a send failed", std::string(status_.message()));
    sent_[queue].insert(body);
  }

  void Receive(size_t consumer, size_t most) {
    receiving_ = consumer;
    const absl::Status status = consumers_[consumer]->Receive(
        most, std::chrono::steady_clock::now(), *this);
    Expect(status.ok(), "a receive failed", std::string(status.message()));
  }

  // Settles with a receipt that is real, though perhaps not of this consumer,
  // or not any more.
  void SettleReal(size_t consumer, size_t which, Verb verb) {
    if (handed_.empty()) return;
    Handed& handed = handed_[which % handed_.size()];
    const Code code = OmsCode(Settle(consumer, handed.receipt, verb));
    const bool own = SamePlace(consumer, handed.consumer);
    if (!own) {
      Expect(code == Code::kReceiptInvalid, "a stranger's receipt is taken");
      return;
    }
    if (verb == Verb::kReject || !handed.live) return;
    if (verb == Verb::kAckUpTo && consumer != handed.consumer) {
      Expect(code == Code::kReceiptInvalid, "up to what another received");
      return;
    }
    Expect(code == Code::kOk, "a good receipt is refused");
    if (verb == Verb::kExtend) return;
    for (Handed& other : handed_) {
      const bool before = verb == Verb::kAckUpTo &&
                          other.consumer == handed.consumer && other.live &&
                          other.offset <= handed.offset;
      if (&other != &handed && !before) continue;
      other.live = false;
      if (verb == Verb::kAck || verb == Verb::kAckUpTo) {
        settled_[PlaceOf(consumer)].insert(other.body);
      }
    }
  }

  // Settles with what nobody ever gave out.
  void SettleForged(Input& input, size_t consumer, Verb verb) {
    Receipt receipt;
    if (!handed_.empty()) receipt = handed_[input.Pick(handed_.size())].receipt;
    std::string token(receipt.token());
    const bool sealed = input.Pick(2) == 0;
    if (sealed && token.size() == sizeof(ReceiptToken)) {
      ReceiptToken said;
      std::memcpy(&said, token.data(), sizeof(said));
      Forge(input, said);
      receipt = ReceiptCodec(store_->uuid()).Make(said, receipt.source());
    } else {
      if (input.Pick(4) == 0) token = std::string(input.TakeText(60));
      if (!token.empty()) token[input.Pick(token.size())] ^= input.Byte() | 1;
      receipt = Receipt(input.Pick(2) == 0 ? receipt.source() : input.Number(),
                        token);
    }
    for (const Handed& handed : handed_) {
      if (handed.receipt.token() == receipt.token()) return;  // It is real.
    }
    const absl::Status status = Settle(consumer, receipt, verb);
    Expect(sealed || OmsCode(status) == Code::kReceiptInvalid,
           "a receipt that nobody sealed is taken");
  }

  void ResolveForged(Input& input) {
    std::string id(input.TakeText());
    if (input.Pick(2) == 0) {
      id = std::string(MessageId(store_->uuid(),
                                 static_cast<uint32_t>(input.Pick(4)),
                                 input.Pick(32))
                           .ToString());
    }
    const auto state = input.Pick(2) == 0 ? PreparedState::kCommitted
                                          : PreparedState::kRolledBack;
    Expect(!store_->transactions().Resolve(id, state, InGoodTime()).ok(),
           "a decision of what was not prepared", id);
  }

  // Everybody gets again what he did not settle.
  void Judge() {
    for (auto& consumer : consumers_) {
      Expect(consumer->Close(InGoodTime()).ok(), "a consumer does not close");
      consumer = nullptr;
    }
    clock_.Pass(hours(2000));
    for (const size_t place : {0, 2, 3}) {
      handed_.clear();
      consumers_[place] = Make(place);
      Receive(place, 1000);
      std::multiset<std::string> got;
      for (const Handed& handed : handed_) got.insert(handed.body);
      std::multiset<std::string> due;
      for (const std::string& body : sent_[kPlaces[place].queue[0] - 'a']) {
        if (!settled_[place].contains(body)) due.insert(body);
      }
      Expect(got == due, "another settlement than those that were made",
             std::to_string(got.size()) + " of " + std::to_string(due.size()));
    }
  }

  const Settlement& settlement() const { return settlement_; }

 private:
  static size_t PlaceOf(size_t consumer) { return consumer < 2 ? 0 : consumer; }

  std::unique_ptr<ReferenceConsumer> Make(size_t place) {
    driver::ConsumerOptions options;
    options.group = kPlaces[place].group;
    options.lease = hours(1000);
    auto consumer = std::make_unique<ReferenceConsumer>(
        store_, options, ConsumerSettings{}, nullptr);
    Expect(consumer->Bind(kPlaces[place].queue, {}, InGoodTime()).ok(),
           "no binding");
    return consumer;
  }

  absl::Status Settle(size_t consumer, const Receipt& receipt, Verb verb) {
    settlement_ = {receipt, verb, milliseconds(1)};
    consumers_[consumer]->Settle({&settlement_, 1}, {InGoodTime()}, *this);
    return status_;
  }

  static void Forge(Input& input, ReceiptToken& said) {
    switch (input.Pick(5)) {
      case 0:
        said.group = static_cast<uint32_t>(input.Pick(8));
        break;
      case 1:
        said.queue_partition = static_cast<uint32_t>(input.Number<4>());
        break;
      case 2:
        said.offset += input.Pick(16) - 8;
        break;
      case 3:
        said.word ^= uint64_t{1} << input.Pick(64);
        break;
      default:
        said.seeks += static_cast<uint32_t>(1 + input.Pick(3));
    }
  }

  void Deliver(Message message, const Receipt& receipt) override {
    for (const Handed& other : handed_) {
      Expect(!SamePlace(other.consumer, receiving_) || !other.live ||
                 other.body != message.body(),
             "a message is out twice", other.body);
    }
    Expect(!settled_[PlaceOf(receiving_)].contains(std::string(message.body())),
           "a settled message is delivered", std::string(message.body()));
    handed_.push_back({receipt, receiving_, std::string(message.body()),
                       message.offset(), true});
  }
  void Settled(size_t /*index*/, const Receipt& /*replacement*/) override {
    status_ = absl::OkStatus();
  }
  void Failed(size_t /*index*/, absl::Status status) override {
    status_ = std::move(status);
  }
  void Sent(size_t /*index*/, const SendResult& /*result*/) override {
    status_ = absl::OkStatus();
  }

  StandingClock clock_;
  const Environment environment_{&clock_, Environment::OfMachine().waiting,
                                 Environment::OfMachine().random, "fuzz"};
  std::shared_ptr<Store> store_;
  std::unique_ptr<ReferenceProducer> producer_;
  std::vector<std::unique_ptr<ReferenceConsumer>> consumers_{};
  std::array<std::set<std::string>, 2> sent_{};
  std::array<std::set<std::string>, kPlaces.size()> settled_{};
  std::vector<Handed> handed_{};
  size_t receiving_ = 0;
  Settlement settlement_{};
  absl::Status status_{};
};

}  // namespace
}  // namespace openmessaging::reference

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging;
  using namespace openmessaging::reference;
  fuzz::Input input(data, size);
  Scene scene;
  for (int step = 0; step < 40 && !input.empty(); ++step) {
    const size_t what = input.Pick(8);
    const size_t consumer = input.Pick(kPlaces.size());
    const auto verb = static_cast<driver::Verb>(input.Pick(7));
    switch (what) {
      case 0:
      case 1:
        scene.Send(consumer / 3);
        break;
      case 2:
      case 3:
        scene.Receive(consumer, 1 + input.Pick(3));
        break;
      case 4:
      case 5:
        scene.SettleReal(consumer, input.Byte(), verb);
        break;
      case 6:
        scene.SettleForged(input, consumer, verb);
        break;
      default:
        scene.ResolveForged(input);
    }
  }
  scene.Judge();
  return 0;
}
