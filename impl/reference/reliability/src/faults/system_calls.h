// SPDX-License-Identifier: Apache-2.0
//
// The system calls of a store, as the program's own definitions see them: the
// machine's calls go through system_calls.cc, which counts those on the files
// below one directory and lets the n-th of them fail.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_SYSTEM_CALLS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_SYSTEM_CALLS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::reference::faults {

// What shall fail.
struct CallFault {
  static constexpr int kShort = -1;  // Instead of an errno: half of it is done.

  int64_t call = -1;      // From 0 on; -1: none.
  int error = 0;          // An errno, or kShort.
  bool for_good = false;  // Every call from there on; EINTR: three of them.
};

// Which calls were made.
struct CallReport {
  int64_t calls = 0;
  int64_t failed = 0;
  std::vector<std::string_view> names{};  // Of all, in their order.
  // The first that failed: its name, and the file below the directory.
  std::string name{};
  std::string file{};
  bool flush = false;      // One that failed was a flush,
  bool log_flush = false;  // and one of those was of a segment of the log.
  // One that failed opened a directory, which may have been for its flush.
  bool directory = false;
};

// Whether a call moves bytes, and may move fewer than it was asked for.
bool Transfers(std::string_view name);

// Calls on what lies below `directory` are the store's from now on. Flushes do
// nothing, which only a power loss could tell.
void Watch(std::string_view directory);

// Counts calls from now on, of every thread, and fails what `fault` says.
void Arm(const CallFault& fault);
// Counts no more. Returns: what happened since Arm.
CallReport Disarm();

// Called before each flush of a file or directory of the store, with the
// file's name; its result is the flush's errno, 0: none. Empty: no hook.
void OnFlush(std::function<int(std::string_view file)> hook);

// Returns: how many descriptors of the store this process has open, and how
// many mappings.
int OpenDescriptors();
int OpenMappings();

// Returns: the name of an errno, or "short".
std::string_view NameOfError(int error);

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_SYSTEM_CALLS_H_
