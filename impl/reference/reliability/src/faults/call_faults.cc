// SPDX-License-Identifier: Apache-2.0

#include "faults/call_faults.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <vector>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::faults {
namespace {

using internal::Concat;

constexpr std::array kErrors = {EIO,    ENOSPC, EDQUOT, EINTR,
                                EMFILE, ENOMEM, EACCES, CallFault::kShort};

// Whether an operation may answer this after that error.
bool MayAnswer(Code code, const CallFault& fault, const CallReport& report) {
  // Whoever comes after a failed flush is told of it.
  if (report.flush && code == Code::kStorageError) return true;
  switch (fault.error) {
    case CallFault::kShort:
      return false;
    case EINTR:
      // Of a flush nobody knows the outcome; everything else is tried again.
      return report.flush && code == Code::kStorageError;
    case ENOSPC:
    case EDQUOT:
      return code == Code::kStorageBusy || code == Code::kStorageError;
    case EACCES:
      // Of a byte lock it says that somebody else has it.
      return code == Code::kForbidden || code == Code::kStorageError ||
             (report.name == "fcntl" && code == Code::kTimeout);
    default:
      return code == Code::kStorageError;
  }
}

std::string JudgeAnswers(const World& world, const CallFault& fault,
                         const CallReport& report) {
  for (const World::Told& told : world.told()) {
    if (told.status.ok()) continue;
    const Code code = OmsCode(told.status);
    if (!MayAnswer(code, fault, report)) {
      return Concat(std::string_view(told.what), " answers ",
                    static_cast<int>(code), ", \"",
                    std::string_view(told.status.message().data(),
                                     told.status.message().size()),
                    "\"");
    }
  }
  return {};
}

World::Poison PoisonOf(const CallReport& report) {
  if (!report.flush) {
    return report.directory ? World::Poison::kMaybe : World::Poison::kNever;
  }
  // A segment of the log: what is flushed while it is made has another name.
  return report.log_flush ? World::Poison::kMust : World::Poison::kMaybe;
}

}  // namespace

std::span<const int> AllErrors() { return kErrors; }

CaseResult RunCase(const Operation& operation, const CallFault& fault,
                   std::string_view parent) {
  CaseResult result;
  World world(parent, operation.attributes);
  operation.set_up(world);
  world.ForgetTold();
  Arm(fault);
  operation.run(world);
  result.report = Disarm();
  result.wrong = JudgeAnswers(world, fault, result.report);
  if (result.wrong.empty()) {
    result.wrong = world.CheckGoesOn(PoisonOf(result.report));
  }
  if (result.wrong.empty()) {
    result.wrong = world.CheckStored(operation.forgetful);
  }
  return result;
}

std::string Replay::ToText() const {
  return Concat(std::string_view(operation), ":", fault.call, ":",
                NameOfError(fault.error), ":",
                fault.for_good ? "good" : "once");
}

std::optional<Replay> Replay::Parse(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t colon = text.find(':');
    parts.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  if (parts.size() != 4) return std::nullopt;
  Replay replay;
  replay.operation = parts[0];
  std::from_chars(parts[1].data(), parts[1].data() + parts[1].size(),
                  replay.fault.call);
  for (const int error : kErrors) {
    if (NameOfError(error) == parts[2]) replay.fault.error = error;
  }
  replay.fault.for_good = parts[3] == "good";
  if (replay.fault.error == 0) return std::nullopt;
  return replay;
}

}  // namespace openmessaging::reference::faults
