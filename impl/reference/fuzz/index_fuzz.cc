// SPDX-License-Identifier: Apache-2.0
//
// The index beside a ctl that was not changed: chains that go astray, entries
// with a check that is right. Whoever reads, writes and gives back comes to an
// end, and touches nothing that is not of the index.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control_file.h"
#include "hostile_files.h"
#include "index.h"
#include "input.h"
#include "shared_edits.h"

namespace openmessaging::reference {
namespace {

using fuzz::Expect;
using fuzz::Input;

// The two files of the crashed sample, mapped for the life of the process.
class Mapped {
 public:
  Mapped()
      : storage_(damage::OpenImage(Image(), true)),
        control_(Open("ctl"), Open("idx")) {
    Restore(Image().Of("idx"));
    for (uint64_t at = control_.header().catalog.first_page.Load(); at != 0;
         at = control_.Get<CatalogPage>(at)->next.Load()) {
      for (const CatalogEntry& entry : control_.Get<CatalogPage>(at)->entries) {
        if (entry.kind.Load() != kQueueKind || entry.state.Load() == 0) {
          continue;
        }
        auto* const queue = control_.Get<QueueState>(entry.state.Load());
        for (uint32_t p = 0; p < queue->partitions; ++p) {
          partitions_.emplace_back(queue->partition(p),
                                   QueuePartition(queue->id, p));
        }
      }
    }
  }

  // Makes both what they were, but for idx.
  void Restore(const std::string& idx) {
    const std::string& ctl = Image().Of("ctl");
    std::memcpy(control_.ctl().data(), ctl.data(), ctl.size());
    std::memcpy(control_.idx().data(), idx.data(), idx.size());
  }
  const Control& control() const { return control_; }
  std::pair<PartitionState*, uint32_t> Pick(Input& input) const {
    return partitions_[input.Pick(partitions_.size())];
  }

 private:
  static const damage::Image& Image() { return Samples::Get().store.crashed; }
  std::unique_ptr<GrowingFile> Open(const char* name) {
    auto file = GrowingFile::Open(*storage_, name);
    Expect(file.ok(), "a file of the sample cannot be mapped", name);
    return *std::move(file);
  }

  const std::shared_ptr<Storage> storage_;
  Control control_;
  std::vector<std::pair<PartitionState*, uint32_t>> partitions_{};
};

void ReadAll(const Control& control, PartitionState& partition,
             uint32_t queue_partition) {
  IndexReader reader(&control, &partition, queue_partition);
  const uint64_t end = partition.next_offset.Load();
  uint64_t found = 0;
  for (uint64_t at = reader.Next(0, end); at < end;
       at = reader.Next(at + 1, end)) {
    const auto hit = reader.Find(at);
    Expect(hit.has_value(), "what is next cannot be found");
    Expect(hit->position % kRecordAlignment == 0 && hit->position < uint64_t{1}
                                                                        << 53,
           "a position that is none");
    Expect(++found <= end, "more than there are");
  }
}

// As under the append lock.
void Write(Input& input, const Control& control, PartitionState& partition,
           uint32_t queue_partition) {
  IndexWriter writer(&control);
  const uint64_t next = partition.next_offset.Load();
  const uint64_t position = uint64_t{input.Byte()} * kRecordAlignment;
  switch (input.Pick(5)) {
    case 0:
    case 1:
      // Over the end of an extent.
      for (uint64_t n = 0; n < 300 && writer.Spare() != 0; ++n) {
        if (!writer.Put(partition, queue_partition, next + n, position, 0, 1)) {
          break;
        }
        partition.next_offset.Store(next + n + 1);
      }
      break;
    case 2:
      writer.Move(partition, queue_partition, input.Pick(next + 1), position, 0,
                  1);
      break;
    case 3:
      writer.Bury(partition, queue_partition, input.Pick(next + 1));
      break;
    default: {
      writer.FreeBelow(partition, input.Pick(next + 1));
      uint32_t at = 0;
      const uint64_t below = input.Number<4>();
      uint64_t rounds = 0;
      while (writer.FreeRetired(partition, input.Pick(next + 1), below, at)) {
        Expect(++rounds < 1000, "giving back does not end");
      }
    }
  }
}

}  // namespace
}  // namespace openmessaging::reference

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging::reference;
  static Mapped mapped;
  openmessaging::fuzz::Input input(data, size);
  std::string idx = Samples::Get().store.crashed.Of("idx");
  for (size_t left = 1 + input.Pick(4); left > 0; --left) {
    EditIndex(input, idx);
  }
  mapped.Restore(idx);
  for (int n = 0; n < 6; ++n) {
    const auto [partition, queue_partition] = mapped.Pick(input);
    Write(input, mapped.control(), *partition, queue_partition);
    ReadAll(mapped.control(), *partition, queue_partition);
  }
  return 0;
}
