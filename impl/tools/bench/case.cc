// SPDX-License-Identifier: Apache-2.0

#include "case.h"

#include "openmessaging/internal/text.h"
#include "yardstick.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

constexpr size_t kUsualBytes = 256;
constexpr size_t kManySenders = 64;
constexpr std::array<size_t, 5> kSizes = {64, 256, 1024, size_t{16} << 10,
                                          size_t{256} << 10};
constexpr std::array<size_t, 3> kBatches = {1, 16, 256};

// A quick run has the usual size in every batch, and the others alone.
bool InQuick(size_t size_bytes, size_t batch) {
  return size_bytes == kUsualBytes || batch == 1;
}

// Gathers a plan.
class Planner {
 public:
  explicit Planner(const PlanOptions& options)
      : options_(options),
        usual_(options.durable ? Durability::kProcess : Durability::kVolatile) {
  }

  std::vector<Case> Make() {
    AddDisk();
    for (const Operation operation :
         {Operation::kSend, Operation::kReceive, Operation::kCycle}) {
      AddOneThread(operation);
    }
    AddTwoEnds(Operation::kTransfer, Place::kThreads);
    AddTwoEnds(Operation::kTransfer, Place::kProcesses);
    AddTwoEnds(Operation::kRoundTrip, Place::kThreads);
    AddTwoEnds(Operation::kRoundTrip, Place::kProcesses);
    return std::move(cases_);
  }

 private:
  void AddDisk() {
    Case one{.durability = Durability::kDisk};
    for (const size_t size_bytes : kSizes) {
      if (options_.quick && size_bytes != kUsualBytes) continue;
      one.size_bytes = size_bytes;
      for (const size_t batch : kBatches) {
        // The disk is busy with the bytes alone in the largest ones.
        if (size_bytes != kUsualBytes && batch != 1) continue;
        one.batch = batch;
        cases_.push_back(one);
      }
    }
    one.batch = 1;
    one.size_bytes = kUsualBytes;
    one.operation = Operation::kSenders;
    one.senders = kManySenders;
    cases_.push_back(one);
    one.operation = Operation::kCycle;
    one.senders = 1;
    cases_.push_back(one);
    one.operation = Operation::kAsync;
    cases_.push_back(one);
  }

  void AddOneThread(Operation operation) {
    for (const size_t size_bytes : kSizes) {
      for (const size_t batch : kBatches) {
        if (options_.quick && !InQuick(size_bytes, batch)) continue;
        cases_.push_back({.operation = operation,
                          .size_bytes = size_bytes,
                          .batch = batch,
                          .durability = usual_});
      }
    }
    if (usual_ == Durability::kVolatile) return;
    cases_.push_back({.operation = operation,
                      .size_bytes = kUsualBytes,
                      .durability = Durability::kVolatile});
  }

  void AddTwoEnds(Operation operation, Place place) {
    for (const Wait wait : {Wait::kBlock, Wait::kSpin}) {
      for (const size_t size_bytes : kSizes) {
        for (const size_t batch : kBatches) {
          if (operation == Operation::kRoundTrip && batch != 1) continue;
          if (options_.quick && size_bytes != kUsualBytes) continue;
          if (options_.quick && wait == Wait::kSpin && batch != 1) continue;
          cases_.push_back({.operation = operation,
                            .place = place,
                            .size_bytes = size_bytes,
                            .batch = batch,
                            .durability = usual_,
                            .wait = wait});
        }
      }
    }
  }

  const PlanOptions options_;
  const Durability usual_;
  std::vector<Case> cases_;
};

}  // namespace

std::string Case::Name() const {
  std::string name(NameIn(kOperationNames, operation));
  if (two_ends()) name += Concat('/', NameIn(kPlaceNames, place));
  if (senders > 1) name += Concat('/', senders);
  name += Concat('/', SizeName(size_bytes), '/', batch, '/',
                 NameIn(kDurabilityNames, durability));
  if (wait != Wait::kNone) name += Concat('/', NameIn(kWaitNames, wait));
  return name;
}

std::string Case::GroupTitle() const {
  if (operation == Operation::kAsync) {
    return "to the disk, no send waits (limit: one thread that waits)";
  }
  if (durability == Durability::kDisk) {
    return "to the disk and back (limit: a bare log, append + fdatasync)";
  }
  const std::string_view ends = place == Place::kProcesses
                                    ? "from one process to another"
                                    : "from one thread to another";
  switch (operation) {
    case Operation::kSend:
    case Operation::kSenders:
    case Operation::kAsync:
      return "send (limit: memcpy of the body and first touch of its pages)";
    case Operation::kReceive:
      return "receive and acknowledge, bodies not read (limit: memcpy of the "
             "body)";
    case Operation::kCycle:
      return "send, receive and acknowledge on one thread (limit: as send)";
    case Operation::kTransfer:
      return Concat("send, ", ends, ", which acknowledges (limit: as send)");
    case Operation::kRoundTrip:
      return Concat("round trip ", ends, " and back (limit: p50 of a word's)");
  }
  return "";
}

std::vector<Case> MakePlan(const PlanOptions& options) {
  return Planner(options).Make();
}

std::optional<Goal> GoalOf(const Case& one, std::string_view driver) {
  if (one.size_bytes != kUsualBytes) return std::nullopt;
  const bool file = driver == "file";
  if (driver == "memory" && one.operation == Operation::kCycle &&
      one.batch == 1) {
    return Goal{.text = "2 million/s", .per_second = 2e6};
  }
  if (file && one.operation == Operation::kTransfer &&
      one.place == Place::kProcesses &&
      one.durability == Durability::kProcess) {
    return Goal{.text = "1 million/s", .per_second = 1e6};
  }
  if (file && one.operation == Operation::kRoundTrip &&
      one.place == Place::kProcesses) {
    return one.wait == Wait::kSpin
               ? Goal{.text = "at most 8 x spin ping-pong", .of_limit = 8}
               : Goal{.text = "at most 1.2 x futex ping-pong", .of_limit = 1.2};
  }
  if (file && one.operation == Operation::kAsync &&
      one.durability == Durability::kDisk) {
    return Goal{.text = "20 x the sender that waits", .of_limit = 20};
  }
  if (file && one.operation == Operation::kSenders &&
      one.durability == Durability::kDisk) {
    return Goal{.text = "half of the bare log with as many threads",
                .of_limit = 0.5};
  }
  return std::nullopt;
}

}  // namespace openmessaging::tools
