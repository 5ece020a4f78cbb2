// SPDX-License-Identifier: Apache-2.0
//
// What a process is stepped through.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_STEP_OPERATIONS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_STEP_OPERATIONS_H_

#include <span>
#include <string_view>
#include <vector>

#include "step/shop.h"

namespace openmessaging::reference::step {

// What the operation finds.
enum class Before {
  kPeer,     // A furnished shop, and the process that made it lives on.
  kLeft,     // That one was killed.
  kNoCtl,    // And ctl is gone.
  kClosed,   // It closed the store, as the last one.
  kNothing,  // No directory.
};

// One difference that the operation makes in what is seen (sight.h): without it
// the line has not the word, with it it has; or the other way round.
struct Difference {
  std::string_view line{};
  std::string_view word{};
  bool comes = true;
};

struct Operation {
  std::string_view name{};
  Before before = Before::kPeer;
  // Whether it is whole or absent as one; else each word of what is seen.
  bool atomic = true;
  // In the process that is stepped: first this, unseen, then the act.
  void (*prepare)(Shop& shop) = nullptr;
  void (*act)(Shop& shop) = nullptr;
  // All that it changes of what is seen, unless it may differ more.
  std::vector<Difference> differences{};
  bool loose = false;
  // It takes away what everybody settled: in the log that is gone with one
  // record, and for the living little by little.
  bool retires = false;
};

// What most of them begin with: an open store in use, and one order taken.
void Work(Shop& shop);

// Those of store_operations.cc.
void AddStoreOperations(std::vector<Operation>& all);

// All of them.
std::span<const Operation> Operations();
// Returns: nullptr where there is none of that name.
const Operation* FindOperation(std::string_view name);

}  // namespace openmessaging::reference::step
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_STEP_OPERATIONS_H_
