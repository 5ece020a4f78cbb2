// SPDX-License-Identifier: Apache-2.0
//
// Images remembers what a directory held after each change, and brings any of
// those states back into the same files.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_STEP_IMAGES_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_STEP_IMAGES_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace openmessaging::reference::step {

// The files of one directory and its folders, state by state.
//
// A file is brought back with its inode, because the engine asks for it: what
// is unlinked gets a second name in `stash` before, beside the directory. Where
// somebody unlinked a file unseen it is made anew, and a ctl that named its own
// inode names the new one.
class Images {
 public:
  Images(std::string directory, std::string stash);
  ~Images();
  Images(const Images&) = delete;
  Images& operator=(const Images&) = delete;

  // Notes all that is there, or what changed. Returns: whether this is a state
  // that was not there before.
  bool NoteAll();
  bool NotePages(const std::string& path, uint64_t first, uint64_t last);
  // The name of a file is about to go.
  void KeepInode(const std::string& path);

  // How many different states there are.
  size_t count() const { return states_.size(); }
  // Makes the directory what it was in one of them. Nobody may use it but who
  // waits.
  void Restore(size_t number);

 private:
  static constexpr size_t kPageBytes = 4096;
  using Page = std::array<char, kPageBytes>;
  struct KeptPage {
    Page bytes{};
    uint64_t hash = 0;
  };
  using PagePointer = std::shared_ptr<const KeptPage>;

  struct FileImage {
    size_t file = 0;  // In files_.
    uint64_t bytes = 0;
    std::shared_ptr<const std::vector<PagePointer>> pages{};
  };
  // By name relative to the directory; a folder has only its name.
  struct State {
    std::map<std::string, FileImage> files{};
    std::set<std::string> folders{};
  };
  // A file by its inode, which is held open.
  struct KnownFile {
    int fd = -1;
    ino_t inode = 0;
    ino_t first_inode = 0;
    dev_t device = 0;
  };

  size_t Know(const std::string& path);
  FileImage Read(const std::string& name);
  PagePointer Keep(const Page& page);
  bool Remember();
  std::string StashName(size_t file) const;
  void RestoreNames(const State& state);
  void RestoreBytes(const std::string& name, const FileImage& image);
  void NameItself(const KnownFile& file, Page& page) const;

  const std::string directory_;
  const std::string stash_;
  std::vector<KnownFile> files_;
  State now_;
  std::vector<State> states_;
  std::set<uint64_t> seen_;
  std::unordered_map<uint64_t, std::vector<PagePointer>> pages_;
};

}  // namespace openmessaging::reference::step
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_STEP_IMAGES_H_
