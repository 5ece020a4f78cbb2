// SPDX-License-Identifier: Apache-2.0
//
// Tests of what a history is judged by: a sound one, and one for each finding.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checker.h"
#include "doctest/doctest.h"
#include "openmessaging/status.h"
#include "operation.h"
#include "step.h"

namespace openmessaging::conformance::history::history_test {
namespace {

constexpr uint64_t kSeed = 7;
constexpr Means kAll{true, true, true};

// Returns: the first step of that manner, from `from` on.
MessageName StepIn(Manner manner, int64_t from = 1) {
  MessageName name{"sender-1.0", from, 0};
  while (StepOf(name, kAll, kSeed).manner != manner) ++name.step;
  return name;
}

// Two plain messages of one key, the one behind the other.
std::pair<MessageName, MessageName> TwoOfOneKey() {
  const MessageName first = StepIn(Manner::kPlain);
  MessageName second = first;
  do {
    second = StepIn(Manner::kPlain, second.step + 1);
  } while (StepOf(second, kAll, kSeed).key != StepOf(first, kAll, kSeed).key);
  return {first, second};
}

// A history that grows a millisecond with each operation.
class Story {
 public:
  Story& Add(Kind kind, const MessageName& name, const std::string& worker,
             Result result = Result::kOk, int64_t offset = -1) {
    Operation one;
    one.kind = kind;
    one.worker = worker;
    one.id = name.Text();
    one.result = result;
    one.offset = offset;
    one.partition = offset < 0 ? -1 : 0;
    const bool sends =
        kind == Kind::kSend || kind == Kind::kCommit || kind == Kind::kRollback;
    if (!sends) one.group = "g";
    one.begin_ns = now_ns_ += 500'000;
    one.end_ns = now_ns_ += 500'000;
    history_.push_back(one);
    return *this;
  }
  Story& Wait(std::chrono::milliseconds time) {
    now_ns_ += time.count() * 1'000'000;
    return *this;
  }
  Story& Send(const MessageName& name, int64_t offset = -1) {
    return Add(Kind::kSend, name, name.sender, Result::kOk, offset);
  }
  Story& Take(const MessageName& name, int64_t offset = -1) {
    Add(Kind::kReceive, name, "g-1.0", Result::kOk, offset);
    return Add(Kind::kAck, name, "g-1.0");
  }

  std::set<std::string> Flaws(bool ordered = false) const {
    Terms terms;
    terms.seed = kSeed;
    terms.means = kAll;
    terms.groups = {"g"};
    if (ordered) terms.ordered = {"g"};
    std::set<std::string> flaws;
    for (const Finding& one : Check(history_, terms)) {
      flaws.insert(NameOf(one.flaw));
    }
    return flaws;
  }

  std::vector<Operation> history_;

