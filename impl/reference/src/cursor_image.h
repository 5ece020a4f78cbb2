// SPDX-License-Identifier: Apache-2.0
//
// The state of one cursor as ACK-RANGE records and checkpoints hold it: floor,
// next, and runs of equal {settled, attempts} between them.

#ifndef OPENMESSAGING_REFERENCE_CURSOR_IMAGE_H_
#define OPENMESSAGING_REFERENCE_CURSOR_IMAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "catalog.h"
#include "control_file.h"
#include "format.h"

namespace openmessaging::reference {

// Writes numbers and bytes, little-endian.
class ImageWriter {
 public:
  ImageWriter() = default;
  // Writes into `buffer`, in place of what it holds.
  explicit ImageWriter(std::string buffer) : bytes_(std::move(buffer)) {
    bytes_.clear();
  }

  template <typename T>
  void Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void PutBytes(std::string_view bytes) {
    Put(static_cast<uint32_t>(bytes.size()));
    bytes_.append(bytes);
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// Reads what ImageWriter wrote. Behind the end everything reads as zero and
// ok() is false.
class ImageReader {
 public:
  explicit ImageReader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  template <typename T>
  T Get() {
    T value{};
    if (rest_.size() < sizeof(T)) {
      ok_ = false;
      rest_ = {};
      return value;
    }
    __builtin_memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view GetBytes() {
    const auto size = Get<uint32_t>();
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Returns: the offset below which all is settled. The cursor's own floor follows
// when somebody receives next, which may be never.
uint64_t SettledFloor(const Control& control, const Cursor& cursor);

// Writes the state of a cursor. It may be changing: what is settled meanwhile
// is in the next image.
void PutCursorImage(const Control& control, const Cursor& cursor,
                    ImageWriter& image);
inline std::string TakeCursorImage(const Control& control,
                                   const Cursor& cursor) {
  ImageWriter image;
  PutCursorImage(control, cursor, image);
  return std::move(image.bytes());
}

// What the log says of a cursor beside its images, whose writers may have looked
// before and appended behind.
struct CursorChanges {
  struct Change {
    uint32_t attempts = 0;
    bool settled = false;
  };

  // Everything below was settled.
  uint64_t floor = 0;
  std::map<uint64_t, Change> by_offset{};

  // Reads a DELIVERED record's body behind the group.
  void AddDelivered(ImageReader& reader);
  // Adds what a DEAD or SETTLED record settled.
  void AddDead(const DeadSource& source);
};

// Puts an image back into a cursor that nobody uses yet, with what changed
// beside it, cut to the messages that there are. No image: as the cursor is.
// Errors: 1609 the image makes no sense; 1502.
absl::Status RestoreCursor(const Control& control, Catalog& catalog,
                           const PartitionState& partition, Cursor& cursor,
                           std::string_view image,
                           const CursorChanges& changes);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CURSOR_IMAGE_H_
