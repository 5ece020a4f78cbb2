// SPDX-License-Identifier: Apache-2.0

#include "power/trace.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace openmessaging::reference::power {
namespace {

constexpr Sector kZeros{};

}  // namespace

uint64_t HashOf(const char* sector) {
  if (std::memcmp(sector, kZeros.data(), kSectorBytes) == 0) return 0;
  uint64_t hash = 1;
  for (size_t at = 0; at < kSectorBytes; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, sector + at, sizeof(word));
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
  }
  return hash == 0 ? 1 : hash;
}

std::string_view DirectoryOf(std::string_view name) {
  const size_t slash = name.find('/');
  return slash == std::string_view::npos ? std::string_view()
                                         : name.substr(0, slash);
}

void Trace::Add(Event event) {
  const auto keep = [this](std::string_view& text) {
    if (!text.empty()) text = names.emplace_back(text);
  };
  keep(event.name);
  keep(event.to);
  if (event.bytes != nullptr) {
    Sector& copy = sectors.emplace_back();
    std::memcpy(copy.data(), event.bytes, kSectorBytes);
    event.bytes = copy.data();
  }
  events.push_back(event);
}

Cut::Cut(const Image& image) {
  for (const std::string& directory : image.directories) {
    flushed_names_[directory] = kDirectory;
  }
  // Numbered as Disk does.
  for (const Image::File& from : image.files) {
    const auto inode = static_cast<uint32_t>(files_.size());
    flushed_names_[from.name] = inode;
    File& file = FileOf(inode);
    file.derived = from.name == "ctl" || from.name == "idx";
    file.flushed.assign(from.base.substr(0, from.size));
    file.flushed.resize((from.size + kSectorBytes - 1) / kSectorBytes *
                        kSectorBytes);
    file.flushed_size = from.size;
    for (const Image::Patch& patch : from.patches) {
      const uint64_t at = uint64_t{patch.sector} * kSectorBytes;
      if (at >= from.size) continue;
      std::memcpy(file.flushed.data() + at,
                  patch.bytes != nullptr ? patch.bytes : kZeros.data(),
                  kSectorBytes);
    }
    std::fill(file.flushed.begin() + static_cast<std::ptrdiff_t>(from.size),
              file.flushed.end(), '\0');
    file.hashes.resize(file.flushed.size() / kSectorBytes);
    for (uint32_t n = 0; n < file.hashes.size(); ++n) {
      file.hashes[n] = HashOf(file.flushed.data() + n * kSectorBytes);
      if (file.hashes[n] != 0) file.hash ^= Mix(n, file.hashes[n]);
    }
  }
}

Cut::File& Cut::FileOf(uint32_t inode) {
  if (inode >= files_.size()) files_.resize(inode + 1);
  return files_[inode];
}

void Cut::Flush(File& file) {
  if (!file.sizes.empty()) file.flushed_size = file.sizes.back();
  file.sizes.clear();
  for (const auto& [sector, versions] : file.pending) {
    const Version& last = versions.back();
    const size_t end = (size_t{sector} + 1) * kSectorBytes;
    if (file.flushed.size() < end) file.flushed.resize(end);
    if (file.hashes.size() <= sector) file.hashes.resize(sector + 1);
    std::memcpy(file.flushed.data() + end - kSectorBytes,
                last.bytes != nullptr ? last.bytes : kZeros.data(),
                kSectorBytes);
    uint64_t& hash = file.hashes[sector];
    if (hash != 0) file.hash ^= Mix(sector, hash);
    hash = last.hash;
    if (hash != 0) file.hash ^= Mix(sector, hash);
  }
  file.pending.clear();
}

void Cut::Put(const Entry& entry, Names& names) {
  const auto drop = [&](const std::string& name) {
    const auto found = names.find(name);
    if (found != names.end() && found->second == entry.inode) {
      names.erase(found);
    }
  };
  if (entry.change == Change::kRename) drop(entry.name);
  if (entry.change == Change::kRemove) {
    drop(entry.name);
  } else {
    names[entry.change == Change::kRename ? entry.to : entry.name] =
        entry.inode;
  }
}

void Cut::Apply(const Event& event, bool lost) {
  ++time_;
  switch (event.change) {
    case Change::kSector:
      FileOf(event.inode)
          .pending[event.sector]
          .push_back({event.bytes, event.value, time_});
      return;
    case Change::kSize:
      FileOf(event.inode).sizes.push_back(event.value);
      return;
    case Change::kFlush:
      if (!lost) Flush(FileOf(event.inode));
      return;
    case Change::kCreate:
      if (event.inode != kDirectory) {
        FileOf(event.inode).derived = event.derived;
      }
      entries_.push_back({Change::kCreate,
                          event.inode,
                          std::string(DirectoryOf(event.name)),
                          std::string(event.name),
                          {}});
      return;
    case Change::kRemove:
      entries_.push_back({Change::kRemove,
                          event.inode,
                          std::string(DirectoryOf(event.name)),
                          std::string(event.name),
                          {}});
      return;
    case Change::kRename: {
      const std::string from(event.name);
      const std::string to(event.to);
      const std::string from_directory(DirectoryOf(from));
      const std::string to_directory(DirectoryOf(to));
      if (from_directory == to_directory) {
        entries_.push_back(
            {Change::kRename, event.inode, from_directory, from, to});
      } else {
        // Two directories, which are flushed one by one.
        entries_.push_back(
            {Change::kCreate, event.inode, to_directory, to, {}});
        entries_.push_back(
            {Change::kRemove, event.inode, from_directory, from, {}});
      }
      return;
    }
    case Change::kFlushDirectory:
      if (lost) return;
      std::erase_if(entries_, [&](const Entry& entry) {
        if (entry.directory != event.name) return false;
        Put(entry, flushed_names_);
        return true;
      });
      return;
  }
}

