// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/reference/inspect.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "checkpoint.h"
#include "control_view.h"
#include "env/overlay_storage.h"
#include "env/storage.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

using internal::Concat;

// How often a store in use is looked at until nothing moved under the look. One
// that retires segments all the time moves the records that hold names.
constexpr int kInspectLooks = 100;
// More than opening a store for oneself alone waits for: nobody.
constexpr std::chrono::seconds kInspectPatience{10};

std::string AsHex(const StoreUuid& uuid) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : uuid) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

// Puts in what the files say of themselves: their size, which a recovery may
// have cut for those who use the store, and where the log rolled into the next
// one, perhaps before it was full.
void AddFromHeaders(Storage& storage, InspectReport& report) {
  for (size_t n = 0; n < report.segments.size(); ++n) {
    InspectSegment& segment = report.segments[n];
    const auto file = storage.Open(segment.file, Access::kRead);
    if (!file.ok()) continue;
    const auto bytes = (*file)->ReadAll(sizeof(SegmentHeader));
    if (!bytes.ok() || bytes->size() < sizeof(SegmentHeader)) continue;
    SegmentHeader header;
    std::memcpy(&header, bytes->data(), sizeof(header));
    if (SealOf(header) != header.checksum) continue;
    segment.capacity_bytes = header.capacity;
    if (n == 0 || segment.used_bytes == 0 ||
        SealOf(header.roll, header.salt) != header.roll.checksum) {
      continue;
    }
    InspectSegment& before = report.segments[n - 1];
    if (header.roll.previous_end < before.base) continue;
    before.used_bytes =
        std::min(before.used_bytes, header.roll.previous_end - before.base);
  }
}

// Counts the files of large bodies by their names.
void AddBodies(Storage& storage, InspectReport& report) {
  const auto names = storage.List("big");
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    const auto body = ParseBodyName(name);
    if (!body) continue;
    ++report.bodies;
    report.body_bytes += body->bytes;
  }
}

// Returns: whether every name was found.
bool AddFromControl(Storage& storage, const ControlView& control,
                    const ByteLocks* locks, InspectReport& report) {
  const ControlHeader& said = control.header();
  report.live_state = true;
  report.epoch = said.epoch;
  report.poisoned = said.poisoned.Load() != 0;
  report.committed = said.committed.end.Load();
  report.durable = said.flush.durable.Load();
  if (report.state != InspectReport::State::kInUse) {
    report.state =
        said.state.Load() == static_cast<uint32_t>(ControlState::kClean)
            ? InspectReport::State::kClosed
            : InspectReport::State::kLeft;
  }
  control.AddSegments(report);
  control.AddSlots(locks, Environment::OfMachine().clock->BootNs(), report);
  control.AddLocks(locks, report);
  control.AddHeld(report);
  return control.AddQueues(storage, locks, report);
}

// Adds the files that were made ahead; an opening by itself would drop them.
void AddMadeAhead(Storage& storage, InspectReport& report) {
  const auto names = storage.List("log");
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    InspectSegment segment;
    if (!ParseSegmentName(name, segment.base, segment.epoch) ||
        segment.base < report.committed) {
      continue;
    }
    segment.file = SegmentName(segment.base, segment.epoch);
    const bool known = std::any_of(
        report.segments.begin(), report.segments.end(),
        [&](const InspectSegment& one) { return one.file == segment.file; });
    if (!known) report.segments.push_back(std::move(segment));
  }
  std::sort(report.segments.begin(), report.segments.end(),
            [](const InspectSegment& a, const InspectSegment& b) {
              return a.base < b.base;
            });
}

// Opens the store for itself alone and reports what it finds, without the
// traces of doing so.
absl::Status AddFromLog(const std::shared_ptr<Storage>& storage,
                        const StoreFile& store, InspectReport& report) {
  const std::shared_ptr<Storage> overlay = OpenOverlay(storage);
  const Environment& environment = Environment::OfMachine();
  auto opened =
      Store::Open(overlay, &environment, {},
                  std::chrono::steady_clock::now() + kInspectPatience);
  if (!opened.ok()) return opened.status();
  const auto control =
      ControlView::Read(*overlay, store, environment.clock->BootHash());
  if (!control) {
    return MakeStatus(Code::kStorageError, "inspect \"",
                      std::string_view(storage->Describe()),
                      "\": its log could not be replayed");
  }
  report.committed = control->header().committed.end.Load();
  // What can be read without its processes is on the disk.
  report.durable = report.committed;
  control->AddSegments(report);
  control->AddQueues(*overlay, nullptr, report);
  control->AddHeld(report);
  std::erase_if(report.segments, [&](const InspectSegment& segment) {
    return !storage->Open(segment.file, Access::kRead).ok();
  });
  AddMadeAhead(*storage, report);
  for (const InspectSegment& segment : report.segments) {
    report.epoch = std::max(report.epoch, segment.epoch);
  }
  if (report.state != InspectReport::State::kInUse) {
    const auto checkpoint = ReadCheckpoint(*storage, store.uuid);
    const uint64_t closed_at = checkpoint ? checkpoint->end : 0;
    report.state = closed_at == report.committed ? InspectReport::State::kClosed
                                                 : InspectReport::State::kLeft;
    if (checkpoint) report.epoch = std::max(report.epoch, checkpoint->epoch);
  }
  return absl::OkStatus();
}

// Looks once. `complete` becomes false where something moved meanwhile.
absl::StatusOr<InspectReport> InspectOnce(
    const std::shared_ptr<Storage>& storage, const StoreFile& store,
    bool& complete) {
  InspectReport report;
  report.uuid = AsHex(store.uuid);
  report.format = Concat(store.major, '.', store.minor);
  report.created =
      std::chrono::milliseconds(static_cast<int64_t>(store.created_ms));
  const auto locks = LocksFromOutside(*storage);
  if (InUse(locks.get(), store)) report.state = InspectReport::State::kInUse;
  const auto control = ControlView::Read(
      *storage, store, Environment::OfMachine().clock->BootHash());
  complete = true;
  if (control) {
    complete = AddFromControl(*storage, *control, locks.get(), report);
  } else if (auto s = AddFromLog(storage, store, report); !s.ok()) {
    return s;
  }
  AddFromHeaders(*storage, report);
  AddBodies(*storage, report);
  report.begin = report.segments.empty() ? 0 : report.segments.front().base;
  return report;
}

}  // namespace

absl::StatusOr<InspectReport> InspectStore(const std::string& directory) {
  DirectoryOptions options;
  options.create = false;
  options.read_only = true;
  auto opened = OpenDirectory(directory, options);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<Storage> storage = *std::move(opened);
  const auto store = ReadStoreFromOutside(*storage, "inspect", directory);
  if (!store.ok()) return store.status();
  if (store->magic != StoreFile::kMagic) {
    return MakeStatus(Code::kBadParameter, "inspect \"",
                      std::string_view(directory),
                      "\": its file STORE is not one of ours; expected a "
                      "directory of the file driver");
  }
  if (!IsSound(*store)) {
    return MakeStatus(Code::kDamaged, "inspect \"", std::string_view(directory),
                      "\": its file STORE is damaged");
  }
  bool complete = false;
  auto report = InspectOnce(storage, *store, complete);
  for (int look = 1; look < kInspectLooks && report.ok() && !complete; ++look) {
    report = InspectOnce(storage, *store, complete);
  }
  return report;
}

}  // namespace openmessaging::reference
