// SPDX-License-Identifier: Apache-2.0
//
// Messages that are held back, delayed or prepared, as their newest records have
// them: what is read of them when they enter their queue or are appended again.

#ifndef OPENMESSAGING_REFERENCE_HELD_MESSAGE_H_
#define OPENMESSAGING_REFERENCE_HELD_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "format.h"
#include "segment_map.h"

namespace openmessaging::reference {

class Store;

// Lifetime: the views are good while `segment` is.
struct HeldMessage {
  std::shared_ptr<Segment> segment{};
  // Nothing of it could be read that is to be believed.
  bool damaged = false;
  // Of its message, without those that are the record's own.
  uint8_t flags = 0;
  uint32_t key_hash = 0;
  std::string_view head{};
  std::string_view fields{};
  std::string_view body{};
};

// Reads a record of that type, with a head of `head_bytes`, at a position that a
// table says. What was on a disk is verified. Errors: its segment cannot be
// mapped now.
absl::StatusOr<HeldMessage> ReadHeld(Store& store, uint64_t position,
                                     RecordType type, size_t head_bytes);

// Whether a record at that position is at durability disk; so too where it
// cannot be read.
bool IsAtDisk(Store& store, uint64_t position);

// Returns: what an id of this store names; nothing for any other, nor for one
// that it has not given out yet.
std::optional<HeldId> ParseHeldId(std::string_view id, Store& store);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_HELD_MESSAGE_H_
