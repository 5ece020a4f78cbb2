// SPDX-License-Identifier: Apache-2.0

#include "step/tracer.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::step {
namespace {

using internal::Concat;

constexpr uint64_t kPageBytes = 4096;

bool ChangesFiles(uint64_t number) {
  switch (number) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_pwritev:
    case SYS_ftruncate:
    case SYS_truncate:
    case SYS_fallocate:
    case SYS_open:
    case SYS_openat:
    case SYS_creat:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rmdir:
    case SYS_link:
    case SYS_linkat:
    case SYS_copy_file_range:
    case SYS_sendfile:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string Tracer::Begin() {
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) {
    return "nobody may be traced here";
  }
  if (::ptrace(PTRACE_SETOPTIONS, pid_, nullptr,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    return "the process cannot be traced";
  }
  user_regs_struct registers{};
  if (!GetRegisters(registers)) return "its registers cannot be read";
  // It has just come back from the system call that raised the signal.
  gadget_ = registers.rip - 2;
  std::array<unsigned char, 2> code{};
  iovec here{code.data(), code.size()};
  iovec there{reinterpret_cast<void*>(gadget_), code.size()};
  if (::process_vm_readv(pid_, &here, 1, &there, 1, 0) != 2 ||
      code[0] != 0x0f || code[1] != 0x05) {
    return "it does not stand behind a system call";
  }
  std::ifstream maps(Concat("/proc/", pid_, "/maps"));
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string range;
    std::string modes;
    std::string offset;
    std::string device;
    std::string inode;
    std::string path;
    words >> range >> modes >> offset >> device >> inode;
    std::getline(words >> std::ws, path);
    if (!IsOurs(path) || modes.substr(0, 2) != "rw" || modes[3] != 's') {
      continue;
    }
    const size_t dash = range.find('-');
    mappings_.push_back({std::stoull(range.substr(0, dash), nullptr, 16),
                         std::stoull(range.substr(dash + 1), nullptr, 16),
                         std::stoull(offset, nullptr, 16), path});
  }
  for (const Mapping& mapping : mappings_) {
    if (!Protect(mapping.begin, mapping.end - mapping.begin, PROT_READ)) {
      return "its mappings cannot be protected";
    }
  }
  return {};
}

std::optional<int> Tracer::Resume(int request) {
  if (::ptrace(static_cast<__ptrace_request>(request), pid_, nullptr,
               nullptr) != 0) {
    return std::nullopt;
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return std::nullopt;
  }
  if (!WIFSTOPPED(status)) return std::nullopt;
  return WSTOPSIG(status);
}

bool Tracer::GetRegisters(user_regs_struct& registers) const {
  return ::ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) == 0;
}

bool Tracer::SetRegisters(const user_regs_struct& registers) const {
  return ::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) == 0;
}

int64_t Tracer::Inject(uint64_t number, uint64_t a, uint64_t b, uint64_t c) {
  user_regs_struct before{};
  if (!GetRegisters(before)) return -1;
  // Nothing of a call that a signal has ended is to be begun again.
  before.orig_rax = ~uint64_t{0};
  user_regs_struct call = before;
  call.rip = gadget_;
  call.rax = number;
  call.rdi = a;
  call.rsi = b;
  call.rdx = c;
  if (!SetRegisters(call)) return -1;
  if (Resume(PTRACE_SINGLESTEP) != SIGTRAP) return -1;
  user_regs_struct after{};
  if (!GetRegisters(after) || !SetRegisters(before)) return -1;
  return static_cast<int64_t>(after.rax);
}

bool Tracer::Protect(uint64_t begin, uint64_t bytes, int protection) {
  return Inject(SYS_mprotect, begin, bytes,
                static_cast<uint64_t>(protection)) == 0;
}

Tracer::Mapping* Tracer::Find(uint64_t address) {
  for (Mapping& mapping : mappings_) {
    if (address >= mapping.begin && address < mapping.end) return &mapping;
  }
  return nullptr;
}

Change Tracer::StepOverStore(uint64_t address) {
  Change change;
  uint64_t first = address / kPageBytes * kPageBytes;
  uint64_t end = first + kPageBytes;
  const Mapping* const mapping = Find(address);
  if (mapping == nullptr) {
    change.why = Concat("it touched memory that it must not, at ", address);
    return change;
  }
  if (!Protect(first, kPageBytes, PROT_READ | PROT_WRITE)) {
    change.why = "a page cannot be opened";
    return change;
  }
  std::optional<int> signal = Resume(PTRACE_SINGLESTEP);
  // It may touch two pages.
  for (int more = 0; signal == SIGSEGV && more < 2; ++more) {
    siginfo_t info{};
    if (::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) break;
    const auto other =
        reinterpret_cast<uint64_t>(info.si_addr) / kPageBytes * kPageBytes;
    if (Find(other) != mapping) break;
    if (!Protect(other, kPageBytes, PROT_READ | PROT_WRITE)) break;
    first = std::min(first, other);
    end = std::max(end, other + kPageBytes);
    signal = Resume(PTRACE_SINGLESTEP);
  }
  if (signal != SIGTRAP || !Protect(first, end - first, PROT_READ)) {
    change.why = Concat("an instruction cannot be stepped over; signal ",
                        signal.value_or(0));
    return change;
  }
  ++stores_;
  change.kind = Change::Kind::kStore;
  change.path = mapping->path;
  change.first_page = (first - mapping->begin + mapping->offset) / kPageBytes;
  change.last_page = (end - 1 - mapping->begin + mapping->offset) / kPageBytes;
  return change;
}

