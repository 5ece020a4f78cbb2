// SPDX-License-Identifier: Apache-2.0
//
// What was done to a disk, in order, and what a power loss at any place of it
// may leave.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRACE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRACE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::reference::power {

// Drives write one whole or not at all.
inline constexpr size_t kSectorBytes = 512;
// What the page cache writes back at once.
inline constexpr uint32_t kSectorsOfPage = 8;
// What a directory's entry refers to.
inline constexpr uint32_t kDirectory = UINT32_MAX;
using Sector = std::array<char, kSectorBytes>;

// Numbers from a seed; cheap to begin.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // Returns: a number below `limit`, which is not 0.
  uint64_t Below(uint64_t limit) { return Next() % limit; }
  bool OneIn(uint64_t count) { return Below(count) == 0; }

 private:
  uint64_t state_;
};

inline uint64_t Mix(uint64_t a, uint64_t b) { return Dice(a ^ b * 31).Next(); }

enum class Change : uint8_t {
  kSector,
  kSize,
  kFlush,
  kCreate,
  kRename,
  kRemove,
  kFlushDirectory
};

// One change. Of names only those of the calls are set.
struct Event {
  Change change = Change::kSector;
  bool derived = false;  // The file is ctl or idx.
  uint32_t inode = 0;
  uint32_t sector = 0;
  uint64_t value = 0;           // kSize: bytes. kSector: a hash; 0 = all zero.
  const char* bytes = nullptr;  // kSector: kSectorBytes bytes; null = all zero.
  std::string_view name{};
  std::string_view to{};
};

struct Trace {
  std::vector<Event> events{};
  std::deque<Sector> sectors{};
  std::deque<std::string> names{};

  size_t now() const { return events.size(); }
  // Keeps what the event refers to.
  void Add(Event event);
};

// Returns: a hash of kSectorBytes bytes; 0 of zeros.
uint64_t HashOf(const char* sector);

// Directory that a name lies in; "" = the store's own.
std::string_view DirectoryOf(std::string_view name);

// A disk after a power loss.
// Lifetime: borrows the bytes of whoever made it.
struct Image {
  struct Patch {
    uint32_t sector = 0;
    const char* bytes = nullptr;  // Null: zeros.
  };
  struct File {
    std::string name{};
    uint64_t size = 0;
    std::string_view base{};  // Zeros behind it.
    std::vector<Patch> patches{};
  };
  std::vector<File> files{};
  std::vector<std::string> directories{};
  // The same in any two that differ in ctl and idx only.
  uint64_t hash = 0;
};

// How a state is chosen among those that a power loss may leave.
enum class Shape : uint8_t {
  kNothing,     // Nothing but what was flushed.
  kEverything,  // All that was stored.
  kAllBut,      // All but the `target`th sector or entry.
  kOnly,        // Nothing but the `target`th sector or entry.
  kSectors,     // Each sector in any of its versions.
  kPages,       // Each page as of some time.
  kFiles,       // Each file whole or not at all.
};

// A disk at one place of a trace: what was flushed, and what else was stored.
class Cut {
 public:
  Cut() = default;
  // A trace that began on what a power loss had left.
  explicit Cut(const Image& image);

  // Goes on by one event. `lost`: of a flush, which the drive only pretends.
  void Apply(const Event& event, bool lost = false);

  // How many targets kAllBut and kOnly have.
  size_t Targets() const;

  // Lifetime: the image borrows from this and the trace, until the next Apply.
  Image Choose(Shape shape, size_t target, Dice& dice) const;

 private:
  struct Version {
    const char* bytes = nullptr;
    uint64_t hash = 0;
    uint64_t when = 0;
  };
  struct File {
    bool derived = false;
    std::string flushed{};
    uint64_t flushed_size = 0;
    std::vector<uint64_t> hashes{};  // Of the flushed sectors.
    uint64_t hash = 0;               // Of all of them.
    std::map<uint32_t, std::vector<Version>> pending{};
    std::vector<uint64_t> sizes{};  // Since the last flush.
  };
  struct Entry {
    Change change = Change::kCreate;
    uint32_t inode = 0;
    std::string directory{};
    std::string name{};
    std::string to{};
  };
  using Names = std::map<std::string, uint32_t>;

  File& FileOf(uint32_t inode);
  static void Flush(File& file);
  static void Put(const Entry& entry, Names& names);
  // Which version of a sector; 0 = the flushed one, n = the nth since.
  using Pick = std::function<size_t(uint32_t inode, uint32_t sector,
                                    const std::vector<Version>& versions)>;
  void AddFile(const std::string& name, uint32_t inode, uint64_t size,
               const Pick& pick, Image& image) const;
  size_t PendingSectors() const;

  uint64_t time_ = 0;
  std::vector<File> files_;
  Names flushed_names_;
  std::vector<Entry> entries_;  // Pending.
};

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_TRACE_H_
