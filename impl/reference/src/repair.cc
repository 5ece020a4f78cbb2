// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/reference/repair.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "check_storage.h"
#include "env/overlay_storage.h"
#include "env/storage.h"
#include "large_bodies.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "outside.h"
#include "repair_catalog.h"
#include "repair_storage.h"
#include "repair_target.h"
#include "salvage.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

using internal::Concat;

constexpr std::chrono::seconds kPatience{60};

constexpr std::array<std::string_view, kLastRecordType + 1> kTypeNames = {
    "",         "MESSAGE", "ACK-RANGE",     "DELIVERED", "PREPARE", "COMMIT",
    "ROLLBACK", "DUE",     "MOVED",         "DEAD",      "QUEUE",   "GROUP",
    "ROUTE",    "SEAL",    "RETIRE",        "SEEK",      "CANCEL",  "DELAYED",
    "OUTCOMES", "SETTLED", "DEDUPLICATION", "NAMESPACE", "ROUTED"};

// Moves what was salvaged into the target.
class Repair {
 public:
  Repair(Storage& source, Storage& target, const Environment& environment,
         Salvage& salvage)
      : source_(source),
        target_(target),
        salvage_(salvage),
        catalog_(salvage),
        log_(&target, &environment, salvage.store()) {}

  absl::StatusOr<RepairReport> Run() {
    if (auto s = log_.Begin(); !s.ok()) return s;
    const std::vector<SalvagedRecord>& records = salvage_.records();
    const RecordHeader& first = records.front().header;
    if (first.position > salvage_.begin()) {
      if (auto s = log_.BeginLog(salvage_.begin(), first); !s.ok()) return s;
    }
    for (const SalvagedRecord& record : records) {
      if (auto s = Move(record, &record == &records.back()); !s.ok()) return s;
    }
    std::vector<RepairFinding>& findings = salvage_.findings();
    catalog_.FindLostOffsets(findings);
    if (auto s = catalog_.Complete(log_, findings); !s.ok()) return s;
    if (auto s = log_.End(); !s.ok()) return s;
    report_.segments = salvage_.segments().size();
    report_.bodies = bodies_.size();
    report_.findings = std::move(findings);
    for (const RepairFinding& finding : report_.findings) {
      if (finding.loss) {
        report_.lost_messages += finding.end_offset - finding.first_offset;
      }
    }
    return std::move(report_);
  }

 private:
  absl::Status Move(const SalvagedRecord& record, bool last) {
    RecordHeader header = record.header;
    std::string payload(record.bytes + sizeof(header),
                        CommitWord::Length(header.commit) - sizeof(header));
    // A unit that lost its end ends here.
    if (last) SetFlags(header, 0, kMore);
    if (!record.fault.empty()) {
      Tell(record);
      // Its place in its queue is known, and who receives it is told.
      if (!HoldsMessage(record.type())) return absl::OkStatus();
      MakeDamaged(header, payload);
      ++report_.records;
      return log_.Add(header, payload);
    }
    if (auto s = CopyBody(record, payload); !s.ok()) return s;
    ++report_.records;
    if (HoldsMessage(record.type())) ++report_.messages;
    return log_.Add(header, payload);
  }

  static void SetFlags(RecordHeader& header, uint8_t set, uint8_t clear) {
    const auto flags =
        static_cast<uint8_t>((CommitWord::Flags(header.commit) | set) & ~clear);
    header.commit = (header.commit & ~(uint64_t{0xff} << 40)) | uint64_t{flags}
                                                                    << 40;
  }

  // A message that could not be read any more, in the words of the log.
  static void MakeDamaged(RecordHeader& header, std::string& payload) {
    MovedHead head;
    head.sequence = header.sequence;
    head.epoch = header.epoch;
    head.damaged = 1;
    head.store_ms = header.store_ms;
    head.from = header.position;
    // As long as it was, so that the log has no gap.
    payload.assign(std::max(payload.size(), sizeof(head)), '\0');
    std::memcpy(payload.data(), &head, sizeof(head));
    header.fields_bytes = static_cast<uint32_t>(payload.size());
    SetFlags(header, 0, kBodyApart | kExpires | kOnce | kDeduplicated);
    header.commit = (header.commit & ~(uint64_t{0xff} << 32)) |
                    uint64_t{static_cast<uint8_t>(RecordType::kMoved)} << 32;
  }

  void Tell(const SalvagedRecord& record) {
    RepairFinding finding;
    finding.file = salvage_.segments()[record.segment].name;
    finding.position = record.header.position;
    finding.loss = true;
    finding.what = Concat("a ", kTypeNames[static_cast<size_t>(record.type())],
                          " record: ", std::string_view(record.fault));
    finding.queue = catalog_.NameOf(record.header.queue_partition);
    finding.partition = PartitionOf(record.header.queue_partition);
    if (HoldsMessage(record.type())) {
      finding.first_offset = record.header.offset;
      finding.end_offset = record.header.offset + 1;
    }
    salvage_.findings().push_back(std::move(finding));
  }

