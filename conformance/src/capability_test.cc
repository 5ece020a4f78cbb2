// SPDX-License-Identifier: Apache-2.0
//
// Connecting, and what a driver says of itself: capabilities must be true both
// ways.

#include "context.h"
#include "openmessaging/driver/registry.h"
#include "probes.h"
#include "registry.h"

namespace openmessaging::conformance::capability_test {
namespace {

using internal::Concat;

struct Foreign {
  static constexpr std::string_view kInterface = "conformance.Nothing/0";
};

// Calls `probe(queue, capability)` for each one that a plain queue lacks.
template <typename Probe>
void ForEachAbsent(Context& t, Probe probe) {
  for (size_t i = 0; i < kCapabilityNames.size(); ++i) {
    const auto capability = static_cast<Capability>(i);
    const std::string queue = t.NewQueue();
    if (t.Has(queue, capability)) continue;
    try {
      probe(queue, capability);
    } catch (const Failure& failure) {
      Fail(Concat(kCapabilityNames[i], ": ", std::string_view(failure.text)));
    }
  }
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CAP-001", kCore, kAlways,
                     "every capability is answered in time") {
  const std::string queue = t.NewQueue();
  const auto start = steady_clock::now();
  const Capabilities all = t.CapabilitiesOf(queue);
  Require(Since(start) < t.late(), "the answer took ", Since(start).count(),
          " ms");
  for (size_t i = 0; i < kCapabilityNames.size(); ++i) {
    const Support support = all.Of(static_cast<Capability>(i));
    Require(support == Support::kNative || support == Support::kEmulated ||
                support == Support::kUnsupported,
            kCapabilityNames[i], " is answered with ",
            static_cast<int>(support));
  }
}

OMS_CONFORMANCE_TEST("OMS-MAP-001", kCore, kAlways,
                     "a URL without what its driver needs is 10001") {
  const Url url = Must(Url::Parse(t.url()), "parse the url");
  RequireCode(MessagingAccessPoint::Connect(Concat(
                  "oms:", std::string_view(url.driver()), "://")),
              Code::kIllegalUrl, "a URL of nothing but a driver");
  RequireCode(MessagingAccessPoint::Connect("oms:no-such-driver://host"),
              Code::kCannotConstruct, "a driver that does not exist");
}

OMS_CONFORMANCE_TEST("OMS-MAP-014", kCore, kAlways,
                     "an access point tells its URL and version at once") {
  const MessagingAccessPoint bus = t.Connect();
  const Url url = Must(Url::Parse(t.url()), "parse the url");
  RequireText(bus.url().ToString(), url.ToString(), "the url");
  RequireText(bus.version(), kSpecificationVersion, "the version");
}

OMS_CONFORMANCE_TEST("OMS-ATTR-004", kCore, kAlways,
                     "an unknown attribute is refused") {
  Attributes attributes = t.attributes();
  RequireOk(attributes.Set("no-such-attribute", "on"), "set an attribute");
  RequireCode(MessagingAccessPoint::Connect(t.url(), attributes),
              Code::kBadParameter, "connect with an unknown attribute");
}

OMS_CONFORMANCE_TEST("OMS-MAP-018", kCore, kAlways,
                     "two access points of one URL are independent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  {
    const MessagingAccessPoint other = t.Connect();
    Producer producer = Must(other.CreateProducer(), "create producer");
    RequireOk(producer.Send(Message(queue, "from the other")).status(), "send");
  }
  t.Send(queue, "from this one");
  RequireEqual(t.TakeBodies(consumer, 2), {"from the other", "from this one"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-CAP-002", kCore, kAlways,
                     "capabilities are answered and do not change") {
  const std::string queue = t.NewQueue();
  const auto start = steady_clock::now();
  const Capabilities first = t.CapabilitiesOf(queue);
  Require(Since(start) < t.late(), "the answer took ", Since(start).count(),
          " ms");
  // Asked past the library, which remembers.
  const MessagingAccessPoint other = t.Connect();
  t.Send(queue, "x");
  Require(Must(other.capabilities(queue), "ask again") == first,
          "the answer has changed");
  RequireCode(t.bus().capabilities("not a name"), Code::kBadParameter,
              "the capabilities of a bad name");
  (void)Must(t.bus().capabilities(t.NewName("missing")),
             "the capabilities of a missing queue");
}

OMS_CONFORMANCE_TEST("OMS-CAP-008", kCore, kAlways,
                     "a native handle of another kind is refused") {
  Require(t.bus().native<Foreign>() == nullptr,
          "the driver returned an interface that it cannot know");
}

OMS_CONFORMANCE_TEST("OMS-CAP-003", kCore, kAlways,
                     "what a plain queue cannot do is refused at once") {
  ForEachAbsent(t, [&](std::string_view queue, Capability capability) {
    (void)ProbeUnsupported(t, queue, capability);
  });
}

OMS_CONFORMANCE_TEST("OMS-CAP-010", kCore, kAlways,
                     "what a plain queue is declared without it cannot do") {
  ForEachAbsent(t, [&](std::string_view queue, Capability capability) {
    ProbeUnderClaim(t, queue, capability);
  });
}

OMS_CONFORMANCE_TEST("OMS-CAP-004", kCore, kAlways,
                     "a lenient send says what it left out") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint lenient = t.Connect({{"lenient", "on"}});
  Producer producer = Must(lenient.CreateProducer(), "create producer");
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "sent");
  message.SetPriority(9).SetDeduplicationId("id");

  const SendResult sent = Must(producer.Send(message), "send");

  for (const Capability asked :
       {Capability::kPriority, Capability::kDeduplication}) {
    const bool left_out = sent.ignored.Contains(asked);
    Require(left_out != t.Has(queue, asked), Name(asked),
            left_out ? " was left out although it is declared"
                     : " is not declared and not told as left out");
  }
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"sent"}, "what arrives");
}

}  // namespace openmessaging::conformance::capability_test
