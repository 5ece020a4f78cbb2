// SPDX-License-Identifier: Apache-2.0

#include "crew.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "workload.h"

namespace openmessaging::conformance::history {
namespace {

using internal::Concat;

std::vector<std::string> ArgumentsOf(const WorkerOptions& options) {
  return {options.url,
          options.library,
          options.queue,
          options.name,
          options.group,
          options.ordered ? "ordered" : "any",
          options.nacks ? "nacks" : "acks",
          options.leases ? "leases" : "holds",
          options.means.Text(),
          Concat(options.seed),
          Concat(int64_t{options.duration.count()})};
}

}  // namespace

absl::Status Ledger::Open(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  const internal::MutexLock lock(mutex_);
  file_ = std::fopen(path.c_str(), "we");
  if (file_ == nullptr) {
    return MakeStatus(Code::kBadParameter, "write history \"", path,
                      "\": ", std::string_view(std::strerror(errno)));
  }
  return absl::OkStatus();
}

Ledger::~Ledger() {
  if (file_ != nullptr) std::fclose(file_);
}

void Ledger::Add(const Operation& operation) {
  const internal::MutexLock lock(mutex_);
  history_.push_back(operation);
  if (file_ != nullptr) {
    const std::string line = LineOf(operation) + "\n";
    if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() &&
        failure_.ok()) {
      failure_ =
          MakeStatus(Code::kBadParameter,
                     "write history: ", std::string_view(std::strerror(errno)));
    }
  }
}

void Ledger::Fail(absl::Status failure) {
  const internal::MutexLock lock(mutex_);
  if (failure_.ok()) failure_ = std::move(failure);
}

absl::Status Ledger::failure() const {
  const internal::MutexLock lock(mutex_);
  return failure_;
}

size_t Ledger::Count(Kind kind) const {
  const internal::MutexLock lock(mutex_);
  return static_cast<size_t>(
      std::count_if(history_.begin(), history_.end(),
                    [kind](const Operation& one) { return one.kind == kind; }));
}

std::vector<Operation> Ledger::Take() {
  const internal::MutexLock lock(mutex_);
  return std::move(history_);
}

Worker::Worker(const WorkerOptions& options, bool in_process, Ledger& ledger,
               bool mute)
    : options_(options), ledger_(ledger) {
  if (in_process) {
    Spawn(mute);
    thread_ = std::thread([this] { Listen(); });
    return;
  }
  thread_ = std::thread([this] {
    const absl::Status worked = Work(
        options_, [this](const Operation& one) { ledger_.Add(one); },
        [this] { return stop_.load(); });
    if (!worked.ok()) ledger_.Fail(worked);
    ended_ = true;
  });
}

Worker::~Worker() { Stop(); }

void Worker::Spawn(bool mute) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0) return;
  if (::pipe2(out.data(), O_CLOEXEC) != 0) {
    ::close(in[0]);
    ::close(in[1]);
    return;
  }
  std::vector<std::string> words = {"oms-history", "--worker"};
  for (std::string& word : ArgumentsOf(options_)) {
    words.push_back(std::move(word));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  if (mute) {
    ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  }
  if (::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr,
                    arguments.data(), environ) != 0) {
    pid_ = -1;
  }
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  to_process_ = in[1];
  from_process_ = out[0];
}

void Worker::Listen() {
  std::string heard;
  std::array<char, 65536> bytes;
  while (from_process_ >= 0) {
    const ssize_t count = ::read(from_process_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    heard.append(bytes.data(), static_cast<size_t>(count));
    size_t begin = 0;
    for (size_t end; (end = heard.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const auto one =
          ParseLine(std::string_view(heard).substr(begin, end - begin));
      if (one.ok()) {
        ledger_.Add(*one);
      } else {
        ledger_.Fail(one.status());
      }
    }
    heard.erase(0, begin);
  }
  // What a kill cut off is half a line, of an operation nobody heard of.
  int state = 0;
  if (pid_ > 0) {
    while (::waitpid(pid_, &state, 0) < 0 && errno == EINTR) {
    }
  }
  if (!killed_ && (pid_ <= 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0)) {
    ledger_.Fail(MakeStatus(Code::kUnavailable, "worker ", options_.name,
                            " failed; what it said is above"));
  }
  ended_ = true;
}

void Worker::Stop() {
  stop_ = true;
  if (to_process_ >= 0) ::close(std::exchange(to_process_, -1));
  if (thread_.joinable()) thread_.join();
  if (from_process_ >= 0) ::close(std::exchange(from_process_, -1));
}

bool Worker::Kill() {
  if (pid_ <= 0 || ended_) return false;
  Operation kill;
  kill.kind = Kind::kKill;
  kill.worker = options_.name;
  kill.group = options_.group;
  kill.begin_ns = NowNs();
  killed_ = true;
  ::kill(pid_, SIGKILL);
  if (thread_.joinable()) thread_.join();
  kill.end_ns = NowNs();
  ledger_.Add(kill);
  return true;
}

int WorkerMain(const std::vector<std::string>& arguments) {
  if (arguments.size() != 11) return 2;
  WorkerOptions options;
  options.url = arguments[0];
  options.library = arguments[1];
  options.queue = arguments[2];
  options.name = arguments[3];
  options.group = arguments[4];
  options.ordered = arguments[5] == "ordered";
  options.nacks = arguments[6] == "nacks";
  options.leases = arguments[7] == "leases";
  options.means = Means::Parse(arguments[8]);
  int64_t duration = 0;
  if (!internal::ParseInteger(arguments[9], options.seed) ||
      !internal::ParseInteger(arguments[10], duration)) {
    return 2;
  }
  options.duration = std::chrono::milliseconds(duration);
  const auto say = [](const Operation& one) {
    const std::string line = LineOf(one) + "\n";
    std::string_view rest = line;
    // Up to 4 KiB in one piece: a kill cuts none.
    while (!rest.empty()) {
      const ssize_t count = ::write(1, rest.data(), rest.size());
      if (count < 0 && errno != EINTR) return;
      if (count > 0) rest.remove_prefix(static_cast<size_t>(count));
    }
  };
  const auto stop = [] {
    pollfd input{0, POLLIN, 0};
    return ::poll(&input, 1, 0) > 0;  // The parent hung up.
  };
  absl::Status worked = LoadDriver(options.library);
  if (worked.ok()) worked = Work(options, say, stop);
  if (worked.ok()) return 0;
  const absl::string_view text = worked.message();
  std::fprintf(stderr, "oms-history: worker %s: %.*s (OMS %d)\n",
               options.name.c_str(), static_cast<int>(text.size()), text.data(),
               static_cast<int>(OmsCode(worked)));
  return 1;
}

}  // namespace openmessaging::conformance::history