  // Copies the large body of a record, and adds its checksum where that was
  // not there yet.
  absl::Status CopyBody(const SalvagedRecord& record, std::string& payload) {
    const auto body = LargeBodyOf(record.header, record.bytes);
    if (!body) return absl::OkStatus();
    const std::string name = BodyName(*body);
    auto file = source_.Open(name, Access::kRead);
    // Retired, and nobody will ask for it.
    if (OmsCode(file.status()) == Code::kQueueNotFound) {
      return absl::OkStatus();
    }
    if (!file.ok()) return file.status();
    auto region = (*file)->Map(Access::kRead, body->bytes);
    if (!region.ok()) return region.status();
    const std::string_view bytes((*region)->data(), body->bytes);
    if ((CommitWord::Flags(record.header.commit) & kPayloadPending) != 0) {
      const uint32_t checksum = Crc32c(bytes);
      std::memcpy(payload.data() + record.header.fields_bytes +
                      offsetof(LargeBody, checksum),
                  &checksum, sizeof(checksum));
    }
    if (!bodies_.insert(name).second) return absl::OkStatus();
    auto copy = target_.CreateNew(name);
    if (!copy.ok()) return copy.status();
    if (auto s = (*copy)->WriteAll(bytes); !s.ok()) return s;
    return (*copy)->Sync();
  }

  Storage& source_;
  Storage& target_;
  Salvage& salvage_;
  const RepairCatalog catalog_;
  RepairTarget log_;
  std::set<std::string> bodies_;
  RepairReport report_;
};

// Looks at the target, and opens it as its first user will, without a trace.
absl::Status Prove(const std::shared_ptr<Storage>& target,
                   const Environment& environment) {
  const auto report =
      CheckStorage(*target, *environment.clock, target->Describe());
  if (!report.ok()) return report.status();
  if (report->damaged()) {
    return MakeStatus(Code::kDamaged, "repair: what was written to \"",
                      std::string_view(target->Describe()),
                      "\" is not sound: ", std::string_view(report->ToText()));
  }
  const auto store = Store::Open(OpenOverlay(target), &environment, {},
                                 std::chrono::steady_clock::now() + kPatience);
  return store.status();
}

}  // namespace

bool RepairReport::has_losses() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const RepairFinding& finding) { return finding.loss; });
}

std::string RepairReport::ToText() const {
  std::string text;
  for (const RepairFinding& finding : findings) {
    text += Concat(finding.loss ? "lost: " : "note: ",
                   std::string_view(finding.file), " at position ",
                   finding.position, ": ", std::string_view(finding.what));
    const bool of_messages = finding.end_offset > finding.first_offset;
    if (!finding.queue.empty() || of_messages) {
      text += Concat(
          "; queue \"",
          finding.queue.empty() ? "?" : std::string_view(finding.queue), '"');
    }
    if (of_messages) {
      text += Concat(", partition ", finding.partition, ", offset ",
                     finding.first_offset);
      if (finding.end_offset - finding.first_offset > 1) {
        text += Concat(" to ", finding.end_offset - 1);
      }
    }
    text += '\n';
  }
  text += Concat(has_losses() ? "saved with losses: " : "saved: ", messages,
                 messages == 1 ? " message, " : " messages, ", records,
                 records == 1 ? " record" : " records");
  if (bodies != 0) {
    text += Concat(", ", bodies, bodies == 1 ? " large body" : " large bodies");
  }
  if (lost_messages != 0) {
    text += Concat("; lost: ", lost_messages,
                   lost_messages == 1 ? " message" : " messages");
  }
  return text + '\n';
}

absl::StatusOr<RepairReport> RepairStorage(Storage& source,
                                           const TargetMaker& make_target,
                                           const Environment& environment) {
  auto salvage = Salvage::Read(source, *environment.clock);
  if (!salvage.ok()) return salvage.status();
  const auto target = make_target();
  if (!target.ok()) return target.status();
  auto report = Repair(source, **target, environment, *salvage).Run();
  if (!report.ok()) return report;
  if (auto s = Prove(*target, environment); !s.ok()) return s;
  return report;
}

absl::StatusOr<RepairReport> RepairStore(const std::string& source,
                                         const std::string& target) {
  DirectoryOptions only_look;
  only_look.create = false;
  only_look.read_only = true;
  auto from = OpenDirectory(source, only_look);
  if (!from.ok()) return from.status();
  const StoreFile any;  // Of as many slots as there may be.
  if (InUse(LocksFromOutside(**from).get(), any)) {
    return MakeStatus(Code::kIllegalState, "repair \"",
                      std::string_view(source),
                      "\": somebody has it open; close it first");
  }
  const auto make_target = [&]() -> absl::StatusOr<std::shared_ptr<Storage>> {
    auto to = OpenDirectory(target, DirectoryOptions{});
    if (!to.ok()) return to.status();
    const auto names = (*to)->List("");
    if (!names.ok()) return names.status();
    if (names->empty()) return std::shared_ptr<Storage>(*std::move(to));
    return MakeStatus(Code::kBadParameter, "repair into \"",
                      std::string_view(target),
                      "\": the directory is not empty; expected an empty one "
                      "or a new name");
  };
  return RepairStorage(**from, make_target, Environment::OfMachine());
}

}  // namespace openmessaging::reference
