// SPDX-License-Identifier: Apache-2.0

#include "cursor_image.h"

#include <algorithm>
#include <optional>

#include "cursor_words.h"
#include "delivery_word.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

constexpr uint16_t kSettledBit = 0x8000;

uint16_t ImageOf(DeliveryWord word, uint64_t offset) {
  if (!word.Is(offset)) return 0;
  // What moved to the exceptions is told with them.
  if (word.state() == DeliveryState::kMoved) return kSettledBit;
  const auto attempts =
      static_cast<uint16_t>(OMS_PLANTED(kAttemptsUntold) ? 0 : word.attempts());
  return word.state() == DeliveryState::kSettled ? attempts | kSettledBit
                                                 : attempts;
}

struct Exception {
  uint64_t offset = 0;
  uint32_t attempts = 0;
};

// Returns: what the nth entry of the table holds, unless it is free or settled.
std::optional<Exception> UnsettledException(const CursorWords& words,
                                            uint32_t n) {
  const ExceptionEntry& entry = words.exceptions()->entry(n);
  const uint64_t name = entry.name.Load();
  const DeliveryWord word(entry.word.Load());
  if (name == 0) return std::nullopt;
  const uint64_t offset = name - 1;
  // A damaged word counts as not acknowledged.
  if (!word.Is(offset)) return Exception{offset, 0};
  if (word.state() == DeliveryState::kSettled) return std::nullopt;
  return Exception{offset, word.attempts()};
}

}  // namespace

uint64_t SettledFloor(const Control& control, const Cursor& cursor) {
  const CursorWords words(&control, &cursor);
  const uint64_t next = cursor.next.Load();
  uint64_t floor = cursor.floor.Load();
  if (!words.has_window()) return floor;
  while (floor < next &&
         (ImageOf(words.InWindow(floor).Load(), floor) & kSettledBit) != 0) {
    ++floor;
  }
  for (uint32_t n = 0; n < words.UsedExceptions(); ++n) {
    if (const auto found = UnsettledException(words, n)) {
      floor = std::min(floor, found->offset);
    }
  }
  return floor;
}

