// SPDX-License-Identifier: Apache-2.0

#include "faults/system_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <utility>

namespace openmessaging::reference::faults {
namespace {

constexpr int kDescriptors = 4096;

// What is known of the calls of this process.
struct Tap {
  std::mutex mutex;
  std::string directory;
  std::array<std::string, kDescriptors> files;
  std::array<std::atomic<bool>, kDescriptors> ours{};
  std::function<int(std::string_view)> on_flush;

  std::atomic<bool> armed{false};
  CallFault fault;
  CallReport report;
};

Tap& TheTap() {
  static auto* const tap = new Tap();
  return *tap;
}

bool IsOurs(int fd) {
  return fd >= 0 && fd < kDescriptors && TheTap().ours[fd].load();
}

// Returns: the name below the directory; nothing of what lies elsewhere.
bool IsBelow(std::string_view path, std::string& name) {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  if (tap.directory.empty() || !path.starts_with(tap.directory)) return false;
  name = path.substr(tap.directory.size());
  return true;
}

// Counts one call. Returns: how it shall fail; 0: not at all.
int Count(std::string_view name, std::string_view file, bool flush = false) {
  Tap& tap = TheTap();
  if (!tap.armed.load()) return 0;
  const std::lock_guard lock(tap.mutex);
  if (!tap.armed.load()) return 0;
  const int64_t number = tap.report.calls++;
  tap.report.names.push_back(name);
  const CallFault& fault = tap.fault;
  if (fault.call < 0 || number < fault.call) return 0;
  if (number > fault.call && !fault.for_good) return 0;
  if (fault.error == EINTR && tap.report.failed == 3) return 0;
  if (fault.error == CallFault::kShort && !Transfers(name)) return 0;
  if (tap.report.failed++ == 0) {
    tap.report.name = name;
    tap.report.file = file;
  }
  tap.report.flush = tap.report.flush || flush;
  tap.report.log_flush =
      tap.report.log_flush || (flush && file.ends_with(".seg"));
  return fault.error;
}

std::string FileOf(int fd) {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  return tap.files[static_cast<size_t>(fd)];
}

int CountFd(std::string_view name, int fd, bool flush = false) {
  if (!IsOurs(fd) || !TheTap().armed.load()) return 0;
  return Count(name, FileOf(fd), flush);
}

void Note(int fd, std::string name) {
  if (fd < 0 || fd >= kDescriptors) return;
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  tap.files[static_cast<size_t>(fd)] = std::move(name);
  tap.ours[static_cast<size_t>(fd)].store(true);
}

// Returns: whether an open at `at` is one of the store, and its name.
bool NameAt(int at, std::string_view path, std::string& name) {
  if (at == AT_FDCWD || path.starts_with('/')) return IsBelow(path, name);
  if (!IsOurs(at)) return false;
  name = path;
  return true;
}

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// The half that a short transfer does, at least one byte.
size_t Half(size_t count) { return count < 2 ? count : count / 2; }

int Flush(int fd, std::string_view name) {
  if (const int error = CountFd(name, fd, true); error > 0) {
    errno = error;
    return -1;
  }
  std::function<int(std::string_view)> hook;
  {
    const std::lock_guard lock(TheTap().mutex);
    hook = TheTap().on_flush;
  }
  const int error = hook ? hook(FileOf(fd)) : 0;
  if (error != 0) errno = error;
  return error != 0 ? -1 : 0;
}

int OpenAt(int at, const char* path, int flags, mode_t mode) {
  static auto* const real = Real<int(int, const char*, int, mode_t)>("openat");
  std::string name;
  const bool ours = NameAt(at, path, name);
  if (ours) {
    if (const int error = Count("openat", name); error > 0) {
      if ((flags & O_DIRECTORY) != 0) {
        const std::lock_guard lock(TheTap().mutex);
        TheTap().report.directory = true;
      }
      errno = error;
      return -1;
    }
  }
  const int fd = real(at, path, flags, mode);
  if (ours && fd >= 0) Note(fd, std::move(name));
  return fd;
}

}  // namespace

bool Transfers(std::string_view name) {
  return name == "pread" || name == "pwrite";
}

void Watch(std::string_view directory) {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  tap.directory = directory;
}

void Arm(const CallFault& fault) {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  tap.fault = fault;
  tap.report = CallReport();
  tap.armed.store(true);
}

CallReport Disarm() {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  tap.armed.store(false);
  return tap.report;
}

void OnFlush(std::function<int(std::string_view)> hook) {
  Tap& tap = TheTap();
  const std::lock_guard lock(tap.mutex);
  tap.on_flush = std::move(hook);
}

int OpenDescriptors() {
  int count = 0;
  for (const auto& ours : TheTap().ours) count += ours.load() ? 1 : 0;
  return count;
}

int OpenMappings() {
  std::string directory;
  {
    const std::lock_guard lock(TheTap().mutex);
    directory = TheTap().directory;
  }
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(directory) != std::string::npos) ++count;
  }
  return count;
}

std::string_view NameOfError(int error) {
  switch (error) {
    case CallFault::kShort:
      return "short";
    case EIO:
      return "EIO";
    case ENOSPC:
      return "ENOSPC";
    case EDQUOT:
      return "EDQUOT";
    case EINTR:
      return "EINTR";
    case EMFILE:
      return "EMFILE";
    case ENOMEM:
      return "ENOMEM";
    case EACCES:
      return "EACCES";
    default:
      return "another";
  }
}

}  // namespace openmessaging::reference::faults

