// SPDX-License-Identifier: Apache-2.0
//
// Tracer runs another process from one change of its shared files to the next.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_STEP_TRACER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_STEP_TRACER_H_

#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace openmessaging::reference::step {

// What one step of the process may have changed.
struct Change {
  enum class Kind {
    kStore,  // One instruction, in [first_page, last_page] of `path`.
    kFiles,  // A system call: anything.
    kEnd,    // It stands where it wanted to; see Tracer.
    kFailed,
  };
  Kind kind = Kind::kFailed;
  std::string path{};
  uint64_t first_page = 0;
  uint64_t last_page = 0;
  std::string why{};  // Of a failure.
};

// Traces one process with one thread, which called PTRACE_TRACEME and raised
// SIGSTOP, and raises it again behind its operation.
//
// The mappings of the shared files are made read-only in there, so that it runs
// at full speed up to each instruction that stores to one: that one is stepped
// over alone. A file is otherwise only changed by a system call, and it stops
// behind each that can.
//
// Threads: ptrace(2) serves the thread that began.
class Tracer {
 public:
  // `directory`: whose files are meant. `before_removal`: called with the path
  // of a file below it which the process is about to take its name from.
  Tracer(pid_t pid, std::string directory,
         std::function<void(const std::string& path)> before_removal)
      : pid_(pid),
        directory_(std::move(directory)),
        before_removal_(std::move(before_removal)) {}

  // Waits for the first stop. Returns: why it cannot be traced; empty: it is.
  std::string Begin();

  // Runs to the next change.
  Change Next();

  uint64_t stores() const { return stores_; }
  uint64_t system_calls() const { return system_calls_; }

 private:
  struct Mapping {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t offset = 0;  // In the file.
    std::string path{};
  };

  // Lets it go on. Returns: the status of its next stop; nothing if it ended.
  std::optional<int> Resume(int request);
  bool GetRegisters(user_regs_struct& registers) const;
  bool SetRegisters(const user_regs_struct& registers) const;
  // Lets it make one system call in between. Returns: what that returned.
  int64_t Inject(uint64_t number, uint64_t a, uint64_t b, uint64_t c);
  bool Protect(uint64_t begin, uint64_t bytes, int protection);
  Mapping* Find(uint64_t address);
  Change StepOverStore(uint64_t address);
  void OnEntry();
  // Returns: whether files may have changed.
  bool OnExit();
  std::string PathOfFd(int64_t fd) const;
  std::string ReadString(uint64_t address) const;
  bool IsOurs(const std::string& path) const {
    return path.starts_with(directory_);
  }

  const pid_t pid_;
  const std::string directory_;
  const std::function<void(const std::string&)> before_removal_;
  std::vector<Mapping> mappings_;
  uint64_t gadget_ = 0;  // A system call instruction of the process.
  bool in_call_ = false;
  user_regs_struct entered_{};  // Its registers when the call began.
  bool maps_ours_ = false;
  uint64_t stores_ = 0;
  uint64_t system_calls_ = 0;
};

}  // namespace openmessaging::reference::step
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_STEP_TRACER_H_
