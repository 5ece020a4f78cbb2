// SPDX-License-Identifier: Apache-2.0

#include "planted/table.h"

#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::planted {
namespace {

using internal::Concat;

// One of a machine.
Run Case(std::string_view machine, std::string_view cases) {
  return {Concat(machine, ": ", cases),
          Concat("reliability_", machine, "_test_planted"),
          {Concat("--test-case=", cases), "--abort-after=1"},
          {}};
}

// One operation killed at each change, or with each call failing.
Run Step(std::string_view operation) {
  return {Concat("step: ", operation),
          "reliability_step_test_planted",
          {},
          {Concat("OMS_STEP_ONLY=", operation)}};
}
Run Faults(std::string_view operation) {
  return {Concat("faults: ", operation),
          "reliability_faults_test_planted",
          {"--test-case=no failing system call*", "--abort-after=1"},
          {Concat("OMS_FAULT_ONLY=", operation)}};
}

// One scenario.
Run Schedules(std::string_view scenario) {
  return {Concat("schedules: ", scenario),
          "reliability_schedules_test",
          {},
          {Concat("OMS_SCENARIO=", scenario)}};
}

// One life, of seed 2.
Run Power(int life) {
  return {Concat("power: life ", life),
          "reliability_power_test",
          {"--test-case=a power loss*"},
          {Concat("OMS_POWER_ONLY=", life)}};
}

// In the order of bugs.h.
std::vector<Row> MakeTable() {
  return {
      {"HeirErasesWhole",
       "an heir of the append lock erases a claim that is whole",
       Schedules("append-two-killed"), true},
      {"HeirFinishesNothing",
       "an heir of the append lock forgets what its dead was writing",
       Schedules("append-two-killed"), true},
      {"CutRollStays", "an heir does not take the last step of a roll",
       Step("segment roll")},
      {"CommitWordFirst", "the commit word is stored before the record",
       Step("send")},
      {"ClaimFromFront", "the first record of a claim is written first",
       Step("batch")},
      {"IntentUnsaid", "nobody is told which bytes are being written",
       Schedules("append-two-killed"), true},
      {"OffsetBeforeIndex", "the next offset is stored before the index entry",
       Schedules("wake"), true},
      {"IntentClearedFirst",
       "an append is called done before its tail is stored",
       Schedules("append-two-killed"), true},
      {"RollTailFirst", "a roll stores the tail before the segment",
       Schedules("append-roll"), true},
      {"RollUnsaid",
       "the next segment does not say where the log left the last one",
       Power(0)},
      {"DecidedTwice",
       "what was decided, due or cancelled meanwhile is appended all the same",
       Schedules("decide-otherwise"), true},
      {"PayloadUnsummed",
       "a durable message is written without the checksum of its payload",
       Power(0), true},
      {"AppendLockLeftEarly",
       "the append lock is released before the claim is written",
       Schedules("append-two-in-memory"), true},
      {"DuplicateStored", "an id that came before is stored again",
       Step("deduplicated send")},
      {"DeadUnfinished",
       "nobody waits until what a dead process appended is finished",
       Schedules("same-queue-twice"), true},
      {"DelaysUnmended",
       "an heir leaves the table of delayed messages half changed",
       Step("delayed send")},
      {"FlushDropped", "a flush leader flushes nothing", Power(0), true},
      {"FlushErrorIgnored", "the error of a flush is ignored",
       Faults("send at disk")},
      {"PoisonUnsaid", "a flush fails, and no other handle is told",
       Faults("send at disk")},
      {"DurableFirst", "the durable mark moves before the flush",
       Schedules("flush-two"), true},
      {"SettledUnflushed", "a flush does not take along what was acknowledged",
       Schedules("ack-as-flush-runs"), true},
      {"FlushBellUnrung", "the bell of the flush keeps its value",
       Schedules("flush-two"), true},
      {"FollowersSleepOn", "a flush leader wakes nobody",
       Schedules("flush-two"), true},
      {"FlushBellReadLate",
       "a follower reads the bell after it found the flush taken",
       Schedules("flush-two"), true},
      {"FlushSumsWrong", "a flush leader fills in a wrong checksum", Power(0),
       true},
      {"PendingStays", "a flush leader leaves records without their checksum",
       Power(0), true},
      {"BodiesUnflushed", "a flush leaves out large bodies", Power(5)},
      {"BodyNamesUnflushed", "a flush leaves out the names of large bodies",
       Power(5)},
      {"OnlyTailFlushed", "a flush leaves out all segments but the last one",
       Power(0)},
      {"FailedFlushBelieved", "after a failed flush the page cache is believed",
       Case("faults", "what a failed flush*"), true},
      {"GenerationIgnored", "the owner of a slot is taken for the owner before",
       Schedules("lock-slot-reused"), true},
      {"DeadLockStored",
       "the lock of a dead owner is taken by a store, not a compare-and-swap",
       Schedules("lock-three-killed"), true},
      {"ReleaseWakesNobody", "a lock is released, and nobody is woken",
       Schedules("lock-two"), true},
      {"WaiterSaysNothing", "a waiter sleeps and did not say so",
       Schedules("lock-two"), true},
      {"BellUnchanged", "a sleeper is woken, and its bell keeps its value",
       Schedules("wake"), true},
      {"SleeperNotWoken", "a bell changes, and its sleeper is not woken",
       Schedules("wake"), true},
      {"SleepUnannounced", "a receiver sleeps and did not say so",
       Schedules("wake"), true},
      {"OneSleeperRung", "only one of those who wait for a queue is woken",
       Schedules("wake-two"), true},
      {"SenderRingsNobody", "a sender rings no bell", Schedules("wake"), true},
      {"NoLookBeforeSleep",
       "a receiver does not look again once it said that it sleeps",
       Schedules("wake"), true},
      {"AckNotAwaited",
       "an acknowledgement to disk does not wait for the flush", Power(0),
       true},
      {"SyncAckUnlogged", "an acknowledgement to disk is not in the log",
       Power(0), true},
      {"SettledNotDirty",
       "settling does not say that there is something to log",
       Schedules("ack-as-flush-runs"), true},
      {"LeaseStored", "a redelivery whatever the word says by then",
       Schedules("ack-as-lease-ends"), true},
      {"FloorPastLeased", "the floor of a group moves past what is unsettled",
       Step("nack")},
      {"LeaseOutlivesOwner", "a lease outlives its owner", Step("receive")},
      {"GateNotAwaited",
       "a store is opened while another one opens or closes it",
       Schedules("create-store"), true},
      {"GenerationKept",
       "the next owner of a slot has the generation of the last one",
       Schedules("create-store"), true},
      {"ClosedUnflushed", "a clean close does not flush the log", Power(4)},
      {"GroupCleanEarly",
       "the flag of a group is cleared before its images are in the log",
       Schedules("ack-as-flush-runs"), true},
      {"CursorCleanLate",
       "the flag of a cursor is cleared though somebody settled meanwhile",
       Schedules("ack-as-flush-runs"), true},
      {"SeekNumberFirst", "a moved cursor has its number before its place",
       Step("seek")},
      {"DeadNotSettled", "a dead letter is not settled where it came from",
       Step("reject")},
      {"LogBehindIgnored", "what was appended behind a checkpoint is forgotten",
       Power(1)},
      {"EpochReused", "a recovery goes on under the epoch that it finds",
       Power(0), true},
      {"EndUnsaid",
       "a recovery does not say in its segment which end it accepted", Power(0),
       true},
  };
}

}  // namespace

std::span<const Row> Table() {
  static const auto* const rows = new std::vector<Row>(MakeTable());
  return *rows;
}

}  // namespace openmessaging::reference::planted