std::string Tracer::PathOfFd(int64_t fd) const {
  std::array<char, PATH_MAX> text{};
  const std::string link = fd == AT_FDCWD ? Concat("/proc/", pid_, "/cwd")
                                          : Concat("/proc/", pid_, "/fd/", fd);
  const ssize_t size = ::readlink(link.c_str(), text.data(), text.size());
  return size < 0 ? std::string()
                  : std::string(text.data(), static_cast<size_t>(size));
}

std::string Tracer::ReadString(uint64_t address) const {
  std::string text;
  std::array<char, 64> piece{};
  while (text.size() < PATH_MAX) {
    // Not beyond its page, which may be the last one.
    const size_t count =
        std::min<uint64_t>(piece.size(), kPageBytes - address % kPageBytes);
    iovec here{piece.data(), count};
    iovec there{reinterpret_cast<void*>(address), count};
    const ssize_t got = ::process_vm_readv(pid_, &here, 1, &there, 1, 0);
    if (got <= 0) break;
    const size_t length = ::strnlen(piece.data(), static_cast<size_t>(got));
    text.append(piece.data(), length);
    if (length < static_cast<size_t>(got)) break;
    address += static_cast<uint64_t>(got);
  }
  return text;
}

void Tracer::OnEntry() {
  if (!GetRegisters(entered_)) return;
  ++system_calls_;
  const auto below = [&](uint64_t fd, uint64_t name) {
    const std::string path = ReadString(name);
    return path.starts_with('/')
               ? path
               : PathOfFd(static_cast<int32_t>(fd)) + '/' + path;
  };
  maps_ours_ = false;
  switch (entered_.orig_rax) {
    case SYS_mmap: {
      const bool shared = (entered_.r10 & MAP_SHARED) != 0;
      const bool writes = (entered_.rdx & PROT_WRITE) != 0;
      maps_ours_ = shared && writes &&
                   IsOurs(PathOfFd(static_cast<int32_t>(entered_.r8)));
      if (maps_ours_) {
        user_regs_struct changed = entered_;
        changed.rdx &= ~uint64_t{PROT_WRITE};
        SetRegisters(changed);
      }
      break;
    }
    case SYS_unlinkat:
      before_removal_(below(entered_.rdi, entered_.rsi));
      break;
    case SYS_unlink:
      before_removal_(ReadString(entered_.rdi));
      break;
    case SYS_renameat:
    case SYS_renameat2:
      before_removal_(below(entered_.rdx, entered_.r10));
      break;
    case SYS_rename:
      before_removal_(ReadString(entered_.rsi));
      break;
    default:
      break;
  }
}

bool Tracer::OnExit() {
  user_regs_struct left{};
  if (!GetRegisters(left)) return false;
  const auto result = static_cast<int64_t>(left.rax);
  if (maps_ours_) {
    // A call leaves its arguments as they were.
    left.rdx = entered_.rdx;
    SetRegisters(left);
  }
  if (result < 0 && result > -4096) return false;
  const uint64_t number = entered_.orig_rax;
  if (number == SYS_mmap && maps_ours_) {
    mappings_.push_back({left.rax, left.rax + entered_.rsi, entered_.r9,
                         PathOfFd(static_cast<int32_t>(entered_.r8))});
    return false;
  }
  if (number == SYS_munmap) {
    std::erase_if(mappings_, [&](const Mapping& mapping) {
      return mapping.begin == entered_.rdi;
    });
    return false;
  }
  return ChangesFiles(number);
}

Change Tracer::Next() {
  Change change;
  while (true) {
    const std::optional<int> signal = Resume(PTRACE_SYSCALL);
    if (!signal) {
      change.why = "it ended";
      return change;
    }
    switch (*signal) {
      case SIGTRAP | 0x80:
        in_call_ = !in_call_;
        if (in_call_) {
          OnEntry();
        } else if (OnExit()) {
          change.kind = Change::Kind::kFiles;
          return change;
        }
        break;
      case SIGSEGV: {
        siginfo_t info{};
        if (::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) {
          change.why = "a fault that says nothing";
          return change;
        }
        return StepOverStore(reinterpret_cast<uint64_t>(info.si_addr));
      }
      case SIGSTOP:
        change.kind = Change::Kind::kEnd;
        return change;
      default:
        change.why = Concat("signal ", *signal);
        return change;
    }
  }
}

}  // namespace openmessaging::reference::step
