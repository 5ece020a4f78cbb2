// SPDX-License-Identifier: Apache-2.0

#include "context.h"

#include <algorithm>
#include <span>

namespace openmessaging::conformance {
namespace {

using internal::Concat;

}  // namespace

void Fail(std::string text) { throw Failure{std::move(text)}; }

void Skip(std::string text) { throw NotApplicable{std::move(text)}; }

std::string Text(const Bodies& bodies) {
  constexpr size_t kShown = 12;
  std::string out = Concat(bodies.size(), " [");
  for (size_t i = 0; i < bodies.size() && i < kShown; ++i) {
    if (i > 0) out += ", ";
    out += internal::Printable(std::string_view(bodies[i]).substr(0, 40));
  }
  if (bodies.size() > kShown) out += ", ...";
  return out + "]";
}

void RequireOk(const absl::Status& status, std::string_view what) {
  if (!status.ok()) {
    Fail(Concat(what, ": expected success, got ",
                static_cast<int>(OmsCode(status)), ": ",
                std::string_view(Text(status))));
  }
}

void RequireCode(const absl::Status& status, Code expected,
                 std::string_view what) {
  if (OmsCode(status) != expected) {
    Fail(Concat(what, ": expected ", static_cast<int>(expected), ", got ",
                static_cast<int>(OmsCode(status)), ": ",
                std::string_view(Text(status))));
  }
}

void RequireEqual(const Bodies& got, const Bodies& expected,
                  std::string_view what) {
  if (got != expected) {
    Fail(Concat(what, ": expected ", std::string_view(Text(expected)),
                ", got ", std::string_view(Text(got))));
  }
}

void RequireText(std::string_view got, std::string_view expected,
                 std::string_view what) {
  if (got == expected) return;
  Fail(Concat(what, ": expected ", expected.size(), " bytes \"",
              std::string_view(internal::Printable(expected.substr(0, 60))),
              "\", got ", got.size(), " bytes \"",
              std::string_view(internal::Printable(got.substr(0, 60))), "\""));
}

void RequireNumber(int64_t got, int64_t expected, std::string_view what) {
  if (got != expected) {
    Fail(Concat(what, ": expected ", expected, ", got ", got));
  }
}

Bodies Numbers(int first, int last) {
  Bodies bodies;
  for (int n = first; n <= last; ++n) bodies.push_back(std::to_string(n));
  return bodies;
}

Bodies Sorted(Bodies bodies) {
  std::sort(bodies.begin(), bodies.end());
  return bodies;
}

milliseconds WallNow() {
  return std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

size_t Inbox::Count(std::string_view text) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<size_t>(std::count(texts_.begin(), texts_.end(), text));
}

Context::Context(RunState& state, uint64_t seed, int number)
    : state_(state),
      random_(seed + static_cast<uint64_t>(number)),
      prefix_(Concat("conf-", std::string_view(state.run_id), "-", number)) {}

Context::~Context() {
  if (state_.proxy) {
    state_.proxy->Heal();
    state_.proxy->Forget();
  }
  // A dead-letter queue was made before the one that needs it.
  for (auto queue = queues_.rbegin(); queue != queues_.rend(); ++queue) {
    if (state_.bus) state_.harness->RemoveQueue(*state_.bus, *queue);
  }
}

MessagingAccessPoint Context::ConnectTo(
    const std::string& url,
    std::vector<std::pair<std::string, std::string>> attributes) const {
  Attributes all = state_.attributes;
  for (const auto& [name, value] : attributes) {
    RequireOk(all.Set(name, value), "set an attribute");
  }
  return Must(MessagingAccessPoint::Connect(url, all), "connect");
}

MessagingAccessPoint Context::Connect(
    std::vector<std::pair<std::string, std::string>> attributes) const {
  return ConnectTo(state_.url, std::move(attributes));
}

MessagingAccessPoint Context::ConnectThroughProxy(
    std::vector<std::pair<std::string, std::string>> attributes) const {
  return ConnectTo(ProxiedUrl(), std::move(attributes));
}

std::string Context::ProxiedUrl() const {
  return UrlWithHosts(proxy().hosts());
}

std::string Context::UrlWithHosts(const std::vector<std::string>& hosts) const {
  const std::string_view url = state_.url;
  constexpr std::string_view kMark = "://";
  size_t begin = url.find(kMark) + kMark.size();
  const size_t end = std::min(url.find_first_of("/?", begin), url.size());
  const size_t account = url.substr(0, end).rfind('@');
  if (account != url.npos && account >= begin) begin = account + 1;
  std::string out(url.substr(0, begin));
  for (size_t i = 0; i < hosts.size(); ++i) {
    if (i > 0) out += ',';
    out += hosts[i];
  }
  return out.append(url.substr(end));
}

std::string Context::NewName(std::string_view kind) {
  return Concat(std::string_view(prefix_), "-", kind, names_++);
}

std::string Context::NewQueue(QueueOptions options) {
  std::string name = NewName();
  absl::Status made = state_.harness->CreateQueue(bus(), name, options);
  if (OmsCode(made) == Code::kUnsupported) {
    const QueueOptions plain;
    options.redelivery_delay = plain.redelivery_delay;
    options.max_redelivery_delay = plain.max_redelivery_delay;
    made = state_.harness->CreateQueue(bus(), name, options);
  }
  RequireOk(made, Concat("create queue ", std::string_view(name)));
  queues_.push_back(name);
  return name;
}

QueueOptions Context::OptionsFor(Capability capability) {
  QueueOptions options;
  switch (capability) {
    case Capability::kReject:
    case Capability::kDeadLetter:
      options.dead_letter_queue = NewQueue();
      break;
    case Capability::kPriority:
      options.priorities = true;
      break;
    case Capability::kDeduplication:
      options.deduplication_window = milliseconds(60000);
      break;
    default:
      break;
  }
  return options;
}

std::string Context::NewQueueFor(Capability capability) {
  return NewQueue(OptionsFor(capability));
}

Producer Context::NewProducer(const ProducerOptions& options) const {
  return Must(bus().CreateProducer(options), "create producer");
}

PullConsumer Context::NewConsumer(std::string_view queue,
                                  const PullConsumerOptions& options) const {
  PullConsumer consumer =
      Must(bus().CreatePullConsumer(options), "create consumer");
  RequireOk(consumer.Bind(queue), Concat("bind ", queue));
  return consumer;
}

SendResult Context::Send(const Message& message) const {
  Producer producer = NewProducer();
  return Must(producer.Send(message), "send");
}

void Context::SendAll(std::string_view queue, const Bodies& bodies) const {
  Producer producer = NewProducer();
  std::vector<Message> batch;
  for (const std::string& body : bodies) batch.emplace_back(queue, body);
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    RequireOk(sent.status(), "send a batch");
  }
}

