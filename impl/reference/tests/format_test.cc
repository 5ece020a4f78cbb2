// SPDX-License-Identifier: Apache-2.0
//
// Seals, names and words of the format.

#include "format.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "doctest/doctest.h"

namespace openmessaging::reference::format_test {
namespace {

RecordHeader SomeHeader() {
  RecordHeader header;
  header.commit = CommitWord::Make(300, RecordType::kMessage, kDisk, 77,
                                   0x1234'5678'9abc'def0);
  header.payload_checksum = 0xdeadbeef;
  header.sequence = 77;
  header.position = 4096;
  header.queue_partition = QueuePartition(5, 3);
  header.epoch = 2;
  header.offset = 41;
  header.store_ms = 1'700'000'000'000;
  header.durable_floor = 9;
  header.fields_bytes = 20;
  return header;
}

template <typename T>
T Flipped(T value, size_t bit) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

TEST_CASE("a checksum is CRC32C and goes on where it stopped") {
  // The check value of RFC 3720.
  CHECK(Crc32c("123456789") == 0xe3069283);
  const uint32_t first = Crc32c(0, "1234", 4);
  CHECK(Crc32c(first, "56789", 5) == 0xe3069283);
  CHECK(Crc32c("") == 0);
}

TEST_CASE("every flipped bit of a record header breaks its seal") {
  const uint64_t salt = 0x0123'4567'89ab'cdef;
  const RecordHeader header = SomeHeader();
  const uint32_t seal = SealOf(header, salt);
  for (size_t bit = 0; bit < sizeof(RecordHeader) * 8; ++bit) {
    CAPTURE(bit);
    const uint32_t changed = SealOf(Flipped(header, bit), salt);
    // What the flush leader fills in later is not sealed: the pending flag and
    // the payload's checksum. The seal does not cover itself.
    const bool open = bit == 40 || (bit >= 8 * 8 && bit < 16 * 8);
    CHECK((changed == seal) == open);
  }
}

TEST_CASE("every flipped bit of a salt breaks the seal of a record") {
  const uint64_t salt = 0x0123'4567'89ab'cdef;
  const RecordHeader header = SomeHeader();
  for (int bit = 0; bit < 64; ++bit) {
    CHECK(SealOf(header, salt ^ uint64_t{1} << bit) != SealOf(header, salt));
  }
}

TEST_CASE("every flipped bit of a segment header breaks one of its seals") {
  SegmentHeader header;
  header.uuid.fill(3);
  header.base = 8192;
  header.capacity = 65536;
  header.salt = 99;
  header.epoch = 4;
  header.roll = {8000, 55, 7000, 1234, 0};
  const uint32_t seal = SealOf(header);
  const uint32_t roll_seal = SealOf(header.roll, header.salt);
  for (size_t bit = 0; bit < offsetof(SegmentHeader, checksum) * 8; ++bit) {
    CHECK(SealOf(Flipped(header, bit)) != seal);
  }
  for (size_t bit = 0; bit < offsetof(SegmentHeader::Roll, checksum) * 8;
       ++bit) {
    CHECK(SealOf(Flipped(header.roll, bit), header.salt) != roll_seal);
  }
  CHECK(SealOf(header.roll, header.salt + 1) != roll_seal);
}

TEST_CASE("a commit word holds length, type and flags") {
  for (const uint32_t length : {64u, 65u, 0xffffffffu}) {
    for (const uint8_t flags : {uint8_t{0}, uint8_t{5}, uint8_t{255}}) {
      const uint64_t word =
          CommitWord::Make(length, RecordType::kCancel, flags, 0xabcd, 0x1111);
      CHECK(CommitWord::Length(word) == length);
      CHECK(CommitWord::Type(word) == RecordType::kCancel);
      CHECK(CommitWord::Flags(word) == flags);
      CHECK((word >> 48) == (0xabcd ^ 0x1111));
    }
  }
  CHECK(CommitWord::Flags(CommitWord::kPendingBit) == kPayloadPending);
}

TEST_CASE("queue and partition share a word") {
  const uint32_t word = QueuePartition(kMaxQueueId, kMaxPartitionsPerQueue - 1);
  CHECK(word == 0xffffffff);
  CHECK(QueueOf(word) == kMaxQueueId);
  CHECK(PartitionOf(word) == kMaxPartitionsPerQueue - 1);
  CHECK(QueueOf(QueuePartition(7, 0)) == 7);
  CHECK(PartitionOf(QueuePartition(7, 0)) == 0);
}

TEST_CASE("the name of a segment is read back, and sorts by position") {
  for (const uint64_t base : {uint64_t{0}, uint64_t{4096}, ~uint64_t{0}}) {
    for (const uint32_t epoch : {0u, 1u, ~0u}) {
      const std::string name = SegmentName(base, epoch);
      REQUIRE(name.starts_with("log/"));
      uint64_t read_base = 1;
      uint32_t read_epoch = 1;
      CHECK(ParseSegmentName(name.substr(4), read_base, read_epoch));
      CHECK(read_base == base);
      CHECK(read_epoch == epoch);
    }
  }
  CHECK(SegmentName(0x100, 9) < SegmentName(0x1000, 1));
  CHECK(SegmentName(0x100, 9) < SegmentName(0x100, 10));
}

TEST_CASE("what is no name of a segment is not taken for one") {
  const std::string good = SegmentName(1, 2).substr(4);
  uint64_t base = 0;
  uint32_t epoch = 0;
  for (const std::string& bad :
       {std::string(), good + "x", good.substr(1), good.substr(0, 25) + ".tmp",
        "x" + good.substr(1), "-" + good.substr(1), "+" + good.substr(1),
        good.substr(0, 16) + "_" + good.substr(17),
        good.substr(0, 17) + "zzzzzzzz.seg", std::string("next.tmp")}) {
    CAPTURE(bad);
    CHECK(!ParseSegmentName(bad, base, epoch));
  }
}

TEST_CASE("sizes are rounded up to the alignment") {
  CHECK(PaddedBytes(0) == 0);
  CHECK(PaddedBytes(1) == 32);
  CHECK(PaddedBytes(64) == 64);
  CHECK(PaddedBytes(65) == 96);
  CHECK(AlignUp(4097, 4096) == 8192);
}

}  // namespace
}  // namespace openmessaging::reference::format_test