// The program's own calls. Each is declared as the C library declares it.

namespace faults = openmessaging::reference::faults;

extern "C" {

int openat(int at, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode =
      (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return faults::OpenAt(at, path, flags, mode);
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode =
      (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return faults::OpenAt(AT_FDCWD, path, flags, mode);
}

int close(int fd) {
  static auto* const real = faults::Real<int(int)>("close");
  if (faults::IsOurs(fd)) {
    faults::TheTap().ours[static_cast<size_t>(fd)].store(false);
  }
  return real(fd);
}

ssize_t pread(int fd, void* bytes, size_t count, off_t offset) {
  static auto* const real =
      faults::Real<ssize_t(int, void*, size_t, off_t)>("pread");
  const int error = faults::CountFd("pread", fd);
  if (error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, bytes, error != 0 ? faults::Half(count) : count, offset);
}

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static auto* const real =
      faults::Real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  const int error = faults::CountFd("pwrite", fd);
  if (error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, bytes, error != 0 ? faults::Half(count) : count, offset);
}

int fdatasync(int fd) {
  static auto* const real = faults::Real<int(int)>("fdatasync");
  return faults::IsOurs(fd) ? faults::Flush(fd, "fdatasync") : real(fd);
}

int fsync(int fd) {
  static auto* const real = faults::Real<int(int)>("fsync");
  return faults::IsOurs(fd) ? faults::Flush(fd, "fsync") : real(fd);
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const real = faults::Real<int(int, off_t)>("ftruncate");
  if (const int error = faults::CountFd("ftruncate", fd); error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, size);
}

void* mmap(void* at, size_t size, int protection, int flags, int fd,
           off_t offset) noexcept {
  // Needed before dlsym is ready.
  if (faults::IsOurs(fd)) {
    if (const int error = faults::CountFd("mmap", fd); error > 0) {
      errno = error;
      return MAP_FAILED;
    }
  }
  return reinterpret_cast<void*>(
      ::syscall(SYS_mmap, at, size, protection, flags, fd, offset));
}

int renameat(int from, const char* old_name, int to,
             const char* new_name) noexcept {
  static auto* const real =
      faults::Real<int(int, const char*, int, const char*)>("renameat");
  if (faults::IsOurs(from)) {
    if (const int error = faults::Count("renameat", old_name); error > 0) {
      errno = error;
      return -1;
    }
  }
  return real(from, old_name, to, new_name);
}

int unlinkat(int at, const char* name, int flags) noexcept {
  static auto* const real =
      faults::Real<int(int, const char*, int)>("unlinkat");
  if (faults::IsOurs(at)) {
    if (const int error = faults::Count("unlinkat", name); error > 0) {
      errno = error;
      return -1;
    }
  }
  return real(at, name, flags);
}

int mkdirat(int at, const char* name, mode_t mode) noexcept {
  static auto* const real =
      faults::Real<int(int, const char*, mode_t)>("mkdirat");
  if (faults::IsOurs(at)) {
    if (const int error = faults::Count("mkdirat", name); error > 0) {
      errno = error;
      return -1;
    }
  }
  return real(at, name, mode);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const real = faults::Real<int(const char*, mode_t)>("mkdir");
  std::string name;
  if (faults::IsBelow(path, name)) {
    if (const int error = faults::Count("mkdir", name); error > 0) {
      errno = error;
      return -1;
    }
  }
  return real(path, mode);
}

int fcntl(int fd, int command, ...) {
  static auto* const real = faults::Real<int(int, int, ...)>("fcntl");
  va_list more;
  va_start(more, command);
  void* const argument = va_arg(more, void*);
  va_end(more);
  if (const int error = faults::CountFd("fcntl", fd); error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, command, argument);
}

int fstat(int fd, struct stat* info) noexcept {
  static auto* const real = faults::Real<int(int, struct stat*)>("fstat");
  if (const int error = faults::CountFd("fstat", fd); error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, info);
}

int fstatfs(int fd, struct statfs* system) noexcept {
  static auto* const real = faults::Real<int(int, struct statfs*)>("fstatfs");
  if (const int error = faults::CountFd("fstatfs", fd); error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, system);
}

int fstatvfs(int fd, struct statvfs* system) noexcept {
  static auto* const real = faults::Real<int(int, struct statvfs*)>("fstatvfs");
  if (const int error = faults::CountFd("fstatvfs", fd); error > 0) {
    errno = error;
    return -1;
  }
  return real(fd, system);
}

DIR* fdopendir(int fd) {
  static auto* const real = faults::Real<DIR*(int)>("fdopendir");
  if (const int error = faults::CountFd("fdopendir", fd); error > 0) {
    errno = error;
    return nullptr;
  }
  return real(fd);
}

struct dirent* readdir(DIR* stream) {
  static auto* const real = faults::Real<dirent*(DIR*)>("readdir");
  if (const int error = faults::CountFd("readdir", ::dirfd(stream));
      error > 0) {
    errno = error;
    return nullptr;
  }
  return real(stream);
}

int closedir(DIR* stream) {
  static auto* const real = faults::Real<int(DIR*)>("closedir");
  const int fd = ::dirfd(stream);
  if (faults::IsOurs(fd)) {
    faults::TheTap().ours[static_cast<size_t>(fd)].store(false);
  }
  return real(stream);
}

}  // extern "C"
