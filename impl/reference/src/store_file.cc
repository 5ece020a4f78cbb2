// SPDX-License-Identifier: Apache-2.0
//
// The file STORE: who a store is. It is written once and never changed.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "openmessaging/status.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

constexpr char kTemporaryStore[] = "STORE.tmp";

absl::Status NotAStore(std::string_view path, std::string_view why) {
  return MakeStatus(Code::kBadParameter, "open store \"", path, "\": ", why);
}

}  // namespace

absl::Status Store::MakeDirectories() {
  for (const char* const name : {"log", "big", "ckpt", "quarantine"}) {
    if (auto s = storage_->MakeDirectory(name); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Store::CheckEmpty() const {
  const auto names = storage_->List("");
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    // What a creation that was cut may have left.
    const bool ours = name == "LOCK" || name == kTemporaryStore ||
                      name == "log" || name == "big" || name == "ckpt" ||
                      name == "quarantine";
    if (!ours) {
      return NotAStore(Describe(),
                       "the directory is not empty and holds no store; "
                       "expected an empty directory or a new name");
    }
  }
  return absl::OkStatus();
}

absl::Status Store::CheckPlace() {
  auto file = storage_->Open("STORE", Access::kRead);
  if (!file.ok() && OmsCode(file.status()) == Code::kQueueNotFound) {
    const absl::Status empty = CheckEmpty();
    if (empty.ok()) return empty;
    // Another process may have made the store between the two looks.
    file = storage_->Open("STORE", Access::kRead);
    if (!file.ok() && OmsCode(file.status()) == Code::kQueueNotFound) {
      return empty;
    }
  }
  if (!file.ok()) return file.status();
  return ReadStoreFile(**file);
}

absl::Status Store::ReadStoreFile(File& file) {
  const std::string path = Describe();
  const auto bytes = file.ReadAll(sizeof(StoreFile));
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() >= 16) {
    std::memcpy(&store_file_, bytes->data(),
                std::min(bytes->size(), sizeof(StoreFile)));
  }
  if (bytes->size() < 16 || store_file_.magic != StoreFile::kMagic) {
    return NotAStore(path, "its file STORE is not one of ours");
  }
  if (!IsOurFormat(store_file_.major, store_file_.minor,
                   store_file_.incompatible)) {
    return MakeStatus(Code::kIncompatibleVersion, "open store \"",
                      std::string_view(path), "\": its format is ",
                      store_file_.major, ".", store_file_.minor,
                      "; this library reads and writes format ",
                      kFormatMajor, ".", kFormatMinor);
  }
  if (bytes->size() < sizeof(StoreFile) ||
      Crc32c(0, &store_file_, offsetof(StoreFile, checksum)) !=
          store_file_.checksum) {
    return MakeStatus(Code::kDamaged, "open store \"", std::string_view(path),
                      "\": its file STORE is damaged");
  }
  const StoreOptions& chosen = store_file_.options;
  if (chosen.slots < 1 || chosen.slots > 1024 || chosen.bells > kMaxBells ||
      chosen.window < 1 || chosen.window > 32768 || chosen.max_segments < 2 ||
      chosen.max_segments > 65536 || chosen.first_segment_bytes < kPage ||
      chosen.max_segment_bytes > uint64_t{1} << 32 ||
      chosen.reserve_bytes > uint64_t{1} << 32 ||
      chosen.big_body_bytes < 1 || chosen.big_body_bytes > uint64_t{1} << 32) {
    return MakeStatus(Code::kDamaged, "open store \"", std::string_view(path),
                      "\": its file STORE names impossible options");
  }
  return absl::OkStatus();
}

absl::Status Store::ReadOrCreateStoreFile(const StoreOpenOptions& options) {
  auto file = storage_->Open("STORE", Access::kRead);
  if (!file.ok()) {
    if (OmsCode(file.status()) != Code::kQueueNotFound) return file.status();
    if (auto s = CheckEmpty(); !s.ok()) return s;
    if (auto s = MakeDirectories(); !s.ok()) return s;
    auto made = storage_->Create(kTemporaryStore);
    if (!made.ok()) return made.status();
    const auto place = (*made)->Identity();
    if (!place.ok()) return place.status();
    StoreFile fresh;
    fresh.bytes = sizeof(fresh);
    fresh.created_ms = static_cast<uint64_t>(environment_->clock->WallMs());
    fresh.device = place->device;
    fresh.inode = place->inode;
    fresh.options = options.create;
    for (size_t at = 0; at < fresh.uuid.size(); at += sizeof(uint64_t)) {
      const uint64_t random = environment_->random->Next();
      std::memcpy(fresh.uuid.data() + at, &random, sizeof(random));
    }
    fresh.checksum = Crc32c(0, &fresh, offsetof(StoreFile, checksum));
    const std::string_view bytes(reinterpret_cast<const char*>(&fresh),
                                 sizeof(fresh));
    if (auto s = (*made)->WriteAll(bytes); !s.ok()) return s;
    if (auto s = (*made)->Sync(); !s.ok()) return s;
    if (auto s = storage_->Rename(kTemporaryStore, "STORE"); !s.ok()) return s;
    if (auto s = storage_->SyncDirectory(""); !s.ok()) return s;
    open_path_ = OpenPath::kCreated;
    file = storage_->Open("STORE", Access::kRead);
    if (!file.ok()) return file.status();
  }
  if (auto s = ReadStoreFile(**file); !s.ok()) return s;
  const auto place = (*file)->Identity();
  if (!place.ok()) return place.status();
  same_place_ = *place == FileIdentity{store_file_.device, store_file_.inode};
  return MakeDirectories();
}

}  // namespace openmessaging::reference