size_t Cut::PendingSectors() const {
  size_t count = 0;
  for (const File& file : files_) {
    if (!file.derived) count += file.pending.size();
  }
  return count;
}

size_t Cut::Targets() const { return PendingSectors() + entries_.size(); }

void Cut::AddFile(const std::string& name, uint32_t inode, uint64_t size,
                  const Pick& pick, Image& image) const {
  const File& file = files_[inode];
  Image::File& made = image.files.emplace_back();
  made.name = name;
  made.size = size;
  made.base = file.flushed;
  uint64_t hash = file.hash;
  for (const auto& [sector, versions] : file.pending) {
    const size_t which = pick(inode, sector, versions);
    if (which == 0) continue;
    const Version& version = versions[which - 1];
    made.patches.push_back({sector, version.bytes});
    const uint64_t before =
        sector < file.hashes.size() ? file.hashes[sector] : 0;
    if (before != 0) hash ^= Mix(sector, before);
    if (version.hash != 0) hash ^= Mix(sector, version.hash);
  }
  if (file.derived || size == 0) hash = 0;
  image.hash ^= Mix(std::hash<std::string>()(name), Mix(size, hash));
}

Image Cut::Choose(Shape shape, size_t target, Dice& dice) const {
  const size_t sectors = PendingSectors();
  const bool most = shape == Shape::kEverything || shape == Shape::kAllBut;
  const bool random = shape >= Shape::kSectors;
  // Which entries are there.
  Names names = flushed_names_;
  const uint64_t entries_shape = random ? dice.Below(4) : 0;
  for (size_t n = 0; n < entries_.size(); ++n) {
    bool there = most;
    if (random) {
      there = entries_shape == 0 || (entries_shape != 1 && dice.OneIn(2));
    }
    if (!random && target == sectors + n) there = !there;
    if (there) Put(entries_[n], names);
  }
  // Which of the sectors.
  size_t counted = 0;
  std::map<uint32_t, size_t> first_target;
  if (!random) {
    for (uint32_t n = 0; n < files_.size(); ++n) {
      first_target[n] = counted;
      if (!files_[n].derived) counted += files_[n].pending.size();
    }
  }
  uint32_t last_inode = UINT32_MAX;
  size_t in_file = 0;
  const uint64_t likely = 1 + dice.Below(7);
  std::map<uint64_t, uint64_t> page_times;
  const uint64_t oldest = time_ > 256 ? time_ - 256 : 0;
  const Pick pick = [&](uint32_t inode, uint32_t sector,
                        const std::vector<Version>& versions) -> size_t {
    if (inode != last_inode) {
      last_inode = inode;
      in_file = 0;
    }
    const size_t nth = in_file++;
    switch (shape) {
      case Shape::kNothing:
        return 0;
      case Shape::kEverything:
        return versions.size();
      case Shape::kAllBut:
      case Shape::kOnly: {
        const bool is_target =
            !files_[inode].derived && first_target[inode] + nth == target;
        return is_target == most ? 0 : versions.size();
      }
      case Shape::kSectors:
        return dice.Below(8) >= likely ? 0
               : dice.OneIn(2)         ? versions.size()
                                       : 1 + dice.Below(versions.size());
      case Shape::kPages:
      case Shape::kFiles: {
        const uint64_t page =
            shape == Shape::kFiles ? UINT32_MAX : sector / kSectorsOfPage;
        const auto [found, fresh] =
            page_times.try_emplace(uint64_t{inode} << 32 | page, 0);
        if (fresh) {
          found->second =
              dice.OneIn(4) ? time_ : oldest + dice.Below(time_ + 1 - oldest);
        }
        size_t which = 0;
        while (which < versions.size() &&
               versions[which].when <= found->second) {
          ++which;
        }
        return which;
      }
    }
    return 0;
  };

  Image image;
  std::map<uint32_t, bool> seen;
  for (const auto& [name, inode] : names) {
    if (inode == kDirectory) {
      image.directories.push_back(name);
      image.hash ^= Mix(std::hash<std::string>()(name), 1);
    }
  }
  for (const auto& [name, inode] : names) {
    if (inode == kDirectory) continue;
    const std::string_view directory = DirectoryOf(name);
    if (!directory.empty() && !names.contains(std::string(directory))) continue;
    // A rename that is there by halves shows one of its names.
    if (std::exchange(seen[inode], true)) continue;
    const File& file = files_[inode];
    uint64_t size = file.flushed_size;
    if (!file.sizes.empty()) {
      if (most || (shape == Shape::kOnly && dice.OneIn(2))) {
        size = file.sizes.back();
      } else if (random && !dice.OneIn(4)) {
        size = dice.OneIn(3) ? file.sizes[dice.Below(file.sizes.size())]
                             : file.sizes.back();
      }
    }
    AddFile(name, inode, size, pick, image);
  }
  return image;
}

}  // namespace openmessaging::reference::power
