// SPDX-License-Identifier: Apache-2.0

#include "fault_plan.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "openmessaging/internal/attribute_text.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr std::chrono::milliseconds kMaxDelay{60'000};

template <typename... Parts>
absl::Status Bad(std::string_view part, const Parts&... what) {
  return MakeStatus(Code::kBadParameter, "set attribute \"", kFaultAttribute,
                    "\": \"", internal::Printable(part), "\" ", what...);
}

// Reads "0.01": digits with at most one point, from 0 to 1.
std::optional<double> ParseProbability(std::string_view text) {
  double value = 0;
  if (text.empty() ||
      text.find_first_not_of("0123456789.") != std::string_view::npos ||
      !absl::SimpleAtod(absl::string_view(text.data(), text.size()), &value) ||
      value > 1) {
    return std::nullopt;
  }
  return value;
}

absl::Status ReadPart(std::string_view part, FaultPlan& plan,
                      uint32_t& seen) {
  const size_t colon = part.find(':');
  const std::string_view name = part.substr(0, colon);
  const std::string_view value =
      colon == std::string_view::npos ? "" : part.substr(colon + 1);
  const auto at = std::find(kFaultNames.begin(), kFaultNames.end(), name);
  const auto index = static_cast<size_t>(at - kFaultNames.begin());
  if (at == kFaultNames.end() && name != "delay") {
    return Bad(part, "is no fault; expected one of error, unknown, disconnect, "
               "drop, duplicate, reorder, delay");
  }
  if ((seen & uint32_t{1} << index) != 0) {
    return Bad(part, "names a fault again; expected each once");
  }
  seen |= uint32_t{1} << index;
  if (name == "delay") {
    const auto delay = internal::ParseDuration(value);
    if (!delay || *delay > kMaxDelay) {
      return Bad(part, "has no good time; expected delay:10ms, at most 60s");
    }
    plan.delay = *delay;
    return absl::OkStatus();
  }
  const auto probability = ParseProbability(value);
  if (!probability) {
    return Bad(part, "has no good probability; expected ", name,
               ":0.01, from 0 to 1");
  }
  plan.probabilities[index] = *probability;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<FaultPlan>> ReadFaultPlan(
    const Attributes& attributes) {
  const auto text = attributes.Find(kFaultAttribute);
  if (!text) {
    if (attributes.Contains(kFaultSeedAttribute)) {
      return MakeStatus(Code::kBadParameter, "set attribute \"",
                        kFaultSeedAttribute,
                        "\": there are no faults; expected the attribute "
                        "fault beside it");
    }
    return std::optional<FaultPlan>();
  }
  FaultPlan plan;
  const auto seed = attributes.GetInteger(kFaultSeedAttribute, 1);
  if (!seed.ok()) return seed.status();
  plan.seed = static_cast<uint64_t>(*seed);
  uint32_t seen = 0;
  std::string_view rest = *text;
  while (true) {
    const size_t comma = rest.find(',');
    absl::Status status = ReadPart(rest.substr(0, comma), plan, seen);
    if (!status.ok()) return status;
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return std::optional<FaultPlan>(plan);
}

FaultDice::FaultDice(const FaultPlan& plan, uint64_t client) : plan_(plan) {
  std::seed_seq sequence{static_cast<uint32_t>(plan.seed),
                         static_cast<uint32_t>(plan.seed >> 32),
                         static_cast<uint32_t>(client)};
  random_.seed(sequence);
}

// Not a distribution of the standard library, which may differ between two.
double FaultDice::Next() {
  return static_cast<double>(random_() >> 11) * 0x1p-53;
}

std::optional<Fault> FaultDice::Throw(std::initializer_list<Fault> among) {
  const internal::MutexLock lock(mutex_);
  std::optional<Fault> hit;
  for (const Fault fault : among) {
    // Each is thrown, so that one fault more leaves the others where they were.
    const bool hits = Next() < plan_.Of(fault);
    if (hits && !hit) hit = fault;
  }
  return hit;
}

bool FaultDice::Half() {
  const internal::MutexLock lock(mutex_);
  return Next() < 0.5;
}

std::chrono::microseconds FaultDice::Delay() {
  const internal::MutexLock lock(mutex_);
  const auto most = std::chrono::microseconds(plan_.delay);
  return std::chrono::microseconds(
      static_cast<int64_t>(Next() * static_cast<double>(most.count())));
}

}  // namespace openmessaging::reference
