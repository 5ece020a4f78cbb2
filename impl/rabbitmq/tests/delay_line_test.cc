// SPDX-License-Identifier: Apache-2.0

#include "delay_line.h"

#include <doctest/doctest.h>

#include <vector>

#include "topology.h"

namespace openmessaging::rabbitmq::rabbitmq_delay_line_test {
namespace {

using std::chrono::milliseconds;

std::vector<std::string> WordsOf(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == '.') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Whether a topic exchange routes `key` to `binding`, which has no '#'.
bool Fits(const std::string& binding, const std::string& key) {
  const auto wanted = WordsOf(binding);
  const auto words = WordsOf(key);
  if (wanted.size() != words.size()) return false;
  for (size_t i = 0; i < words.size(); ++i) {
    if (wanted[i] != "*" && wanted[i] != words[i]) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a delay is rounded up to whole units and never down") {
  CHECK(DelayUnits(milliseconds(0)) == 0);
  CHECK(DelayUnits(milliseconds(1)) == 1);
  CHECK(DelayUnits(milliseconds(8)) == 1);
  CHECK(DelayUnits(milliseconds(9)) == 2);
  CHECK(DelayUnits(kMaxDelay) == (int64_t{1} << kDelayLevels) - 1);
  CHECK(TopDelayLevel(1) == 0);
  CHECK(TopDelayLevel(DelayUnits(kMaxDelay)) == kDelayLevels - 1);
}

TEST_CASE("the levels of a key's bits wait as long as the delay is") {
  for (const int64_t ms : {1, 8, 300, 3600 * 1000, 2000000000}) {
    const int64_t units = DelayUnits(milliseconds(ms));
    const auto words = WordsOf(DelayKey(units, DelayedTo::kAll, "orders"));
    REQUIRE(words.size() == size_t{kDelayLevels} + 2);
    int64_t waits = 0;
    for (int level = 0; level < kDelayLevels; ++level) {
      const auto place = static_cast<size_t>(kDelayLevels - 1 - level);
      if (words[place] == "1") waits += kDelayUnit.count() << level;
    }
    CHECK(waits >= ms);
    CHECK(waits < ms + kDelayUnit.count());
  }
}

TEST_CASE("what was delayed finds its queues and no others") {
  const std::string all = DelayKey(5, DelayedTo::kAll, "a.orders");
  const std::string back = DelayKey(7, DelayedTo::kQueue, "a.orders");
  CHECK(Fits(DelayedBinding(DelayedTo::kAll, "a.orders"), all));
  CHECK(Fits(DelayedBinding(DelayedTo::kQueue, "a.orders"), back));
  CHECK_FALSE(Fits(DelayedBinding(DelayedTo::kAll, "orders"), all));
  CHECK_FALSE(Fits(DelayedBinding(DelayedTo::kQueue, "a.orders"), all));
  CHECK_FALSE(Fits(DelayedBinding(DelayedTo::kAll, "a.orders"), back));
}

TEST_CASE("the key of the longest name is short enough") {
  const std::string longest(kMaxShortBytes, 'q');
  CHECK(DelayKey(1, DelayedTo::kQueue, longest).size() <= kMaxShortBytes);
  CHECK(DelayedBinding(DelayedTo::kQueue, longest).size() <= kMaxShortBytes);
}

}  // namespace openmessaging::rabbitmq::rabbitmq_delay_line_test
