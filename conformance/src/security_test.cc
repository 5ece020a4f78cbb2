// SPDX-License-Identifier: Apache-2.0
//
// Who is turned away: by the broker, because of credentials or rights, and by
// the client, because of a certificate.

#include <string>
#include <thread>
#include <vector>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::security_test {
namespace {

using internal::Concat;

// Returns: what a send there answers, once the driver had time to find out.
absl::Status TrySend(const MessagingAccessPoint& bus, std::string_view queue) {
  auto producer = bus.CreateProducer();
  if (!producer.ok()) return producer.status();
  return producer->Send(Message(queue, "from a stranger")).status();
}

// What a stranger said must not have arrived.
void RequireEmpty(Context& t, std::string_view queue) {
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrived");
}

// A certificate that will not do ends every attempt: nothing arrives, and the
// failure says that it is the certificate and not the time.
void RequireTurnedAway(Context& t, Access access, std::string_view queue) {
  const absl::Status status = TrySend(t.ConnectAs(access), queue);
  Require(!status.ok(), "a send succeeded: the certificate was not checked");
  Require(OmsCode(status) != Code::kTimeout, "a send answered only that it is ",
          "late: ", std::string_view(Text(status)));
  RequireEmpty(t, queue);
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-SEC-001", kResilience, Capability::kAuthentication,
                     "wrong credentials are 1401") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectAs(Access::kWrongLogin);
  RequireCode(TrySend(bus, queue), Code::kUnauthorized,
              "a send with wrong credentials");
  auto consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireCode(consumer.Bind(queue), Code::kUnauthorized,
              "to bind with wrong credentials");
  RequireEmpty(t, queue);
}

OMS_CONFORMANCE_TEST("OMS-SEC-002", kResilience, Capability::kAuthentication,
                     "missing rights are 1403") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectAs(Access::kNoRights);
  RequireCode(TrySend(bus, queue), Code::kForbidden, "a send without rights");
  RequireEmpty(t, queue);
}

OMS_CONFORMANCE_TEST("OMS-SEC-003", kResilience, Capability::kAuthentication,
                     "wrong credentials are not tried without end") {
  constexpr milliseconds kQuiet{3000};
  const std::string queue = t.NewQueue();
  const Address address = t.AddressFor(Access::kWrongLogin);
  const Url url = Must(Url::Parse(address.url), "parse the url");
  const Url::HostPort& host = url.hosts().front();
  const std::string target =
      Concat(std::string_view(host.host), ":", host.port.value_or(0));
  const std::vector<ProxyRoute> routes = {{"127.0.0.1:0", target}};
  const auto proxy = Must(Proxy::Start(routes), "start a proxy");
  std::string through = address.url;
  through.replace(through.find(target), target.size(), proxy->hosts()[0]);
  const MessagingAccessPoint bus = Must(
      MessagingAccessPoint::Connect(through, address.attributes), "connect");

  Producer producer = Must(bus.CreateProducer(), "create producer");
  RequireCode(producer.Send(Message(queue, "x")).status(), Code::kUnauthorized,
              "a send with wrong credentials");
  Require(!proxy->attempts().empty(), "it did not come through the proxy");
  proxy->Forget();
  std::this_thread::sleep_for(kQuiet);
  RequireNumber(static_cast<int64_t>(proxy->attempts().size()), 0,
                Concat("attempts in the ", kQuiet.count(), " ms after it"));
}

OMS_CONFORMANCE_TEST("OMS-SEC-004", kResilience, Capability::kTls,
                     "a certificate that is not trusted ends the connection") {
  const std::string queue = t.NewQueue();
  // Where all is well it works, or the rest shows nothing.
  const MessagingAccessPoint good = t.ConnectAs(Access::kTls);
  Producer producer = Must(good.CreateProducer(), "create producer");
  RequireOk(producer.Send(Message(queue, "over TLS")).status(), "send");
  {
    PullConsumer consumer =
        Must(good.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
    RequireOk(consumer.Bind(queue), "bind");
    const Delivery delivery = t.Take(consumer);
    RequireText(delivery->body(), "over TLS", "what arrives");
    RequireOk(delivery.Ack(), "acknowledge");
  }
  RequireTurnedAway(t, Access::kUntrustedCertificate, queue);
}

OMS_CONFORMANCE_TEST("OMS-SEC-005", kResilience, Capability::kTls,
                     "another host's certificate ends the connection") {
  RequireTurnedAway(t, Access::kOtherHost, t.NewQueue());
}

}  // namespace openmessaging::conformance::security_test
