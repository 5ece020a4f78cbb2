// SPDX-License-Identifier: Apache-2.0
//
// Disk is the storage that the processes of a World share, and OpenMachine what
// else the engine asks of the machine there.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_DISK_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_DISK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "env/environment.h"
#include "schedules/world.h"

namespace openmessaging::reference::schedules {

// Files in Memory, whose mappings are the same bytes for all. Every call that
// another process could notice is a Point. What a flush has written is kept
// beside it, as it was when the flush began.
class Disk {
 public:
  struct File {
    uint32_t number = 0;
    uint64_t size = 0;
    std::string flushed{};
  };

  // `flushes`: whether it is one that a power loss could change.
  explicit Disk(bool flushes) : flushes_(flushes) {}

  // Returns: the storage as one process sees it. Its byte locks end with it.
  std::shared_ptr<Storage> Of(uint32_t process);

  // Frees the byte locks of a process.
  void FreeLocks(uint32_t process);

  // Returns: whether `bytes` is somewhere in what was flushed of the log.
  bool HasFlushed(std::string_view bytes) const;

  // Makes a file of these bytes.
  void Put(const std::string& name, std::string_view bytes);

  bool flushes() const { return flushes_; }
  std::map<std::string, std::shared_ptr<File>, std::less<>>& files() {
    return files_;
  }
  struct Holder {
    const void* object = nullptr;
    uint32_t process = 0;
  };
  std::map<uint64_t, Holder>& locks() { return locks_; }
  std::shared_ptr<File> NewFile();

 private:
  const bool flushes_;
  std::map<std::string, std::shared_ptr<File>, std::less<>> files_;
  std::map<uint64_t, Holder> locks_;
};

// Clocks that stand still until everybody sleeps, sleeping in the World, the
// same random numbers in each run.
Environment* OpenMachine();

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_DISK_H_
