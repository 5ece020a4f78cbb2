// SPDX-License-Identifier: Apache-2.0
//
// Judge says whether a store behaves after a damage as it promises: what is
// wrong is found or harmless, never silent, and neighbours can be read.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_JUDGE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_JUDGE_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "damage/damage.h"
#include "damage/observation.h"
#include "damage/sample_store.h"

namespace openmessaging::reference::damage {

// How the store was left and is found.
enum class Way {
  kClosed,         // Closed, in its place, in the same boot.
  kClosedCopy,     // Closed, then copied.
  kClosedReboot,   // Closed, in its place, the machine was restarted.
  kCrashed,        // Left by a crash, in its place, in the same boot.
  kCrashedReboot,  // Left by a crash, the machine was restarted.
};
inline constexpr std::array<const char*, 5> kWayNames = {
    "closed", "closed-copy", "closed-reboot", "crashed", "crashed-reboot"};

struct Case {
  Way way = Way::kClosed;
  Damage damage{};

  std::string ToText() const;
  static std::optional<Case> Parse(const std::string& text);
};

enum class Outcome {
  kHarmless,  // Everything is as it was.
  kTold,      // Something is missing or back, and that is told.
  kRefused,   // The store does not open, and says why.
};

struct Verdict {
  Outcome outcome = Outcome::kHarmless;
  bool change = true;  // The damage changed a byte.
  // What is wrong with the store's behaviour; empty: nothing.
  std::string fault{};
};

class Judge {
 public:
  // Looks at the undamaged store in each way.
  explicit Judge(const SampleStore& sample);

  Verdict Try(const Case& what) const;

  // Repairs the damaged store. Returns: what is wrong with what comes of it;
  // empty: nothing.
  std::string TryRepair(const Case& what) const;

  const Image& ImageFor(Way way) const {
    return way < Way::kCrashed ? sample_.closed : sample_.crashed;
  }
  const Observation& truth(Way way) const {
    return truths_[static_cast<size_t>(way)];
  }
  const Questions& questions() const { return questions_; }

 private:
  // What a message needs to be read.
  struct Need {
    std::vector<Range> own{};     // Its record and its body,
    std::vector<Range> shared{};  // and what others need as well.
  };
  using Needs = std::map<Place, Need>;

  Observation Look(const Image& image, Way way) const;
  Needs NeedsOf(const Image& image, const Observation& truth) const;
  // Everything from there on was not known to be on disk; `way` decides.
  uint64_t WitnessOf(Way way) const;
  std::string CompareTruth(const Case& what, const Damaged& damaged,
                           const Observation& seen, bool told,
                           bool& differs) const;
  bool MayMiss(Way way, const Place& place, const Damaged& damaged) const;
  // Whether everything that was seen was sent as it is. Returns: what was not.
  std::string FindForgery(const Observation& seen) const;

  const SampleStore& sample_;
  Questions questions_;
  std::array<Observation, kWayNames.size()> truths_{};
  std::array<Needs, kWayNames.size()> needs_{};
  std::array<uint64_t, kWayNames.size()> witnesses_{};
};

}  // namespace openmessaging::reference::damage
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_JUDGE_H_
