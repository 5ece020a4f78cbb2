// SPDX-License-Identifier: Apache-2.0
//
// The layout of ctl, the state that living processes share. It is derived: the
// log rebuilds it. Everything is reached by offsets, since each process maps
// the file somewhere else. A word of zero is the initial state everywhere.

#ifndef OPENMESSAGING_REFERENCE_CONTROL_H_
#define OPENMESSAGING_REFERENCE_CONTROL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "env/shared.h"
#include "format.h"

namespace openmessaging::reference {

inline constexpr size_t kCacheLine = 64;
inline constexpr uint64_t kPage = 4096;

// A lock between processes; slot_lock.h has the protocol.
struct LockWord {
  Shared<uint32_t> owner;
};

enum class ControlState : uint32_t {
  kBuilding = 0,  // Never believed.
  kLive = 1,      // In use, or left by a crash.
  kClean = 2,     // Closed; rebuilt from the checkpoint all the same.
};

// Page 0 of ctl.
struct ControlHeader {
  static constexpr uint64_t kMagic = 0x304c5443'53534d4f;

  uint64_t magic;
  uint32_t format;
  Shared<uint32_t> state;  // ControlState
  StoreUuid uuid;
  uint64_t boot_hash;
  uint64_t device;  // Of ctl itself.
  uint64_t inode;
  Shared<uint32_t> poisoned;  // A flush failed; nothing more is promised.
  uint32_t epoch;             // Of this opening.
  StoreOptions options;
  uint64_t slots;     // Offsets of the fixed areas.
  uint64_t bells;
  uint64_t segments;
  Shared<uint64_t> bump;  // First free byte of ctl.
  Shared<uint64_t> size;  // Bytes that the file has.

  // What an append changes, under `append`.
  struct alignas(kCacheLine) Append {
    LockWord lock;
    uint32_t reserved;
    // The bytes being written; end 0 = none.
    Shared<uint64_t> intent_begin;
    Shared<uint64_t> intent_end;
    Shared<uint64_t> tail;      // Where the next record goes.
    Shared<uint64_t> sequence;  // Of the last record.
    // Low half: checksum chain of this segment; high half: tail / 32 that it
    // belongs to, so that an heir knows whether a record is in it already.
    Shared<uint64_t> chain;
    Shared<uint32_t> current;  // Ordinal of the segment at the tail.
    Shared<uint32_t> index_bump;  // Next extent of idx that was never used.
    // Of the bodies in big/ that records of the current segment name.
    Shared<uint64_t> large_bytes;
    Shared<uint32_t> index_free;  // First extent of the free list; 0 = none.
    Shared<uint32_t> next_queue;
    Shared<uint32_t> next_group;
  } append;

  // Read by every receiver and flush.
  struct alignas(kCacheLine) Committed {
    Shared<uint64_t> end;  // Every record below it is whole.
  } committed;

  struct alignas(kCacheLine) Flush {
    LockWord lock;
    Shared<uint32_t> bell;  // Rung after each flush.
    Shared<uint32_t> waiters;
    uint32_t reserved;
    Shared<uint64_t> durable;  // Every byte below it is on disk.
    Shared<uint64_t> flushes;
    // Here, where every receiver looks: boot time at which a delayed message
    // may be due; 0 = none waits.
    Shared<int64_t> next_due_ns;
  } flush;

  // Queues, groups and namespaces, and preparing segments; rare.
  struct alignas(kCacheLine) Catalog {
    LockWord lock;
    LockWord prepare;  // Makes segments, grows idx.
    LockWord retire;   // Removes them.
    Shared<uint32_t> version;
    Shared<uint32_t> count;  // Entries.
    Shared<uint64_t> first_page;
    Shared<uint64_t> index_extents;  // That idx has room for.
    Shared<uint32_t> first_segment;  // Ordinals [first, end) are in the table.
    Shared<uint32_t> end_segment;
    // Ordinal + 1 of a segment that is not for messages; 0 = none. It was made
    // when there was no room for another.
    Shared<uint32_t> reserved_segment;
    // Boot time of the next look by whoever keeps house.
    Shared<int64_t> next_retire_ns;
    LockWord bindings;  // Who binds on which terms.
    Shared<uint64_t> first_binding_page;
    // Capacity of a segment that is being made; 0 = none.
    Shared<uint64_t> preparing_bytes;
    // Files of big/ that no record from here on names may be gone; a position.
    Shared<uint64_t> bodies_from;
    // 1 once a queue had max_deliveries.
    Shared<uint32_t> counts_deliveries;
  } catalog;

