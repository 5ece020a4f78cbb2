// SPDX-License-Identifier: Apache-2.0
//
// The bugs that can be planted in the engine, one a line.
// What each does wrong, and which run finds it, is in table.cc.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_BUGS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_BUGS_H_

#include <cstdint>

#define OMS_PLANTED_BUGS(BUG) \
  BUG(kHeirErasesWhole)       \
  BUG(kHeirFinishesNothing)   \
  BUG(kCutRollStays)          \
  BUG(kCommitWordFirst)       \
  BUG(kClaimFromFront)        \
  BUG(kIntentUnsaid)          \
  BUG(kOffsetBeforeIndex)     \
  BUG(kIntentClearedFirst)    \
  BUG(kRollTailFirst)         \
  BUG(kRollUnsaid)            \
  BUG(kDecidedTwice)          \
  BUG(kPayloadUnsummed)       \
  BUG(kAppendLockLeftEarly)   \
  BUG(kDuplicateStored)       \
  BUG(kDeadUnfinished)        \
  BUG(kDelaysUnmended)        \
  BUG(kFlushDropped)          \
  BUG(kFlushErrorIgnored)     \
  BUG(kPoisonUnsaid)          \
  BUG(kDurableFirst)          \
  BUG(kSettledUnflushed)      \
  BUG(kFlushBellUnrung)       \
  BUG(kFollowersSleepOn)      \
  BUG(kFlushBellReadLate)     \
  BUG(kFlushSumsWrong)        \
  BUG(kPendingStays)          \
  BUG(kBodiesUnflushed)       \
  BUG(kBodyNamesUnflushed)    \
  BUG(kOnlyTailFlushed)       \
  BUG(kFailedFlushBelieved)   \
  BUG(kGenerationIgnored)     \
  BUG(kDeadLockStored)        \
  BUG(kReleaseWakesNobody)    \
  BUG(kWaiterSaysNothing)     \
  BUG(kBellUnchanged)         \
  BUG(kSleeperNotWoken)       \
  BUG(kSleepUnannounced)      \
  BUG(kOneSleeperRung)        \
  BUG(kSenderRingsNobody)     \
  BUG(kNoLookBeforeSleep)     \
  BUG(kAckNotAwaited)         \
  BUG(kSyncAckUnlogged)       \
  BUG(kSettledNotDirty)       \
  BUG(kLeaseStored)           \
  BUG(kFloorPastLeased)       \
  BUG(kLeaseOutlivesOwner)    \
  BUG(kGateNotAwaited)        \
  BUG(kGenerationKept)        \
  BUG(kClosedUnflushed)       \
  BUG(kGroupCleanEarly)       \
  BUG(kCursorCleanLate)       \
  BUG(kSeekNumberFirst)       \
  BUG(kDeadNotSettled)        \
  BUG(kLogBehindIgnored)      \
  BUG(kEpochReused)           \
  BUG(kEndUnsaid)

namespace openmessaging::reference {

enum class PlantedBug : uint8_t {
  kNone,
#define OMS_PLANTED_NAME(bug) bug,
  OMS_PLANTED_BUGS(OMS_PLANTED_NAME)
#undef OMS_PLANTED_NAME
};

// The one that is planted in this process.
extern const PlantedBug planted_bug;

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_PLANTED_BUGS_H_
