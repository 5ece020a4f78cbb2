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
  BUG(kSequenceReused)        \
  BUG(kOffsetBeforeIndex)     \
  BUG(kIntentClearedFirst)    \
  BUG(kRollTailFirst)         \
  BUG(kRollUnsaid)            \
  BUG(kDecidedTwice)          \
  BUG(kPayloadUnsummed)       \
  BUG(kAppendLockLeftEarly)   \
  BUG(kFloorUnsaid)           \
  BUG(kReserveForMessages)    \
  BUG(kUnitSplit)             \
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
  BUG(kDeadTakenForAlive)     \
  BUG(kDeadLockStored)        \
  BUG(kLivingRobbed)          \
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
  BUG(kAsyncAckNotAwaited)    \
  BUG(kStaleAckTaken)         \
  BUG(kAckStored)             \
  BUG(kLeaseStored)           \
  BUG(kLeaseNotWatched)       \
  BUG(kFloorPastLeased)       \
  BUG(kUndurableHandedOut)    \
  BUG(kExceptionUncounted)    \
  BUG(kAttemptsUnlogged)      \
  BUG(kLeaseOutlivesOwner)    \
  BUG(kLifeIgnored)           \
  BUG(kExpiredDelivered)      \
  BUG(kKeyNotHeld)            \
  BUG(kNoLookAgain)           \
  BUG(kAsideForgotten)        \
  BUG(kExceptionsUntold)      \
  BUG(kAttemptsUntold)        \
  BUG(kDeadLetterRestored)    \
  BUG(kGateNotAwaited)        \
  BUG(kGenerationKept)        \
  BUG(kOldBootBelieved)       \
  BUG(kPoisonForgotten)       \
  BUG(kClosedUnflushed)       \
  BUG(kClosedUnlogged)        \
  BUG(kForkKeepsLocks)        \
  BUG(kGroupCleanEarly)       \
  BUG(kCursorCleanLate)       \
  BUG(kSeekNumberFirst)       \
  BUG(kSeekUnsaid)            \
  BUG(kDeadNotSettled)        \
  BUG(kCheckpointUnverified)  \
  BUG(kOneCheckpoint)         \
  BUG(kDelaysNotKept)         \
  BUG(kOldCheckpointTaken)    \
  BUG(kLogBehindIgnored)      \
  BUG(kEpochReused)           \
  BUG(kEndUnsaid)             \
  BUG(kRecoveredUnflushed)    \
  BUG(kEpochKept)             \
  BUG(kDeadNotReplayed)       \
  BUG(kSettledNotReplayed)    \
  BUG(kCancelNotReplayed)     \
  BUG(kDueNotReplayed)        \
  BUG(kOutcomeNotReplayed)    \
  BUG(kOldImageWins)          \
  BUG(kIdNotReplayed)         \
  BUG(kSeekNotReplayed)       \
  BUG(kOnceAgain)             \
  BUG(kMovedUnburied)         \
  BUG(kPayloadUnverified)     \
  BUG(kPendingBelieved)       \
  BUG(kNoWitness)             \
  BUG(kSupersededKept)        \
  BUG(kBodyUnverified)        \
  BUG(kHalfUnitAccepted)      \
  BUG(kStrangerAccepted)      \
  BUG(kTornTailAccepted)      \
  BUG(kHoleUntold)            \
  BUG(kSegmentUnflushed)      \
  BUG(kSegmentNameUnflushed)  \
  BUG(kNoReserve)             \
  BUG(kLimitIgnored)          \
  BUG(kNeededRetired)         \
  BUG(kRetiredUnflushed)      \
  BUG(kDelaysNotRenewed)      \
  BUG(kPreparedNotRenewed)    \
  BUG(kIdsNotRenewed)         \
  BUG(kCatalogNotRenewed)     \
  BUG(kUnreadRetired)         \
  BUG(kSharedBodyRemoved)     \
  BUG(kPlaceUnchecked)        \
  BUG(kDueEarly)              \
  BUG(kDueStaysDelayed)       \
  BUG(kCancelledBroughtIn)    \
  BUG(kCheckedTwice)          \
  BUG(kDecisionNotAwaited)    \
  BUG(kHeldUnverified)        \
  BUG(kBodyUnflushed)         \
  BUG(kBodyLeftBehind)        \
  BUG(kQueueMadeTwice)        \
  BUG(kChangeUntold)          \
  BUG(kNumberReused)          \
  BUG(kQueueNotAwaited)       \
  BUG(kAloneUnasked)          \
  BUG(kAloneUnseen)           \
  BUG(kShortWriteTaken)       \
  BUG(kFlushTriedAgain)       \
  BUG(kWritableByOthers)

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
