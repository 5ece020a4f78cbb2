// SPDX-License-Identifier: Apache-2.0
//
// The files of a small store that has something of everything, which the fuzzer
// changes before somebody reads them.

#ifndef OPENMESSAGING_REFERENCE_FUZZ_HOSTILE_FILES_H_
#define OPENMESSAGING_REFERENCE_FUZZ_HOSTILE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "damage/damage.h"
#include "damage/image.h"
#include "damage/observation.h"
#include "damage/sample_store.h"
#include "env/environment.h"
#include "input.h"

namespace openmessaging::reference {

// The sample of the damage machine. It is made once in a process, and is the
// same in each but for what the machine says of its files.
struct Samples {
  damage::SampleStore store{};
  // Of the two images of `store`.
  std::vector<damage::Record> closed{};
  std::vector<damage::Record> crashed{};
  damage::Questions questions{};

  static const Samples& Get();
};

// One of the two stores, as it is changed.
//
// Threads: one.
class HostileFiles {
 public:
  explicit HostileFiles(bool crashed);

  // The records of the store before it was changed.
  const std::vector<damage::Record>& records() const { return *records_; }
  bool Has(const std::string& file) const { return image_.Has(file); }
  // Returns: the bytes of a file, to be changed in place.
  std::string& Bytes(const std::string& file);
  void Cut(const std::string& file, size_t bytes);
  void Remove(const std::string& file);

  // What is sent may be another message now, by somebody who makes checksums.
  void SetForged() { forged_ = true; }
  bool forged() const { return forged_; }

  // Returns: the files as they are now. Call it once.
  const damage::Image& Finish();

  // Ends the process where somebody got what nobody sent.
  void CheckSent(const std::string& body, const std::string& content) const;

 private:
  damage::Image image_;
  const std::vector<damage::Record>* const records_;
  // Those that were changed, not shared yet.
  std::map<std::string, std::string> changed_{};
  bool forged_ = false;
};

// Returns: a storage of which each mapping is a copy of its own that ends where
// the file does, so that whoever reads beyond is found. For those who only read.
std::unique_ptr<Storage> OpenToRead(const damage::Image& image);

// Returns: a number in place of `old`: near it, at a limit, or any.
uint64_t HostileNumber(fuzz::Input& input, uint64_t old);

// Changes a number of `size` bytes (1, 2, 4 or 8) at `at`, if it is there.
void ChangeNumber(fuzz::Input& input, std::string& bytes, size_t at,
                  size_t size);

template <typename T>
T LoadAt(const std::string& bytes, size_t at) {
  T value{};
  if (at <= bytes.size() && sizeof(T) <= bytes.size() - at) {
    std::memcpy(&value, bytes.data() + at, sizeof(T));
  }
  return value;
}
template <typename T>
void StoreAt(std::string& bytes, size_t at, const T& value) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) return;
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FUZZ_HOSTILE_FILES_H_
