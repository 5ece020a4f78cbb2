// SPDX-License-Identifier: Apache-2.0
//
// The JSON form of messages: any text, and messages of any content. What is
// read is written as what reads the same; what is refused is refused with the
// code of its limit. CloudEvents, which have a reader of their own, too.

#include <array>
#include <string>
#include <string_view>

#include "input.h"
#include "openmessaging/cloud_events.h"
#include "openmessaging/json.h"
#include "openmessaging/status.h"

namespace openmessaging::fuzz {
namespace {

void CheckRoundTrip(const Message& message) {
  const std::string json = ToJson(message);
  Expect(json.find('\n') == std::string::npos, "more than a line", json);
  const auto again = FromJson(json);
  Expect(again.ok(), "it is refused once written", json);
  Expect(ToJson(*again) == json, "it is written otherwise", json);
  Expect(again->body() == message.body() &&
             again->destination() == message.destination() &&
             again->message_key() == message.message_key(),
         "it is read otherwise", json);
}

void CheckText(std::string_view text) {
  const auto message = FromJson(text);
  if (message.ok()) {
    Expect(KeyValueView::Parse(message->properties().encoded()).ok(),
           "properties are damaged", text);
    Expect(message->properties().Depth() <= kMaxPropertiesDepth,
           "properties are too deep", text);
    return CheckRoundTrip(*message);
  }
  const Code code = OmsCode(message.status());
  Expect(code == Code::kBadParameter || code == Code::kAttributesTooLarge ||
             code == Code::kBodyTooLarge,
         "another code", text);
}

// A text of which a part stands there very often: depth, and many keys.
void CheckRepeated(Input& input) {
  const size_t times = size_t{1} << input.Pick(12);
  const std::string_view begin = input.TakeUpTo('\n');
  const std::string_view part = input.TakeUpTo('\n').substr(0, 64);
  std::string text(begin);
  for (size_t n = 0; n < times; ++n) text += part;
  text += input.TakeUpTo('\n');
  for (size_t n = 0; n < times; ++n) text += '}';
  CheckText(text);
}

KeyValue MakeProperties(Input& input, int depth) {
  KeyValue made;
  for (size_t n = input.Pick(6); n > 0; --n) {
    const std::string_view key = input.TakeText(12);
    absl::Status status;
    switch (input.Pick(9)) {
      case 0:
        status = made.Put(key, input.Pick(2) == 1);
        break;
      case 1:
        status = made.Put(key, static_cast<int16_t>(input.Number<2>()));
        break;
      case 2:
        status = made.Put(key, static_cast<int32_t>(input.Number<4>()));
        break;
      case 3:
        status = made.Put(key, static_cast<int64_t>(input.Number()));
        break;
      case 4:
        status = made.Put(key, std::bit_cast<float>(
                                   static_cast<uint32_t>(input.Number<4>())));
        break;
      case 5:
        status = made.Put(key, std::bit_cast<double>(input.Number()));
        break;
      case 6:
        status = made.Put(key, input.TakeText());
        break;
      case 7:
        status = made.Put(key, Bytes{input.TakeText()});
        break;
      default:
        if (depth > 0) status = made.Put(key, MakeProperties(input, depth - 1));
    }
    const Code code = OmsCode(status);
    Expect(status.ok() || code == Code::kBadParameter ||
               code == Code::kAttributesTooLarge,
           "another code of a property", key);
  }
  return made;
}

// NaN has many forms, and the text has one.
bool HasNan(KeyValueView properties) {
  for (const auto& [key, value] : properties) {
    const auto number = value.template As<double>();
    if (number && *number != *number) return true;
    const auto inner = value.template As<KeyValueView>();
    if (inner && HasNan(*inner)) return true;
  }
  return false;
}

void CheckMessage(Input& input) {
  using Milliseconds = std::chrono::milliseconds;
  Message message(input.TakeText(), {});
  message.SetMessageKey(input.TakeText())
      .SetCorrelationId(input.TakeText())
      .SetReplyTo(input.TakeText())
      .SetDeduplicationId(input.TakeText())
      .SetPriority(input.Byte() % 10)
      .SetDelay(Milliseconds(static_cast<int64_t>(input.Number())))
      .SetExpireAt(Milliseconds(static_cast<int64_t>(input.Number())));
  const KeyValue properties = MakeProperties(input, 4);
  message.SetProperties(properties);
  message.SetBody(input.TakeRest());
  CheckRoundTrip(message);
  const auto again = FromJson(ToJson(message));
  Expect(again->properties() == properties.view() || HasNan(properties),
         "other properties");
}

void CheckEvent(std::string_view text) {
  Message message("events", text);
  message.SetProperty("content-type", "application/cloudevents+json")
      .IgnoreError();
  const auto event = CloudEventOf(message);
  if (!event.ok()) {
    Expect(OmsCode(event.status()) == Code::kBadParameter, "another code",
           text);
    return;
  }
  for (const bool structured : {false, true}) {
    const auto sent = structured ? ToStructuredMessage(*event, "events")
                                 : ToBinaryMessage(*event, "events");
    Expect(sent.ok(), "an event cannot be sent", text);
    const auto again = CloudEventOf(*sent);
    Expect(again.ok() && *again == *event,
           structured ? "another structured event" : "another binary event",
           text);
  }
}

}  // namespace
}  // namespace openmessaging::fuzz

// The first byte says what the others are.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging::fuzz;
  Input input(data, size);
  switch (input.Byte()) {
    case '*':
      CheckRepeated(input);
      break;
    case '+':
      CheckMessage(input);
      break;
    case '@':
      CheckEvent(input.TakeRest());
      break;
    default:
      CheckText({reinterpret_cast<const char*>(data), size});
  }
  return 0;
}
