// SPDX-License-Identifier: Apache-2.0
//
// Key values of any bytes, and the texts of small values: attributes,
// receipts, trace contexts. Views stay within the bytes, numbers are read as
// somebody else reads them, and editing is what it is of a map.

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "input.h"
#include "openmessaging/attributes.h"
#include "openmessaging/key_value.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"
#include "openmessaging/trace_context.h"

namespace openmessaging::fuzz {
namespace {

// Reads everything that a view gives. Returns: how many entries it has.
size_t ReadAll(KeyValueView view, int depth) {
  size_t count = 0;
  size_t bytes = 0;
  for (const auto& [key, value] : view) {
    ++count;
    bytes += key.size();
    if (const auto text = value.template As<std::string_view>()) {
      for (const char c : *text) bytes += static_cast<uint8_t>(c);
    }
    if (const auto raw = value.template As<Bytes>()) bytes += raw->data.size();
    const auto number = value.template As<int64_t>();
    const auto real = value.template As<double>();
    if (number && real) {
      Expect(static_cast<double>(*number) == *real, "one number is two");
    }
    Expect(!value.template As<int16_t>() || value.template As<float>(),
           "what converts");
    const auto inner = value.template As<KeyValueView>();
    if (inner && depth > 0) bytes += ReadAll(*inner, depth - 1);
  }
  Expect(count == view.size() && (count == 0) == view.empty(), "its size");
  // Keeps the compiler from leaving the reads out.
  static volatile size_t sink = 0;
  sink = sink + bytes;
  return count;
}

void CheckBytes(std::string_view bytes) {
  ReadAll(KeyValueView(bytes), 4);
  Expect(KeyValueView(bytes).Depth() <= kMaxPropertiesDepth + 1, "its depth");
  const auto view = KeyValueView::Parse(bytes);
  if (!view.ok()) {
    Expect(OmsCode(view.status()) == Code::kDamaged, "another code");
    return;
  }
  KeyValue built;
  for (const auto& [key, value] : *view) {
    Expect(built.Put(key, value).ok(), "a value of it is refused", key);
    Expect(view->Find(key) == value, "it is not found", key);
  }
  Expect(built.encoded() == bytes, "one content has two forms");
}

void CheckEdits(Input& input) {
  KeyValue edited;
  std::map<std::string, std::string> model;
  while (!input.empty()) {
    const size_t what = input.Pick(8);
    const std::string key(input.TakeText(6));
    if (what < 2) {
      Expect(edited.Remove(key) == (model.erase(key) == 1), "removed", key);
      continue;
    }
    // Its own bytes as a value: they move while it is written.
    const std::string_view text =
        what == 2 ? edited.encoded() : input.TakeText(200);
    const std::string before(text);
    const absl::Status put = edited.Put(key, Bytes{text});
    Expect(put.ok() == (!key.empty() && internal::IsUtf8(key)), "put", key);
    if (put.ok()) model[key] = before;
    if (edited.encoded().size() > 20000) break;
  }
  Expect(KeyValueView::Parse(edited.encoded()).ok(), "edited to damage");
  Expect(edited.size() == model.size(), "its size");
  for (const auto& [key, bytes] : model) {
    const auto found = edited.Get<Bytes>(key);
    Expect(found.ok() && found->data == bytes, "it has another value", key);
  }
}

// A number with a unit, read digit by digit. Returns: nothing where it is none
// or over `limit`.
std::optional<uint64_t> ReadSlowly(std::string_view text,
                                   const std::map<std::string, uint64_t>& units,
                                   uint64_t limit) {
  unsigned __int128 number = 0;
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    number = number * 10 + static_cast<unsigned>(text[digits++] - '0');
    if (number > std::numeric_limits<uint64_t>::max()) return std::nullopt;
  }
  const auto unit = units.find(std::string(text.substr(digits)));
  if (digits == 0 || unit == units.end()) return std::nullopt;
  if (number * unit->second > limit) return std::nullopt;
  return static_cast<uint64_t>(number * unit->second);
}

void CheckAttribute(std::string_view text) {
  static const std::map<std::string, uint64_t> times = {
      {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  static const std::map<std::string, uint64_t> sizes = {
      {"", 1},
      {"B", 1},
      {"KiB", 1 << 10},
      {"MiB", 1 << 20},
      {"GiB", 1 << 30},
      {"TiB", uint64_t{1} << 40},
      {"KB", 1000},
      {"MB", 1000000},
      {"GB", 1000000000},
      {"TB", 1000000000000}};
  Attributes attributes;
  if (!attributes.Set("a", text).ok()) {
    Expect(!internal::IsUtf8(text), "text is refused", text);
    return;
  }
  const auto duration = attributes.GetDuration("a");
  const auto slow = ReadSlowly(text, times, uint64_t{36500} * 86400000);
  Expect(duration.ok() == slow.has_value() &&
             (!slow || duration->count() == static_cast<int64_t>(*slow)),
         "another duration", text);
  const auto bytes = attributes.GetSize("a");
  const auto slow_bytes =
      ReadSlowly(text, sizes, std::numeric_limits<size_t>::max());
  Expect(bytes.ok() == slow_bytes.has_value() &&
             (!slow_bytes || *bytes == *slow_bytes),
         "another size", text);
  const auto whole = attributes.GetInteger("a");
  if (whole.ok()) {
    const bool negative = text.front() == '-';
    const auto digits =
        ReadSlowly(text.substr(negative ? 1 : 0), {{"", 1}}, uint64_t{1} << 63);
    Expect(digits && (negative ? uint64_t{0} - *digits : *digits) ==
                         static_cast<uint64_t>(*whole),
           "another number", text);
  }
  Expect(attributes.GetBool("a").ok() == (text == "on" || text == "off" ||
                                          text == "true" || text == "false"),
         "another switch", text);
}

void CheckTexts(Input& input) {
  const std::string_view first = input.TakeUpTo('\n');
  const auto receipt = Receipt::Parse(first);
  if (receipt.ok()) {
    const auto again = Receipt::Parse(receipt->ToString());
    Expect(again.ok() && *again == *receipt && !receipt->empty() &&
               receipt->token().size() <= Receipt::kMaxTokenBytes,
           "another receipt", first);
  } else {
    Expect(OmsCode(receipt.status()) == Code::kReceiptInvalid, "another code");
  }
  const TraceContext trace = TraceContext::Parse(first, input.TakeRest());
  if (!trace.valid()) return;
  Expect(TraceContext::Parse(trace.traceparent(), trace.tracestate()) == trace,
         "another trace context", first);
}

}  // namespace
}  // namespace openmessaging::fuzz

// The first byte says what the others are.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging::fuzz;
  Input input(data, size);
  switch (input.Byte()) {
    case '+':
      CheckEdits(input);
      break;
    case '=':
      CheckAttribute(input.TakeRest());
      break;
    case '.':
      CheckTexts(input);
      break;
    default:
      CheckBytes({reinterpret_cast<const char*>(data), size});
  }
  return 0;
}
