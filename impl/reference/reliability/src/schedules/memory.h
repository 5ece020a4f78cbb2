// SPDX-License-Identifier: Apache-2.0
//
// Memory holds all of a small world, so that it can be put back to an earlier
// moment by one copy: what is allocated while the world runs, and the bytes of
// its files.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_MEMORY_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace openmessaging::reference::schedules {

// While it is on, operator new takes from here and operator delete gives
// nothing back: the next Restore does. Addresses are the same after a Restore
// and, since the area is placed by hand, in each run of the program.
//
// Threads: the program has one.
class Memory {
 public:
  static constexpr size_t kFileBytes = size_t{64} << 20;  // Addresses of one.
  static constexpr uint32_t kMaxFiles = 256;

  static Memory& Get();

  // Static, because they are asked before there is one.
  static bool on() { return on_; }
  static void set_on(bool on) { on_ = on; }
  static bool Owns(const void* address);

  void* Allocate(size_t bytes, size_t alignment);

  // Returns: the number of a file that nobody has, of no bytes.
  uint32_t NewFile();
  // Returns: the bytes of a file; kFileBytes of addresses, zero at first use in
  // as far as SetFileSize made them.
  char* FileBytes(uint32_t file) const;
  // Makes a file longer, with zeros.
  void GrowFile(uint32_t file, uint64_t size);
  // Returns: the file that an address is in, or kMaxFiles.
  uint32_t FileOf(const void* address) const;

  // Remembers this moment; Restore goes back to it.
  void Keep();
  void Restore();

 private:
  Memory();

  static bool on_;

  char* heap_ = nullptr;
  size_t used_ = 0;
  char* files_ = nullptr;
  std::vector<uint64_t> sizes_;
  uint32_t next_file_ = 0;

  std::vector<char> kept_heap_;
  std::vector<uint64_t> kept_sizes_;
  uint32_t kept_next_file_ = 0;
  std::vector<std::vector<char>> kept_files_;
};

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_MEMORY_H_