  // A table of entries that come and go, under `append`; block_table.h.
  struct alignas(kCacheLine) Table {
    Shared<uint64_t> first_block;  // 0 = none yet.
    Shared<uint64_t> last_block;
    Shared<uint64_t> buckets;  // Heads of chains, by key.
    Shared<int64_t> next_look_ns;  // For what is over, not before; boot time.
    Shared<uint32_t> free;     // Head of the free places.
    Shared<uint32_t> free_count;
    Shared<uint32_t> count;     // What is not free, though it may be over.
    Shared<uint32_t> changing;  // Somebody is, or died while.
  };
  Table delay;          // Where delayed messages wait; delay_table.h.
  Table deduplication;  // Which ids count; deduplication_table.h.
  Table prepared;       // Prepared messages and outcomes; prepared_table.h.

  // Large bodies.
  struct alignas(kCacheLine) Bodies {
    LockWord lock;           // Makes and removes files of big/.
    Shared<uint32_t> removed;  // Some were, and the directory was not flushed.
    Shared<uint64_t> bytes;  // What all of them have by their names.
  } bodies;
};
static_assert(sizeof(ControlHeader) <= kPage);

// One process (one open handle). The byte lock kSlotByte + index tells whether
// it lives.
struct alignas(kCacheLine) Slot {
  Shared<uint32_t> generation;  // 20 bits, never 0; raised by each owner.
  Shared<uint32_t> pid;         // For people.
  Shared<int64_t> opened_boot_ns;
  // The oldest large body that is written but perhaps not named by a record
  // yet: its number + 1, 0 = none; and a position at or below its record.
  Shared<uint64_t> body_number;
  Shared<uint64_t> body_from;
};

inline constexpr uint64_t kGateByte = 0;
inline constexpr uint64_t kSlotByte = 16;
// By group and slot: the slot's handle has members in the group.
inline constexpr uint64_t kMemberByte = uint64_t{1} << 20;

// Where one receiver sleeps.
struct alignas(kCacheLine) Bell {
  Shared<uint32_t> rings;     // Futex word.
  Shared<uint32_t> answered;  // `rings` when its owner last woke.
  Shared<uint32_t> owner;     // As in a lock word; 0 = free.
};
inline constexpr uint32_t kBellWords = 4;  // Bitmaps of up to 256 bells.
inline constexpr uint32_t kMaxBells = kBellWords * 64;

// One segment; the table is a ring by ordinal.
struct SegmentEntry {
  Shared<uint64_t> base;
  Shared<uint64_t> capacity;
  Shared<uint64_t> salt;
  Shared<uint32_t> epoch;
  Shared<uint32_t> used;  // 0, or kSegmentUsed and what is in it.
};
inline constexpr uint32_t kSegmentUsed = 1;  // The file is there.
// Records in it name files of big/.
inline constexpr uint32_t kNamesBodies = 2;
// Some of them name a file that an earlier record may name as well.
inline constexpr uint32_t kSharesBodies = 4;

// One queue, group, namespace or route. The record in the log has its name and
// options.
struct CatalogEntry {
  Shared<uint64_t> record;  // Position of its newest record of that type.
  // Offset of QueueState or GroupState; 0 = not yet, or of another kind.
  Shared<uint64_t> state;
  // Namespaces and queues share one series; of a route its target's.
  Shared<uint32_t> id;
  Shared<uint32_t> queue;   // Of a group its queue's id, of a route its source's.
  Shared<uint32_t> kind;    // One of those below.
  // 0 after deletion; of a group kLive, or kLivePrivately; of a queue another
  // number whenever it or a route from it was changed, so that one load tells.
  Shared<uint32_t> live;
};
inline constexpr uint32_t kQueueKind = 1;
inline constexpr uint32_t kGroupKind = 2;
inline constexpr uint32_t kNamespaceKind = 3;
inline constexpr uint32_t kRouteKind = 4;
inline constexpr uint32_t kLive = 1;
// A group that is one consumer's own: nothing is kept for it.
inline constexpr uint32_t kLivePrivately = 2;

struct CatalogPage {
  static constexpr uint32_t kEntries = 127;
  Shared<uint64_t> next;
  std::array<uint64_t, 3> reserved;
  std::array<CatalogEntry, kEntries> entries;
};
static_assert(sizeof(CatalogPage) == kPage);

// One binding of a queue by a consumer. `owner` is written last and cleared
// first; 0 = free, as is an entry whose owner is gone.
struct BindingEntry {
  Shared<uint32_t> owner;
  Shared<uint32_t> group;
  Shared<uint64_t> terms;  // A hash of its filter and the order of keys.
};
struct BindingPage {
  static constexpr uint32_t kEntries = 255;
  Shared<uint64_t> next;
  uint64_t reserved;
  std::array<BindingEntry, kEntries> entries;
};
static_assert(sizeof(BindingPage) == kPage);

// The offsets of one partition.
struct alignas(kCacheLine) PartitionState {
  Shared<uint64_t> next_offset;   // Of the next message; release = visible.
  Shared<uint64_t> first_offset;  // Oldest that is still stored.
  Shared<uint32_t> first_extent;  // 0 = none.
  Shared<uint32_t> last_extent;
  // Below it an offset that the index does not have was retired; from here on it
  // is lost.
  Shared<uint64_t> whole_from;
  Shared<uint32_t> removals;  // How often extents were taken out.
};

struct alignas(kCacheLine) QueueState {
  uint32_t id;
  uint32_t partitions;
  // How long messages are kept at least; retirement asks for it.
  Shared<int64_t> retention_ms;
  // How long a deduplication id counts; 0: it does not.
  Shared<int64_t> deduplication_ms;
  // After so many a message moves to the dead-letter queue; 0: never.
  Shared<uint32_t> max_deliveries;
  // Who sleeps until something comes; a bit for each bell.
  alignas(kCacheLine) std::array<Shared<uint64_t>, kBellWords> sleepers;

