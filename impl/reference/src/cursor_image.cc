// SPDX-License-Identifier: Apache-2.0

#include "cursor_image.h"

#include <algorithm>
#include <vector>

#include "delivery_word.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr uint16_t kSettledBit = 0x8000;

Shared<uint64_t>* WordsOf(const Control& control, const Cursor& cursor) {
  const uint64_t offset = cursor.window.Load();
  return offset == 0 ? nullptr : control.Get<Shared<uint64_t>>(offset);
}

uint16_t ImageOf(DeliveryWord word, uint64_t offset) {
  if (!word.Is(offset)) return 0;
  const auto attempts = static_cast<uint16_t>(word.attempts());
  return word.state() == DeliveryState::kSettled ? attempts | kSettledBit
                                                 : attempts;
}

}  // namespace

uint64_t SettledFloor(const Control& control, const Cursor& cursor) {
  const uint32_t window = control.header().options.window;
  const uint64_t next = cursor.next.Load();
  uint64_t floor = cursor.floor.Load();
  const Shared<uint64_t>* const words = WordsOf(control, cursor);
  if (words == nullptr) return floor;
  while (floor < next &&
         (ImageOf(DeliveryWord(words[floor % window].Load()), floor) &
          kSettledBit) != 0) {
    ++floor;
  }
  return floor;
}

void PutCursorImage(const Control& control, const Cursor& cursor,
                    ImageWriter& image) {
  const uint32_t window = control.header().options.window;
  // Both move while a receiver takes: the pair counts only if the floor stood
  // still around `next`, else they could be further apart than a window.
  uint64_t floor = cursor.floor.Load();
  uint64_t next = cursor.next.Load();
  while (cursor.floor.Load() != floor) {
    floor = cursor.floor.Load();
    next = cursor.next.Load();
  }
  const Shared<uint64_t>* const words = WordsOf(control, cursor);
  const auto image_at = [&](uint64_t offset) {
    return words == nullptr
               ? uint16_t{0}
               : ImageOf(DeliveryWord(words[offset % window].Load()), offset);
  };
  while (floor < next && (image_at(floor) & kSettledBit) != 0) ++floor;
  image.Put(floor);
  image.Put(next);
  for (uint64_t offset = floor; offset < next;) {
    const uint16_t value = image_at(offset);
    uint16_t run = 1;
    while (offset + run < next && run < UINT16_MAX &&
           image_at(offset + run) == value) {
      ++run;
    }
    image.Put(run);
    image.Put(value);
    offset += run;
  }
}

absl::Status RestoreCursor(const Control& control, Catalog& catalog,
                           const PartitionState& partition, Cursor& cursor,
                           std::string_view image) {
  ImageReader reader(image);
  const auto floor = reader.Get<uint64_t>();
  const auto next = reader.Get<uint64_t>();
  const uint32_t window = control.header().options.window;
  const uint64_t first = partition.first_offset.Load();
  const uint64_t end = partition.next_offset.Load();
  if (!reader.ok() || floor > next || next - floor > window) {
    return MakeStatus(Code::kDamaged,
                      "restore a group: its record makes no sense");
  }
  // What was retired is settled; what the log lost is not handed out.
  cursor.floor.Store(std::min(std::max(floor, first), end));
  cursor.next.Store(cursor.floor.Load());
  cursor.next_scan_ns.Store(INT64_MAX);
  if (next == floor) return absl::OkStatus();
  if (auto s = catalog.EnsureWindow(cursor, TimePoint::max()); !s.ok()) {
    return s;
  }
  Shared<uint64_t>* const words = WordsOf(control, cursor);
  auto* const dues = reinterpret_cast<Shared<int64_t>*>(words + window);
  uint64_t offset = floor;
  while (offset < next && reader.ok()) {
    const auto run = reader.Get<uint16_t>();
    const auto value = reader.Get<uint16_t>();
    for (uint64_t k = 0; k < run && offset < next; ++k, ++offset) {
      if (offset < cursor.floor.Load() || offset >= end) continue;
      const bool settled = (value & kSettledBit) != 0;
      words[offset % window].Store(
          DeliveryWord::Restored(offset,
                                 settled ? DeliveryState::kSettled
                                         : DeliveryState::kReturned,
                                 value & ~kSettledBit)
              .bits());
      dues[offset % window].Store(0);
      cursor.next.Store(offset + 1);
    }
    if (run == 0) break;
  }
  cursor.next_scan_ns.Store(0);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
