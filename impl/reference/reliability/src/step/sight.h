// SPDX-License-Identifier: Apache-2.0
//
// Sight is what somebody finds who goes on where another process was killed.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SIGHT_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SIGHT_H_

#include <map>
#include <string>
#include <string_view>

#include "step/operations.h"
#include "step/shop.h"

namespace openmessaging::reference::step {

// By name: a queue is "<offset>=<body> ..." of all that is stored; "billing" is
// "<body>x<deliveries> ..." of what that group got for the first time, in its
// order, "again" what it got once more, and "later" what came some hours
// behind; "buried" the same of the dead letters; "held" what became of the
// message that the peer had in its hands; "undecided" how many prepared
// messages there are, "asked" what was,
// "delayed" how many wait; "queues", "routes" and "groups" which there are.
using Sight = std::map<std::string, std::string>;

std::string ToLine(const Sight& sight);
Sight FromLine(const std::string& line);

// Goes on in the shop: sends, receives, settles, looks at everything, and lets
// another handle look, which must find the same. In a hurry (shop.h), so that
// no time passes but what is asked for: of the dead everything is there within
// 200 ms (I7), or it says "!late". Errors: throws Wrong.
Sight GoOn(Shop& shop);
// Looks at the queues alone.
Sight SeeStored(Shop& shop);

// Returns: what of `found` is neither before nor behind the operation, or both;
// empty: it is one of them. `behind`: whether it was seen behind before, where
// it must stay; it is set.
std::string Compare(const Operation& operation, const Sight& before,
                    const Sight& after, const Sight& found, bool& behind);
// As Compare, of the queues alone.
std::string CompareStored(const Operation& operation, const Sight& before,
                          const Sight& after, const Sight& found);
// Returns: where the log alone, `stored`, says something else than what was
// `found`, to which an order was added then.
std::string CompareWithLog(const Operation& operation, const Sight& found,
                           const Sight& stored);
// Returns: what of the difference of the two is not what the operation says.
std::string CompareEnds(const Operation& operation, const Sight& before,
                        const Sight& after);

}  // namespace openmessaging::reference::step
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SIGHT_H_
