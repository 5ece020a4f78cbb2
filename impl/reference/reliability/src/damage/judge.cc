// SPDX-License-Identifier: Apache-2.0

#include "damage/judge.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <string_view>
#include <utility>

#include "catalog.h"
#include "check_storage.h"
#include "checkpoint.h"
#include "doctest/doctest.h"
#include "message_reader.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "repair_storage.h"
#include "scanner.h"

namespace openmessaging::reference::damage {
namespace {

using internal::Concat;

bool InPlace(Way way) { return way != Way::kClosedCopy; }
bool OtherBoot(Way way) {
  return way == Way::kClosedReboot || way == Way::kCrashedReboot;
}

// Whether the log does not need a file.
bool IsDerived(const std::string& file) {
  return file == "ctl" || file == "idx" || file == "LOCK" ||
         file == "reserve" || file.starts_with("ckpt/") ||
         file.starts_with("quarantine/");
}

// What is believed as memory is, since the machine never stopped: not each word
// of it can be told from another one that might be there.
bool IsOfMemory(const Case& what) {
  const auto is_shared = [](const std::string& file) {
    return file == "ctl" || file == "idx";
  };
  if (what.way != Way::kCrashed) return false;
  return is_shared(what.damage.file) || is_shared(what.damage.other);
}

StoreFile StoreOf(const Image& image) {
  StoreFile store;
  std::memcpy(&store, image.Of("STORE").data(), sizeof(store));
  return store;
}

SegmentHeader HeaderOf(const Image& image, const std::string& file) {
  SegmentHeader header;
  std::memcpy(&header, image.Of(file).data(), sizeof(header));
  return header;
}

std::string_view BodyOf(const Image& image, const Record& record) {
  const size_t begin =
      record.at + sizeof(RecordHeader) + record.header.fields_bytes;
  const size_t end = record.at + CommitWord::Length(record.header.commit);
  return std::string_view(image.Of(record.file)).substr(begin, end - begin);
}

Range RangeOf(const Record& record) {
  // The padding is nobody's.
  return {record.file, record.at,
          record.at + CommitWord::Length(record.header.commit)};
}

std::string_view WordsOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

bool Hits(const Damaged& damaged, const Range& range) {
  return std::any_of(damaged.hit.begin(), damaged.hit.end(),
                     [&](const Range& hit) { return hit.Meets(range); });
}

// Whether a checksum was made right. Then it is no damage, and all that is asked
// for is that it does no harm to who reads it.
bool IsForged(const Damage& damage) {
  return damage.kind == Kind::kLength || damage.kind == Kind::kFields;
}

// The codes with which a store may say at the door that it is damaged.
bool IsRefusal(const absl::Status& status) {
  const Code code = OmsCode(status);
  return code == Code::kDamaged || code == Code::kIncompatibleVersion ||
         code == Code::kBadParameter || code == Code::kForbidden;
}

}  // namespace

std::string Case::ToText() const {
  return Concat(kWayNames[static_cast<size_t>(way)], ' ',
                std::string_view(damage.ToText()));
}

std::optional<Case> Case::Parse(const std::string& text) {
  const size_t blank = text.find(' ');
  if (blank == std::string::npos) return std::nullopt;
  const auto* const found =
      std::find(kWayNames.begin(), kWayNames.end(), text.substr(0, blank));
  const auto damage = Damage::Parse(text.substr(blank + 1));
  if (found == kWayNames.end() || !damage) return std::nullopt;
  return Case{static_cast<Way>(found - kWayNames.begin()), *damage};
}

Judge::Judge(const SampleStore& sample)
    : sample_(sample), questions_(QuestionsOf(sample)) {
  for (size_t n = 0; n < kWayNames.size(); ++n) {
    const auto way = static_cast<Way>(n);
    truths_[n] = Look(ImageFor(way), way);
    REQUIRE_MESSAGE(truths_[n].opened.ok(), truths_[n].opened.message());
    for (const absl::Status& told : truths_[n].told) {
      FAIL(std::string(kWayNames[n]) << ": " << std::string(WordsOf(told)));
    }
    needs_[n] = NeedsOf(ImageFor(way), truths_[n]);
    witnesses_[n] = WitnessOf(way);
  }
}

Observation Judge::Look(const Image& image, Way way) const {
  return Observe(OpenImage(image, InPlace(way)), questions_, OtherBoot(way));
}

uint64_t Judge::WitnessOf(Way way) const {
  if (way != Way::kCrashedReboot) return UINT64_MAX;
  const auto storage = OpenImage(ImageFor(way), true);
  const StoreFile store = StoreOf(ImageFor(way));
  ScanOptions options;
  options.same_place = true;
  if (const auto checkpoint = ReadCheckpoint(*storage, store.uuid)) {
    options.witness = checkpoint->end;
  }
  const auto scan = LogScan::Load(*storage, store.uuid, options);
  REQUIRE(scan.ok());
  return scan->witness();
}

Judge::Needs Judge::NeedsOf(const Image& image,
                            const Observation& truth) const {
  std::map<uint32_t, std::string> names;
  std::map<std::string, std::vector<Range>> of_queue;
  // Who cannot say where its dead letters go hands nothing out.
  std::map<std::string, std::string> dead_of;
  std::vector<Range> of_namespaces;
  const std::vector<Record> records = RecordsOf(image);
  for (const Record& record : records) {
    if (record.type() == RecordType::kNamespace) {
      of_namespaces.push_back(RangeOf(record));
    }
    if (record.type() != RecordType::kQueue) continue;
    const auto queue = DecodeQueueRecord(BodyOf(image, record));
    if (!queue) continue;
    names[QueueOf(record.header.queue_partition)] = queue->name;
    of_queue[queue->name].push_back(RangeOf(record));
    dead_of[queue->name] = queue->options.dead_letter_queue;
  }
  Needs needs;
  for (const auto& [place, sight] : truth.stored) {
    const std::string queue =
        place.substr(0, place.rfind('/', place.rfind('/') - 1));
    const std::string offset = place.substr(
        place.rfind('/') + 1, place.rfind('@') - place.rfind('/') - 1);
    Need& need = needs[place];
    for (const Record& record : records) {
      if (!HoldsMessage(record.type()) ||
          names[QueueOf(record.header.queue_partition)] != queue ||
          std::to_string(record.header.offset) != offset) {
        continue;
      }
      const char* const bytes = image.Of(record.file).data() + record.at;
      const MessageIdentity identity = IdentityOf(record.header, bytes);
      if (sight.id.find(Concat('-', identity.epoch, '-', identity.sequence,
                               ' ')) == std::string::npos) {
        continue;
      }
      need.own.push_back(RangeOf(record));
      // Without its header nothing of a segment is found.
      need.shared.push_back({record.file, 0, offsetof(SegmentHeader, roll)});
      if (const auto body = LargeBodyOf(record.header, bytes)) {
        const std::string name = BodyName(*body);
        need.own.push_back({name, 0, image.Of(name).size() + 1});
      }
    }
    CHECK_MESSAGE(!need.own.empty(), "no record of ", place);
    const auto add = [&](const std::vector<Range>& more) {
      for (const Range& range : more) {
        need.shared.push_back(range);
        need.shared.push_back({range.file, 0, offsetof(SegmentHeader, roll)});
      }
    };
    add(of_queue[queue]);
    add(of_queue[dead_of[queue]]);
    if (queue.find("://") != std::string::npos) add(of_namespaces);
    need.shared.push_back({"STORE", 0, sizeof(StoreFile)});
  }
  return needs;
}

bool Judge::MayMiss(Way way, const Place& place, const Damaged& damaged) const {
  const auto found = needs_[static_cast<size_t>(way)].find(place);
  if (found == needs_[static_cast<size_t>(way)].end()) return false;
  // Where nothing vouches for the end of the log, a damage may be its end.
  uint64_t torn_from = UINT64_MAX;
  for (const Range& hit : damaged.hit) {
    if (!hit.file.starts_with("log/") || !ImageFor(way).Has(hit.file)) continue;
    const uint64_t base = HeaderOf(ImageFor(way), hit.file).base;
    const uint64_t end =
        base + std::max(hit.end, kSegmentHeaderBytes) - kSegmentHeaderBytes;
    if (end > witnesses_[static_cast<size_t>(way)]) {
      torn_from =
          std::min(torn_from, base + std::max(hit.first, kSegmentHeaderBytes) -
                                  kSegmentHeaderBytes);
    }
  }
  std::vector<Range> needs = found->second.own;
  needs.insert(needs.end(), found->second.shared.begin(),
               found->second.shared.end());
  for (const Range& need : needs) {
    if (Hits(damaged, need)) return true;
    if (torn_from == UINT64_MAX || !need.file.starts_with("log/")) continue;
    if (HeaderOf(ImageFor(way), need.file).base + need.end >
        torn_from + kSegmentHeaderBytes) {
      return true;
    }
  }
  return false;
}

std::string Judge::FindForgery(const Observation& seen) const {
  for (const Sight& sight : seen.all) {
    const auto sent = sample_.sent.find(sight.body);
    if (sent == sample_.sent.end()) {
      return "a message that nobody sent: " + sight.body.substr(0, 80);
    }
    if (sent->second != sight.content) {
      return "an altered message: " + sight.body.substr(0, 80);
    }
  }
  return {};
}

std::string Judge::CompareTruth(const Case& what, const Damaged& damaged,
                                const Observation& seen, bool told,
                                bool& differs) const {
  const Observation& truth = truths_[static_cast<size_t>(what.way)];
  if (std::string forged = FindForgery(seen); !forged.empty()) return forged;
  for (const auto& [place, sight] : truth.stored) {
    const auto found = seen.stored.find(place);
    if (found == seen.stored.end()) {
      differs = true;
      if (!told) return "lost in silence: " + place;
      if (!MayMiss(what.way, place, damaged)) {
        return "lost, though the damage is elsewhere: " + place;
      }
    } else if (found->second != sight) {
      return "another message in its place: " + place;
    }
  }
  for (const auto& [place, sight] : seen.stored) {
    if (truth.stored.find(place) != truth.stored.end()) continue;
    differs = true;
    if (!told) return "back in silence: " + place;
  }
  const bool others = seen.resources != truth.resources ||
                      seen.later != truth.later || seen.owed != truth.owed;
  differs = differs || others || !seen.told.empty();
  if (others && !told) {
    std::string what_differs;
    if (seen.resources != truth.resources) what_differs += " resources";
    if (seen.later != truth.later) what_differs += " later";
    for (const auto& [group, bodies] : truth.owed) {
      const auto found = seen.owed.find(group);
      if (found == seen.owed.end() || found->second != bodies) {
        what_differs += " owed to " + group;
      }
    }
    return "different in silence:" + what_differs;
  }
  return {};
}

Verdict Judge::Try(const Case& what) const {
  Verdict verdict;
  const Damaged damaged = Apply(what.damage, sample_, ImageFor(what.way));
  verdict.change = !damaged.hit.empty();
  const auto storage = OpenImage(damaged.image, InPlace(what.way));
  const auto report =
      CheckStorage(*storage, *Environment::OfMachine().clock, "image");
  const Observation seen = Look(damaged.image, what.way);
  const bool derived =
      std::all_of(damaged.hit.begin(), damaged.hit.end(),
                  [](const Range& hit) { return IsDerived(hit.file); });
  // What check says names the place.
  bool told = !report.ok() && IsRefusal(report.status());
  std::string findings;
  if (report.ok()) {
    for (const CheckFinding& finding : report->findings) {
      // A damage where nothing vouches for the log looks like its end.
      told = told || finding.damage || what.way == Way::kCrashedReboot;
      findings +=
          Concat("; check: ", std::string_view(finding.file), " at ",
                 finding.position, ": ", std::string_view(finding.what));
    }
  }
  for (const absl::Status& status : seen.told) {
    findings += Concat("; reader: ", WordsOf(status));
  }
  const auto fault = [&](std::string_view text) {
    verdict.fault = Concat(text, std::string_view(findings));
    return verdict;
  };
  if (!seen.opened.ok()) {
    verdict.outcome = Outcome::kRefused;
    const std::string words(WordsOf(seen.opened));
    if (!IsRefusal(seen.opened)) return fault("open fails with " + words);
    if (derived) return fault("a derived file keeps it closed: " + words);
    const auto& stored = truth(what.way).stored;
    const bool whole =
        std::all_of(stored.begin(), stored.end(), [&](const auto& one) {
          return MayMiss(what.way, one.first, damaged);
        });
    if (!whole && what.damage.kind != Kind::kVersion) {
      return fault("one damage keeps all of it closed: " + words);
    }
    if (!told) return fault("it is refused, and check is content");
    return verdict;
  }
  if (IsForged(what.damage)) return verdict;
  if (IsOfMemory(what)) {
    if (std::string forged = FindForgery(seen); !forged.empty()) {
      return fault(forged);
    }
    const Observation& sound = truth(what.way);
    const bool same = seen.stored == sound.stored &&
                      seen.later == sound.later && seen.owed == sound.owed &&
                      seen.resources == sound.resources && seen.told.empty();
    verdict.outcome = same ? Outcome::kHarmless : Outcome::kTold;
    return verdict;
  }
  bool differs = false;
  if (std::string text = CompareTruth(what, damaged, seen, told, differs);
      !text.empty()) {
    return fault(text);
  }
  if (differs && derived && what.way < Way::kCrashed) {
    return fault("the loss of a derived file is seen");
  }
  verdict.outcome = differs ? Outcome::kTold : Outcome::kHarmless;
  return verdict;
}

std::string Judge::TryRepair(const Case& what) const {
  const Damaged damaged = Apply(what.damage, sample_, ImageFor(what.way));
  const auto source = OpenImage(damaged.image, InPlace(what.way));
  const std::shared_ptr<Storage> target = OpenImage(Image(), false);
  // In the boot of the crash what has no checksum yet is believed.
  StandingClock clock(OtherBoot(what.way));
  const Environment environment = clock.InEnvironment();
  const auto report =
      RepairStorage(*source, [&] { return target; }, environment);
  if (what.damage.kind == Kind::kVersion) {
    return OmsCode(report.status()) == Code::kIncompatibleVersion
               ? std::string()
               : "another format is repaired";
  }
  if (IsForged(what.damage)) return {};
  if (!report.ok()) {
    return Concat("repair fails: ", WordsOf(report.status()));
  }
  const std::string text = "; repair: " + report->ToText();
  const Observation seen = Observe(target, questions_, false);
  if (!seen.opened.ok()) return "the target does not open" + text;
  if (std::string forged = FindForgery(seen); !forged.empty()) {
    return forged + text;
  }
  // A queue may have lost its name, but not its messages.
  std::map<std::string, size_t> ids;
  for (const auto& [place, sight] : seen.stored) {
    ++ids[sight.id + sight.content];
  }
  const auto way = static_cast<size_t>(what.way);
  for (const auto& [place, sight] : truths_[way].stored) {
    const auto found = seen.stored.find(place);
    if (found != seen.stored.end() && found->second == sight) continue;
    const auto needs = needs_[way].find(place);
    const auto hit = [&](const std::vector<Range>& all) {
      return std::any_of(all.begin(), all.end(), [&](const Range& range) {
        return Hits(damaged, range);
      });
    };
    if (hit(needs->second.own)) {
      if (!report->has_losses()) return "lost in silence: " + place + text;
      continue;
    }
    if (!hit(needs->second.shared) || ids[sight.id + sight.content] == 0) {
      return "not saved: " + place + text;
    }
  }
  const bool derived =
      std::all_of(damaged.hit.begin(), damaged.hit.end(),
                  [](const Range& hit) { return IsDerived(hit.file); });
  if (derived && report->has_losses()) return "a loss of nothing" + text;
  return {};
}

}  // namespace openmessaging::reference::damage
