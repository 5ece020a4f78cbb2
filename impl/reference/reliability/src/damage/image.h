// SPDX-License-Identifier: Apache-2.0
//
// The files of a store as they lay on a disk at one moment, and a storage in
// memory on which a store can be opened from them, thousands of times a second.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_IMAGE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_IMAGE_H_

#include <map>
#include <memory>
#include <string>

#include "env/environment.h"

namespace openmessaging::reference::damage {

// Bytes that many images share.
using Content = std::shared_ptr<const std::string>;

struct Image {
  // By name, relative to the store's directory.
  std::map<std::string, Content> files{};
  // Which files STORE and ctl were: a storage in the same place has them.
  std::map<std::string, FileIdentity> identities{};

  bool Has(const std::string& name) const { return files.count(name) != 0; }
  const std::string& Of(const std::string& name) const {
    return *files.at(name);
  }
  void Set(const std::string& name, std::string bytes) {
    files[name] = std::make_shared<const std::string>(std::move(bytes));
  }
};

// Reads the files of a directory as they are now; that is what a kill of all
// who use it would leave.
Image ReadImage(const std::string& directory);

// Writes the files into an empty directory, which exists.
void WriteImage(const Image& image, const std::string& directory);

// Returns: a storage with these files, which stays in memory. `same_place`:
// they lie where they were made; otherwise they are a copy.
// Threads: one, with those that its stores begin.
std::shared_ptr<Storage> OpenImage(const Image& image, bool same_place);

// Returns: what a storage holds now.
Image ImageOf(const Storage& storage);

}  // namespace openmessaging::reference::damage
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_IMAGE_H_