  PartitionState* partition(uint32_t index) {
    return reinterpret_cast<PartitionState*>(this + 1) + index;
  }
  static uint64_t Bytes(uint32_t partitions) {
    return sizeof(QueueState) + sizeof(PartitionState) * partitions;
  }
};

// How far one group is in one partition. Members change it under `lock`, except
// that settling changes only words of the window and `dirty`.
struct alignas(kCacheLine) Cursor {
  LockWord lock;
  Shared<uint32_t> dirty;        // Dirt: settled since the last ACK-RANGE.
  Shared<uint64_t> next;         // First offset never handed out.
  Shared<uint64_t> floor;        // Everything below is settled.
  Shared<int64_t> next_scan_ns;  // Something may be due again; boot time.
  Shared<uint64_t> window;       // Offset of the window in ctl; 0 = not yet.
  Shared<uint32_t> token;        // Counts deliveries.
  // Under the lock a record is being appended that changes the cursor.
  Shared<uint32_t> seeking;
  Shared<uint64_t> images;       // Counts the images taken; see LogCursor.
  Shared<uint64_t> exceptions;   // Offset of the table in ctl; 0 = not yet.
  // The table took in what no image in the log tells yet.
  Shared<uint32_t> unlogged;
  Shared<uint32_t> stalled;      // The table had no room for the oldest.
  // Of a group that keeps the order of keys: whether a message waits for an
  // earlier one (HoldBack), how often one was settled while that was so, and how
  // often by the beginning of the last look that came to its end.
  Shared<uint32_t> held_back;
  Shared<uint32_t> freed;
  Shared<uint32_t> freed_seen;
  // A recovery does not know what was handed out below it, so that what is for
  // at most one delivery is not handed out there any more.
  Shared<uint64_t> once_from;
};

// What Cursor::held_back says.
enum class HoldBack : uint32_t {
  kNothing = 0,
  kSome = 1,
  kFull = 2,  // So many that nothing new is looked at until one is settled.
};

// The upper bits of Cursor::images count how often the cursor was moved. An
// image that was numbered before a move is thus lower than any behind it.
inline constexpr int kSeekShift = 40;
inline uint32_t SeeksOf(uint64_t images) {
  return static_cast<uint32_t>(images >> kSeekShift);
}

struct alignas(kCacheLine) GroupState {
  uint32_t id;
  uint32_t queue;
  uint32_t partitions;
  Shared<uint32_t> dirty;  // Dirt: a cursor may be.
  // Who has the group for itself: owner 30 bits, number of the consumer 34.
  Shared<uint64_t> exclusive;

