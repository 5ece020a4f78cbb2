// SPDX-License-Identifier: Apache-2.0
//
// Storage in a directory. Trust ends at the user id: every name is opened below
// the directory's descriptor without following links, and must be a regular
// file of this user with one link. Rejected: POSIX record locks (closing any
// descriptor of the file drops them) and flock (one lock a file).

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "env/page_guard.h"
#include "env/pages.h"
#include "env/storage.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

// Owns a descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

std::string ErrorText(int error) {
  std::array<char, 128> buffer;
  // The GNU form returns the text.
  return strerror_r(error, buffer.data(), buffer.size());
}

bool IsNoSpace(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

absl::Status SystemError(std::string_view operation, std::string_view object,
                         int error) {
  if (error == ENOENT) {
    return MakeStatus(Code::kQueueNotFound, operation, " \"", object,
                      "\": no such file or directory");
  }
  if (error == EEXIST) {
    return MakeStatus(Code::kQueueExists, operation, " \"", object,
                      "\": the name is taken");
  }
  if (error == EACCES || error == EPERM || error == EROFS) {
    return MakeStatus(Code::kForbidden, operation, " \"", object, "\": ",
                      std::string_view(ErrorText(error)),
                      "; expected a directory that this user may write");
  }
  const Code code =
      IsNoSpace(error) ? Code::kStorageBusy : Code::kStorageError;
  return MakeStatus(code, operation, " \"", object, "\": ",
                    std::string_view(ErrorText(error)));
}

// Calls again after EINTR. Returns: what the call returned last.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

int Stat(int fd, struct stat& info) {
  return Retry([&] { return fstat(fd, &info); });
}

class MappedRegion final : public Region {
 public:
  MappedRegion(char* data, size_t size, std::shared_ptr<PageGuard> guard)
      : Region(data, size), guard_(std::move(guard)) {
    if (guard_ != nullptr) guard_->Watch(data, size);
  }
  ~MappedRegion() override {
    if (guard_ != nullptr) guard_->Forget(data());
    munmap(data(), size());
  }
  void Touch(size_t begin, size_t end, bool for_write) override {
    TouchPages(data(), begin, end, for_write);
  }

 private:
  const std::shared_ptr<PageGuard> guard_;  // Nothing where nobody wants one.
};

class DirectoryFile final : public File {
 public:
  DirectoryFile(Descriptor fd, std::string path,
                std::shared_ptr<PageGuard> guard)
      : fd_(std::move(fd)), path_(std::move(path)), guard_(std::move(guard)) {}

  absl::StatusOr<uint64_t> Size() const override {
    struct stat info{};
    if (Stat(fd_.get(), info) != 0) return SystemError("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<FileIdentity> Identity() const override {
    struct stat info{};
    if (Stat(fd_.get(), info) != 0) return SystemError("stat", path_, errno);
    return FileIdentity{static_cast<uint64_t>(info.st_dev),
                        static_cast<uint64_t>(info.st_ino)};
  }

  absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                              size_t size) override {
    const int protection =
        access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
    const int sharing =
        access == Access::kPrivate ? MAP_PRIVATE : MAP_SHARED;
    void* data = MAP_FAILED;
    Retry([&] {
      data = mmap(nullptr, size, protection, sharing | MAP_NORESERVE,
                  fd_.get(), 0);
      return data == MAP_FAILED ? -1 : 0;
    });
    if (data == MAP_FAILED) return SystemError("map", path_, errno);
    return std::make_unique<MappedRegion>(static_cast<char*>(data), size,
                                          guard_);
  }

  absl::Status Grow(uint64_t size) override {
    // The page cache keeps what one write brings in one piece, and a flush
    // writes whole pieces: large ones would multiply what a small record costs
    // on the disk, and small ones what its pages cost at their first touch.
    static constexpr std::array<char, size_t{64} << 10> kZeros{};
    auto at = Size();
    if (!at.ok()) return at.status();
    if (const int error = WhyNotGrow(*at, size); error != 0) {
      return SystemError("grow", path_, error);
    }
    uint64_t offset = *at;
    while (offset < size) {
      const size_t count = std::min<uint64_t>(size - offset, kZeros.size());
      const ssize_t written = Retry([&] {
        return pwrite(fd_.get(), kZeros.data(), count,
                      static_cast<off_t>(offset));
      });
      if (written <= 0) {
        const int error = written == 0 ? EIO : errno;
        // Half a growth is taken back, so that the next try starts clean.
        if (Retry([&] {
              return ftruncate(fd_.get(), static_cast<off_t>(*at));
            }) != 0) {
          return SystemError("shrink", path_, errno);
        }
        return SystemError("grow", path_, error);
      }
      offset += static_cast<uint64_t>(written);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    std::string bytes;
    std::array<char, 65536> buffer;
    while (bytes.size() < limit) {
      const size_t want = std::min(buffer.size(), limit - bytes.size());
      const ssize_t count = Retry([&] {
        return pread(fd_.get(), buffer.data(), want,
                     static_cast<off_t>(bytes.size()));
      });
      if (count < 0) return SystemError("read", path_, errno);
      if (count == 0) break;
      bytes.append(buffer.data(), static_cast<size_t>(count));
    }
    return bytes;
  }

  absl::Status WriteAll(std::string_view bytes) override {
    const auto size = Size();
    if (!size.ok()) return size.status();
    if (const int error = WhyNotGrow(*size, bytes.size()); error != 0) {
      return SystemError("write", path_, error);
    }
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = Retry([&] {
        return pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                      static_cast<off_t>(done));
      });
      if (count <= 0) {
        return SystemError("write", path_, count == 0 ? EIO : errno);
      }
      done += static_cast<size_t>(count);
      if (OMS_PLANTED(kShortWriteTaken)) break;
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    // EINTR too ends a flush whose outcome nobody knows: no retry.
    if (OMS_PLANTED(kFlushTriedAgain)) static_cast<void>(fdatasync(fd_.get()));
    if (fdatasync(fd_.get()) != 0) {
      const int error = errno;
      return MakeStatus(Code::kStorageError, "flush \"",
                        std::string_view(path_), "\": ",
                        std::string_view(ErrorText(error)));
    }
    return absl::OkStatus();
  }

 private:
  // Returns: the error of a growth that cannot end; 0: it can.
  int WhyNotGrow(uint64_t from, uint64_t to) const {
    if (to <= from) return 0;
    // Beyond the limit a write would raise SIGXFSZ, which kills.
    struct rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && to > limit.rlim_cur) {
      return EFBIG;
    }
    // It would write until the disk is full, and take the room from others
    // meanwhile. What this cannot see (a quota), the writes do.
    struct statvfs system{};
    const bool room = fstatvfs(fd_.get(), &system) != 0 ||
                      (to - from) / system.f_frsize <= system.f_bfree;
    return room ? 0 : ENOSPC;
  }

  const Descriptor fd_;
  const std::string path_;
  const std::shared_ptr<PageGuard> guard_;
};

