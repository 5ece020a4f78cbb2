// SPDX-License-Identifier: Apache-2.0
//
// Events of CloudEvents through a broker.

#include <string>

#include "context.h"
#include "openmessaging/cloud_events.h"
#include "registry.h"

namespace openmessaging::conformance::cloud_events_test {
namespace {

CloudEvent Event() {
  CloudEvent event;
  event.id = "1";
  event.source = "/conformance";
  event.type = "org.example.tested";
  event.datacontenttype = "text/plain";
  event.subject = "what is sent";
  event.extensions["count"] = int32_t{7};
  event.extensions["flag"] = true;
  event.data = "the data";
  return event;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CE-005", kCore, kAlways,
                     "an event arrives as it was sent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const CloudEvent event = Event();
  CloudEvent as_text = event;  // Where the broker has text only.
  as_text.extensions["count"] = std::string("7");
  as_text.extensions["flag"] = std::string("true");
  for (const bool structured : {false, true}) {
    t.Send(Must(structured ? ToStructuredMessage(event, queue)
                           : ToBinaryMessage(event, queue),
                "make a message"));
    const Delivery got = t.Take(consumer);
    const CloudEvent back = Must(CloudEventOf(*got), "read the event");
    const bool typed =
        structured || t.Has(queue, Capability::kTypedProperties);
    Require(back == (typed ? event : as_text), "the event in ",
            structured ? "structured" : "binary", " mode came back as ",
            std::string_view(back.id), ", ", std::string_view(back.source),
            ", ", std::string_view(back.data));
    RequireOk(got.Ack(), "acknowledge");
  }
}

}  // namespace openmessaging::conformance::cloud_events_test
