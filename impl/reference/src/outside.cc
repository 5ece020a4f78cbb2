// SPDX-License-Identifier: Apache-2.0

#include "outside.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "control.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

absl::StatusOr<StoreFile> ReadStoreFromOutside(Storage& storage,
                                               std::string_view operation,
                                               const std::string& directory) {
  auto file = storage.Open("STORE", Access::kRead);
  if (!file.ok() && OmsCode(file.status()) == Code::kQueueNotFound) {
    return MakeStatus(Code::kBadParameter, operation, " \"",
                      std::string_view(directory),
                      "\": it holds no store; expected a directory with a "
                      "file STORE");
  }
  if (!file.ok()) return file.status();
  const auto bytes = (*file)->ReadAll(sizeof(StoreFile));
  if (!bytes.ok()) return bytes.status();
  StoreFile store;
  // Too short to say anything: no checksum fits.
  store.magic = 0;
  if (bytes->size() < 16) return store;
  std::memcpy(&store, bytes->data(), std::min(bytes->size(), sizeof(store)));
  if (store.magic == StoreFile::kMagic &&
      !IsOurFormat(store.major, store.minor, store.incompatible)) {
    return MakeStatus(Code::kIncompatibleVersion, operation, " \"",
                      std::string_view(directory), "\": its format is ",
                      store.major, ".", store.minor,
                      "; this library reads format ", kFormatMajor, ".",
                      kFormatMinor);
  }
  return store;
}

bool IsSound(const StoreFile& store) {
  return store.magic == StoreFile::kMagic &&
         Crc32c(0, &store, offsetof(StoreFile, checksum)) == store.checksum;
}

std::unique_ptr<ByteLocks> LocksFromOutside(Storage& storage) {
  if (!storage.Open("LOCK", Access::kRead).ok()) return nullptr;
  auto locks = storage.OpenLocks("LOCK");
  return locks.ok() ? *std::move(locks) : nullptr;
}

bool InUse(const ByteLocks* locks, const StoreFile& store) {
  if (locks == nullptr) return false;
  const auto held = locks->HeldElsewhere(kSlotByte, store.options.slots);
  return held.ok() && *held;
}

}  // namespace openmessaging::reference