// Open-file-description locks: they live with this descriptor, not with the
// process, and no other descriptor's end drops them.
class DirectoryLocks final : public ByteLocks {
 public:
  DirectoryLocks(Descriptor fd, std::string path)
      : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::StatusOr<bool> TryLock(uint64_t byte) override {
    struct flock lock = Range(byte, 1);
    lock.l_type = F_WRLCK;
    if (Retry([&] { return fcntl(fd_.get(), F_OFD_SETLK, &lock); }) == 0) {
      return true;
    }
    if (errno == EAGAIN || errno == EACCES) return false;
    return SystemError("lock", path_, errno);
  }

  absl::Status Unlock(uint64_t byte) override {
    struct flock lock = Range(byte, 1);
    lock.l_type = F_UNLCK;
    if (Retry([&] { return fcntl(fd_.get(), F_OFD_SETLK, &lock); }) != 0) {
      return SystemError("unlock", path_, errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                     uint64_t count) const override {
    struct flock lock = Range(first, count);
    lock.l_type = F_WRLCK;
    if (Retry([&] { return fcntl(fd_.get(), F_OFD_GETLK, &lock); }) != 0) {
      return SystemError("ask the locks of", path_, errno);
    }
    return lock.l_type != F_UNLCK;
  }

  // The lock lives until its last descriptor is closed, so the child's copy
  // would keep its dead parent alive.
  void AbandonAfterFork() override { fd_.Close(); }

 private:
  static struct flock Range(uint64_t first, uint64_t count) {
    struct flock lock{};
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(first);
    lock.l_len = static_cast<off_t>(count);
    return lock;
  }

  Descriptor fd_;
  const std::string path_;
};

class DirectoryStorage final : public Storage {
 public:
  DirectoryStorage(Descriptor fd, std::string path, uint64_t device,
                   std::shared_ptr<PageGuard> guard)
      : Storage(guard == nullptr ? nullptr : guard->lost_word()),
        fd_(std::move(fd)),
        path_(std::move(path)),
        device_(device),
        guard_(std::move(guard)) {}

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return 0; }
  std::string Describe() const override { return path_; }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access access) override {
    return OpenFile(name, access == Access::kWrite ? O_RDWR : O_RDONLY);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(
      std::string_view name) override {
    auto fd = OpenDescriptor(name, O_RDWR | O_CREAT);
    if (!fd.ok()) return fd.status();
    // Not O_TRUNC: what is refused above must keep what it has.
    if (Retry([&] { return ftruncate(fd->get(), 0); }) != 0) {
      return SystemError("empty", PathOf(name), errno);
    }
    return std::make_unique<DirectoryFile>(std::move(*fd), PathOf(name),
                                           guard_);
  }

  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    return OpenFile(name, O_RDWR | O_CREAT | O_EXCL);
  }

  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override {
    auto fd = OpenDescriptor(name, O_RDWR | O_CREAT);
    if (!fd.ok()) return fd.status();
    return std::make_unique<DirectoryLocks>(std::move(*fd), PathOf(name));
  }

