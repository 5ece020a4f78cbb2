// SPDX-License-Identifier: Apache-2.0

#include "repair_target.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace openmessaging::reference {
namespace {

// A longer segment is not filled further: it is in memory until it is written.
constexpr uint64_t kMostBytes = uint64_t{64} << 20;

}  // namespace

RepairTarget::RepairTarget(Storage* storage, const Environment* environment,
                           const StoreFile& store)
    : storage_(storage), environment_(environment), store_(store) {}

absl::Status RepairTarget::Begin() {
  for (const char* const name : {"log", "big", "ckpt", "quarantine"}) {
    if (auto s = storage_->MakeDirectory(name); !s.ok()) return s;
  }
  auto file = storage_->CreateNew("STORE");
  if (!file.ok()) return file.status();
  const auto place = (*file)->Identity();
  if (!place.ok()) return place.status();
  store_.bytes = sizeof(store_);
  store_.device = place->device;
  store_.inode = place->inode;
  store_.checksum = Crc32c(0, &store_, offsetof(StoreFile, checksum));
  if (auto s = (*file)->WriteAll(
          {reinterpret_cast<const char*>(&store_), sizeof(store_)});
      !s.ok()) {
    return s;
  }
  if (auto s = (*file)->Sync(); !s.ok()) return s;
  return storage_->SyncDirectory("");
}

absl::Status RepairTarget::StartSegment(uint64_t base, uint64_t sequence,
                                        uint32_t epoch) {
  SegmentHeader::Roll roll;
  roll.previous_end = open_ ? end_ : base;
  roll.previous_sequence = sequence - 1;
  roll.durable = roll.previous_end;
  roll.previous_chain = chain_;
  if (open_) {
    // It reaches to the next one, so that the two join.
    if (auto s = WriteSegment(base - header_.base); !s.ok()) return s;
  }
  header_ = SegmentHeader();
  header_.uuid = store_.uuid;
  header_.base = base;
  header_.created_ms = static_cast<uint64_t>(environment_->clock->WallMs());
  header_.salt = environment_->random->Next();
  header_.boot_hash = environment_->clock->BootHash();
  header_.epoch = epoch;
  header_.roll = roll;
  header_.roll.checksum = SealOf(header_.roll, header_.salt);
  bytes_.clear();
  chain_ = 0;
  open_ = true;
  return absl::OkStatus();
}

absl::Status RepairTarget::BeginLog(uint64_t base, const RecordHeader& first) {
  end_ = base;
  return StartSegment(base, first.sequence, first.epoch);
}

absl::Status RepairTarget::WriteSegment(uint64_t capacity) {
  header_.capacity = capacity;
  header_.checksum = SealOf(header_);
  auto file = storage_->CreateNew(SegmentName(header_.base, header_.epoch));
  if (!file.ok()) return file.status();
  std::string all(kSegmentHeaderBytes, '\0');
  std::memcpy(all.data(), &header_, sizeof(header_));
  all += bytes_;
  if (auto s = (*file)->WriteAll(all); !s.ok()) return s;
  if (auto s = (*file)->Grow(kSegmentHeaderBytes + capacity); !s.ok()) return s;
  return (*file)->Sync();
}

absl::Status RepairTarget::Add(RecordHeader header, std::string_view payload) {
  const bool follows = open_ && header.position == end_ &&
                       header.sequence == sequence_ + 1 &&
                       bytes_.size() < kMostBytes;
  if (!follows) {
    auto s = StartSegment(header.position, header.sequence, header.epoch);
    if (!s.ok()) return s;
  }
  const uint32_t length =
      static_cast<uint32_t>(sizeof(header) + payload.size());
  const uint8_t flags =
      CommitWord::Flags(header.commit) & static_cast<uint8_t>(~kPayloadPending);
  header.commit = CommitWord::Make(length, CommitWord::Type(header.commit),
                                   flags, header.sequence, header_.salt);
  header.payload_checksum = Crc32c(payload);
  header.header_checksum = SealOf(header, header_.salt);
  bytes_.append(reinterpret_cast<const char*>(&header), sizeof(header));
  bytes_.append(payload);
  bytes_.resize(AlignUp(bytes_.size(), kRecordAlignment));
  chain_ =
      Crc32c(chain_, &header.header_checksum, sizeof(header.header_checksum));
  end_ = header.position + PaddedBytes(header);
  sequence_ = header.sequence;
  epoch_ = header.epoch;
  return absl::OkStatus();
}

absl::Status RepairTarget::Append(RecordType type, uint32_t queue_partition,
                                  uint64_t offset, std::string_view payload) {
  RecordHeader header;
  header.commit = CommitWord::Make(0, type, 0, 0, 0);
  header.sequence = sequence_ + 1;
  header.position = end_;
  header.queue_partition = queue_partition;
  header.epoch = appending_ ? epoch_ : epoch_ + 1;
  header.offset = offset;
  header.store_ms = environment_->clock->WallMs();
  header.durable_floor = kNoFloor;
  if (!appending_) {
    auto s = StartSegment(header.position, header.sequence, header.epoch);
    if (!s.ok()) return s;
    appending_ = true;
  }
  return Add(header, payload);
}

absl::Status RepairTarget::End() {
  if (open_) {
    const uint64_t used = AlignUp(bytes_.size(), kRecordAlignment);
    if (auto s = WriteSegment(used); !s.ok()) return s;
    open_ = false;
  }
  if (auto s = storage_->SyncDirectory("big"); !s.ok()) return s;
  return storage_->SyncDirectory("log");
}

}  // namespace openmessaging::reference
