// SPDX-License-Identifier: Apache-2.0
//
// The bytes on disk: STORE, segment headers, records. All numbers are
// little-endian. docs/design/engine.md says why, spec/file-store.md will say
// it byte by byte.

#ifndef OPENMESSAGING_REFERENCE_FORMAT_H_
#define OPENMESSAGING_REFERENCE_FORMAT_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "checksum.h"

namespace openmessaging::reference {

inline constexpr uint16_t kFormatMajor = 0;
inline constexpr uint16_t kFormatMinor = 6;

// Whether this library reads and writes a store of that format. While the major
// number is 0 each minor one stands alone; STORE decides for all files.
inline constexpr bool IsOurFormat(uint16_t major, uint16_t minor,
                                  uint32_t incompatible) {
  return major == kFormatMajor && minor == kFormatMinor && incompatible == 0;
}

inline constexpr uint64_t kRecordAlignment = 32;
inline constexpr uint64_t kSegmentHeaderBytes = 4096;
inline constexpr uint32_t kMaxPartitionsPerQueue = 1024;  // 10 bits.
inline constexpr uint32_t kMaxQueueId = (1u << 22) - 1;

inline constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

using StoreUuid = std::array<uint8_t, 16>;

// What the creator of a store chose. Fixed for its life.
struct StoreOptions {
  uint64_t first_segment_bytes = uint64_t{1} << 20;
  uint64_t max_segment_bytes = uint64_t{64} << 20;
  uint32_t slots = 1024;       // Processes at one time; at most 1,024.
  uint32_t bells = 256;        // Receivers that may sleep at one time.
  uint32_t window = 4096;      // Unsettled span of a group in one partition.
  uint32_t max_segments = 4096;
  // Of the log, with what is prepared, and of large bodies; 0: as much as the
  // storage has.
  uint64_t max_bytes = 0;
  // Ballast for a full disk, and beyond `max_bytes`; 0: none.
  uint64_t reserve_bytes = uint64_t{1} << 20;
  // A longer body has a file of its own in big/.
  uint64_t big_body_bytes = uint64_t{256} << 10;

  friend bool operator==(const StoreOptions&, const StoreOptions&) = default;
};

// Segments beyond max_segments that only facts and retirement may use.
inline constexpr uint32_t kReservedSegments = 2;

// The file STORE: who this store is. Written once.
struct StoreFile {
  static constexpr uint64_t kMagic = 0x31304552'4f54534f;  // "OSTORE01"

  uint64_t magic = kMagic;
  uint16_t major = kFormatMajor;
  uint16_t minor = kFormatMinor;
  uint32_t bytes = 0;
  uint32_t incompatible = 0;  // Bits that a reader must know to open it.
  uint32_t compatible = 0;
  StoreUuid uuid{};
  uint64_t created_ms = 0;
  // Of STORE itself: a copied store has others, and then nothing that a
  // running system left behind may be believed.
  uint64_t device = 0;
  uint64_t inode = 0;
  StoreOptions options{};
  uint32_t reserved = 0;
  uint32_t checksum = 0;  // Of everything before it.
};
static_assert(sizeof(StoreFile) == 128);

// The first bytes of a segment file. The first part is written when the segment
// is prepared, the second when the log rolls into it.
struct SegmentHeader {
  static constexpr uint64_t kMagic = 0x31304745'53534d4f;  // "OMSSEG01"

  uint64_t magic = kMagic;
  uint16_t major = kFormatMajor;
  uint16_t minor = kFormatMinor;
  uint32_t header_bytes = kSegmentHeaderBytes;
  uint32_t incompatible = 0;
  uint32_t compatible = 0;
  StoreUuid uuid{};
  uint64_t base = 0;      // Position of the first record.
  uint64_t capacity = 0;  // Bytes for records.
  uint64_t created_ms = 0;
  uint64_t salt = 0;
  uint64_t boot_hash = 0;
  uint32_t epoch = 0;
  uint32_t checksum = 0;  // Of everything before it.

