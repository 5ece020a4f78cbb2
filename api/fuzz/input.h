// SPDX-License-Identifier: Apache-2.0
//
// What every fuzz target has in common: choices out of the fuzzer's bytes, and
// the end of the process where something is found.

#ifndef OPENMESSAGING_FUZZ_INPUT_H_
#define OPENMESSAGING_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace openmessaging::fuzz {

// The bytes of one execution, taken from the front. Behind their end all is
// zero, so that every prefix of an input is one too.
class Input {
 public:
  Input(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }

  uint8_t Byte() { return static_cast<uint8_t>(Number<1>()); }

  // Returns: a number of so many bytes.
  template <size_t kBytes = 8>
  uint64_t Number() {
    uint64_t number = 0;
    for (const char c : Take(kBytes)) {
      number = number << 8 | static_cast<uint8_t>(c);
    }
    return number;
  }

  // Returns: one of [0, count); 0 where there is nothing to choose from.
  size_t Pick(size_t count) {
    if (count <= 1) return 0;
    return (count <= 256 ? Byte() : Number<4>()) % count;
  }

  std::string_view Take(size_t bytes) {
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Takes at most `most` bytes, as many as a byte says.
  std::string_view TakeText(size_t most = 255) {
    return Take(std::min<size_t>(Byte(), most));
  }
  // Takes what is left up to `mark`, and the mark.
  std::string_view TakeUpTo(char mark) {
    const std::string_view taken = Take(rest_.find(mark));
    Take(1);
    return taken;
  }
  std::string_view TakeRest() { return Take(rest_.size()); }

 private:
  std::string_view rest_;
};

// Ends the process where `good` is false: the target has found something.
inline void Expect(bool good, std::string_view what,
                   std::string_view detail = {}) {
  if (good) return;
  std::fprintf(stderr, "finding: %.*s: %.*s\n", static_cast<int>(what.size()),
               what.data(), static_cast<int>(detail.size()), detail.data());
  std::abort();
}

}  // namespace openmessaging::fuzz

// Called by the fuzzer, for each execution.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // OPENMESSAGING_FUZZ_INPUT_H_
