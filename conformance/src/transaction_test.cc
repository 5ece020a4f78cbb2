// SPDX-License-Identifier: Apache-2.0
//
// Prepared messages and their checks.

#include <atomic>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::transaction_test {
namespace {

constexpr auto kCheck = Capability::kTransactionCheck;

// Answers as it is told, and notes whom it was asked about.
class Checker {
 public:
  explicit Checker(TransactionState answer) : answer_(answer) {}

  CheckListener Listener() {
    return [this](const Message& message) {
      ids.Put(message.transaction_id());
      asked.Put(message.body());  // Last: tests wait for it.
      if (throws) throw std::string("not now");
      return answer_.load();
    };
  }
  void Answer(TransactionState answer) { answer_ = answer; }

  std::atomic<bool> throws{false};
  Inbox asked;
  Inbox ids;

 private:
  std::atomic<TransactionState> answer_;
};

// Asked soon, so that a test need not wait.
ProducerOptions Checked(Checker& checker, std::string_view group,
                        milliseconds after = milliseconds(50)) {
  ProducerOptions options;
  options.group = group;
  options.check = checker.Listener();
  options.check_after = after;
  return options;
}

ProducerOptions NeverChecked(Checker& checker, std::string_view group) {
  return Checked(checker, group, std::chrono::minutes(10));
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-TX-001", kTransaction, kCheck,
                     "a prepared message is invisible until commit") {
  const std::string queue = t.NewQueue();
  Checker checker(TransactionState::kUnknown);
  Producer producer = t.NewProducer(NeverChecked(checker, t.NewName("g")));
  PullConsumer consumer = t.NewConsumer(queue);

  PreparedMessage prepared =
      Must(producer.Prepare(Message(queue, "prepared")), "prepare");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "before the commit");
  RequireOk(prepared.Commit(), "commit");

  RequireEqual(t.TakeBodies(consumer, 1), {"prepared"}, "after the commit");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes then");
}

OMS_CONFORMANCE_TEST("OMS-TX-002", kTransaction, kCheck,
                     "what was rolled back is never delivered") {
  const std::string queue = t.NewQueue();
  Checker checker(TransactionState::kUnknown);
  Producer producer = t.NewProducer(NeverChecked(checker, t.NewName("g")));
  PullConsumer consumer = t.NewConsumer(queue);
  PreparedMessage prepared =
      Must(producer.Prepare(Message(queue, "never")), "prepare");
  RequireOk(prepared.Rollback(), "roll back");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TX-003", kTransaction, kCheck,
                     "the first decision wins and may be repeated") {
  const std::string queue = t.NewQueue();
  Checker checker(TransactionState::kUnknown);
  Producer producer = t.NewProducer(NeverChecked(checker, t.NewName("g")));
  PullConsumer consumer = t.NewConsumer(queue);
  PreparedMessage kept =
      Must(producer.Prepare(Message(queue, "kept")), "prepare");
  PreparedMessage gone =
      Must(producer.Prepare(Message(queue, "gone")), "prepare");

  for (int i = 0; i < 2; ++i) {
    RequireOk(kept.Commit(), "commit");
    RequireOk(gone.Rollback(), "roll back");
  }
  RequireCode(kept.Rollback(), Code::kTransactionConflict,
              "roll back what was committed");
  RequireCode(gone.Commit(), Code::kTransactionConflict,
              "commit what was rolled back");

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"kept"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TX-004", kTransaction, kCheck,
                     "without a decision the listener is asked") {
  const std::string queue = t.NewQueue();
  Checker checker(TransactionState::kUnknown);
  Producer producer = t.NewProducer(Checked(checker, t.NewName("g")));
  PreparedMessage prepared =
      Must(producer.Prepare(Message(queue, "asked")), "prepare");
  Require(checker.asked.WaitFor(1, t.patience()), "nobody was asked");
  RequireText(checker.asked.texts()[0], "asked", "the message asked about");
  RequireText(checker.ids.texts()[0], prepared.transaction_id(),
              "the transaction id");
  RequireOk(prepared.Rollback(), "roll back");
}

