// SPDX-License-Identifier: Apache-2.0

#include "step.h"

#include <random>

#include "openmessaging/internal/text.h"

namespace openmessaging::conformance::history {
namespace {

using internal::Concat;

constexpr int kKeys = 6;

std::mt19937_64 RandomOf(std::string_view sender, int64_t step, int64_t index,
                         uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325 ^ seed;
  for (const char c : Concat(sender, "/", step, "/", index)) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return std::mt19937_64(hash);
}

}  // namespace

std::string MessageName::Text() const {
  return Concat(sender, "/", step, "/", index);
}

std::optional<MessageName> MessageName::Parse(std::string_view text) {
  const size_t last = text.rfind('/');
  if (last == std::string_view::npos || last == 0) return std::nullopt;
  const size_t first = text.rfind('/', last - 1);
  if (first == std::string_view::npos || first == 0) return std::nullopt;
  MessageName name;
  name.sender = text.substr(0, first);
  if (!internal::ParseInteger(text.substr(first + 1, last - first - 1),
                              name.step) ||
      !internal::ParseInteger(text.substr(last + 1), name.index) ||
      name.step < 1 || name.index < 0) {
    return std::nullopt;
  }
  return name;
}

std::string Means::Text() const {
  return Concat(delay ? "delay," : "", prepare ? "prepare," : "",
                transact ? "transact," : "", "plain");
}

Means Means::Parse(std::string_view text) {
  const auto has = [text](std::string_view word) {
    return text.find(word) != std::string_view::npos;
  };
  return {has("delay"), has("prepare"), has("transact")};
}

Step StepOf(const MessageName& name, const Means& means, uint64_t seed) {
  std::mt19937_64 random = RandomOf(name.sender, name.step, -1, seed);
  Step step;
  const uint64_t kind = random() % 100;
  const auto some = static_cast<int64_t>(2 + random() % (kMaxStep - 1));
  step.key = Concat("key-", static_cast<int>(random() % kKeys));
  const std::chrono::milliseconds delay(20 + random() % 300);
  step.commits = random() % 2 == 0;
  if (kind < 20) {
    step.manner = Manner::kBatch;
    step.messages = some;
  } else if (kind < 30 && means.delay) {
    step.manner = Manner::kDelayed;
    step.delay = delay;
  } else if (kind < 40 && means.prepare) {
    step.manner = Manner::kPrepared;
  } else if (kind < 50 && means.transact) {
    step.manner = Manner::kTogether;
    step.messages = some;
  }
  return step;
}

std::string BodyOf(const MessageName& name, uint64_t seed) {
  std::mt19937_64 random = RandomOf(name.sender, name.step, name.index, seed);
  std::string body = Concat(name.Text(), "\n");
  const size_t bytes =
      random() % 10 == 0 ? 1500 + random() % 500 : 40 + random() % 60;
  while (body.size() < bytes) body.push_back(static_cast<char>(random()));
  return body;
}

}  // namespace openmessaging::conformance::history