  struct Roll {
    uint64_t previous_end = 0;       // Where the segment before it ends.
    uint64_t previous_sequence = 0;  // The last record before this segment.
    uint64_t durable = 0;            // Everything below was on disk then.
    uint32_t previous_chain = 0;     // Of the segment before it.
    uint32_t checksum = 0;           // Salted, of the four before it.
  } roll{};
};
static_assert(sizeof(SegmentHeader) == 120);

inline uint32_t SealOf(const SegmentHeader& header) {
  return Crc32c(0, &header, offsetof(SegmentHeader, checksum));
}
inline uint32_t SealOf(const SegmentHeader::Roll& roll, uint64_t salt) {
  return Crc32c(static_cast<uint32_t>(Mix64(salt)), &roll,
                offsetof(SegmentHeader::Roll, checksum));
}

enum class RecordType : uint8_t {
  kMessage = 1,
  kAckRange = 2,
  kDelivered = 3,
  kPrepare = 4,
  kCommit = 5,
  kRollback = 6,
  kDue = 7,
  kMoved = 8,
  kDead = 9,
  kQueue = 10,
  kGroup = 11,
  kRoute = 12,
  kSeal = 13,
  kRetire = 14,
  kSeek = 15,
  kCancel = 16,
  kDelayed = 17,
  kOutcomes = 18,
  kSettled = 19,
  kDeduplication = 20,
  kNamespace = 21,
  kRouted = 22,
};
inline constexpr uint8_t kLastRecordType = 22;

// Record flags, 8 bits.
inline constexpr uint8_t kPayloadPending = 1;  // Its checksum is not there yet.
// The next record belongs to the same unit: a recovery keeps both or neither.
inline constexpr uint8_t kMore = 2;
inline constexpr uint8_t kDisk = 4;   // Not handed out before it is durable.
// Of QUEUE, GROUP, NAMESPACE and ROUTE: a deletion.
inline constexpr uint8_t kGone = 8;
// Of MESSAGE and DELAYED: it came with a deduplication id, which counts.
inline constexpr uint8_t kDeduplicated = 8;
// Of GROUP: it is one consumer's own and ends with it.
inline constexpr uint8_t kPrivateGroup = 16;
// Of messages: no group gets them twice.
inline constexpr uint8_t kOnce = 16;
// Of messages: they have a time after which they are not delivered.
inline constexpr uint8_t kExpires = 32;
// Of MESSAGE, ROUTED, DEAD and MOVED: the body is a file of big/, and in its place
// the record has a LargeBody.
inline constexpr uint8_t kBodyApart = 64;

// The commit word: length 32, type 8, flags 8, low 16 bits of sequence^salt.
struct CommitWord {
  static uint64_t Make(uint32_t length, RecordType type, uint8_t flags,
                       uint64_t sequence, uint64_t salt) {
    return uint64_t{length} | (uint64_t{static_cast<uint8_t>(type)} << 32) |
           (uint64_t{flags} << 40) | (((sequence ^ salt) & 0xffff) << 48);
  }
  static uint32_t Length(uint64_t word) { return static_cast<uint32_t>(word); }
  static RecordType Type(uint64_t word) {
    return static_cast<RecordType>((word >> 32) & 0xff);
  }
  static uint8_t Flags(uint64_t word) {
    return static_cast<uint8_t>(word >> 40);
  }
  static constexpr uint64_t kPendingBit = uint64_t{kPayloadPending} << 40;
};

// In front of each record, 32-byte aligned. `length` of the commit word counts
// header, fields and body, without padding.
struct RecordHeader {
  uint64_t commit = 0;
  uint32_t header_checksum = 0;
  uint32_t payload_checksum = 0;
  uint64_t sequence = 0;
  uint64_t position = 0;
  uint32_t queue_partition = 0;  // Queue id 22 bits, partition 10 bits.
  uint32_t epoch = 0;
  uint64_t offset = 0;
  int64_t store_ms = 0;
  uint32_t durable_floor = 0;  // 32-byte units back; ~0 claims nothing.
  uint32_t fields_bytes = 0;
};
static_assert(sizeof(RecordHeader) == 64);

inline constexpr uint32_t kNoFloor = ~uint32_t{0};

// In front of the fields of a DEAD record, counted with them: where the message
// was, which the record settles there.
struct DeadSource {
  uint32_t group = 0;
  uint32_t queue_partition = 0;
  uint64_t offset = 0;
  uint64_t floor = 0;  // Of the group in that partition then.
  uint32_t attempts = 0;
  uint32_t expired = 0;  // 1: so it is settled for every group.
};
static_assert(sizeof(DeadSource) == 32);

// The body of a SEEK record: where a group goes on in the partition that the
// header names.
struct SeekTarget {
  uint32_t group = 0;
  uint32_t reserved = 0;
  uint64_t offset = 0;  // Everything below counts as settled, all else as new.
  uint64_t number = 0;  // Among the images of the cursor.
};
static_assert(sizeof(SeekTarget) == 24);

// Returns: what a SEEK record says; the group 0, which no group has, where the
// record is too short to say. `record` is as long as its header says.
inline SeekTarget SeekTargetOf(const RecordHeader& header, const char* record) {
  SeekTarget target;
  const uint64_t begin = sizeof(header) + uint64_t{header.fields_bytes};
  if (CommitWord::Length(header.commit) >= begin + sizeof(target)) {
    std::memcpy(&target, record + begin, sizeof(target));
  }
  return target;
}

// In front of the fields of a DELAYED record, which waits, and of a DUE record,
// which is that message in its queue; counted with them. Also of a COMMIT record,
// which is a prepared message in its queue.
struct HeldHead {
  // Of the record in which the message came, and so of its id; 0: this one.
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  uint32_t damaged = 0;   // 1: the message was damaged while it was held back.
  int64_t store_ms = 0;   // When it came.
  int64_t due_ms = 0;     // By the wall clock.
  int64_t due_ns = 0;     // By the boot clock, in the boot of that hash.
  uint64_t boot_hash = 0;
};
static_assert(sizeof(HeldHead) == 48);

// In front of the fields of a ROUTED record, which is a copy of a message that
// entered another queue; counted with them. It is in one unit with that one, and
// in its queue as a message of its own.
struct RoutedHead {
  // Of the record in which the message came, and so of its id; or how many
  // records before this one that is.
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  uint32_t back = 0;      // 0: `sequence` and `epoch` say it.
  int64_t store_ms = 0;   // When it came; 0: with this record.
};
static_assert(sizeof(RoutedHead) == 24);

// In front of the fields of a MOVED record, which is a message of its partition,
// at its old offset, that was appended again so that its segment can go; counted
// with them. The header says when the message entered its queue.
struct MovedHead {
  // Of the record in which the message came, and so of its id.
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  uint16_t damaged = 0;   // 1: it could not be read any more.
  // 1: it expired, and is in the dead-letter queue. The record that moved it
  // there came before this one, and finds nothing to bury when it is replayed.
  uint16_t buried = 0;
  int64_t store_ms = 0;   // When it came.
  uint64_t from = 0;      // The position at which it lay before.
};
static_assert(sizeof(MovedHead) == 32);

// In front of the fields of a PREPARE record. The due time is that of the next
// check.
struct PreparedHead {
  HeldHead held{};
  uint64_t group = 0;  // A hash of the producer group's name.
  uint32_t check_after_ms = 0;
  uint16_t checks = 0;
  uint16_t max_checks = 0;
};
static_assert(sizeof(PreparedHead) == 64);

// Names a message that is held back: what its id says. The body of a CANCEL and
// of a ROLLBACK record.
struct HeldId {
  uint64_t sequence = 0;
  uint32_t epoch = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(HeldId) == 16);

// Whether records of this type are messages of a queue, which its index names.
inline bool HoldsMessage(RecordType type) {
  return type == RecordType::kMessage || type == RecordType::kDead ||
         type == RecordType::kDue || type == RecordType::kCommit ||
         type == RecordType::kRouted || type == RecordType::kMoved;
}

// Returns: the fields of the message in a record of such a type. The caller has
// checked that `fields_bytes` is within the record.
inline std::string_view MessageFields(const RecordHeader& header,
                                      const char* record) {
  const std::string_view all(record + sizeof(header), header.fields_bytes);
  switch (CommitWord::Type(header.commit)) {
    case RecordType::kDead:
      return all.substr(std::min(sizeof(DeadSource), all.size()));
    case RecordType::kPrepare:
      return all.substr(std::min(sizeof(PreparedHead), all.size()));
    case RecordType::kCommit:
    case RecordType::kDelayed:
    case RecordType::kDue:
      return all.substr(std::min(sizeof(HeldHead), all.size()));
    case RecordType::kRouted:
      return all.substr(std::min(sizeof(RoutedHead), all.size()));
    case RecordType::kMoved:
      return all.substr(std::min(sizeof(MovedHead), all.size()));
    default:
      return all;
  }
}

// Returns: whose message a DEAD record holds; the group 0, which no group has,
// where the record is too short to say.
inline DeadSource DeadSourceOf(const RecordHeader& header, const char* record) {
  DeadSource source;
  if (header.fields_bytes >= sizeof(source)) {
    std::memcpy(&source, record + sizeof(header), sizeof(source));
  }
  return source;
}

// Returns: what a DELAYED, DUE or COMMIT record says; all zero where it is too
// short.
inline HeldHead HeldHeadOf(const RecordHeader& header, const char* record) {
  HeldHead head;
  if (header.fields_bytes >= sizeof(head)) {
    std::memcpy(&head, record + sizeof(header), sizeof(head));
  }
  return head;
}

// Returns: what a ROUTED record says, `sequence` and `epoch` in any case; all
// zero where it is too short.
inline RoutedHead RoutedHeadOf(const RecordHeader& header, const char* record) {
  RoutedHead head;
  if (header.fields_bytes < sizeof(head)) return head;
  std::memcpy(&head, record + sizeof(header), sizeof(head));
  if (head.back != 0) {
    head.sequence = header.sequence - head.back;
    head.epoch = header.epoch;
  }
  return head;
}

// Returns: what a MOVED record says; all zero where it is too short.
inline MovedHead MovedHeadOf(const RecordHeader& header, const char* record) {
  MovedHead head;
  if (header.fields_bytes >= sizeof(head)) {
    std::memcpy(&head, record + sizeof(header), sizeof(head));
  }
  return head;
}

inline HeldId HeldIdOf(const HeldHead& head, const RecordHeader& header) {
  if (head.sequence == 0) return {header.sequence, header.epoch, 0};
  return {head.sequence, head.epoch, 0};
}

// Whether such a record says in a HeldHead which message it is.
inline bool WasHeld(RecordType type) {
  return type == RecordType::kDue || type == RecordType::kCommit;
}

// Returns: whom a CANCEL or ROLLBACK record withdraws; the sequence 0, which no
// message has, where it is too short. `record` is as long as its header says.
inline HeldId NamedIn(const RecordHeader& header, const char* record) {
  HeldId id;
  const uint64_t begin = sizeof(header) + uint64_t{header.fields_bytes};
  if (CommitWord::Length(header.commit) >= begin + sizeof(id)) {
    std::memcpy(&id, record + begin, sizeof(id));
  }
  return id;
}

// A body in a file of its own, whose name is made of all this but the checksum.
// One file may be named by several records: a DEAD record names its source's, a
// MOVED one that of the record before it.
struct LargeBody {
  uint64_t bytes = 0;
  uint64_t number = 0;  // Counts what its writer wrote.
  uint32_t epoch = 0;
  uint32_t owner = 0;     // Who wrote it, as in a lock word.
  uint32_t checksum = 0;  // Not there yet while the record's is pending.
  uint32_t reserved = 0;
};
static_assert(sizeof(LargeBody) == 32);

// Returns: where the body of a record lies that has it apart; nothing where the
// record has it in itself, or does not say it as such records do.
inline std::optional<LargeBody> LargeBodyOf(const RecordHeader& header,
                                            const char* record) {
  const uint64_t length = CommitWord::Length(header.commit);
  const uint64_t before = sizeof(header) + uint64_t{header.fields_bytes};
  if ((CommitWord::Flags(header.commit) & kBodyApart) == 0 ||
      length != before + sizeof(LargeBody)) {
    return std::nullopt;
  }
  LargeBody body;
  std::memcpy(&body, record + before, sizeof(body));
  return body;
}

// Whether such a record may name a body that an earlier one names as well.
inline bool SharesBody(RecordType type) {
  return type == RecordType::kDead || type == RecordType::kMoved;
}

// Adds the checksum of its large body to a pending record; it may begin at any
// address.
inline void SetBodyChecksum(const RecordHeader& header, char* record,
                            uint32_t checksum) {
  std::memcpy(record + sizeof(header) + header.fields_bytes +
                  offsetof(LargeBody, checksum),
              &checksum, sizeof(checksum));
}

inline uint32_t QueuePartition(uint32_t queue, uint32_t partition) {
  return queue << 10 | partition;
}
inline uint32_t QueueOf(uint32_t queue_partition) {
  return queue_partition >> 10;
}
inline uint32_t PartitionOf(uint32_t queue_partition) {
  return queue_partition & 1023;
}

// Covers the commit word without the pending flag, and everything behind the
// checksums. Salted, so that bytes of another life of the segment never fit.
inline uint32_t SealOf(const RecordHeader& header, uint64_t salt) {
  const uint64_t commit = header.commit & ~CommitWord::kPendingBit;
  const uint32_t seed =
      Crc32c(static_cast<uint32_t>(salt ^ salt >> 32), &commit, sizeof(commit));
  return Crc32c(seed, reinterpret_cast<const char*>(&header) + 16, 48);
}

inline uint64_t PaddedBytes(uint64_t record_bytes) {
  return AlignUp(record_bytes, kRecordAlignment);
}

// What a record takes in the log.
inline uint32_t PaddedBytes(const RecordHeader& header) {
  return static_cast<uint32_t>(PaddedBytes(CommitWord::Length(header.commit)));
}

// Names of a segment's file.
std::string SegmentName(uint64_t base, uint32_t epoch);
bool ParseSegmentName(std::string_view name, uint64_t& base, uint32_t& epoch);

// Names of a large body's file. The length is in it, so that a listing tells how
// much all of them take.
std::string BodyName(const LargeBody& body);
// `name`: without its directory. Returns: nothing where it is not such a name.
std::optional<LargeBody> ParseBodyName(std::string_view name);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FORMAT_H_
