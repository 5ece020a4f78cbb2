// SPDX-License-Identifier: Apache-2.0
//
// A small store that has something of everything, as it lies on a disk: closed,
// left by a crash, and at moments before.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_SAMPLE_STORE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_SAMPLE_STORE_H_

#include <map>
#include <string>
#include <vector>

#include "damage/image.h"
#include "openmessaging/message.h"

namespace openmessaging::reference::damage {

// Returns: everything that a sender gave a message, as text. What its life
// added (where it lies, how it died) is not in it.
std::string ContentOf(const Message& message);

struct SampleStore {
  Image closed{};   // After a clean close.
  Image crashed{};  // While it was used, later.
  // As it was at moments before `closed`: what a stale page shows.
  std::vector<Image> earlier{};
  // Of other messages, with the same options.
  Image foreign{};
  // What was ever sent, by its body, which is of one message alone.
  std::map<std::string, std::string> sent{};
  // Prepared and not decided.
  std::vector<std::string> undecided{};
};

// Makes it, in a temporary directory that goes again.
SampleStore MakeSampleStore();

}  // namespace openmessaging::reference::damage
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_SAMPLE_STORE_H_
