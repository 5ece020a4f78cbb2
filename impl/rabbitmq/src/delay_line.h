// SPDX-License-Identifier: Apache-2.0
//
// How a message waits at a broker that knows no delays: queues whose messages
// live for a fixed time and go on to the next one when that is over.

#ifndef OPENMESSAGING_RABBITMQ_DELAY_LINE_H_
#define OPENMESSAGING_RABBITMQ_DELAY_LINE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "channel.h"
#include "config.h"
#include "link.h"

namespace openmessaging::rabbitmq {

// A delay is a number of units in binary. For each of its bits there is a
// level, an exchange and a queue of one name: a message whose bit is set waits
// in the queue, in which all wait equally long, so that none stands behind one
// that waits longer; one whose bit is not set goes straight to the next lower
// level. The routing key has the bits, highest first, and where the message
// goes at last: "0.0.1...1.to.<digest>".
inline constexpr int kDelayLevels = 28;
inline constexpr std::chrono::milliseconds kDelayUnit{8};
inline constexpr std::chrono::milliseconds kMaxDelay =
    kDelayUnit * ((int64_t{1} << kDelayLevels) - 1);

// What has waited comes to this topic exchange, to which queues are bound with
// DelayedBinding.
inline constexpr std::string_view kDelayedExchange = "oms.delayed";
// Where it goes when its queue has been deleted: a queue that forgets at once.
// Otherwise it would be tried again for ever, and stand in the way of others.
inline constexpr std::string_view kLostExchange = "oms.delayed.lost";

enum class DelayedTo {
  kAll,    // All queues of that name: every group's. The message is new.
  kQueue,  // The one queue of the broker of that name. It was given back.
};

// Returns: how many units are at least `delay`, which is kMaxDelay at most.
int64_t DelayUnits(std::chrono::milliseconds delay);

// Returns: the highest level that has a bit in `units`, which is not 0.
int TopDelayLevel(int64_t units);

// Returns: the name of the exchange and the queue of a level. Levels of the two
// kinds of queues do not mix: a declaration with other arguments is refused.
std::string DelayLevelName(QueueType type, int level);

std::string DelayKey(int64_t units, DelayedTo to, std::string_view name);
std::string DelayedBinding(DelayedTo to, std::string_view name);

// Makes the levels [first, last], where they are not there yet; the lower ones
// are. Whatever is published on `channel` afterwards finds them.
// `on_answer`: called for each of the calls that the return value counts.
//
// Threads: the link's.
size_t MakeDelayLevels(Link& link, const Channel& channel, QueueType type,
                       int first, int last,
                       const std::function<void()>& on_answer);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_DELAY_LINE_H_
