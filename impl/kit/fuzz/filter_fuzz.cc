// SPDX-License-Identifier: Apache-2.0
//
// Filters: any text, and expressions whose value somebody else knows. Limits
// hold, what is compiled prints as what means the same, and an error has a
// place.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "filter_maker.h"
#include "input.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/kit/filter.h"
#include "openmessaging/status.h"

namespace openmessaging::fuzz {
namespace {

using kit::Filter;
using kit::Truth;
using kit::filter_maker::FilterMaker;
using kit::filter_maker::TruthOfLogic;

// How deep parentheses nest outside of quotes.
size_t DepthOf(std::string_view text) {
  size_t depth = 0;
  size_t deepest = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '(') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ')' && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

Message MakeMessage(std::string_view properties) {
  Message message("orders", "body");
  message.SetMessageKey("key").SetPriority(7).SetProperties(
      KeyValueView(properties));
  return message;
}

void CheckText(std::string_view text, const Message& message) {
  const auto filter = Filter::Compile(text);
  if (!filter.ok()) {
    Expect(OmsCode(filter.status()) == Code::kBadParameter, "another code",
           text);
    const auto column = kit::FilterErrorColumn(filter.status());
    Expect(text.size() > Filter::kMaxBytes ||
               (column && *column >= 1 && *column <= text.size() + 1),
           "an error has no place", text);
    return;
  }
  Expect(internal::IsUtf8(text), "it is no text", text);
  // One pair more belongs to a list.
  Expect(DepthOf(text) <= Filter::kMaxDepth + 1, "it is too deep", text);
  const Truth truth = filter->Evaluate(message);
  Expect(filter->Matches(message) == (truth == Truth::kTrue), "it matches");

  // The one form has parentheses that the text need not have, and so it may be
  // over a limit.
  const auto again = Filter::Compile(filter->text());
  if (!again.ok()) {
    const std::string_view words(again.status().message().data(),
                                 again.status().message().size());
    Expect(words.find("OMS-FILTER-008") != std::string_view::npos,
           "its one form is refused", words);
    return;
  }
  Expect(again->text() == filter->text(), "its one form has another", text);
  Expect(again->Evaluate(message) == truth, "its one form means another", text);
}

// A text of which a part stands there very often.
void CheckRepeated(Input& input) {
  constexpr size_t kTimes[] = {2, 8, 32, 62, 63, 64, 65, 130, 1500, 4096};
  const size_t times = kTimes[input.Pick(std::size(kTimes))];
  const std::string_view begin = input.TakeUpTo('\n');
  const std::string_view part = input.TakeUpTo('\n').substr(0, 16);
  const std::string_view middle = input.TakeUpTo('\n');
  const std::string_view end = input.TakeUpTo('\n').substr(0, 4);
  std::string text(begin);
  for (size_t n = 0; n < times; ++n) text += part;
  text += middle;
  for (size_t n = 0; n < times; ++n) text += end;
  text += input.TakeRest();
  CheckText(text, MakeMessage({}));
}

// LIKE on a text of the fuzzer, against somebody who tries all ways.
bool MatchesSlowly(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '%') {
    for (size_t n = 0; n <= text.size(); ++n) {
      if (MatchesSlowly(pattern.substr(1), text.substr(n))) return true;
    }
    return false;
  }
  return !text.empty() &&
         (pattern.front() == '_' || pattern.front() == text.front()) &&
         MatchesSlowly(pattern.substr(1), text.substr(1));
}

void CheckLike(Input& input) {
  // Few letters, so that they meet.
  const auto take = [&](std::string_view letters, size_t most) {
    std::string text;
    for (size_t n = input.Pick(most); n > 0; --n) {
      text += letters[input.Pick(letters.size())];
    }
    return text;
  };
  const std::string pattern = take("ab_%", 8);
  const std::string text = take("ab", 16);
  Message message("orders", "body");
  Expect(message.SetProperty("t", text).ok(), "a property");
  const auto filter = Filter::Compile("t LIKE '" + pattern + "'");
  Expect(filter.ok(), "a pattern is refused", pattern);
  Expect(filter->Matches(message) == MatchesSlowly(pattern, text),
         "LIKE means another", pattern + " of " + text);
}

void CheckExpression(Input& input) {
  // Behind the end of the input anything, but not always the same: the maker
  // tries again until it likes a choice.
  uint32_t state = 1;
  FilterMaker maker([&](size_t count) {
    if (!input.empty()) return input.Pick(count);
    state = state * 1664525 + 1013904223;
    return size_t{state >> 16} % count;
  });
  const FilterMaker::Condition made = maker.MakeCondition(3);
  const auto filter = Filter::Compile(made.text);
  if (!filter.ok()) {
    const std::string_view words(filter.status().message().data(),
                                 filter.status().message().size());
    // Types that can never be right are known when compiling.
    Expect(words.find("OMS-FILTER-002") != std::string_view::npos,
           "an expression is refused", made.text);
    return;
  }
  Expect(filter->Evaluate(maker.message()) == TruthOfLogic(made.logic),
         "an expression means another", made.text);
  CheckText(made.text, maker.message());
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
    case '?':
      CheckExpression(input);
      break;
    case '~':
      CheckLike(input);
      break;
    case '#': {
      // Properties of any bytes.
      const std::string_view text = input.TakeUpTo('\n');
      CheckText(text, MakeMessage(input.TakeRest()));
      break;
    }
    default:
      CheckText({reinterpret_cast<const char*>(data), size}, MakeMessage({}));
  }
  return 0;
}