  Cursor* cursor(uint32_t index) {
    return reinterpret_cast<Cursor*>(this + 1) + index;
  }
  static uint64_t Bytes(uint32_t partitions) {
    return sizeof(GroupState) + sizeof(Cursor) * partitions;
  }
};

// What GroupState::dirty and Cursor::dirty say.
enum class Dirt : uint32_t {
  kNone = 0,
  kSome = 1,  // Settlements are not in the log yet.
  // Somebody began to log them. If it died, they are as dirty as before.
  kLogging = 2,
};

// Says that a cursor's settlements are not in the log yet. Both flags are looked
// at each time, so that one that a kill kept from being set is set by the next.
// Whoever settles writes a word and reads the flag, whoever logs the other way
// round: so one of them sees the other.
inline void MarkDirty(GroupState& group, Cursor& cursor) {
  const auto mark = [](Shared<uint32_t>& flag) {
    constexpr auto kSome = static_cast<uint32_t>(Dirt::kSome);
    if (flag.LoadSequential() != kSome) flag.Exchange(kSome);
  };
  mark(cursor.dirty);
  mark(group.dirty);
}

// Before what is dirty is looked at, and once it is in the log; what is settled
// between is logged the next time.
inline void BeginLogging(Shared<uint32_t>& flag) {
  flag.Exchange(static_cast<uint32_t>(Dirt::kLogging));
}
inline void EndLogging(Shared<uint32_t>& flag) {
  auto expected = static_cast<uint32_t>(Dirt::kLogging);
  flag.CompareExchange(expected, static_cast<uint32_t>(Dirt::kNone));
}

// The window: `options.window` words, then as many due times (boot time, ns).
inline uint64_t WindowBytes(uint32_t window) {
  return uint64_t{window} * (sizeof(uint64_t) + sizeof(int64_t));
}

// Unsettled messages that the window has left behind, so that one of them never
// stalls the rest. As many as a window has; entries change under the cursor's
// lock, except that settling changes a word.
struct ExceptionEntry {
  Shared<uint64_t> name;  // Offset + 1; 0 = free. Written last, cleared first.
  Shared<uint64_t> word;
  Shared<int64_t> due;
  uint64_t reserved;
};
struct ExceptionTable {
  Shared<uint32_t> used;  // Entries at and behind it are free.
  std::array<uint32_t, 7> reserved;

  ExceptionEntry& entry(uint32_t index) {
    return reinterpret_cast<ExceptionEntry*>(this + 1)[index];
  }
  static uint64_t Bytes(uint32_t window) {
    return sizeof(ExceptionTable) + sizeof(ExceptionEntry) * uint64_t{window};
  }
};

// idx: extents of one page each. Extent 0 is never used.
struct IndexEntry {
  Shared<uint64_t> place;  // position/32 in the low 48 bits, flags above.
  Shared<uint64_t> check;  // Low: key hash; high: binds it to its place.
};
struct IndexExtent {
  static constexpr uint32_t kEntries = 254;
  Shared<uint32_t> next;
  Shared<uint32_t> queue_partition;
  Shared<uint64_t> first_offset;
  std::array<uint64_t, 2> reserved;
  std::array<IndexEntry, kEntries> entries;
};
static_assert(sizeof(IndexExtent) == kPage);

// Says why an opening did not believe ctl, and read the log instead.
inline constexpr char kRefusedControlName[] = "quarantine/ctl.txt";

// How many bytes of ctl the fixed areas take.
struct ControlLayout {
  explicit ControlLayout(const StoreOptions& options)
      : slots(kPage),
        bells(slots + AlignUp(sizeof(Slot) * options.slots, kPage)),
        segments(bells + AlignUp(sizeof(Bell) * options.bells, kPage)),
        end(segments +
            AlignUp(sizeof(SegmentEntry) * options.max_segments, kPage)) {}

  uint64_t slots;
  uint64_t bells;
  uint64_t segments;
  uint64_t end;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CONTROL_H_
