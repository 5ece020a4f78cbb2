// SPDX-License-Identifier: Apache-2.0
//
// What every machine that looks for faults has in common: how long it runs,
// the seed of its run, and its rows of the table that a run ends with.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_GOALS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_GOALS_H_

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace openmessaging::reference {

// Returns: whether this is the long form of a run (OMS_RELIABILITY=long).
bool IsLongRun();

// How often a machine does something in the one form and in the other.
struct Rounds {
  uint64_t quick = 0;
  uint64_t thorough = 0;
};

// Returns: the number for this run, at least one. Under the sanitizers it is a
// tenth of it.
uint64_t For(const Rounds& rounds);

// Returns: the seed of this run, printed once: OMS_TEST_SEED, or a new one in the
// long form and always the same in the quick one.
uint64_t RunSeed();

// Random numbers from the seed of the run; `stream` tells the users apart.
std::mt19937_64 RandomOfRun(uint64_t stream);

// One row of the table.
struct GoalRow {
  std::string_view machine{};  // power, step, damage, ...
  std::string_view goal{};     // "power-loss states, none loses a message"
  std::string wanted{};        // "100,000"
  std::string reached{};       // "104,211"
  bool met = false;
};

// Prints the row, and adds it to the file that OMS_RELIABILITY_TABLE names,
// where it does: one line, fields parted by tabs, the seed last.
void Report(const GoalRow& row);

// Returns: the number with commas, 1,234,567.
std::string WithCommas(uint64_t number);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_GOALS_H_
