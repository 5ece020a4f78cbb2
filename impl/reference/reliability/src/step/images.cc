// SPDX-License-Identifier: Apache-2.0

#include "step/images.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "checksum.h"
#include "control.h"
#include "doctest/doctest.h"

namespace openmessaging::reference::step {
namespace {

namespace fs = std::filesystem;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 29;
}

uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    hash = Mix(hash, word);
  }
  for (const char c : bytes) hash = Mix(hash, static_cast<uint8_t>(c));
  return hash;
}

}  // namespace

Images::Images(std::string directory, std::string stash)
    : directory_(std::move(directory)), stash_(std::move(stash)) {
  fs::create_directory(stash_);
}

Images::~Images() {
  for (const KnownFile& file : files_) ::close(file.fd);
}

std::string Images::StashName(size_t file) const {
  return stash_ + '/' + std::to_string(file);
}

size_t Images::Know(const std::string& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  for (size_t n = 0; n < files_.size(); ++n) {
    if (files_[n].inode == info.st_ino) return n;
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(fd >= 0);
  files_.push_back({fd, info.st_ino, info.st_ino, info.st_dev});
  return files_.size() - 1;
}

Images::PagePointer Images::Keep(const Page& page) {
  const uint64_t hash = HashOf({page.data(), page.size()});
  std::vector<PagePointer>& same = pages_[hash];
  for (const PagePointer& kept : same) {
    if (kept->bytes == page) return kept;
  }
  auto kept = std::make_shared<KeptPage>();
  kept->bytes = page;
  kept->hash = hash;
  same.push_back(kept);
  return kept;
}

Images::FileImage Images::Read(const std::string& name) {
  FileImage image;
  image.file = Know(directory_ + '/' + name);
  const KnownFile& file = files_[image.file];
  struct stat info {};
  REQUIRE(::fstat(file.fd, &info) == 0);
  image.bytes = static_cast<uint64_t>(info.st_size);
  std::vector<PagePointer> pages;
  for (uint64_t at = 0; at < image.bytes; at += kPageBytes) {
    Page page{};
    REQUIRE(::pread(file.fd, page.data(), page.size(), static_cast<off_t>(at)) >
            0);
    pages.push_back(Keep(page));
  }
  image.pages =
      std::make_shared<const std::vector<PagePointer>>(std::move(pages));
  return image;
}

bool Images::Remember() {
  uint64_t hash = 0;
  for (const auto& [name, image] : now_.files) {
    hash = Mix(Mix(hash, HashOf(name)), Mix(image.file, image.bytes));
    for (const PagePointer& page : *image.pages) hash = Mix(hash, page->hash);
  }
  for (const std::string& folder : now_.folders) {
    hash = Mix(hash, HashOf(folder));
  }
  if (!seen_.insert(hash).second) return false;
  states_.push_back(now_);
  return true;
}

bool Images::NoteAll() {
  State found;
  if (fs::exists(directory_)) {
    found.folders.insert("");
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      const std::string name = fs::relative(entry.path(), directory_).string();
      if (entry.is_directory()) {
        found.folders.insert(name);
      } else {
        found.files.emplace(name, Read(name));
      }
    }
  }
  now_ = std::move(found);
  // What kept its name after all needs no second one.
  for (const auto& [name, image] : now_.files) {
    ::unlink(StashName(image.file).c_str());
  }
  return Remember();
}

bool Images::NotePages(const std::string& path, uint64_t first, uint64_t last) {
  const std::string name = fs::relative(path, directory_).string();
  const auto found = now_.files.find(name);
  // Renamed or removed since it was mapped.
  if (found == now_.files.end()) return NoteAll();
  FileImage& image = found->second;
  std::vector<PagePointer> pages = *image.pages;
  for (uint64_t n = first; n <= last && n < pages.size(); ++n) {
    Page page{};
    REQUIRE(::pread(files_[image.file].fd, page.data(), page.size(),
                    static_cast<off_t>(n * kPageBytes)) > 0);
    pages[n] = Keep(page);
  }
  image.pages =
      std::make_shared<const std::vector<PagePointer>>(std::move(pages));
  return Remember();
}

