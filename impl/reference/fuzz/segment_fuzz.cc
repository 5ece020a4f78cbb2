// SPDX-License-Identifier: Apache-2.0
//
// Segments: whoever reads a log finds its end, or says what is wrong, whatever
// its headers and records say. A record that is believed was written so.

#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <string_view>

#include "catalog.h"
#include "check_storage.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "format.h"
#include "hostile_files.h"
#include "input.h"
#include "log_edits.h"
#include "prepared_table.h"
#include "salvage.h"
#include "scanner.h"
#include "settled_record.h"

namespace openmessaging::reference {
namespace {

using fuzz::Expect;
using fuzz::Input;

// What the records of both samples say.
const std::set<std::string_view>& Payloads() {
  static const std::set<std::string_view> all = [] {
    std::set<std::string_view> payloads;
    const Samples& samples = Samples::Get();
    const auto add = [&](const damage::Image& image,
                         const std::vector<damage::Record>& records) {
      for (const damage::Record& record : records) {
        payloads.insert(std::string_view(image.Of(record.file))
                            .substr(record.at + sizeof(RecordHeader),
                                    CommitWord::Length(record.header.commit) -
                                        sizeof(RecordHeader)));
      }
    };
    add(samples.store.closed, samples.closed);
    add(samples.store.crashed, samples.crashed);
    return payloads;
  }();
  return all;
}

// Reads what a recovery reads of a record.
void ReadRecord(const RecordHeader& header, const char* record) {
  const Clock& clock = *Environment::OfMachine().clock;
  const size_t length = CommitWord::Length(header.commit);
  const size_t fields = sizeof(header) + size_t{header.fields_bytes};
  const std::string_view body(record + fields, length - fields);
  LargeBodyOf(header, record);
  switch (CommitWord::Type(header.commit)) {
    case RecordType::kQueue:
      DecodeQueueRecord(body);
      break;
    case RecordType::kGroup: {
      std::string name;
      std::vector<uint64_t> start;
      DecodeGroupRecord(body, name, start);
      break;
    }
    case RecordType::kNamespace:
      DecodeNamespaceRecord(body);
      break;
    case RecordType::kRoute:
      DecodeRouteRecord(body);
      break;
    case RecordType::kRetire:
      RetiredTo(header, record);
      break;
    case RecordType::kDead:
      DeadSourceOf(header, record);
      break;
    case RecordType::kMoved:
      MovedHeadOf(header, record);
      break;
    case RecordType::kSettled:
      ForEachSettled(header, record, [](const DeadSource&) {});
      break;
    case RecordType::kSeek:
      SeekTargetOf(header, record);
      break;
    case RecordType::kDelayed:
      DueNsOf(HeldHeadOf(header, record), clock);
      break;
    case RecordType::kPrepare:
      PreparedOf(header, record, clock);
      break;
    case RecordType::kCommit:
    case RecordType::kRollback:
      DecisionOf(header, record, clock);
      break;
    case RecordType::kOutcomes:
      ForEachOutcome(header, record, [&](const OutcomeImage& image) {
        RememberedOf(image, header, clock);
      });
      break;
    case RecordType::kDeduplication:
      ForEachDeduplicated(header, record, [&](const DeduplicatedImage& image) {
        DeduplicatedOf(image, clock);
      });
      break;
    default:
      break;
  }
}

void Scan(Storage& storage, const HostileFiles& files,
          const ScanOptions& options) {
  StoreFile store;
  const std::string& bytes = Samples::Get().store.closed.Of("STORE");
  std::memcpy(&store, bytes.data(), sizeof(store));
  auto scan = LogScan::Load(storage, store.uuid, options);
  if (!scan.ok()) return;
  uint64_t position = 0;
  scan->ForEach(0, [&](const ScannedSegment& /*segment*/,
                       const RecordHeader& header, const char* record,
                       bool payload_ok) {
    Expect(header.position >= position, "a record twice");
    position = header.position + PaddedBytes(header);
    Expect(position <= scan->end(), "a record behind the end");
    if (!payload_ok) return;
    ReadRecord(header, record);
    const bool pending =
        (CommitWord::Flags(header.commit) & kPayloadPending) != 0;
    const std::string_view payload(
        record + sizeof(header),
        CommitWord::Length(header.commit) - sizeof(header));
    Expect(files.forged() || pending || Payloads().contains(payload),
           "a record that nobody wrote", payload);
  });
}

}  // namespace
}  // namespace openmessaging::reference

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging::reference;
  openmessaging::fuzz::Input input(data, size);
  const size_t how = input.Pick(8);
  HostileFiles files((how & 1) != 0);
  if ((how & 2) != 0) {
    files.Remove("ckpt/A");
    files.Remove("ckpt/B");
  }
  ScanOptions options;
  if ((how & 4) != 0) {
    options.boot_hash = Environment::OfMachine().clock->BootHash();
    options.same_place = true;
    options.witness = input.Number<2>();
  }
  for (int n = 0; n < 8 && !input.empty(); ++n) EditLog(input, files);
  const auto storage = OpenToRead(files.Finish());
  Scan(*storage, files, options);
  const Clock& clock = *Environment::OfMachine().clock;
  CheckStorage(*storage, clock, "image").IgnoreError();
  Salvage::Read(*storage, clock).IgnoreError();
  return 0;
}
