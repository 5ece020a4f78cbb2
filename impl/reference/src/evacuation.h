// SPDX-License-Identifier: Apache-2.0
//
// Evacuation: what lives in the oldest segment is appended again, so that one
// message that nobody settles does not hold all that lies behind it.
// docs/design/evacuation.md.

#ifndef OPENMESSAGING_REFERENCE_EVACUATION_H_
#define OPENMESSAGING_REFERENCE_EVACUATION_H_

#include <cstdint>

#include "log.h"
#include "needed_messages.h"

namespace openmessaging::reference {

class Store;

// Threads: whoever has the retire lock; Pays needs none.
class Evacuation {
 public:
  explicit Evacuation(Store* store) : store_(store) {}

  // Whether to evacuate the oldest segment: the oldest segments together, as far
  // as any number of them goes, have three times as much that is not needed as
  // what is, and there is room for what is in the first of them. So the log is
  // never much longer than four times what lives in it, and at most a third of
  // what is given back was written for it. `first` to `current`: ordinals.
  bool Pays(uint32_t first, uint32_t current) const;

  enum class Progress {
    kDone,    // Nothing below is needed any more.
    kPartly,  // There is more to do than one look may take.
    kFailed   // What is left is for another look.
  };
  // Appends the messages below `boundary` that are needed as MOVED records and
  // points the index there. What was done stays done, whatever becomes of the
  // rest.
  Progress Run(uint64_t boundary, TimePoint deadline);

 private:
  struct Batch;

  // Returns: the bytes of records in the segments [first, current) that would
  // have to be appended again, by segment. Of many messages in a row some are
  // measured.
  std::vector<uint64_t> LiveBytes(uint32_t first, uint32_t current) const;
  // Returns: the length of a record with padding; 0 where it is not readable.
  uint64_t BytesAt(uint64_t position) const;
  // Returns: false where its segment cannot be mapped now.
  bool Add(const NeededMessages& needed, uint64_t offset, const IndexHit& hit,
           Batch& batch) const;
  // Appends a batch. Returns: whether whatever was not appended needs not be.
  bool Flush(Batch& batch, TimePoint deadline) const;

  Store* const store_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_EVACUATION_H_