void PutCursorImage(const Control& control, const Cursor& cursor,
                    ImageWriter& image) {
  const CursorWords words(&control, &cursor);
  // Both move while a receiver takes: the pair counts only if the floor stood
  // still around `next`, else they could be further apart than a window.
  uint64_t floor = cursor.floor.Load();
  uint64_t next = cursor.next.Load();
  while (cursor.floor.Load() != floor) {
    floor = cursor.floor.Load();
    next = cursor.next.Load();
  }
  const auto image_at = [&](uint64_t offset) {
    if (!words.has_window()) return uint16_t{0};
    const DeliveryWord word = words.InWindow(offset).Load();
    // Its place was taken by a later message meanwhile: it was settled, or is
    // an exception by now.
    if (!word.Is(offset) && offset < cursor.floor.Load()) return kSettledBit;
    return ImageOf(word, offset);
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
  // Behind the window, so that what moves meanwhile is told here at least.
  for (uint32_t n = 0; n < words.UsedExceptions(); ++n) {
    if (OMS_PLANTED(kExceptionsUntold)) break;
    if (const auto found = UnsettledException(words, n)) {
      image.Put(found->offset);
      image.Put(static_cast<uint16_t>(found->attempts));
    }
  }
}

void CursorChanges::AddDelivered(ImageReader& reader) {
  floor = std::max(floor, reader.Get<uint64_t>());
  while (reader.ok() && !reader.at_end()) {
    const auto offset = reader.Get<uint64_t>();
    const auto attempts = reader.Get<uint16_t>();
    if (!reader.ok()) return;
    Change& change = by_offset[offset];
    change.attempts = std::max<uint32_t>(change.attempts, attempts);
  }
}

void CursorChanges::AddDead(const DeadSource& source) {
  floor = std::max(floor, source.floor);
  Change& change = by_offset[source.offset];
  change.attempts = std::max(change.attempts, source.attempts);
  change.settled = !OMS_PLANTED(kDeadLetterRestored);
}

namespace {

struct Span {
  uint64_t first = 0;
  uint64_t floor = 0;
  uint64_t next = 0;
};

// Puts the exceptions that `reader` still holds into the table; `put` those
// that are within the window.
template <typename Put>
absl::Status RestoreExceptions(const Control& control, Catalog& catalog,
                               Cursor& cursor, ImageReader& reader,
                               const CursorChanges& changes, const Span& span,
                               const Put& put) {
  const uint32_t window = control.header().options.window;
  uint32_t used = 0;
  while (!reader.at_end()) {
    const auto offset = reader.Get<uint64_t>();
    uint32_t attempts = reader.Get<uint16_t>();
    if (!reader.ok()) break;
    if (offset < span.first || offset >= span.next) continue;
    if (offset >= span.floor) {
      put(offset, attempts, false);
      continue;
    }
    if (const auto change = changes.by_offset.find(offset);
        change != changes.by_offset.end()) {
      if (change->second.settled) continue;
      attempts = std::max(attempts, change->second.attempts);
    }
    if (used == window) break;
    if (auto s = catalog.EnsureExceptions(cursor, TimePoint::max()); !s.ok()) {
      return s;
    }
    ExceptionTable& table = *CursorWords(&control, &cursor).exceptions();
    ExceptionEntry& entry = table.entry(used++);
    entry.word.Store(
        DeliveryWord::Restored(offset, DeliveryState::kReturned, attempts)
            .bits());
    entry.due.Store(0);
    entry.name.Store(offset + 1);
    table.used.Store(used);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RestoreCursor(const Control& control, Catalog& catalog,
                           const PartitionState& partition, Cursor& cursor,
                           std::string_view image,
                           const CursorChanges& changes) {
  const uint32_t window = control.header().options.window;
  const uint64_t first = partition.first_offset.Load();
  const uint64_t end = partition.next_offset.Load();
  ImageReader reader(image);
  const uint64_t said_floor =
      image.empty() ? cursor.floor.Load() : reader.Get<uint64_t>();
  const uint64_t said_next =
      image.empty() ? said_floor : reader.Get<uint64_t>();
  if (!reader.ok() || said_floor > said_next ||
      said_next - said_floor > window) {
    return MakeStatus(Code::kDamaged,
                      "restore a group: its record makes no sense");
  }
  // What was retired is settled; what the log lost is not handed out.
  const uint64_t floor =
      std::min(std::max({said_floor, changes.floor, first}), end);
  uint64_t next = std::max(said_next, floor);
  // What was handed out behind the image: of some it is known how often.
  for (const auto& [offset, change] : changes.by_offset) {
    if (offset >= next && offset - floor < window) next = offset + 1;
  }
  next = std::min(next, end);
  cursor.floor.Store(floor);
  cursor.next.Store(floor);
  cursor.next_scan_ns.Store(INT64_MAX);
  // Floor, next and a run or more, or an exception.
  if (next == floor && image.size() <= 2 * sizeof(uint64_t)) {
    return absl::OkStatus();
  }
  if (auto s = catalog.EnsureWindow(cursor, TimePoint::max()); !s.ok()) {
    return s;
  }
  const CursorWords words(&control, &cursor);
  const auto put = [&](uint64_t offset, uint32_t attempts, bool settled) {
    const DeliveryPlace place = words.InWindow(offset);
    place.due->Store(0);
    place.word->Store(
        DeliveryWord::Restored(offset,
                               settled ? DeliveryState::kSettled
                                       : DeliveryState::kReturned,
                               attempts)
            .bits());
  };
  for (uint64_t offset = floor; offset < next; ++offset) put(offset, 0, false);
  uint64_t offset = said_floor;
  while (offset < said_next && reader.ok()) {
    const auto run = reader.Get<uint16_t>();
    const auto value = reader.Get<uint16_t>();
    if (run == 0) break;
    for (uint64_t k = 0; k < run && offset < said_next; ++k, ++offset) {
      if (offset < floor || offset >= next) continue;
      put(offset, value & ~kSettledBit, (value & kSettledBit) != 0);
    }
  }
  if (offset >= said_next) {
    if (auto s = RestoreExceptions(control, catalog, cursor, reader, changes,
                                   {first, floor, next}, put);
        !s.ok()) {
      return s;
    }
  }
  for (const auto& [changed, change] : changes.by_offset) {
    if (changed < floor || changed >= next) continue;
    const DeliveryWord known = words.InWindow(changed).Load();
    put(changed, std::max(known.attempts(), change.attempts),
        change.settled || known.state() == DeliveryState::kSettled);
  }
  cursor.next.Store(next);
  cursor.next_scan_ns.Store(0);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