 private:
  int64_t now_ns_ = 1'000'000;
};

using Names = std::set<std::string>;

TEST_CASE("what was sent and received once is sound") {
  const auto [first, second] = TwoOfOneKey();
  Story story;
  story.Send(first, 0).Send(second, 1).Take(first, 0).Take(second, 1);
  CHECK(story.Flaws(true) == Names{});
}

TEST_CASE("what nobody received is lost, unless it was perhaps not sent") {
  const MessageName name = StepIn(Manner::kPlain);
  CHECK(Story().Send(name).Flaws() == Names{"lost"});
  CHECK(Story().Add(Kind::kSend, name, name.sender, Result::kMaybe).Flaws() ==
        Names{});
  CHECK(Story().Add(Kind::kSend, name, name.sender, Result::kNo).Flaws() ==
        Names{});
}

TEST_CASE("what was not sent is invented") {
  const MessageName name = StepIn(Manner::kPlain);
  CHECK(Story().Take(name).Flaws() == Names{"invented"});
  CHECK(Story()
            .Add(Kind::kSend, name, name.sender, Result::kNo)
            .Take(name)
            .Flaws() == Names{"invented"});
  // Of a sender that was killed: its next step, and no later one.
  MessageName next = name;
  next.step = 1;
  Story killed;
  killed.Add(Kind::kKill, next, next.sender).Take(next);
  CHECK(killed.Flaws() == Names{});
  next.step = 2;
  killed.Take(next);
  CHECK(killed.Flaws() == Names{"invented"});
  // One that was killed while it told of a batch: the rest of it too.
  const MessageName first = StepIn(Manner::kBatch);
  MessageName second = first;
  second.index = 1;
  const auto told = [&] {
    return Story().Send(first).Take(first).Take(second);
  };
  CHECK(told().Flaws() == Names{"invented"});
  CHECK(told().Add(Kind::kKill, first, first.sender).Flaws() == Names{});
}

TEST_CASE("what came otherwise is altered") {
  const MessageName name = StepIn(Manner::kPlain);
  Story body;
  body.Send(name).Take(name);
  body.history_[1].altered = true;
  CHECK(body.Flaws() == Names{"altered"});
  CHECK(Story().Send(name, 3).Take(name, 4).Flaws() == Names{"altered"});
}

TEST_CASE("what is stored in another order is reordered") {
  const auto [first, second] = TwoOfOneKey();
  Story story;
  story.Send(first, 1).Send(second, 0).Take(first, 1).Take(second, 0);
  CHECK(story.Flaws() == Names{"reordered"});
}

TEST_CASE("an ordered group has one message of a key at a time") {
  const auto [first, second] = TwoOfOneKey();
  Story story;
  story.Send(first, 0).Send(second, 1);
  story.Add(Kind::kReceive, first, "g-1.0");
  story.Add(Kind::kReceive, second, "g-2.0");
  story.Add(Kind::kAck, first, "g-1.0").Add(Kind::kAck, second, "g-2.0");
  CHECK(story.Flaws() == Names{});
  CHECK(story.Flaws(true) == Names{"reordered"});
  // Who had it was killed: perhaps it was acknowledged.
  story.Add(Kind::kKill, first, "g-1.0");
  CHECK(story.Flaws(true) == Names{});
}

TEST_CASE("what comes before its delay is over is early") {
  const MessageName name = StepIn(Manner::kDelayed);
  CHECK(Story().Send(name).Take(name).Flaws() == Names{"early"});
  CHECK(Story()
            .Send(name)
            .Wait(StepOf(name, kAll, kSeed).delay)
            .Take(name)
            .Flaws() == Names{});
}

TEST_CASE("what comes after its ack was confirmed comes again") {
  const MessageName name = StepIn(Manner::kPlain);
  Story story;
  story.Send(name).Take(name);
  story.Add(Kind::kReceive, name, "g-2.0");
  CHECK(story.Flaws() == Names{"again"});
  story.history_[2].result = Result::kMaybe;  // The ack.
  CHECK(story.Flaws() == Names{});
}

TEST_CASE("a part of a transaction is torn") {
  MessageName name = StepIn(Manner::kTogether);
  const int64_t messages = StepOf(name, kAll, kSeed).messages;
  REQUIRE(messages > 1);
  Story story;
  for (name.index = 0; name.index < messages; ++name.index) {
    story.Add(Kind::kSend, name, name.sender, Result::kMaybe);
  }
  CHECK(story.Flaws() == Names{});
  for (name.index = 0; name.index < messages - 1; ++name.index) {
    story.Take(name);
  }
  CHECK(story.Flaws() == Names{"torn"});
  CHECK(story.Take(name).Flaws() == Names{});
}

TEST_CASE("prepared messages come if they are committed, and not otherwise") {
  MessageName kept = StepIn(Manner::kPrepared);
  while (!StepOf(kept, kAll, kSeed).commits) {
    kept = StepIn(Manner::kPrepared, kept.step + 1);
  }
  MessageName dropped = StepIn(Manner::kPrepared);
  while (StepOf(dropped, kAll, kSeed).commits) {
    dropped = StepIn(Manner::kPrepared, dropped.step + 1);
  }
  CHECK(Story().Send(dropped).Flaws() == Names{});
  CHECK(Story().Send(dropped).Take(dropped).Flaws() == Names{"invented"});
  CHECK(Story().Send(kept).Flaws() == Names{});  // The check may go on.
  Story story;
  story.Send(kept).Add(Kind::kCommit, kept, kept.sender);
  CHECK(story.Flaws() == Names{"lost"});
  story.Take(kept);
  CHECK(story.Flaws() == Names{});
  story.Add(Kind::kRollback, kept, kept.sender);
  CHECK(story.Flaws() == Names{"undecided"});
}

TEST_CASE("a line is read as it was written, and a bad one is refused") {
  Operation one;
  one.kind = Kind::kReceive;
  one.worker = "billing-2.14";
  one.begin_ns = 12;
  one.end_ns = 345678901234567;
  one.result = Result::kMaybe;
  one.group = "billing";
  one.id = "sender-1.0/17/3";
  one.partition = 3;
  one.offset = 0;
  one.deliveries = 2;
  one.altered = true;
  one.error = "\xff no text";
  const std::string line = LineOf(one);

  const auto read = ParseLine(line);

  REQUIRE(read.ok());
  CHECK(LineOf(*read) == line);
  CHECK(read->offset == 0);
  for (const char* const bad :
       {"", "[]", "{}", "{\"op\":\"receive\"}", "{\"op\":\"steal\"}",
        "{\"op\":\"ack\",\"result\":\"ok\",\"worker\":3,\"begin\":1,\"end\":"
        "2}"}) {
    CAPTURE(bad);
    CHECK(OmsCode(ParseLine(bad).status()) == Code::kBadParameter);
  }
}

TEST_CASE("a step is the same in every process, and each manner occurs") {
  std::map<Manner, int> seen;
  MessageName name{"sender-1.0", 1, 0};
  for (; name.step <= 500; ++name.step) {
    const Step step = StepOf(name, kAll, kSeed);
    const auto again = MessageName::Parse(name.Text());
    REQUIRE(again.has_value());
    CHECK(StepOf(*again, kAll, kSeed).key == step.key);
    CHECK(BodyOf(*again, kSeed) == BodyOf(name, kSeed));
    CHECK(step.messages <= kMaxStep);
    ++seen[step.manner];
    // Who cannot do more sends plainly.
    const Manner plain = StepOf(name, {}, kSeed).manner;
    CHECK((plain == Manner::kPlain || plain == Manner::kBatch));
  }
  CHECK(seen.size() == 5);
  for (const char* const bad :
       {"", "a", "a/1", "/1/2", "a/0/1", "a/1/-1", "a/x/1"}) {
    CHECK_FALSE(MessageName::Parse(bad).has_value());
  }
}

}  // namespace
}  // namespace openmessaging::conformance::history::history_test