Delivery Context::Take(PullConsumer& consumer) const {
  auto received = Must(consumer.Receive(patience()), "receive");
  if (!received) {
    Fail(Concat("a message was expected; none came within ",
                patience().count(), " ms"));
  }
  return *std::move(received);
}

Delivery Context::TakeWhileReceiving(PullConsumer& other,
                                     PullConsumer& consumer) const {
  constexpr milliseconds kTurn{20};
  const auto start = steady_clock::now();
  while (Since(start) < patience()) {
    const auto none = Must(consumer.Receive(kTurn), "receive");
    if (none) {
      Fail(Concat("nothing was to come; there came \"",
                  std::string_view(internal::Printable((*none)->body())),
                  "\""));
    }
    auto received = Must(other.Receive(kTurn), "receive");
    if (received) return *std::move(received);
  }
  Fail(Concat("a message was expected; none came within ", patience().count(),
              " ms"));
}

Bodies Context::TakeBodies(PullConsumer& consumer, size_t count) const {
  Bodies bodies;
  while (bodies.size() < count) {
    auto received = Must(consumer.Receive(patience()), "receive");
    if (!received) {
      Fail(Concat(count, " messages were expected; there came ",
                  std::string_view(Text(bodies))));
    }
    bodies.emplace_back((*received)->body());
    RequireOk(received->Ack(), "acknowledge");
  }
  return bodies;
}

Bodies Context::TakeUntilSentinel(PullConsumer& consumer,
                                  std::string_view queue) {
  const std::string sentinel = NewName("sentinel");
  Send(queue, sentinel);
  Bodies bodies;
  while (true) {
    auto received = Must(consumer.Receive(patience()), "receive");
    if (!received) {
      Fail(Concat("the sentinel was sent last and did not come within ",
                  patience().count(), " ms; before it there came ",
                  std::string_view(Text(bodies))));
    }
    RequireOk(received->Ack(), "acknowledge");
    if ((*received)->body() == sentinel) break;
    bodies.emplace_back((*received)->body());
  }
  // What came with it, or behind it where the order is not kept.
  while (true) {
    auto received = Must(consumer.Receive(milliseconds(0)), "receive");
    if (!received) return bodies;
    RequireOk(received->Ack(), "acknowledge");
    bodies.emplace_back((*received)->body());
  }
}

Capabilities Context::CapabilitiesOf(std::string_view queue) const {
  return Must(bus().capabilities(queue), "ask capabilities");
}

void Context::Needs(std::string_view queue, Capability capability) const {
  if (!Has(queue, capability)) {
    Skip(Concat(Name(capability), " is declared unsupported"));
  }
}

std::string Context::UnreachableUrl() const {
  std::string url = state_.harness->UnreachableUrl();
  if (url.empty()) throw NotRun{"the harness knows no URL without a broker"};
  return url;
}

Address Context::AddressFor(Access access) const {
  const auto address = state_.harness->AddressFor(access);
  if (!address) {
    throw NotRun{Concat("the harness has no address for --",
                        kAccessNames[static_cast<size_t>(access)])};
  }
  return *address;
}

MessagingAccessPoint Context::ConnectAs(Access access) const {
  const Address address = AddressFor(access);
  return Must(MessagingAccessPoint::Connect(address.url, address.attributes),
              "connect");
}

milliseconds Context::ShortLease(std::string_view queue) const {
  const auto limits = CapabilitiesOf(queue).limits();
  return std::max(milliseconds(200),
                  limits.min_lease.value_or(milliseconds(0)));
}

void Context::RestartUnderClients() {
  RequireOk(state_.harness->Restart(), "restart the broker");
}

void Context::SendForeign(std::string_view queue, std::string_view body) {
  RequireOk(state_.harness->SendForeign(queue, body),
            "send with the broker's own client");
}

void Context::Restart() {
  state_.bus.reset();
  RestartUnderClients();
  state_.bus = Must(
      MessagingAccessPoint::Connect(state_.url, state_.attributes), "connect");
}

}  // namespace openmessaging::conformance
