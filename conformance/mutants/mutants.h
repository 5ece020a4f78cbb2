// SPDX-License-Identifier: Apache-2.0
//
// Drivers that are wrong on purpose, one fault each, to see that the suite
// finds it: oms:mutant://name?mutant=loses-last-of-batch is the driver "memory"
// with that fault. Each has the requirement whose test must fail.

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANTS_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANTS_H_

#include <array>
#include <cstddef>
#include <string_view>

namespace openmessaging::conformance {

// X(identifier, name, requirement that breaks, what it does)
#define OMS_MUTANTS(X)                                                         \
  X(kNone, "none", "", "nothing wrong: the wrapper alone")                     \
  X(kLosesLastOfBatch, "loses-last-of-batch", "OMS-PROD-003",                  \
    "the last message of a batch is answered and not stored")                  \
  X(kReversesBatch, "reverses-batch", "OMS-ORDER-007",                         \
    "a batch is stored from its end")                                          \
  X(kStopsBatchAtError, "stops-batch-at-error", "OMS-PROD-046",                \
    "what follows a wrong message of a batch is not stored")                   \
  X(kOneIdForAll, "one-id-for-all", "OMS-PROD-001",                            \
    "every send returns the same id")                                          \
  X(kOtherIdAtReceiver, "other-id-at-receiver", "OMS-PROD-036",                \
    "send returns an id that the receiver never sees")                         \
  X(kSwallowsMissingQueue, "swallows-missing-queue", "OMS-PROD-032",           \
    "a send to a missing queue succeeds")                                      \
  X(kTruncatesAtNul, "truncates-at-nul", "OMS-CONS-030",                       \
    "a body ends at its first NUL byte")                                       \
  X(kRepairsUtf8, "repairs-utf8", "OMS-CONS-030",                              \
    "bytes over 127 of a body become question marks")                          \
  X(kDropsInt32Properties, "drops-int32-properties", "OMS-MSG-022",            \
    "properties of type int32 are left out")                                   \
  X(kPropertiesAsText, "properties-as-text", "OMS-MSG-022",                    \
    "numbers in properties arrive as strings")                                 \
  X(kDropsCorrelationId, "drops-correlation-id", "OMS-MSG-020",                \
    "the correlation id is left out")                                          \
  X(kDropsTracestate, "drops-tracestate", "OMS-MSG-020",                       \
    "the trace state is left out")                                             \
  X(kDeliversTwice, "delivers-twice", "OMS-CONS-005",                          \
    "every seventh message is stored twice")                                   \
  X(kRedeliversAfterAck, "redelivers-after-ack", "OMS-CONS-008",               \
    "an acknowledged message comes once more")                                 \
  X(kAcksNothing, "acks-nothing", "OMS-CONS-008",                              \
    "an ack succeeds and is forgotten")                                        \
  X(kAcksWrongReceipt, "acks-wrong-receipt", "OMS-SET-008",                    \
    "an ack settles the oldest delivery in place of its own")                  \
  X(kAckIsCumulative, "ack-is-cumulative", "OMS-SET-008",                      \
    "an ack settles all that came before")                                     \
  X(kAckUpToIsOne, "ack-up-to-is-one", "OMS-SET-009",                          \
    "a cumulative ack settles one message")                                    \
  X(kNackAcks, "nack-acks", "OMS-SET-002", "a nack acknowledges")              \
  X(kIgnoresNackDelay, "ignores-nack-delay", "OMS-SET-003",                    \
    "a nack with a delay has none")                                            \
  X(kRejectDrops, "reject-drops", "OMS-SET-006",                               \
    "a rejected message is gone")                                              \
  X(kOffByOneMaxDeliveries, "off-by-one-max-deliveries", "OMS-SET-025",        \
    "a message is delivered once too often before it is a dead letter")        \
  X(kStaleReceiptSettles, "stale-receipt-settles", "OMS-SET-018",              \
    "a receipt of an earlier delivery answers success")                        \
  X(kGarbageReceiptSettles, "garbage-receipt-settles", "OMS-CONS-009",         \
    "garbage for a receipt answers success")                                   \
  X(kIgnoresExtend, "ignores-extend", "OMS-SET-012",                           \
    "an extension succeeds and is forgotten")                                  \
  X(kLeaksOnClose, "leaks-on-close", "OMS-SET-001",                            \
    "a consumer that ends gives nothing back")                                 \
  X(kNackDelayUnsupportedAfterDoing, "unsupported-after-doing", "OMS-SET-003", \
    "a nack with a delay is done and answers 1600")                            \
  X(kHidesNackDelay, "hides-nack-delay", "OMS-CAP-010",                        \
    "nack-delay is declared unsupported although it works")                    \
  X(kClaimsLargeBodies, "claims-large-bodies", "OMS-CAP-005",                  \
    "bodies over 1 MiB are refused although more is declared")                 \
  X(kChangesCapabilities, "changes-capabilities", "OMS-CAP-002",               \
    "each connection declares something else")                                 \
  X(kAcceptsAnyAttribute, "accepts-any-attribute", "OMS-DRV-001",              \
    "an unknown attribute is accepted")                                        \
  X(kReceiveReturnsEarly, "receive-returns-early", "OMS-DRV-022",              \
    "a receive does not wait")                                                 \
  X(kReceiveWaitsLong, "receive-waits-long", "OMS-CONS-003",                   \
    "a receive waits three seconds longer than asked")                         \
  X(kIgnoresInterrupt, "ignores-interrupt", "OMS-CONS-034",                    \
    "a receive in progress is not interrupted")                                \
  X(kReceiveFillsBatch, "receive-fills-batch", "OMS-CONS-006",                 \
    "a batch waits until it is full")                                          \
  X(kUnbindKeeps, "unbind-keeps", "OMS-CONS-007",                              \
    "unbinding succeeds and nothing is given back")                            \
  X(kBindMissingHangs, "bind-missing-hangs", "OMS-CONS-032",                   \
    "binding a missing queue waits for it")                                    \
  X(kMixesUpGroups, "mixes-up-groups", "OMS-GRP-007",                          \
    "all groups are one")                                                      \
  X(kGroupForEachMember, "group-for-each-member", "OMS-GRP-006",               \
    "each member has a group of its own")                                      \
  X(kBroadcastShares, "broadcast-shares", "OMS-GRP-008",                       \
    "broadcast consumers share one group")                                     \
  X(kIgnoresExclusive, "ignores-exclusive", "OMS-GRP-016",                     \
    "an exclusive consumer is a plain one")                                    \
  X(kIgnoresOrdered, "ignores-ordered", "OMS-ORDER-001",                       \
    "an ordered consumer is a plain one")                                      \
  X(kIgnoresStartLatest, "ignores-start-latest", "OMS-GRP-014",                \
    "a new group that starts at latest gets what was before")                  \
  X(kStartsAtLatest, "starts-at-latest", "OMS-GRP-013",                        \
    "every new group starts at latest")                                        \
  X(kRandomPartition, "random-partition", "OMS-ORDER-008",                     \
    "the partition does not depend on the key")                                \
  X(kOnePartition, "one-partition", "OMS-ORDER-012",                           \
    "every key goes to the first partition")                                   \
  X(kWrapsPartition, "wraps-partition", "OMS-ORDER-013",                       \
    "a partition that there is not is taken modulo")                           \
  X(kIgnoresPartition, "ignores-partition", "OMS-ORDER-010",                   \
    "the partition that was asked for is ignored")                             \
  X(kIgnoresDelay, "ignores-delay", "OMS-TIME-001",                            \
    "a delayed message is delivered at once")                                  \
  X(kDelayInSeconds, "delay-in-seconds", "OMS-TIME-008",                       \
    "a delay is rounded up to whole seconds")                                  \
  X(kCancelForgets, "cancel-forgets", "OMS-TIME-005",                          \
    "cancelling succeeds and cancels nothing")                                 \
  X(kIgnoresExpiry, "ignores-expiry", "OMS-TIME-006",                          \
    "a message never expires")                                                 \
  X(kIgnoresPriority, "ignores-priority", "OMS-PRIO-001",                      \
    "all priorities are one")                                                  \
  X(kTwoPriorities, "two-priorities", "OMS-PRIO-003",                          \
    "there are two priorities; ten are declared")                              \
  X(kIgnoresDeduplication, "ignores-deduplication", "OMS-DEDUP-001",           \
    "a deduplication id is left out")                                          \
  X(kIgnoresFilter, "ignores-filter", "OMS-CONS-025",                          \
    "a consumer with a filter gets everything")                                \
  X(kAcceptsBadFilter, "accepts-bad-filter", "OMS-FILTER-017",                 \
    "a filter that is no condition counts as none")                            \
  X(kLowersFilter, "lowers-filter", "OMS-FILTER-015",                          \
    "names in a filter are made lower case")                                   \
  X(kStreamExclusive, "stream-exclusive", "OMS-STRM-012",                      \
    "reading from an offset begins behind it")                                 \
  X(kStreamTimeIsEarliest, "stream-time-is-earliest", "OMS-STRM-014",          \
    "reading from a time begins at the oldest message")                        \
  X(kSeekForgets, "seek-forgets", "OMS-GRP-002",                               \
    "seeking a group succeeds and moves nothing")                              \
  X(kHidesStopped, "hides-stopped", "OMS-STAT-003",                            \
    "a group that is stopped is not told as such")                             \
  X(kClaimsStopped, "claims-stopped", "OMS-STAT-003",                          \
    "a group is told as stopped whether it is or not")                         \
  X(kWrongStats, "wrong-stats", "OMS-STAT-002",                                \
    "the depth counts what was settled")                                       \
  X(kCreatesTwice, "creates-twice", "OMS-RES-001",                             \
    "creating a queue that there is succeeds")                                 \
  X(kDeletesNothing, "deletes-nothing", "OMS-RES-003",                         \
    "a deleted queue still takes messages")                                    \
  X(kListsLess, "lists-less", "OMS-MAP-012",                                   \
    "the last queue is missing in lists")                                      \
  X(kForgetsOptions, "forgets-options", "OMS-RES-008",                         \
    "the redelivery delay of a new queue is left out")                         \
  X(kCountsByTwo, "counts-by-two", "OMS-SET-013",                              \
    "the delivery count grows by two")                                         \
  X(kAlwaysFirstDelivery, "always-first-delivery", "OMS-SET-013",              \
    "the delivery count is always 1")                                          \
  X(kStoreTimeInSeconds, "store-time-in-seconds", "OMS-MSG-026",               \
    "the store time is in seconds")                                            \
  X(kEmptyReceipt, "receipts-without-source", "OMS-DRV-013",                   \
    "all receipts have one source")                                            \
  X(kCompletesLateNever, "never-completes-async", "OMS-DRV-004",               \
    "what nobody waits for never completes")                                   \
  X(kCloseDropsAsync, "close-leaves-sends", "OMS-DRV-010",                     \
    "close leaves sends without an outcome")                                   \
  X(kFailsAfterStoring, "fails-after-storing", "OMS-ERR-006",                  \
    "every fifth message is stored and said not to be")                        \
  X(kWaitsForNobody, "waits-for-nobody", "OMS-DRV-007",                        \
    "a send waits for the broker where no caller does")                        \
  X(kDiesWhenIdle, "dies-when-idle", "OMS-FAIL-009",                           \
    "a producer that paused fails to send")                                    \
  X(kClaimsStream, "claims-stream", "OMS-CAP-009",                             \
    "streams are declared and there are none")                                 \
  X(kClaimsTls, "claims-tls", "",                                              \
    "a capability is declared of which no test is run")                        \
  X(kClaimsDurable, "claims-durable", "",                                      \
    "durable is declared, and nobody can restart the broker")                  \
  X(kDeliversPrepared, "delivers-prepared", "OMS-TX-001",                      \
    "a prepared message is delivered at once")                                 \
  X(kCommitsTwice, "commits-twice", "OMS-TX-001",                              \
    "a committed message is delivered twice")                                  \
  X(kRollbackCommits, "rollback-commits", "OMS-TX-002",                        \
    "what was rolled back is delivered")                                       \
  X(kLastDecisionWins, "last-decision-wins", "OMS-TX-003",                     \
    "the opposite decision answers success")                                   \
  X(kNeverChecks, "never-checks", "OMS-TX-004",                                \
    "no check listener is ever asked")                                         \
  X(kChecksOnce, "checks-once", "OMS-TX-005",                                  \
    "a check listener that does not know is not asked again")                  \
  X(kChecksOwnOnly, "checks-own-only", "OMS-TX-006",                           \
    "only the connection that prepared a message is asked")                    \
  X(kChecksForEver, "checks-for-ever", "OMS-TX-007",                           \
    "the largest number of checks does not count")                             \
  X(kOtherTransactionId, "other-transaction-id", "OMS-TX-008",                 \
    "the receiver sees another transaction id")                                \
  X(kHalfTransaction, "half-transaction", "OMS-TX-009",                        \
    "the sends of a transaction stay although its acks failed")                \
  X(kTransactionForgetsAcks, "transaction-forgets-acks", "OMS-TX-009",         \
    "a transaction that sends acknowledges nothing")                           \
  X(kTransactionIgnoresStale, "transaction-ignores-stale", "OMS-TX-013",       \
    "a transaction sends although its message was given to another")           \
  X(kKeepsRoute, "keeps-route", "OMS-ROUTE-001",                               \
    "a deleted route goes on copying")                                         \
  X(kCopiesAnew, "copies-anew", "OMS-ROUTE-002",                               \
    "a copy is a new message with an id of its own")                           \
  X(kRoutesPrepared, "routes-prepared", "OMS-ROUTE-002",                       \
    "a prepared message is copied before its commit")                          \
  X(kRoutesOneStep, "routes-one-step", "OMS-ROUTE-003",                        \
    "a copy follows no further route")                                         \
  X(kAcceptsBadRoute, "accepts-bad-route", "OMS-ROUTE-004",                    \
    "a route that cannot be answers success")                                  \
  X(kDeletesTarget, "deletes-target", "OMS-ROUTE-005",                         \
    "a queue is deleted with the routes that end there")                       \
  X(kRoutesBeforeDue, "routes-before-due", "OMS-ROUTE-006",                    \
    "a delayed message is copied when it is sent")                             \
  X(kRoutesDuplicates, "routes-duplicates", "OMS-ROUTE-007",                   \
    "a duplicate is copied")                                                   \
  X(kForgetsRouteFilter, "forgets-route-filter", "OMS-ROUTE-010",              \
    "the filter of a route is left out")                                       \
  X(kKeepsNamespace, "keeps-namespace", "OMS-NS-001",                          \
    "a deleted namespace is still listed")                                     \
  X(kNamespaceTwice, "namespace-twice", "OMS-NS-002",                          \
    "creating a namespace that there is succeeds")                             \
  X(kMixesNamespaces, "mixes-namespaces", "OMS-NS-003",                        \
    "queues of one name share their messages over namespaces")                 \
  X(kForgetsUpdate, "forgets-update", "OMS-RES-009",                           \
    "an update of a queue succeeds and changes nothing")                       \
  X(kUpdateResets, "update-resets", "OMS-RES-009",                             \
    "an update sets what it does not name to its default")                     \
  X(kHalfUpdate, "half-update", "OMS-RES-010",                                 \
    "of an update that is refused a part is done")                             \
  X(kIgnoresQueueFilter, "ignores-queue-filter", "OMS-FILTER-019",             \
    "a queue with a filter delivers everything")                               \
  X(kKeepsQueueFilter, "keeps-queue-filter", "OMS-FILTER-020",                 \
    "a filter of a queue cannot be taken away")                                \
  X(kUnbindIsSilent, "unbind-is-silent", "OMS-DRV-012",                        \
    "sources that unbinding took away are not announced")                      \
  X(kHidesReplyQueues, "hides-reply-queues", "OMS-REQ-008",                    \
    "queues of requesters are missing in lists")                               \
  X(kDropsUnderscores, "drops-underscores", "OMS-CE-005",                      \
    "properties with an underscore in their name are left out")                \
  X(kCancelsStored, "cancels-stored", "OMS-FUT-010",                           \
    "every third asynchronous send is stored and said to be cancelled")        \
  X(kStartsWithoutBroker, "starts-without-broker", "OMS-DRV-021",              \
    "a producer starts although no broker is there")

enum class Mutant : size_t {
#define OMS_MUTANT_ENTRY(identifier, name, requirement, what) identifier,
  OMS_MUTANTS(OMS_MUTANT_ENTRY)
#undef OMS_MUTANT_ENTRY
};

struct MutantInfo {
  Mutant mutant;
  std::string_view name;
  std::string_view requirement;
  std::string_view what;
};

inline constexpr MutantInfo kMutants[] = {
#define OMS_MUTANT_ENTRY(identifier, name, requirement, what) \
  {Mutant::identifier, name, requirement, what},
    OMS_MUTANTS(OMS_MUTANT_ENTRY)
#undef OMS_MUTANT_ENTRY
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANTS_H_