  absl::Status MakeDirectory(std::string_view name) override {
    const std::string own(name);
    if (Retry([&] { return mkdirat(fd_.get(), own.c_str(), 0700); }) != 0 &&
        errno != EEXIST) {
      return SystemError("make directory", PathOf(name), errno);
    }
    return absl::OkStatus();
  }

  absl::Status Rename(std::string_view from, std::string_view to) override {
    const std::string before(from);
    const std::string after(to);
    if (Retry([&] {
          return renameat(fd_.get(), before.c_str(), fd_.get(), after.c_str());
        }) != 0) {
      return SystemError("rename", PathOf(from), errno);
    }
    return absl::OkStatus();
  }

  absl::Status Remove(std::string_view name) override {
    const std::string own(name);
    if (Retry([&] { return unlinkat(fd_.get(), own.c_str(), 0); }) != 0 &&
        errno != ENOENT) {
      return SystemError("remove", PathOf(name), errno);
    }
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(std::string_view name) override {
    const Descriptor fd(OpenFolder(name));
    if (!fd.ok() || fsync(fd.get()) != 0) {
      return SystemError("flush directory", PathOf(name), errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    const int fd = OpenFolder(directory);
    if (fd < 0) return SystemError("list", PathOf(directory), errno);
    DIR* stream = nullptr;
    Retry([&] {
      stream = fdopendir(fd);
      return stream == nullptr ? -1 : 0;
    });
    if (stream == nullptr) {
      const int error = errno;
      close(fd);
      return SystemError("list", PathOf(directory), error);
    }
    std::vector<std::string> names;
    int error = 0;
    while (const dirent* const entry = NextEntry(stream, error)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    closedir(stream);
    // Half a list would be a log with segments missing.
    if (error != 0) return SystemError("list", PathOf(directory), error);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static std::string NameOrSelf(std::string_view name) {
    return name.empty() ? "." : std::string(name);
  }
  // Returns: the next one; nullptr at the end, and where it fails: `error`.
  static const dirent* NextEntry(DIR* stream, int& error) {
    const dirent* entry = nullptr;
    do {
      errno = 0;
      entry = readdir(stream);
      error = entry == nullptr ? errno : 0;
    } while (error == EINTR);
    return entry;
  }
  // Returns: a descriptor; -1 with errno.
  int OpenFolder(std::string_view name) const {
    const std::string own = NameOrSelf(name);
    return Retry([&] {
      return openat(fd_.get(), own.c_str(),
                    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    });
  }
  std::string PathOf(std::string_view name) const {
    return name.empty() ? path_ : path_ + '/' + std::string(name);
  }

  absl::StatusOr<Descriptor> OpenDescriptor(std::string_view name, int flags) {
    const std::string path = PathOf(name);
    const std::string own(name);
    Descriptor fd(Retry([&] {
      return openat(fd_.get(), own.c_str(),
                    flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    }));
    if (!fd.ok()) {
      if (errno == ELOOP) {
        return MakeStatus(Code::kForbidden, "open \"", std::string_view(path),
                          "\": it is a symbolic link; expected a regular file");
      }
      return SystemError("open", path, errno);
    }
    struct stat info{};
    if (Stat(fd.get(), info) != 0) return SystemError("stat", path, errno);
    if (!S_ISREG(info.st_mode) || info.st_nlink > 1 ||
        info.st_uid != geteuid() ||
        static_cast<uint64_t>(info.st_dev) != device_) {
      return MakeStatus(Code::kForbidden, "open \"", std::string_view(path),
                        "\": it is not a regular file of this user with one "
                        "link on the directory's device");
    }
    return fd;
  }

  absl::StatusOr<std::unique_ptr<File>> OpenFile(std::string_view name,
                                                 int flags) {
    auto fd = OpenDescriptor(name, flags);
    if (!fd.ok()) return fd.status();
    return std::make_unique<DirectoryFile>(std::move(*fd), PathOf(name),
                                           guard_);
  }

  const Descriptor fd_;
  const std::string path_;
  const uint64_t device_;
  const std::shared_ptr<PageGuard> guard_;
};

// Magic numbers of statfs(2) whose locks or mappings are not those of one
// machine.
bool IsNetworkFileSystem(int64_t type) {
  constexpr std::array<int64_t, 7> kTypes = {
      0x6969,      // NFS
      0xff534d42,  // CIFS
      0xfe534d42,  // SMB2
      0x517b,      // SMB
      0x01021997,  // 9P
      0x65735546,  // FUSE
      0x00c36400,  // Ceph
  };
  return std::find(kTypes.begin(), kTypes.end(), type & 0xffffffff) !=
         kTypes.end();
}

absl::Status CheckTrust(int fd, std::string_view path, uint64_t& device) {
  struct stat info{};
  if (Stat(fd, info) != 0) return SystemError("stat", path, errno);
  device = static_cast<uint64_t>(info.st_dev);
  if (info.st_uid != geteuid()) {
    return MakeStatus(Code::kForbidden, "open store \"", path,
                      "\": the directory belongs to user ", info.st_uid,
                      "; expected this user, ", geteuid());
  }
  if ((info.st_mode & 0022) != 0 && !OMS_PLANTED(kWritableByOthers)) {
    return MakeStatus(Code::kForbidden, "open store \"", path,
                      "\": others may write the directory; expected mode 0700 "
                      "or one that lets only its owner write");
  }
  struct statfs system{};
  if (Retry([&] { return fstatfs(fd, &system); }) != 0) {
    return SystemError("stat", path, errno);
  }
  if (IsNetworkFileSystem(system.f_type)) {
    return MakeStatus(Code::kForbidden, "open store \"", path,
                      "\": it lies on a network file system; expected a local "
                      "one, whose locks and mappings all processes share");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Storage>> OpenDirectory(
    const std::string& path, const DirectoryOptions& options) {
  if (options.create && !options.read_only &&
      Retry([&] { return mkdir(path.c_str(), 0700); }) != 0 &&
      errno != EEXIST) {
    const int error = errno;
    if (error == ENOENT) {
      return MakeStatus(Code::kBadParameter, "open store \"",
                        std::string_view(path),
                        "\": its parent directory does not exist; only the "
                        "last directory of the path is made");
    }
    if (error == ENOTDIR || error == ENAMETOOLONG || error == ELOOP) {
      return MakeStatus(Code::kBadParameter, "open store \"",
                        std::string_view(path), "\": ",
                        std::string_view(ErrorText(error)),
                        "; expected a path below an existing directory");
    }
    return SystemError("make store", path, error);
  }
  Descriptor fd(Retry([&] {
    return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }));
  if (!fd.ok()) {
    if (errno == ENOTDIR) {
      return MakeStatus(Code::kBadParameter, "open store \"",
                        std::string_view(path),
                        "\": it is not a directory; expected a directory or "
                        "the name of a new one");
    }
    return SystemError("open store", path, errno);
  }
  uint64_t device = 0;
  if (auto status = CheckTrust(fd.get(), path, device); !status.ok()) {
    return status;
  }
  return std::make_unique<DirectoryStorage>(
      std::move(fd), path, device,
      options.guard_pages ? PageGuard::Make() : nullptr);
}

}  // namespace openmessaging::reference