OMS_CONFORMANCE_TEST("OMS-TX-005", kTransaction, kCheck,
                     "what the listener answers takes effect") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Checker commits(TransactionState::kUnknown);
  Producer committer = t.NewProducer(Checked(commits, t.NewName("g")));
  (void)Must(committer.Prepare(Message(queue, "committed")), "prepare");
  Require(commits.asked.WaitFor(1, t.patience()), "nobody was asked");
  commits.throws = true;
  Require(commits.asked.WaitFor(2, t.patience()),
          "unknown was not asked about again");
  commits.Answer(TransactionState::kCommit);
  commits.throws = false;
  RequireEqual(t.TakeBodies(consumer, 1), {"committed"}, "what was committed");

  Checker rolls_back(TransactionState::kRollback);
  Producer other = t.NewProducer(Checked(rolls_back, t.NewName("g")));
  PreparedMessage gone = Must(other.Prepare(Message(queue, "gone")), "prepare");
  Require(rolls_back.asked.WaitFor(1, t.patience()), "nobody was asked");
  const auto start = steady_clock::now();
  absl::Status opposite;
  do {
    opposite = gone.Rollback();  // Harmless once the listener has decided.
  } while (!opposite.ok() && Since(start) < t.patience());
  RequireCode(gone.Commit(), Code::kTransactionConflict,
              "commit what the listener rolled back");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TX-006", kTransaction, kCheck,
                     "when a producer is gone another of its group is asked") {
  const std::string queue = t.NewQueue();
  const std::string group = t.NewName("g");
  PullConsumer consumer = t.NewConsumer(queue);
  Checker first(TransactionState::kUnknown);
  {
    const MessagingAccessPoint bus = t.Connect();
    Producer producer =
        Must(bus.CreateProducer(NeverChecked(first, group)), "create producer");
    ProducerOptions soon = Checked(first, group, milliseconds(200));
    Producer dies = Must(bus.CreateProducer(soon), "create producer");
    (void)Must(dies.Prepare(Message(queue, "orphan")), "prepare");
  }
  Checker second(TransactionState::kCommit);
  Producer heir = t.NewProducer(Checked(second, group));
  RequireOk(heir.Start(), "start");
  RequireEqual(t.TakeBodies(consumer, 1), {"orphan"}, "what was committed");
  RequireEqual(second.asked.texts(), {"orphan"}, "what the heir was asked");
}

OMS_CONFORMANCE_TEST("OMS-TX-007", kTransaction, kCheck,
                     "after the most checks a message is rolled back") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Checker checker(TransactionState::kUnknown);
  ProducerOptions options = Checked(checker, t.NewName("g"), milliseconds(20));
  options.max_checks = 2;
  Producer producer = t.NewProducer(options);
  PreparedMessage prepared =
      Must(producer.Prepare(Message(queue, "undecided")), "prepare");
  Require(checker.asked.WaitFor(2, t.patience()), "it was not asked twice");
  // It is decided when another check would come.
  std::this_thread::sleep_for(t.late() / 2);
  RequireCode(prepared.Commit(), Code::kTransactionConflict,
              "commit after the most checks");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
  RequireNumber(static_cast<int64_t>(checker.asked.texts().size()), 2,
                "checks");
}

OMS_CONFORMANCE_TEST("OMS-TX-008", kTransaction, kCheck,
                     "the transaction id is the same everywhere") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Checker checker(TransactionState::kUnknown);
  Producer producer = t.NewProducer(NeverChecked(checker, t.NewName("g")));
  PreparedMessage prepared =
      Must(producer.Prepare(Message(queue, "x")), "prepare");
  const std::string id = prepared.transaction_id();
  Require(!id.empty(), "the transaction id is empty");
  Producer other = t.NewProducer();
  RequireOk(other.Resolve(id, TransactionState::kCommit),
            "decide by the id alone");
  RequireText(t.Take(consumer)->transaction_id(), id, "at the receiver");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-TX-012", kTransaction, kCheck,
                             "prepared messages survive a restart") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kDurable);
  const std::string group = t.NewName("g");
  Checker checker(TransactionState::kUnknown);
  std::string kept;
  std::string decided;
  {
    Producer producer = t.NewProducer(NeverChecked(checker, group));
    kept = Must(producer.Prepare(Message(queue, "kept")), "prepare")
               .transaction_id();
    PreparedMessage gone =
        Must(producer.Prepare(Message(queue, "gone")), "prepare");
    decided = gone.transaction_id();
    RequireOk(gone.Rollback(), "roll back");
  }
  t.Restart();
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what is there");
  RequireOk(producer.Resolve(kept, TransactionState::kCommit), "commit");
  RequireCode(producer.Resolve(decided, TransactionState::kCommit),
              Code::kTransactionConflict, "commit what was rolled back");
  RequireEqual(t.TakeBodies(consumer, 1), {"kept"}, "what was committed");
}

}  // namespace openmessaging::conformance::transaction_test
