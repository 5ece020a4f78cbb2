// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/reference/check.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "check_storage.h"
#include "checkpoint.h"
#include "control.h"
#include "env/storage.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "scanner.h"

namespace openmessaging::reference {
namespace {

// How often a store in use is looked at before what was found is believed.
constexpr int kCheckLooks = 3;

// How far a look gets between two words about it.
constexpr uint64_t kProgressBytes = uint64_t{1} << 20;

// Adds a note of each large body that no record names.
absl::Status AddUnnamed(
    Storage& storage, const absl::flat_hash_map<std::string, uint64_t>& named,
    const LogScan& scan, CheckReport& report) {
  // What is being written has no record yet, and damage may hide one.
  const bool damaged = std::any_of(
      scan.findings().begin(), scan.findings().end(),
      [](const ScanFinding& finding) { return finding.damage; });
  if (report.in_use || damaged) return absl::OkStatus();
  const auto names = storage.List("big");
  if (!names.ok()) {
    return OmsCode(names.status()) == Code::kQueueNotFound ? absl::OkStatus()
                                                           : names.status();
  }
  for (const std::string& name : *names) {
    if (!ParseBodyName(name) || named.contains("big/" + name)) continue;
    report.findings.push_back({"big/" + name, scan.end(),
                               "a large body that no record names", false});
  }
  return absl::OkStatus();
}

// Adds a note where an opening wrote one down.
void AddRefusedControl(Storage& storage, CheckReport& report) {
  if (!storage.Open(kRefusedControlName, Access::kRead).ok()) return;
  report.findings.push_back({kRefusedControlName, 0,
                             "an opening did not believe ctl, and read the "
                             "log instead; the file says why",
                             false});
}

// Reads the log once, as it is while it is read.
absl::StatusOr<CheckReport> CheckOnce(Storage& storage, const StoreFile& store,
                                      const Clock& clock,
                                      const CheckProgress& progress) {
  CheckReport report;
  report.in_use = InUse(LocksFromOutside(storage).get(), store);
  auto store_file = storage.Open("STORE", Access::kRead);
  if (!store_file.ok()) return store_file.status();
  const auto place = (*store_file)->Identity();
  const auto checkpoint = ReadCheckpoint(storage, store.uuid);
  ScanOptions options;
  options.boot_hash = clock.BootHash();
  options.same_place =
      place.ok() && *place == FileIdentity{store.device, store.inode};
  options.witness = checkpoint ? checkpoint->end : 0;
  options.verify_bodies = true;
  auto scan = LogScan::Load(storage, store.uuid, options);
  if (!scan.ok()) return scan.status();
  uint64_t retired_to = 0;
  const uint64_t begin =
      scan->segments().empty() ? 0 : scan->segments().front().header.base;
  uint64_t told = begin;
  absl::flat_hash_map<std::string, uint64_t> bodies;
  scan->ForEach(0, [&](const ScannedSegment& /*segment*/,
                       const RecordHeader& header, const char* record,
                       bool payload_ok) {
    ++report.records;
    if (progress && header.position >= told) {
      progress(header.position - begin, scan->end() - begin);
      told = header.position + kProgressBytes;
    }
    const RecordType type = CommitWord::Type(header.commit);
    // One that moved is counted where it lay before, while that is here.
    if (HoldsMessage(type) &&
        (type != RecordType::kMoved ||
         MovedHeadOf(header, record).from < begin)) {
      ++report.messages;
    }
    if (const auto body = LargeBodyOf(header, record); body && payload_ok) {
      bodies[BodyName(*body)] = body->bytes;
    }
    if (type == RecordType::kRetire && payload_ok) {
      retired_to = std::max(retired_to, RetiredTo(header, record));
    }
  });
  report.segments = scan->segments().size();
  if (!scan->segments().empty()) {
    const ScannedSegment& first = scan->segments().front();
    report.bytes = scan->end() - first.header.base;
    if (first.header.base > retired_to) {
      report.findings.push_back({first.name, first.header.base,
                                 "segments before this one are missing, and "
                                 "no record says that they were retired",
                                 true});
    }
  } else if (checkpoint) {
    report.findings.push_back(
        {"log", 0, "there is no segment, but the store was used", true});
  }
  report.bodies = bodies.size();
  for (const auto& [name, bytes] : bodies) report.body_bytes += bytes;
  if (auto s = AddUnnamed(storage, bodies, *scan, report); !s.ok()) return s;
  for (const ScanFinding& finding : scan->findings()) {
    // Bodies go before the segments that a RETIRE record gave up.
    if (finding.of_body && finding.position < retired_to) continue;
    report.findings.push_back(
        {finding.file, finding.position, finding.what, finding.damage});
  }
  AddRefusedControl(storage, report);
  // Somebody may have opened it meanwhile.
  report.in_use = report.in_use || InUse(LocksFromOutside(storage).get(), store);
  return report;
}

}  // namespace

bool CheckReport::damaged() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const CheckFinding& finding) { return finding.damage; });
}

std::string CheckReport::ToText() const {
  std::string text;
  for (const CheckFinding& finding : findings) {
    text += internal::Concat(finding.damage ? "damaged: " : "note: ",
                             std::string_view(finding.file), " at position ",
                             finding.position, ": ",
                             std::string_view(finding.what), '\n');
  }
  text += internal::Concat(damaged() ? "damaged" : "sound", ": ", segments,
                           segments == 1 ? " segment, " : " segments, ",
                           records, records == 1 ? " record, " : " records, ",
                           messages, messages == 1 ? " message, " : " messages, ",
                           bytes, " bytes of log");
  if (bodies != 0) {
    text += internal::Concat(", ", bodies,
                             bodies == 1 ? " large body of " : " large bodies of ",
                             body_bytes, " bytes");
  }
  text += in_use ? ", in use\n" : "\n";
  return text;
}

absl::StatusOr<CheckReport> CheckStorage(Storage& storage, const Clock& clock,
                                         const std::string& name,
                                         const CheckProgress& progress) {
  const auto store = ReadStoreFromOutside(storage, "check", name);
  if (!store.ok()) return store.status();
  if (!IsSound(*store)) {
    CheckReport report;
    report.findings.push_back({"STORE", 0, "its checksum is wrong", true});
    return report;
  }
  auto report = CheckOnce(storage, *store, clock, progress);
  // A log in use rolls, grows and is retired while it is read, which can look
  // like a hole. Damage stays where it is; what the next look does not find in
  // the same place was only of that moment.
  for (int look = 1; look < kCheckLooks && report.ok() && report->in_use &&
                     !report->findings.empty();
       ++look) {
    auto again = CheckOnce(storage, *store, clock, progress);
    if (!again.ok()) return again.status();
    std::erase_if(again->findings, [&](const CheckFinding& finding) {
      return std::find(report->findings.begin(), report->findings.end(),
                       finding) == report->findings.end();
    });
    report = std::move(again);
  }
  return report;
}

absl::StatusOr<CheckReport> CheckStore(const std::string& directory,
                                       const CheckProgress& progress) {
  DirectoryOptions options;
  options.create = false;
  options.read_only = true;
  auto storage = OpenDirectory(directory, options);
  if (!storage.ok()) return storage.status();
  return CheckStorage(**storage, *Environment::OfMachine().clock, directory,
                      progress);
}

}  // namespace openmessaging::reference
