// SPDX-License-Identifier: Apache-2.0

#include "log_edits.h"

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "checksum.h"
#include "format.h"

namespace openmessaging::reference {
namespace {

using damage::Record;
using fuzz::Input;

// Changes one field of a header. Returns: the new header.
RecordHeader ChangeHeader(Input& input, HostileFiles& files,
                          RecordHeader header, uint64_t salt) {
  uint64_t length = CommitWord::Length(header.commit);
  uint64_t type = static_cast<uint8_t>(CommitWord::Type(header.commit));
  uint64_t flags = CommitWord::Flags(header.commit);
  const auto change = [&](auto& field) {
    using Field = std::remove_reference_t<decltype(field)>;
    field = static_cast<Field>(
        HostileNumber(input, static_cast<uint64_t>(field)));
  };
  const size_t which = input.Pick(11);
  // These say what of a record is its message.
  if (which < 3 || which == 10) files.SetForged();
  switch (which) {
    case 0:
      change(length);
      break;
    case 1:
      type = input.Pick(kLastRecordType + 3);
      break;
    case 2:
      flags ^= uint64_t{1} << input.Pick(8);
      break;
    case 3:
      change(header.sequence);
      break;
    case 4:
      change(header.position);
      break;
    case 5:
      change(header.queue_partition);
      break;
    case 6:
      change(header.epoch);
      break;
    case 7:
      change(header.offset);
      break;
    case 8:
      change(header.store_ms);
      break;
    case 9:
      change(header.durable_floor);
      break;
    default:
      change(header.fields_bytes);
  }
  header.commit = CommitWord::Make(static_cast<uint32_t>(length),
                                   static_cast<RecordType>(type),
                                   static_cast<uint8_t>(flags),
                                   header.sequence, salt);
  return header;
}

// Makes the checksum of a header right, and of what is forged that of the
// payload, as far as it lies in its file.
void Seal(std::string& bytes, size_t at, RecordHeader header, uint64_t salt,
          bool forged) {
  const size_t length = CommitWord::Length(header.commit);
  if (forged && length >= sizeof(header) && length <= bytes.size() - at) {
    header.payload_checksum = Crc32c(0, bytes.data() + at + sizeof(header),
                                     length - sizeof(header));
  }
  header.header_checksum = SealOf(header, salt);
  StoreAt(bytes, at, header);
}

void ChangeRecord(Input& input, HostileFiles& files) {
  const auto& records = files.records();
  const Record& record = records[input.Pick(records.size())];
  if (!files.Has(record.file)) return;
  std::string& bytes = files.Bytes(record.file);
  if (record.at + record.bytes() > bytes.size()) return;
  auto header = LoadAt<RecordHeader>(bytes, record.at);
  const size_t payload = record.at + sizeof(header);
  const size_t end = record.at + CommitWord::Length(record.header.commit);
  switch (input.Pick(5)) {
    case 0:
    case 1:
      header = ChangeHeader(input, files, header, record.salt);
      break;
    case 2: {  // A number of what it says.
      files.SetForged();
      constexpr size_t kSizes[] = {1, 2, 4, 8};
      const size_t size = kSizes[input.Pick(4)];
      if (end - payload < size) return;
      ChangeNumber(input, bytes, payload + input.Pick(end - payload - size + 1),
                   size);
      break;
    }
    case 3: {  // Bytes of what it says.
      files.SetForged();
      const std::string_view text = input.TakeText(64);
      if (text.size() > end - payload) return;
      bytes.replace(payload + input.Pick(end - payload - text.size() + 1),
                    text.size(), text);
      break;
    }
    default: {  // All of it is another record's, but where it is.
      const Record& other = records[input.Pick(records.size())];
      if (!files.Has(other.file)) return;
      const std::string& source = files.Bytes(other.file);
      const size_t length = CommitWord::Length(other.header.commit);
      if (record.at + length > bytes.size() ||
          other.at + length > source.size()) {
        return;
      }
      const std::string copy = source.substr(other.at, length);
      bytes.replace(record.at, length, copy);
      const auto copied = LoadAt<RecordHeader>(bytes, record.at);
      const RecordHeader old = header;
      header = copied;
      header.position = old.position;
      if (input.Pick(2) == 0) {
        header.sequence = old.sequence;
        header.offset = old.offset;
        header.epoch = old.epoch;
      }
      header.commit = CommitWord::Make(
          CommitWord::Length(copied.commit), CommitWord::Type(copied.commit),
          CommitWord::Flags(copied.commit), header.sequence, record.salt);
    }
  }
  Seal(bytes, record.at, header, record.salt, files.forged());
}

void ChangeSegment(Input& input, HostileFiles& files) {
  const auto& records = files.records();
  const std::string& file = records[input.Pick(records.size())].file;
  if (!files.Has(file)) return;
  std::string& bytes = files.Bytes(file);
  if (bytes.size() < sizeof(SegmentHeader)) return;
  // Of these, one field; the rest is checksums.
  constexpr size_t kFields[][2] = {
      {offsetof(SegmentHeader, header_bytes), 4},
      {offsetof(SegmentHeader, incompatible), 4},
      {offsetof(SegmentHeader, base), 8},
      {offsetof(SegmentHeader, capacity), 8},
      {offsetof(SegmentHeader, salt), 8},
      {offsetof(SegmentHeader, boot_hash), 8},
      {offsetof(SegmentHeader, epoch), 4},
      {offsetof(SegmentHeader, roll.previous_end), 8},
      {offsetof(SegmentHeader, roll.previous_sequence), 8},
      {offsetof(SegmentHeader, roll.durable), 8},
      {offsetof(SegmentHeader, roll.previous_chain), 4}};
  const auto& field = kFields[input.Pick(std::size(kFields))];
  ChangeNumber(input, bytes, field[0], field[1]);
  auto header = LoadAt<SegmentHeader>(bytes, 0);
  header.checksum = SealOf(header);
  header.roll.checksum = SealOf(header.roll, header.salt);
  StoreAt(bytes, 0, header);
}

// Bytes that no checksum is made right for.
void ChangeBytes(Input& input, HostileFiles& files) {
  const auto& records = files.records();
  const Record& record = records[input.Pick(records.size())];
  if (!files.Has(record.file)) return;
  if (input.Pick(4) == 0) {
    files.Cut(record.file, record.at + input.Number<2>() % 512);
    return;
  }
  std::string& bytes = files.Bytes(record.file);
  const std::string_view text = input.TakeText(32);
  const size_t at = record.at + input.Pick(256);
  if (at + text.size() <= bytes.size()) bytes.replace(at, text.size(), text);
}

}  // namespace

void EditLog(Input& input, HostileFiles& files) {
  switch (input.Pick(6)) {
    case 0:
      ChangeSegment(input, files);
      break;
    case 1:
      ChangeBytes(input, files);
      break;
    default:
      ChangeRecord(input, files);
  }
}

}  // namespace openmessaging::reference
