// SPDX-License-Identifier: Apache-2.0
//
// The control file and the index as a crash left them, in the same boot:
// believed as memory is. Whoever opens the store then either finds that ctl
// cannot be so, or lives with what it says: he does not crash, does not wait,
// and gets no message that nobody sent.

#include <cstddef>
#include <cstdint>
#include <string>

#include "hostile_files.h"
#include "input.h"
#include "shared_edits.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging;
  using namespace openmessaging::reference;
  fuzz::Input input(data, size);
  HostileFiles files(true);
  for (int n = 0; n < 4 && !input.empty(); ++n) {
    if (input.Pick(4) == 0) {
      EditIndex(input, files.Bytes("idx"));
    } else {
      EditControl(input, files.Bytes("ctl"));
    }
  }
  const damage::Observation seen = damage::Observe(
      damage::OpenImage(files.Finish(), true), Samples::Get().questions, false);
  fuzz::Expect(seen.opened.ok(), "a derived file keeps the store closed",
               std::string(seen.opened.message()));
  for (const damage::Sight& sight : seen.all) {
    files.CheckSent(sight.body, sight.content);
  }
  return 0;
}
