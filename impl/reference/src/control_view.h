// SPDX-License-Identifier: Apache-2.0
//
// ControlView reads ctl and idx from outside, without joining those who use
// them.

#ifndef OPENMESSAGING_REFERENCE_CONTROL_VIEW_H_
#define OPENMESSAGING_REFERENCE_CONTROL_VIEW_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control.h"
#include "env/environment.h"
#include "openmessaging/reference/inspect.h"

namespace openmessaging::reference {

// A copy of ctl, and of idx beside it, as they were when they were read. Not a
// mapping, in which a word could change between its check and its use. They may
// be cut or damaged: whatever is read is checked against the copy's end.
//
// Threads: one.
class ControlView {
 public:
  // Returns: nothing where there is no ctl that a process of this boot could
  // believe: then only the log is left.
  static std::optional<ControlView> Read(Storage& storage,
                                         const StoreFile& store,
                                         uint64_t boot_hash);

  const ControlHeader& header() const { return *Find<ControlHeader>(0); }

  // Put in what ctl says: segments before queues, whose names are in records.
  // Slots and locks are judged by `locks`, nullptr meaning that nobody lives.
  void AddSegments(InspectReport& report) const;
  // AddQueues returns: whether every name was found. Retirement may have moved
  // a record since the copy was taken.
  bool AddQueues(Storage& storage, const ByteLocks* locks,
                 InspectReport& report) const;
  void AddSlots(const ByteLocks* locks, int64_t now_boot_ns,
                InspectReport& report) const;
  void AddLocks(const ByteLocks* locks, InspectReport& report) const;
  // Counts the messages that are held back.
  void AddHeld(InspectReport& report) const;

 private:
  // Bytes as aligned as a mapping's, for those of a cache line.
  struct alignas(kCacheLine) Line {
    std::array<char, kCacheLine> bytes;
  };
  struct Image {
    std::vector<Line> lines{};
    uint64_t size = 0;

    static Image Of(std::string_view bytes);
  };
  // One catalog entry that lives.
  struct Named {
    const CatalogEntry* entry = nullptr;
    std::string name{};
    // Of a queue, those of the log, and of each lane.
    uint32_t partitions = 0;
    uint32_t lane_partitions = 0;
  };
  struct Floor {
    uint64_t settled = 0;  // Everything below, by words of the window too.
    uint64_t next = 0;
    uint64_t unsettled = 0;
  };

  template <typename T>
  static const T* FindIn(const Image& image, uint64_t offset,
                         uint64_t bytes = sizeof(T)) {
    const bool fits = offset % alignof(T) == 0 && offset <= image.size &&
                      bytes <= image.size - offset;
    if (!fits) return nullptr;
    const char* const data = reinterpret_cast<const char*>(image.lines.data());
    return reinterpret_cast<const T*>(data + offset);
  }
  // Returns: nullptr where the copy does not hold all of it.
  template <typename T>
  const T* Find(uint64_t offset, uint64_t bytes = sizeof(T)) const {
    return FindIn<T>(ctl_, offset, bytes);
  }

  bool IsBelievable(const StoreFile& store, const FileIdentity& place,
                    uint64_t boot_hash) const;
  const Slot* FindSlot(uint32_t number) const {
    return Find<Slot>(header().slots + uint64_t{number} * sizeof(Slot));
  }
  // Calls `visit` with each entry that lives.
  template <typename Visit>
  void ForEachEntry(uint32_t kind, const Visit& visit) const;
  // Returns: the entries that live, in the order of their names. An entry whose
  // record cannot be read has its id instead, and `complete` becomes false.
  std::vector<Named> NamesOf(Storage& storage, uint32_t kind,
                             const std::vector<InspectSegment>& segments,
                             bool& complete) const;
  const PartitionState* StateOf(const CatalogEntry& queue,
                                uint32_t partition) const;
  const Cursor* CursorOf(const CatalogEntry& group, uint32_t partition) const;
  Floor FloorOf(const Cursor& cursor) const;
  // Adds the messages that the window has left behind.
  void AddExceptions(const Cursor& cursor, Floor& floor) const;
  // Adds the groups of one partition, which the log calls `logged`, and what
  // keeps its messages.
  void AddGroups(const std::vector<Named>& groups, const InspectPartition& of,
                 uint32_t logged, const CatalogEntry& queue,
                 const PartitionState* state, const ByteLocks* locks,
                 InspectReport& report) const;
  std::optional<uint64_t> PositionOf(const PartitionState& state,
                                     uint32_t queue_partition,
                                     uint64_t offset) const;
  void AddLock(const std::string& name, const LockWord& lock,
               const ByteLocks* locks, InspectReport& report) const;

  Image ctl_;
  Image idx_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CONTROL_VIEW_H_
