// SPDX-License-Identifier: Apache-2.0
//
// What a process of the storm does until it is killed.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WORKER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WORKER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "kill/ledger.h"

namespace openmessaging::reference::kill {

// Makes the queues of the storm.
void MakeStormQueues(const std::string& url);

// Sends, receives, settles and moves by turns, which `seed` decides, for ever;
// notes it in the ledger.
void WorkForEver(Ledger& ledger, const std::string& url, uint32_t life,
                 uint64_t seed);

// Receives and settles all that is left.
void ReceiveTheRest(Ledger& ledger, const std::string& url);

// Runs `work` in a fork of this process, which has no store open; it dies with
// it, and not by an exception. Returns: its process.
pid_t Fork(const std::function<void()>& work);
// Kills it and waits until it is gone, with its locks.
void KillAndWait(pid_t pid);

}  // namespace openmessaging::reference::kill
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WORKER_H_