void Images::KeepInode(const std::string& path) {
  if (!fs::exists(path)) return;
  const std::string stashed = StashName(Know(path));
  ::unlink(stashed.c_str());
  REQUIRE(::link(path.c_str(), stashed.c_str()) == 0);
}

void Images::RestoreNames(const State& state) {
  std::set<std::string> right;
  std::vector<std::string> folders;
  if (fs::exists(directory_)) {
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      const std::string name = fs::relative(entry.path(), directory_).string();
      if (entry.is_directory()) {
        folders.push_back(name);
        continue;
      }
      struct stat info {};
      REQUIRE(::stat(entry.path().c_str(), &info) == 0);
      const auto wanted = state.files.find(name);
      if (wanted != state.files.end() &&
          files_[wanted->second.file].inode == info.st_ino) {
        right.insert(name);
        continue;
      }
      size_t known = 0;
      while (known < files_.size() && files_[known].inode != info.st_ino) {
        ++known;
      }
      if (known < files_.size()) {
        fs::rename(entry.path(), StashName(known));
      } else {
        fs::remove(entry.path());
      }
    }
  }
  for (const std::string& folder : state.folders) {
    fs::create_directory(directory_ + '/' + folder);
    fs::permissions(directory_ + '/' + folder, fs::perms::owner_all);
  }
  for (const auto& [name, image] : state.files) {
    if (right.contains(name)) continue;
    const std::string path = directory_ + '/' + name;
    if (::rename(StashName(image.file).c_str(), path.c_str()) == 0) continue;
    const int fd =
        ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    KnownFile& file = files_[image.file];
    ::close(std::exchange(file.fd, fd));
    struct stat info {};
    REQUIRE(::fstat(fd, &info) == 0);
    file.inode = info.st_ino;
  }
  std::sort(folders.rbegin(), folders.rend());
  for (const std::string& folder : folders) {
    if (!state.folders.contains(folder)) fs::remove(directory_ + '/' + folder);
  }
  if (!state.folders.contains("")) fs::remove(directory_);
}

void Images::NameItself(const KnownFile& file, Page& page) const {
  if (file.inode == file.first_inode) return;
  uint64_t inode = 0;
  char* const at = page.data() + offsetof(ControlHeader, inode);
  std::memcpy(&inode, at, sizeof(inode));
  if (inode != file.first_inode) return;
  inode = file.inode;
  std::memcpy(at, &inode, sizeof(inode));
}

void Images::RestoreBytes(const std::string& name, const FileImage& image) {
  const KnownFile& file = files_[image.file];
  struct stat info {};
  REQUIRE(::fstat(file.fd, &info) == 0);
  if (static_cast<uint64_t>(info.st_size) != image.bytes) {
    REQUIRE(::ftruncate(file.fd, static_cast<off_t>(image.bytes)) == 0);
  }
  std::string there(image.bytes, '\0');
  REQUIRE(::pread(file.fd, there.data(), there.size(), 0) ==
          static_cast<ssize_t>(there.size()));
  for (size_t n = 0; n < image.pages->size(); ++n) {
    const size_t at = n * kPageBytes;
    const size_t count = std::min(kPageBytes, there.size() - at);
    const PagePointer& kept = (*image.pages)[n];
    Page changed{};
    const char* bytes = kept->bytes.data();
    if (n == 0 && name == "ctl" && file.inode != file.first_inode) {
      changed = kept->bytes;
      NameItself(file, changed);
      bytes = changed.data();
    }
    if (std::memcmp(there.data() + at, bytes, count) == 0) continue;
    REQUIRE(::pwrite(file.fd, bytes, count, static_cast<off_t>(at)) ==
            static_cast<ssize_t>(count));
  }
}

void Images::Restore(size_t number) {
  const State& state = states_.at(number);
  RestoreNames(state);
  for (const auto& [name, image] : state.files) RestoreBytes(name, image);
}

}  // namespace openmessaging::reference::step
